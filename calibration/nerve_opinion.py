"""What the nerve says that the phantom did in a trial, by the other trials: a movement, or rest.

A trial is three means of the features: over the rise of the movement, the hold and the return, as the able hand made
them; rest is the same of the stretches before and after. Each movement is a normal distribution round the mean of its
other trials, with a covariance that all share, scaled for each, and rest with one of its own: moving varies far more
than resting. What is compared are predictive densities (Student's t), which widen where few trials are known.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

REST = "rest"
N_COMPONENTS = 24
SHRINK = 0.2
"""Of a covariance towards the identity: a hundred trials know 16 components roughly."""
FEWEST_OTHERS = 2
"""Trials of a movement, besides the one that is asked about, that make it known."""
FEWEST_TRIALS = 12
CONTRADICTS_BY = 6.0
"""Log odds of another movement, or of rest, against the one that the able hand made. A trial in twenty is wrong
beforehand (log 19 is 3), but effort varies with heavier tails than a model of ten trials knows: see the figures
in docs/alignment.md."""
PASSES = 2
"""Trials found wrong no longer teach, and all are asked again. More passes feed on their own mistakes."""
ALIEN, ALIEN_SHARE = 3.0, 0.07
"""At rest a column is alien where its mean is so many robust standard deviations away from its usual; so many of the
columns make the nerve bad. Simulated good trials have 0.04 at most; with half of the contacts
broken off it is 0.1 or more."""


@dataclass(frozen=True, slots=True)
class Opinion:
    """`said`: the likeliest movement, "rest", or "" where nobody can tell; `log_odds` of the made movement against the
    likeliest other; `alien_share` (0..1) of the features that are far from what they usually are at rest."""

    said: str
    log_odds: float
    alien_share: float

    @property
    def contradicts(self) -> bool:
        """Whether the phantom rather did something else than the able hand."""
        return self.said != "" and self.log_odds < -CONTRADICTS_BY


def opinions(
    z: NDArray[np.floating],
    positions: NDArray[np.floating],
    spans: Sequence[slice],
    made: Sequence[str],
) -> list[Opinion]:
    """Of normalised features (k, f), aligned positions (k, 6), the trials' rows and the movement each made."""
    n = len(spans)
    if n < FEWEST_TRIALS:
        return [Opinion("", 0.0, 0.0)] * n
    parts = [_parts(z[span], positions[span]) for span in spans]
    moving = np.array([moving for moving, _, _ in parts])
    resting = np.array([rest for _, before, after in parts for rest in (before, after)])
    names = sorted(set(made))
    label = np.array([names.index(name) for name in made])
    alien = _alien_share(resting)
    x = _components(np.concatenate([moving, resting]))
    teaches = np.ones(n, np.bool_)
    found: list[Opinion] = []
    for _ in range(PASSES):
        found = [_opinion(x, i, label, names, teaches, float(alien[i])) for i in range(n)]
        teaches = np.array([not one.contradicts and one.alien_share <= ALIEN_SHARE for one in found])
    return found


def _opinion(
    x: NDArray[np.float64],
    trial: int,
    label: NDArray[np.int64],
    names: Sequence[str],
    teaches: NDArray[np.bool_],
    alien_share: float,
) -> Opinion:
    n, q = len(label), x.shape[1]
    others = teaches.copy()
    others[trial] = False
    count = np.bincount(label[others], minlength=len(names))
    known = np.flatnonzero(count >= FEWEST_OTHERS)
    if label[trial] not in known or len(known) < 2:
        return Opinion("", 0.0, alien_share)
    rest = x[n:][np.repeat(others, 2)]
    mean = np.array([x[:n][others & (label == c)].mean(0) for c in known])
    taught = np.flatnonzero(others & np.isin(label, known))
    of = np.searchsorted(known, label[taught])
    residual = x[taught] - mean[of]
    freedom = max(len(taught) - len(known), 1)
    shared = _shrunk(residual.T @ residual / freedom)
    distance = np.einsum("ij,jk,ik->i", residual, np.linalg.inv(shared), residual) / q
    # Each movement's own size of variation, as if three trials of the usual one had been seen besides.
    own = count[known]
    size = (np.bincount(of, distance, len(known)) * own / np.maximum(own - 1, 1) + 3) / (own + 3)
    away = x[trial] - mean
    squared = np.einsum("ij,jk,ik->i", away, np.linalg.inv(shared), away) / (size * (1 + 1 / own))
    log_p = _student(squared, q, freedom) - 0.5 * q * np.log(size * (1 + 1 / own)) - 0.5 * _log_det(shared)
    at_rest = rest.mean(0)
    spread = _shrunk((rest - at_rest).T @ (rest - at_rest) / (len(rest) - 1))
    away = x[trial] - at_rest
    squared = np.asarray(away @ np.linalg.solve(spread, away))
    log_rest = float(_student(squared, q, len(rest) - 1)) - 0.5 * _log_det(spread)
    scores = np.append(log_p, log_rest)
    mine = int(np.searchsorted(known, label[trial]))
    best = int(scores.argmax())
    said = REST if best == len(known) else names[known[best]]
    return Opinion(said, float(scores[mine] - np.delete(scores, mine).max()), alien_share)


