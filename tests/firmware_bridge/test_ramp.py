"""The ramp: never faster, never harder, never further than allowed, whatever the steps are."""

from __future__ import annotations

import itertools
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from firmware_bridge.ramp import ARRIVED, Ramp

INF = math.inf
STEP_S, LONGEST_S = 0.01, 0.05
ROUNDING = 1e-9


def ramp(acceleration: float = INF, low: float = -1.0, high: float = 1.0, start: float = 0.0) -> Ramp:
    made = Ramp((low,) * 6, (high,) * 6, (acceleration,) * 6)
    made.start((start,) * 6)
    return made


def path(made: Ramp, target: float, steps: int, top: float = 1.0, dt_s: float = STEP_S) -> list[float]:
    """Where the first degree of freedom goes."""
    places = [made.positions[0]]
    for _ in range(steps):
        made.advance((target,) * 6, (top,) * 6, dt_s, LONGEST_S)
        places.append(made.positions[0])
    return places


def speeds(places: list[float], dt_s: float = STEP_S) -> list[float]:
    return [(b - a) / dt_s for a, b in itertools.pairwise(places)]


def test_each_degree_of_freedom_has_its_own_limits() -> None:
    made = Ramp((-1, -0.5, -1, -1, -1, 0), (1, 0.5, 1, 1, 1, 0), (INF, INF, 2, INF, INF, INF))
    made.start((0, 0, 0, 0.5, -0.5, 0.7))
    assert made.positions == (0, 0, 0, 0.5, -0.5, 0)
    made.advance((1, 1, 1, -1, 0, 1), (1, 100, 1, 2, 0.5, 1), 0.01, 0.05)
    assert made.positions == pytest.approx((0.01, 0.5, 0.0002, 0.48, -0.495, 0), abs=2e-5)


@pytest.mark.parametrize(
    ("start", "begins"), [(-2.0, -1.0), (-1.0, -1.0), (0.3, 0.3), (1.0, 1.0), (1.5, 1.0)]
)
def test_it_begins_inside_the_limits(start: float, begins: float) -> None:
    assert ramp(start=start).positions == (begins,) * 6


@pytest.mark.parametrize("target", [0.0099, 0.01, 0.0101, 0.5, -0.0099, -0.01, -0.0101, -0.5])
def test_without_an_acceleration_limit_it_goes_as_far_as_the_speed_allows(target: float) -> None:
    expected = math.copysign(min(abs(target), 0.01), target)
    assert path(ramp(), target, 1)[1] == pytest.approx(expected, abs=1e-15)


@pytest.mark.parametrize("acceleration", [INF, 5.0])
@pytest.mark.parametrize(
    ("target", "end"), [(2.0, 0.6), (0.6, 0.6), (0.5, 0.5), (0.0, 0.0), (-0.4, -0.4), (-3.0, -0.4)]
)
def test_it_ends_at_the_target_or_at_the_limit_before_it(
    acceleration: float, target: float, end: float
) -> None:
    made = ramp(acceleration, -0.4, 0.6, 0.1)
    assert path(made, target, 400)[-1] == end


def test_it_gains_speed_by_the_acceleration_keeps_the_top_speed_and_brakes_by_the_acceleration() -> None:
    v = speeds(path(ramp(2.0), 1.0, 300))
    assert v[:4] == pytest.approx([0.02, 0.04, 0.06, 0.08])
    assert max(v) == pytest.approx(1.0)
    changes = [b - a for a, b in zip([0.0, *v], v, strict=False)]
    assert max(map(abs, changes)) <= 0.02 + ROUNDING
    braking = [c for c in changes if c < -0.018]
    assert len(braking) > 40  # most of the way from 1 to 0 at 0.02 a step


def test_a_target_that_comes_nearer_than_braking_allows_is_passed_and_returned_to() -> None:
    made = ramp(2.0)
    places = path(made, 1.0, 60)
    nearer = places[-1] + 0.01
    after = path(made, nearer, 300)
    assert max(after) > nearer + 0.1
    assert after[-1] == nearer
    assert max(map(abs, speeds(after))) <= 1.0 + ROUNDING


def test_a_target_where_it_is_stops_it_as_soon_as_braking_allows() -> None:
    made = ramp(2.0)
    path(made, 1.0, 60)
    places = [made.positions[0]]
    for _ in range(60):
        made.advance(made.positions, (1.0,) * 6, STEP_S, LONGEST_S)
        places.append(made.positions[0])
    assert speeds(places)[:3] == pytest.approx([0.98, 0.96, 0.94])
    assert places[-1] == places[-10]
    assert places[-1] - places[0] == pytest.approx(0.245, abs=0.01)  # v^2 / (2 a)


