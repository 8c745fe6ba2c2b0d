"""How much later the able hand moved than the phantom, by what the nerve's features say: for a subject, and by trial.

The features are explained by the able hand's motion, as a motor nerve's activity is: linear in position and in speed
towards it, for flexion and extension of each degree of freedom apart, averaged over the features' own window. The lag
is the shift of the motion with which it explains most: the maximum of a Gaussian likelihood. Then each trial's own by
a model of the other trials, in turns (Woody, Med Biol Eng 1967). docs/alignment.md has reasons and figures.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from calibration.alignment.trace import AbleTrace
from calibration.front_end import WINDOW_S
from firmware_bridge.errors import NervehandError

LEAD_S = 0.06
"""The nerve ahead of the phantom's motion: electromechanical delay (Cavanagh and Komi, Eur J Appl Physiol 1979), the
method's one constant. Window and speed are in the model, and so need none."""
EARLIEST_S, LATEST_S = -0.4, 0.6
"""Lags that are looked for. Nobody moves both hands further apart on purpose; a camera's delay is 0.1 to 0.2 s."""
COARSE_S, FINE_S, FINEST_S = 0.02, 0.01, 0.001
REACH_S = 0.16
"""How far a trial's lag is looked for from the subject's: four standard deviations of 40 ms."""
STEPS_PER_HOP = 4
N_COMPONENTS = 32
"""Of the features, the principal ones: what is left is noise."""
PENALTY = 1e-3
"""Of the regression, as a part of the mean variance: keeps it solvable where two movements always go together."""
MOST_FOLDS = 10
FEWEST_TRIALS = 3
TURNS = 2
WITHIN_S = 0.02
"""A lag's confidence is the probability that it is right within this, a hop."""
HEATS = np.geomspace(2.0, 256.0, 15)
SPREADS_S = (0.003, 0.005, 0.007, 0.01, 0.014, 0.02, 0.028, 0.04, 0.056, 0.08)


@dataclass(frozen=True, slots=True)
class LagEstimate:
    """By how much later than the phantom the able hand moved, seconds.

    `by_trial` is (lag_s, confidence) of each trial, in the order in which they were given; one that tells little about
    itself has nearly the subject's. A confidence (0..1) is the probability of being right within WITHIN_S;
    `spread_s` the standard deviation of the trials' lags without that of their errors. With a confidence of 0 the lag
    is 0: nothing is known.
    """

    lag_s: float
    confidence: float
    spread_s: float
    by_trial: tuple[tuple[float, float], ...]


@dataclass(frozen=True, slots=True)
class Span:
    """Absolute samples `first` up to and without `stop`: a trial, from rest to rest."""

    first: int
    stop: int


def unknown_lag(n_trials: int) -> LagEstimate:
    """What is said where nothing can be: no lag, without confidence."""
    return LagEstimate(0.0, 0.0, 0.0, ((0.0, 0.0),) * n_trials)


def estimate_lag(
    z: NDArray[np.float32],
    sample_index: NDArray[np.int64],
    trace: AbleTrace,
    trials: Sequence[Span],
    hop_samples: int,
    window_s: float = WINDOW_S,
) -> LagEstimate:
    """The lag from normalised features (k, f), the sample (k,) that each rests on, and the able hand's trace.

    `trials` ascend and do not overlap. The hops outside them are not looked at. Fewer than FEWEST_TRIALS with
    features and a known trace leave it unknown. Raises NervehandError where the arrays do not belong together.
    """
    if z.ndim != 2 or len(z) != len(sample_index):
        raise NervehandError(f"features {z.shape} for {len(sample_index)} hops: give one row per hop")
    if any(a.stop > b.first for a, b in pairwise(trials)):
        raise NervehandError(
            "trials overlap or go back in time: give them in the order in which they were made"
        )
    moves = _Moves(trace, sample_index, hop_samples, window_s)
    segment = _segments(sample_index, trials)
    coarse = np.arange(EARLIEST_S, LATEST_S + COARSE_S / 2, COARSE_S) + LEAD_S
    rows = np.flatnonzero((segment >= 0) & moves.known(coarse[0], coarse[-1]))
    used = np.unique(segment[rows])
    if len(used) < FEWEST_TRIALS or not moves.n_columns:
        return unknown_lag(len(trials))
    y = _components(z, rows)
    scores = np.array([_log_likelihood(*_totals(moves.at(rows, shift), y[rows])) for shift in coarse])
    best = int(scores.argmax())
    if not 0 < best < len(coarse) - 1:
        return unknown_lag(len(trials))
    reach = round(REACH_S / FINE_S)
    shifts = coarse[best] + FINE_S * np.arange(-reach, reach + 1)
    rows = np.flatnonzero((segment >= 0) & moves.known(shifts[0], shifts[-1]))
    halves = 2 * segment[rows] + _second_half(moves, rows, segment[rows], float(coarse[best]))
    sums = _Sums.over(moves, y, rows, halves, 2 * len(trials), shifts)
    return _estimate(sums, shifts, len(trials))


