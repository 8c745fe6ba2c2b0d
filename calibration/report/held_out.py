"""What a decoder makes of trials that it has not seen: scores, confusion and traces, pooled over a cross-validation."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from calibration.chance import best_constant
from calibration.datasets import FeatureStream, Order, Piece, pieces
from calibration.evaluation import bundle_meaning, bundle_stream
from calibration.records import TrialRecord
from calibration.report.findings import Confusion, Scores, Traces
from calibration.running import (
    Meaning,
    Summary,
    mean_of_known,
    reference_of,
    score_decoder,
    scored_order,
    seeded_orders,
    spread_of,
    training_reference,
)
from calibration.scores.events import poisson_upper, steady
from decoder import engines
from decoder.bundle import Bundle
from decoder.decision import REST
from decoder.intent import EngineOutput
from decoder.session.model import Session
from firmware_bridge.errors import NervehandError
from firmware_bridge.hand import DOF_NAMES

_EVENTS = (("unintended_activations", "rest_hours"), ("unintended_releases", "hold_hours"))
_PER_DOF = "decided_steady_per_dof_accuracy"
_MOST_TRACED, _LONGEST_TRACE_S = 14, 60.0
_MOST_POINTS = 1200


@dataclass(frozen=True)
class HeldOut:
    """One part of a cross-validation: a decoder that was fitted on all repetitions but these."""

    bundle: Bundle
    repetitions: tuple[int, ...]


@dataclass(frozen=True)
class HeldOutResult:
    """What all parts came to; each is None where nothing of it is known."""

    scores: Scores
    confusion: Confusion | None
    traces: Traces | None


@dataclass(frozen=True)
class _Part:
    """One part, ready to run."""

    bundle: Bundle
    stream: FeatureStream
    z: NDArray[np.float32]
    test: list[Piece]
    others: list[Piece]
    unscored_s: float


def used_pieces(stream: FeatureStream, records: Sequence[TrialRecord]) -> list[Piece]:
    """The stream's trials but those whose record says they do not count; `session.trial` holds the records' numbers."""
    unused = {record.number for record in records if not record.is_used}
    return [piece for piece in pieces(stream) if _number(stream, piece) not in unused]


def score_held_out(
    session: Session,
    records: Sequence[TrialRecord],
    held_out: Sequence[HeldOut],
    on_progress: Callable[[str], None] = lambda text: None,
) -> HeldOutResult | None:
    """Score each decoder on its own repetitions, over five shuffled orders, and pool; None where nothing is held out.

    Scores are means over the parts, weighted by their trials; counts and hours are added. Raises NervehandError where
    a decoder has learned from what it is to be scored on, or the parts do not belong together.
    """
    if not held_out:
        return None
    for one in held_out:
        _require_unseen(session, one)
        if one.bundle.manifest.gestures != held_out[0].bundle.manifest.gestures:
            raise NervehandError(
                "the held-out decoders know different movements: fit all on the same session"
            )
    summaries, chances, tables, traces = [], [], [], None
    counts: list[int] = []
    for number, one in enumerate(held_out, start=1):
        on_progress(f"scores, part {number} of {len(held_out)}")
        part = _part(session, records, one)
        if not part.test:
            continue  # none of its trials was good
        meaning = bundle_meaning(part.bundle)
        engine = engines.load(part.bundle.step_graph)
        orders = seeded_orders(part.test)
        summaries.append(score_decoder(engine, meaning, part.stream, part.z, orders, part.unscored_s))
        chances.append(_chance(part, meaning))
        tables.append(_confusion(part, meaning, orders[0]))
        counts.append(len(part.test))
        if traces is None:
            traces = _traces(part, meaning)
    if not summaries:
        return None
    names = held_out[0].bundle.manifest.gestures
    total = np.sum([table for table in tables if table is not None], axis=0)
    confusion = None
    if len(names) > 1 and np.ndim(total) == 2 and total.sum():
        confusion = Confusion(names, tuple(tuple(row) for row in total.tolist()))
    return HeldOutResult(_pooled(summaries, chances, counts), confusion, traces)


def recalls(confusion: Confusion) -> tuple[float | None, ...]:
    """For each name the share of its time that was recognised; None where it did not occur."""
    return tuple(row[i] / sum(row) if sum(row) else None for i, row in enumerate(confusion.counts))


def _part(session: Session, records: Sequence[TrialRecord], one: HeldOut) -> _Part:
    bundle = one.bundle
    stream = bundle_stream(bundle, session)
    used = used_pieces(stream, records)
    test = [piece for piece in used if piece.repetition in one.repetitions]
    tested = set(test)
    return _Part(
        bundle,
        stream,
        bundle.normalisation.apply(stream.features, stream.masked),
        test,
        [piece for piece in used if piece not in tested],
        bundle.manifest.features.settings.window_samples / bundle.coefficients.rate_hz,
    )


def _require_unseen(session: Session, one: HeldOut) -> None:
    for trained in one.bundle.manifest.training.sessions:
        if trained.identifier != session.meta.identifier:
            continue
        learned = one.repetitions if trained.repetitions is None else trained.repetitions
        seen = sorted(set(learned) & set(one.repetitions))
        if seen:
            raise NervehandError(
                f"the decoder has learned from repetition {', '.join(map(str, seen))} and is to be scored on it: "
                "fit it on the other repetitions"
            )


def _number(stream: FeatureStream, piece: Piece) -> int:
    """The trial's own number, that of its movement; 0 where it has none."""
    rows = slice(piece.start, piece.stop)
    trial, label = stream.trial[rows], stream.label[rows]
    moving = trial[label > REST] if (label > REST).any() else trial
    return int(np.bincount(np.maximum(moving, 0)).argmax())


