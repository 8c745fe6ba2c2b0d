"""A calibration in the terminal: what is drawn, and what each key asks."""

from __future__ import annotations

from dataclasses import replace

import pytest
from rich.console import Console

from calibration.view import CalibrationView, FitView, Phase, TrialView
from nervehand.calibration_screen import KEYS, WORDS, picture_of

VIEW = CalibrationView(
    phase=Phase.HOLD,
    kind="mirrored",
    subject="p07",
    side="left",
    trial=3,
    n_trials=80,
    round_number=1,
    n_rounds=10,
    movement="fist",
    pose="",
    has_poses=True,
    left_s=0.8,
    phase_s=1.2,
    target=(1.0, 1.0, 1.0, 1.0, 1.0, 0.0),
    able=(0.9, 0.9, 0.9, 0.9, 0.9, 0.0),
    phantom=None,
    gesture="",
    confidence=0.0,
    masked=("ch03: railed",),
    trials=(
        TrialView(1, 1, "thumb", "good", (), 0.93, 148.0),
        TrialView(2, 1, "ring", "bad", ("nothing moved",)),
        TrialView(3, 1, "fist", "now"),
        TrialView(4, 1, "index", "planned"),
    ),
    fits=(FitView(1, 0.4, {}),),
    advice="Make another round.",
    gain=None,
    gain_of="exact_match",
    lag_ms=150.0,
    lag_confidence=0.9,
    notice="redo trial 2: Ann",
    problem="",
    files={},
)


def drawn(view: CalibrationView, said: str = "") -> str:
    console = Console(width=80, height=40, record=True, file=open("/dev/null", "w"))  # noqa: SIM115 - of the console
    console.print(picture_of(view, said))
    return console.export_text()


def test_a_person_sees_what_to_do_what_was_found_and_what_is_wrong() -> None:
    text = drawn(replace(VIEW, problem="the glove says nothing for 2.0 s"), "there is no trial 9")
    for shown in (
        "p07, mirrored, round 1 of 10", "2 of 80 trials", "HOLD", "fist", "0.8 s", "nothing moved", "40 % fitted",
        "able hand +150 ms behind the phantom", "Make another round.", "masked: ch03: railed", "redo trial 2: Ann",
        "the glove says nothing for 2.0 s", "there is no trial 9",
    ):  # fmt: skip
        assert shown in text, shown
    assert max(map(len, text.splitlines())) <= 80


@pytest.mark.parametrize("phase", list(Phase))
def test_every_phase_has_words(phase: Phase) -> None:
    assert WORDS[phase].split(",")[0].split(":")[0] in drawn(replace(VIEW, phase=phase, pose="open"))


@pytest.mark.parametrize(
    ("key", "view", "asked"),
    [
        (" ", replace(VIEW, phase=Phase.READY, trials=VIEW.trials[3:]), ("start", {})),
        (" ", replace(VIEW, phase=Phase.READY), ("next", {})),
        (" ", VIEW, ("pause", {})),
        (" ", replace(VIEW, phase=Phase.PAUSED), ("resume", {})),
        (" ", replace(VIEW, phase=Phase.ROUND_DONE), ("start", {})),
        ("p", VIEW, ("pose", {})),
        ("g", VIEW, ("poses", {})),
        ("r", VIEW, ("redo", {"trial": 2})),
        ("a", VIEW, ("accept", {"trial": 2})),
        ("x", VIEW, ("leave_out", {"trial": 2})),
        ("r", replace(VIEW, trials=VIEW.trials[2:]), ("", {})),
        ("f", VIEW, ("finish", {})),
    ],
)
def test_each_key_asks_for_what_the_help_says(
    key: str, view: CalibrationView, asked: tuple[str, dict[str, object]]
) -> None:
    assert KEYS[key](view) == asked
