"""What a person sees of a calibration at one moment, in the terminal or in a browser: plain data, as JSON."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class Phase(Enum):
    """Where a calibration stands."""

    POSES = "poses"  # the able hand's sensors are calibrated: `pose` says which to hold
    READY = "ready"  # waits for `start`, or at the subject's pace for `next`
    COUNTDOWN = "countdown"
    MOVE = "move"
    HOLD = "hold"
    RETURN = "return"
    REST = "rest"
    PAUSED = "paused"
    ROUND_DONE = "round done"  # waits for `start` (another round), `redo` or `finish`
    FINISHING = "finishing"  # the last fit and the report
    DONE = "done"
    FAILED = "failed"  # `problem` says why


@dataclass(frozen=True, slots=True)
class TrialView:
    """A trial in the list: `state` is "planned", "now", "good", "bad", "accepted" (bad, but a person takes it),
    "left out" (good, but a person does not) or "redone" (another one stands for it); `reasons` are words."""

    number: int
    round_number: int
    movement: str
    state: str
    reasons: tuple[str, ...] = ()
    agreement: float | None = None
    lag_ms: float | None = None


@dataclass(frozen=True, slots=True)
class FitView:
    """A decoder of the rounds so far: `progress` 0..1, 1 once it decodes; `scores` on the round after it, by name."""

    after_round: int
    progress: float
    scores: dict[str, float]


@dataclass(frozen=True, slots=True)
class CalibrationView:
    """All that is shown. Positions are six in -1..1 (DOF_NAMES), None where there is none.

    `has_poses` says that the able hand is calibrated: poses that are asked for then are held again, and may be left.
    `target` is what the cue shows now, `able` the measured hand mirrored, `phantom` what the decoder makes of the
    nerve. `left_s` is how long the phase lasts from now, None where a person decides. `gain` is what another round
    would bring in `gain_of` (a score's name), None while unknown; `advice` says so in words. `problem` is what is wrong
    now (a sensor that is silent, a lost source), "" where nothing is. `files` are the results by kind, once there.
    """

    phase: Phase
    kind: str
    subject: str
    side: str
    trial: int
    n_trials: int
    round_number: int
    n_rounds: int
    movement: str
    pose: str
    has_poses: bool
    left_s: float | None
    phase_s: float | None
    target: tuple[float, ...]
    able: tuple[float, ...] | None
    phantom: tuple[float, ...] | None
    gesture: str
    confidence: float
    masked: tuple[str, ...]
    trials: tuple[TrialView, ...]
    fits: tuple[FitView, ...]
    advice: str
    gain: float | None
    gain_of: str
    lag_ms: float | None
    lag_confidence: float | None
    notice: str
    problem: str
    files: dict[str, str]


COMMANDS: tuple[str, ...] = (
    "start",
    "next",
    "pause",
    "resume",
    "redo",
    "accept",
    "leave_out",
    "pose",
    "poses",
    "finish",
    "stop",
)
"""What a person may ask of a calibration: `redo`, `accept` and `leave_out` with a trial's number; `next` at the
subject's pace; `pose` once the pose asked for is held; `poses` to hold all of them again, where the able hand's sensors
were taken off or have slipped, and nothing is under way, and once more (or going on) to leave it at those of before;
`finish` ends early and keeps what there is; `stop` pauses: nothing but the screen's hand moves in a calibration."""