def _estimate(sums: _Sums, shifts: NDArray[np.float64], n_trials: int) -> LagEstimate:
    used = np.flatnonzero(sums.n.reshape(n_trials, 2).sum(1) > 0)
    if len(used) < FEWEST_TRIALS:
        return unknown_lag(n_trials)
    folds = np.full(n_trials, -1)
    folds[used] = np.arange(len(used)) % min(MOST_FOLDS, len(used))
    n_folds = int(folds.max()) + 1
    by_half = np.repeat(folds, 2)
    found = _peak(np.array([_log_likelihood(*sums.at(i, by_half >= 0)) for i in range(len(shifts))]), shifts)
    without = [
        _peak(
            np.array(
                [_log_likelihood(*sums.at(i, (by_half >= 0) & (by_half != f))) for i in range(len(shifts))]
            ),
            shifts,
        )
        for f in range(n_folds)
    ]
    if found is None or any(one is None for one in without):
        return unknown_lag(n_trials)
    error_s = math.sqrt((n_folds - 1) * float(np.var([one for one in without if one is not None])))
    own = np.full(n_trials, found)  # the shift at which each trial enters the model of the others
    own_error_s, spread_s = np.full(n_trials, np.inf), 0.0
    for _ in range(TURNS):
        losses = _losses(sums, shifts, own, folds)  # (2 * trials, shifts)
        finer, losses = _finer(shifts, losses)
        heat = _heat(losses.reshape(n_trials, 2, -1)[used], finer)
        whole = losses.reshape(n_trials, 2, -1).sum(1) / heat
        own, own_error_s, spread_s = _each(whole, used, finer, found)
    return LagEstimate(
        float(own[used].mean() - LEAD_S),
        _within(error_s),
        float(spread_s),
        tuple(
            (float(a - LEAD_S), _within(math.hypot(e, error_s)))
            for a, e in zip(own.tolist(), own_error_s.tolist(), strict=True)
        ),
    )


class _Moves:
    """The able hand's motion as it drives a nerve, averaged over the features' window, at any shift."""

    def __init__(
        self, trace: AbleTrace, sample_index: NDArray[np.int64], hop_samples: int, window_s: float
    ) -> None:
        rate = trace.rate_hz
        self._step = hop_samples / STEPS_PER_HOP
        self._rate = rate
        self._width = max(1, round(window_s * rate / self._step))
        margin = (
            round((max(-EARLIEST_S, LATEST_S) + LEAD_S + 2 * REACH_S) * rate / self._step) + self._width + 1
        )
        n = round(float(sample_index[-1] - sample_index[0]) / self._step) if len(sample_index) else 0
        grid = sample_index[:1] + self._step * np.arange(-margin, n + margin + 1)
        self._row = margin + np.rint((sample_index - sample_index[:1]) / self._step).astype(np.int64)
        positions, known = trace.on(grid)
        drive = np.concatenate([positions.clip(min=0), (-positions).clip(min=0)], axis=1)
        # A column that only the sensor's noise moves tells nothing.
        drive = drive[:, drive.max(0, initial=0) > MOVED]
        self._drive = drive
        self._sum = np.concatenate([np.zeros((1, drive.shape[1])), np.cumsum(drive, axis=0)])
        self._unknown = np.concatenate([[0], np.cumsum(~known)])

    @property
    def n_columns(self) -> int:
        return int(self._drive.shape[1])

    def known(self, first_s: float, last_s: float) -> NDArray[np.bool_]:
        """For each hop whether the trace is known throughout from a window before `first_s` to `last_s` after it."""
        first, last = self._row + self._steps(first_s) - self._width, self._row + self._steps(last_s) + 1
        return np.asarray(self._unknown[last] == self._unknown[first])

    def at(self, rows: NDArray[np.int64], shift_s: float) -> NDArray[np.float64]:
        """(n, 2 c + 1): position, speed towards it, both means over the window that ends `shift_s` after the hop; 1."""
        last = self._row[rows] + self._steps(shift_s)
        first = last - self._width
        mean = (self._sum[last + 1] - self._sum[first + 1]) / self._width
        rising = (self._drive[last] - self._drive[first]).clip(min=0)
        return np.concatenate([mean, rising, np.ones((len(rows), 1))], axis=1)

    def size(self, rows: NDArray[np.int64], shift_s: float) -> NDArray[np.float64]:
        """(n,) how far the hand is from rest."""
        return np.asarray(self._drive[self._row[rows] + self._steps(shift_s)].max(1))

    def _steps(self, seconds: float) -> int:
        return round(seconds * self._rate / self._step)


