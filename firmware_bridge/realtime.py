"""What keeps other programs from delaying a thread: a real-time class, processors of its own, memory that stays.

Each is tried by itself, and says whether it was had, or why not and what to do. Imports nothing heavy.
"""

from __future__ import annotations

import ctypes
import math
import os
import pwd
import re
import resource
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from firmware_bridge.errors import NervehandError

Policy = Literal["auto", "off", "required"]

CAP_IPC_LOCK, CAP_SYS_NICE = 14, 23
"""linux/capability.h"""
MCL_CURRENT, MCL_FUTURE, MCL_ONFAULT = 1, 2, 4
"""mlockall(2), asm-generic/mman.h: the same on x86-64 and aarch64."""
CLASS_NAMES = {os.SCHED_OTHER: "SCHED_OTHER", os.SCHED_FIFO: "SCHED_FIFO", os.SCHED_RR: "SCHED_RR"}
FIFO_REMEDY = (
    "in a systemd unit LimitRTPRIO={priority} (`nervehand unit` writes it); for a terminal the line "
    "'{user} - rtprio {priority}' in /etc/security/limits.d/nervehand.conf, then log in again"
)
MEMORY_REMEDY = (
    "in a systemd unit LimitMEMLOCK=infinity (`nervehand unit` writes it); for a terminal the line "
    "'{user} - memlock unlimited' in /etc/security/limits.d/nervehand.conf, then log in again"
)


SWITCH_S = 0.0005
"""How long one thread of Python may keep the others of its process waiting (sys.setswitchinterval): the 5 ms by default
are a quarter of a hop, and no class of a thread shortens them."""


@dataclass(frozen=True, slots=True)
class Step:
    """One of the measures: "class", "processors" or "memory"; what was had, or why it was not, and what to do."""

    what: str
    achieved: bool
    text: str
    remedy: str = ""


@dataclass(frozen=True, slots=True)
class RealTime:
    """What was had of what was asked for; `scheduling` is the thread's class now, for example SCHED_FIFO 50."""

    scheduling: str
    steps: tuple[Step, ...] = ()

    @property
    def warnings(self) -> tuple[str, ...]:
        """What was not had, each with its remedy."""
        return tuple(f"{step.text}: {step.remedy}" for step in self.steps if not step.achieved)


def make_real_time(
    policy: Policy = "auto", priority: int = 50, cpus: Sequence[int] = (), lock_memory: bool = True
) -> RealTime:
    """Make the calling thread one that other programs do not delay, and keep this process's memory.

    SCHED_FIFO with `priority` (1..99) is the calling thread's alone: threads and processes that it starts have the
    normal class (SCHED_RESET_ON_FORK), so each thread that needs it calls this. `cpus` (empty: all) are its processors,
    and those of threads and processes that it starts from now on. Locked memory is the whole process's, not its
    children's.

    "off" changes nothing. "auto" takes what can be had; of "required" NervehandError says what cannot, and so does
    either of a priority or of processors that no machine has.
    """
    lowest, highest = os.sched_get_priority_min(os.SCHED_FIFO), os.sched_get_priority_max(os.SCHED_FIFO)
    if not lowest <= priority <= highest:
        raise NervehandError(f"a real-time priority of {priority}: give one from {lowest} to {highest}")
    if any(cpu < 0 for cpu in cpus):
        raise NervehandError(f"processor {min(cpus)}: they are numbered from 0")
    if policy == "off":
        return RealTime(scheduling_now())
    steps = [_take_class(priority)]
    if cpus:
        steps.append(_take_processors(frozenset(cpus)))
    if lock_memory:
        steps.append(_lock_memory())
    outcome = RealTime(scheduling_now(), tuple(steps))
    if policy == "required" and outcome.warnings:
        raise NervehandError(f"real time is required, and {outcome.warnings[0]}")
    return outcome


