"""The truth's clock and the nerve's: a line through the earliest arrivals of readings, one piece per run of the clock.

A reading arrives late, by a delay that is never negative and often small: the line runs along the lower edge of the
arrivals. What is constant in the delay is part of the lag that is found afterwards (`calibration.alignment.lag`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from firmware_bridge.errors import NervehandError

LARGEST_STEP_S = 0.1
"""A device's clock against the samples from second to second: more is another clock. Crystals part by 0.1 ms."""
SETTLE_S = 2.0
"""Arrivals that were held back for as long as this are told from a clock that was set."""
BIN_S = 2.0
EDGE_PERCENT = 5.0
"""Of a bin's delays: their lower edge, which one wrong reading does not move."""
USUAL_PPM = 50.0
"""Two crystals differ by so much at most, one standard deviation: what is believed before a minute has told more."""


@dataclass(frozen=True, slots=True)
class ClockPiece:
    """One run of the device's clock: readings that arrived at sample `first` and later, until the next piece.

    sample = `at_sample` + (device seconds - `at_device_s`) * the map's `samples_per_s`.
    """

    first: int
    at_device_s: float
    at_sample: float


@dataclass(frozen=True, slots=True)
class ClockMap:
    """Device seconds to absolute sample indices.

    `drift_ppm` is how much faster the device's clock runs than the samples say, `drift_error_ppm` its standard error;
    `residual_s` the spread of the earliest arrivals round the line. All pieces share the drift: it is the crystal's.
    """

    pieces: tuple[ClockPiece, ...]
    rate_hz: float
    drift_ppm: float
    drift_error_ppm: float
    residual_s: float

    @property
    def samples_per_s(self) -> float:
        """Nerve samples in one second of the device's."""
        return self.rate_hz / (1 + 1e-6 * self.drift_ppm)

    def samples(self, device_s: NDArray[np.floating], arrived: NDArray[np.integer]) -> NDArray[np.float64]:
        """The sample (n,), not whole, at which each reading was taken; `arrived` (n,) tells which piece it is of."""
        first = np.array([piece.first for piece in self.pieces])
        of = np.clip(np.searchsorted(first, arrived, side="right") - 1, 0, None)
        sample = self._by(of, device_s)
        # A piece's last reading may arrive together with the first of the next.
        tied = np.flatnonzero((arrived == first[of]) & (of > 0))
        before = self._by(of[tied] - 1, device_s[tied])
        nearer = np.abs(before - arrived[tied]) < np.abs(sample[tied] - arrived[tied])
        sample[tied[nearer]] = before[nearer]
        return sample

    def _by(self, piece: NDArray[np.int64], device_s: NDArray[np.floating]) -> NDArray[np.float64]:
        at_device = np.array([one.at_device_s for one in self.pieces])[piece]
        at_sample = np.array([one.at_sample for one in self.pieces])[piece]
        return np.asarray(at_sample + (device_s - at_device) * self.samples_per_s)


def fit_clock(device_s: NDArray[np.floating], arrived: NDArray[np.integer], rate_hz: float) -> ClockMap:
    """The map from readings' device seconds (m,) and the sample indices (m,) at which they arrived, ascending.

    Without a reading the map is of no use, and says that nothing is known. Raises NervehandError where the arrivals go
    back or there are not as many as readings.
    """
    if len(device_s) == 0:
        return ClockMap((ClockPiece(0, 0.0, 0.0),), rate_hz, 0.0, USUAL_PPM, 0.0)
    if len(device_s) != len(arrived):
        raise NervehandError(
            f"{len(device_s)} instants and {len(arrived)} arrivals of the able hand: give one of each per reading"
        )
    if (np.diff(arrived) < 0).any():
        raise NervehandError("readings of the able hand go back in samples: give them in order of arrival")
    device = np.asarray(device_s, np.float64)
    arrival_s = np.asarray(arrived, np.float64) / rate_hz
    starts = _starts(device, arrival_s)
    edges = [*starts, len(device)]
    bins = [_lower_edge(device[a:b], arrival_s[a:b]) for a, b in pairwise(edges)]
    slope, error = _slope(bins)
    pieces, left = [], []
    for start, (t, delay) in zip(starts, bins, strict=True):
        centre = float(t.mean())
        residual = delay - slope * (t - centre)
        level = float(np.median(residual))
        left.append(residual - level)
        pieces.append(ClockPiece(int(arrived[start]), centre, (centre + level) * rate_hz))
    spread = float(1.4826 * np.median(np.abs(np.concatenate(left))))
    # delay grows by slope seconds per device second: the samples run faster by it, so the device slower.
    return ClockMap(tuple(pieces), rate_hz, 1e6 * (1 / (1 + slope) - 1), 1e6 * error, spread)


