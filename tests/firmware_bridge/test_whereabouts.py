"""Where a hand may be: behind, slow or held up without an alarm, and nowhere else."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest

from firmware_bridge.hand import HandCapabilities, WatchdogAction
from firmware_bridge.kinematics import KinematicHand
from firmware_bridge.whereabouts import Whereabouts

MS = 1_000_000
NS = 1_000_000_000
STEP_NS = 10 * MS
LAG_S, TOLERANCE = 0.3, 0.25
NAN = math.nan


def square(period_s: float, size: float = 1.0) -> Callable[[float], float]:
    return lambda t: size if t % period_s < period_s / 2 else -size


def wave(period_s: float, size: float = 1.0) -> Callable[[float], float]:
    return lambda t: size * math.sin(2 * math.pi * t / period_s)


def alarms(
    sent_at: Callable[[float], float],
    delay_s: float = 0.05,
    speed: float = 4.0,
    stop_at: float = math.inf,
    gate_speed: float = 4.0,
    moved_by: Callable[[float, float], float] = lambda t, there: there,
    seconds: float = 6.0,
) -> list[float]:
    """When a simulated hand is called astray: it hears late, moves slowly, is stopped at a place, or is moved."""
    one = np.ones(6, np.float32)
    hand = KinematicHand(
        HandCapabilities("test", -one, one, speed * one, None, WatchdogAction.HOLD, "test"), 0
    )
    whereabouts = Whereabouts(LAG_S, TOLERANCE)
    on_the_way: list[tuple[int, float]] = []
    sent, found = 0.0, []
    for step in range(round(seconds * NS / STEP_NS)):
        now_ns = step * STEP_NS
        while on_the_way and on_the_way[0][0] <= now_ns:
            hand.command(on_the_way.pop(0)[1] * one, now_ns)
        hand.advance(now_ns)
        if hand.positions[0] > stop_at:
            hand._joints.positions[:] = stop_at
        there = moved_by(now_ns / NS, float(hand.positions[0]))
        if whereabouts.stray(now_ns, [there] * 6, (sent,) * 6):
            found.append(now_ns / NS)
        sent += min(max(sent_at(now_ns / NS) - sent, -gate_speed * 0.01), gate_speed * 0.01)
        on_the_way.append((now_ns + round(delay_s * NS), sent))
    return found


@pytest.mark.parametrize("motion", [square, wave])
@pytest.mark.parametrize("period_s", [0.2, 0.5, 1.0, 3.0])
@pytest.mark.parametrize(("delay_s", "speed"), [(0.02, 4.0), (0.29, 4.0), (0.1, 0.5), (0.29, 1.0)])
def test_a_hand_that_is_late_or_slow_is_not_astray(
    motion: Callable[[float], Callable[[float], float]], period_s: float, delay_s: float, speed: float
) -> None:
    assert alarms(motion(period_s), delay_s, speed) == []


@pytest.mark.parametrize("stop_at", [-0.3, 0.0, 0.2, 0.5])
@pytest.mark.parametrize("period_s", [0.5, 2.0, 5.0])
@pytest.mark.parametrize("delay_s", [0.02, 0.2])
def test_a_finger_that_something_stops_is_not_astray(stop_at: float, period_s: float, delay_s: float) -> None:
    assert alarms(square(period_s), delay_s, stop_at=stop_at) == []


def test_a_hand_that_leaves_where_it_was_sent_is_astray_at_once() -> None:
    assert alarms(lambda t: 0.0, moved_by=lambda t, there: there + (0.3 if t >= 3 else 0), seconds=3.02) == [
        3.0,
        3.01,
    ]


def test_a_hand_that_creeps_away_is_astray_once_it_is_too_far() -> None:
    found = alarms(lambda t: 0.0, moved_by=lambda t, there: there + 0.1 * t)
    assert found[0] == pytest.approx(2.51)


def test_a_hand_that_creeps_away_while_it_moves_is_found_too() -> None:
    found = alarms(wave(2.0, 0.5), moved_by=lambda t, there: there + 0.1 * t)
    assert 2.5 <= found[0] <= 5.0


def test_a_hand_that_goes_the_other_way_is_astray() -> None:
    assert alarms(wave(2.0, 0.9), moved_by=lambda t, there: there if t < 1 else -there)[0] < 2.0


def judge(*reports: tuple[float, float], step_ns: int = STEP_NS) -> list[bool]:
    """Whether each (there, sent) is astray, for the ring finger; the others are where they were sent."""
    whereabouts = Whereabouts(LAG_S, TOLERANCE)
    found = []
    for number, (there, sent) in enumerate(reports):
        text = whereabouts.stray(number * step_ns, [0, 0, 0, there, 0, 0], (0, 0, 0, sent, 0, 0))
        assert text in ("", f"ring is at {there:.2f} and was sent to {sent:.2f}")
        found.append(bool(text))
    return found


@pytest.mark.parametrize(
    ("there", "astray"), [(0.25, False), (0.2501, True), (-0.25, False), (-0.2501, True)]
)
def test_astray_is_beyond_the_tolerance(there: float, astray: bool) -> None:
    assert judge((0, 0), (there, 0)) == [False, astray]


def test_where_it_is_found_is_no_alarm_but_leaving_it_the_wrong_way_is() -> None:
    assert judge((0.9, 0.5), (0.9, 0.5), (1.1, 0.5), (1.16, 0.5)) == [False, False, False, True]
    assert judge((0.9, 0.5), (0.5, 0.5), (0.74, 0.5), (0.76, 0.5)) == [False, False, False, True]
    assert judge((-0.9, -0.5), (-0.5, -0.5), (-0.74, -0.5), (-0.76, -0.5)) == [False, False, False, True]


def test_what_it_does_not_measure_is_not_astray_and_hides_nothing_for_good() -> None:
    assert judge((NAN, 0), (NAN, 0), (NAN, 1), (NAN, 0)) == [False] * 4
    assert judge((0, 0), (NAN, 0), (NAN, 0), (0.3, 0)) == [False, False, False, True]
    assert judge((0, 0), (NAN, 0.5), (NAN, 0.5), (0.74, 0.5)) == [False] * 4


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize(("ago_ns", "astray"), [(200 * MS, False), (299 * MS, False), (700 * MS, True)])
def test_what_was_sent_long_ago_is_no_place_to_be(sign: int, ago_ns: int, astray: bool) -> None:
    """It was sent away and called back, and arrived at home; then, late, it goes where it had been sent."""
    whereabouts = Whereabouts(LAG_S, TOLERANCE)
    for number, (sent, at_ns) in enumerate(
        [(0, 0), (sign, 10 * MS), (0, 20 * MS), (0, 20 * MS + ago_ns // 2)]
    ):
        assert not whereabouts.stray(at_ns, [0.0] * 6, (float(sent),) * 6), number
    whereabouts.stray(20 * MS + ago_ns, [0.0] * 6, (0.0,) * 6)
    assert bool(whereabouts.stray(21 * MS + ago_ns, [0.9 * sign] * 6, (0.0,) * 6)) is astray


def test_what_was_sent_is_forgotten_from_twice_the_lag_on() -> None:
    whereabouts = Whereabouts(LAG_S, TOLERANCE)
    for at_ms, sent in ((0, 0.0), (10, 1.0), (20, 0.0), (300, 0.0), (600, 0.0)):
        assert not whereabouts.stray(at_ms * MS, [0.0] * 6, (sent,) * 6)
    assert whereabouts.stray(601 * MS, [0.9] * 6, (0.0,) * 6)


def test_one_that_is_not_measured_hides_no_other() -> None:
    whereabouts = Whereabouts(LAG_S, TOLERANCE)
    whereabouts.stray(0, [NAN, 0.0, NAN, 0.0, 0.0, NAN], (0.0,) * 6)
    assert whereabouts.stray(MS, [NAN, 0.0, NAN, 0.0, 0.9, NAN], (0.0,) * 6).startswith("little is at")


def test_beginning_anew_takes_it_where_it_is() -> None:
    whereabouts = Whereabouts(LAG_S, TOLERANCE)
    whereabouts.stray(0, [0.0] * 6, (0.0,) * 6)
    assert whereabouts.stray(MS, [0.9] * 6, (0.0,) * 6)
    whereabouts.begin()
    assert not whereabouts.stray(2 * MS, [0.9] * 6, (0.0,) * 6)
    assert not whereabouts.stray(3 * MS, [0.2] * 6, (0.0,) * 6)
    assert whereabouts.stray(4 * MS, [0.5] * 6, (0.0,) * 6)


def sent_away_and_back(lag_s: float) -> Whereabouts:
    """At home, after it was sent away and called back 150 ms ago; only then the lag becomes that."""
    whereabouts = Whereabouts(LAG_S, TOLERANCE)
    for sent, at_ms in ((0.0, 0), (1.0, 10), (0.0, 20), (0.0, 100)):
        assert not whereabouts.stray(at_ms * MS, [0.0] * 6, (sent,) * 6)
    whereabouts.limit(lag_s, TOLERANCE)
    for at_ms in (110, 170):
        assert not whereabouts.stray(at_ms * MS, [0.0] * 6, (0.0,) * 6)
    return whereabouts


@pytest.mark.parametrize(("lag_s", "astray"), [(0.3, False), (0.05, True)])
def test_another_lag_holds_for_what_was_sent_before_and_forgets_nothing(lag_s: float, astray: bool) -> None:
    whereabouts = sent_away_and_back(lag_s)
    assert bool(whereabouts.stray(171 * MS, [0.9] * 6, (0.0,) * 6)) is astray
    assert whereabouts.stray(172 * MS, [-0.3] * 6, (0.0,) * 6) != ""


def test_another_tolerance_holds_at_once() -> None:
    whereabouts = Whereabouts(LAG_S, TOLERANCE)
    whereabouts.stray(0, [0.0] * 6, (0.0,) * 6)
    assert not whereabouts.stray(10 * MS, [0.2] * 6, (0.0,) * 6)
    whereabouts.limit(LAG_S, 0.1)
    assert whereabouts.stray(20 * MS, [0.2] * 6, (0.0,) * 6)
