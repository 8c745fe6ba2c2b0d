"""Latencies in bounded memory: a histogram of logarithmic buckets, good for seconds or for months."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from firmware_bridge.stream import SignalBlock

_BUCKETS_PER_OCTAVE = 64  # a bucket is 1.1 % wide
_OCTAVES = 40  # 1 ns to about 18 minutes
_N_BUCKETS = _BUCKETS_PER_OCTAVE * _OCTAVES
BOUNDS_S = (
    0.0001, 0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0,
)  # fmt: skip
"""The upper bounds of the buckets that a status document and Prometheus are given; they never change, so that what was
kept for months can be added up."""


@dataclass(frozen=True, slots=True)
class LatencyCounts:
    """How many durations fell into each bucket until some moment, or between two: nothing changes it any more.

    `counts` (2560,) int64; `largest_ns` is the longest duration, 0 of none; `sum_ns` is all of them together.
    Percentiles are exact to a bucket, 1.1 %.
    """

    counts: NDArray[np.int64]
    largest_ns: int
    sum_ns: int

    def __len__(self) -> int:
        return int(self.counts.sum())

    def percentile_us(self, percent: float) -> float | None:
        """The upper edge of the bucket that the percentile falls into, in microseconds; None without data."""
        return self.percentiles_us((percent,))[0]

    def percentiles_us(self, percents: Sequence[float]) -> tuple[float | None, ...]:
        """Likewise, of several."""
        below = np.cumsum(self.counts)
        n = int(below[-1])
        if n == 0:
            return (None,) * len(percents)
        ranks = [max(math.ceil(n * percent / 100), 1) for percent in percents]
        buckets: list[int] = np.searchsorted(below, ranks).tolist()
        return tuple(min(_upper_ns(bucket), float(self.largest_ns)) / 1e3 for bucket in buckets)

    @property
    def largest_us(self) -> float | None:
        """The longest one, in microseconds; None without data."""
        return self.largest_ns / 1e3 if self.largest_ns else None

    def merged(self, other: LatencyCounts) -> LatencyCounts:
        """Both together, as if one histogram had counted them."""
        largest_ns = max(self.largest_ns, other.largest_ns)
        return LatencyCounts(self.counts + other.counts, largest_ns, self.sum_ns + other.sum_ns)

    def since(self, earlier: LatencyCounts) -> LatencyCounts:
        """What came after `earlier`, an earlier moment of the same histogram; ValueError where it is not.

        The longest is exact where it is the longest of all, else exact to a bucket.
        """
        counts = self.counts - earlier.counts
        if (counts < 0).any():
            raise ValueError("the other counts are not from an earlier moment of this histogram")
        filled = np.flatnonzero(counts)
        if not len(filled):
            return LatencyCounts(counts, 0, 0)
        largest_ns = self.largest_ns
        if largest_ns <= earlier.largest_ns:
            upper_ns = _upper_ns(int(filled[-1]))
            largest_ns = math.ceil(upper_ns) if upper_ns < largest_ns else largest_ns
        return LatencyCounts(counts, largest_ns, max(self.sum_ns - earlier.sum_ns, 0))

    def cumulative(self, bounds_s: Sequence[float] = BOUNDS_S) -> tuple[int, ...]:
        """How many were at most as long as each bound (s, ascending), as Prometheus counts them; exact to a bucket.

        One within 1.1 % below a bound may be counted above it, none the other way round.
        """
        below = np.concatenate(([0], np.cumsum(self.counts)))
        buckets = [math.floor(_position(bound_s * 1e9)) for bound_s in bounds_s]
        return tuple(int(below[min(max(bucket, 0), _N_BUCKETS - 1)]) for bucket in buckets)


NO_LATENCIES = LatencyCounts(np.zeros(_N_BUCKETS, np.int64), 0, 0)


class LatencyHistogram:
    """Counts durations in nanoseconds; percentiles are exact to 1.1 %.

    One thread adds; any other may take `counts` meanwhile, which then lack at most what is being added.
    """

    def __init__(self) -> None:
        self._counts = np.zeros(_N_BUCKETS, np.int64)
        self._largest_ns = self._sum_ns = 0

    def add(self, duration_ns: int, times: int = 1) -> None:
        """One duration, or as many of the same; below 1 ns it counts as 1 ns."""
        duration_ns = max(int(duration_ns), 1)
        self._largest_ns = max(self._largest_ns, duration_ns)
        self._sum_ns += duration_ns * times
        self._counts[min(int(_position(duration_ns)), _N_BUCKETS - 1)] += times

    def merge(self, other: LatencyCounts) -> None:
        """Count also what another one has counted."""
        self._largest_ns = max(self._largest_ns, other.largest_ns)
        self._sum_ns += other.sum_ns
        self._counts += other.counts

    @property
    def counts(self) -> LatencyCounts:
        """All until now."""
        counts = self._counts.copy()
        counts.setflags(write=False)
        return LatencyCounts(counts, self._largest_ns, self._sum_ns)

    def __len__(self) -> int:
        return len(self.counts)

    def percentile_us(self, percent: float) -> float | None:
        """The upper edge of the bucket that the percentile falls into, in microseconds; None without data."""
        return self.counts.percentile_us(percent)

    @property
    def largest_us(self) -> float | None:
        """The longest one, in microseconds; None without data."""
        return self._largest_ns / 1e3 if self._largest_ns else None


class RecentLatency:
    """What a histogram has counted lately, beside all that it has counted; one thread asks.

    Of the moments of the last `window_s` it keeps `steps` and one more, so "lately" is `window_s` and up to one step.
    """

    def __init__(self, histogram: LatencyHistogram, window_s: float = 60.0, steps: int = 6) -> None:
        self._histogram, self._window_s, self._step_s = histogram, window_s, window_s / steps
        self._kept: deque[tuple[float, LatencyCounts]] = deque()

    def at(self, now_s: float) -> tuple[LatencyCounts, LatencyCounts]:
        """All until now, and what of it came lately; `now_s` is on a clock that only goes forward."""
        counts = self._histogram.counts
        if not self._kept:
            self._kept.append((now_s, NO_LATENCIES))
        while len(self._kept) > 1 and self._kept[1][0] <= now_s - self._window_s:
            self._kept.popleft()
        lately = counts.since(self._kept[0][1])
        if now_s - self._kept[-1][0] >= self._step_s:
            self._kept.append((now_s, counts))
        return counts, lately


def _position(duration_ns: float) -> float:
    """Where a duration lies in the row of buckets."""
    return math.log2(duration_ns) * _BUCKETS_PER_OCTAVE


def _upper_ns(bucket: int) -> float:
    """The upper edge of a bucket in ns; the last one has none, for what is longer is counted there, too."""
    return float(2 ** ((bucket + 1) / _BUCKETS_PER_OCTAVE)) if bucket < _N_BUCKETS - 1 else math.inf


class Arrivals:
    """When the samples of the last blocks arrived, as far back as a delay line of `delay` samples reaches."""

    def __init__(self, delay: int) -> None:
        self._delay = delay
        self._blocks: deque[tuple[int, int]] = deque()  # the sample after a piece's last, and its arrival

    def add(self, block: SignalBlock) -> None:
        """Note a block; blocks that no sample in the delay line can be of are forgotten."""
        if not block.n_samples:
            return
        if self._blocks and block.first_sample < self._blocks[-1][0]:
            self._blocks.clear()
        while len(self._blocks) > 1 and self._blocks[0][0] <= block.first_sample - self._delay:
            self._blocks.popleft()
        self._blocks += block.pieces or [(block.first_sample + block.n_samples, block.arrival_ns)]

    def of(self, sample_index: int) -> int:
        """Host time in ns when this sample arrived; of a lost one, when the next block did."""
        for end, arrival_ns in self._blocks:
            if sample_index < end:
                return arrival_ns
        return self._blocks[-1][1]
