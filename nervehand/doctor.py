"""`nervehand doctor`: is this machine fit, and what to do where it is not. Each check is facts in, verdict out."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from nervehand.machine import Facts, Requirement, read_facts
from nervehand.sources import how_to_install

PYTHON = (3, 11)
BLUEZ = (5, 55)
"""bleak raises below this version."""
RESERVE = 64 << 20
"""A recording stops when less than this would stay free."""
RECORDED_PER_HOUR = 16 * 10_000 * 2 * 3600
"""Bytes of 16 channels at 10 kHz, int16."""
NEEDED_MEMORY = 350 << 20
"""What decoding and recording take together."""
MOST_STEAL = 0.01


class Level(Enum):
    """How a check went. Only a PROBLEM makes nervehand itself unfit; a WARNING spoils one way of using it."""

    OK = "ok"
    NOTE = "note"
    WARNING = "warning"
    PROBLEM = "problem"


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a check found, and what to do about it ('' where nothing is to be done)."""

    check: str
    level: Level
    text: str
    remedy: str = ""


def examine(facts: Facts) -> list[Verdict]:
    """Every check's verdicts, in the order of CHECKS."""
    return [verdict for check in CHECKS for verdict in check(facts)]


def check_system(facts: Facts) -> Iterator[Verdict]:
    version = ".".join(map(str, facts.python))
    is_new = facts.python[:2] >= PYTHON
    yield Verdict(
        "Python",
        Level.OK if is_new else Level.PROBLEM,
        f"{version} on {facts.system} {facts.machine}",
        "" if is_new else "install Python 3.11 or later, and nervehand in an environment of it",
    )
    if facts.system != "Linux":
        yield Verdict(
            "system",
            Level.PROBLEM,
            f"{facts.system} is not Linux",
            "run nervehand on Linux, or in a virtual machine",
        )


def check_packages(facts: Facts) -> Iterator[Verdict]:
    base = [package for package in facts.packages if not package.requirement.extra]
    if not base:
        yield Verdict(
            "packages", Level.WARNING, "nervehand is not installed, only its source is here",
            "python -m pip install -c constraints.txt .",
        )  # fmt: skip
        return
    wrong = [
        f"{package.requirement.name} {package.version or 'missing'} (needs {_bounds(package.requirement)})"
        for package in base
        if not fits(package.version, package.requirement)
    ]
    if wrong:
        remedy = "python -m pip install --upgrade -c constraints.txt nervehand"
        yield Verdict("packages", Level.PROBLEM, "; ".join(wrong), remedy)
    else:
        yield Verdict("packages", Level.OK, f"all {len(base)} as needed")


def check_extras(facts: Facts) -> Iterator[Verdict]:
    extras = sorted({p.requirement.extra for p in facts.packages if p.requirement.extra} - {"dev"})
    for extra in extras:
        of_extra = [p for p in facts.packages if p.requirement.extra == extra]
        available = [p for p in of_extra if p.requirement.machine in ("", facts.machine)]
        missing = [p.requirement.name for p in available if not p.version]
        wrong = [p for p in available if p.version and not fits(p.version, p.requirement)]
        name = f"extra {extra}"
        if not available:
            yield Verdict(name, Level.NOTE, f"not available for {facts.machine}")
        elif wrong:
            text = "; ".join(
                f"{p.requirement.name} {p.version} (needs {_bounds(p.requirement)})" for p in wrong
            )
            yield Verdict(name, Level.WARNING, text, how_to_install(extra))
        elif missing:
            yield Verdict(name, Level.NOTE, f"not installed ({', '.join(missing)})", how_to_install(extra))
        else:
            yield Verdict(name, Level.OK, "installed")


def check_bluetooth(facts: Facts) -> Iterator[Verdict]:
    if not facts.bluez:
        yield Verdict(
            "BlueZ", Level.NOTE, "not found; the virtual hand needs none",
            "for a hand over Bluetooth: sudo apt install bluez",
        )  # fmt: skip
    elif _numbers(facts.bluez) < BLUEZ:
        yield Verdict(
            "BlueZ", Level.WARNING, f"{facts.bluez} is older than 5.55, which bleak needs",
            "a newer BlueZ, a newer system, or Bumble driving the adapter itself (hci-socket:0, usb:0)",
        )  # fmt: skip
    else:
        yield Verdict("BlueZ", Level.OK, facts.bluez)
    if not facts.adapters:
        yield Verdict(
            "Bluetooth adapter", Level.NOTE, "none; the virtual hand needs none",
            "for a hand over Bluetooth: plug in an adapter",
        )  # fmt: skip
    elif facts.blocked_adapters:
        yield Verdict("Bluetooth adapter", Level.WARNING, "switched off", "rfkill unblock bluetooth")
    else:
        yield Verdict("Bluetooth adapter", Level.OK, ", ".join(facts.adapters))
        if not facts.is_root and "bluetooth" not in facts.groups:
            yield Verdict(
                "group bluetooth", Level.NOTE, f"{facts.user} is not in it: without a desktop, BlueZ may refuse",
                _join_group("bluetooth", facts.user),
            )  # fmt: skip


