"""A calibration in words, and what may be asked of it when."""

from __future__ import annotations

import pytest

from calibration.view import COMMANDS, FitView, Phase
from nervehand.console.calibrating import buttons_of, headline, hint, lag_words, latest_score, made
from tests.nervehand.console.views import calibration


@pytest.mark.parametrize("phase", Phase)
def test_every_phase_says_what_to_do_and_offers_only_commands_that_engines_know(phase: Phase) -> None:
    view = calibration(phase, pose="fist")
    assert headline(view)
    assert hint(view)
    assert buttons_of(view) <= set(COMMANDS)


def test_a_cue_is_an_instruction() -> None:
    assert headline(calibration(Phase.MOVE)) == "Now: bend the index finger"
    assert headline(calibration(Phase.MOVE, movement="a movement of my own")) == "Now: a movement of my own"


def test_it_starts_once_and_then_waits_for_the_next() -> None:
    assert buttons_of(calibration(Phase.READY, ("planned", "planned"))) == {"start", "poses"}
    assert "next" in buttons_of(calibration(Phase.READY, ("good", "planned")))


def test_a_pose_is_confirmed_once() -> None:
    assert buttons_of(calibration(Phase.POSES, left_s=None)) == {"pose"}
    assert buttons_of(calibration(Phase.POSES, left_s=1.0)) == frozenset()


def test_poses_are_held_again_where_there_are_any_and_nothing_is_under_way() -> None:
    for phase in (Phase.READY, Phase.PAUSED, Phase.ROUND_DONE):
        assert "poses" in buttons_of(calibration(phase))
        assert "poses" not in buttons_of(calibration(phase, kind="mimic"))
    assert "poses" not in buttons_of(calibration(Phase.HOLD))


@pytest.mark.parametrize(("left_s", "pose"), [(None, {"pose"}), (1.0, set[str]())])
def test_poses_that_are_held_again_may_be_left_and_the_calibration_finished(
    left_s: float | None, pose: set[str]
) -> None:
    again = calibration(Phase.POSES, ("good",), left_s=left_s, has_poses=True)
    assert buttons_of(again) == pose | {"poses", "redo", "finish"}


@pytest.mark.parametrize("phase", [Phase.FINISHING, Phase.DONE, Phase.FAILED])
def test_what_is_over_offers_nothing(phase: Phase) -> None:
    assert buttons_of(calibration(phase)) == frozenset()


def test_what_the_engine_says_comes_before_what_the_page_says() -> None:
    assert hint(calibration(Phase.REST, notice="trial 3 is redone")) == "trial 3 is redone"


def test_trials_that_were_made_again_count_once() -> None:
    assert (
        made(calibration(Phase.MOVE, ("good", "redone", "bad", "accepted", "left out", "now", "planned")))
        == 4
    )


@pytest.mark.parametrize(
    ("lag_ms", "words"),
    [
        (None, ""),
        (5.0, "both hands together"),
        (150.0, "able hand 150 ms later"),
        (-40.0, "able hand 40 ms earlier"),
    ],
)
def test_a_lag_is_said_where_it_matters(lag_ms: float | None, words: str) -> None:
    assert lag_words(lag_ms) == words


def test_the_newest_known_score_is_shown() -> None:
    fits = (
        FitView(1, 1.0, {"per_dof_accuracy": 0.9}),
        FitView(2, 1.0, {"per_dof_accuracy": 0.95}),
        FitView(3, 0.1, {}),
    )
    assert latest_score(calibration(Phase.MOVE, fits=fits)) == "95.0%"
    assert latest_score(calibration(Phase.MOVE)) == "not known yet"
