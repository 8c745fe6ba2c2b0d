"""A front-end in simulated time whose link fails to order, and the thread that takes in its samples."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

from firmware_bridge.errors import LinkError, SourceLostError
from firmware_bridge.stream import LinkCounters, SignalBlock, Source, StreamInfo
from tests.chaos.world import NS, World

BLOCK = 100
STALL_S = 0.5
"""A device that says nothing for so long is lost."""
LOOK_NS = 10_000_000


class SimulatedDevice:
    """Plays `samples` (n, c) over and over, each when it is due. It produces on while nobody can hear it.

    Until `holds_until_ns` nothing is read from it, and what it says waits; until `silent_until_ns` it says nothing,
    and until `away_until_ns` it is not there.
    """

    def __init__(self, world: World, samples: NDArray[np.int16], info: StreamInfo, scale_uv: float) -> None:
        self._world, self._samples, self._scale_uv = world, samples, scale_uv
        self.info, self.counters = info, LinkCounters()
        self.holds_until_ns = self.silent_until_ns = self.away_until_ns = 0
        self._begun_ns = world.now_ns
        self._shift = 0
        self._next = 0
        self._is_open = False

    def connect(self) -> None:
        if self._world.now_ns < max(self.away_until_ns, self.silent_until_ns):
            raise LinkError("the device is not there")
        self._is_open = True
        self.counters.connections += 1
        self._next = max(self._next, self._now())

    def begin_anew(self) -> None:
        """Its counter begins at 0 again, as after a reset."""
        self._shift = self._now()

    def close(self) -> None:
        self._is_open = False

    def blocks(self) -> Iterator[SignalBlock]:
        while self._is_open:
            self._wait()
            if self._world.now_ns < self.away_until_ns:
                raise SourceLostError("it was unplugged")
            if self._world.now_ns < self.silent_until_ns:
                lost_ns = self._world.now_ns + round(STALL_S * NS)
                self._world.until(min(self.silent_until_ns, lost_ns))
                if self._world.now_ns < self.silent_until_ns:
                    raise SourceLostError("it fell silent")
                self._next = self._now()  # what it said meanwhile is lost
                continue
            rows = (self._next + np.arange(BLOCK)) % len(self._samples)
            yield SignalBlock(
                self._samples[rows], self._next - self._shift, self._world.now_ns, scale_uv=self._scale_uv
            )
            self._next += BLOCK

    def _wait(self) -> None:
        """Until the next block is there."""
        due_ns = self._begun_ns + round((self._next + BLOCK) / self.info.rate_hz * NS)
        while self._world.now_ns < max(due_ns, self.holds_until_ns):
            self._world.until(min(max(due_ns, self.holds_until_ns), self._world.now_ns + LOOK_NS))

    def _now(self) -> int:
        """The first sample of the block that it is making now."""
        return int((self._world.now_ns - self._begun_ns) / NS * self.info.rate_hz) // BLOCK * BLOCK


class Killed(BaseException):
    """SIGKILL: nothing in the process answers it."""


class Acquired:
    """Takes a source's blocks as they come, and gives them to one who may be stuck until `stuck_until_ns`.

    `check` is called between blocks, and may raise what ends the one who takes them.
    """

    def __init__(self, world: World, source: Source, check: Callable[[], None]) -> None:
        self._world, self._source, self._check = world, source, check
        self._waiting: deque[SignalBlock] = deque()
        self.stuck_until_ns = 0

    @property
    def info(self) -> StreamInfo:
        return self._source.info

    @property
    def backlog_s(self) -> float:
        return sum(block.n_samples for block in self._waiting) / self.info.rate_hz

    @property
    def is_filling(self) -> bool:
        return False

    def for_hops(self, hop: int, delay: int) -> None:
        """The run joins what waits for its hop."""

    def take_waiting(self, take: Callable[[SignalBlock], None]) -> None:
        while self._waiting:
            take(self._waiting.popleft())

    def connect(self) -> None:
        self._source.connect()

    def close(self) -> None:
        self._source.close()

    def blocks(self) -> Iterator[SignalBlock]:
        for block in self._source.blocks():
            self._waiting.append(block)
            while self._waiting and self._world.now_ns >= self.stuck_until_ns:
                self._check()
                yield self._waiting.popleft()
            self._check()
