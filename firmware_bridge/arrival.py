"""At what rate samples really come, by the host's clock, told apart from a host that reads late."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, replace
from itertools import pairwise

_PARTS = 5
_HISTORY = 60
_BUSY = 0.5


_STILL_S = 0.25
"""Nothing for longer than this, and than three blocks: somebody stood still, which is no rate."""


@dataclass(frozen=True, slots=True)
class _Moment:
    """A block's arrival, and how late it was against the nominal rate, by the clock and by the clock less the
    times in which nothing came."""

    at_s: float
    late_s: float
    steady_at_s: float
    steady_late_s: float
    is_host_busy: bool = False


class ArrivalRate:
    """Judges a device's rate over `window_s` seconds: more than `tolerance` (0.1 is 10 %) off nominal or not.

    A block's lateness is its arrival minus the time its samples take at the nominal rate. It stays level at the
    nominal rate, falls for a device that sends faster and rises for a slower one. A host that stood still sees it
    jump up and fall back to where it was, but never below. So what is judged are the most punctual blocks of the
    window's parts: "faster" needs them to be earlier from part to part, and the last earlier than all of the minute
    before; "slower" later from part to part, times of standing still left out. While the consumer kept the reader
    from reading for more than half of a part, "slower" is not said: then it is the consumer.
    """

    def __init__(self, rate_hz: float, window_s: float, tolerance: float) -> None:
        self._rate_hz, self._part_s, self._tolerance = rate_hz, window_s / _PARTS, tolerance
        self._parts: deque[_Moment] = deque(maxlen=_HISTORY)
        self._first: tuple[int, int] | None = None  # index and arrival of the first block
        self._last_index, self._last_s = 0, 0.0
        self._still_s = 0.0  # how long nothing came, in all
        self._best: _Moment | None = None  # of the part that is being filled
        self._begun_s = self._held_s = 0.0

    def add(self, end_index: int, arrival_ns: int, held_s: float = 0.0) -> float | None:
        """The measured rate in Hz where it is off, else None.

        `end_index` is one past the block's last sample, lost samples counted in: what the device has produced.
        `held_s` is how long the consumer kept the reader from reading since the block before.
        """
        if self._first is None:
            self._first, self._last_index = (end_index, arrival_ns), end_index
        at_s = (arrival_ns - self._first[1]) / 1e9
        block_s = (end_index - self._last_index) / self._rate_hz
        self._still_s += max(0.0, at_s - self._last_s - max(_STILL_S, 3 * block_s))
        self._last_index, self._last_s = end_index, at_s
        late_s = at_s - (end_index - self._first[0]) / self._rate_hz
        if self._best is None or late_s < self._best.late_s:
            self._best = _Moment(at_s, late_s, at_s - self._still_s, late_s - self._still_s)
        self._held_s += held_s
        length_s = at_s - self._begun_s
        if length_s < self._part_s:
            return None
        self._parts.append(replace(self._best, is_host_busy=self._held_s > _BUSY * length_s))
        self._best, self._begun_s, self._held_s = None, at_s, 0.0
        return self._judged()

    def _judged(self) -> float | None:
        if len(self._parts) < _PARTS:
            return None
        parts = list(self._parts)
        before, window = parts[:-_PARTS], parts[-_PARTS:]
        first, last = window[0], window[-1]
        # Lateness gained per second: by the clock, and without the times of standing still.
        slopes = [_slope(b.late_s - a.late_s, b.at_s - a.at_s) for a, b in pairwise(window)]
        steady = [
            _slope(b.steady_late_s - a.steady_late_s, b.steady_at_s - a.steady_at_s)
            for a, b in pairwise(window)
        ]
        overall = _slope(last.late_s - first.late_s, last.at_s - first.at_s)
        steady_overall = _slope(
            last.steady_late_s - first.steady_late_s, last.steady_at_s - first.steady_at_s
        )
        half = self._tolerance / 2
        if overall < -self._tolerance and max(slopes) < -half and all(last.late_s < p.late_s for p in before):
            return self._rate_hz * (1.0 - overall)
        is_slower = steady_overall > self._tolerance and min(steady) > half
        if is_slower and not any(p.is_host_busy for p in window):
            return self._rate_hz * (1.0 - steady_overall)
        return None


def _slope(rise_s: float, run_s: float) -> float:
    return rise_s / run_s if run_s > 0 else 0.0