def check_serial(facts: Facts) -> Iterator[Verdict]:
    closed = [port for port in facts.ports if not port.is_openable]
    if not facts.ports:
        may_open = facts.is_root or facts.groups & {"dialout", "uucp"}
        remedy = "" if may_open else f"before one is plugged in: {_join_group('dialout', facts.user)}"
        yield Verdict("serial ports", Level.NOTE, "none is plugged in", remedy)
    for port in closed:
        yield Verdict(
            "serial ports", Level.WARNING, f"{port.path} may not be opened by {facts.user}",
            _join_group(port.group, facts.user),
        )  # fmt: skip
    if facts.ports and not closed:
        yield Verdict("serial ports", Level.OK, ", ".join(port.path for port in facts.ports))
    for timer in facts.latency_timers:
        if timer.milliseconds > 1:
            yield Verdict(
                "FTDI latency timer", Level.WARNING, f"{timer.port} holds samples back for {timer.milliseconds} ms",
                f"echo 1 | sudo tee {timer.path}",
            )  # fmt: skip
        else:
            yield Verdict("FTDI latency timer", Level.OK, f"{timer.port}: {timer.milliseconds} ms")


def check_realtime(facts: Facts) -> Iterator[Verdict]:
    if not facts.realtime_error:
        why = "CAP_SYS_NICE" if facts.may_nice else f"rtprio limit {facts.rtprio_limit}"
        yield Verdict("real time", Level.OK, f"SCHED_FIFO is allowed ({why})")
        return
    yield Verdict(
        "real time", Level.WARNING,
        f"SCHED_FIFO: {facts.realtime_error} (rtprio limit {facts.rtprio_limit}); other programs delay the decoder",
        f"as root, put the line '{facts.user} - rtprio 50' into /etc/security/limits.d/nervehand.conf; log in again",
    )  # fmt: skip


def check_processor(facts: Facts) -> Iterator[Verdict]:
    level = Level.OK if facts.cores > 1 else Level.WARNING
    text = f"{facts.cores} usable" + ("" if facts.cores > 1 else ": the screen will delay the decoder")
    yield Verdict(
        "cores", level, text, "" if facts.cores > 1 else "add --headless, or use a machine with two"
    )
    slow = [governor for governor in facts.governors if governor != "performance"]
    if slow:
        yield Verdict(
            "CPU governor", Level.NOTE, f"{', '.join(slow)}: the clock slows down between hops",
            "sudo cpupower frequency-set -g performance; on a Jetson: sudo jetson_clocks",
        )  # fmt: skip
    elif facts.governors:
        yield Verdict("CPU governor", Level.OK, "performance")
    if facts.steal_share is None:
        return
    stolen = f"{facts.steal_share:.1%} of the processor is taken by the hypervisor"
    if facts.steal_share > MOST_STEAL:
        yield Verdict(
            "steal", Level.WARNING, f"{stolen}: latencies measured here say little",
            "measure on a machine of its own, or on one without load beside it",
        )  # fmt: skip
    else:
        yield Verdict("steal", Level.OK, stolen)


def check_space(facts: Facts) -> Iterator[Verdict]:
    free = facts.disk_free
    hours = max(0, free - RESERVE) / RECORDED_PER_HOUR
    text = f"{_size(free)} free here: {hours:.0f} h of 16 channels at 10 kHz"
    level = Level.PROBLEM if free < RESERVE else Level.WARNING if hours < 1 else Level.OK
    yield Verdict(
        "disk", level, text, "" if level is Level.OK else "free some space, or record to another disk"
    )
    if not facts.memory_total:
        return
    available = facts.memory_available
    text = f"{_size(available)} of {_size(facts.memory_total)} available"
    level = Level.OK if available >= 2 * NEEDED_MEMORY else Level.WARNING
    level = Level.PROBLEM if available < NEEDED_MEMORY else level
    remedy = (
        ""
        if level is Level.OK
        else f"close other programs: decoding and recording take {_size(NEEDED_MEMORY)}"
    )
    yield Verdict("memory", level, text, remedy)