def test_a_lower_top_speed_is_reached_by_braking_too() -> None:
    made = ramp(2.0)
    path(made, 1.0, 50)
    assert speeds(path(made, 1.0, 5, top=0.1)) == pytest.approx([0.98, 0.96, 0.94, 0.92, 0.9])


@pytest.mark.parametrize("acceleration", [INF, 1.0])
@pytest.mark.parametrize("dt_s", [0.0, -1.0])
def test_no_time_is_no_motion_and_changes_no_speed(acceleration: float, dt_s: float) -> None:
    made = ramp(acceleration)
    path(made, 1.0, 20)
    before = made.positions
    made.advance((1.0,) * 6, (1.0,) * 6, dt_s, LONGEST_S)
    assert made.positions == before
    once = speeds(path(made, 1.0, 1))[0]
    assert once == pytest.approx(1.0 if acceleration == INF else 0.21)


@pytest.mark.parametrize(("dt_s", "moved"), [(0.049, 0.049), (0.05, 0.05), (0.051, 0.05), (10.0, 0.05)])
def test_a_late_step_makes_up_for_no_more_than_is_allowed(dt_s: float, moved: float) -> None:
    assert path(ramp(), 1.0, 1, dt_s=dt_s)[1] == pytest.approx(moved)


def test_a_late_step_is_a_pause_after_which_speed_is_gained_anew() -> None:
    made = ramp(2.0)
    path(made, 1.0, 25)
    assert speeds(path(made, 1.0, 1, dt_s=10.0), 10.0)[0] == pytest.approx(0.6 * 0.05 / 10)
    assert speeds(path(made, 1.0, 1))[0] == pytest.approx(0.003 + 0.02)


def test_beginning_again_is_a_standstill() -> None:
    made = ramp(2.0)
    path(made, 1.0, 50)
    made.start((0.2,) * 6)
    assert speeds(path(made, 1.0, 1)) == pytest.approx([0.02])


@pytest.mark.parametrize(
    ("away", "is_there"), [(0.9 * ARRIVED, True), (ARRIVED, True), (ARRIVED * 1.1, False)]
)
@pytest.mark.parametrize("sign", [-1, 1])
def test_what_is_near_enough_is_there(away: float, is_there: bool, sign: int) -> None:
    made = ramp(0.01)  # gains 1e-6 of way in a step of 10 ms, and less where it has to brake after it
    assert (path(made, sign * away, 1)[1] == sign * away) is is_there


@pytest.mark.parametrize("sign", [-1, 1])
def test_what_is_near_and_just_slow_enough_is_there(sign: int) -> None:
    made = ramp(2.0)
    path(made, float(sign), 1)  # as much speed as one step can take away
    near = made.positions[0] + sign * ARRIVED / 2
    assert path(made, near, 1)[1] == near


@pytest.mark.parametrize("sign", [-1, 1])
def test_what_is_near_but_too_fast_is_not_there(sign: int) -> None:
    made = ramp(2.0)
    path(made, float(sign), 40)
    near = made.positions[0] + sign * ARRIVED / 2
    assert abs(path(made, near, 1)[1] - near) > 0.005


steps = st.lists(
    st.tuples(
        st.floats(-1.5, 1.5),
        st.floats(0.01, 8),
        st.one_of(st.sampled_from([0.0, 1e-9, 1e-3, 0.01, 0.05, 0.051, 3.0]), st.floats(1e-6, 0.1)),
    ),
    min_size=1,
    max_size=60,
)


@given(
    low=st.floats(-1, 0),
    high=st.floats(0, 1),
    start=st.floats(-1, 1),
    acceleration=st.one_of(st.floats(0.01, 1000), st.just(INF)),
    steps=steps,
)
@settings(max_examples=100, deadline=None)
def test_no_step_of_any_length_is_too_fast_too_hard_or_too_far(
    low: float, high: float, start: float, acceleration: float, steps: list[tuple[float, float, float]]
) -> None:
    made = ramp(acceleration, low, high, start)
    speed = 0.0
    for target, top, dt_s in steps:
        was = made.positions[0]
        made.advance((target,) * 6, (top,) * 6, dt_s, LONGEST_S)
        moved = made.positions[0] - was
        assert low <= made.positions[0] <= high
        if dt_s == 0:
            assert moved == 0
            continue
        step_s = min(dt_s, LONGEST_S)
        gained = acceleration * step_s if acceleration < INF else INF
        # Slower than the limit, or still braking down to it.
        assert abs(moved) <= max(top, abs(speed) - gained) * step_s + 2 * ARRIVED
        if acceleration < INF:
            assert abs(moved - speed * step_s) <= gained * step_s + 2 * ARRIVED
        if abs(moved) > ARRIVED and (target - was) * moved <= 0:  # leaving the target: only by braking
            assert abs(moved) <= abs(speed) * step_s + 2 * ARRIVED
        speed = moved / dt_s