def _starts(device: NDArray[np.float64], arrival_s: NDArray[np.float64]) -> list[int]:
    """The first reading of each run of the device's clock.

    A clock that was set shows as a delay that is other from then on. Arrivals that were held back and come at once are
    late for a while, and then no more.
    """
    delay = arrival_s - device
    starts, start = [0], 0
    for i in np.flatnonzero((np.abs(np.diff(delay)) > LARGEST_STEP_S) | (np.diff(device) < 0)) + 1:
        before = delay[max(start, int(np.searchsorted(arrival_s, arrival_s[i] - SETTLE_S))) : i]
        after = delay[i : max(i + 1, int(np.searchsorted(arrival_s, arrival_s[i] + SETTLE_S)))]
        if not len(before):
            before = delay[i - 1 : i]
        went_back = device[i] < device[i - 1] - LARGEST_STEP_S
        if went_back or abs(float(after.min()) - float(before.min())) > LARGEST_STEP_S:
            start = int(i)
            starts.append(start)
    return starts


def _lower_edge(
    device: NDArray[np.float64], arrival_s: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Middle (b,) of each bin of a piece in device seconds, and the low percentile (b,) of its delays."""
    delay = arrival_s - device
    which = ((device - device[0]) // BIN_S).astype(np.int64)
    middle, low = [], []
    for number in np.unique(which):
        rows = which == number
        middle.append(float(device[rows].mean()))
        low.append(float(np.percentile(delay[rows], EDGE_PERCENT)))
    return np.array(middle), np.array(low)


def _slope(bins: list[tuple[NDArray[np.float64], NDArray[np.float64]]]) -> tuple[float, float]:
    """Seconds of delay per second, common to all pieces, with its standard error.

    Least squares with the weights of Tukey's biweight, so that bins in which everything was late do not count; drawn
    to 0 as far as the usual difference of two crystals is better known than the slope.
    """
    rows = [(t - np.median(t), d - np.median(d), np.full(len(t), i)) for i, (t, d) in enumerate(bins)]
    t, d, piece = (np.concatenate(columns) for columns in zip(*rows, strict=True))
    prior = 1e-6 * USUAL_PPM
    n_pieces = len(bins)
    if len(t) < n_pieces + 2:
        return 0.0, prior
    weight, slope = np.ones(len(t)), 0.0
    for _ in range(20):
        total = np.maximum(np.bincount(piece, weight, n_pieces), 1e-12)
        t0 = t - (np.bincount(piece, weight * t, n_pieces) / total)[piece]
        d0 = d - (np.bincount(piece, weight * d, n_pieces) / total)[piece]
        slope = float((weight * t0 * d0).sum() / max((weight * t0**2).sum(), 1e-12))
        residual = d0 - slope * t0
        spread = max(1.4826 * float(np.median(np.abs(residual))), 1e-7)
        squared = np.clip((residual / (4.685 * spread)) ** 2, 0, 1)
        weight = (1 - squared) ** 2
    # Of an M-estimator: Huber, Robust Statistics, 1981, chapter 7.
    bend = float(((1 - squared) * (1 - 5 * squared)).mean())
    freedom = max(len(t) - n_pieces - 1, 1)
    variance = (
        float(((weight * residual) ** 2).sum())
        / freedom
        / max(bend, 0.1) ** 2
        / max(float((t0**2).sum()), 1e-12)
    )
    kept = prior**2 / (prior**2 + variance)
    return kept * slope, math.sqrt(kept * variance)
