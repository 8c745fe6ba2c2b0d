"""Power, temperature and clock of the machine, as Linux tells of them: on a Jetson, and as much of it elsewhere.

Read below a root folder, so that a test can have its own. What is missing, not to be read or no sense is left out, or
None: nothing here raises. **Not tried on a real board**; where each path was read:

- Power, JetPack 4 (L4T 32, kernel 4.9): `/sys/bus/i2c/drivers/ina3221x/6-0040/iio:device0/rail_name_N` and
  `in_powerN_input` in mW, N = 0 to 2: what users of a Nano read (jetson_stats, jtop/core/power.py and its issues 51 and
  131; energymon, jetson/). Its rails are POM_5V_IN, which is the whole board, POM_5V_GPU and POM_5V_CPU. A Nano of 2 GB
  has no INA3221 (energymon). NVIDIA: L4T 32.7 development guide, "Power Management for Jetson Nano and Jetson TX1".
- Power, JetPack 5 and 6: the kernel's driver `ina3221` (Documentation/hwmon/ina3221.rst): `inN_label`, `inN_input` in
  mV, `currN_input` in mA, N = 1 to 3; an Orin Nano's VDD_IN is the whole board. `in7_label` is the sum of the shunt
  voltages, no rail; one that is called NC is not connected (jetson_stats). Some kernels let only root read these.
- Temperature: `/sys/class/thermal/thermal_zone*/{type,temp}`, millidegrees Celsius, and throttling:
  `cooling_device*/{type,cur_state}`, 0 where it does not cool (Documentation/ABI/testing/sysfs-class-thermal).
  A Nano's PMIC-Die always says 100 °C, so it is left out, as jetson_stats does (jtop/core/temperature.py).
- Clocks: `/sys/devices/system/cpu/cpu*/cpufreq/scaling_cur_freq`, kHz (Documentation/admin-guide/pm/cpufreq.rst).
- GPU load: `/sys/devices/gpu.0/load` on a Nano, `/sys/class/devfreq/*/device/load` on later ones, in thousandths
  (jetson_stats, jtop/core/gpu.py).
- Memory: `/proc/PID/smaps_rollup` (Linux 4.14 and later), else the sum over `smaps`; processor time: `/proc/PID/stat`,
  fields 14 and 15; stolen: `/proc/stat` (proc(5)).
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from nervehand.machine import steal_between
from nervehand.status_document import MachineStatus

ROOT = Path("/")
MOST = 32
"""Zones, rails and processors that are told of: more is no machine of ours."""
MEMORY_S = 10.0
"""So seldom memory is looked at: the kernel walks all pages of a process for it, and stops that process meanwhile."""
_BYTES = 1 << 22  # the largest file read here, smaps, has some 100 bytes a line, 20 lines a mapping
_NAME = re.compile(r"[^\w.+-]+")
_COOLS_A_CLOCK = re.compile(r"cpu|gpu|processor|devfreq|balanced", re.IGNORECASE)
"""Of the types of cooling devices: what slows down. A fan, a display's brightness and an idle injector do not tell."""
_IGNORED_ZONES = ("PMIC-Die",)


def temperatures_c(root: Path = ROOT) -> dict[str, float]:
    """Degrees Celsius by thermal zone."""
    found: dict[str, float] = {}
    for zone in _numbered(root / "sys/class/thermal", "thermal_zone"):
        name, milli = _named(zone / "type"), _number(zone / "temp", -40_000, 150_000)
        if name and milli is not None and name not in _IGNORED_ZONES:
            found[_free(name, found)] = milli / 1e3
    return found


def powers_w(root: Path = ROOT) -> dict[str, float]:
    """Watts by rail; of a Jetson that measures its input, POM_5V_IN or VDD_IN is all of it."""
    found: dict[str, float] = {}
    for device in _folders(root / "sys/bus/i2c/drivers/ina3221x", "*/iio:device*"):
        for number in range(3):
            name, milliwatts = (
                _named(device / f"rail_name_{number}"),
                _number(device / f"in_power{number}_input", 0, 1e6),
            )
            if name and milliwatts is not None:
                found[_free(name, found)] = milliwatts / 1e3
    for device in _folders(root / "sys/class/hwmon", "hwmon*"):
        if _named(device / "name") != "ina3221":
            continue
        for number in range(1, 4):
            name = _named(device / f"in{number}_label")
            millivolts = _number(device / f"in{number}_input", 0, 60_000)
            milliamperes = _number(device / f"curr{number}_input", -100_000, 100_000)
            if name and name != "NC" and millivolts is not None and milliamperes is not None:
                found[_free(name, found)] = round(millivolts * milliamperes / 1e6, 6)
    return dict(list(found.items())[:MOST])


def cpu_clocks_mhz(root: Path = ROOT) -> tuple[float, ...]:
    """The clock of each processor that says it, in their order."""
    folders = _numbered(root / "sys/devices/system/cpu", "cpu")
    clocks = (_number(folder / "cpufreq/scaling_cur_freq", 1, 1e8) for folder in folders)
    return tuple(khz / 1e3 for khz in clocks if khz is not None)


def is_throttled(root: Path = ROOT) -> bool | None:
    """Whether a processor or GPU is kept below its clock to cool it; None where nothing says.

    Which types a Jetson's kernel has is not verified; those of Linux are here (Processor, cpufreq-cpu0, devfreq-...).
    """
    states = [
        state
        for device in _numbered(root / "sys/class/thermal", "cooling_device")
        if _COOLS_A_CLOCK.search(name := _named(device / "type")) and "fan" not in name.lower()
        if (state := _number(device / "cur_state", 0, 1e6)) is not None
    ]
    return any(states) if states else None


