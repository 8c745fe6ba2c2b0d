"""The last seconds of a run's signals, gathered from its views: each of them only tells of the moment before it."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

KEPT = 160
"""Columns of every channel: four seconds."""
JOINED = 4
"""So many of a view's parts make a column of 25 ms."""

Parts = Sequence[Sequence[float]]
Columns = tuple[tuple[float, ...], ...]


class SignalHistory:
    """Lowest and highest of each column and channel, the newest last."""

    def __init__(self) -> None:
        self._low: deque[tuple[float, ...]] = deque(maxlen=KEPT)
        self._high: deque[tuple[float, ...]] = deque(maxlen=KEPT)
        self._at = -1

    def add(self, sample_index: int, low: Parts, high: Parts) -> None:
        """A view's parts, (channels) lists of equal length each; nothing where the view rests on no new sample."""
        if sample_index == self._at or not low or len(low) != len(high):
            return
        if sample_index < self._at or (self._low and len(self._low[-1]) != len(low)):  # another run
            self._low.clear()
            self._high.clear()
        self._at = sample_index
        n_parts = min(len(one) for one in (*low, *high))
        for start in range(0, n_parts, JOINED):
            part = slice(start, min(start + JOINED, n_parts))
            self._low.append(tuple(min(one[part]) for one in low))
            self._high.append(tuple(max(one[part]) for one in high))

    def columns(self) -> tuple[Columns, Columns]:
        """(channels) rows of lowest and of highest."""
        return tuple(zip(*self._low, strict=True)), tuple(zip(*self._high, strict=True))