MOVED = 0.25
"""Of full flexion: a degree of freedom that never went as far was not moved."""


@dataclass(frozen=True, slots=True)
class _Sums:
    """Products over each of h parts of the trials: x'x (s, h, c, c) and x'y (s, h, c, q) by shift, y'y (h, q, q)."""

    xx: NDArray[np.float64]
    xy: NDArray[np.float64]
    yy: NDArray[np.float64]
    n: NDArray[np.int64]

    @staticmethod
    def over(
        moves: _Moves,
        y: NDArray[np.float64],
        rows: NDArray[np.int64],
        part: NDArray[np.int64],
        n_parts: int,
        shifts: NDArray[np.float64],
    ) -> _Sums:
        edges = np.searchsorted(part, np.arange(n_parts + 1))
        spans = [(h, int(a), int(b)) for h, (a, b) in enumerate(pairwise(edges)) if b > a]
        c, q = 2 * moves.n_columns + 1, y.shape[1]
        xx, xy = np.zeros((len(shifts), n_parts, c, c)), np.zeros((len(shifts), n_parts, c, q))
        yy = np.zeros((n_parts, q, q))
        own = y[rows]
        for h, a, b in spans:
            yy[h] = own[a:b].T @ own[a:b]
        for i, shift in enumerate(shifts):
            x = moves.at(rows, float(shift))
            for h, a, b in spans:
                xx[i, h] = x[a:b].T @ x[a:b]
                xy[i, h] = x[a:b].T @ own[a:b]
        return _Sums(xx, xy, yy, np.diff(edges))

    def at(
        self, shift: int, parts: NDArray[np.bool_]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64], int]:
        """x'x, x'y, y'y and the number of hops over some of the parts."""
        return (
            self.xx[shift, parts].sum(0),
            self.xy[shift, parts].sum(0),
            self.yy[parts].sum(0),
            int(self.n[parts].sum()),
        )


def _totals(
    x: NDArray[np.float64], y: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64], int]:
    return x.T @ x, x.T @ y, y.T @ y, len(x)


