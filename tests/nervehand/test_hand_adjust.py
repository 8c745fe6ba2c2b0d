"""`nervehand hand adjust`: what it changes, what it refuses, and that the guard of a run takes it."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path

import pytest

from firmware_bridge.adjustments import Adjustments
from firmware_bridge.errors import NervehandError
from firmware_bridge.gate import GateEvent
from firmware_bridge.guard_client import GuardClient
from firmware_bridge.guard_settings import GuardSettings
from firmware_bridge.hands import HandOptions
from firmware_bridge.hands.virtual_process import virtual_hand_process
from nervehand.hand_adjust import Changes
from tests.firmware_bridge.guarding import own_guards
from tests.nervehand.conftest import PATIENCE_S, Run

FILE = 'address = "virtual:F5:4E:48:00:00:01"\n[adjustments]\ndead_band = 0.1\nlocked = ["wrist"]\n'


def test_what_is_not_named_stays_as_it_is() -> None:
    now = Adjustments(gain=(0.5,) * 6, locked=(True, *[False] * 5))
    then = Changes(gain=["index=1.2"], unlock=["thumb"], lock=["wrist"], hand_locked=True).applied_to(now)
    assert then.gain == (0.5, 1.2, 0.5, 0.5, 0.5, 0.5)
    assert then.locked == (*[False] * 5, True)
    assert then.hand_locked
    assert then.dead_band == now.dead_band


def test_a_number_without_a_name_is_for_all_and_names_after_it_win() -> None:
    then = Changes(dead_band=["0.1", "ring=0.2"], max_speed=["thumb=2"]).applied_to(Adjustments())
    assert then.dead_band == (0.1, 0.1, 0.1, 0.2, 0.1, 0.1)
    assert then.max_speed_per_s == (2.0, *[math.inf] * 5)


def test_a_hands_file_comes_first_and_is_changed_by_the_rest(tmp_path: Path) -> None:
    file = tmp_path / "hand.toml"
    file.write_text(FILE)
    then = Changes(file, gain=["2"]).applied_to(Adjustments(dead_band=(0.5,) * 6, hand_locked=True))
    assert then.dead_band == (0.1,) * 6
    assert then.locked[5]
    assert not then.hand_locked
    assert then.gain == (2.0,) * 6


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (Changes(gain=["index"]), "write index=1.2"),
        (Changes(gain=["pinky=1"]), "no degree of freedom 'pinky'"),
        (Changes(lock=["arm"]), "no degree of freedom 'arm'"),
        (Changes(gain=["5"]), "gain of thumb is 5.0: give a number from 0 to 4"),
        (Changes(gain=["ring=5"]), "gain of ring is 5.0: give a number from 0 to 4"),
        (Changes(dead_band=["nan"]), "dead_band of thumb is nan: give a number from 0 to below 1"),
        (Changes(dead_band=["ring"]), "write index=0.1"),
        (Changes(max_speed=["wrist=0"]), "max_speed_per_s of wrist is 0.0: give a speed above 0 /s"),
        (Changes(lock=["ring"], unlock=["ring"]), "ring is to be locked and unlocked"),
    ],
)
def test_what_is_no_adjustment_is_refused(changes: Changes, said: str) -> None:
    with pytest.raises(NervehandError, match=said):
        changes.applied_to(Adjustments())


@pytest.fixture
def events() -> list[GateEvent]:
    return []


@pytest.fixture
def guard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, events: list[GateEvent]) -> Iterator[GuardClient]:
    """A guard process with a virtual hand, found by the name "worn"."""
    own_guards(tmp_path, monkeypatch)
    with virtual_hand_process() as hand:
        settings = GuardSettings(
            f"virtual:{hand.address}",
            HandOptions(transport=hand.transport),
            adjustments=Adjustments(gain=(0.5,) * 6),
            name="worn",
            connect_s=PATIENCE_S,
        )
        with GuardClient(settings, on_event=events.append) as client:
            yield client


def test_a_running_guard_is_adjusted_and_says_who_did_it(
    run: Run, guard: GuardClient, events: list[GateEvent], tmp_path: Path
) -> None:
    shown = run("hand", "adjust")
    assert "index   gain 0.5, dead band 0" in shown.out
    result = run("hand", "adjust", "--gain", "index=1.2", "--lock", "wrist", "--as", "ada")
    assert result.status == 0, result.err
    assert "gain of index 0.5 -> 1.2" in result.out
    assert guard.adjustments.gain == (0.5, 1.2, 0.5, 0.5, 0.5, 0.5)
    assert guard.adjustments.locked[5]
    file = tmp_path / "hand.toml"
    file.write_text(FILE)
    found = json.loads(run("hand", "adjust", file, "--hand-lock", "--guard", "worn", "--json").out)
    assert found["hand_locked"]
    assert found["locked"] == ["wrist"]
    assert found["max_speed_per_s"]["index"] is None
    assert guard.adjustments.dead_band == (0.1,) * 6
    guard.close()
    assert any(event.kind == "adjust" and event.who == "ada" for event in events)


def test_without_a_guard_there_is_nothing_to_adjust(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own_guards(tmp_path, monkeypatch)
    result = run("hand", "adjust", "--gain", "2")
    assert result.status == 2
    assert "no guard is running" in result.err