@given(
    start=st.floats(-1, 1),
    target=st.floats(-1, 1),
    acceleration=st.floats(0.5, 1000),
    dt_s=st.floats(1e-3, 0.05),
)
@settings(max_examples=25, deadline=None)
def test_from_a_standstill_no_target_is_passed_and_every_target_is_reached(
    start: float, target: float, acceleration: float, dt_s: float
) -> None:
    made = ramp(acceleration, start=start)
    needed_s = 2 * math.sqrt(2 / acceleration) + 2 / 1.0 + 1.0
    places = path(made, target, round(needed_s / dt_s) + 10, top=1.0, dt_s=dt_s)
    assert min(start, target) - ARRIVED <= min(places)
    assert max(places) <= max(start, target) + ARRIVED
    assert places[-1] == target


# Limits that change on the way.


def change(made: Ramp, acceleration: float = INF, low: float = -1.0, high: float = 1.0) -> None:
    made.limit((low,) * 6, (high,) * 6, (acceleration,) * 6)


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("acceleration", [INF, 8.0])
def test_a_place_outside_a_narrower_range_may_be_kept_and_is_left_inwards_only(
    sign: int, acceleration: float
) -> None:
    made = ramp(acceleration, start=0.9 * sign)
    change(made, acceleration, -0.5, 0.5)
    assert path(made, sign * 0.9, 5)[-1] == 0.9 * sign
    assert path(made, sign * 1.0, 50)[-1] == 0.9 * sign
    way = path(made, sign * 0.7, 300)
    assert way[-1] == pytest.approx(0.7 * sign)
    assert path(made, sign * 0.9, 300)[-1] == way[-1]
    assert path(made, 0.0, 300)[-1] == 0
    assert path(made, sign * 0.9, 300)[-1] == 0.5 * sign


@pytest.mark.parametrize("acceleration", [INF, 8.0])
def test_what_has_been_left_on_the_way_inside_is_left_for_good(acceleration: float) -> None:
    made = ramp(acceleration, start=0.9)
    change(made, acceleration, -0.5, 0.5)
    left = path(made, 0.0, 30)[-1]
    assert left > 0.55
    assert max(path(made, 0.9, 300)) == left
    again = ramp(acceleration, start=0.9)
    change(again, acceleration, -0.5, 0.5)
    path(again, 0.0, 30)
    again.start((0.9,) * 6)
    assert again.positions == (left,) * 6


@pytest.mark.parametrize("sign", [1, -1])
def test_what_cannot_stop_before_a_bound_that_has_come_nearer_brakes_and_comes_back(sign: int) -> None:
    made = ramp(2.0)
    path(made, sign * 1.0, 60)
    at = abs(made.positions[0])
    change(made, 2.0, -at - 0.01, at + 0.01)
    way = path(made, sign * (at + 0.01), 300)
    v = speeds(way)
    assert max(map(abs, way)) == pytest.approx(at + 0.245, abs=0.01)  # v^2 / (2 a)
    assert way[-1] == pytest.approx(sign * (at + 0.01))
    assert max(abs(b - a) for a, b in itertools.pairwise(v)) <= 0.02 + ROUNDING
    assert max(map(abs, path(made, sign * 1.0, 300))) == pytest.approx(at + 0.01)


@pytest.mark.parametrize("sign", [1, -1])
def test_a_lower_acceleration_is_for_speeding_up_at_once_and_for_braking_once_it_is_enough(sign: int) -> None:
    made = ramp(2.0, start=-1.0 * sign)
    path(made, sign * 1.0, 150)
    change(made, 0.5)
    way = path(made, sign * 1.0, 400)
    changes = [sign * (b - a) for a, b in itertools.pairwise(speeds(way))]
    assert min(changes) >= -0.02 - ROUNDING
    assert min(changes) < -0.006  # it may brake by more than the new one
    assert max(changes) <= 0.005 + ROUNDING
    assert max(map(abs, way)) <= 1.0
    assert way[-1] == sign * 1.0
    back = speeds(path(made, 0.0, 400))
    assert max(abs(b - a) for a, b in itertools.pairwise(back)) <= 0.005 + ROUNDING


