"""How much another round would bring: a curve through the scores of the rounds so far, with its uncertainty.

Live and in the report:

    curve = LearningCurve.of(fits)            # fits: Sequence[FitRecord]; score=None takes the most telling one there
    gain = curve.gain_of_another_round()      # Gain(now, then, expected, low, high) in shares, or None while unknown
    curve.advice()                            # a sentence or two; curve.judgement is the same for programs
    curve.score, curve.predict(n_trials)      # the score's name; Estimate(expected, low, high) of the score

It needs NumPy only, and some milliseconds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from calibration.records import FitRecord
from calibration.report.texts import TEXTS, percent, points

TARGETS: dict[str, float] = {
    "steady_exact_match": 0.93,
    "exact_match": 0.85,
    "steady_per_dof_balanced_accuracy": 0.96,
    "per_dof_balanced_accuracy": 0.93,
    "steady_per_dof_accuracy": 0.98,
    "per_dof_accuracy": 0.95,
    "steady_balanced_accuracy": 0.93,
    "balanced_accuracy": 0.85,
    "gesture_accuracy": 0.85,
}
"""Scores that a curve may be of, the most telling first, and what is good enough for use. Hops beside a change of
movement, which the `steady_` scores leave out, are wrong for the decoder's latency alone: hence the lower targets."""

WORTH = 0.01
"""A gain that is worth the wearer's effort: one point of a hundred."""

# Prior: all values of the grids equally likely. Floor and scale are spaced as squares, so that small errors, which
# calibrations end in, are as likely as large ones. Learning curves fall with exponents of about 0.2 to 1.5.
_FLOORS = np.linspace(0.0, 0.7, 36) ** 2
_SCALES = np.linspace(0.0, 1.0, 51) ** 2
_EXPONENTS = np.array([0.15, 0.3, 0.45, 0.6, 0.8, 1.0, 1.25, 1.5])
_NOISES = np.array([0.005, 0.01, 0.02, 0.04, 0.08])
_LEVELS = (0.05, 0.95)


class Judgement(Enum):
    """What a curve advises."""

    TOO_EARLY = "too early"
    ANOTHER_ROUND = "another round"
    STOP = "stop"
    STOP_LOW = "stop, though the score is low"


@dataclass(frozen=True, slots=True)
class Estimate:
    """The score that is expected, and the ends of the 90 % interval around it (shares, 0..1)."""

    expected: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Gain:
    """What another round would bring, in shares of 1: the score `now` and `then`; the gain `expected`, and the
    ends of its 90 % interval."""

    now: float
    then: float
    expected: float
    low: float
    high: float


@dataclass(frozen=True)
class LearningCurve:
    """Error = floor + scale * (n / n_first) ** -exponent over n trials, by Bayes over a grid of these and the noise.

    `n_trials` and `values` are the points: after how many trials the decoder had this score on the round that
    followed. `trained_on` is how many trials the newest decoder has learned from, `per_round` how many a round adds.
    With few points the interval is wide, and says so; the curve never rises in error, so no gain is below 0.
    """

    score: str
    n_trials: tuple[int, ...]
    values: tuple[float, ...]
    trained_on: int
    per_round: int

    @classmethod
    def of(cls, fits: Sequence[FitRecord], score: str | None = None) -> LearningCurve:
        """The curve of these fits; `score` None takes the first of TARGETS that the newest scored fit has."""
        scored = [fit for fit in fits if fit.scores]
        if score is None:
            known = scored[-1].scores if scored else {}
            score = next((name for name in TARGETS if name in known), next(iter(TARGETS)))
        has = [fit for fit in scored if score in fit.scores and fit.n_trials > 0]
        steps = np.diff([0, *sorted({fit.n_trials for fit in fits if fit.n_trials > 0})])
        return cls(
            score,
            tuple(fit.n_trials for fit in has),
            tuple(float(fit.scores[score]) for fit in has),
            max((fit.n_trials for fit in fits), default=0),
            round(float(np.median(steps))) if len(steps) else 0,
        )

    @property
    def target(self) -> float:
        """What is good enough for use."""
        return TARGETS.get(self.score, 0.9)

    @property
    def score_in_words(self) -> str:
        """What the score says, in the middle of a sentence."""
        return TEXTS.get(f"score.{self.score}", self.score)

    def predict(self, n_trials: int) -> Estimate | None:
        """The score after so many trials; None where there is no point yet, or no trial."""
        if not self.values or n_trials < 1:
            return None
        score = 1.0 - self._error(n_trials)
        low, high = _quantiles(score, self._weights, _LEVELS)
        return Estimate(float(score @ self._weights), low, high)

    def gain_of_another_round(self) -> Gain | None:
        """What `per_round` more trials would bring to the newest decoder; None where there is no point yet."""
        if not self.values or self.per_round < 1:
            return None
        now = 1.0 - self._error(self.trained_on)
        then = 1.0 - self._error(self.trained_on + self.per_round)
        low, high = _quantiles(then - now, self._weights, _LEVELS)
        expected = float((then - now) @ self._weights)
        before = float(now @ self._weights)
        return Gain(before, before + expected, expected, low, high)

    @property
    def judgement(self) -> Judgement:
        """Two points at least; then another round where it is expected to bring a point of a hundred or more."""
        gain = self.gain_of_another_round()
        if gain is None or len(self.values) < 2:
            return Judgement.TOO_EARLY
        if gain.expected >= WORTH:
            return Judgement.ANOTHER_ROUND
        return Judgement.STOP if gain.now >= self.target else Judgement.STOP_LOW

    def advice(self) -> str:
        """Whether to make another round, in words, with what it would bring and how sure that is."""
        gain = self.gain_of_another_round()
        if gain is None:
            return TEXTS["learning.no_score"]
        words = {
            "score": self.score_in_words,
            "now": percent(self.values[-1] if len(self.values) < 2 else gain.now),
            "then": percent(gain.then),
            "gain": points(gain.expected),
            "low": points(gain.low, unit=False),
            "most": points(gain.high, unit=False),
        }
        return TEXTS[f"learning.{self.judgement.name.lower()}"].format(**words)

    @cached_property
    def _grid(self) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
        """Floor, scale and exponent (m,) of every curve that is considered."""
        floor, scale, exponent = (
            part.ravel() for part in np.meshgrid(_FLOORS, _SCALES, _EXPONENTS, indexing="ij")
        )
        return floor, scale, exponent

    def _error(self, n_trials: int) -> NDArray[np.float64]:
        """The error (m,) that each curve has after so many trials, at most 1."""
        floor, scale, exponent = self._grid
        return np.minimum(floor + scale * (n_trials / self.n_trials[0]) ** -exponent, 1.0)

    @cached_property
    def _weights(self) -> NDArray[np.float64]:
        """How likely each curve is (m,), given the points: normal errors, the noise unknown."""
        squares = np.zeros_like(self._grid[0])
        for n, value in zip(self.n_trials, self.values, strict=True):
            squares += np.square(self._error(n) - (1.0 - value))
        log = -squares[None] / (2.0 * _NOISES[:, None] ** 2) - len(self.values) * np.log(_NOISES[:, None])
        weights = np.exp(log - log.max()).sum(0)
        likely: NDArray[np.float64] = weights / weights.sum()
        return likely


def _quantiles(
    values: NDArray[np.float64], weights: NDArray[np.float64], levels: tuple[float, float]
) -> tuple[float, float]:
    order = np.argsort(values, kind="stable")
    reached = np.cumsum(weights[order])
    at = np.minimum(np.searchsorted(reached, levels), len(values) - 1)
    low, high = values[order][at].tolist()
    return low, high
