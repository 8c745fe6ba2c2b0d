"""Scores of events: how soon a change shows, and what the commanded hand does that nobody asked for.

All functions take hops in the order in which the decoder ran: `label` (n,), `gesture` (n,) decided,
`positions` (n, d) commanded, `piece` (n,) the trial's place in the order, `stretch` (n,) which changes
wherever the decoder was reset, `scored` (n,) bool.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammaincinv

from calibration.datasets import run_edges
from calibration.scores.errors import NotScoredError

REST = 0
BAND = 0.25
"""A position further than this from where it should be has left: the rest band, or a held posture."""
STEADY_S = 0.3
CONFIRM_S = 0.1
SETTLED_REST_S = 1.0
BEFORE_ONSET_S = 0.5
INSIDE_HOLD_S = 0.5


@dataclass(frozen=True, slots=True)
class Latency:
    """Median time from `n` true changes to the first correct hop that holds; `missed` never showed."""

    median_ms: float | None
    n: int
    missed: int


@dataclass(frozen=True, slots=True)
class EventRate:
    """Events in `hours` of exposure; the one-sided 95 % upper bound of a Poisson rate."""

    count: float
    hours: float

    @property
    def per_hour(self) -> float:
        return self.count / self.hours

    @property
    def upper_per_hour(self) -> float:
        return poisson_upper(self.count) / self.hours


def poisson_upper(count: float, confidence: float = 0.95) -> float:
    """The largest mean at which `count` or fewer events still have a chance of 1 - confidence (one-sided).

    Garwood's exact limit, chi2(confidence, 2 count + 2) / 2; -log(0.05) = 2.996 for no event.
    """
    return float(gammaincinv(count + 1.0, confidence))


def hops(seconds: float, hop_s: float) -> int:
    """The whole number of hops that covers `seconds`."""
    return int(np.ceil(seconds / hop_s - 1e-9))


def steady(label: NDArray[np.int64], stretch: NDArray[np.int64], hop_s: float) -> NDArray[np.bool_]:
    """Hops (n,) more than 300 ms away from every change of the true label."""
    away = np.full(len(label), np.inf)
    index = np.arange(len(label))
    for change in run_edges(label, stretch)[1:-1]:
        if stretch[change] == stretch[change - 1]:
            same = stretch == stretch[change]
            away[same] = np.minimum(away[same], np.abs(index[same] - change))
    return away * hop_s > STEADY_S + 1e-9


def onset_latency(
    label: NDArray[np.int64],
    gesture: NDArray[np.int64],
    piece: NDArray[np.int64],
    scored: NDArray[np.bool_],
    hop_s: float,
) -> Latency:
    """From the true beginning of a movement to its first decoded hop that holds for 100 ms."""
    return _latency(label, gesture, piece, scored, hop_s, to_rest=False)


def offset_latency(
    label: NDArray[np.int64],
    gesture: NDArray[np.int64],
    piece: NDArray[np.int64],
    scored: NDArray[np.bool_],
    hop_s: float,
) -> Latency:
    """From the true end of a movement to the first decoded hop of rest that holds for 100 ms."""
    return _latency(label, gesture, piece, scored, hop_s, to_rest=True)


def unintended_activations(
    label: NDArray[np.int64],
    gesture: NDArray[np.int64],
    positions: NDArray[np.floating] | None,
    stretch: NDArray[np.int64],
    scored: NDArray[np.bool_],
    hop_s: float,
) -> EventRate:
    """Times that the commanded hand left the rest band in settled rest, one per excursion.

    Settled: at least 1 s after the true rest began and at least 0.5 s before the next true onset.
    """
    settled = np.zeros(len(label), np.bool_)
    for start, stop in pairwise(run_edges(label, stretch).tolist()):
        if label[start] == REST:
            to_onset = stop < len(label) and stretch[stop] == stretch[start]
            until = stop - hops(BEFORE_ONSET_S, hop_s) if to_onset else stop
            settled[start + hops(SETTLED_REST_S, hop_s) : max(until, start)] = True
    settled &= scored
    if not settled.any():
        raise NotScoredError("no rest that lasts: 1 s after it began, 0.5 s before the next onset")
    out = np.maximum(gesture, REST) != REST
    if positions is not None:
        out |= (np.abs(positions) > BAND).any(1)
    return _excursions(out, stretch, settled, hop_s)


def holds(
    label: NDArray[np.int64], piece: NDArray[np.int64], scored: NDArray[np.bool_], hop_s: float
) -> list[slice]:
    """The inner parts of the movements: 0.5 s after their beginning to 0.5 s before their end."""
    margin = hops(INSIDE_HOLD_S, hop_s)
    edges = run_edges(label, piece)
    inner = [
        slice(start + margin, stop - margin)
        for start, stop in pairwise(edges.tolist())
        if label[start] > REST and stop - start > 2 * margin
    ]
    return [hold for hold in inner if scored[hold].all()]


def unintended_releases(
    label: NDArray[np.int64],
    gesture: NDArray[np.int64],
    positions: NDArray[np.floating] | None,
    true_positions: NDArray[np.floating] | None,
    inner: Sequence[slice],
    hop_s: float,
) -> EventRate:
    """Times that the commanded hand left a held posture it had, within the `inner` parts of the movements.

    It has the posture where the gesture is the true one and no position is more than 0.25 away: from the true
    position, or, where that is unknown, from the median command of the hold.
    """
    if not inner:
        raise NotScoredError("no movement is held for more than 1 s")
    lost = []
    for hold in inner:
        has = gesture[hold] == label[hold]
        if positions is not None:
            held = positions[hold]
            aim = np.median(held, axis=0) if true_positions is None else true_positions[hold]
            has &= (np.abs(held - aim) <= BAND).all(1)
        lost.append(~has)
    out = np.concatenate(lost)
    which = np.repeat(np.arange(len(lost)), [len(hold) for hold in lost])
    return _excursions(out, which, np.ones_like(out), hop_s)


def _excursions(
    out: NDArray[np.bool_], stretch: NDArray[np.int64], exposed: NDArray[np.bool_], hop_s: float
) -> EventRate:
    """Times that `out` begins at an `exposed` hop, from a hop of the same stretch that was not out."""
    begins = np.zeros(len(out), np.bool_)
    begins[1:] = out[1:] & ~out[:-1] & (stretch[1:] == stretch[:-1])
    return EventRate(count=float(np.sum(begins & exposed)), hours=float(exposed.sum()) * hop_s / 3600.0)


def hold_drift_and_jitter(
    positions: NDArray[np.floating],
    true_positions: NDArray[np.floating] | None,
    inner: Sequence[slice],
    hop_s: float,
) -> tuple[float, float]:
    """Mean absolute slope (full flexions per second) and mean standard deviation of positions in the holds.

    The true position, where it is known, is subtracted first. The deviation is from the fitted line. Degrees
    of freedom that are never commanded do not count.
    """
    moving = np.ptp(positions, axis=0) > 0.0
    if not inner or not moving.any():
        raise NotScoredError("no movement is held for more than 1 s" if not inner else "no position moves")
    slopes, deviations = [], []
    for hold in inner:
        held = positions[hold].astype(np.float64)
        if true_positions is not None:
            held = held - true_positions[hold]
        if len(held) < 3:
            continue
        time = np.arange(len(held)) * hop_s
        time -= time.mean()
        centred = held[:, moving] - held[:, moving].mean(0)
        slope = time @ centred / np.square(time).sum()
        slopes.append(np.abs(slope))
        deviations.append(np.std(centred - time[:, None] * slope, axis=0))
    if not slopes:
        raise NotScoredError("no hold of three hops")
    return float(np.mean(slopes)), float(np.mean(deviations))


def first_held(right: NDArray[np.bool_], n_hops: int) -> int | None:
    """Index of the first of `n_hops` True values in a row, or None."""
    run = 0
    for i, value in enumerate(right.tolist()):
        run = run + 1 if value else 0
        if run == n_hops:
            return i - n_hops + 1
    return None


def changes(
    label: NDArray[np.int64], piece: NDArray[np.int64], scored: NDArray[np.bool_]
) -> list[tuple[int, int]]:
    """(first hop, end) of every labelled run that begins inside a piece, at a scored hop."""
    return [
        (start, stop)
        for start, stop in pairwise(run_edges(label, piece).tolist())
        if start > 0 and piece[start - 1] == piece[start] and scored[start]
        and label[start] >= REST and label[start - 1] >= REST
    ]  # fmt: skip


def _latency(
    label: NDArray[np.int64],
    gesture: NDArray[np.int64],
    piece: NDArray[np.int64],
    scored: NDArray[np.bool_],
    hop_s: float,
    *,
    to_rest: bool,
) -> Latency:
    said = np.maximum(gesture, REST)
    found = [run for run in changes(label, piece, scored) if (label[run[0]] == REST) == to_rest]
    if not found:
        raise NotScoredError("no true change inside a trial")
    after = [first_held(said[a:b] == label[a], hops(CONFIRM_S, hop_s)) for a, b in found]
    times = [1000.0 * hop_s * hop for hop in after if hop is not None]
    return Latency(float(np.median(times)) if times else None, len(found), len(found) - len(times))
