"""A decoder run statefully over test trials in seeded orders, and every score with its spread.

The same function scores the exported engine and the classical baselines: whatever steps through normalised
features and can be reset.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from calibration.datasets import FeatureStream, Order, Piece, in_order, shuffled
from calibration.scores.classification import best_gesture, best_movement
from calibration.scores.run import Answers, Reference, ScoreTable, score_answers, score_commands
from decoder.decision import Decision, PositionMap
from decoder.intent import EngineOutput
from firmware_bridge.errors import NervehandError

UNSCORED_AFTER_RESET_S = 0.3
N_ORDERS = 5


class StepDecoder(Protocol):
    """Anything that answers normalised features hop by hop and carries its state: an `Engine`."""

    def reset(self) -> None: ...

    def process(self, z: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Features (k, f) to outputs (k, o) and probabilities (k, g)."""
        ...


@dataclass(frozen=True, slots=True)
class Meaning:
    """What a decoder's answers mean: its gestures, how positions follow, and the decision stage, if any."""

    n_gestures: int
    position_map: PositionMap | None = None
    decision: Decision | None = None


@dataclass(frozen=True, slots=True)
class Summary:
    """Scores over several orders: mean and standard deviation by name, None where one has no meaning.

    `not_scored` says why; `each` holds the parts of a mean (columns, degrees of freedom), averaged over orders.
    """

    mean: dict[str, float | None]
    spread: dict[str, float | None]
    not_scored: dict[str, str]
    each: dict[str, tuple[float | None, ...]]

    def only(self, names: Iterable[str]) -> Summary:
        """The summary of some of the scores."""
        kept = set(names)
        return Summary(
            {name: value for name, value in self.mean.items() if name in kept},
            {name: value for name, value in self.spread.items() if name in kept},
            {name: reason for name, reason in self.not_scored.items() if name in kept},
            {name: values for name, values in self.each.items() if name in kept},
        )


def score_decoder(
    decoder: StepDecoder,
    meaning: Meaning,
    stream: FeatureStream,
    z: NDArray[np.float32],
    orders: Sequence[Sequence[Piece]],
    unscored_s: float,
    *,
    reset_each: bool = False,
    unscored_after_change_s: float = 0.0,
) -> Summary:
    """Every score of a decoder over each of the `orders` of trials, as mean and spread.

    `z` (k, f) are the stream's normalised features. The first `unscored_s` of each piece are not scored. A
    piece that is connected to no other, and with `reset_each` every piece, begins from the reset state and
    is scored after 0.3 s at the earliest. Scores of single hops leave out `unscored_after_change_s` after
    each change of the label: where the labels are cues, the person has yet to react.
    """
    return summarise(
        [
            _one_order(
                decoder,
                meaning,
                stream,
                z,
                order,
                unscored_s,
                reset_each=reset_each,
                unscored_after_change_s=unscored_after_change_s,
            )
            for order in orders
        ]
    )


def seeded_orders(test: Sequence[Piece], n_orders: int = N_ORDERS, seed: int = 0) -> list[list[Piece]]:
    """The orders of the test pieces that belong to `seed`, `seed` + 1, ..."""
    if n_orders < 1:
        raise NervehandError(f"{n_orders} orders: score at least 1")
    return [shuffled(test, seed + i) for i in range(n_orders)]


def summarise(tables: Sequence[ScoreTable]) -> Summary:
    """Mean and sample standard deviation over the tables in which a score has a value."""
    mean: dict[str, float | None] = {}
    spread: dict[str, float | None] = {}
    not_scored: dict[str, str] = {}
    for name in tables[0].scores:
        values = [value for table in tables if (value := table.scores[name]) is not None]
        mean[name] = float(np.mean(values)) if values else None
        spread[name] = spread_of(values)
        if not values:
            not_scored[name] = tables[0].not_scored[name]
    each = {}
    for name in {name: None for table in tables for name in table.each}:
        columns = zip(*(table.each[name] for table in tables if name in table.each), strict=True)
        each[name] = tuple(mean_of_known(column) for column in columns)
    return Summary(mean, spread, not_scored, each)


def reference_of(
    stream: FeatureStream,
    order: Order,
    stretch: NDArray[np.int64],
    position_map: PositionMap | None,
    unscored_after_change_s: float = 0.0,
) -> Reference:
    """What was true over the hops of an order; doubtful for this long after each change of the recorded label."""
    label = stream.label[order.rows]
    truth = None if stream.truth is None else stream.truth[order.rows]
    doubtful = None
    if unscored_after_change_s > 0:
        doubtful = stream.since_change[order.rows] < stream.hops(unscored_after_change_s)
    return Reference(
        label=label,
        piece=order.piece,
        stretch=stretch,
        scored=order.scored,
        hop_s=stream.hop_s,
        truth=truth,
        positions=_true_positions(label, truth, position_map),
        doubtful=doubtful,
    )


def stretches(found: Sequence[Piece], *, reset_each: bool) -> NDArray[np.int64]:
    """For each piece, the number of the stretch that it belongs to: the decoder is reset between stretches."""
    fresh = [reset_each or b.alone or a.alone for a, b in pairwise(found)]
    return np.concatenate(([0], np.cumsum(fresh, dtype=np.int64)))


def training_reference(
    stream: FeatureStream, training: Sequence[Piece], position_map: PositionMap | None
) -> Reference:
    """What was true over training pieces, all hops scored."""
    order = in_order(training, 0)
    return reference_of(stream, order, np.zeros_like(order.piece), position_map)


