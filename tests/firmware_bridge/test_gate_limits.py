"""How far and how fast the gate lets a hand go: just below, at, and just above each limit."""

from __future__ import annotations

import math
import pickle
from dataclasses import fields, replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from firmware_bridge.errors import NervehandError
from firmware_bridge.gate import Cause, GateLimits, SafeAction
from firmware_bridge.hand import HandCommand, HandState, Quantity
from firmware_bridge.hands.virtual_protocol import VIRTUAL_HAND
from tests.firmware_bridge.gate_rig import LIMITS, MS, NS, Rig


@pytest.mark.parametrize(("duration_s", "moved"), [(0.5, 0.02), (2.0, 0.005), (10.0, 0.001)])
def test_relaxing_takes_as_long_as_it_should_from_full_flexion(duration_s: float, moved: float) -> None:
    rig = Rig(replace(LIMITS, relax_duration_s=duration_s)).follow(0.4)
    before = rig.positions
    np.testing.assert_allclose((before - rig.step(rig.command(np.nan)).positions)[2:], moved, atol=1e-6)


def test_relaxing_keeps_to_the_speed_limit_too() -> None:
    rig = Rig(replace(LIMITS, max_speed_per_s=[0.5, 2, 1, 1, 1, 1], relax_duration_s=1.0)).follow(0.4)
    before = rig.positions
    decision = rig.step(rig.command(np.nan))
    np.testing.assert_allclose(before - decision.positions, [0.005, 0.01, 0.01, 0.01, 0.01, 0.01], atol=1e-6)


@pytest.mark.parametrize("target", [-1.0, -0.5, -0.49, 0.49, 0.5, np.nextafter(0.5, 1), 1.0])
def test_positions_stay_inside_the_limits(target: float) -> None:
    rig = Rig().follow(target)
    expected = np.clip(np.float32(target), LIMITS.lower, LIMITS.upper)
    np.testing.assert_allclose(rig.positions, expected, atol=1e-7)
    assert (rig.positions >= LIMITS.lower).all()
    assert (rig.positions <= LIMITS.upper).all()


def test_the_ramp_goes_on_from_what_was_sent_not_from_a_hand_that_lags() -> None:
    rig = Rig().follow(0.0)
    for _ in range(10):
        rig.step(rig.command(0.4))
        rig.positions = np.zeros(6, dtype=np.float32)
    assert rig.last.positions[0] == pytest.approx(0.1, abs=1e-6)


@pytest.mark.parametrize("target", [0.0099, 0.01, 0.0101, 0.5])
def test_no_joint_is_sent_faster_than_its_limit(target: float) -> None:
    rig = Rig().follow(0.0)
    rig.step(rig.command(target, 0, 0, 0, 0, 0))
    assert rig.positions[0] == pytest.approx(min(target, 0.01), abs=1e-8)


@pytest.mark.parametrize(
    ("dt_ns", "moved"), [(0, 0.0), (-5 * NS, 0.0), (49 * MS, 0.049), (50 * MS, 0.05), (NS, 0.05)]
)
def test_a_late_step_or_a_clock_that_runs_backwards_makes_no_jump(dt_ns: int, moved: float) -> None:
    rig = Rig().follow(0.0)
    state = HandState(rig.positions, rig.now_ns + dt_ns)
    command = HandCommand(np.full(6, 0.5, np.float32), 0, rig.now_ns + dt_ns, rig.now_ns + dt_ns + NS)
    decision = rig.gate.step(rig.now_ns + dt_ns, command, rig.link, state)
    assert decision.positions[0] == pytest.approx(moved, abs=1e-8 if moved else 0)


def test_time_that_ran_backwards_is_not_made_up_for() -> None:
    rig = Rig().follow(0.0)
    rig.step(rig.command(0.0), dt_ns=-5 * NS)
    rig.now_ns += 5 * NS
    rig.step(rig.command(0.5), dt_ns=10 * MS)
    assert rig.positions[0] == pytest.approx(0.01, abs=1e-8)


def test_a_hand_found_beyond_a_limit_is_brought_inside() -> None:
    rig = Rig()
    rig.positions = np.full(6, 1.0, dtype=np.float32)
    rig.arm()
    np.testing.assert_array_equal(rig.step().positions, LIMITS.upper)


