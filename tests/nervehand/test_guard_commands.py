"""`nervehand stop` and `nervehand release`: they find the guard that runs, and it is told who asks."""

from __future__ import annotations

import json
import os
import threading
from pathlib import Path
from typing import Any

import pytest

from firmware_bridge import guard_requests
from firmware_bridge.gate import GateState
from firmware_bridge.hand import LinkState
from tests.firmware_bridge.guarding import PATIENCE_S, Rig, own_guards, signals_to, wait_for
from tests.nervehand.conftest import Run


@pytest.fixture(autouse=True)
def own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own_guards(tmp_path, monkeypatch)
    monkeypatch.setattr(guard_requests, "URGENT_S", PATIENCE_S)


def test_the_only_guard_is_stopped_and_released_by_name(run: Run) -> None:
    with Rig(name="worn") as rig:
        rig.follow(0.5)
        stopped = run("stop", "--as", "Ann")
        assert (stopped.status, stopped.out) == (0, "guard worn: holding\n")
        released = json.loads(run("release", "--as", "Bob", "--json").out)
        assert (released["guard"], released["state"]) == ("worn", "released")
        wait_for(lambda: not rig.status.positions.any())
    rig.hear()
    asked = [(event.kind, event.who) for event in rig.events if event.kind in ("stop", "release")]
    assert asked[:2] == [("stop", "Ann"), ("release", "Bob")]


def test_a_release_without_a_link_is_told_as_one_that_waits(run: Run) -> None:
    with Rig(name="worn") as rig:
        rig.follow(0.5)
        rig.hand.link = LinkState.LOST
        wait_for(lambda: rig.status.link is LinkState.LOST)
        assert run("stop").out.endswith("; no link to the hand\n")
        assert run("release").out == (
            "guard worn: released; no link to the hand:"
            " the release is latched, and goes first once the hand is connected again\n"
        )
        rig.hand.link = LinkState.CONNECTED
        wait_for(lambda: not rig.status.positions.any())


def test_without_a_name_the_login_asks(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("getpass.getuser", lambda: "carol")
    with Rig(name="worn") as rig:
        assert run("stop").status == 0
    rig.hear()
    assert [event.who for event in rig.events if event.kind == "stop"] == ["carol"]


def test_of_several_guards_one_has_to_be_named(run: Run) -> None:
    with Rig(name="left") as left, Rig(name="right") as right:
        left.follow(0.2)
        right.follow(0.2)
        unclear = run("stop")
        assert unclear.status == 2
        assert "--guard left or right" in unclear.err
        assert run("stop", "--guard", "left").status == 0
        assert left.status.state is GateState.HOLDING
        assert right.status.state is not GateState.HOLDING


def test_a_guard_that_does_not_answer_is_stopped_by_a_signal_and_the_person_is_told(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(guard_requests, "URGENT_S", 0.05)
    let_go = threading.Event()
    with Rig(name="worn") as rig:
        rig.follow(0.5)
        answer = rig.process._requests._answer

        def hang(*given: Any) -> dict[str, object]:
            let_go.wait(PATIENCE_S)
            return answer(*given)

        monkeypatch.setattr(rig.process._requests, "_answer", hang)
        with signals_to(rig.process, let_go.set):
            stopped = run("stop", "--as", "Ann")
        assert rig.status.state is GateState.HOLDING
    assert (stopped.status, stopped.out) == (0, "guard worn: holding\n")
    assert f"has not answered yet: SIGUSR1 was sent to process {os.getpid()}" in stopped.err


def test_what_became_of_a_signal_is_not_claimed(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    way = "SIGUSR2 was sent to process 7"
    unknown = {"ok": True, "state": "unknown", "way": way}
    monkeypatch.setattr(guard_requests, "ask_for_rest", lambda *_: unknown)
    said = run("release", "--guard", "worn").out
    assert said == f"guard worn: {way}, and no answer came: look at the hand\n"


def test_where_none_runs_or_none_of_that_name_it_says_so(run: Run) -> None:
    nothing = run("stop")
    assert (nothing.status, "no guard is running" in nothing.err) == (2, True)
    gone = run("release", "--guard", "gone")
    assert (gone.status, "does not answer" in gone.err) == (2, True)