def _chance(part: _Part, meaning: Meaning) -> dict[str, float | None]:
    if not part.others:
        return {}
    order, stretch = scored_order(part.stream, part.test, part.unscored_s, reset_each=False)
    return best_constant(
        training_reference(part.stream, part.others, meaning.position_map),
        reference_of(part.stream, order, stretch, meaning.position_map),
        meaning.n_gestures,
    ).scores


def _decided(
    part: _Part, meaning: Meaning, order: Order, stretch: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Decided gesture (n,), a rejection being rest, and positions (n, 6), the state carried over each stretch."""
    engine, decision = engines.load(part.bundle.step_graph), meaning.decision
    assert decision is not None  # bundle_meaning gives one
    gestures, positions = [], []
    healthy = 1.0 - part.stream.masked[order.rows].mean(1, dtype=np.float32)
    for number in np.unique(stretch):
        rows = np.flatnonzero(stretch == number)
        engine.reset()
        decision.reset()
        outputs, probabilities = engine.process(part.z[order.rows[rows]])
        index, warming = part.stream.sample_index[order.rows[rows]], np.zeros(len(rows), np.bool_)
        intents = decision.process(EngineOutput(index, outputs, probabilities, warming, healthy[rows]))
        gestures.append(np.maximum(intents.gesture.astype(np.int64), REST))
        positions.append(intents.positions)
    return np.concatenate(gestures), np.concatenate(positions)


def _confusion(part: _Part, meaning: Meaning, test: Sequence[Piece]) -> NDArray[np.int64] | None:
    order, stretch = scored_order(part.stream, test, part.unscored_s, reset_each=False)
    label = part.stream.label[order.rows]
    keep = order.scored & (label >= REST) & steady(label, stretch, part.stream.hop_s)
    gesture, _ = _decided(part, meaning, order, stretch)
    n = meaning.n_gestures
    return np.bincount(label[keep] * n + gesture[keep], minlength=n * n).reshape(n, n)


def _traces(part: _Part, meaning: Meaning) -> Traces | None:
    """The first of the held-out trials in the order in which they were made."""
    shown: list[Piece] = []
    for piece in part.test[:_MOST_TRACED]:
        if shown and (sum(map(len, shown)) + len(piece)) * part.stream.hop_s > _LONGEST_TRACE_S:
            break
        shown.append(piece)
    order, stretch = scored_order(part.stream, shown, 0.0, reset_each=False)
    _, decoded = _decided(part, meaning, order, stretch)
    true = reference_of(part.stream, order, stretch, meaning.position_map).positions
    step = max(1, -(-len(decoded) // _MOST_POINTS))
    begins = np.concatenate([[0], np.cumsum([len(piece) for piece in shown])[:-1]])
    return Traces(
        step * part.stream.hop_s,
        None if true is None or not np.isfinite(true).all() else _columns(true[::step]),
        _columns(decoded[::step]),
        tuple(part.bundle.manifest.gestures[piece.gesture] for piece in shown),
        tuple((begins * part.stream.hop_s).tolist()),
    )


def _columns(positions: NDArray[np.floating]) -> tuple[tuple[float, ...], ...]:
    return tuple(tuple(column) for column in np.round(positions.T.astype(np.float64), 3).tolist())


def _pooled(
    summaries: Sequence[Summary], chances: Sequence[dict[str, float | None]], counts: Sequence[int]
) -> Scores:
    names = list(dict.fromkeys(name for summary in summaries for name in summary.mean))
    mean = {name: _weighted([summary.mean.get(name) for summary in summaries], counts) for name in names}
    spread = {
        name: spread_of([v for s in summaries if (v := s.mean.get(name)) is not None])
        if len(summaries) > 1
        else summaries[0].spread.get(name)
        for name in names
    }
    for events, exposure in _EVENTS:
        had = [s for s in summaries if s.mean.get(events) is not None]
        hours = sum(s.mean[exposure] or 0.0 for s in had)
        if hours > 0:
            count = sum(s.mean[events] or 0.0 for s in had)
            mean |= {
                events: count,
                exposure: hours,
                f"{events}_per_hour": count / hours,
                f"{events}_upper_95_per_hour": poisson_upper(count) / hours,
            }
    each = [summary.each[_PER_DOF] for summary in summaries if _PER_DOF in summary.each]
    per_dof = (
        [mean_of_known(column) for column in zip(*each, strict=True)] if each else [None] * len(DOF_NAMES)
    )
    return Scores(
        mean=mean,
        spread=spread,
        chance={
            name: _weighted([chance.get(name) for chance in chances], counts)
            for name in dict.fromkeys(name for chance in chances for name in chance)
        },
        not_scored={
            name: next(s.not_scored[name] for s in summaries if name in s.not_scored)
            for name in names
            if mean[name] is None
        },
        per_dof=dict(zip(DOF_NAMES, per_dof, strict=True)),
        n_trials=sum(counts),
        n_parts=len(summaries),
    )


def _weighted(values: Sequence[float | None], weights: Sequence[int]) -> float | None:
    known = [(value, weight) for value, weight in zip(values, weights, strict=True) if value is not None]
    total = sum(weight for _, weight in known)
    return sum(value * weight for value, weight in known) / total if total else None