REFUSED = [
    ({"lower": [0.1] * 6}, "]: keep -1 <= lower <= 0 <= upper <= 1, so that rest is allowed"),
    (
        {"upper": [-0.5] * 6},
        f"gate limits lower {LIMITS.lower.tolist()} and upper {[-0.5] * 6}: "
        "keep -1 <= lower <= 0 <= upper <= 1, so that rest is allowed|",
    ),
    ({"upper": [1, 1, 1, 1, 1, 1.1]}, "rest is allowed"),
    ({"upper": math.inf}, "rest is allowed"),
    ({"lower": [-1.1] * 6}, "gate limits lower [-1.100000023841858, "),
    ({"upper": [1.0] * 5}, "gate limit upper is [1.0, 1.0, 1.0, 1.0, 1.0]: give 6 numbers, one per DOF"),
    ({"upper": math.nan}, "gate limit upper is nan: give 6 numbers, one per DOF"),
    (
        {"lower": [np.nan] * 6},
        "gate limit lower is [nan, nan, nan, nan, nan, nan]: give 6 numbers, one per DOF",
    ),
    (
        {"open_positions": [0.0] * 7},
        "gate limit open_positions is [0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0]: give 6 numbers,",
    ),
    ({"open_positions": [0, 0, -1.1, 0, 0, 0]}, "gate limit open_positions is [0.0, 0.0, -1.1"),
    ({"open_positions": [0, 0.91, 0, 0, 0, 0]}, "]: keep it inside lower and upper"),
    (
        {"max_speed_per_s": [1, 1, 0, 1, 1, 1]},
        "max_speed_per_s is [1, 1, 0, 1, 1, 1]: give 6 numbers above 0, one per DOF",
    ),
    (
        {"max_speed_per_s": math.inf},
        "gate limit max_speed_per_s is [inf, inf, inf, inf, inf, inf]: give finite speeds",
    ),
    ({"max_acceleration_per_s2": 0.0}, "max_acceleration_per_s2 is 0.0: give 6 numbers above 0"),
    ({"max_acceleration_per_s2": math.nan}, "max_acceleration_per_s2 is nan"),
    (
        {"max_current_a": [1, 1, 1, 1, 1, -1]},
        "gate limit max_current_a is [1, 1, 1, 1, 1, -1]: give 6 numbers above 0",
    ),
    ({"max_force_n": 0}, "gate limit max_force_n is 0: give 6 numbers above 0"),
    ({"stale_after_s": 0.0}, "gate limit stale_after_s is 0.0 s: give a time above 0"),
    ({"silence_after_s": 0.0}, "gate limit silence_after_s is 0.0 s"),
    ({"overload_s": 0.0}, "gate limit overload_s is 0.0 s"),
    ({"battery_after_s": -1.0}, "gate limit battery_after_s is -1.0 s"),
    ({"astray_after_s": math.inf}, "gate limit astray_after_s is inf s"),
    ({"check_valid_s": 0.0}, "gate limit check_valid_s is 0.0 s"),
    ({"link_timeout_s": -1.0}, "link_timeout_s"),
    ({"relax_duration_s": np.inf}, "relax_duration_s"),
    ({"max_step_s": np.nan}, "max_step_s"),
    ({"min_confidence": 1.01}, "gate limit min_confidence is 1.01: give a number from 0 to 1"),
    ({"min_healthy_fraction": -0.01}, "min_healthy_fraction"),
    ({"rest_band": np.nan}, "rest_band is nan"),
    ({"min_battery": 1.1}, "gate limit min_battery is 1.1: give a number from 0 to 1"),
    ({"max_command_rate_hz": 0.0}, "gate limit max_command_rate_hz is 0.0: give a rate of 1 Hz or more"),
    ({"max_command_rate_hz": 0.999}, "gate limit max_command_rate_hz is 0.999: give a rate"),
    ({"max_command_rate_hz": math.inf}, "max_command_rate_hz is inf"),
    ({"astray_tolerance": 0.0}, "gate limit astray_tolerance is 0.0: give a number above 0"),
    ({"max_temperature_c": math.nan}, "gate limit max_temperature_c is nan: give a temperature, or none"),
    ({"actions": {Cause.STOPPED: SafeAction.RELEASE}}, "choose among hold, open, relax"),
]


@pytest.mark.parametrize(("change", "message"), REFUSED)
def test_impossible_limits_are_refused_by_name_and_value(change: dict[str, object], message: str) -> None:
    fields = {"lower": LIMITS.lower, "upper": LIMITS.upper, "max_speed_per_s": LIMITS.max_speed_per_s}
    with pytest.raises(NervehandError) as refused:
        GateLimits(**{**fields, **change})  # type: ignore[arg-type]
    assert message in f"{refused.value}|"