def check_kernel_cache(facts: Facts) -> Iterator[Verdict]:
    if facts.kernel_cache:
        yield Verdict("compiled kernels", Level.OK, f"kept in {facts.kernel_cache}")
        return
    yield Verdict(
        "compiled kernels", Level.WARNING, "cannot be kept: every start compiles them anew",
        "set NUMBA_CACHE_DIR to a folder that can be written to",
    )  # fmt: skip


def check_loopback(facts: Facts) -> Iterator[Verdict]:
    if not facts.loopback_error:
        yield Verdict("loopback", Level.OK, "TCP to 127.0.0.1 works")
        return
    yield Verdict(
        "loopback", Level.PROBLEM, f"no TCP to 127.0.0.1 ({facts.loopback_error}): the virtual hand needs it",
        "bring the interface up: sudo ip link set lo up; allow 127.0.0.1 in the firewall",
    )  # fmt: skip


CHECKS: tuple[Callable[[Facts], Iterator[Verdict]], ...] = (
    check_system,
    check_packages,
    check_extras,
    check_bluetooth,
    check_serial,
    check_realtime,
    check_processor,
    check_space,
    check_kernel_cache,
    check_loopback,
)


def fits(version: str, requirement: Requirement) -> bool:
    """Whether an installed version keeps a requirement's bounds; '' keeps none."""
    if not version:
        return False
    have = _numbers(version)
    compare: dict[str, Callable[[tuple[int, ...], tuple[int, ...]], bool]] = {
        ">=": lambda a, b: a >= b,
        "<=": lambda a, b: a <= b,
        ">": lambda a, b: a > b,
        "<": lambda a, b: a < b,
        "==": lambda a, b: a == b,
        "!=": lambda a, b: a != b,
    }
    bounds = [(operator, _numbers(bound)) for operator, bound in requirement.bounds]
    return all(compare[operator](*_padded(have, bound)) for operator, bound in bounds)


def _numbers(version: str) -> tuple[int, ...]:
    """'1.26.4rc1' is (1, 26, 4): what comes before the first part that is no number."""
    found = re.match(r"\d+(\.\d+)*", version)
    return tuple(int(part) for part in found[0].split(".")) if found else ()


def _padded(a: tuple[int, ...], b: tuple[int, ...]) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """1.2 and 1.2.0 are the same version."""
    length = max(len(a), len(b))
    return a + (0,) * (length - len(a)), b + (0,) * (length - len(b))


def _bounds(requirement: Requirement) -> str:
    return ", ".join(f"{operator}{version}" for operator, version in requirement.bounds) or "any version"


def _join_group(group: str, user: str) -> str:
    return f"sudo usermod -aG {group} {user}, then log in again"


def _size(n_bytes: int) -> str:
    return f"{n_bytes / (1 << 30):.1f} GiB" if n_bytes >= 1 << 30 else f"{n_bytes >> 20} MiB"


def run_doctor(*, as_json: bool) -> bool:
    """Look, print, and return whether nothing essential fails."""
    from nervehand.output import print_json, saying

    with saying("looking at this machine", as_json):
        verdicts = examine(read_facts(Path.cwd()))
    is_fit = all(verdict.level is not Level.PROBLEM for verdict in verdicts)
    if as_json:
        rows = [
            {"check": v.check, "level": v.level.value, "text": v.text, "remedy": v.remedy} for v in verdicts
        ]
        print_json({"fit": is_fit, "checks": rows})
        return is_fit
    print_verdicts(verdicts)
    return is_fit


def print_verdicts(verdicts: list[Verdict]) -> None:
    """A line per check, its remedy below it, and a line that sums up."""
    from rich.console import Console
    from rich.text import Text

    styles = {Level.OK: "green", Level.NOTE: "cyan", Level.WARNING: "yellow", Level.PROBLEM: "bold red"}
    console = Console()
    for verdict in verdicts:
        line = Text.assemble(
            (f"{verdict.level.value:8}", styles[verdict.level]), f"{verdict.check}: {verdict.text}"
        )
        console.print(line, soft_wrap=True)
        if verdict.remedy:
            console.print(Text(f"{'':8}-> {verdict.remedy}"), soft_wrap=True)
    counts = {level: sum(v.level is level for v in verdicts) for level in Level}
    said = f"{counts[Level.PROBLEM]} problems, {counts[Level.WARNING]} warnings"
    verdict_on_all = "not fit" if counts[Level.PROBLEM] else "fit"
    console.print(f"\n{verdict_on_all} to run nervehand: {said}", highlight=False)
