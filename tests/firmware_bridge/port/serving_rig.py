"""A port that is served in a test, and an owner who answers."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator

import numpy as np

from firmware_bridge.port import Port, Request
from firmware_bridge.stream import SignalBlock, StreamInfo

RATE_HZ = 1000.0
INFO = StreamInfo(RATE_HZ, ("a", "b", "c"), "nerve", electrodes=("x/1", "x/2", "x/3"), nerve="median")
ABOUT = {"kind": "run", "title": "a test", "bundle": "abc"}
PATIENCE_S = 60.0


def until(is_so: Callable[[], object], what: str, patience_s: float = PATIENCE_S) -> None:
    """Wait for it; an AssertionError names `what` where it does not come."""
    end_s = time.monotonic() + patience_s
    while not is_so():
        assert time.monotonic() < end_s, what
        time.sleep(0.005)


def values(first: int, n: int, n_channels: int = 3) -> np.ndarray:
    """Samples that say which they are."""
    index = np.arange(first, first + n, dtype=np.float32)
    return np.stack([index + channel / 10 for channel in range(n_channels)], axis=1)


def block(first: int, n: int, lost_before: int = 0, **more: object) -> SignalBlock:
    """A block of such samples."""
    return SignalBlock(values(first, n), first, time.monotonic_ns(), lost_before, **more)


@contextlib.contextmanager
def answered_by(port: Port, answer: Callable[[Request], None]) -> Iterator[list[str]]:
    """While this lasts, requests are answered so; the names of those that came."""
    over = threading.Event()
    came: list[str] = []

    def run() -> None:
        while not over.is_set():
            if port.wait(0.05):
                for request in port.requests():
                    came.append(request.name)
                    answer(request)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    try:
        yield came
    finally:
        over.set()
        thread.join()
