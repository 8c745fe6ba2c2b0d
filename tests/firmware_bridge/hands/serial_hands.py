"""Serial hands end to end: our client on a pseudo-terminal with the emulated hand at its other end."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from firmware_bridge.hand import HandState, LinkState
from firmware_bridge.hands._linked import LinkedHand

PATIENCE_S = 60.0
"""No figure: a machine may stand still, a test must end."""

PACE_S = 0.01


def until(is_so: Callable[[], bool], what: str) -> None:
    end_s = time.monotonic() + PATIENCE_S
    while not is_so():
        assert time.monotonic() < end_s, f"not in {PATIENCE_S:g} s: {what}"
        time.sleep(0.002)


def sending(
    hand: LinkedHand, positions: NDArray[np.float32], is_so: Callable[[HandState], bool], what: str
) -> HandState:
    """Send these positions at a steady pace until the hand's state is so."""
    found: list[HandState] = []

    def is_there() -> bool:
        hand.send(positions, time.monotonic_ns())
        time.sleep(PACE_S)
        state = hand.state
        if state is not None and hand.link is LinkState.CONNECTED and is_so(state):
            found.append(state)
        return bool(found)

    until(is_there, what)
    return found[0]


def at(positions: NDArray[np.float32], within: float = 0.02) -> Callable[[HandState], bool]:
    """Whether the hand is there, where it has joints."""
    return lambda state: bool((np.abs(state.positions - positions)[:5] < within).all())
