"""Lets recorded or simulated blocks arrive when a real front-end would have delivered them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace

from firmware_bridge.stream import SignalBlock


def paced(
    blocks: Iterable[SignalBlock],
    rate_hz: float,
    wait: Callable[[float], bool],
    clock_ns: Callable[[], int] = time.monotonic_ns,
) -> Iterator[SignalBlock]:
    """Each block once its last sample is due, counted in samples from the first block, so nothing drifts.

    `wait` takes the seconds to wait and returns early, with True, where the source is closed meanwhile: the
    `wait` of a threading.Event. Then no further block comes. `arrival_ns` is when the block was due, not when it
    was taken: a consumer that comes late sees its own lateness.
    """
    start_ns: int | None = None
    origin = 0
    for block in blocks:
        if start_ns is None:
            start_ns, origin = clock_ns(), block.first_sample
        due_ns = start_ns + round((block.first_sample + block.n_samples - origin) / rate_hz * 1e9)
        wait_s = (due_ns - clock_ns()) / 1e9
        if wait_s > 0 and wait(wait_s):
            return
        yield replace(block, arrival_ns=due_ns)
