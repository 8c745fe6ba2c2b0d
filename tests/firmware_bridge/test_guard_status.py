"""Where a guard stands comes back as it was written, whatever the hand measures."""

from __future__ import annotations

from dataclasses import fields

import numpy as np
import pytest

from firmware_bridge.gate import Cause, GateState
from firmware_bridge.guard import GuardCounters
from firmware_bridge.guard_memory import GuardMemory
from firmware_bridge.guard_status import GuardStatus, decode_status, encode_status
from firmware_bridge.hand import HandState, LinkState

SIX = np.array([0.1, -1, 1, np.nan, 0, 0.5], np.float32)
COUNTERS = GuardCounters(*range(1, len(fields(GuardCounters)) + 1))
HANDS = [
    None,
    HandState(SIX, 2**60),
    HandState(SIX, 1, True, "the thumb's motor 🖐", True, True, SIX * 2, SIX * 3, 41.5, 0.0),
    HandState(SIX, 1, fault='"[', currents_a=SIX, battery=1.0),
    HandState(SIX, 1, hot=True, forces_n=SIX, temperature_c=0.0),
]


@pytest.mark.parametrize("hand", HANDS)
@pytest.mark.parametrize("cause", [None, *Cause])
def test_every_field_comes_back(hand: HandState | None, cause: Cause | None) -> None:
    state = GateState.FAULTED if cause else GateState.ARMED
    status = GuardStatus(
        5, state, cause, SIX, True, LinkState.LOST, hand, COUNTERS, 7, 8, 9, ("gpio:/x", "y")
    )
    again = decode_status(encode_status(status))
    for field in fields(GuardStatus):
        if field.name not in ("positions", "hand"):
            assert getattr(again, field.name) == getattr(status, field.name)
    np.testing.assert_array_equal(again.positions, SIX)
    assert (again.hand is None) == (hand is None)
    if hand is not None and again.hand is not None:
        for of_hand in fields(HandState):
            there, here = getattr(hand, of_hand.name), getattr(again.hand, of_hand.name)
            np.testing.assert_array_equal(here, there)


def test_the_longest_fits_where_it_is_written() -> None:
    hand = HandState(SIX, 1, fault="🖐" * 10_000)
    lines = tuple("é" * 1000 + str(i) for i in range(20))
    status = GuardStatus(
        5, GateState.ARMED, None, SIX, True, LinkState.LOST, hand, COUNTERS, open_lines=lines
    )
    assert len(encode_status(status)) <= GuardMemory.STATUS_BYTES