def scheduling_now() -> str:
    """The calling thread's class and priority in words."""
    number = os.sched_getscheduler(0) & ~os.SCHED_RESET_ON_FORK
    priority = os.sched_getparam(0).sched_priority
    name = CLASS_NAMES.get(number, f"class {number}")
    return f"{name} {priority}" if priority else name


def _take_class(priority: int) -> Step:
    error = _set_class(priority)
    soft, hard = resource.getrlimit(resource.RLIMIT_RTPRIO)
    if error is not None and hard > soft:
        resource.setrlimit(resource.RLIMIT_RTPRIO, (hard, hard))
        soft, error = hard, _set_class(priority)
    if error is not None and 0 < soft < priority and _set_class(soft) is None:
        return Step("class", True, f"SCHED_FIFO {soft}, which is the rtprio limit; {priority} was asked for")
    if error is None:
        return Step("class", True, f"SCHED_FIFO {priority}, {_throttling(_text(Path('/proc/sys/kernel')))}")
    why, remedy = why_no_fifo(priority, soft, _is_privileged(CAP_SYS_NICE))
    return Step("class", False, f"no SCHED_FIFO ({error.strerror}): {why}", remedy)


def _set_class(priority: int) -> OSError | None:
    try:
        os.sched_setscheduler(0, os.SCHED_FIFO | os.SCHED_RESET_ON_FORK, os.sched_param(priority))
    except OSError as error:
        return error
    return None


def _throttling(read: Callable[[str], str]) -> str:
    """What the kernel leaves all real-time threads of a processor together (sched(7))."""
    runtime, period = read("sched_rt_runtime_us").strip(), read("sched_rt_period_us").strip()
    if runtime == "-1":
        return "without any limit: a thread that spins holds up all else on its processor"
    if runtime.isdecimal() and period.isdecimal() and int(period):
        return f"{int(runtime) / int(period):.0%} of a processor at the most"
    return "within a limit that the kernel does not tell"


def why_no_fifo(
    priority: int,
    limit: int,
    is_privileged: bool,
    proc: Path = Path("/proc"),
    control_groups: Path = Path("/sys/fs/cgroup"),
) -> tuple[str, str]:
    """Why SCHED_FIFO was refused to a thread with that rtprio limit, and the remedy."""
    if _text(proc / "sys/kernel")("sched_rt_runtime_us").strip() == "0":
        return (
            "the kernel gives no time to real-time threads (sched_rt_runtime_us is 0)",
            "sysctl kernel.sched_rt_runtime_us=950000",
        )
    if not is_privileged and limit < priority:
        return f"the rtprio limit is {limit}", FIFO_REMEDY.format(user=_user(), priority=priority)
    for line in _text(proc)("self/cgroup").splitlines():
        number, controllers, path = line.split(":", 2)
        if "cpu" in controllers.split(","):
            budget = control_groups / controllers / path.lstrip("/") / "cpu.rt_runtime_us"
            if _text(budget.parent)(budget.name).strip() == "0":
                return (
                    f"its control group {path} has no real-time budget (cpu.rt_runtime_us is 0)",
                    f"as root: echo 900000 > {budget}, its parents first",
                )
        if number == "0" and path != "/" and (control_groups / "cgroup.controllers").exists():
            return (
                f"perhaps its control group {path} has no real-time budget (a kernel with CONFIG_RT_GROUP_SCHED)",
                "boot with rt_group_sched=0, or take the cpu controller from its groups (cgroup.subtree_control)",
            )
    return "the kernel or a sandbox forbids it", "run it outside the container or sandbox, or allow it there"


def _take_processors(cpus: frozenset[int]) -> Step:
    names = ", ".join(map(str, sorted(cpus)))
    try:
        os.sched_setaffinity(0, cpus)
        error = ""
    except (OSError, ValueError, OverflowError) as failure:
        error = getattr(failure, "strerror", None) or str(failure)
    got = os.sched_getaffinity(0)
    if not error and got == cpus:
        return Step("processors", True, f"processors {names}")
    which = ", ".join(map(str, sorted(got)))
    return Step(
        "processors",
        False,
        f"not all of processors {names} can be had ({error or 'some are not there'}), it runs on {which}",
        "name some of those in [realtime], and look for CPUAffinity= and AllowedCPUs= in the systemd unit",
    )


