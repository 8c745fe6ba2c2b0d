"""When a process counts as standing still, and which others are of its group."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

from hypothesis import given
from hypothesis import strategies as st

from nervehand.supervised_process import AWAKE_S, Vigil, group_members
from tests.nervehand.supervision import wait_until

START_S, STALL_S = 60.0, 5.0


def looked_at(vigil: Vigil, from_s: float, to_s: float, step_s: float = 0.25) -> float | None:
    """When it is overdue for the first time, if it is."""
    now_s = from_s
    while now_s < to_s:
        now_s += step_s
        if vigil.overdue(now_s):
            return now_s
    return None


def test_a_start_may_take_longer_than_a_silence_later() -> None:
    vigil = Vigil(START_S, STALL_S, 100.0)
    assert looked_at(vigil, 100.0, 159.0) is None
    vigil.ready(159.0)
    assert looked_at(vigil, 159.0, 163.75) is None
    vigil.beat(163.75)
    assert looked_at(vigil, 163.75, 200.0) == 168.75
    assert vigil.overdue(170.0) == "no sign of life for 5 s"


def test_beats_do_not_make_a_start_longer_but_asking_for_time_does() -> None:
    vigil = Vigil(START_S, STALL_S, 0.0)
    assert looked_at(vigil, 0.0, 50.0) is None
    vigil.beat(50.0)
    vigil.extend(30.0)
    vigil.extend(1.0)  # sooner than what it has anyway
    assert looked_at(vigil, 50.0, 100.0) == 80.0
    assert vigil.overdue(80.0) == "not ready after 80 s"


def test_a_machine_that_stood_still_proves_nothing() -> None:
    vigil = Vigil(START_S, STALL_S, 0.0)
    vigil.ready(0.0)
    assert not vigil.overdue(3600.0)
    assert looked_at(vigil, 3600.0, 3700.0) == 3600.0 + STALL_S - AWAKE_S


@given(st.lists(st.floats(0.01, STALL_S - 0.01), max_size=50), st.floats(0.01, 2.0))
def test_who_beats_in_time_is_never_overdue(gaps_s: list[float], step_s: float) -> None:
    vigil, now_s = Vigil(START_S, STALL_S, 0.0), 0.0
    vigil.ready(0.0)
    for gap_s in gaps_s:
        end_s = now_s + gap_s
        while (now_s := now_s + step_s) < end_s:
            assert not vigil.overdue(now_s)
        now_s = end_s
        vigil.beat(now_s)
        assert not vigil.overdue(now_s)


@given(st.floats(0.01, AWAKE_S))
def test_who_is_silent_is_overdue_at_the_first_look_after_its_time(step_s: float) -> None:
    vigil = Vigil(START_S, STALL_S, 0.0)
    vigil.ready(0.0)
    found_s = looked_at(vigil, 0.0, 20.0, step_s)
    assert found_s is not None
    assert STALL_S - 1e-9 <= found_s <= STALL_S + step_s + 1e-9


def test_the_members_of_a_group_are_found_by_any_name_and_the_dead_are_none() -> None:
    strange = "import ctypes, time; ctypes.CDLL(None).prctl(15, b') Z 1 (', 0, 0, 0); print(flush=True); time.sleep(99)"
    with subprocess.Popen([sys.executable, "-c", strange], process_group=0, stdout=subprocess.PIPE) as leader:
        try:
            assert leader.stdout is not None
            leader.stdout.readline()
            assert group_members(leader.pid) == (leader.pid,)
        finally:
            os.kill(leader.pid, signal.SIGKILL)
        wait_until(lambda: group_members(leader.pid) == ())  # not reaped yet