def _parts(
    z: NDArray[np.floating], positions: NDArray[np.floating]
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Rise, hold and return side by side (3 f,), and the same of the rest before and after."""
    size = np.abs(positions).max(1)
    peak = float(np.percentile(size, 90))
    away = np.flatnonzero(size > 0.5 * peak)
    first, last = int(away[0]), int(away[-1])
    held = np.flatnonzero(size > 0.9 * peak)
    begins = int(held[0]) if len(held) else first
    ends = int(held[-1]) if len(held) else last
    low = size < 0.1 * peak
    rises = int(np.flatnonzero(low[:first])[-1]) + 1 if low[:first].any() else 0
    falls = last + int(np.flatnonzero(low[last:])[0]) if low[last:].any() else len(z)
    moving = [_mean(z, rises, begins), _mean(z, begins, ends + 1), _mean(z, ends + 1, falls)]
    # What goes before a movement is its preparation; what comes after, its end.
    return (
        np.concatenate(moving),
        _thirds(z, 0, max(rises - SETTLE_HOPS, 1)),
        _thirds(z, min(falls + SETTLE_HOPS, len(z) - 1), len(z)),
    )


SETTLE_HOPS = 5
"""A feature window, between a movement and what counts as rest."""


def _thirds(z: NDArray[np.floating], start: int, stop: int) -> NDArray[np.float64]:
    third = max((stop - start) // 3, 1)
    return np.concatenate(
        [_mean(z, start, start + third), _mean(z, start, stop), _mean(z, stop - third, stop)]
    )


def _mean(z: NDArray[np.floating], start: int, stop: int) -> NDArray[np.float64]:
    stop = min(max(stop, start + 1), len(z))
    return np.asarray(z[min(start, stop - 1) : stop].mean(0, dtype=np.float64))


def _components(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """(n, q) on the principal axes, scaled by one number for all."""
    x = x - x.mean(0)
    values, vectors = np.linalg.eigh(x @ x.T)
    kept = np.flatnonzero(values > 1e-9 * values[-1])[-min(N_COMPONENTS, len(x) // 6) :]
    found = vectors[:, kept] * np.sqrt(values[kept])
    return np.asarray(found / found.std())


def _alien_share(resting: NDArray[np.float64]) -> NDArray[np.float64]:
    """(n,) which share of the columns is far from what it usually is at rest, before or after the movement."""
    f = resting.shape[1] // 3
    rest = resting[:, f : 2 * f]
    rest = rest - np.median(rest, axis=0)
    spread = 1.4826 * np.median(np.abs(rest), axis=0)
    varies = spread > 0
    if not varies.any():
        return np.zeros(len(rest) // 2)
    far = (np.abs(rest[:, varies]) > ALIEN * spread[varies]).mean(1)
    return np.asarray(far.reshape(-1, 2).min(1))


def _shrunk(covariance: NDArray[np.float64]) -> NDArray[np.float64]:
    q = len(covariance)
    return np.asarray((1 - SHRINK) * covariance + SHRINK * np.trace(covariance) / q * np.eye(q))


def _log_det(covariance: NDArray[np.float64]) -> float:
    return float(np.linalg.slogdet(covariance)[1])


def _student(squared: NDArray[np.float64], q: int, freedom: float) -> NDArray[np.float64]:
    """Log density of a q-variate Student's t at a squared Mahalanobis distance, but for the determinant."""
    constant = math.lgamma((freedom + q) / 2) - math.lgamma(freedom / 2) - 0.5 * q * np.log(freedom * np.pi)
    return np.asarray(constant - 0.5 * (freedom + q) * np.log1p(squared / freedom))
