"""What a thread gets of real time: by machines as they are, as their files describe them, and by this one."""

from __future__ import annotations

import ast
import os
import resource
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from firmware_bridge import realtime
from firmware_bridge.errors import NervehandError
from firmware_bridge.realtime import RealTime, Step, TimerFloor, make_real_time, timer_floor, why_no_fifo

ROOT = Path(__file__).resolve().parents[2]
Found = dict[str, object]
LOOK = """
import ast, os, sys, threading
from firmware_bridge.realtime import make_real_time
asked = ast.literal_eval(sys.argv[1])
got = make_real_time(**asked)
there = []
thread = threading.Thread(target=lambda: there.append(os.sched_getscheduler(0)))
thread.start()
thread.join()
def kib(name):
    return int(next(one for one in open("/proc/self/status") if one.startswith(name)).split()[1])
resident = kib("VmRSS")
over = threading.Event()
threads = [threading.Thread(target=over.wait) for _ in range(8)]
for thread in threads: thread.start()
found = {
    "resident KiB": resident,
    "grown KiB": kib("VmRSS") - resident,
    "locked KiB": kib("VmLck"),
    "scheduling": got.scheduling,
    "achieved": {step.what: step.achieved for step in got.steps},
    "texts": {step.what: step.text for step in got.steps},
    "remedies": {step.what: step.remedy for step in got.steps},
    "warnings": got.warnings,
    "class": os.sched_getscheduler(0) & ~os.SCHED_RESET_ON_FORK,
    "classes of others": [*there, os.waitstatus_to_exitcode(os.system("exit $(awk '{print $41}' /proc/self/stat)"))],
    "processors": sorted(os.sched_getaffinity(0)),
    "large": len(bytearray(64 << 20)),
}
print(found)
over.set()
"""
"""Asks in a process of its own and looks at what became of it; it allocates 64 MiB in the end."""


def asked(
    *, before: Callable[[], object] | None = None, is_privileged: bool = False, **options: object
) -> Found:
    """What LOOK finds, without the capabilities that a test might have unless `is_privileged`."""
    command = [sys.executable, "-c", LOOK, repr(options)]
    if os.geteuid() == 0 and not is_privileged:
        if shutil.which("setpriv") is None:
            pytest.skip("setpriv is not there, and this is root's machine")
        command = ["setpriv", "--bounding-set=-all", "--inh-caps=-all", *command]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, preexec_fn=before, check=False)
    assert done.returncode == 0, done.stderr
    found = ast.literal_eval(done.stdout)
    assert isinstance(found, dict)
    assert found["large"] == 64 << 20
    return found


def limited(which: int, soft: int, hard: int) -> Callable[[], object]:
    """Sets a limit in a new process; skips where this one may not."""

    def set_it() -> None:
        resource.setrlimit(which, (soft, hard))

    try:
        subprocess.run(["true"], preexec_fn=set_it, check=True)
    except subprocess.SubprocessError:
        pytest.skip("the limit of this machine is lower, and raising it takes CAP_SYS_RESOURCE")
    return set_it


def test_without_a_limit_there_is_no_fifo_and_the_remedy_names_unit_and_terminal() -> None:
    found = asked(before=limited(resource.RLIMIT_RTPRIO, 0, 0), lock_memory=False, priority=42)
    assert found["scheduling"] == "SCHED_OTHER"
    assert found["achieved"] == {"class": False}
    (warning,) = found["warnings"]  # type: ignore[misc]
    assert "the rtprio limit is 0" in warning
    assert "LimitRTPRIO=42" in warning
    assert "- rtprio 42' in /etc/security/limits.d" in warning


def test_threads_and_processes_that_it_starts_have_the_normal_class() -> None:
    found = asked(is_privileged=True, lock_memory=False, priority=1)
    if found["achieved"] != {"class": True}:
        pytest.skip(f"no SCHED_FIFO on this machine: {found['warnings']}")
    assert (found["scheduling"], found["class"]) == ("SCHED_FIFO 1", os.SCHED_FIFO)
    assert found["classes of others"] == [os.SCHED_OTHER, os.SCHED_OTHER]


def test_a_limit_of_this_machine_gives_what_it_allows() -> None:
    found = asked(before=limited(resource.RLIMIT_RTPRIO, 3, 7), lock_memory=False, priority=50)
    assert found["scheduling"] == "SCHED_FIFO 7"


