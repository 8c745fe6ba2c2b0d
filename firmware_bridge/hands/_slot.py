"""The one place where a position waits for the link: the newest wins, none waits long, and all are counted."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

MAX_AGE_S = 0.1
"""What waited longer is not sent any more."""

_MAX_AGE_NS = round(MAX_AGE_S * 1e9)


@dataclass(slots=True)
class LinkCounters:
    """What happened since the hand was made: positions (and grips) in the first three, frames elsewhere.

    `dropped` were replaced by a newer one, had no link, or were too old, which `expired` counts once more: none of them
    went out, but what was given up and waited to be sent again.
    `unanswered` frames were given up, and their position sent again where nothing newer was there, and it was not too
    old; a grip is not sent again.
    """

    submitted: int = 0
    dropped: int = 0
    expired: int = 0
    sent: int = 0
    acknowledged: int = 0
    unanswered: int = 0
    bad_frames: int = 0
    skipped_bytes: int = 0
    connections: int = 0
    losses: int = 0


class Order(NamedTuple):
    """Positions (6,), or a grip (positions None) at a speed of 0 to 1; `now_ns` is the caller's time, `put_ns` the
    slot's."""

    positions: NDArray[np.float32] | None
    now_ns: int
    put_ns: int
    grip: str = ""
    speed: float = 1.0


class Slot:
    """Used by the threads that send and by the link's. Shut, it takes nothing; it begins shut."""

    def __init__(self, counters: LinkCounters) -> None:
        self._counters = counters
        self._lock = threading.Lock()
        self._is_shut = True
        self._order: Order | None = None

    @property
    def is_empty(self) -> bool:
        return self._order is None

    def put(self, order: Order) -> None:
        """Replace what waits; the link is woken where nothing did."""
        with self._lock:
            self._counters.submitted += 1
            if self._is_shut:
                self._counters.dropped += 1
                return
            was_empty = self._order is None
            self._counters.dropped += not was_empty
            self._order = order
            if was_empty:
                self._wake()

    def take(self, now_ns: int) -> Order | None:
        """What waits, if it is young enough."""
        with self._lock:
            order, self._order = self._order, None
            if order is not None and now_ns - order.put_ns > _MAX_AGE_NS:
                self._counters.dropped += 1
                self._counters.expired += 1
                return None
            return order

    def put_back(self, order: Order) -> None:
        """Taken before, and to be sent again unless something newer waits; its age counts on."""
        with self._lock:
            if not self._is_shut and self._order is None:
                self._order = order

    def open(self, wake: Callable[[], object]) -> None:
        """Take orders from now on; `wake` is called by who sends, and never any more once it was shut."""
        with self._lock:
            self._is_shut = False
            self._wake = wake

    def shut(self) -> None:
        with self._lock:
            self._is_shut = True
            if self._order is not None:
                self._order = None
                self._counters.dropped += 1
