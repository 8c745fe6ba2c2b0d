"""Facts about this machine, read without root and without changing anything; what they mean is in doctor.py."""

from __future__ import annotations

import grp
import importlib.metadata
import os
import platform
import pwd
import re
import resource
import shutil
import socket
import subprocess
import sys
import time
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

CAP_SYS_NICE = 23
"""linux/capability.h: may take a real-time scheduling class without a limit of its own."""
_STEAL_S = 1.0
_COMMAND_S = 5.0
_SERIAL_PATTERNS = ("ttyACM*", "ttyUSB*", "ttyTHS*", "ttyAMA*")
_BLUETOOTHD = ("/usr/libexec/bluetooth/bluetoothd", "/usr/lib/bluetooth/bluetoothd")


@dataclass(frozen=True, slots=True)
class Requirement:
    """A package that nervehand asks for: bounds as ('>=', '1.2'), the extra that asks for it ('' for the base), and
    the processors it exists for ('' for all)."""

    name: str
    bounds: tuple[tuple[str, str], ...] = ()
    extra: str = ""
    machine: str = ""


@dataclass(frozen=True, slots=True)
class Package:
    """A requirement and the version that is installed, '' where none is."""

    requirement: Requirement
    version: str


@dataclass(frozen=True, slots=True)
class Port:
    """A serial port, the group that it belongs to, and whether this user may open it."""

    path: str
    group: str
    is_openable: bool


@dataclass(frozen=True, slots=True)
class LatencyTimer:
    """How long an FTDI adapter waits for more bytes before it sends what it has."""

    port: str
    milliseconds: int
    path: str


@dataclass(frozen=True, slots=True)
class Facts:
    """All that the doctor looks at.

    `bluez` is its version, '' where there is none; `realtime_error` what trying SCHED_FIFO said, '' where it worked;
    `kernel_cache` the folder that compiled kernels are kept in, '' where none can be written; `steal_share` the
    processor time that a hypervisor took (0..1), None where it cannot be told; `loopback_error` is '' where a TCP
    connection to this machine works. Memory and disk are in bytes.
    """

    system: str
    machine: str
    python: tuple[int, int, int]
    packages: tuple[Package, ...]
    user: str
    is_root: bool
    groups: frozenset[str]
    bluez: str
    adapters: tuple[str, ...]
    blocked_adapters: bool
    ports: tuple[Port, ...]
    latency_timers: tuple[LatencyTimer, ...]
    rtprio_limit: int
    may_nice: bool
    realtime_error: str
    disk_free: int
    memory_total: int
    memory_available: int
    cores: int
    governors: tuple[str, ...]
    kernel_cache: str
    steal_share: float | None
    loopback_error: str


def read_facts(folder: Path) -> Facts:
    """Everything about this machine; `folder` is where recordings would be written. Takes a second."""
    total, available = _memory()
    return Facts(
        system=platform.system(),
        machine=platform.machine(),
        python=sys.version_info[:3],
        packages=_packages(),
        user=_user(),
        is_root=os.geteuid() == 0,
        groups=_groups(),
        bluez=_bluez(),
        adapters=tuple(sorted(path.name for path in Path("/sys/class/bluetooth").glob("hci*"))),
        blocked_adapters=_bluetooth_is_blocked(),
        ports=_ports(),
        latency_timers=_latency_timers(),
        rtprio_limit=resource.getrlimit(resource.RLIMIT_RTPRIO)[0],
        may_nice=has_capability(_text(Path("/proc/self/status")), CAP_SYS_NICE),
        realtime_error=_try_realtime(),
        disk_free=shutil.disk_usage(folder).free,
        memory_total=total,
        memory_available=available,
        cores=len(os.sched_getaffinity(0)),
        governors=_governors(),
        kernel_cache=_kernel_cache(),
        steal_share=_steal(),
        loopback_error=_try_loopback(),
    )


def parse_requirement(text: str) -> Requirement:
    """A line of a package's metadata, of the forms that ours have: bounds with commas, an extra, a processor."""
    head, _, marker = text.partition(";")
    name = re.match(r"[A-Za-z0-9._-]+", head.strip())
    extra = re.search(r"extra == ['\"]([^'\"]+)", marker)
    machine = re.search(r"platform_machine == ['\"]([^'\"]+)", marker)
    return Requirement(
        name=name[0] if name else head.strip(),
        bounds=tuple(re.findall(r"(>=|<=|==|!=|<|>)\s*([0-9][0-9A-Za-z.]*)", head)),
        extra=extra[1] if extra else "",
        machine=machine[1] if machine else "",
    )


def has_capability(status: str, number: int) -> bool:
    """Whether the text of /proc/PID/status has an effective capability."""
    found = re.search(r"^CapEff:\s*([0-9a-f]+)", status, re.MULTILINE)
    return found is not None and bool(int(found[1], 16) >> number & 1)


def steal_between(before: str, after: str) -> float | None:
    """The share of processor time stolen between two readings of /proc/stat; None where it has no such column."""
    (was, now) = (
        [int(value) for value in text.partition("\n")[0].split()[1:9]] if text else []
        for text in (before, after)
    )
    if len(was) < 8 or len(now) < 8 or sum(now) <= sum(was):
        return None
    return (now[7] - was[7]) / (sum(now) - sum(was))


