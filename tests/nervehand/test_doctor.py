"""The doctor's verdicts on machines that are known, and one run on this one."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from nervehand.doctor import Level, Verdict, examine, fits
from nervehand.machine import (
    Facts,
    LatencyTimer,
    Package,
    Port,
    Requirement,
    has_capability,
    parse_bluez,
    parse_memory,
    parse_requirement,
    requirement_lines,
    steal_between,
)
from tests.nervehand.conftest import Run

GIB = 1 << 30


def package(text: str, version: str) -> Package:
    return Package(parse_requirement(text), version)


LAPTOP = Facts(
    system="Linux",
    machine="x86_64",
    python=(3, 12, 4),
    packages=(
        package("numpy>=2.4,<3", "2.4.6"),
        package("bleak>=3.1", "3.1.0"),
        package("pyserial>=3.5", "3.5"),
        package("mne-lsl>=1.14 ; extra == 'lsl'", "1.14.0"),
        package("brainflow>=5.23; platform_machine == 'x86_64' and extra == 'brainflow'", ""),
    ),
    user="ada",
    is_root=False,
    groups=frozenset({"ada", "dialout", "bluetooth"}),
    bluez="5.72",
    adapters=("hci0",),
    blocked_adapters=False,
    ports=(Port("/dev/ttyACM0", "dialout", True),),
    latency_timers=(),
    rtprio_limit=50,
    may_nice=False,
    realtime_error="",
    disk_free=200 * GIB,
    memory_total=16 * GIB,
    memory_available=9 * GIB,
    cores=8,
    governors=("performance",),
    kernel_cache="~/.cache/numba",
    steal_share=0.0,
    loopback_error="",
)
STOCK_NANO = replace(
    LAPTOP,
    machine="aarch64",
    python=(3, 6, 9),
    user="nvidia",
    groups=frozenset({"nvidia"}),
    bluez="5.48",
    ports=(Port("/dev/ttyTHS1", "dialout", False), Port("/dev/ttyUSB0", "dialout", False)),
    latency_timers=(LatencyTimer("ttyUSB0", 16, "/sys/bus/usb-serial/devices/ttyUSB0/latency_timer"),),
    rtprio_limit=0,
    realtime_error="Operation not permitted",
    memory_total=4 * GIB,
    memory_available=600 << 20,
    disk_free=900 << 20,
    cores=4,
    governors=("schedutil",),
    steal_share=None,
)
CONTAINER = replace(
    LAPTOP,
    user="1000",
    groups=frozenset({"1000"}),
    bluez="",
    adapters=(),
    ports=(),
    rtprio_limit=0,
    realtime_error="Operation not permitted",
    disk_free=30 << 20,
    memory_available=200 << 20,
    cores=1,
    governors=(),
    kernel_cache="",
    steal_share=0.12,
    loopback_error="[Errno 101] Network is unreachable",
)


def found(facts: Facts, check: str) -> list[Verdict]:
    return [verdict for verdict in examine(facts) if verdict.check == check]


def only(facts: Facts, check: str) -> Verdict:
    (verdict,) = found(facts, check)
    return verdict


def levels(facts: Facts) -> dict[str, Level]:
    return {verdict.check: verdict.level for verdict in examine(facts)}


def test_a_good_laptop_has_no_problem_and_no_warning() -> None:
    said = levels(LAPTOP)
    assert set(said.values()) == {Level.OK, Level.NOTE}
    assert [check for check, level in said.items() if level is Level.NOTE] == ["extra brainflow"]
    assert "[brainflow]" in only(LAPTOP, "extra brainflow").remedy


def test_a_stock_jetson_nano_is_told_what_to_change() -> None:
    said = levels(STOCK_NANO)
    assert said["Python"] is Level.PROBLEM
    assert said["BlueZ"] is Level.WARNING
    for way_out in ("newer BlueZ", "newer system", "hci-socket:0", "usb:0"):
        assert way_out in only(STOCK_NANO, "BlueZ").remedy
    assert [verdict.remedy for verdict in found(STOCK_NANO, "serial ports")] == [
        "sudo usermod -aG dialout nvidia, then log in again"
    ] * 2
    timer = only(STOCK_NANO, "FTDI latency timer")
    assert "16 ms" in timer.text
    assert timer.remedy.endswith("/ttyUSB0/latency_timer")
    assert "rtprio" in only(STOCK_NANO, "real time").remedy
    assert "jetson_clocks" in only(STOCK_NANO, "CPU governor").remedy
    assert said["memory"] is Level.WARNING
    assert said["disk"] is Level.WARNING
    assert only(STOCK_NANO, "extra brainflow").text == "not available for aarch64"
    assert "steal" not in said


def test_a_poor_container_is_told_what_fails_and_what_it_does_not_need() -> None:
    said = levels(CONTAINER)
    assert {check for check, level in said.items() if level is Level.PROBLEM} == {
        "disk",
        "memory",
        "loopback",
    }
    assert {check for check, level in said.items() if level is Level.WARNING} == {
        "real time",
        "cores",
        "steal",
        "compiled kernels",
    }
    assert said["BlueZ"] is said["Bluetooth adapter"] is said["serial ports"] is Level.NOTE
    assert "CPU governor" not in said
    assert "usermod -aG dialout 1000" in only(CONTAINER, "serial ports").remedy


def test_whatever_is_not_ok_has_a_remedy() -> None:
    allowed = {"extra brainflow"}  # what a machine cannot have, nobody can remedy
    for facts in (LAPTOP, STOCK_NANO, CONTAINER):
        for verdict in examine(facts):
            if verdict.level in (Level.WARNING, Level.PROBLEM):
                assert verdict.remedy, verdict
            elif verdict.level is Level.OK:
                assert not verdict.remedy, verdict
            else:
                assert verdict.remedy or verdict.check in allowed, verdict


def test_a_missing_or_old_package_is_a_problem_and_none_installed_says_how_to() -> None:
    old = replace(LAPTOP, packages=(package("numpy>=2.4,<3", "1.26.4"), package("bleak>=3.1", "")))
    verdict = only(old, "packages")
    assert verdict.level is Level.PROBLEM
    assert verdict.text == "numpy 1.26.4 (needs >=2.4, <3); bleak missing (needs >=3.1)"
    assert only(replace(LAPTOP, packages=()), "packages").level is Level.WARNING


def test_an_extra_that_is_too_old_is_a_warning() -> None:
    old = replace(LAPTOP, packages=(*LAPTOP.packages[:3], package("pyzmq>=27; extra == 'openephys'", "25.1")))
    assert only(old, "extra openephys").level is Level.WARNING


def test_another_system_than_linux_and_a_blocked_adapter_are_said() -> None:
    assert levels(replace(LAPTOP, system="Darwin"))["system"] is Level.PROBLEM
    assert (
        only(replace(LAPTOP, blocked_adapters=True), "Bluetooth adapter").remedy == "rfkill unblock bluetooth"
    )
    without = replace(LAPTOP, groups=frozenset({"ada"}))
    assert only(without, "group bluetooth").level is Level.NOTE
    assert not found(replace(without, is_root=True), "group bluetooth")


@pytest.mark.parametrize(
    ("version", "bounds", "expected"),
    [
        ("2.4", ">=2.4,<3", True),
        ("2.10.1", ">=2.4,<3", True),
        ("3.0.0", ">=2.4,<3", False),
        ("2.4.0rc1", ">=2.4", True),
        ("1.0", "==1.0.0", True),
        ("1.1", "!=1.1", False),
        ("5", ">4,<=5.0", True),
        ("", "", False),
    ],
)
def test_versions_are_compared_by_their_numbers(version: str, bounds: str, expected: bool) -> None:
    assert fits(version, parse_requirement(f"x{bounds}")) is expected


def test_requirements_are_read_from_metadata_and_from_a_checkout() -> None:
    assert parse_requirement('brainflow>=5.23; platform_machine == "x86_64" and extra == "brainflow"') == (
        Requirement("brainflow", ((">=", "5.23"),), "brainflow", "x86_64")
    )
    lines = requirement_lines(["a>=1"], {"e": ["b", "c<2; platform_machine == 'x'"]})
    assert [parse_requirement(line) for line in lines] == [
        Requirement("a", ((">=", "1"),)),
        Requirement("b", (), "e"),
        Requirement("c", (("<", "2"),), "e", "x"),
    ]


def test_what_the_kernel_says_is_understood() -> None:
    assert steal_between("cpu  10 0 0 80 0 0 0 10 0 0\n", "cpu  60 0 0 120 0 0 0 20 0 0\n") == 0.1
    assert steal_between("", "") is None
    assert steal_between("cpu 1 2 3\n", "cpu 2 3 4\n") is None
    assert has_capability("Name: x\nCapEff:\t0000000000800000\n", 23)
    assert not has_capability("CapEff:\t0000000000400000\n", 23)
    assert parse_memory("MemTotal: 2 kB\nMemAvailable: 1 kB\n") == (2048, 1024)
    assert parse_memory("") == (0, 0)
    assert parse_bluez("bluetoothctl: 5.64\n") == "5.64"
    assert parse_bluez("5.48\n") == "5.48"
    assert parse_bluez("command not found") == ""


def test_the_doctor_looks_at_this_machine_and_its_status_says_whether_it_is_fit(run: Run) -> None:
    result = run("doctor", "--json")
    said = json.loads(result.out)
    assert result.status == (0 if said["fit"] else 1)
    by_check = {row["check"]: row for row in said["checks"]}
    assert by_check["Python"]["level"] == "ok"  # these tests run on it
    assert "packages" in by_check
    assert "extra train" in by_check
    text = run("doctor")
    assert text.status == result.status
    assert "to run nervehand" in text.out
