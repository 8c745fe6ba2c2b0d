"""What is inside any emulated glove: a hand's positions as the counts of its flex sensors."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from firmware_bridge.hand import DOF_NAMES

Posture = Callable[[int], NDArray[np.floating]]
"""Positions (6,) in -1..1 at host time (ns)."""


def counts(positions: NDArray[np.floating], dofs: Sequence[str], low: int, high: int) -> bytes:
    """A byte for each sensor, `low` on an open hand and `high` on a fist, each with a place at rest of its own.

    `dofs` names what bends each sensor; "" is one that stays in the middle.
    """
    out = bytearray()
    for i, dof in enumerate(dofs):
        position = float(positions[DOF_NAMES.index(dof)]) if dof else 0.0
        rest = 0.3 + 0.02 * (i % 5)  # of the way from open to fist
        way = rest + position * (rest if position < 0 else 1 - rest)
        out.append(min(max(round(low + way * (high - low)), low), high))
    return bytes(out)
