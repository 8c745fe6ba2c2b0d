"""Positions on their way to a target, within limits of place, speed and acceleration, in steps of any length."""

from __future__ import annotations

import math
from itertools import repeat
from typing import NamedTuple

from firmware_bridge.hand import N_DOF

Positions = tuple[float, ...]
"""Six positions, or as many speeds: plain numbers, because NumPy takes longer to be called than to add six of them."""

REST: Positions = (0.0,) * N_DOF

ARRIVED = 1e-6
"""Nearer than this is there: finer than any hand, and than a position in float32 needs."""


class Bounds(NamedTuple):
    """What one degree of freedom keeps to, and what still holds of earlier limits.

    It is sent nowhere below `low` or above `high`, which are `lower` and `upper` and places beyond them that it has not
    left yet. It brakes by no more than `braking`, which is `acceleration`, or more as long as it moves too fast to stop
    by that in time.
    """

    lower: float
    upper: float
    acceleration: float
    low: float
    high: float
    braking: float


class Ramp:
    """Where six degrees of freedom are sent, and how fast they move (per second, signed).

    From one step to the next a position changes by no more than its speed limit times the step's time, and its speed
    by no more than its acceleration limit times that time; no step passes `lower` or `upper`, however long the steps
    after it are. An infinite acceleration leaves the other two. A target that comes nearer than braking allows is
    passed, and returned to.

    After `limit` what was allowed before is left without a jump. A place outside the new range may be kept; on the way
    to a target inside it is left for good. What is too fast for the new acceleration brakes by the one before, inside
    the range before.
    """

    def __init__(self, lower: Positions, upper: Positions, acceleration: Positions) -> None:
        self.positions = REST
        self._speeds = REST
        self._bounds = tuple(map(Bounds, lower, upper, acceleration, lower, upper, acceleration))

    def limit(self, lower: Positions, upper: Positions, acceleration: Positions) -> None:
        """Other limits from the next step on."""
        self._bounds = tuple(map(_changed, self._bounds, lower, upper, acceleration))

    def start(self, positions: Positions) -> None:
        """Begin there, at a standstill; inside the limits, wherever that is."""
        self.positions = tuple(
            [_inside(at, one.low, one.high) for at, one in zip(positions, self._bounds, strict=True)]
        )
        self._speeds = REST

    def within(self, positions: Positions) -> Positions:
        """The nearest between `lower` and `upper`."""
        return tuple(
            [_inside(at, one.lower, one.upper) for at, one in zip(positions, self._bounds, strict=True)]
        )

    def time_to_rest_s(self, top_speed: Positions) -> float:
        """How long the way to rest may take: from the farthest place allowed, and from the speed that it has now."""
        return max(map(_time_to_rest_s, self._speeds, top_speed, self._bounds))

    def advance(self, target: Positions, top_speed: Positions, dt_s: float, longest_s: float) -> None:
        """Go towards `target` for `dt_s`, of which no more than `longest_s` is made up for.

        What is longer than that is a pause: afterwards the speed is what it was on the average.
        """
        if dt_s <= 0:
            return
        step_s = min(dt_s, longest_s)
        moved = map(_advance, self.positions, self._speeds, target, top_speed, self._bounds, repeat(step_s))
        self.positions, speeds, self._bounds = zip(*moved, strict=True)
        self._speeds = tuple([speed * step_s / dt_s for speed in speeds])


def _inside(value: float, low: float, high: float) -> float:
    return low if value < low else high if value > high else value


def _changed(before: Bounds, lower: float, upper: float, acceleration: float) -> Bounds:
    return Bounds(
        lower,
        upper,
        acceleration,
        min(before.low, lower),
        max(before.high, upper),
        max(before.braking, acceleration),
    )


def _time_to_rest_s(speed: float, top: float, bounds: Bounds) -> float:
    """The longest way at top speed; beside it to stop, to speed up and to brake."""
    way = max(bounds.high, -bounds.low)
    return abs(speed) / bounds.braking + way / top + 1.5 * top / bounds.acceleration


def _advance(
    at: float, speed: float, to: float, top: float, bounds: Bounds, dt_s: float
) -> tuple[float, float, Bounds]:
    """One degree of freedom: its position and speed after a step, and what it keeps to then."""
    lower, upper, acceleration, low, high, braking = bounds
    to = _inside(to, low, high)
    if acceleration == math.inf:
        way, reach = to - at, top * dt_s
        there = at + reach if way > reach else at - reach if way < -reach else to
        speed = (there - at) / dt_s
        is_in_time = True
    else:
        there, speed, is_in_time = _braked(at, speed, to, top, acceleration, braking, dt_s)
        # A bound, unlike a target, never comes nearer: no step was too fast to brake before it, and rounding is all to
        # cut.
        there = _inside(there, low, high)
    if is_in_time:
        bounds = Bounds(lower, upper, acceleration, min(lower, there), max(upper, there), acceleration)
    return there, speed, bounds


def _braked(
    at: float, speed: float, to: float, top: float, acceleration: float, braking: float, dt_s: float
) -> tuple[float, float, bool]:
    """The same with an acceleration; and whether it stops in time by that, or stands."""
    way = to - at
    gain = acceleration * dt_s
    if -ARRIVED <= way <= ARRIVED and -gain <= speed <= gain:
        return to, 0.0, True
    # The root of v dt + v^2 / (2 a) = way: to brake takes the longest way in short steps, and then v^2 / (2 a).
    # Written so that nothing cancels, however large the acceleration is.
    twice = 2 * acceleration * abs(way)
    brakes = twice / (math.sqrt(gain * gain + twice) + gain)
    wanted = brakes if brakes < top else top
    side = -1.0 if way < 0 else 1.0
    towards = speed * side
    loss = braking * dt_s
    if towards > wanted:
        towards = max(wanted, towards - loss)
    elif towards + loss < 0:
        towards += loss
    else:
        towards = min(wanted, max(towards + gain, 0.0))
    speed = towards * side
    return at + speed * dt_s, speed, 0.0 <= towards <= wanted