@pytest.mark.parametrize("sign", [1, -1])
def test_turning_round_it_brakes_by_the_old_acceleration_and_speeds_up_by_the_new_one(sign: int) -> None:
    made = ramp(2.0)
    path(made, sign * 1.0, 25)  # 0.5 a second
    change(made, 0.5)
    v = [sign * speed for speed in speeds(path(made, sign * -1.0, 40))]
    assert v[:24] == pytest.approx([0.48 - 0.02 * i for i in range(24)])
    assert v[24:30] == pytest.approx([0.0, -0.005, -0.01, -0.015, -0.02, -0.025])


def test_a_higher_acceleration_holds_at_once() -> None:
    made = ramp(0.5)
    path(made, 1.0, 10)
    change(made, 5.0)
    assert speeds(path(made, 1.0, 2)) == pytest.approx([0.1, 0.15])
    assert speeds(path(made, -1.0, 2)) == pytest.approx([0.1, 0.05])


def test_a_hand_in_motion_keeps_its_speed_where_an_acceleration_limit_begins_and_where_one_ends() -> None:
    made = ramp(start=-1.0)
    path(made, 1.0, 50)
    change(made, 2.0)
    assert speeds(path(made, 1.0, 2)) == pytest.approx([1.0, 1.0])
    change(made, INF)
    assert speeds(path(made, 1.0, 1)) == pytest.approx([1.0])
    change(made, 2.0)
    path(made, made.positions[0], 200)
    change(made, INF)
    path(made, 1.0, 1, dt_s=10.0)  # a pause: on the average it hardly moved
    change(made, 2.0)
    assert speeds(path(made, 1.0, 1))[0] == pytest.approx(0.005 + 0.02)


def test_a_beginning_after_a_change_is_where_it_was_allowed_before_and_slow_enough() -> None:
    made = ramp(5.0)
    path(made, 1.0, 20)
    change(made, 1.0, -0.5, 0.5)
    made.start((0.9, -0.9, 1.5, -1.5, 0.2, 0.5))
    assert made.positions == (0.9, -0.9, 1.0, -1.0, 0.2, 0.5)
    assert speeds(path(made, 0.0, 2)) == pytest.approx([-0.01, -0.02])
    change(made, 1.0, -0.7, 0.8)
    made.start((0.9, -0.9, 1.5, -1.5, 0.2, 0.6))
    assert made.positions == pytest.approx((0.8997, -0.8997, 0.9997, -0.9997, 0.2, 0.6), abs=1e-4)


def test_within_is_between_the_bounds_in_force() -> None:
    made = ramp()
    made.limit((-0.1, -0.2, -0.3, -1, -1, -1), (0.1, 0.2, 0.3, 1, 1, 1), (INF,) * 6)
    assert made.within((-1, -1, 1, 1, 0.5, -2)) == (-0.1, -0.2, 0.3, 1, 0.5, -1)


@pytest.mark.parametrize("sign", [1, -1])
def test_the_time_to_rest_is_from_the_farthest_place_at_the_speed_that_it_has(sign: int) -> None:
    top = (1.0, 1.0, 1.0, 1.0, 0.5, 1.0)
    made = ramp(4.0, -0.5, 0.5)
    assert made.time_to_rest_s(top) == pytest.approx(0.5 / 0.5 + 1.5 * 0.5 / 4)
    one = (1.0,) * 6
    assert made.time_to_rest_s(one) == pytest.approx(0.5 + 1.5 / 4)
    path(made, sign * 0.5, 10)  # 0.4 a second
    assert made.time_to_rest_s(one) == pytest.approx(0.5 + 1.5 / 4 + 0.1)
    change(made, 2.0, -0.2, 0.2)
    assert made.time_to_rest_s(one) == pytest.approx(0.5 + 1.5 / 2 + 0.1)
    path(made, 0.0, 200)
    assert made.time_to_rest_s(one) == pytest.approx(0.2 + 1.5 / 2)
    change(made, 2.0, -0.6 if sign > 0 else -0.1, 0.6 if sign < 0 else 0.1)
    assert made.time_to_rest_s(one) == pytest.approx(0.6 + 1.5 / 2)
