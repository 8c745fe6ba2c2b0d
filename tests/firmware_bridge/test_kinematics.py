"""The kinematic hand: speed, settling, watchdog, and independence of how often it is advanced."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from firmware_bridge.errors import NervehandError
from firmware_bridge.hand import WatchdogAction
from firmware_bridge.hands.virtual_protocol import VIRTUAL_HAND
from firmware_bridge.kinematics import KinematicHand

NS = 1_000_000_000
MS = 1_000_000
CALM = replace(VIRTUAL_HAND, watchdog_s=None)


def six(value: float) -> np.ndarray:
    return np.full(6, value, dtype=np.float32)


def test_a_joint_goes_straight_at_its_speed_and_settles_exponentially() -> None:
    hand = KinematicHand(CALM, 0, settling_s=0.05)
    hand.command(six(1.0), 0)
    hand.advance(100 * MS)
    np.testing.assert_allclose(hand.positions, 0.4, atol=1e-6)
    hand.advance(200 * MS)
    np.testing.assert_allclose(hand.positions, 0.8, atol=1e-6)
    hand.advance(250 * MS)
    np.testing.assert_allclose(hand.positions, 1 - 0.2 * np.exp(-1), atol=1e-6)


@given(
    cuts=st.lists(st.integers(0, 1000 * MS), max_size=20),
    target=st.floats(-1, 1, width=32),
    action=st.sampled_from([WatchdogAction.HOLD, WatchdogAction.OPEN]),
)
def test_the_motion_does_not_depend_on_how_often_it_is_advanced(
    cuts: list[int], target: float, action: WatchdogAction
) -> None:
    capabilities = replace(VIRTUAL_HAND, watchdog_action=action)
    at_once, in_pieces = KinematicHand(capabilities, 0), KinematicHand(capabilities, 0)
    for hand in (at_once, in_pieces):
        hand.command(six(target), 0)
    before = 0
    for cut in sorted(cuts):
        was = in_pieces.positions
        in_pieces.advance(cut)
        assert (np.abs(in_pieces.positions - was) <= 4 * (cut - before) / NS + 1e-6).all()
        before = cut
    at_once.advance(1000 * MS)
    in_pieces.advance(1000 * MS)
    np.testing.assert_allclose(in_pieces.positions, at_once.positions, atol=1e-6)


@pytest.mark.parametrize(
    ("at_ns", "tripped"), [(300 * MS - 1, False), (300 * MS, True), (300 * MS + 1, True)]
)
def test_the_watchdog_trips_when_no_target_came_for_its_time(at_ns: int, tripped: bool) -> None:
    hand = KinematicHand(VIRTUAL_HAND, 0)
    hand.command(six(1.0), 0)
    hand.advance(at_ns)
    assert hand.watchdog_tripped is tripped


@pytest.mark.parametrize(("action", "ends_at"), [(WatchdogAction.OPEN, 0.0), (WatchdogAction.HOLD, 0.4)])
def test_the_watchdog_does_what_is_declared_and_the_next_target_ends_it(
    action: WatchdogAction, ends_at: float
) -> None:
    hand = KinematicHand(replace(VIRTUAL_HAND, watchdog_s=0.1, watchdog_action=action), 0)
    hand.command(six(1.0), 0)
    hand.advance(5 * NS)
    np.testing.assert_allclose(hand.positions, ends_at, atol=1e-6)
    hand.command(six(1.0), 5 * NS)
    assert not hand.watchdog_tripped
    hand.advance(5 * NS + 50 * MS)
    np.testing.assert_allclose(hand.positions, ends_at + 0.2, atol=1e-6)


def test_targets_are_clipped_to_the_reach_and_a_missing_joint_stays() -> None:
    upper = np.array([0.5, 1, 1, 1, 1, 0], dtype=np.float32)
    hand = KinematicHand(replace(CALM, upper=upper, max_speed_per_s=np.float32([4, 4, 4, 4, 4, 0])), 0)
    hand.command(six(1.0), 0)
    hand.advance(10 * NS)
    np.testing.assert_allclose(hand.positions, upper, atol=1e-6)


def test_a_hand_without_a_watchdog_keeps_its_target() -> None:
    hand = KinematicHand(CALM, 0)
    hand.command(six(1.0), 0)
    hand.advance(3600 * NS)
    np.testing.assert_allclose(hand.positions, 1.0)
    assert not hand.watchdog_tripped


@pytest.mark.parametrize("targets", [six(np.nan), np.zeros(5, np.float32)])
def test_an_impossible_target_is_refused_and_changes_nothing(targets: np.ndarray) -> None:
    hand = KinematicHand(VIRTUAL_HAND, 0)
    with pytest.raises(NervehandError, match="6 finite positions"):
        hand.command(targets, 0)
    hand.advance(NS)
    assert hand.watchdog_tripped


def test_what_cannot_be_simulated_is_refused() -> None:
    with pytest.raises(NervehandError, match="own mode"):
        KinematicHand(replace(VIRTUAL_HAND, watchdog_action=WatchdogAction.OWN_MODE), 0)
    with pytest.raises(NervehandError, match="settling time is 0"):
        KinematicHand(VIRTUAL_HAND, 0, settling_s=0)
    hand = KinematicHand(VIRTUAL_HAND, 5)
    with pytest.raises(NervehandError, match="backwards"):
        hand.advance(4)