def scored_order(
    stream: FeatureStream, found: Sequence[Piece], unscored_s: float, *, reset_each: bool
) -> tuple[Order, NDArray[np.int64]]:
    """The hops of an order of pieces, which of them are scored, and the stretch (n,) of each."""
    order = in_order(found, stream.hops(unscored_s))
    of_piece = stretches(found, reset_each=reset_each)
    stretch = of_piece[order.piece]
    later = in_order(found, stream.hops(max(unscored_s, UNSCORED_AFTER_RESET_S))).scored
    begins = np.array([reset_each or piece.alone for piece in found])[order.piece]
    return Order(order.rows, order.piece, np.where(begins, later, order.scored)), stretch


def _one_order(
    decoder: StepDecoder,
    meaning: Meaning,
    stream: FeatureStream,
    z: NDArray[np.float32],
    found: Sequence[Piece],
    unscored_s: float,
    *,
    reset_each: bool,
    unscored_after_change_s: float,
) -> ScoreTable:
    order, stretch = scored_order(stream, found, unscored_s, reset_each=reset_each)
    if not order.scored.any():
        raise NervehandError(
            f"no hop is left to score: all {len(found)} trials are shorter than the unscored "
            f"{max(unscored_s, UNSCORED_AFTER_RESET_S):.3f} s"
        )
    reference = reference_of(stream, order, stretch, meaning.position_map, unscored_after_change_s)
    if not reference.trusted.any():
        raise NervehandError(
            f"no hop is left to score: no label holds for longer than {unscored_after_change_s:g} s, which are left "
            "out after each change; leave out less"
        )
    healthy = 1.0 - stream.masked[order.rows].mean(1, dtype=np.float32)
    raw, decided = _answers(
        decoder, meaning, z[order.rows], stream.sample_index[order.rows], healthy, stretch
    )
    table = ScoreTable()
    n_movements = meaning.n_gestures - 1
    score_answers(table, "", reference, raw, n_movements)
    if decided is not None:
        score_answers(table, "decided_", reference, decided, n_movements)
        score_commands(table, reference, decided)
    return table


def _answers(
    decoder: StepDecoder,
    meaning: Meaning,
    z: NDArray[np.float32],
    sample_index: NDArray[np.int64],
    healthy: NDArray[np.float32],
    stretch: NDArray[np.int64],
) -> tuple[Answers, Answers | None]:
    edges = [0, *(np.flatnonzero(np.diff(stretch)) + 1).tolist(), len(stretch)]
    outputs, probabilities, intents = [], [], []
    for start, stop in pairwise(edges):
        decoder.reset()
        said, chances = decoder.process(z[start:stop])
        outputs.append(said)
        probabilities.append(chances)
        if meaning.decision is not None:
            meaning.decision.reset()
            warming = np.zeros(stop - start, np.bool_)
            raw = EngineOutput(sample_index[start:stop], said, chances, warming, healthy[start:stop])
            intents.append(meaning.decision.process(raw))
    raw_answers = _raw_answers(np.concatenate(outputs), np.concatenate(probabilities), meaning.position_map)
    if not intents:
        return raw_answers, None
    gesture = np.concatenate([part.gesture for part in intents]).astype(np.int64)
    decided = np.concatenate([part.outputs for part in intents])
    has_gestures = raw_answers.gesture is not None
    return raw_answers, Answers(
        gesture=gesture if has_gestures else None,
        movement=gesture if has_gestures else None,
        outputs=decided if decided.shape[1] else None,
        positions=np.concatenate([part.positions for part in intents]),
    )


def _raw_answers(
    outputs: NDArray[np.float32], probabilities: NDArray[np.float32], position_map: PositionMap | None
) -> Answers:
    gesture = movement = positions = None
    if probabilities.shape[1] > 1:
        gesture, movement = best_gesture(probabilities), best_movement(probabilities)
    if position_map is not None:
        positions = _positions(outputs if outputs.shape[1] else None, gesture, position_map)
    return Answers(gesture, movement, outputs if outputs.shape[1] else None, positions)


def _true_positions(
    label: NDArray[np.int64], truth: NDArray[np.float32] | None, position_map: PositionMap | None
) -> NDArray[np.float32] | None:
    if position_map is None:
        return None
    if position_map.matrix.shape[1] == 0:
        positions = _positions(None, np.maximum(label, 0), position_map)
        if positions is not None:
            positions[label < 0] = np.nan
        return positions
    return None if truth is None else _positions(truth, None, position_map)


def _positions(
    outputs: NDArray[np.float32] | None, gesture: NDArray[np.int64] | None, position_map: PositionMap
) -> NDArray[np.float32] | None:
    """Positions (n, 6) as the decision stage maps them, without its smoothing."""
    if position_map.matrix.shape[1] == 0:
        return None if gesture is None else position_map.postures[gesture].astype(np.float32)
    if outputs is None:
        return None
    mapped: NDArray[np.float32] = outputs @ position_map.matrix.T + position_map.offset
    return np.clip(mapped, np.float32(-1.0), np.float32(1.0))


def spread_of(values: Sequence[float]) -> float | None:
    """Sample standard deviation; 0 where the values are equal, None for fewer than two."""
    if len(values) < 2:
        return None
    return 0.0 if min(values) == max(values) else float(np.std(values, ddof=1))


def mean_of_known(values: Iterable[float | None]) -> float | None:
    """The mean of the values that are there; None where none is."""
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None