def parse_memory(text: str) -> tuple[int, int]:
    """Total and available bytes of /proc/meminfo; 0 where it does not say."""
    values = {name: int(kib) << 10 for name, kib in re.findall(r"^(\w+):\s+(\d+) kB", text, re.MULTILINE)}
    return values.get("MemTotal", 0), values.get("MemAvailable", 0)


def parse_bluez(text: str) -> str:
    """'bluetoothctl: 5.64' and '5.64' both say 5.64; '' where nothing does."""
    found = re.search(r"\b(\d+\.\d+)\b", text)
    return found[1] if found else ""


def _packages() -> tuple[Package, ...]:
    requirements = [parse_requirement(line) for line in _requirement_lines()]
    return tuple(Package(requirement, _version(requirement.name)) for requirement in requirements)


def _requirement_lines() -> list[str]:
    """What nervehand asks for: by the checkout that it runs from, else by what is installed."""
    import nervehand

    text = _text(Path(nervehand.__file__).parents[1] / "pyproject.toml")
    project = tomllib.loads(text).get("project", {})
    if project.get("name") == "nervehand":
        return requirement_lines(project.get("dependencies", []), project.get("optional-dependencies", {}))
    try:
        return importlib.metadata.requires("nervehand") or []
    except importlib.metadata.PackageNotFoundError:
        return []


def requirement_lines(base: Sequence[str], extras: Mapping[str, Sequence[str]]) -> list[str]:
    """The dependencies and the optional dependencies of pyproject.toml as lines of a package's metadata."""
    lines = list(base)
    for extra, asked in extras.items():
        lines += [f"{line}{' and' if ';' in line else ';'} extra == '{extra}'" for line in asked]
    return lines


def _version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return ""


def _user() -> str:
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:  # a container may run as a number without a name
        return str(os.getuid())


def _groups() -> frozenset[str]:
    return frozenset(_group_name(number) for number in {*os.getgroups(), os.getegid()})


def _group_name(number: int) -> str:
    try:
        return grp.getgrgid(number).gr_name
    except KeyError:
        return str(number)


def _bluez() -> str:
    for command in ("bluetoothctl", *_BLUETOOTHD):
        path = shutil.which(command)
        if path is not None and (version := parse_bluez(_output([path, "--version"]))):
            return version
    return ""


def _bluetooth_is_blocked() -> bool:
    switches = [p for p in Path("/sys/class/rfkill").glob("*") if _text(p / "type").strip() == "bluetooth"]
    return any("1" in (_text(p / "soft").strip(), _text(p / "hard").strip()) for p in switches)


def _ports() -> tuple[Port, ...]:
    """Not opened: that would reset some devices, and disturb one that is in use."""
    found = []
    for path in sorted(path for pattern in _SERIAL_PATTERNS for path in Path("/dev").glob(pattern)):
        try:
            group = _group_name(path.stat().st_gid)
        except OSError:  # unplugged meanwhile
            continue
        found.append(Port(str(path), group, os.access(path, os.R_OK | os.W_OK)))
    return tuple(found)


def _latency_timers() -> tuple[LatencyTimer, ...]:
    found = []
    for path in sorted(Path("/sys/bus/usb-serial/devices").glob("*/latency_timer")):
        if (text := _text(path).strip()).isdigit():
            found.append(LatencyTimer(path.parent.name, int(text), str(path)))
    return tuple(found)


def _try_realtime() -> str:
    """In a process of its own, which ends with it."""
    code = (
        "import os\ntry: os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))\n"
        "except OSError as error: print(error.strerror)"
    )
    return _output([sys.executable, "-I", "-c", code]).strip()


def _memory() -> tuple[int, int]:
    return parse_memory(_text(Path("/proc/meminfo")))


def _governors() -> tuple[str, ...]:
    paths = Path("/sys/devices/system/cpu").glob("cpu[0-9]*/cpufreq/scaling_governor")
    return tuple(sorted({_text(path).strip() for path in paths} - {""}))


def _kernel_cache() -> str:
    """Where Numba keeps what it compiled, in the order in which it tries: the folder asked for, beside the source,
    the user's cache."""
    import decoder

    asked = os.environ.get("NUMBA_CACHE_DIR")
    beside = Path(decoder.__file__).parent / "__pycache__"
    user_wide = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "numba"
    for folder in [Path(asked)] if asked else [beside, user_wide]:
        there = next((p for p in (folder, *folder.parents) if p.is_dir()), None)
        if there is not None and os.access(there, os.W_OK | os.X_OK):
            return str(folder)
    return ""


def _steal() -> float | None:
    before = _text(Path("/proc/stat"))
    time.sleep(_STEAL_S)
    return steal_between(before, _text(Path("/proc/stat")))


def _try_loopback() -> str:
    try:
        with socket.create_server(("127.0.0.1", 0)) as server:
            server.settimeout(_COMMAND_S)
            with socket.create_connection(server.getsockname(), _COMMAND_S) as client:
                peer, _ = server.accept()
                with peer:
                    client.sendall(b"x")
                    peer.settimeout(_COMMAND_S)
                    return "" if peer.recv(1) == b"x" else "a byte was lost"
    except OSError as error:
        return str(error)


def _output(command: list[str]) -> str:
    """What a command prints; '' where it cannot be run or takes too long."""
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=_COMMAND_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout


def _text(path: Path) -> str:
    """A file of /proc or /sys; '' where it is not there or not to be read."""
    try:
        return path.read_text()
    except OSError:
        return ""
