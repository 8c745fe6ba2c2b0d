"""Simulated time: one clock for all that takes part, moved on from one thing that is due to the next."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable
from typing import Protocol

NS = 1_000_000_000
BEGIN_NS = 1_000 * NS
WALL_BEGIN_S = 1_900_000_000.0


class Stepping(Protocol):
    """Somebody who does something again and again; `due_ns` is when next."""

    @property
    def due_ns(self) -> int: ...

    def step(self) -> None: ...


class World:
    """The host's clock, and what happens as it moves on. Nothing in here knows what time it really is."""

    def __init__(self) -> None:
        self.now_ns = BEGIN_NS
        self.wall_steps_s = 0.0
        """What the wall clock was set by since the beginning."""
        self.stepping: list[Stepping] = []
        self._later: list[tuple[int, int, Callable[[], object]]] = []
        self._numbers = itertools.count()

    def clock_ns(self) -> int:
        """As time.monotonic_ns."""
        return self.now_ns

    def wall_s(self) -> float:
        """As time.time."""
        return WALL_BEGIN_S + (self.now_ns - BEGIN_NS) / NS + self.wall_steps_s

    def at(self, at_ns: int, do: Callable[[], object]) -> None:
        """Then; of what is due at the same time, what was asked for first."""
        heapq.heappush(self._later, (max(at_ns, self.now_ns), next(self._numbers), do))

    def until(self, at_ns: int) -> None:
        """Move on to that time, through all that happens until then."""
        while True:
            next_one = min(self.stepping, key=lambda one: one.due_ns, default=None)
            step_ns = at_ns + 1 if next_one is None else next_one.due_ns
            later_ns = self._later[0][0] if self._later else at_ns + 1
            if min(step_ns, later_ns) > at_ns:
                break
            self.now_ns = max(self.now_ns, min(step_ns, later_ns))
            if later_ns <= step_ns:
                heapq.heappop(self._later)[2]()
            elif next_one is not None:
                next_one.step()
        self.now_ns = max(self.now_ns, at_ns)

    def wait(self, seconds: float) -> bool:
        """As threading.Event.wait of one that nobody sets."""
        self.until(self.now_ns + round(seconds * NS))
        return False
