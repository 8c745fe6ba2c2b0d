"""Whether a hand is where it was sent, as far as it can be: late, slow or kept from going on, but nowhere else."""

from __future__ import annotations

import math

from firmware_bridge.hand import DOF_NAMES, N_DOF
from firmware_bridge.ramp import Positions

NS = 1_000_000_000

Span = tuple[list[float], list[float]]
"""The least and the most, by degree of freedom."""


class Whereabouts:
    """Judges one report of positions after the other by what was sent.

    A hand that lags, that is slow, or that something keeps from going on, is between where it was and where it was
    sent: from any moment on, within what spans its place at that moment and all that it was sent since, or up to
    `lag_s` before, which it may not have had yet. `_low` and `_high` are the narrowest of all these bounds, and the
    hand is astray where it is outside them by more than `tolerance`.
    """

    def __init__(self, lag_s: float, tolerance: float) -> None:
        self.limit(lag_s, tolerance)
        self.begin()

    def limit(self, lag_s: float, tolerance: float) -> None:
        """Another lag and tolerance from the next report on; nothing is forgotten."""
        self._lag_ns, self._tolerance = lag_s * NS, tolerance

    def begin(self) -> None:
        """Begin anew: wherever the hand is now is where it was sent."""
        self._low, self._high = [-math.inf] * N_DOF, [math.inf] * N_DOF
        # The span of what was sent lately, and before that: together, of the last `lag_s` at least.
        self._lately: Span | None = None
        self._before: Span = ([], [])
        self._lately_ns = 0

    def stray(self, at_ns: int, there: list[float], sent: Positions) -> str:
        """Which degree of freedom is astray, and where, "" for none: `there` is NaN where it is not measured."""
        if self._lately is None or at_ns - self._lately_ns >= self._lag_ns:
            self._before = self._lately or (list(sent), list(sent))
            self._lately, self._lately_ns = (list(sent), list(sent)), at_ns
        (lately_low, lately_high), (before_low, before_high) = self._lately, self._before
        low, high, text = self._low, self._high, ""
        for i, (at, to) in enumerate(zip(there, sent, strict=True)):
            if to < lately_low[i]:
                lately_low[i] = to
            if to > lately_high[i]:
                lately_high[i] = to
            if to < low[i]:
                low[i] = to
            if to > high[i]:
                high[i] = to
            if at != at:  # NaN
                continue
            least = lately_low[i] if lately_low[i] < before_low[i] else before_low[i]
            most = lately_high[i] if lately_high[i] > before_high[i] else before_high[i]
            least, most = at if at < least else least, at if at > most else most
            if least > low[i]:
                low[i] = least
            if most < high[i]:
                high[i] = most
            if at < low[i] - self._tolerance or at > high[i] + self._tolerance:
                text = f"{DOF_NAMES[i]} is at {at:.2f} and was sent to {to:.2f}"
        return text