def _penalised(xx: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(xx + PENALTY * np.trace(xx) / len(xx) * np.diag(np.r_[np.ones(len(xx) - 1), 0.0]))


def _weights(xx: NDArray[np.float64], xy: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(np.linalg.solve(_penalised(xx), xy))


def _residual(
    xx: NDArray[np.float64], xy: NDArray[np.float64], yy: NDArray[np.float64], weights: NDArray[np.float64]
) -> NDArray[np.float64]:
    crossed = weights.T @ xy
    return np.asarray(yy - crossed - crossed.T + weights.T @ xx @ weights)


def _log_likelihood(
    xx: NDArray[np.float64], xy: NDArray[np.float64], yy: NDArray[np.float64], n: int
) -> float:
    """Of y under normal errors of any covariance, at its maximum, but for constants."""
    residual = _residual(xx, xy, yy, _weights(xx, xy)) / n
    return -0.5 * n * float(np.linalg.slogdet(residual + 1e-9 * np.eye(len(residual)))[1])


def _losses(
    sums: _Sums, shifts: NDArray[np.float64], own: NDArray[np.float64], folds: NDArray[np.int64]
) -> NDArray[np.float64]:
    """(parts, shifts) how badly a model of the other folds' trials, each at its own shift, explains each part.

    A trial's count as far as those others know its movement: after one round nobody knows what a finger looks like that
    was moved once.
    """
    at = np.repeat(np.clip(np.searchsorted(shifts, own - FINE_S / 2), 0, len(shifts) - 1), 2)
    parts = np.arange(len(at))
    xx, xy = sums.xx[at, parts], sums.xy[at, parts]
    by_half = np.repeat(folds, 2)
    losses = np.zeros((len(at), len(shifts)))
    for fold in range(int(folds.max()) + 1):
        others, these = (by_half >= 0) & (by_half != fold), np.flatnonzero(by_half == fold)
        total = xx[others].sum(0), xy[others].sum(0), sums.yy[others].sum(0)
        weights = _weights(total[0], total[1])
        covariance = _residual(*total, weights) / sums.n[others].sum()
        precision = np.linalg.inv(covariance + 1e-9 * np.eye(len(covariance)))
        inner = weights @ precision @ weights.T
        losses[these] = (
            np.einsum("shcq,cq->hs", sums.xy[:, these], -2 * weights @ precision)
            + np.einsum("shcd,cd->hs", sums.xx[:, these], inner)
        )  # fmt: skip
        for trial in np.flatnonzero(folds == fold):
            mine = slice(2 * trial, 2 * trial + 2)
            losses[mine] /= _widening(xx[mine].sum(0), total[0])
    return losses


def _widening(xx: NDArray[np.float64], known: NDArray[np.float64]) -> float:
    """By how much the variance of what is predicted for a trial with products `xx` grows beyond the noise where its
    model knows least: 1 where all is known. `known` are the products of what the model was fitted to.

    Of a linear regression (Bishop, Pattern Recognition and Machine Learning, 2006, 3.3.2), over the trial's directions.
    """
    from scipy.linalg import eigvalsh

    return 1.0 + max(0.0, float(eigvalsh(xx, _penalised(known))[-1]))


def _finer(
    shifts: NDArray[np.float64], losses: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The losses (n, s) at shifts FINEST_S apart: at FINE_S a narrow posterior would snap to the grid."""
    from scipy.interpolate import CubicSpline

    steps = round((shifts[-1] - shifts[0]) / FINEST_S)
    finer = shifts[0] + FINEST_S * np.arange(steps + 1)
    return finer, np.asarray(CubicSpline(shifts, losses, axis=1)(np.minimum(finer, shifts[-1])))


def _heat(losses: NDArray[np.float64], shifts: NDArray[np.float64]) -> float:
    """By how much the losses (trials, 2, shifts) overstate what they know, as neighbouring hops say the same.

    Onset and return of a movement tell its lag twice. The heat is the one with which their differences are as large as
    their own widths say (the median of chi-square with one degree of freedom is 0.455).
    """
    for heat in HEATS:
        mean, error = _posterior(losses.reshape(-1, losses.shape[2]) / heat, shifts, 0.0, math.inf)
        mean, error = mean.reshape(-1, 2), error.reshape(-1, 2)
        difference = mean[:, 0] - mean[:, 1]
        difference = difference - np.median(difference)
        if np.median(difference**2 / (error**2).sum(1)) < 0.455:
            return float(heat)
    return float(HEATS[-1])


def _each(
    losses: NDArray[np.float64], used: NDArray[np.int64], shifts: NDArray[np.float64], centre: float
) -> tuple[NDArray[np.float64], NDArray[np.float64], float]:
    """Mean and standard deviation (n,) of each trial's shift, and the spread of the true ones round `centre`.

    Every spread of SPREADS_S counts as far as it makes the used trials' losses likely (empirical Bayes, averaged):
    where they tell little, the trials get the subject's lag, and nobody is sure of it.
    """
    evidence = np.zeros(len(SPREADS_S))
    for i, spread in enumerate(SPREADS_S):
        weight = -0.5 * losses[used] + _log_prior(shifts, centre, spread)
        top = weight.max(1, keepdims=True)
        evidence[i] = (top[:, 0] + np.log(np.exp(weight - top).sum(1))).sum()
    share = np.exp(evidence - evidence.max())
    share /= share.sum()
    each = [_posterior(losses, shifts, centre, spread) for spread in SPREADS_S]
    mean = sum(w * m for w, (m, _) in zip(share, each, strict=True))
    square = sum(w * (m**2 + e**2) for w, (m, e) in zip(share, each, strict=True))
    error = np.sqrt(np.maximum(square - mean**2, 0.0))
    return np.asarray(mean), np.asarray(error), float(share @ np.array(SPREADS_S))


def _posterior(
    losses: NDArray[np.float64], shifts: NDArray[np.float64], centre: float, spread_s: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean and standard deviation (n,) of each row's shift, which is spread round `centre` beforehand."""
    weight = -0.5 * losses + _log_prior(shifts, centre, spread_s)
    weight = np.exp(weight - weight.max(1, keepdims=True))
    weight /= weight.sum(1, keepdims=True)
    mean = weight @ shifts
    # A grid cannot say less than its own step.
    variance = (weight * (shifts - mean[:, None]) ** 2).sum(1) + (shifts[1] - shifts[0]) ** 2 / 12
    return mean, np.sqrt(variance)


def _log_prior(shifts: NDArray[np.float64], centre: float, spread_s: float) -> NDArray[np.float64]:
    weight = -0.5 * ((shifts - centre) / spread_s) ** 2
    return np.asarray(weight - np.log(np.exp(weight).sum()))


def _peak(scores: NDArray[np.float64], shifts: NDArray[np.float64]) -> float | None:
    """Where a parabola through the largest score and its neighbours has its top; None at the ends."""
    i = int(scores.argmax())
    if not 0 < i < len(scores) - 1:
        return None
    before, top, after = scores[i - 1 : i + 2]
    bend = before - 2 * top + after
    return float(shifts[i] + (0.5 * (before - after) / bend if bend < 0 else 0.0) * (shifts[1] - shifts[0]))


def _segments(sample_index: NDArray[np.int64], trials: Sequence[Span]) -> NDArray[np.int64]:
    """(k,) which trial each hop belongs to, -1 for none."""
    if not trials:
        return np.full(len(sample_index), -1)
    first, stop = np.array([t.first for t in trials]), np.array([t.stop for t in trials])
    found = np.searchsorted(first, sample_index, side="right") - 1
    return np.where((found >= 0) & (sample_index < stop[found]), found, -1)


def _second_half(
    moves: _Moves, rows: NDArray[np.int64], segment: NDArray[np.int64], shift_s: float
) -> NDArray[np.int64]:
    """(n,) 1 from the middle of each trial's movement on, 0 before."""
    size = moves.size(rows, shift_s)
    second = np.zeros(len(rows), np.int64)
    edges = np.flatnonzero(np.diff(segment, prepend=-1, append=-1))
    for a, b in pairwise(edges.tolist()):
        away = np.flatnonzero(size[a:b] > 0.5 * size[a:b].max())
        second[a + (away[0] + away[-1]) // 2 : b] = 1
    return second


def _components(z: NDArray[np.float32], rows: NDArray[np.int64]) -> NDArray[np.float64]:
    """(k, q) the principal components of the features over these rows, each of variance 1."""
    y = np.asarray(z, np.float64)
    y = y - y[rows].mean(0)
    values, vectors = np.linalg.eigh(y[rows].T @ y[rows] / len(rows))
    kept = np.flatnonzero(values > 1e-6 * max(values[-1], 1e-12))[-N_COMPONENTS:]
    return np.asarray(y @ (vectors[:, kept] / np.sqrt(values[kept])))


def _within(error_s: float) -> float:
    """The probability that a normal error of this spread is less than WITHIN_S."""
    return math.erf(WITHIN_S / (math.sqrt(2) * error_s)) if error_s > 0 else 1.0
