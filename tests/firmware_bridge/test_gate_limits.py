"""How far and how fast the gate lets a hand go: just below, at, and just above each limit."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from firmware_bridge.errors import NervehandError
from firmware_bridge.gate import GateLimits
from firmware_bridge.hand import HandCommand, HandState
from firmware_bridge.hands.virtual_protocol import VIRTUAL_HAND
from tests.firmware_bridge.gate_rig import LIMITS, MS, NS, Rig


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
    assert decision.positions[0] == pytest.approx(moved, abs=1e-8)


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


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"lower": [0.1] * 6}, "rest is allowed"),
        ({"upper": [-0.1] * 6}, "rest is allowed"),
        ({"upper": [1.1] * 6}, "rest is allowed"),
        ({"lower": [-1.1] * 6}, "rest is allowed"),
        ({"upper": [1.0] * 5}, "6 finite numbers"),
        ({"upper": [np.nan] * 6}, "6 finite numbers"),
        ({"max_speed_per_s": [1, 1, 0, 1, 1, 1]}, "above 0"),
        ({"stale_after_s": 0.0}, "stale_after_s is 0.0"),
        ({"link_timeout_s": -1.0}, "link_timeout_s"),
        ({"relax_duration_s": np.inf}, "relax_duration_s"),
        ({"max_step_s": np.nan}, "max_step_s"),
        ({"min_confidence": 1.01}, "min_confidence is 1.01"),
        ({"min_healthy_fraction": -0.01}, "min_healthy_fraction"),
        ({"rest_band": np.nan}, "rest_band"),
    ],
)
def test_impossible_limits_are_refused_by_name_and_value(change: dict[str, object], message: str) -> None:
    fields = {"lower": LIMITS.lower, "upper": LIMITS.upper, "max_speed_per_s": LIMITS.max_speed_per_s}
    with pytest.raises(NervehandError, match=message):
        GateLimits(**{**fields, **change})  # type: ignore[arg-type]


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