def gpu_load(root: Path = ROOT) -> float | None:
    """0..1; None where no GPU says."""
    paths = [root / "sys/devices/gpu.0/load", root / "sys/devices/platform/gpu.0/load"]
    paths += [folder / "device/load" for folder in _folders(root / "sys/class/devfreq", "*")]
    loads = (_number(path, 0, 1000) for path in paths)
    return next((load / 1000 for load in loads if load is not None), None)


def pss_mib(pid: int, root: Path = ROOT) -> float | None:
    """Proportional set size: its own memory and its part of what it shares with others; None where it is not told."""
    folder = root / "proc" / str(pid)
    text = _text(folder / "smaps_rollup") or _text(folder / "smaps")
    kib = [int(value) for value in re.findall(r"^Pss:\s+(\d{1,15}) kB$", text, re.MULTILINE)]
    return sum(kib) / 1024 if kib else None


def cpu_s(pid: int, root: Path = ROOT) -> float | None:
    """Processor time of a process since it started, in user and system mode; None where there is none."""
    fields = _text(root / "proc" / str(pid) / "stat").rpartition(")")[2].split()
    try:
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    except (IndexError, ValueError):
        return None


class MachineWatch:
    """The machine, looked at about once a second by one thread; shares are of the time between two looks.

    A look costs about a millisecond, and every `MEMORY_S` what the memory of the processes costs.
    """

    def __init__(self, root: Path = ROOT, clock_s: Callable[[], float] = time.monotonic) -> None:
        self._root, self._clock_s = root, clock_s
        self._looked_s = self._memory_s = -float("inf")
        self._memory_of: tuple[tuple[str, int], ...] = ()
        self._memory_mib: dict[str, float] = {}
        self._cpu_s: dict[tuple[str, int], float] = {}
        self._stat = ""

    def look(self, pids: Mapping[str, int]) -> MachineStatus:
        """`pids` are our processes by what they are ("decode", "guard", ...)."""
        now_s = self._clock_s()
        times = {(role, pid): cpu_s(pid, self._root) for role, pid in pids.items()}
        spent = {key: value for key, value in times.items() if value is not None}
        elapsed_s = now_s - self._looked_s
        shares = {
            role: round((value - self._cpu_s[role, pid]) / elapsed_s, 4)
            for (role, pid), value in spent.items()
            if (role, pid) in self._cpu_s and elapsed_s > 0 and value >= self._cpu_s[role, pid]
        }
        stat = _text(self._root / "proc/stat")
        stolen = steal_between(self._stat, stat) if _is_counted(self._stat) and _is_counted(stat) else None
        self._cpu_s, self._stat, self._looked_s = spent, stat, now_s
        if now_s - self._memory_s >= MEMORY_S or tuple(pids.items()) != self._memory_of:
            measured = {role: pss_mib(pid, self._root) for role, pid in pids.items()}
            self._memory_mib = {role: round(mib, 2) for role, mib in measured.items() if mib is not None}
            self._memory_s, self._memory_of = now_s, tuple(pids.items())
        return MachineStatus(
            temperature_c=temperatures_c(self._root),
            power_w=powers_w(self._root),
            cpu_mhz=cpu_clocks_mhz(self._root),
            throttled=is_throttled(self._root),
            gpu_load=gpu_load(self._root),
            steal_share=None if stolen is None or not 0 <= stolen <= 1 else round(stolen, 4),
            memory_mib=dict(self._memory_mib),
            cpu_share=shares,
        )


def _is_counted(stat: str) -> bool:
    return re.match(r"cpu( +\d{1,18}){8}", stat) is not None


def _numbered(folder: Path, prefix: str) -> list[Path]:
    """`folder/prefixN` in the order of N, and nothing else of that beginning."""
    length = len(prefix)
    paths = [path for path in _folders(folder, f"{prefix}*") if re.fullmatch(r"\d{1,4}", path.name[length:])]
    return sorted(paths, key=lambda path: int(path.name[length:]))[:MOST]


def _folders(folder: Path, pattern: str) -> list[Path]:
    try:
        return sorted(folder.glob(pattern))[:MOST]
    except OSError:
        return []


def _text(path: Path) -> str:
    """A file of /proc or /sys; "" where it is not there, not to be read, or what is there cannot be one."""
    try:
        # Not to wait where a pipe lies in its place; and whole in one read, as the kernel made it.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except (OSError, ValueError):
        return ""
    try:
        parts = []
        left = _BYTES
        while left > 0 and (part := os.read(descriptor, left)):
            parts.append(part)
            left -= len(part)
        return b"".join(parts).decode("utf-8", "replace")
    except OSError:  # a sensor that is asleep, or a process that has ended
        return ""
    finally:
        os.close(descriptor)


def _number(path: Path, least: float, most: float) -> float | None:
    """The first word of a file, within what can be true."""
    words = _text(path)[:64].split()
    if not words or not re.fullmatch(r"-?\d{1,15}", words[0]):
        return None
    value = int(words[0])
    return float(value) if least <= value <= most else None


def _named(path: Path) -> str:
    """A short name without anything that a page or a label could stumble over."""
    return _NAME.sub("_", _text(path)[:64].strip().strip("\0"))[:40]


def _free(name: str, taken: Mapping[str, float]) -> str:
    """`name`, with a number where another one has it."""
    return next(one for one in (name, *(f"{name}_{i}" for i in range(2, MOST * 4))) if one not in taken)
