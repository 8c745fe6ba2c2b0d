"""A calibration's view in words, and what a person may ask of it now. Pure: pages show it."""

from __future__ import annotations

from calibration.view import CalibrationView, Phase
from nervehand.console.texts import TEXTS, say

SCORE = "per_dof_accuracy"
"""The score of the learning curve: of METRICS."""
TOGETHER_MS = 20.0
"""Less than a hop, or about one: no lag that a person could feel."""
_ASKABLE: dict[Phase, frozenset[str]] = {
    Phase.POSES: frozenset({"pose"}),
    Phase.PAUSED: frozenset({"resume", "redo", "finish"}),
    Phase.ROUND_DONE: frozenset({"start", "redo", "finish"}),
    Phase.FINISHING: frozenset(),
    Phase.DONE: frozenset(),
    Phase.FAILED: frozenset(),
}
_UNDER_WAY = frozenset({"pause", "redo", "finish"})


def buttons_of(view: CalibrationView) -> frozenset[str]:
    """The commands that mean something now."""
    if view.phase is Phase.POSES:
        waiting = frozenset() if view.left_s is not None else _ASKABLE[Phase.POSES]
        return waiting | {"poses", "redo", "finish"} if view.has_poses else waiting
    again: frozenset[str] = frozenset() if view.kind == "mimic" else frozenset({"poses"})
    if view.phase is Phase.READY:
        is_begun = any(trial.state not in ("planned", "now") for trial in view.trials)
        return again | ({"next", "pause", "redo", "finish"} if is_begun else {"start"})
    asked = _ASKABLE.get(view.phase, _UNDER_WAY)
    return again | asked if view.phase in (Phase.PAUSED, Phase.ROUND_DONE) else asked


def headline(view: CalibrationView) -> str:
    """What to do now, in a few words that are read at arm's length."""
    name = view.phase.name.lower()
    if view.phase is Phase.POSES:
        key = "phase.poses_held" if view.left_s is not None else "phase.poses"
        return say(key, pose=pose_words(view.pose))
    return say(f"phase.{name}", movement=movement_words(view.movement))


def hint(view: CalibrationView) -> str:
    """What it is for, below the headline; what the engine has to say goes first."""
    return view.notice or say(f"hint.{view.phase.name.lower()}")


def made(view: CalibrationView) -> int:
    """How many trials of the plan have been made; one that another stands for does not count twice."""
    return sum(trial.state in ("good", "bad", "accepted", "left out") for trial in view.trials)


def lag_words(lag_ms: float | None) -> str:
    """How much later or earlier the able hand moved; what is too small to matter is said so."""
    if lag_ms is None:
        return ""
    if abs(lag_ms) < TOGETHER_MS:
        return say("lag.together")
    return say("lag.later" if lag_ms > 0 else "lag.earlier", ms=f"{abs(lag_ms):.0f}")


def lag_sentence(view: CalibrationView) -> str:
    """The lag between both hands, and how sure it is."""
    if view.lag_ms is None:
        return say("calibrate.no_lag")
    key = "calibrate.lag" if abs(view.lag_ms) >= TOGETHER_MS else "calibrate.lag_none"
    return say(key, lag=lag_words(view.lag_ms), confidence=f"{view.lag_confidence or 0:.0%}")


def movement_words(name: str) -> str:
    """A movement as an instruction: "bend the index finger"; another's name as it is."""
    key = f"movement.{name}"
    return TEXTS.get(key, name)


def pose_words(name: str) -> str:
    """A pose as an instruction."""
    return TEXTS.get(f"pose.{name}", name)


def latest_score(view: CalibrationView) -> str:
    """The newest known score, in percent."""
    known = [fit.scores[SCORE] for fit in view.fits if SCORE in fit.scores]
    return f"{known[-1]:.1%}" if known else say("calibrate.not_yet")