@pytest.mark.parametrize(
    "good",
    [
        {"lower": 0.0, "upper": 0.0},
        {"lower": -1.0, "upper": 1.0},
        {"open_positions": LIMITS.lower},
        {"open_positions": LIMITS.upper},
        {"max_current_a": math.inf},
        {"max_temperature_c": 0.0},
        {"min_confidence": 1.0, "min_healthy_fraction": 1.0, "rest_band": 1.0, "min_battery": 1.0},
        {"min_confidence": 0.0, "min_healthy_fraction": 0.0, "rest_band": 0.0, "min_battery": 0.0},
        {"max_command_rate_hz": 1.0, "astray_tolerance": 0.001, "overload_s": 1e-3},
    ],
)
def test_every_bound_itself_is_allowed(good: dict[str, object]) -> None:
    replace(LIMITS, **good)  # type: ignore[arg-type]


def test_one_number_stands_for_six() -> None:
    limits = GateLimits(
        -1, 1, 2, max_acceleration_per_s2=3, open_positions=-0.5, max_current_a=4, max_force_n=5
    )
    for name, value in (
        ("lower", -1),
        ("upper", 1),
        ("max_speed_per_s", 2),
        ("max_acceleration_per_s2", 3),
        ("open_positions", -0.5),
        ("max_current_a", 4),
        ("max_force_n", 5),
    ):
        stored = getattr(limits, name)
        assert stored.dtype == np.float32
        np.testing.assert_array_equal(stored, np.full(6, value, np.float32))


def test_what_is_not_said_is_no_limit_or_a_safe_one() -> None:
    limits = GateLimits(-1, 1, 1)
    assert np.isinf(limits.max_acceleration_per_s2).all()
    np.testing.assert_array_equal(limits.open_positions, np.zeros(6, np.float32))
    assert limits.open_positions.dtype == limits.max_acceleration_per_s2.dtype == np.float32
    assert (limits.max_current_a, limits.max_force_n, limits.max_temperature_c, limits.min_battery) == (
        None,
    ) * 4
    assert (dict(limits.actions), dict(limits.grips)) == ({}, {})


def test_a_copy_for_another_process_is_the_same_and_frozen() -> None:
    limits = replace(
        LIMITS, actions={Cause.STALE: SafeAction.HOLD}, grips={"fist": "power"}, max_current_a=0.5
    )
    copy = pickle.loads(pickle.dumps(limits))
    for one in fields(GateLimits):
        np.testing.assert_array_equal(getattr(copy, one.name), getattr(limits, one.name))
    with pytest.raises(ValueError, match="read-only"):
        copy.upper[0] = 2
    with pytest.raises(TypeError):
        copy.grips["fist"] = "pinch"


def test_maps_cannot_be_changed_after_the_fact() -> None:
    actions, grips = {Cause.STALE: SafeAction.HOLD}, {"fist": "power"}
    limits = replace(LIMITS, actions=actions, grips=grips)
    actions[Cause.STALE], grips["fist"] = SafeAction.OPEN, "pinch"
    assert limits.actions == {Cause.STALE: SafeAction.HOLD}
    assert limits.grips == {"fist": "power"}
    with pytest.raises(TypeError):
        limits.actions[Cause.STALE] = SafeAction.OPEN  # type: ignore[index]


