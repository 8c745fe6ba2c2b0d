"""Stop and release lines of a guard process: what opens, and what cannot be read."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from firmware_bridge.gate import Cause, GateState
from firmware_bridge.preuse import overridden
from firmware_bridge.stop_lines import LineAction, StopLine
from tests.firmware_bridge.guarding import PATIENCE_S, Rig, own_guards, set_level, wait_for


@pytest.fixture(autouse=True)
def own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own_guards(tmp_path, monkeypatch)


@pytest.fixture
def lines_may_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine that lets the thread that reads the lines stand still is no driver that hangs."""
    monkeypatch.setattr("firmware_bridge.guard_process.LINES_STUCK_S", PATIENCE_S)


@contextmanager
def driver_that_may_hang(monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """From when this is set, a reading of a line does not return before the block is left."""
    hanging, let_go = threading.Event(), threading.Event()

    def hang(self: object) -> bool:
        if hanging.is_set():
            let_go.wait(PATIENCE_S)
        return True

    monkeypatch.setattr("firmware_bridge.stop_lines.GpioContact.is_closed", hang)
    try:
        yield hanging
    finally:
        let_go.set()


@pytest.mark.usefixtures("lines_may_wait")
def test_an_opened_line_stops_and_nobody_arms_while_it_is_open(tmp_path: Path) -> None:
    value = tmp_path / "value"
    set_level(value, "0")
    with Rig(stop_lines=(StopLine(f"gpio:{value}"),)) as rig:
        rig.follow(0.5)
        set_level(value, "1")
        wait_for(lambda: rig.status.cause is Cause.STOPPED)
        wait_for(lambda: rig.status.open_lines == (f"gpio:{value}"[:100],))
        refused = rig.arm()
        assert "is open: close it, then arm" in refused["error"]
        set_level(value, "0")
        wait_for(lambda: rig.status.open_lines == ())
        assert rig.status.cause is Cause.STOPPED
        assert rig.arm()["ok"]
        value.unlink()
        os.mkfifo(value)  # the driver has gone: the file that is open does not know, a new one would
    rig.hear()
    assert [event.who for event in rig.events if event.kind == "stop"] == [f"line gpio:{value} is open"]


@pytest.mark.usefixtures("lines_may_wait")
def test_a_line_that_opens_while_somebody_arms_stops_and_the_arming_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    value = tmp_path / "value"
    set_level(value, "0")
    with Rig(stop_lines=(StopLine(f"gpio:{value}"),)) as rig:
        arm = rig.process.guard.request_arm

        def late(*given: Any, **named: Any) -> bool:
            set_level(value, "1")
            wait_for(lambda: rig.process._lines.asked)  # its stop came before there was what to stop
            return arm(*given, **named)

        monkeypatch.setattr(rig.process.guard, "request_arm", late)
        assert "is open: close it, then arm" in rig.arm()["error"]
        wait_for(lambda: rig.status.cause is Cause.STOPPED)
        assert rig.status.state is GateState.HOLDING


@pytest.mark.usefixtures("lines_may_wait")
@pytest.mark.parametrize(
    ("action", "stays"), [(LineAction.STOP, GateState.HOLDING), (LineAction.RELEASE, GateState.RELEASED)]
)
def test_what_a_line_asks_for_holds_as_long_as_it_is_open_and_is_said_once(
    action: LineAction, stays: GateState, tmp_path: Path
) -> None:
    value = tmp_path / "value"
    set_level(value, "0")
    with Rig(stop_lines=(StopLine(f"gpio:{value}", action),)) as rig:
        rig.follow(0.5)
        set_level(value, "1")
        wait_for(lambda: rig.process._lines.asked)
        wait_for(lambda: rig.status.state is stays)
        reads = rig.process._lines.reads
        wait_for(lambda: rig.process._lines.reads > reads + 30)
        assert rig.kinds().count(action.value) == 1
        wait_for(lambda: stays is GateState.HOLDING or not rig.status.positions.any())
        now_ns = time.monotonic_ns()
        assert rig.process.guard.request_arm(
            "somebody", overridden("Ann", now_ns)
        )  # past all that refuses it
        wait_for(lambda: rig.kinds().count(action.value) == 2)
        wait_for(lambda: rig.status.state is stays and rig.status.time_ns > time.monotonic_ns() - 10**9)
        if action is LineAction.STOP:
            assert rig.status.cause is Cause.STOPPED
            assert rig.ask("disarm")["state"] == "disarmed"  # nothing moves: nothing is asked for
            reads = rig.process._lines.reads
            wait_for(lambda: rig.process._lines.reads > reads + 30)
            assert rig.kinds().count("stop") == 2


def test_lines_that_do_not_answer_stop_whoever_is_armed_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    value = tmp_path / "value"
    set_level(value, "0")
    with (
        Rig(stop_lines=(StopLine(f"gpio:{value}"),)) as rig,
        driver_that_may_hang(monkeypatch) as hanging,
    ):
        rig.follow(0.5)
        hanging.set()
        wait_for(lambda: rig.kinds().count("stop") == 1)
        assert rig.process.guard.request_arm("somebody", overridden("Ann", time.monotonic_ns()))
        wait_for(lambda: rig.kinds().count("stop") == 2)


@pytest.mark.usefixtures("lines_may_wait")
def test_a_line_may_release(tmp_path: Path) -> None:
    value = tmp_path / "value"
    set_level(value, "1")
    with Rig(stop_lines=(StopLine(f"gpio:{value}#high", LineAction.RELEASE),)) as rig:
        rig.follow(0.5)
        set_level(value, "0")
        wait_for(lambda: rig.status.state is GateState.RELEASED)


def test_a_line_whose_driver_does_not_return_stops(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    value = tmp_path / "value"
    set_level(value, "0")
    with (
        Rig(stop_lines=(StopLine(f"gpio:{value}"),)) as rig,
        driver_that_may_hang(monkeypatch) as hanging,
    ):
        rig.follow(0.5)
        hanging.set()
        wait_for(lambda: rig.status.cause is Cause.STOPPED)
        assert "does not answer" in rig.arm()["error"]
    rig.hear()
    assert "does not answer" in next(event.who for event in rig.events if event.kind == "stop")
