"""Power, temperature and clock from trees as a Jetson Nano and an Orin have them, and from broken ones."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nervehand.jetson import (
    MEMORY_S,
    MOST,
    MachineWatch,
    cpu_clocks_mhz,
    cpu_s,
    gpu_load,
    is_throttled,
    powers_w,
    pss_mib,
    temperatures_c,
)
from nervehand.status import MachineStatus

INA3221X = "sys/bus/i2c/drivers/ina3221x/6-0040/iio:device0"
NANO = {
    f"{INA3221X}/rail_name_0": "POM_5V_IN\n", f"{INA3221X}/in_power0_input": "2419\n",
    f"{INA3221X}/rail_name_1": "POM_5V_GPU\n", f"{INA3221X}/in_power1_input": "0\n",
    f"{INA3221X}/rail_name_2": "POM_5V_CPU\n", f"{INA3221X}/in_power2_input": "523\n",
    "sys/class/thermal/thermal_zone0/type": "AO-therm\n", "sys/class/thermal/thermal_zone0/temp": "41500\n",
    "sys/class/thermal/thermal_zone1/type": "CPU-therm\n", "sys/class/thermal/thermal_zone1/temp": "34000\n",
    "sys/class/thermal/thermal_zone4/type": "PMIC-Die\n", "sys/class/thermal/thermal_zone4/temp": "100000\n",
    "sys/class/thermal/thermal_zone5/type": "thermal-fan-est\n", "sys/class/thermal/thermal_zone5/temp": "33000\n",
    "sys/class/thermal/cooling_device0/type": "pwm-fan\n", "sys/class/thermal/cooling_device0/cur_state": "3\n",
    "sys/class/thermal/cooling_device1/type": "cpu-balanced\n", "sys/class/thermal/cooling_device1/cur_state": "0\n",
    "sys/devices/system/cpu/cpu0/cpufreq/scaling_cur_freq": "1479000\n",
    "sys/devices/system/cpu/cpu1/cpufreq/scaling_cur_freq": "921600\n",
    "sys/devices/system/cpu/cpuidle/current_driver": "tegra\n",
    "sys/devices/gpu.0/load": "250\n",
}  # fmt: skip
"""As on JetPack 4: where the paths were read is in nervehand/jetson.py."""
HWMON = "sys/class/hwmon/hwmon1"
ORIN = {
    "sys/class/hwmon/hwmon0/name": "nct1008\n", "sys/class/hwmon/hwmon0/in1_label": "no rail\n",
    f"{HWMON}/name": "ina3221\n",
    f"{HWMON}/in1_label": "VDD_IN\n", f"{HWMON}/in1_input": "5080\n", f"{HWMON}/curr1_input": "1000\n",
    f"{HWMON}/in2_label": "VDD_CPU_GPU_CV\n", f"{HWMON}/in2_input": "5080\n", f"{HWMON}/curr2_input": "250\n",
    f"{HWMON}/in3_label": "NC\n", f"{HWMON}/in3_input": "5080\n", f"{HWMON}/curr3_input": "250\n",
    f"{HWMON}/in7_label": "sum of shunt voltages\n", f"{HWMON}/in7_input": "300\n",
    "sys/class/thermal/thermal_zone0/type": "cpu-thermal\n", "sys/class/thermal/thermal_zone0/temp": "47812\n",
    "sys/class/thermal/cooling_device2/type": "devfreq-17000000.gpu\n",
    "sys/class/thermal/cooling_device2/cur_state": "2\n",
    "sys/class/devfreq/17000000.gpu/device/load": "1000\n",
}  # fmt: skip


def tree(root: Path, files: Mapping[str, str]) -> Path:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


def test_a_nano_with_jetpack_4(tmp_path: Path) -> None:
    root = tree(tmp_path, NANO)
    assert powers_w(root) == {"POM_5V_IN": 2.419, "POM_5V_GPU": 0.0, "POM_5V_CPU": 0.523}
    assert temperatures_c(root) == {"AO-therm": 41.5, "CPU-therm": 34.0, "thermal-fan-est": 33.0}
    assert cpu_clocks_mhz(root) == (1479.0, 921.6)
    assert gpu_load(root) == 0.25
    assert is_throttled(root) is False, "a fan that turns throttles nothing"


def test_an_orin_with_jetpack_5_or_6(tmp_path: Path) -> None:
    root = tree(tmp_path, ORIN)
    assert powers_w(root) == {"VDD_IN": 5.08, "VDD_CPU_GPU_CV": 1.27}
    assert temperatures_c(root) == {"cpu-thermal": 47.812}
    assert gpu_load(root) == 1.0
    assert is_throttled(root) is True


def test_a_machine_that_says_nothing_is_nothing_measured(tmp_path: Path) -> None:
    assert MachineWatch(tmp_path).look({"decode": 1}) == MachineStatus()


def test_this_machine_has_processes_whatever_else_it_has() -> None:
    watch = MachineWatch()
    watch.look({"me": os.getpid()})
    started_s = time.process_time()
    while time.process_time() - started_s < 0.1:
        pass
    status = watch.look({"me": os.getpid(), "nobody": 2**22 + 1})
    assert set(status.memory_mib) == set(status.cpu_share) == {"me"}
    assert 5 < status.memory_mib["me"] < 2000
    assert 0.1 < status.cpu_share["me"] < 20


@pytest.mark.parametrize(
    "text", ["", "\n", "nonsense", "-", "1e5", "9" * 30, "-300000", "151000", "\x00\xff", "0x10"]
)
def test_a_temperature_that_makes_no_sense_is_left_out(tmp_path: Path, text: str) -> None:
    assert temperatures_c(tree(tmp_path, NANO | {"sys/class/thermal/thermal_zone0/temp": text})).keys() == {
        "CPU-therm", "thermal-fan-est"
    }  # fmt: skip


def test_half_a_tree_gives_what_is_there(tmp_path: Path) -> None:
    root = tree(tmp_path, NANO)
    (root / INA3221X / "in_power1_input").unlink()
    (root / INA3221X / "in_power2_input").unlink()
    (root / INA3221X / "in_power2_input").mkdir()
    (root / "sys/devices/gpu.0/load").unlink()
    os.mkfifo(root / "sys/devices/gpu.0/load")
    assert powers_w(root) == {"POM_5V_IN": 2.419}
    assert gpu_load(root) is None


def test_two_of_one_name_are_both_there(tmp_path: Path) -> None:
    zones = {
        f"sys/class/thermal/thermal_zone{i}/{name}": text
        for i in range(2)
        for name, text in (("type", "x"), ("temp", "1000"))
    }
    assert temperatures_c(tree(tmp_path, zones)) == {"x": 1.0, "x_2": 1.0}


def test_a_name_that_would_break_a_page_or_a_label_is_made_harmless(tmp_path: Path) -> None:
    evil = {
        "sys/class/thermal/thermal_zone0/type": '\x1b[2J"}\nup 0 ' + "a" * 100,
        "sys/class/thermal/thermal_zone0/temp": "1",
    }
    (name,) = temperatures_c(tree(tmp_path, evil))
    assert len(name) <= 40
    assert set(name) <= set("_.+-abcdefghijklmnopqrstuvwxyzJ0123456789")


def test_thousands_of_zones_are_no_machine_of_ours(tmp_path: Path) -> None:
    zones = {
        f"sys/class/thermal/thermal_zone{i}/{name}": text
        for i in range(100)
        for name, text in (("type", f"z{i}"), ("temp", "1000"))
    }
    assert len(temperatures_c(tree(tmp_path, zones))) == MOST


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sampled_from(sorted({**NANO, **ORIN})), st.binary(max_size=80))
def test_no_content_of_any_file_is_an_exception(tmp_path: Path, name: str, content: bytes) -> None:
    root = tree(tmp_path, {**NANO, **ORIN})
    (root / name).write_bytes(content)
    status = MachineWatch(root).look({"decode": 1})
    assert all(-40 <= value <= 150 for value in status.temperature_c.values())
    assert all(-6000 <= value <= 6000 for value in status.power_w.values())


def stat_line(user: int, system: int) -> str:
    return f"42 (de) co de) S 1 42 42 0 -1 4194304 100 0 0 0 {user} {system} 0 0 20 0 3 0 500 1 1\n"


def test_processor_time_is_shared_over_the_time_between_two_looks(tmp_path: Path) -> None:
    hz = os.sysconf("SC_CLK_TCK")
    root = tree(tmp_path, {"proc/42/stat": stat_line(0, 0)})
    now_s = [0.0]
    watch = MachineWatch(root, lambda: now_s[0])
    assert watch.look({"decode": 42}).cpu_share == {}
    tree(root, {"proc/42/stat": stat_line(hz, hz // 2)})
    now_s[0] = 10.0
    assert watch.look({"decode": 42}).cpu_share == {"decode": 0.15}
    assert cpu_s(42, root) == 1.5
    assert watch.look({"decode": 43}).cpu_share == {}, "another process, begun anew"


def test_a_process_that_was_started_again_under_one_number_has_no_negative_share(tmp_path: Path) -> None:
    root = tree(tmp_path, {"proc/42/stat": stat_line(1000, 0)})
    now_s = [0.0]
    watch = MachineWatch(root, lambda: now_s[0])
    watch.look({"decode": 42})
    tree(root, {"proc/42/stat": stat_line(1, 0)})
    now_s[0] = 1.0
    assert watch.look({"decode": 42}).cpu_share == {}


def test_stolen_time_is_that_between_two_looks(tmp_path: Path) -> None:
    root = tree(tmp_path, {"proc/stat": "cpu  100 0 100 800 0 0 0 0 0 0\n"})
    watch = MachineWatch(root)
    assert watch.look({}).steal_share is None
    tree(root, {"proc/stat": "cpu  110 0 110 860 0 0 0 20 0 0\n"})
    assert watch.look({}).steal_share == 0.2
    tree(root, {"proc/stat": "cpu  x y\n"})
    assert watch.look({}).steal_share is None


def test_memory_is_looked_at_seldom_and_at_once_where_the_processes_are_others(tmp_path: Path) -> None:
    rollup = "00400000-7ffe [rollup]\nRss:  9000 kB\nPss:                2048 kB\nPss_Dirty:    1 kB\n"
    root = tree(tmp_path, {"proc/42/smaps_rollup": rollup, "proc/43/smaps_rollup": rollup})
    now_s = [0.0]
    watch = MachineWatch(root, lambda: now_s[0])
    assert watch.look({"decode": 42}).memory_mib == {"decode": 2.0}
    tree(root, {"proc/42/smaps_rollup": rollup.replace("2048", "4096")})
    now_s[0] = MEMORY_S - 0.1
    assert watch.look({"decode": 42}).memory_mib == {"decode": 2.0}
    now_s[0] = MEMORY_S
    assert watch.look({"decode": 42}).memory_mib == {"decode": 4.0}
    assert watch.look({"decode": 42, "guard": 43}).memory_mib == {"decode": 4.0, "guard": 2.0}


def test_a_kernel_of_jetpack_4_has_no_rollup_and_the_mappings_are_added_up(tmp_path: Path) -> None:
    smaps = "00400000-00452000 r-xp 00000000 08:02 1 /bin/x\nRss: 400 kB\nPss:    100 kB\n" * 3
    assert pss_mib(42, tree(tmp_path, {"proc/42/smaps": smaps})) == pytest.approx(300 / 1024)
