"""A wearer's adjustments: they change how commands are followed, and nothing else."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from firmware_bridge.adjustments import Adjustments
from firmware_bridge.gate import Cause, GateState
from tests.firmware_bridge.gate_rig import LIMITS, Rig

WIDE = replace(LIMITS, lower=[-1] * 6, upper=[1] * 6)
SLOW_THUMB = Adjustments(max_speed_per_s=(0.2, *(math.inf,) * 5))
LOCKED_INDEX = Adjustments(locked=(False, True, False, False, False, False))
HAND_LOCKED = Adjustments(hand_locked=True)


def adjust(rig: Rig, adjustments: Adjustments, who: str = "Bo") -> list[tuple[str, str, str]]:
    events = rig.gate.adjust(rig.now_ns, who, adjustments)
    assert {event.time_ns for event in events} <= {rig.now_ns}
    return [(event.kind, event.text, event.who) for event in events]


@pytest.mark.parametrize(
    ("adjustments", "target", "reached"),
    [
        (Adjustments(gain=(2.0, 0.5, 0, 1, 1, 1)), 0.4, [0.8, 0.2, 0, 0.4, 0.4, 0.4]),
        (Adjustments(gain=(4.0,) * 6), -0.4, [-1] * 6),
        (Adjustments(dead_band=(0.5, 0.2, 0, 0, 0, 0)), 0.4, [0, 0.25, 0.4, 0.4, 0.4, 0.4]),
        (Adjustments(gain=(2.0,) * 6, dead_band=(0.2,) * 6), -0.4, [-0.5] * 6),
    ],
)
def test_gain_and_dead_band_change_where_the_hand_goes(
    adjustments: Adjustments, target: float, reached: list[float]
) -> None:
    rig = Rig(WIDE).follow(0.0)
    adjust(rig, adjustments)
    rig.run(2.0, target)
    np.testing.assert_allclose(rig.positions, reached, atol=1e-6)


def test_a_speed_is_a_limit_beside_the_gates_own() -> None:
    rig = Rig(WIDE).follow(0.0)
    adjust(rig, replace(SLOW_THUMB, max_speed_per_s=(0.2, 100.0, 1.0, math.inf, 4.0, 3.9)))
    rig.step(rig.command(1.0))
    np.testing.assert_allclose(rig.positions, [0.002, 0.02, 0.01, 0.04, 0.04, 0.039], atol=1e-7)
    adjust(rig, Adjustments())
    before = rig.positions
    rig.step(rig.command(1.0))
    np.testing.assert_allclose(rig.positions - before, np.array(WIDE.max_speed_per_s) * 0.01, atol=1e-7)


def test_a_locked_degree_of_freedom_stays_and_goes_on_when_it_is_unlocked() -> None:
    rig = Rig(WIDE).follow(0.4)
    adjust(rig, LOCKED_INDEX)
    rig.run(1.0, -0.4)
    np.testing.assert_allclose(rig.positions, [-0.4, 0.4, -0.4, -0.4, -0.4, -0.4], atol=1e-6)
    assert rig.last.state is GateState.ARMED
    adjust(rig, Adjustments())
    rig.run(1.0, -0.4)
    np.testing.assert_allclose(rig.positions, -0.4, atol=1e-6)


def test_a_lock_that_comes_on_the_way_brakes() -> None:
    rig = Rig(replace(WIDE, max_acceleration_per_s2=4.0)).follow(0.0)
    rig.run(0.2, 1.0)
    adjust(rig, LOCKED_INDEX)
    before = rig.positions[1]
    rig.run(1.0, 1.0)
    assert before + 0.06 < rig.positions[1] < before + 0.1  # 0.8 per s, v^2 / (2 a)


def test_a_locked_hand_holds_and_moves_again_once_it_is_unlocked_and_the_intent_has_passed_rest() -> None:
    rig = Rig(WIDE).follow(0.4)
    rig.told()
    adjust(rig, HAND_LOCKED)
    rig.run(1.0, -0.4)
    assert (rig.last.state, rig.last.cause, rig.last.send) == (GateState.HOLDING, Cause.LOCKED, True)
    np.testing.assert_allclose(rig.positions, 0.4, atol=1e-6)
    rig.run(0.2, 0.0)
    adjust(rig, Adjustments(), who="Cy")
    rig.run(0.2, -0.4)
    assert rig.last.cause is Cause.LOCKED
    np.testing.assert_allclose(rig.positions, 0.4, atol=1e-6)
    rig.step(rig.command(0.0))
    assert rig.last.cause is None
    text = "holding: hand locked; unlock the hand, and think of rest once"
    assert rig.told() == [("holding", text, "Bo"), ("armed", "armed", "gate")]


def test_a_hand_is_locked_before_it_is_armed_as_well() -> None:
    rig = Rig(WIDE)
    adjust(rig, HAND_LOCKED)
    rig.arm()
    assert rig.run(0.5, 0.0).cause is Cause.AWAITING_REST
    adjust(rig, Adjustments())
    assert rig.run(0.1, 0.0).cause is None


@pytest.mark.parametrize("adjustments", [LOCKED_INDEX, HAND_LOCKED, SLOW_THUMB, Adjustments(gain=(0.0,) * 6)])
def test_a_release_and_safe_actions_ignore_them(adjustments: Adjustments) -> None:
    for release in (True, False):
        rig = Rig(WIDE).follow(0.8)
        adjust(rig, adjustments)
        rig.step(rig.command(np.nan))
        if release:
            rig.gate.release(rig.now_ns, "Ann")
        rig.run(1.0)
        np.testing.assert_allclose(rig.positions, 0, atol=1e-6)


def test_what_is_judged_is_the_command_as_it_came() -> None:
    rig = Rig(WIDE).follow(0.0)
    adjust(rig, Adjustments(gain=(0.5,) * 6, dead_band=(0.3,) * 6))
    assert rig.step(rig.command(1.01)).cause is Cause.OUT_OF_RANGE
    rig.arm()
    assert rig.step(rig.command(0.16)).cause is Cause.AWAITING_REST
    assert rig.step(rig.command(0.15)).cause is None


def test_every_change_is_an_event_with_who_made_it_and_no_change_is_none() -> None:
    rig = Rig(WIDE)
    assert rig.gate.adjustments == Adjustments()
    assert adjust(rig, LOCKED_INDEX) == [("adjust", "lock of index False -> True", "Bo")]
    assert adjust(rig, LOCKED_INDEX) == []
    other = replace(HAND_LOCKED, gain=(1.5, 1, 1, 1, 1, 1), dead_band=(0, 0, 0.1, 0, 0, 0))
    other = replace(other, max_speed_per_s=(*(math.inf,) * 5, 0.5))
    assert adjust(rig, other, "Cy") == [
        (
            "adjust",
            "gain of thumb 1.0 -> 1.5; dead band of middle 0.0 -> 0.1; speed limit of wrist inf -> 0.5; "
            "lock of index True -> False; hand locked",
            "Cy",
        )
    ]
    assert rig.gate.adjustments is other
    assert adjust(rig, Adjustments(hand_locked=True))[0][1].startswith("gain of thumb 1.5 -> 1.0")
    assert adjust(rig, Adjustments()) == [("adjust", "hand unlocked", "Bo")]


@pytest.mark.parametrize("who", ["", " "])
def test_nobody_adjusts_nothing(who: str) -> None:
    rig = Rig(WIDE)
    assert adjust(rig, HAND_LOCKED, who) == [("adjust refused", "nobody is named: say who adjusts", "nobody")]
    assert rig.gate.adjustments == Adjustments()