def _lock_memory() -> Step:
    soft, hard = resource.getrlimit(resource.RLIMIT_MEMLOCK)
    if not _is_privileged(CAP_IPC_LOCK) and soft != resource.RLIM_INFINITY:
        if hard != resource.RLIM_INFINITY:
            # With MCL_FUTURE under a limit it is not this call that fails but an allocation, some day.
            text = f"memory is not locked: the memlock limit is {hard >> 10} KiB, and later allocations would fail"
            return Step("memory", False, text, MEMORY_REMEDY.format(user=_user()))
        resource.setrlimit(resource.RLIMIT_MEMLOCK, (hard, hard))
    library = ctypes.CDLL(None, use_errno=True)
    # On fault, as else every page of each library and each thread's stack of 8 MiB would be held, used or not.
    if library.mlockall(MCL_CURRENT | MCL_FUTURE | MCL_ONFAULT):
        reason = os.strerror(ctypes.get_errno())
        return Step("memory", False, f"memory is not locked ({reason})", MEMORY_REMEDY.format(user=_user()))
    return Step("memory", True, "what is in memory stays there")


def _is_privileged(capability: int) -> bool:
    """Whether this thread has the capability where the kernel asks for it: not in a user namespace of its own."""
    found = re.search(r"^CapEff:\s*([0-9a-f]+)", _text(Path("/proc/self"))("status"), re.MULTILINE)
    outside = _text(Path("/proc/self"))("uid_map").split() == ["0", "0", "4294967295"]
    return outside and found is not None and bool(int(found[1], 16) >> capability & 1)


def _user() -> str:
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:  # a container may run as a number without a name
        return str(os.getuid())


def _text(folder: Path) -> Callable[[str], str]:
    """Reads files of a folder; '' for one that is not there or not to be read."""

    def read(name: str) -> str:
        try:
            return (folder / name).read_text()
        except OSError:
            return ""

    return read


@dataclass(frozen=True, slots=True)
class TimerFloor:
    """How late a bare timer of that period was, in µs: what no loop of this class gets below on this machine."""

    scheduling: str
    period_s: float
    count: int
    p50_us: float
    p99_us: float
    max_us: float

    def __str__(self) -> str:
        return (
            f"a bare timer of {1000 * self.period_s:g} ms in {self.scheduling} is late by {self.p50_us:.0f} µs (p50), "
            f"{self.p99_us:.0f} µs (p99), {self.max_us:.0f} µs (max of {self.count})"
        )


def timer_floor(
    hop_s: float,
    seconds: float,
    clock_ns: Callable[[], int] = time.monotonic_ns,
    sleep: Callable[[float], object] = time.sleep,
) -> TimerFloor:
    """Let a timer of period `hop_s` run in the calling thread for `seconds`, and do nothing else.

    Percentiles are of the nearest rank. NervehandError where not one period fits.
    """
    count = int(seconds / hop_s + 1e-9) if hop_s > 0 else 0
    if count < 1:
        raise NervehandError(
            f"a timer of {hop_s:g} s within {seconds:g} s: give a period, and at least as much time"
        )
    begin_ns = clock_ns()
    late_us = []
    for index in range(1, count + 1):
        due_ns = begin_ns + round(index * hop_s * 1e9)
        # From due times, so that being late once does not move what follows.
        while (left_ns := due_ns - clock_ns()) > 0:
            sleep(left_ns / 1e9)
        late_us.append(-left_ns / 1000)
    late_us.sort()
    p50, p99 = (late_us[math.ceil(share * count) - 1] for share in (0.5, 0.99))
    return TimerFloor(scheduling_now(), hop_s, count, p50, p99, late_us[-1])
