"""Gestures that start a hand's own grips, instead of positions."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from firmware_bridge.adjustments import Adjustments
from firmware_bridge.gate import Cause, GateState
from firmware_bridge.hand import LinkState
from tests.firmware_bridge.gate_rig import LIMITS, MS, Rig

LIMITS_WITH_GRIPS = replace(
    LIMITS, grips={"rest": "relax", "fist": "power", "grab": "power", "pinch": "tripod"}
)


def gestures(rig: Rig, *names: str) -> list[str]:
    """What is started with each gesture; nothing else may be sent."""
    started = []
    for name in names:
        decision = rig.step(rig.command(0.0, gesture=name))
        assert (decision.state, decision.send) == (GateState.ARMED, False)
        started.append(decision.grip)
    return started


def armed() -> Rig:
    rig = Rig(LIMITS_WITH_GRIPS)
    rig.arm()
    rig.told()
    assert gestures(rig, "rest") == ["relax"]
    assert rig.told() == [("armed", "armed", "gate"), ("grip", "the hand's own grip 'relax'", "gate")]
    return rig


def test_each_change_of_the_decided_gesture_starts_a_grip_once() -> None:
    rig = armed()
    rig.told()
    assert gestures(rig, "rest", "fist", "fist", "fist", "pinch", "rest") == [
        "",
        "power",
        "",
        "",
        "tripod",
        "relax",
    ]
    text = "the hand's own grip "
    assert rig.told() == [("grip", text + repr(grip), "gate") for grip in ("power", "tripod", "relax")]


def test_a_gesture_that_is_not_mapped_does_nothing_and_what_is_held_is_not_started_again() -> None:
    assert gestures(armed(), "fist", "point", "point", "fist", "grab", "pinch") == [
        "power",
        "",
        "",
        "",
        "",
        "tripod",
    ]


def test_a_grip_waits_for_its_slot() -> None:
    rig = Rig(replace(LIMITS_WITH_GRIPS, max_command_rate_hz=30))
    rig.arm()
    rig.run(0.1)
    started = gestures(rig, *["rest"] * 4)
    assert sorted(started) == ["", "", "", "relax"]
    assert gestures(rig, "fist", "fist", "pinch", "pinch", "pinch").count("") == 4


def test_where_gestures_start_grips_the_intent_is_at_rest_by_gesture_too() -> None:
    rig = Rig(LIMITS_WITH_GRIPS)
    rig.arm()
    for name in ("fist", "point"):
        decision = rig.step(rig.command(0.0, gesture=name))
        assert (decision.cause, decision.grip, decision.send) == (Cause.AWAITING_REST, "", True)
    assert rig.step(rig.command(0.16)).cause is Cause.AWAITING_REST
    assert rig.step(rig.command(0.0)).grip == "relax"


def test_a_safe_action_sends_positions_from_where_the_hand_says_it_is_and_the_grip_is_started_again_after_it() -> (
    None
):
    rig = armed()
    gestures(rig, "fist")
    rig.positions = np.full(6, 0.4, np.float32)
    rig.run(0.19)
    assert rig.last.send is False
    rig.step()
    assert (rig.last.cause, rig.last.send, rig.last.grip) == (Cause.SILENCE, True, "")
    np.testing.assert_allclose(rig.last.positions, 0.39, atol=1e-6)
    assert gestures(rig, "fist", "fist") == ["power", ""]


def test_no_cause_lets_a_grip_through() -> None:
    rig = armed()
    for target in (np.nan, 1.5):
        assert rig.step(rig.command(target, gesture="fist")).grip == ""
    rig.link = LinkState.LOST
    assert rig.step(rig.command(0.0, gesture="fist")).grip == ""


def test_a_hand_that_grips_by_itself_is_not_astray() -> None:
    rig = armed()
    gestures(rig, "fist")
    rig.positions = np.full(6, 0.9, np.float32)
    assert gestures(rig, *["fist"] * 100) == [""] * 100


def test_no_grip_is_started_while_a_degree_of_freedom_is_locked() -> None:
    rig = armed()
    rig.gate.adjust(rig.now_ns, "Bo", Adjustments(locked=(False,) * 5 + (True,)))
    assert gestures(rig, "fist", "pinch") == ["", ""]
    rig.gate.adjust(rig.now_ns, "Bo", Adjustments())
    assert gestures(rig, "fist") == ["power"]


@pytest.mark.parametrize("seconds", [0.01, 1.0])
def test_a_release_after_a_grip_opens_from_where_the_hand_says_it_is(seconds: float) -> None:
    rig = armed()
    gestures(rig, "fist")
    rig.positions = np.full(6, 0.4, np.float32)
    rig.run(0.02)
    rig.gate.release(rig.now_ns, "Ann")
    rig.step(dt_ns=10 * MS)
    assert rig.last.send
    np.testing.assert_allclose(rig.last.positions, 0.4 - np.array(LIMITS.max_speed_per_s) * 0.01, atol=1e-6)
    rig.run(1.0)
    np.testing.assert_array_equal(rig.positions, 0)
