"""Closing a source from another thread while its next block is waited for."""

from __future__ import annotations

import threading
from collections.abc import Callable

from firmware_bridge.stream import SignalBlock, Source

FORTNIGHT_NS = 14 * 24 * 3600 * 10**9


class StoppedClock:
    """A host clock after which the first block is due in a fortnight; `asked` is set when that is waited for."""

    def __init__(self) -> None:
        self.asked = threading.Event()
        self._started = False

    def __call__(self) -> int:
        if self._started:
            self.asked.set()
            return 0
        self._started = True
        return FORTNIGHT_NS


def blocks_until_closed(make: Callable[[StoppedClock], Source]) -> list[SignalBlock] | None:
    """What a source with that clock delivers before it is closed; None where closing did not end it."""
    clock = StoppedClock()
    source = make(clock)
    source.connect()
    taken: list[SignalBlock] = []
    taker = threading.Thread(target=lambda: taken.extend(source.blocks()), daemon=True)
    taker.start()
    assert clock.asked.wait(60)
    source.close()
    source.close()
    taker.join(60)
    return None if taker.is_alive() else taken
