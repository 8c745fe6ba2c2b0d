"""A run that is armed by the check before use: what passes arms, what fails ends it, and who overrides is recorded."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from decoder.session.model import Session
from decoder.session.reader import read_session
from decoder.session.writer import write_session
from firmware_bridge.emulators.hands.inspire import InspireDevice
from firmware_bridge.emulators.hands.pty import PtyHand
from firmware_bridge.gate import GateEvent
from firmware_bridge.hand import Hand
from firmware_bridge.nerve.motion import SteeredMotion
from firmware_bridge.nerve.physiology import DEFAULT
from firmware_bridge.nerve.subject import SimulatedSubject
from firmware_bridge.preuse_check import CheckSettings
from nervehand import running
from nervehand.guarding import (
    Guarded,
    Guarding,
    GuardOptions,
    OnEvent,
    OnMoved,
    OnSent,
    in_this_process,
    virtual_hand,
)
from nervehand.pre_use import LiveCheck
from nervehand.simulate import simulated_session
from tests.nervehand.conftest import PATIENCE_S, Run

RATE_HZ = 10_000.0
BUNDLE = Path(running.__file__).parent / "bundles" / "demo.nhb"
FROM_S, SECONDS = 14, 5
"""A stretch in which the demo's decoder leaves its person at rest; elsewhere it may not."""


@pytest.fixture(scope="module")
def at_rest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The demo's person, doing nothing."""
    motion = SteeredMotion(DEFAULT, 1, 0, RATE_HZ)
    subject = SimulatedSubject(1, 0, motion=motion, rate_hz=RATE_HZ)
    second = round(RATE_HZ)
    counts = np.concatenate([subject.samples((FROM_S + i) * second, second) for i in range(SECONDS)])
    return written(counts, tmp_path_factory.mktemp("rest") / "rest.nwb")


def written(counts: np.ndarray, path: Path) -> Path:
    like = simulated_session(1, 1, seconds=0.5)
    session: Session = replace(
        like, signal=counts, labels=None, trial=None, repetition=None, truth=None, truth_names=(), truth_units=()
    )  # fmt: skip
    write_session(session, path)
    return path


SHORT = CheckSettings(duration_s=2.0, settle_s=0.1, patience_s=PATIENCE_S, gap_s=PATIENCE_S)


@pytest.fixture
def _short(monkeypatch: pytest.MonkeyPatch, patient: None) -> None:
    """Two seconds of rest are enough, and nothing is too late."""
    monkeypatch.setattr(running, "LiveCheck", partial(LiveCheck, SHORT))


@pytest.mark.usefixtures("_short")
def test_rest_that_stays_rest_arms_the_hand(run: Run, at_rest: Path, tmp_path: Path) -> None:
    out = tmp_path / "run.nwb"
    result = run(
        "run", f"session:{at_rest}", "--bundle", BUNDLE, "--hand", "none", "--check", "--json", "--record", out
    )  # fmt: skip
    assert result.status == 0, result.err
    found = json.loads(result.out)
    assert all(item["passed"] for item in found["pre_use_check"])
    assert found["commands_withheld"] > 0  # while it was checked
    assert found["commands_applied"] > 0  # after it
    texts = [note.text for note in read_session(out).recorded.notes]
    assert any("channels good: 16 as in training" in text for text in texts)
    assert any(text.startswith("gate armed") for text in texts)


class StoppedMeanwhile(LiveCheck):
    """Somebody asks for rest while it looks."""

    def _look(self, guarded: Guarded) -> float | None:
        guarded.guard.request_stop("Ann")
        return super()._look(guarded)