def test_every_limit_is_described_with_its_unit_and_whether_it_is_measured() -> None:
    limits = replace(
        LIMITS, max_current_a=0.5, max_temperature_c=60, min_battery=0.1, upper=[1, 1, 1, 1, 1, 0.25]
    )
    hand = replace(VIRTUAL_HAND, measures=frozenset({Quantity.POSITION, Quantity.TEMPERATURE}))
    assert [str(line) for line in limits.describe(hand)] == [
        "positions: thumb -0.5 to 1; index -1 to 1; middle -1 to 1; ring -1 to 1; little -1 to 1; wrist -1 to 0.25",
        "max_speed_per_s: thumb 1, index 2, middle 4, ring 4, little 4, wrist 4 /s",
        "max_acceleration_per_s2: no limit",
        "open_positions: 0",
        "max_current_a: 0.5 A (not measured)",
        "max_force_n: no limit (not measured)",
        "overload_s: 0.3 s",
        "max_temperature_c: 60 °C",
        "min_battery: 0.1 of full (not measured)",
        "battery_after_s: 2 s",
        "astray_tolerance: 0.3",
        "astray_after_s: 0.3 s",
        "max_command_rate_hz: 1000 Hz",
        "silence_after_s: 0.2 s",
        "stale_after_s: 0.25 s",
        "min_confidence: 0.6",
        "min_healthy_fraction: 0.75",
        "link_timeout_s: 0.3 s",
        "relax_duration_s: 1 s",
        "rest_band: 0.15",
        "max_step_s: 0.05 s",
        "check_valid_s: 28800 s",
    ]
    everything = replace(hand, measures=frozenset(Quantity))
    assert all(line.measured for line in limits.describe(everything))
    nothing = replace(hand, measures=frozenset())
    unmeasured = {line.name for line in limits.describe(nothing) if not line.measured}
    assert unmeasured == {
        "max_current_a",
        "max_force_n",
        "max_temperature_c",
        "min_battery",
        "astray_tolerance",
        "astray_after_s",
    }
    described = {line.name for line in limits.describe(nothing)} | {"lower", "upper", "actions", "grips"}
    assert described - {"positions"} == {one.name for one in fields(GateLimits)}
    mixed = replace(limits, max_force_n=[1, 2, 3, 4, 5, math.inf], open_positions=[0, 0, 0, 0, 0, -0.5])
    lines = {line.name: line.value for line in mixed.describe(hand)}
    assert lines["max_force_n"] == "thumb 1, index 2, middle 3, ring 4, little 5, wrist inf N"
    assert lines["open_positions"] == "thumb 0, index 0, middle 0, ring 0, little 0, wrist -0.5"


def test_limits_cannot_be_changed_after_the_fact() -> None:
    values = np.ones(6, dtype=np.float32)
    limits = GateLimits(-values, values, values)
    values[:] = 5
    np.testing.assert_array_equal(limits.upper, 1)
    with pytest.raises(ValueError, match="read-only"):
        limits.upper[0] = 2


def test_a_hands_own_reach_and_speed_as_limits() -> None:
    capabilities = replace(VIRTUAL_HAND, max_speed_per_s=np.array([3, 3, 3, 3, 3, 0], dtype=np.float32))
    limits = GateLimits.for_hand(capabilities)
    np.testing.assert_array_equal(limits.upper, VIRTUAL_HAND.upper)
    np.testing.assert_array_equal(limits.max_speed_per_s, [3, 3, 3, 3, 3, 1])
    np.testing.assert_array_equal(limits.lower, capabilities.lower)
    slow = replace(capabilities, max_speed_per_s=np.array([0.5, 3, 3, 3, 3, 3], dtype=np.float32))
    np.testing.assert_array_equal(GateLimits.for_hand(slow).max_speed_per_s, [0.5, 3, 3, 3, 3, 3])
    assert GateLimits.for_hand(replace(capabilities, max_command_rate_hz=42.0)).max_command_rate_hz == 42.0


def test_the_time_to_rest_is_what_the_slowest_way_may_take() -> None:
    limits = GateLimits([-1, 0, 0, 0, 0, 0], [0.5, 1, 1, 1, 1, 0], [1, 0.5, 4, 4, 4, 1])
    assert limits.time_to_rest_s == 2.0  # the index finger, at half a flexion a second
    slow = replace(limits, max_acceleration_per_s2=[10, 10, 0.5, 10, 10, 10])
    assert slow.time_to_rest_s == pytest.approx(1 / 4 + 2.5 * 4 / 0.5)  # the middle finger turns round


@given(
    acceleration=st.floats(0.5, 1e20),
    speed=st.floats(0.25, 8, width=32),
    aims=st.lists(st.tuples(st.floats(-1, 1, width=32), st.integers(1, 60)), min_size=1, max_size=4),
)
def test_a_release_reaches_rest_within_the_time_that_the_limits_say(
    acceleration: float, speed: float, aims: list[tuple[float, int]]
) -> None:
    rig = Rig(
        replace(LIMITS, lower=-1.0, upper=1.0, max_speed_per_s=speed, max_acceleration_per_s2=acceleration)
    )
    rig.arm()
    rig.step(rig.command(0.0))
    for aim, steps in aims:
        for _ in range(steps):
            rig.step(rig.command(aim))
    rig.gate.release(rig.now_ns, "Ann")
    rig.run(rig.gate.limits.time_to_rest_s + 0.02)
    assert rig.gate.at_rest
