"""What a network emulator sends: any blocks, cut to its own length, and when they are due."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator

import numpy as np
from numpy.typing import NDArray

from firmware_bridge.stream import SignalBlock


def recut(blocks: Iterable[SignalBlock], n_samples: int) -> Iterator[SignalBlock]:
    """The same samples in blocks of `n_samples`; what does not fill one before a gap or the end is left out."""
    held: list[SignalBlock] = []
    n_held = 0
    for block in blocks:
        if held and block.first_sample != held[-1].first_sample + held[-1].n_samples:
            held, n_held = [], 0
        held.append(block)
        n_held += block.n_samples
        if n_held < n_samples:
            continue
        samples = np.concatenate([one.samples for one in held])
        digital = _digital(held)
        first = held[0].first_sample
        n_whole = n_held // n_samples * n_samples
        for at in range(0, n_whole, n_samples):
            end = at + n_samples
            yield SignalBlock(samples[at:end], first + at, scale_uv=block.scale_uv, digital=digital[at:end])
        n_held -= n_whole
        rest = SignalBlock(
            samples[n_whole:], first + n_whole, scale_uv=block.scale_uv, digital=digital[n_whole:]
        )
        held = [rest] if n_held else []


def _digital(blocks: list[SignalBlock]) -> NDArray[np.uint32]:
    return np.concatenate(
        [np.zeros(one.n_samples, np.uint32) if one.digital is None else one.digital for one in blocks]
    )


class Pace:
    """Says how long to wait before the next samples are due; `speed` 2 is twice the rate. Never gains on a host
    that came late: what is overdue is sent at once, as a device's buffer would."""

    def __init__(self, rate_hz: float) -> None:
        self._rate_hz = rate_hz
        self._speed = 1.0
        self.begin()

    def begin(self) -> None:
        """The next samples are due as if the first of them were taken now."""
        self._due_s = time.monotonic()

    def set_speed(self, speed: float) -> None:
        self._speed = speed

    def wait_s(self, n_samples: int) -> float:
        """Seconds until `n_samples` more are due, from now."""
        self._due_s += n_samples / (self._rate_hz * self._speed)
        return max(0.0, self._due_s - time.monotonic())
