"""All scores of one run of a decoder over trials in one order, under the names that reports print."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from calibration.scores import classification, dof, events, regression
from calibration.scores.errors import NotScoredError
from calibration.scores.throughput import throughput

Floats = NDArray[np.float32] | NDArray[np.float64]

GESTURE_SCORES = (
    "movement_accuracy",
    "trial_vote_accuracy",
    "gesture_accuracy",
    "balanced_accuracy",
    "macro_f1",
)
DOF_SCORES = ("per_dof_accuracy", "per_dof_balanced_accuracy", "exact_match")
OUTPUT_SCORES = ("joint_r2", "joint_r")
HOP_SCORES = GESTURE_SCORES + DOF_SCORES + OUTPUT_SCORES

NO_GESTURES = "the decoder gives no gestures"
NO_LABELS = "the recording names no gestures"
NO_TRUTH = "the recording has no ground truth"
NO_OUTPUTS = "the decoder gives no outputs"
NO_POSITIONS = "the decoder gives no positions"
NO_TRUE_POSITIONS = "the true positions are unknown"


@dataclass(frozen=True, slots=True)
class Reference:
    """What was true over n hops, in the order in which the decoder met them.

    `label` (n,), below 0 where unknown; `piece` (n,) the trial's place in the order; `stretch` (n,) changes
    wherever the decoder was reset; `scored` (n,) bool; `truth` (n, d) in the units of the decoder's outputs;
    `positions` (n, 6) in -1..1. `doubtful` (n,) bool: hops whose label is not trusted, left out where hops are
    scored one by one; None for none.
    """

    label: NDArray[np.int64]
    piece: NDArray[np.int64]
    stretch: NDArray[np.int64]
    scored: NDArray[np.bool_]
    hop_s: float
    truth: Floats | None = None
    positions: Floats | None = None
    doubtful: NDArray[np.bool_] | None = None

    @property
    def trusted(self) -> NDArray[np.bool_]:
        """The scored hops (n,) whose label is not doubtful."""
        return self.scored if self.doubtful is None else self.scored & ~self.doubtful


@dataclass(frozen=True, slots=True)
class Answers:
    """What the decoder said over the same hops: the network's raw answers, or the decided ones.

    `gesture` (n,) over all classes, below 0 a rejection; `movement` (n,) the best class that is not rest (of
    decided answers the gesture itself); `outputs` (n, d); `positions` (n, 6) in -1..1.
    """

    gesture: NDArray[np.int64] | None = None
    movement: NDArray[np.int64] | None = None
    outputs: Floats | None = None
    positions: Floats | None = None


@dataclass(slots=True)
class ScoreTable:
    """Scores by name, None where one has no meaning; `not_scored` says why; `each` holds parts of a mean."""

    scores: dict[str, float | None] = field(default_factory=dict)
    not_scored: dict[str, str] = field(default_factory=dict)
    each: dict[str, tuple[float | None, ...]] = field(default_factory=dict)

    def put(self, name: str, score: Callable[[], float | None]) -> None:
        """Enter a score, or the reason for which there is none."""
        try:
            self.scores[name] = score()
        except NotScoredError as reason:
            self.absent(str(reason), name)

    def absent(self, reason: str, *names: str) -> None:
        """Enter names that have no score, all for one reason."""
        for name in names:
            self.scores[name], self.not_scored[name] = None, reason

    def put_each(self, name: str, values: NDArray[np.float64]) -> None:
        """Enter the parts of a mean, NaN where one is not scored."""
        self.each[name] = tuple(None if np.isnan(value) else float(value) for value in values)


def score_answers(
    table: ScoreTable, prefix: str, reference: Reference, answers: Answers, n_movements: int
) -> None:
    """Enter every score that raw and decided answers share, each name with `prefix` before it.

    `n_movements` is how many movements the decoder chooses among.
    """
    steady = reference.trusted & events.steady(reference.label, reference.stretch, reference.hop_s)
    score_hops(table, prefix, reference, answers, reference.trusted)
    score_hops(table, f"{prefix}steady_", reference, answers, steady)
    if missing := _no_labels(reference):
        table.absent(missing, *(name for name in table.scores if name.startswith(f"{prefix}steady_")))
    _score_changes(table, prefix, reference, answers, n_movements)
    _score_holds(table, prefix, reference, answers)


def score_hops(
    table: ScoreTable, prefix: str, reference: Reference, answers: Answers, keep: NDArray[np.bool_]
) -> None:
    """Enter the scores that look at the hops in `keep` (n,) one by one, each name with `prefix` before it."""
    _score_gestures(table, prefix, reference, answers, keep)
    _score_dofs(table, prefix, reference, answers, keep)
    _score_outputs(table, prefix, reference, answers, keep)


def score_commands(table: ScoreTable, reference: Reference, decided: Answers) -> None:
    """Enter what the commanded hand did that nobody asked for."""
    gesture = decided.gesture
    missing = NO_GESTURES if gesture is None else _no_labels(reference)
    for name, exposure, rate in (
        ("unintended_activations", "rest_hours", _activations),
        ("unintended_releases", "hold_hours", _releases),
    ):
        names = f"{name}_per_hour", f"{name}_upper_95_per_hour", exposure, name
        if missing or gesture is None:
            table.absent(missing, *names)
            continue
        try:
            found = rate(reference, decided, gesture)
        except NotScoredError as reason:
            table.absent(str(reason), *names)
        else:
            values = found.per_hour, found.upper_per_hour, found.hours, found.count
            table.scores.update(zip(names, values, strict=True))


def _score_gestures(
    table: ScoreTable, prefix: str, reference: Reference, answers: Answers, keep: NDArray[np.bool_]
) -> None:
    names = [f"{prefix}{name}" for name in GESTURE_SCORES]
    missing = _no_labels(reference)
    if missing or answers.gesture is None or answers.movement is None:
        table.absent(missing or NO_GESTURES, *names)
        return
    label, piece = reference.label[keep], reference.piece[keep]
    gesture, movement = answers.gesture[keep], answers.movement[keep]
    table.put(names[0], lambda: classification.movement_accuracy(label, movement))
    table.put(names[1], lambda: classification.trial_vote_accuracy(label, movement, piece))
    table.put(names[2], lambda: classification.gesture_accuracy(label, gesture))
    table.put(names[3], lambda: classification.balanced_accuracy(label, gesture))
    table.put(names[4], lambda: classification.macro_f1(label, gesture))


def _score_dofs(
    table: ScoreTable, prefix: str, reference: Reference, answers: Answers, keep: NDArray[np.bool_]
) -> None:
    names = [f"{prefix}{name}" for name in DOF_SCORES]
    if reference.positions is None or answers.positions is None:
        table.absent(NO_POSITIONS if answers.positions is None else NO_TRUE_POSITIONS, *names)
        return
    try:
        found = dof.dof_scores(reference.positions[keep], answers.positions[keep])
    except NotScoredError as reason:
        table.absent(str(reason), *names)
        return
    values = found.mean_accuracy, found.mean_balanced, found.exact_match
    table.scores.update(zip(names, values, strict=True))
    table.put_each(names[0], found.accuracy)
    table.put_each(names[1], found.balanced)


def _score_outputs(
    table: ScoreTable, prefix: str, reference: Reference, answers: Answers, keep: NDArray[np.bool_]
) -> None:
    names = [f"{prefix}{name}" for name in OUTPUT_SCORES]
    if reference.truth is None or answers.outputs is None:
        table.absent(NO_OUTPUTS if answers.outputs is None else NO_TRUTH, *names)
        return
    truth, outputs = reference.truth[keep], answers.outputs[keep]
    table.put(names[0], lambda: regression.joint_r2(truth, outputs))
    table.put(names[1], lambda: regression.joint_r(truth, outputs))
    if table.scores[names[0]] is not None:
        table.put_each(names[0], regression.column_r2(truth, outputs))
        table.put_each(names[1], regression.column_r(truth, outputs))


def _score_changes(
    table: ScoreTable, prefix: str, reference: Reference, answers: Answers, n_movements: int
) -> None:
    missing = _no_labels(reference)
    throughput_names = [
        f"{prefix}information_throughput_{part}" for part in ("bits_per_min", "n", "p", "t_s")
    ]
    gesture = answers.gesture
    for name, latency in (("onset", events.onset_latency), ("offset", events.offset_latency)):
        names = f"{prefix}{name}_latency_ms", f"{prefix}{name}_missed_share"
        if missing or gesture is None:
            table.absent(missing or NO_GESTURES, *names)
            continue
        try:
            found = latency(reference.label, gesture, reference.piece, reference.scored, reference.hop_s)
        except NotScoredError as reason:
            table.absent(str(reason), *names)
            continue
        table.scores.update({names[0]: found.median_ms, names[1]: found.missed / found.n})
        if found.median_ms is None:
            table.absent("no change ever shows", names[0])
    if missing or gesture is None:
        table.absent(missing or NO_GESTURES, *throughput_names)
        return
    try:
        bits = throughput(
            reference.label, gesture, reference.piece, reference.scored, reference.hop_s, n_movements
        )
    except NotScoredError as reason:
        table.absent(str(reason), *throughput_names)
    else:
        values = bits.bits_per_min, float(bits.n_choices), bits.p_right, bits.selection_s
        table.scores.update(zip(throughput_names, values, strict=True))


def _score_holds(table: ScoreTable, prefix: str, reference: Reference, answers: Answers) -> None:
    names = f"{prefix}hold_drift", f"{prefix}hold_jitter"
    missing = _no_labels(reference)
    if missing or answers.positions is None:
        table.absent(missing or NO_POSITIONS, *names)
        return
    inner = _holds(reference)
    try:
        values = events.hold_drift_and_jitter(answers.positions, reference.positions, inner, reference.hop_s)
    except NotScoredError as reason:
        table.absent(str(reason), *names)
    else:
        table.scores.update(zip(names, values, strict=True))


def _activations(reference: Reference, decided: Answers, gesture: NDArray[np.int64]) -> events.EventRate:
    return events.unintended_activations(
        reference.label, gesture, decided.positions, reference.stretch, reference.scored, reference.hop_s
    )


def _releases(reference: Reference, decided: Answers, gesture: NDArray[np.int64]) -> events.EventRate:
    return events.unintended_releases(
        reference.label, gesture, decided.positions, reference.positions, _holds(reference), reference.hop_s
    )


def _holds(reference: Reference) -> Sequence[slice]:
    return events.holds(reference.label, reference.piece, reference.scored, reference.hop_s)


def _no_labels(reference: Reference) -> str:
    return "" if (reference.label >= 0).any() else NO_LABELS
