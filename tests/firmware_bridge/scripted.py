"""A device that does what a script says, on a clock that is moved by it: for arithmetic over any device's stream."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from firmware_bridge.errors import NervehandError, SourceLostError
from firmware_bridge.stream import LinkCounters, SignalBlock, StreamInfo

RATE_HZ = 1000.0
INFO = StreamInfo(RATE_HZ, ("a", "b"), "nerve")


@dataclass
class Clock:
    """Nanoseconds that pass when something takes or waits for them."""

    now_ns: int = 1_000_000_000
    waits: list[float] = field(default_factory=list)

    def ns(self) -> int:
        return self.now_ns

    def wait(self, seconds: float) -> bool:
        self.waits.append(seconds)
        self.now_ns += round(seconds * 1e9)
        return False


@dataclass(frozen=True)
class Send:
    """Samples `first` .. `first + n - 1` of the device's counter, `after_s` later; their values from `value` on."""

    first: int
    n: int
    after_s: float | None = None  # None: as long as they take
    value: int | None = None


@dataclass(frozen=True)
class Lose:
    """The link fails, `after_s` later."""

    after_s: float = 0.0


class ScriptedDevice:
    """One list of steps, or an error to refuse with, per connection. After the last step the device is exhausted."""

    def __init__(self, clock: Clock, *connections: list[Send | Lose] | NervehandError) -> None:
        self.clock, self.counters, self.info = clock, LinkCounters(), INFO
        self._waiting = deque(connections)
        self._steps: list[Send | Lose] = []
        self.is_open = False

    def connect(self) -> None:
        answer = self._waiting.popleft()
        if isinstance(answer, NervehandError):
            raise answer
        self._steps, self.is_open = answer, True
        self.counters.connections += 1

    def blocks(self) -> Iterator[SignalBlock]:
        for step in self._steps:
            if not self.is_open:
                return
            after_s = step.n / RATE_HZ if isinstance(step, Send) and step.after_s is None else step.after_s
            self.clock.now_ns += round((after_s or 0.0) * 1e9)
            if isinstance(step, Lose):
                raise SourceLostError("the cable was pulled")
            value = step.first if step.value is None else step.value
            samples = np.repeat(np.arange(value, value + step.n, dtype=np.float64)[:, None], 2, axis=1)
            digital = np.arange(value, value + step.n).astype(np.uint32)
            yield SignalBlock(samples, step.first, self.clock.now_ns, digital=digital)

    def close(self) -> None:
        self.is_open = False
