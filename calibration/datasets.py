"""Sessions to feature streams, feature streams to trial pieces, pieces to seeded orders.

Conditioning and features run causally over a whole recording in its recorded order; only the resulting
feature stream is cut and shuffled, so that no filter ever sees a splice.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from decoder.chain import FrontEnd
from decoder.session.model import Session, iter_blocks, left_out_spans
from firmware_bridge.errors import NervehandError

Scalar = TypeVar("Scalar", bound=np.generic)

REST = 0
UNLABELLED = -1
NO_TRIAL = 0
LEFT_OUT = -1
"""The trial of a hop of which nothing is to be learned or scored."""
NO_REPETITION = 0
BLOCK_S = 1.0
FIXED_PIECE_S = 5.0
"""Length of the pieces of a recording that names neither gestures nor trials, in seconds."""


@dataclass(frozen=True, slots=True)
class FeatureStream:
    """k feature vectors in recorded order, with what was true at each hop's last raw sample.

    `features` (k, f) float32, not normalised; `masked` (k, f) bool; `sample_index` (k,) int64, the absolute
    raw index within its own recording; `label` (k,) int64, 0 rest, 1.. movements, -1 where nobody said;
    `trial` (k,) int64, unique over all recordings, 0 where there is none, LEFT_OUT where none may be; `repetition`
    (k,) int64, from 1, 0 where there is none; `truth` (k, d) float32 in the units of the recording, or None;
    `segment` (k,) int64: hops of one segment followed each other without a gap; `hop_s` seconds from hop to hop.
    """

    features: NDArray[np.float32]
    masked: NDArray[np.bool_]
    sample_index: NDArray[np.int64]
    label: NDArray[np.int64]
    trial: NDArray[np.int64]
    repetition: NDArray[np.int64]
    truth: NDArray[np.float32] | None
    segment: NDArray[np.int64]
    hop_s: float

    def __post_init__(self) -> None:
        k = len(self.features)
        columns = {
            "masked": self.masked,
            "sample_index": self.sample_index,
            "label": self.label,
            "trial": self.trial,
            "repetition": self.repetition,
            "segment": self.segment,
            "truth": self.features if self.truth is None else self.truth,
        }
        for name, column in columns.items():
            if len(column) != k:
                raise NervehandError(f"{name} has {len(column)} rows for {k} hops: give one row per hop")
        if not (np.isfinite(self.hop_s) and self.hop_s > 0):
            raise NervehandError(f"the hop is {self.hop_s} s: give a positive number of seconds")

    def __len__(self) -> int:
        return len(self.features)

    @property
    def since_change(self) -> NDArray[np.int64]:
        """Hops (k,) since the label last changed, as recorded; the length of the stream where it had not yet."""
        last = np.full(len(self), -len(self), np.int64)
        edges = run_edges(self.label, self.segment)
        for start, stop in pairwise(edges.tolist()):
            if start and self.segment[start] == self.segment[start - 1]:
                last[start:stop] = start
        since: NDArray[np.int64] = np.minimum(np.arange(len(self)) - last, len(self))
        return since

    def hops(self, seconds: float) -> int:
        """The whole number of hops that covers `seconds`."""
        return int(np.ceil(seconds / self.hop_s - 1e-9))


@dataclass(frozen=True, slots=True)
class Piece:
    """Rows `start` to `stop` of a feature stream: one movement with half of the rest on either side.

    `trial` is unique within the stream; `gesture` is the label of its movement (0 where it has none);
    `repetition` says which time the movement was made (0: unknown); `alone`: the piece is its whole segment,
    connected to no other piece.
    """

    start: int
    stop: int
    trial: int
    gesture: int
    repetition: int
    segment: int
    alone: bool

    def __len__(self) -> int:
        return self.stop - self.start


@dataclass(frozen=True, slots=True)
class Order:
    """The hops of some pieces in the order in which a stateful decoder meets them.

    `rows` (n,) int64 into the stream; `piece` (n,) int64, the place of the hop's piece in the order; `scored`
    (n,) bool, False in the first hops of each piece.
    """

    rows: NDArray[np.int64]
    piece: NDArray[np.int64]
    scored: NDArray[np.bool_]


def run_edges(*columns: NDArray[np.int64]) -> NDArray[np.int64]:
    """Edges (r + 1,) of the r runs over which every column is constant; (1,) holding 0 for no rows."""
    k = len(columns[0])
    if k == 0:
        return np.zeros(1, np.int64)
    changed = np.zeros(k - 1, np.bool_)
    for column in columns:
        changed |= column[1:] != column[:-1]
    return np.concatenate(([0], np.flatnonzero(changed) + 1, [k])).astype(np.int64)


def value_at(values: NDArray[Scalar], sample_index: NDArray[np.int64], first_sample: int) -> NDArray[Scalar]:
    """What `values` (n, ...), one row per raw sample from `first_sample` on, said at each raw index."""
    rows = sample_index - first_sample
    if len(rows) and (rows[0] < 0 or rows[-1] >= len(values)):
        raise NervehandError(
            f"hops rest on samples {sample_index[0]} to {sample_index[-1]}, but labels or truth cover "
            f"{first_sample} to {first_sample + len(values) - 1}: give one value per sample of the signal"
        )
    return values[rows]


def feature_stream(
    features: NDArray[np.float32],
    masked: NDArray[np.bool_],
    sample_index: NDArray[np.int64],
    *,
    hop_samples: int,
    rate_hz: float,
    first_sample: int = 0,
    label: NDArray[np.integer] | None = None,
    trial: NDArray[np.integer] | None = None,
    repetition: NDArray[np.integer] | None = None,
    truth: NDArray[np.floating] | None = None,
    left_out: Sequence[tuple[int, int]] = (),
) -> FeatureStream:
    """One recording's features (k, f) beside what was true at each hop's last raw sample.

    `label`, `trial`, `repetition` (n,) and `truth` (n, d) have one row per raw sample from `first_sample` on.
    Where trials or repetitions are missing they follow from the runs of the labels. A step of more than
    `hop_samples` raw samples from hop to hop begins a new segment, and so does each trial where `unconnected`.
    Hops whose newest sample lies in a `left_out` range (absolute first and stop) belong to no piece; what lies between
    two such ranges is a segment of its own.
    """
    if len(sample_index) == 0:
        raise NervehandError("the recording is too short for one feature window: record more")
    apart = np.diff(sample_index, prepend=sample_index[:1]) > hop_samples

    def at_hops(values: NDArray[np.integer] | None, missing: int) -> NDArray[np.int64]:
        if values is None:
            return np.full(len(sample_index), missing, np.int64)
        return value_at(values, sample_index, first_sample).astype(np.int64)

    labels = at_hops(label, UNLABELLED)
    trials, repetitions = at_hops(trial, NO_TRIAL), at_hops(repetition, NO_REPETITION)
    if unconnected(labels, trials):
        apart |= np.diff(trials, prepend=trials[:1]) != 0
    is_out = np.zeros(len(sample_index), np.bool_)
    for first, stop in left_out:
        is_out |= (sample_index >= first) & (sample_index < stop)
    apart |= np.diff(is_out, prepend=is_out[:1])
    segment = np.cumsum(apart, dtype=np.int64)
    counted_trials, counted_repetitions = number_movements(labels, trials, segment)
    return FeatureStream(
        features=np.asarray(features, np.float32),
        masked=np.asarray(masked, np.bool_),
        sample_index=np.asarray(sample_index, np.int64),
        label=labels,
        trial=np.where(is_out, LEFT_OUT, counted_trials if trial is None else trials),
        repetition=counted_repetitions if repetition is None else repetitions,
        truth=None if truth is None else value_at(truth, sample_index, first_sample).astype(np.float32),
        segment=segment,
        hop_s=hop_samples / rate_hz,
    )


def unconnected(label: NDArray[np.int64], trial: NDArray[np.int64]) -> bool:
    """Whether the trials are pieces that were put side by side: each of one label, mostly movement by movement.

    A hand that moves from one gesture to another without rest, hundreds of times, is not a recording.
    """
    starts = run_edges(trial, label)[:-1]
    if (trial == NO_TRIAL).any() or len(np.unique(trial)) != len(starts):
        return False
    moving = label[starts] > REST
    return int(np.sum(moving[1:] & moving[:-1])) > int(moving.sum()) / 2


def session_stream(
    session: Session,
    front_end: FrontEnd,
    hop_samples: int,
    gesture_names: Sequence[str] | None = None,
    truth_names: Sequence[str] | None = None,
) -> FeatureStream:
    """A whole session through the front end, in recorded order, and what was true at each hop.

    `hop_samples` counts raw samples. Labels become indices of `gesture_names`, matched by name (default: the
    session's own; 0 is rest in both). Truth columns are `truth_names` in their order (default: all); where
    the session lacks one of them, the stream has no truth.
    """
    front_end.reset()
    rate_hz = session.info.rate_hz
    found = [front_end.process(block)[0] for block in iter_blocks(session, max(1, round(BLOCK_S * rate_hz)))]
    labels: NDArray[np.integer] | None = session.labels
    if labels is not None and gesture_names is not None:
        try:
            labels = renamed(labels, session.gesture_names, gesture_names)
        except NervehandError as error:
            raise NervehandError(f"session {session.meta.identifier}: {error}") from None
    truth = session.truth
    if truth is not None and truth_names is not None:
        columns = [session.truth_names.index(name) for name in truth_names if name in session.truth_names]
        truth = truth[:, columns] if columns and len(columns) == len(truth_names) else None
    return feature_stream(
        np.concatenate([part.values for part in found]),
        np.concatenate([part.masked for part in found]),
        np.concatenate([part.sample_index for part in found]),
        hop_samples=hop_samples,
        rate_hz=rate_hz,
        first_sample=session.first_sample,
        label=labels,
        trial=session.trial,
        repetition=session.repetition,
        truth=truth,
        left_out=left_out_spans(session),
    )


def renamed(
    label: NDArray[np.integer], names: Sequence[str], gesture_names: Sequence[str]
) -> NDArray[np.int64]:
    """Labels (n,) that index `names` as indices of `gesture_names`, matched by name; 0 is rest in both."""
    target = np.zeros(len(names), np.int64)
    for i in sorted(set(np.unique(label).tolist()) - {REST}):
        if names[i] not in gesture_names[1:]:
            raise NervehandError(
                f"the labels hold the gesture {names[i]!r}, which the decoder does not know "
                f"({', '.join(gesture_names)}): choose sessions of these gestures, or fit a decoder on it"
            )
        target[i] = list(gesture_names).index(names[i])
    found: NDArray[np.int64] = target[label]
    return found


def number_movements(
    label: NDArray[np.int64], trial: NDArray[np.int64], segment: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Trials and repetitions (k,) derived from label runs, for a recording that names none.

    Each run of one movement within one `trial` is a movement, numbered from 1; its repetition counts the runs
    of the same movement up to it, from 1. Rest has neither.
    """
    numbers = np.full(len(label), NO_TRIAL, np.int64)
    repetition = np.full(len(label), NO_REPETITION, np.int64)
    seen: dict[int, int] = {}
    for number, (start, stop) in enumerate(_movements(label, trial, segment), start=1):
        gesture = int(label[start])
        seen[gesture] = seen.get(gesture, 0) + 1
        numbers[start:stop], repetition[start:stop] = number, seen[gesture]
    return numbers, repetition


def concatenate(streams: Sequence[FeatureStream]) -> FeatureStream:
    """One stream out of several recordings': trials and segments are renumbered so that they stay unique."""
    if not streams:
        raise NervehandError("there is no recording: give at least one session")
    first = streams[0]
    for other in streams[1:]:
        if not np.isclose(other.hop_s, first.hop_s):
            raise NervehandError(
                f"the hop is {first.hop_s} s in one recording and {other.hop_s} s in another"
            )
        if other.features.shape[1] != first.features.shape[1]:
            raise NervehandError(
                f"one recording has {first.features.shape[1]} features, another {other.features.shape[1]}: "
                "give recordings of the same channels"
            )
        if _truth_width(other) != _truth_width(first):
            raise NervehandError(
                f"one recording has {_truth_width(first)} truth columns and another {_truth_width(other)}: "
                "give recordings with the same ground truth"
            )
    trials, segments, next_trial, next_segment = [], [], 0, 0
    for stream in streams:
        trials.append(np.where(stream.trial <= NO_TRIAL, stream.trial, stream.trial + next_trial))
        segments.append(stream.segment + next_segment)
        next_trial += int(stream.trial.max(initial=NO_TRIAL))
        next_segment += int(stream.segment.max(initial=-1)) + 1
    truths = [stream.truth for stream in streams if stream.truth is not None]
    return FeatureStream(
        features=np.concatenate([stream.features for stream in streams]),
        masked=np.concatenate([stream.masked for stream in streams]),
        sample_index=np.concatenate([stream.sample_index for stream in streams]),
        label=np.concatenate([stream.label for stream in streams]),
        trial=np.concatenate(trials),
        repetition=np.concatenate([stream.repetition for stream in streams]),
        truth=np.concatenate(truths) if truths else None,
        segment=np.concatenate(segments),
        hop_s=first.hop_s,
    )


def pieces(stream: FeatureStream, repetitions: Iterable[int] | None = None) -> list[Piece]:
    """The stream cut into pieces of one movement with half of the rest on either side, in recorded order.

    Every rest between two movements of a segment is cut in its middle; where one movement follows another
    without rest, the cut is at the change. The pieces of a segment cover it. Without labels a piece is a
    trial, without trials either it is 5 s long. A segment of rest only is one piece.

    `repetitions` keeps the pieces of these repetitions only; an unknown one is an error.
    """
    found: list[Piece] = []
    edges = run_edges(stream.segment)
    for start, stop in pairwise(edges.tolist()):
        if stream.trial[start] != LEFT_OUT:
            found.extend(_segment_pieces(stream, start, stop, len(found)))
    return found if repetitions is None else with_repetitions(found, repetitions)


def with_repetitions(found: Sequence[Piece], repetitions: Iterable[int]) -> list[Piece]:
    """The pieces of the named repetitions, in the order given."""
    wanted = sorted(set(repetitions))
    there = sorted({piece.repetition for piece in found} - {NO_REPETITION})
    unknown = [repetition for repetition in wanted if repetition not in there]
    if unknown:
        listed = ", ".join(map(str, there))
        remedy = f"choose among {listed}" if listed else "leave --repetitions out: this recording has none"
        raise NervehandError(f"no trial of repetition {', '.join(map(str, unknown))}: {remedy}")
    return [piece for piece in found if piece.repetition in wanted]


def shuffled(found: Sequence[Piece], seed: int) -> list[Piece]:
    """The pieces in the order that belongs to `seed`, the same on every machine."""
    return [found[i] for i in np.random.default_rng(seed).permutation(len(found))]


def in_order(found: Sequence[Piece], unscored_hops: int) -> Order:
    """The hops of the pieces one after another; the first `unscored_hops` of each are not scored."""
    if not found:
        raise NervehandError("there is no trial to run over: give recordings with at least one")
    within = np.concatenate([np.arange(len(piece), dtype=np.int64) for piece in found])
    place = np.repeat(np.arange(len(found), dtype=np.int64), [len(piece) for piece in found])
    starts = np.array([piece.start for piece in found], np.int64)
    return Order(rows=starts[place] + within, piece=place, scored=within >= unscored_hops)


def _truth_width(stream: FeatureStream) -> int:
    return 0 if stream.truth is None else int(stream.truth.shape[1])


def _movements(
    label: NDArray[np.int64], trial: NDArray[np.int64], segment: NDArray[np.int64]
) -> list[tuple[int, int]]:
    """Runs of one movement within one trial, as (start, stop)."""
    at_movement = np.where(label > REST, trial, NO_TRIAL)
    edges = run_edges(np.maximum(label, REST), at_movement, segment)
    return [(start, stop) for start, stop in pairwise(edges.tolist()) if label[start] > REST]


def _segment_pieces(stream: FeatureStream, start: int, stop: int, first_number: int) -> list[Piece]:
    label, trial = stream.label[start:stop], stream.trial[start:stop]
    segment = stream.segment[start:stop]
    labelled = bool((label != UNLABELLED).any())
    if labelled:
        movements = _movements(label, trial, segment) or [(0, stop - start)]
    elif (trial != NO_TRIAL).any():
        # Without labels the trials stand for the movements.
        movements = [(a, b) for a, b in pairwise(run_edges(trial).tolist()) if trial[a] != NO_TRIAL]
    else:
        length = max(1, round(FIXED_PIECE_S / stream.hop_s))
        movements = [(a, min(a + length, stop - start)) for a in range(0, stop - start, length)]
    cuts = [0, *((a[1] + b[0]) // 2 for a, b in pairwise(movements)), stop - start]
    repetition = stream.repetition[start:stop]
    return [
        Piece(
            start=start + cuts[i],
            stop=start + cuts[i + 1],
            trial=first_number + i,
            gesture=max(int(label[a]), REST) if labelled else REST,
            repetition=_most_common(repetition[a:b]),
            segment=int(segment[0]),
            alone=len(movements) == 1,
        )
        for i, (a, b) in enumerate(movements)
    ]


def _most_common(repetition: NDArray[np.int64]) -> int:
    known = repetition[repetition != NO_REPETITION]
    return int(np.bincount(known).argmax()) if len(known) else NO_REPETITION
