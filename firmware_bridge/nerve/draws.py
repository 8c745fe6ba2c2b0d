"""Random numbers that are a function of what they are for: no order of asking changes them."""

from __future__ import annotations

from enum import IntEnum
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray


class Purpose(IntEnum):
    """What a stream of random numbers is for; a new purpose gets a new number, an old one keeps its own."""

    ANATOMY = 0
    DAY = 1
    FIRING = 2
    NOISE = 3
    ORDER = 4
    TRIAL = 5
    WANDER = 6
    BASELINE = 7
    ARTEFACT = 8
    MUSCLE = 9


def generator(subject: int, purpose: Purpose, day: int = 0, number: int = 0) -> np.random.Generator:
    """Philox keyed by subject and purpose, its counter by day and number (of a frame, a trial, a second)."""
    return np.random.Generator(np.random.Philox(key=[subject, int(purpose)], counter=[0, 0, number, day]))


class NumberedDraws:
    """`generator` for one number after another, without making a new one each time: a tenth of its cost."""

    def __init__(self, subject: int, purpose: Purpose, day: int) -> None:
        self._philox = np.random.Philox(key=[subject, int(purpose)])
        self._generator = np.random.Generator(self._philox)
        self._fresh = self._philox.state
        self._day = day

    def at(self, number: int) -> np.random.Generator:
        """What `generator` gives for this number; good until the next call."""
        self._fresh["state"]["counter"] = np.array([0, 0, number, self._day], np.uint64)
        self._philox.state = self._fresh
        return self._generator


def smooth_noise(
    instants_s: NDArray[np.float64], period_s: float, width: int, subject: int, purpose: Purpose, day: int
) -> NDArray[np.float64]:
    """(n, width) of unit variance, changing over about `period_s`: one normal number per period, cosine between.

    `instants_s` must ascend.
    """
    position = instants_s / period_s
    knot = np.floor(position).astype(np.int64)
    first, last = int(knot[0]), int(knot[-1]) + 1
    values = np.array([_knot(width, subject, purpose, day, k) for k in range(first, last + 1)])
    part = 0.5 - 0.5 * np.cos(np.pi * (position - knot))
    before, after = 1 - part, part
    mixed = values[knot - first] * before[:, None] + values[knot - first + 1] * after[:, None]
    return np.asarray(mixed / np.sqrt(before**2 + after**2)[:, None])


@lru_cache(maxsize=4096)
def _knot(width: int, subject: int, purpose: Purpose, day: int, number: int) -> NDArray[np.float64]:
    values = generator(subject, purpose, day, number).standard_normal(width)
    values.flags.writeable = False
    return values
