"""Latencies in bounded memory: a histogram of logarithmic buckets, good for seconds or for months."""

from __future__ import annotations

import math
from collections import deque

import numpy as np

from firmware_bridge.stream import SignalBlock

_BUCKETS_PER_OCTAVE = 64  # a bucket is 1.1 % wide
_OCTAVES = 40  # 1 ns to about 18 minutes


class LatencyHistogram:
    """Counts durations in nanoseconds; percentiles are exact to 1.1 %."""

    def __init__(self) -> None:
        self._counts = np.zeros(_BUCKETS_PER_OCTAVE * _OCTAVES, np.int64)
        self._largest_ns = 0

    def add(self, duration_ns: int, times: int = 1) -> None:
        duration_ns = max(int(duration_ns), 1)
        bucket = int(math.log2(duration_ns) * _BUCKETS_PER_OCTAVE)
        self._counts[min(bucket, len(self._counts) - 1)] += times
        self._largest_ns = max(self._largest_ns, duration_ns)

    def __len__(self) -> int:
        return int(self._counts.sum())

    def percentile_us(self, percent: float) -> float | None:
        """The upper edge of the bucket that the percentile falls into, in microseconds; None without data."""
        n = len(self)
        if n == 0:
            return None
        rank = max(math.ceil(n * percent / 100), 1)
        bucket = int(np.searchsorted(np.cumsum(self._counts), rank))
        upper_ns = float(2 ** ((bucket + 1) / _BUCKETS_PER_OCTAVE))
        return min(upper_ns, float(self._largest_ns)) / 1e3

    @property
    def largest_us(self) -> float | None:
        return self._largest_ns / 1e3 if self._largest_ns else None


class Arrivals:
    """When the samples of the last blocks arrived, as far back as a delay line of `delay` samples reaches."""

    def __init__(self, delay: int) -> None:
        self._delay = delay
        self._blocks: deque[tuple[int, int]] = deque()  # the sample after a block's last, and its arrival

    def add(self, block: SignalBlock) -> None:
        """Note a block; blocks that no sample in the delay line can be of are forgotten."""
        if not block.n_samples:
            return
        if self._blocks and block.first_sample < self._blocks[-1][0]:
            self._blocks.clear()
        while len(self._blocks) > 1 and self._blocks[0][0] <= block.first_sample - self._delay:
            self._blocks.popleft()
        self._blocks.append((block.first_sample + block.n_samples, block.arrival_ns))

    def of(self, sample_index: int) -> int:
        """Host time in ns when this sample arrived; of a lost one, when the next block did."""
        for end, arrival_ns in self._blocks:
            if sample_index < end:
                return arrival_ns
        return self._blocks[-1][1]