@pytest.mark.usefixtures("patient")
def test_who_asks_for_rest_during_the_check_is_not_overruled_by_its_passing(
    run: Run, at_rest: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(running, "LiveCheck", partial(StoppedMeanwhile, SHORT))
    result = run("run", f"session:{at_rest}", "--bundle", BUNDLE, "--hand", "none", "--check", "--json")
    assert result.status == 0, result.err
    found = json.loads(result.out)
    assert all(item["passed"] for item in found["pre_use_check"])
    assert found["commands_applied"] == 0


@contextmanager
def stopped_while_its_hand_was_looked_for(options: GuardOptions, *more: object) -> Iterator[Guarding]:
    """By another terminal; the run hears of it a moment later, as of everything that its guard does."""

    @contextmanager
    def guarding(hand: Hand, on_event: OnEvent, on_sent: OnSent, on_moved: OnMoved) -> Iterator[Guarded]:
        late: list[GateEvent] = []
        with in_this_process(hand, late.append, on_sent) as guarded:
            guarded.guard.request_stop("Ann")
            arm = guarded.guard.request_arm

            def arm_and_hear(*given: Any) -> bool:
                is_armed = arm(*given)
                while late:
                    on_event(late.pop(0))
                return is_armed

            guarded.guard.request_arm = arm_and_hear  # type: ignore[method-assign]
            yield guarded

    with virtual_hand() as hand:
        yield partial(guarding, hand)


@pytest.mark.usefixtures("_short")
@pytest.mark.parametrize("options", [("--check",), ("--override-check", "ada")])
def test_who_asks_for_rest_while_the_hand_is_looked_for_is_not_overruled(
    run: Run, at_rest: Path, options: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(running, "virtual_hand_guarded", stopped_while_its_hand_was_looked_for)
    result = run("run", f"session:{at_rest}", "--bundle", BUNDLE, "--hand", "virtual", *options, "--json")
    assert result.status == 0, result.err
    assert json.loads(result.out)["commands_applied"] == 0


@pytest.mark.usefixtures("patient")
def test_a_channel_unlike_training_is_named_and_nothing_moves(
    run: Run, at_rest: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(running, "LiveCheck", partial(LiveCheck, replace(SHORT, most_away=0.99)))
    counts = np.array(read_session(at_rest).signal[:])
    counts[:, 3] = np.round(counts[:, 3] / 10)
    weak = written(counts, tmp_path / "weak.nwb")
    result = run("run", f"session:{weak}", "--bundle", BUNDLE, "--hand", "none", "--check", "--headless")
    assert result.status == 2
    assert "the pre-use check has not passed" in result.err
    assert "--override-check NAME" in result.err
    assert "channels: unlike in training, by so many of its spreads: ch03" in result.err
    assert "armed" not in result.err


@pytest.mark.usefixtures("_short")
def test_movement_during_the_check_ends_the_run_and_says_what_to_do(run: Run) -> None:
    result = run(
        "run", "simulated", "--bundle", BUNDLE, "--hand", "none", "--check", "--seconds", "20", "--headless"
    )
    assert result.status == 2
    assert "while you rested" in result.err
    assert "calibrate anew" in result.err


@pytest.mark.usefixtures("patient")
def test_who_overrides_the_check_is_recorded(run: Run, at_rest: Path, tmp_path: Path) -> None:
    out = tmp_path / "run.nwb"
    result = run(
        "run", f"session:{at_rest}", "--bundle", BUNDLE, "--hand", "none", "--override-check", "ada",
        "--seconds", "1", "--json", "--record", out,
    )  # fmt: skip
    assert result.status == 0, result.err
    assert json.loads(result.out)["pre_use_check"] == []
    assert any("overridden by ada" in note.text for note in read_session(out).recorded.notes)


def test_a_check_that_is_asked_for_and_overridden_is_refused(run: Run) -> None:
    result = run(
        "run", "simulated", "--bundle", BUNDLE, "--hand", "none", "--check", "--override-check", "ada"
    )
    assert result.status == 2
    assert "give one of them" in result.err


def test_a_worn_hand_is_checked_and_its_side_has_to_be_said(run: Run, at_rest: Path, tmp_path: Path) -> None:
    with PtyHand(InspireDevice(time.monotonic_ns()), tmp_path / "port") as hand:
        result = run(
            "run", f"session:{at_rest}", "--bundle", BUNDLE, "--hand", f"inspire:{hand.port}", "--arm-as", "ada",
            "--acknowledge-watchdog", "ada", "--headless",
        )  # fmt: skip
    assert result.status == 2
    assert "nobody said which side the hand is" in result.err


def test_a_side_that_is_none_is_refused(run: Run) -> None:
    result = run(
        "run",
        "simulated",
        "--bundle",
        BUNDLE,
        "--hand",
        "inspire:/dev/none",
        "--arm-as",
        "ada",
        "--side",
        "up",
    )
    assert result.status == 2
    assert "say left or right" in result.err
