"""What the hand itself says against moving it: seen, limited, said."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from firmware_bridge.gate import Cause, GateState
from tests.firmware_bridge.gate_rig import LIMITS, Rig

WATCHED = replace(
    LIMITS,
    lower=[-1] * 6,
    upper=[1] * 6,
    max_current_a=0.5,
    max_force_n=10,
    max_temperature_c=60,
    min_battery=0.1,
)
HOT = {"temperature_c": 60.5}
LOADED = {"currents_a": np.full(6, 0.6, np.float32)}
LOW = {"battery": 0.05}


def rig(says: dict[str, object], target: float = 0.4) -> Rig:
    made = Rig(WATCHED).follow(target)
    made.told()
    made.says = says
    return made


def test_a_hot_hand_opens_slowly_and_may_close_again_once_it_is_cool_and_the_intent_has_passed_rest() -> None:
    hot = rig(HOT)
    decision = hot.step(hot.command(0.4))
    assert (decision.state, decision.cause) == (GateState.RELAXING, Cause.OVERHEATED)
    np.testing.assert_allclose(decision.positions, 0.39, atol=1e-6)
    assert hot.told() == [
        ("hand", "hand too hot: 60.5 °C, limit 60 °C", "gate"),
        ("relaxing", "relaxing: hand too hot; let the hand cool, and think of rest once", "gate"),
    ]
    hot.run(1.0, 0.0)
    assert hot.last.cause is Cause.OVERHEATED
    assert hot.told() == []
    np.testing.assert_array_equal(hot.positions, 0)
    hot.says = {}
    assert hot.step(hot.command(0.4)).cause is Cause.OVERHEATED
    assert hot.step(hot.command(0.1)).cause is None
    assert hot.step(hot.command(0.4)).state is GateState.ARMED


def stalled(there: float) -> Rig:
    """A hand that something keeps at `there`, whatever it is sent to, and that says how it presses."""
    made = rig(LOADED, there)
    made.follows = False
    return made


@pytest.mark.parametrize(("target", "there"), [(0.8, 0.5), (-0.8, -0.5)])
def test_an_overloaded_hand_presses_no_longer_and_stays_where_it_is(target: float, there: float) -> None:
    made = stalled(there)
    made.run(0.3, target)
    assert made.last.cause is None
    np.testing.assert_allclose(made.last.positions, target, atol=1e-6)
    made.step(made.command(target))
    assert (made.last.state, made.last.cause) == (GateState.HOLDING, Cause.OVERLOADED)
    assert made.told() == [
        ("hand", "hand overloaded: thumb 0.60 A, limit 0.50 A", "gate"),
        ("holding", "holding: hand overloaded; think of rest once: the hand opens", "gate"),
    ]
    made.says = {}
    made.run(0.5, target)
    np.testing.assert_array_equal(made.last.positions, np.float32(there))
    made.run(5.0, target)
    np.testing.assert_array_equal(made.last.positions, np.float32(there))


def test_a_hand_that_stays_overloaded_opens_all_the_same_when_rest_is_intended() -> None:
    made = stalled(0.5)
    made.run(1.0, 0.8)
    np.testing.assert_array_equal(made.last.positions, 0.5)
    made.run(1.5, 0.0)
    np.testing.assert_array_equal(made.last.positions, 0)
    assert {text for _, text, _ in made.told() if "overloaded: " in text} == {
        "hand overloaded: thumb 0.60 A, limit 0.50 A"
    }


def test_an_overload_during_a_stop_eases_the_hand_too() -> None:
    made = stalled(0.5)
    made.gate.stop(made.now_ns, "Bo")
    made.run(1.0)
    assert made.last.cause is Cause.STOPPED
    np.testing.assert_array_equal(made.last.positions, 0.5)


@pytest.mark.parametrize(
    ("there", "held"), [(1.0, 0.75), (0.76, 0.75), (0.5, 0.5), (0.1, 0.1), (-0.2, 0.0), (np.nan, 0.75)]
)
def test_easing_never_leads_away_from_rest_whatever_the_hand_says(there: float, held: float) -> None:
    made = Rig(replace(WATCHED, astray_tolerance=9.0)).follow(0.75)
    made.says, made.follows = LOADED, False
    made.positions = np.full(6, there, np.float32)
    made.run(1.5, 0.75)
    assert made.last.cause is Cause.OVERLOADED
    np.testing.assert_allclose(made.last.positions, held, atol=1e-6)


def test_silence_relaxes_a_hand_that_was_overloaded_before() -> None:
    made = stalled(0.5)
    made.run(0.5, 0.8)
    made.says = {}
    made.run(1.0)
    assert (made.last.state, made.last.cause) == (GateState.RELAXING, Cause.SILENCE)
    np.testing.assert_array_equal(made.last.positions, 0)


def test_a_stop_of_a_hand_that_was_eased_stays_where_it_was_eased_to() -> None:
    made = stalled(0.5)
    made.run(0.5, 0.8)
    made.says = {}
    made.run(0.3, 0.8)
    made.positions = np.full(6, 0.4, np.float32)
    made.gate.stop(made.now_ns, "Bo")
    made.run(0.3, 0.8)
    np.testing.assert_array_equal(made.last.positions, 0.5)


def test_where_it_was_eased_to_does_not_hold_after_it_has_moved_again() -> None:
    made = stalled(0.5)
    made.run(0.5, 0.8)
    made.says = {}
    made.follows = True
    made.run(1.0, 0.0)
    made.run(1.0, -0.3)
    made.gate.stop(made.now_ns, "Bo")
    made.run(0.3, 0.8)
    np.testing.assert_allclose(made.last.positions, -0.3, atol=1e-6)


def test_a_hand_that_is_where_it_was_not_sent_relaxes_until_somebody_has_looked() -> None:
    made = rig({}, 0.4)
    made.follows = False
    made.positions = np.array([0.4, 0.4, 0.4, 0.8, 0.4, 0.4], np.float32)
    made.run(0.3, 0.4)
    assert made.last.cause is None
    made.step(made.command(0.4))
    assert (made.last.state, made.last.cause) == (GateState.FAULTED, Cause.ASTRAY)
    assert made.told() == [
        ("hand", "hand where it was not sent: ring is at 0.80 and was sent to 0.40", "gate"),
        (
            "faulted",
            "faulted: hand where it was not sent; look at the hand and at what moved it, then arm again",
            "gate",
        ),
    ]
    made.run(0.5, 0.4)
    np.testing.assert_array_equal(made.last.positions, 0)
    made.positions = np.zeros(6, np.float32)
    made.run(0.2, 0.0)
    assert made.last.cause is Cause.ASTRAY
    made.follows = True
    made.arm()
    assert made.run(1.0, 0.0).cause is None
    assert made.run(1.0, 0.4).cause is None


def test_a_hand_that_was_moved_while_nothing_was_sent_is_not_astray() -> None:
    made = rig({}, 0.4)
    made.gate.disarm(made.now_ns, "Ann")
    made.run(0.5)
    made.positions = np.full(6, -0.7, np.float32)
    made.run(0.5)
    made.arm()
    assert made.run(1.0, 0.0).cause is None


def test_a_low_battery_opens_the_hand_before_it_is_empty_and_ends_by_arming_once_charged() -> None:
    made = rig(LOW)
    made.run(2.0, 0.4)
    assert made.last.cause is None
    made.step(made.command(0.4))
    assert (made.last.state, made.last.cause) == (GateState.FAULTED, Cause.LOW_BATTERY)
    assert made.told() == [
        ("hand", "hand battery low: 5% of full, limit 10%", "gate"),
        ("faulted", "faulted: hand battery low; charge the hand, then arm again", "gate"),
    ]
    made.run(1.0, 0.0)
    np.testing.assert_array_equal(made.positions, 0)
    assert made.arm() == ["arm refused"]
    made.says = {}
    assert made.arm() == ["arm", "holding"]
    assert made.step(made.command(0.0)).cause is None


@pytest.mark.parametrize(
    ("says", "text"),
    [
        (HOT, "hand too hot: 60.5 °C, limit 60 °C: see to it first"),
        (LOW, "hand battery low: 5% of full, limit 10%: see to it first"),
        ({"fault": "motor 2"}, "the hand reports 'motor 2': clear it first"),
    ],
)
def test_a_hand_that_could_only_be_opened_is_not_armed(says: dict[str, object], text: str) -> None:
    made = Rig(WATCHED)
    made.says = says
    assert made.arm() == ["arm refused"]
    assert made.told()[-1] == ("arm refused", text, "Ann")


@pytest.mark.parametrize("says", [LOADED, {"stalled": True}])
def test_a_hand_under_load_may_be_armed(says: dict[str, object]) -> None:
    made = Rig(WATCHED)
    made.says = says
    assert "arm" in made.arm()


def test_arming_begins_anew_with_what_lasts() -> None:
    made = rig(LOW)
    made.run(1.5, 0.4)
    made.says = {}
    made.arm()
    made.says = LOW
    assert made.run(1.5, 0.0).cause is None


@pytest.mark.parametrize("says", [HOT, LOW, LOADED])
def test_a_release_is_not_kept_by_what_the_hand_says(says: dict[str, object]) -> None:
    made = rig(says, 0.8)
    made.gate.release(made.now_ns, "Ann")
    made.run(3.0)
    assert (made.last.state, made.last.cause) == (GateState.RELEASED, None)
    np.testing.assert_array_equal(made.positions, 0)
