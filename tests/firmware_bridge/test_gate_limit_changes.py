"""Limits that change while the gate runs: what holds at once, what goes on, what never jumps, and what is refused."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from firmware_bridge.adjustments import Adjustments
from firmware_bridge.gate import Cause, GateLimits, GateState, SafeAction
from firmware_bridge.hand import HandCapabilities, LinkState
from firmware_bridge.hands.virtual_protocol import VIRTUAL_HAND
from firmware_bridge.preuse import overridden
from tests.firmware_bridge.gate_rig import LIMITS, MS, Rig

HAND = replace(VIRTUAL_HAND, max_command_rate_hz=1e9)
WIDE = replace(LIMITS, lower=-1.0, upper=1.0, max_speed_per_s=1.0)
NARROW = replace(WIDE, lower=-0.5, upper=0.5)


def limit(
    rig: Rig, limits: GateLimits, who: str = "Bo", hand: HandCapabilities = HAND
) -> list[tuple[str, str, str]]:
    """Change them; what is told of it."""
    events = rig.gate.limit(rig.now_ns, who, limits, hand)
    assert {event.time_ns for event in events} <= {rig.now_ns}
    return [(event.kind, event.text, event.who) for event in events]


def changed(rig: Rig, limits: GateLimits, hand: HandCapabilities = HAND) -> None:
    assert [kind for kind, _, _ in limit(rig, limits, hand=hand)] == ["limits"]
    assert rig.gate.limits is limits


def places(rig: Rig, steps: int, target: float | None = None) -> list[float]:
    """Where the wrist is sent, with where it was before."""
    return [
        float(rig.last.positions[5]),
        *[
            float(rig.step(None if target is None else rig.command(target)).positions[5])
            for _ in range(steps)
        ],
    ]


# What is told, and what is refused.


def test_a_change_is_an_event_with_who_made_it_and_each_name_from_what_to_what() -> None:
    rig = Rig(WIDE)
    other = replace(
        WIDE,
        upper=[1, 1, 1, 1, 1, 0.5],
        max_speed_per_s=0.5,
        max_temperature_c=60,
        silence_after_s=0.1,
        actions={Cause.SILENCE: SafeAction.HOLD},
    )
    assert limit(rig, other) == [
        (
            "limits",
            "upper 1 -> thumb 1, index 1, middle 1, ring 1, little 1, wrist 0.5; max_speed_per_s 1 /s -> 0.5 /s; "
            "max_temperature_c no limit -> 60 °C; silence_after_s 0.2 s -> 0.1 s; "
            "action for no command in time relax -> hold",
            "Bo",
        )
    ]
    assert limit(rig, replace(other)) == []
    assert limit(rig, WIDE, "Cy")[0][1].endswith("; action for no command in time hold -> relax")


def test_limits_that_are_laxer_than_usual_are_said_to_be() -> None:
    rig = Rig(WIDE)
    assert limit(rig, replace(WIDE, silence_after_s=0.3)) == [
        (
            "limits",
            "silence_after_s 0.2 s -> 0.3 s; limits laxer than usual: silence_after_s 0.3 s, usually 0.2 s",
            "Bo",
        )
    ]


@pytest.mark.parametrize("who", ["", " "])
def test_nobody_changes_nothing(who: str) -> None:
    rig = Rig(WIDE)
    assert limit(rig, NARROW, who) == [
        ("limits refused", "nobody is named: say who changes the limits", who or "nobody")
    ]
    assert rig.gate.limits is WIDE


SMALL = replace(
    HAND,
    lower=np.array([-0.5, 0, 0, 0, 0, -1], np.float32),
    upper=np.array([1, 1, 0.9, 1, 1, 0], np.float32),
    max_speed_per_s=np.array([1, 2, 3, 4, 4, 0], np.float32),
    max_command_rate_hz=50.0,
)


@pytest.mark.parametrize(
    ("beyond", "text"),
    [
        ({"lower": [-0.51, 0, 0, 0, 0, 0]}, "gate limit lower of thumb is -0.51: the hand's own is -0.5"),
        ({"lower": [0, 0, 0, 0, -1, 0]}, "gate limit lower of little is -1: the hand's own is 0"),
        ({"upper": [1, 1, 0.91, 1, 1, 0]}, "gate limit upper of middle is 0.91: the hand's own is 0.9"),
        ({"upper": [0, 0, 0, 0, 0, 0.1]}, "gate limit upper of wrist is 0.1: the hand's own is 0"),
        (
            {"max_speed_per_s": [1, 2.5, 3, 4, 5, 1]},
            "gate limit max_speed_per_s of index is 2.5: the hand's own is 2",
        ),
        ({"max_command_rate_hz": 50.1}, "gate limit max_command_rate_hz is 50.1: the hand's own is 50"),
    ],
)
def test_more_than_the_hand_can_do_is_refused_whole_with_the_value_and_the_hands_own(
    beyond: dict[str, object], text: str
) -> None:
    own = GateLimits.for_hand(SMALL)
    rig = Rig(own)
    asked = replace(own, silence_after_s=0.1, **beyond)  # type: ignore[arg-type]
    assert limit(rig, asked, hand=SMALL) == [("limits refused", text, "Bo")]
    assert rig.gate.limits is own


def test_all_that_the_hand_can_do_is_allowed_and_less() -> None:
    rig = Rig(replace(GateLimits.for_hand(SMALL), upper=0.0, max_speed_per_s=0.1, max_command_rate_hz=10.0))
    changed(rig, GateLimits.for_hand(SMALL), SMALL)
    changed(rig, replace(GateLimits.for_hand(SMALL), lower=0.0), SMALL)


def test_other_grips_are_refused_whether_limits_change_or_not() -> None:
    rig = Rig(WIDE)
    grips = replace(WIDE, grips={"fist": "power"})
    told = [("limits refused", "other grips need a new start: end it, and start it anew", "Bo")]
    assert limit(rig, grips) == told
    assert rig.gate.limits is WIDE
    gripping = Rig(grips)
    assert limit(gripping, WIDE) == told
    changed(gripping, replace(grips, silence_after_s=0.1, actions={}))


# Where it goes, and how fast.


@pytest.mark.parametrize("acceleration", [math.inf, 8.0])
def test_a_narrower_range_is_entered_at_the_speed_limit_without_a_jump(acceleration: float) -> None:
    before = replace(WIDE, max_acceleration_per_s2=acceleration)
    rig = Rig(before).follow(0.9)
    changed(rig, replace(before, upper=0.5, max_speed_per_s=0.5))
    way = places(rig, 150, 0.9)
    assert way[-1] == 0.5
    steps = -np.diff(way)
    assert steps.min() >= 0
    assert steps.max() <= 0.005 + 1e-6
    if math.isinf(acceleration):
        assert steps[0] == pytest.approx(0.005, abs=1e-6)
    else:
        assert steps[0] == pytest.approx(0.0008, abs=1e-6)
        assert np.abs(np.diff(steps)).max() <= 0.0008 + 1e-6


def test_once_inside_it_does_not_leave_a_narrower_range_again() -> None:
    rig = Rig(WIDE).follow(0.9)
    changed(rig, NARROW)
    rig.run(1.0, 0.9)
    assert max(places(rig, 100, 1.0)) <= 0.5
    rig.gate.disarm(rig.now_ns, "Ann")
    rig.run(0.1)
    rig.positions = np.full(6, 0.9, np.float32)
    rig.arm()
    np.testing.assert_array_equal(rig.step().positions, NARROW.upper)


def test_a_wider_range_and_a_higher_speed_hold_from_the_next_step() -> None:
    rig = Rig(NARROW).follow(1.0)
    np.testing.assert_array_equal(rig.positions, NARROW.upper)
    changed(rig, replace(WIDE, max_speed_per_s=2.0))
    np.testing.assert_allclose(rig.step(rig.command(1.0)).positions, 0.52, atol=1e-6)


def test_a_lower_speed_holds_from_the_next_step() -> None:
    rig = Rig(WIDE).follow(0.0)
    rig.run(0.1, 1.0)
    changed(rig, replace(WIDE, max_speed_per_s=0.25))
    np.testing.assert_allclose(np.diff(places(rig, 3, 1.0)), 0.0025, atol=1e-6)


def test_with_an_acceleration_limit_the_hand_brakes_to_a_lower_speed() -> None:
    before = replace(WIDE, max_acceleration_per_s2=4.0)
    rig = Rig(before).follow(0.0)
    rig.run(0.2, 1.0)
    changed(rig, replace(before, max_speed_per_s=0.7))
    np.testing.assert_allclose(np.diff(places(rig, 4, 1.0)), [0.0076, 0.0072, 0.007, 0.007], atol=1e-6)


def test_a_lower_speed_holds_for_what_relaxes_opens_and_is_released_too() -> None:
    slower = replace(WIDE, max_speed_per_s=0.25)
    for ask in ("relax", "open", "release"):
        actions = {Cause.MALFORMED: SafeAction.OPEN} if ask == "open" else {}
        rig = Rig(replace(WIDE, actions=actions)).follow(0.9)
        rig.step(rig.command(np.nan))
        if ask == "release":
            rig.gate.release(rig.now_ns, "Ann")
            rig.step()
        changed(rig, replace(slower, actions=actions))
        np.testing.assert_allclose(np.diff(places(rig, 3)), -0.0025, atol=1e-6)


def test_another_relaxing_time_holds_for_the_hand_that_relaxes() -> None:
    rig = Rig(WIDE).follow(0.9)
    rig.step(rig.command(np.nan))
    changed(rig, replace(WIDE, relax_duration_s=4.0))
    np.testing.assert_allclose(np.diff(places(rig, 3)), -0.0025, atol=1e-6)


def test_another_open_position_holds_for_the_hand_that_opens() -> None:
    opens = replace(WIDE, actions={Cause.MALFORMED: SafeAction.OPEN})
    rig = Rig(opens).follow(0.3)
    rig.step(rig.command(np.nan))
    changed(rig, replace(opens, open_positions=-0.2))
    rig.run(1.0)
    np.testing.assert_allclose(rig.positions, -0.2, atol=1e-6)


def test_a_lower_acceleration_holds_for_what_speeds_up_and_braking_leaves_no_range() -> None:
    before = replace(WIDE, max_acceleration_per_s2=20.0)
    rig = Rig(before).follow(-1.0)
    for _ in range(200):
        if rig.last.positions[5] > 0.8:
            break
        rig.step(rig.command(1.0))
    changed(rig, replace(before, max_acceleration_per_s2=0.5))
    way = np.array(places(rig, 600, 1.0))
    speed = np.diff(way) / 0.01
    assert way.max() <= 1.0
    assert way[-1] == 1.0
    assert (np.diff(np.abs(speed)) <= 0.5 * 0.01 + 1e-4).all()  # it speeds up by the new one
    assert (np.diff(speed) >= -20.0 * 0.01 - 1e-4).all()  # and may brake by the old one
    assert (np.diff(speed)[-100:] >= -0.5 * 0.01 - 1e-4).all()  # until it is slow enough


def test_a_first_acceleration_limit_finds_a_hand_in_motion_and_stops_it_no_sooner_than_it_must() -> None:
    rig = Rig(WIDE).follow(-1.0)
    rig.run(0.5, 1.0)
    changed(rig, replace(WIDE, max_acceleration_per_s2=2.0))
    np.testing.assert_allclose(np.diff(places(rig, 3, 1.0)), 0.01, atol=1e-6)


@pytest.mark.parametrize("cause", ["stop", "lock", "bad command", "rest awaited"])
def test_what_holds_stays_where_it_is_and_comes_inside_with_its_next_motion(cause: str) -> None:
    rig = Rig(WIDE).follow(0.9)
    command = rig.command(0.9)
    if cause == "stop":
        rig.gate.stop(rig.now_ns, "Ann")
    elif cause == "lock":
        rig.gate.adjust(rig.now_ns, "Ann", Adjustments(hand_locked=True))
    elif cause == "bad command":
        command = rig.command(1.5)
    else:
        rig.arm()
    rig.step(command)
    assert rig.last.state is GateState.HOLDING
    changed(rig, NARROW)
    for _ in range(10):
        np.testing.assert_array_equal(rig.step(command).positions, np.float32(0.9))
    assert rig.last.state is GateState.HOLDING
    rig.gate.release(rig.now_ns, "Ann")
    np.testing.assert_allclose(rig.step().positions, 0.89, atol=1e-6)


def test_a_locked_degree_of_freedom_comes_inside_while_the_hand_follows() -> None:
    rig = Rig(WIDE).follow(0.9)
    rig.gate.adjust(rig.now_ns, "Ann", Adjustments(locked=(False, False, False, False, False, True)))
    changed(rig, NARROW)
    rig.run(1.0, 0.0)
    np.testing.assert_allclose(rig.positions, [0, 0, 0, 0, 0, 0.5], atol=1e-6)


def test_adjustments_stay_and_are_limits_beside_the_new_ones() -> None:
    rig = Rig(WIDE).follow(0.0)
    slow_thumb = Adjustments(gain=(2.0,) * 6, max_speed_per_s=(0.2, *(math.inf,) * 5))
    rig.gate.adjust(rig.now_ns, "Ann", slow_thumb)
    changed(rig, replace(NARROW, max_speed_per_s=0.5))
    assert rig.gate.adjustments is slow_thumb
    np.testing.assert_allclose(rig.step(rig.command(0.4)).positions, [0.002, *[0.005] * 5], atol=1e-6)
    changed(rig, replace(NARROW, max_speed_per_s=0.1))
    before = rig.positions
    np.testing.assert_allclose(rig.step(rig.command(0.4)).positions - before, 0.001, atol=1e-6)
    rig.run(9.0, 0.4)
    np.testing.assert_array_equal(rig.positions, NARROW.upper)


def test_a_hand_that_was_left_outside_a_narrower_range_is_released_from_where_it_is() -> None:
    rig = Rig(WIDE).follow(0.9)
    rig.gate.disarm(rig.now_ns, "Ann")
    rig.step()
    changed(rig, NARROW)
    rig.gate.release(rig.now_ns, "Ann")
    np.testing.assert_allclose(rig.step().positions, 0.89, atol=1e-6)
    rig.run(1.0)
    assert rig.gate.at_rest


def test_where_it_is_sent_on_its_way_is_inside_the_limits() -> None:
    rig = Rig(NARROW).follow(0.0)
    rig.step(rig.command(0.9))
    np.testing.assert_allclose(rig.gate.aim, 0.5)
    rig.step(rig.command(-0.3))
    np.testing.assert_allclose(rig.gate.aim, -0.3, atol=1e-6)
    assert Rig(NARROW).gate.aim == (0.0,) * 6


# How long a release may take.


def test_a_release_has_the_time_that_its_way_from_outside_takes() -> None:
    rig = Rig(WIDE).follow(1.0)
    assert rig.gate.time_to_rest_s == WIDE.time_to_rest_s == 1.0
    slow = replace(WIDE, upper=0.1, lower=-0.1, max_speed_per_s=0.25)
    changed(rig, slow)
    assert rig.gate.time_to_rest_s == 4.0 > slow.time_to_rest_s
    rig.run(4.0, 0.0)
    rig.run(0.2, 0.0)
    assert rig.gate.time_to_rest_s == slow.time_to_rest_s


@pytest.mark.parametrize("new", [0.5, 50.0])
def test_a_release_has_the_time_to_turn_round_too(new: float) -> None:
    before = replace(WIDE, max_acceleration_per_s2=10.0)
    rig = Rig(before).follow(-1.0)
    rig.run(0.5, 1.0)
    changed(rig, replace(before, max_acceleration_per_s2=new, lower=-0.2, upper=0.2))
    rig.gate.release(rig.now_ns, "Ann")
    rig.run(rig.gate.time_to_rest_s + 0.02)
    assert rig.gate.at_rest


# Times, bands and rates.


@pytest.mark.parametrize(
    ("name", "cause"), [("silence_after_s", Cause.SILENCE), ("stale_after_s", Cause.STALE)]
)
def test_a_time_that_becomes_shorter_acts_at_once_and_a_longer_one_too(name: str, cause: Cause) -> None:
    long = replace(WIDE, silence_after_s=5.0, stale_after_s=5.0)
    rig = Rig(long).follow(0.5)
    rig.run(1.0)
    assert rig.last.cause is None
    changed(rig, replace(long, **{name: 0.5}))  # type: ignore[arg-type]
    rig.step()
    assert rig.last.cause is cause
    changed(rig, long)
    rig.step()
    assert rig.last.cause is None


def test_a_shorter_link_timeout_acts_at_once() -> None:
    rig = Rig(replace(WIDE, link_timeout_s=5.0)).follow(0.5)
    rig.says = {"reported_ns": rig.now_ns}
    rig.run(1.0, 0.5)
    assert rig.last.cause is None
    changed(rig, replace(WIDE, link_timeout_s=0.5))
    rig.step(rig.command(0.5))
    assert (rig.last.state, rig.last.cause) == (GateState.DISARMED, Cause.LINK_LOST)


@pytest.mark.parametrize(
    ("limits", "says", "cause"),
    [
        ({"max_temperature_c": 50.0}, {"temperature_c": 51.0}, Cause.OVERHEATED),
        ({"max_current_a": 0.5}, {"currents_a": np.full(6, 0.6, np.float32)}, Cause.OVERLOADED),
        ({"max_force_n": 5.0}, {"forces_n": np.full(6, 6.0, np.float32)}, Cause.OVERLOADED),
        ({"min_battery": 0.2}, {"battery": 0.1}, Cause.LOW_BATTERY),
    ],
)
def test_what_the_hand_says_is_held_against_the_new_limits(
    limits: dict[str, float], says: dict[str, object], cause: Cause
) -> None:
    rig = Rig(WIDE).follow(0.4)
    rig.says = says
    rig.run(3.0, 0.4)
    assert rig.last.cause is None
    changed(rig, replace(WIDE, **limits))  # type: ignore[arg-type]
    rig.run(2.5, 0.4)
    assert rig.last.cause is cause


@pytest.mark.parametrize(
    ("name", "value", "cause"),
    [
        ("min_confidence", 0.9, Cause.LOW_CONFIDENCE),
        ("min_healthy_fraction", 0.9, Cause.UNHEALTHY),
    ],
)
def test_a_command_is_judged_by_the_new_limits(name: str, value: float, cause: Cause) -> None:
    rig = Rig(replace(WIDE, min_confidence=0.6)).follow(0.4)
    quality = replace(rig.command(0.4).quality, confidence=0.8, healthy_fraction=0.8)
    assert rig.step(rig.command(0.4, quality=quality)).cause is None
    changed(rig, replace(WIDE, **{name: value}))  # type: ignore[arg-type]
    assert rig.step(rig.command(0.4, quality=quality)).cause is cause


def test_the_intent_passes_rest_by_the_new_band() -> None:
    rig = Rig(WIDE)
    rig.arm()
    assert rig.step(rig.command(0.3)).cause is Cause.AWAITING_REST
    changed(rig, replace(WIDE, rest_band=0.3))
    assert rig.step(rig.command(0.3)).cause is None


def test_a_lower_command_rate_holds_from_the_next_command() -> None:
    rig = Rig(WIDE).follow(0.0)
    sent_ns = rig.now_ns
    changed(rig, replace(WIDE, max_command_rate_hz=20.0))
    assert rig.gate.next_slot_ns == sent_ns + 50 * MS
    sends = [rig.step(rig.command(0.9)).send for _ in range(10)]
    assert [i for i, send in enumerate(sends, 1) if send] == [5, 10]
    np.testing.assert_allclose(rig.positions, 0.1, atol=1e-6)  # no speed is lost by waiting


def test_a_late_step_makes_up_for_the_new_time() -> None:
    rig = Rig(WIDE).follow(0.0)
    changed(rig, replace(WIDE, max_step_s=0.02))
    rig.step(rig.command(0.9), dt_ns=100 * MS)
    np.testing.assert_allclose(rig.positions, 0.02, atol=1e-6)


def test_a_check_is_as_good_as_the_new_time_says() -> None:
    rig = Rig(WIDE)
    changed(rig, replace(WIDE, check_valid_s=1e-9))
    old = overridden("Ann", rig.now_ns - 2)
    events = rig.gate.arm(rig.now_ns, "Ann", LinkState.CONNECTED, rig.state, old)
    assert [event.kind for event in events] == ["arm refused"]


# Safe actions.


HOLDS = replace(WIDE, actions={Cause.SILENCE: SafeAction.HOLD, Cause.STOPPED: SafeAction.RELAX})


def test_another_safe_action_begins_with_the_next_cause_not_in_the_middle_of_one() -> None:
    rig = Rig(WIDE).follow(0.9)
    rig.run(0.25)
    assert (rig.last.state, rig.last.cause) == (GateState.RELAXING, Cause.SILENCE)
    changed(rig, HOLDS)
    way = places(rig, 10)
    np.testing.assert_allclose(np.diff(way), -0.01, atol=1e-6)
    assert rig.last.state is GateState.RELAXING
    rig.run(0.2, 0.9)
    assert rig.last.state is GateState.ARMED
    rig.run(0.3)
    assert (rig.last.state, rig.last.cause) == (GateState.HOLDING, Cause.SILENCE)


def test_another_safe_action_holds_at_once_where_nothing_is_the_matter() -> None:
    rig = Rig(WIDE).follow(0.9)
    changed(rig, HOLDS)
    rig.gate.stop(rig.now_ns, "Ann")
    np.testing.assert_allclose(rig.step(rig.command(0.9)).positions, 0.89, atol=1e-6)


def test_a_stopped_hand_moves_by_no_change_and_by_the_new_action_once_it_is_armed_again() -> None:
    rig = Rig(WIDE).follow(0.9)
    rig.gate.stop(rig.now_ns, "Ann")
    rig.step()
    changed(rig, HOLDS)
    rig.run(1.0)
    np.testing.assert_array_equal(rig.positions, np.float32(0.9))
    rig.arm()
    rig.gate.stop(rig.now_ns, "Ann")
    np.testing.assert_allclose(rig.step().positions, 0.89, atol=1e-6)


@pytest.mark.parametrize("state", [GateState.DISARMED, GateState.RELEASED])
def test_another_safe_action_holds_at_once_where_nothing_is_answered(state: GateState) -> None:
    rig = Rig(WIDE).follow(0.9)
    rig.run(0.3)  # a cause is shown
    if state is GateState.RELEASED:
        rig.gate.release(rig.now_ns, "Ann")
    else:
        rig.gate.disarm(rig.now_ns, "Ann")
    changed(rig, HOLDS)
    rig.run(2.0)
    rig.positions = np.zeros(6, np.float32)
    rig.arm()
    rig.gate.stop(rig.now_ns, "Ann")
    assert rig.step().state is GateState.RELAXING


# States.


def test_the_state_what_is_latched_and_who_asked_for_it_stay() -> None:
    for ask in ("arm", "stop", "fault", "release", "disarm", "heat"):
        rig = Rig(replace(WIDE, max_temperature_c=60.0)).follow(0.4)
        if ask == "arm":
            rig.arm()
        elif ask == "stop":
            rig.gate.stop(rig.now_ns, "Ann")
        elif ask == "fault":
            rig.gate.report_fault(rig.now_ns, "decode", "gone")
        elif ask == "release":
            rig.gate.release(rig.now_ns, "Ann")
        elif ask == "disarm":
            rig.gate.disarm(rig.now_ns, "Ann")
        else:
            rig.says = {"temperature_c": 61.0}
        rig.step(rig.command(0.4))
        rig.says = {}
        before = rig.last.state, rig.last.cause
        rig.told()
        changed(rig, replace(NARROW, max_temperature_c=70.0, silence_after_s=1.0))
        assert rig.gate.state is before[0]
        rig.step(rig.command(0.4))
        assert (rig.last.state, rig.last.cause) == before, ask
        assert rig.told() == []


def test_a_release_goes_on_and_is_kept_while_the_link_is_down() -> None:
    rig = Rig(WIDE).follow(0.9)
    rig.link = LinkState.LOST
    rig.step()
    rig.gate.release(rig.now_ns, "Ann")
    changed(rig, NARROW)
    rig.step()
    assert (rig.last.state, rig.last.send) == (GateState.RELEASED, False)
    rig.link = LinkState.CONNECTED
    assert "arm refused" in rig.arm()
    rig.run(1.0)
    assert rig.last.state is GateState.RELEASED
    assert rig.gate.at_rest