class Kernel:
    """The rules of sched(7) for a thread without capabilities, and of getrlimit(2)."""

    def __init__(self, soft: int, hard: int, monkeypatch: pytest.MonkeyPatch) -> None:
        self.limits, self.asked, self.scheduling = (soft, hard), [], "SCHED_OTHER"
        monkeypatch.setattr(realtime.os, "sched_setscheduler", self.set_class)
        monkeypatch.setattr(realtime.resource, "getrlimit", lambda which: self.limits)
        monkeypatch.setattr(realtime.resource, "setrlimit", self.set_limits)
        monkeypatch.setattr(realtime, "scheduling_now", lambda: self.scheduling)

    def set_class(self, thread: int, flags: int, param: os.sched_param) -> None:
        assert (thread, flags) == (0, os.SCHED_FIFO | os.SCHED_RESET_ON_FORK)
        if param.sched_priority > self.limits[0]:
            raise PermissionError(1, "Operation not permitted")
        self.scheduling = f"SCHED_FIFO {param.sched_priority}"

    def set_limits(self, which: int, limits: tuple[int, int]) -> None:
        assert which == resource.RLIMIT_RTPRIO
        assert limits[1] <= self.limits[1]
        self.limits = limits


@pytest.mark.parametrize(
    ("soft", "hard", "scheduling", "words"),
    [
        (60, 60, "SCHED_FIFO 50", "of a processor"),
        (0, 60, "SCHED_FIFO 50", "of a processor"),
        (0, 7, "SCHED_FIFO 7", "SCHED_FIFO 7, which is the rtprio limit; 50 was asked for"),
    ],
)
def test_what_a_limit_allows_is_taken_and_said(
    soft: int, hard: int, scheduling: str, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    Kernel(soft, hard, monkeypatch)
    outcome = make_real_time(lock_memory=False)
    assert (outcome.scheduling, outcome.warnings) == (scheduling, ())
    assert words in outcome.steps[0].text


def test_under_a_memory_limit_nothing_is_locked_so_that_no_later_allocation_fails() -> None:
    limit = limited(resource.RLIMIT_MEMLOCK, 8 << 20, 8 << 20)
    found = asked(before=limit)
    assert found["achieved"]["memory"] is False  # type: ignore[index]
    assert found["locked KiB"] == 0
    assert "the memlock limit is 8192 KiB" in found["texts"]["memory"]  # type: ignore[index]
    assert "LimitMEMLOCK=infinity" in found["remedies"]["memory"]  # type: ignore[index]


def test_without_a_memory_limit_all_is_locked_and_only_what_is_used_takes_room() -> None:
    unlimited = None
    if os.geteuid() != 0:
        unlimited = limited(resource.RLIMIT_MEMLOCK, 1 << 20, resource.RLIM_INFINITY)
    found = asked(before=unlimited, is_privileged=True)
    if found["achieved"]["memory"] is not True:  # type: ignore[index]
        pytest.skip(f"no memory can be locked on this machine: {found['warnings']}")
    assert int(str(found["locked KiB"])) > int(str(found["resident KiB"])) > 1000
    assert int(str(found["grown KiB"])) < 1000  # of eight stacks of 8 MiB


def test_processors_are_taken_where_they_are_there() -> None:
    there = sorted(os.sched_getaffinity(0))
    found = asked(cpus=[there[-1]], lock_memory=False)
    assert found["processors"] == [there[-1]]
    assert found["achieved"]["processors"] is True  # type: ignore[index]


@pytest.mark.parametrize("missing", [1000, 10**9])
def test_processors_that_are_not_there_are_named_with_those_that_are(missing: int) -> None:
    there = sorted(os.sched_getaffinity(0))
    found = asked(cpus=[there[0], missing], lock_memory=False)
    text = found["texts"]["processors"]  # type: ignore[index]
    assert found["achieved"]["processors"] is False  # type: ignore[index]
    assert f"processors {there[0]}, {missing} can be had" in text
    assert text.endswith(f"it runs on {', '.join(map(str, found['processors']))}")  # type: ignore[arg-type]


def test_what_is_required_and_cannot_be_had_is_an_error() -> None:
    code = "from firmware_bridge.realtime import make_real_time; make_real_time('required', cpus=[1000])"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "NervehandError: real time is required, and " in done.stderr


def test_off_changes_nothing() -> None:
    before = (os.sched_getscheduler(0), os.sched_getaffinity(0))
    assert make_real_time("off", cpus=[0]) == RealTime("SCHED_OTHER", ())
    assert (os.sched_getscheduler(0), os.sched_getaffinity(0)) == before


@pytest.mark.parametrize("options", [{"priority": 0}, {"priority": 100}, {"cpus": [-1]}])
def test_what_no_machine_has_is_an_error_even_where_it_is_off(options: dict[str, int]) -> None:
    with pytest.raises(NervehandError, match=r"give one from 1 to 99|numbered from 0"):
        make_real_time("off", **options)  # type: ignore[arg-type]


def test_a_warning_has_the_remedy() -> None:
    outcome = RealTime("SCHED_OTHER", (Step("class", False, "no", "do that"), Step("memory", True, "yes")))
    assert outcome.warnings == ("no: do that",)


def written(folder: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


@pytest.mark.parametrize(
    ("limit", "is_privileged", "files", "why", "remedy"),
    [
        (99, True, {"proc/sys/kernel/sched_rt_runtime_us": "0\n"}, "sched_rt_runtime_us is 0", "sysctl"),
        (10, False, {}, "the rtprio limit is 10", "LimitRTPRIO=50"),
        (
            99,
            False,
            {
                "proc/self/cgroup": "4:memory:/a\n3:cpu,cpuacct:/system.slice/nervehand.service\n0::/x\n",
                "groups/cpu,cpuacct/system.slice/nervehand.service/cpu.rt_runtime_us": "0\n",
            },
            "its control group /system.slice/nervehand.service has no real-time budget (cpu.rt_runtime_us is 0)",
            "cpu,cpuacct/system.slice/nervehand.service/cpu.rt_runtime_us, its parents first",
        ),
        (
            0,
            True,
            {
                "proc/self/cgroup": "0::/system.slice/nervehand.service\n",
                "groups/cgroup.controllers": "cpu\n",
            },
            "perhaps its control group /system.slice/nervehand.service has no real-time budget",
            "rt_group_sched=0",
        ),
        (
            0,
            True,
            {
                "proc/self/cgroup": "3:cpu:/a\n0::/a\n",  # version 2 beside version 1 has no processors to give
                "groups/cpu/a/cpu.rt_runtime_us": "950000\n",
            },
            "the kernel or a sandbox forbids it",
            "outside the container",
        ),
    ],
)
def test_why_there_is_no_fifo_is_read_from_the_machine(
    tmp_path: Path, limit: int, is_privileged: bool, files: dict[str, str], why: str, remedy: str
) -> None:
    room = written(tmp_path, files)
    text, what_to_do = why_no_fifo(50, limit, is_privileged, room / "proc", room / "groups")
    assert why in text
    assert remedy in what_to_do


def test_in_a_control_group_without_a_budget_the_group_is_named() -> None:
    group = Path(f"/sys/fs/cgroup/cpu/nervehand-test-{os.getpid()}")
    try:
        group.mkdir()
    except OSError as error:
        pytest.skip(f"no control group can be made here: {error}")
    try:
        if not (group / "cpu.rt_runtime_us").exists():
            pytest.skip("this kernel gives control groups no real-time budget (CONFIG_RT_GROUP_SCHED)")
        found = asked(
            before=lambda: (group / "cgroup.procs").write_text(str(os.getpid())), is_privileged=True
        )
        assert found["scheduling"] == "SCHED_OTHER"
        assert f"its control group /{group.name} has no real-time budget" in found["texts"]["class"]  # type: ignore[index]
        assert f"echo 900000 > {group}/cpu.rt_runtime_us" in found["remedies"]["class"]  # type: ignore[index]
    finally:
        group.rmdir()


class LateTimer:
    """A clock whose sleeps take `late_us` longer than asked for, one after another; then none."""

    def __init__(self, late_us: list[int]) -> None:
        self.now_ns = 5_000_000
        self._late_us = iter(late_us)

    def clock_ns(self) -> int:
        return self.now_ns

    def sleep(self, seconds: float) -> None:
        self.now_ns += round(seconds * 1e9) + 1000 * next(self._late_us, 0)


def floor_of(late_us: list[int], hop_s: float = 0.001) -> TimerFloor:
    timer = LateTimer(late_us)
    return timer_floor(hop_s, hop_s * len(late_us), timer.clock_ns, timer.sleep)


def test_a_timers_floor_is_how_late_it_was() -> None:
    floor = floor_of([*range(1, 99), 300, 900])
    assert (floor.count, floor.p50_us, floor.p99_us, floor.max_us) == (100, 50.0, 300.0, 900.0)
    assert str(floor) == (
        "a bare timer of 1 ms in SCHED_OTHER is late by 50 µs (p50), 300 µs (p99), 900 µs (max of 100)"
    )


def test_being_late_once_does_not_move_the_timer() -> None:
    assert floor_of([2500, 0, 0, 0, 0]).max_us == 2500.0
    late = floor_of([2500, 7, 7])  # the second and third were due while it was away
    assert (late.count, late.p50_us) == (3, 500.0 + 1000.0)


@given(st.lists(st.integers(0, 999), min_size=1, max_size=60))
def test_percentiles_are_of_the_nearest_rank(late_us: list[int]) -> None:
    floor = floor_of(late_us)
    assert floor.p50_us == sorted(late_us)[-(-len(late_us) // 2) - 1]
    assert floor.max_us == max(late_us)
    assert floor.p50_us <= floor.p99_us <= floor.max_us


@pytest.mark.parametrize(("hop_s", "seconds"), [(0.0, 1.0), (0.02, 0.01), (-1.0, 1.0)])
def test_a_timer_needs_a_period_and_time(hop_s: float, seconds: float) -> None:
    with pytest.raises(NervehandError, match="give a period"):
        timer_floor(hop_s, seconds)


def test_this_machines_timer_is_measured() -> None:
    floor = timer_floor(0.005, 0.05)
    assert floor.count == 10
    assert 0.0 <= floor.p50_us <= floor.p99_us <= floor.max_us


def test_it_loads_nothing_heavy() -> None:
    code = "import sys, firmware_bridge.realtime; print('numpy' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
