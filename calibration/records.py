"""What a calibration remembers: its trials with their verdicts, its clocks and lags, its fits. Plain data, as JSON."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from calibration.truth.hand_calibration import HandCalibration


class Verdict(Enum):
    """What becomes of a trial."""

    GOOD = "good"
    BAD = "bad"


class Reason(Enum):
    """Why a trial is bad."""

    HANDS_DISAGREE = "the hands disagree"
    NOTHING_MOVED = "nothing moved"
    WRONG_MOVEMENT = "another movement than asked for"
    TRUTH_FROZE = "the able hand's sensor froze"
    TRUTH_LOST = "the able hand was not seen"
    NERVE_BAD = "the nerve signal was bad"
    SAMPLES_LOST = "samples were lost"


@dataclass(frozen=True, slots=True)
class TrialRecord:
    """One trial as it was made, and what was found of it.

    `number` counts from 1 over the whole calibration, redone ones included; `round_number` and `repetition` from 1;
    `movement` is its name. Samples are absolute, the trial's first and one past its last; `cue_sample` is that of the
    cue to move, `release_sample` that of the cue to return. `recording` is the file that holds it. `verdict` is the
    program's, with `reasons`; `accepted` a person's word against it, None where nobody said anything.
    `agreement` (-1..1) is the correlation of what the nerve said with what the able hand did, `lag_s` how much later
    the able hand moved than the nerve said, `lag_confidence` 0..1; None where unknown. `instead_of` is the number of
    the trial that this one repeats, 0 of none; `is_redone`: a person left it out and wants it made again.
    """

    number: int
    round_number: int
    repetition: int
    movement: str
    recording: str
    first_sample: int
    cue_sample: int
    release_sample: int
    stop_sample: int
    verdict: Verdict = Verdict.GOOD
    reasons: tuple[Reason, ...] = ()
    accepted: bool | None = None
    agreement: float | None = None
    lag_s: float | None = None
    lag_confidence: float | None = None
    masked_share: float = 0.0
    instead_of: int = 0
    is_redone: bool = False

    @property
    def is_used(self) -> bool:
        """Whether it teaches the decoder: a person's word counts more than the program's."""
        return self.verdict is Verdict.GOOD if self.accepted is None else self.accepted


@dataclass(frozen=True, slots=True)
class HandRecord:
    """The able hand's sensors as calibrated while `recording` stood at `sample_index`: they say so from there on."""

    recording: str
    sample_index: int
    calibration: HandCalibration


@dataclass(frozen=True, slots=True)
class AlignmentRecord:
    """How the able hand's clock and motion were brought to the nerve's.

    `drift_ppm` is how much faster the truth's clock runs than the nerve's samples; `clock_residual_s` the spread of
    what is left; `lag_s` how much later the able hand moved than the phantom, taken out of the labels, with its
    `lag_confidence` (0..1) and `lag_spread_s` over the trials.
    """

    drift_ppm: float
    clock_residual_s: float
    lag_s: float
    lag_confidence: float
    lag_spread_s: float


@dataclass(frozen=True, slots=True)
class FitRecord:
    """A decoder fitted after a round: on how many trials, its scores on the round that followed, and how long it took.

    `scores` has names of METRICS (`per_dof_accuracy`, ...), on trials that it had not seen; empty while unknown.
    """

    after_round: int
    n_trials: int
    scores: dict[str, float]
    fit_s: float
