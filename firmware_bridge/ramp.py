"""Positions on their way to a target, within limits of place, speed and acceleration, in steps of any length."""

from __future__ import annotations

import math
from itertools import repeat

from firmware_bridge.hand import N_DOF

Positions = tuple[float, ...]
"""Six positions, or as many speeds: plain numbers, because NumPy takes longer to be called than to add six of them."""

REST: Positions = (0.0,) * N_DOF

ARRIVED = 1e-6
"""Nearer than this is there: finer than any hand, and than a position in float32 needs."""


class Ramp:
    """Where six degrees of freedom are sent, and how fast they move (per second, signed).

    From one step to the next a position changes by no more than its speed limit times the step's time, and its speed
    by no more than its acceleration limit times that time; no step passes `lower` or `upper`, however long the steps
    after it are. An infinite acceleration leaves the other two. A target that comes nearer than braking allows is
    passed, and returned to.
    """

    def __init__(self, lower: Positions, upper: Positions, acceleration: Positions) -> None:
        self.positions = REST
        self._speeds = REST
        self._lower, self._upper, self._acceleration = lower, upper, acceleration

    def start(self, positions: Positions) -> None:
        """Begin there, at a standstill; inside the limits, wherever that is."""
        self.positions = tuple(map(_inside, positions, self._lower, self._upper))
        self._speeds = REST

    def advance(self, target: Positions, top_speed: Positions, dt_s: float, longest_s: float) -> None:
        """Go towards `target` for `dt_s`, of which no more than `longest_s` is made up for.

        What is longer than that is a pause: afterwards the speed is what it was on the average.
        """
        if dt_s <= 0:
            return
        step_s = min(dt_s, longest_s)
        moved = map(
            _advance,
            self.positions,
            self._speeds,
            target,
            top_speed,
            self._acceleration,
            self._lower,
            self._upper,
            repeat(step_s),
        )
        self.positions, speeds = zip(*moved, strict=True)
        self._speeds = tuple([speed * step_s / dt_s for speed in speeds])


def _inside(value: float, low: float, high: float) -> float:
    return low if value < low else high if value > high else value


def _advance(
    at: float, speed: float, to: float, top: float, acceleration: float, low: float, high: float, dt_s: float
) -> tuple[float, float]:
    """One degree of freedom: its position and speed after a step."""
    to = low if to < low else high if to > high else to
    way = to - at
    if acceleration == math.inf:
        reach = top * dt_s
        return at + reach if way > reach else at - reach if way < -reach else to, 0.0
    change = acceleration * dt_s
    if -ARRIVED <= way <= ARRIVED and -change <= speed <= change:
        return to, 0.0
    # The root of v dt + v^2 / (2 a) = way: to brake takes the longest way in short steps, and then v^2 / (2 a).
    # Written so that nothing cancels, however large the acceleration is.
    twice = 2 * acceleration * abs(way)
    brakes = twice / (math.sqrt(change * change + twice) + change)
    wanted = brakes if brakes < top else top
    if way < 0:
        wanted = -wanted
    least, most = speed - change, speed + change
    speed = least if wanted < least else most if wanted > most else wanted
    # A bound, unlike a target, never comes nearer: no step was too fast to brake before it, and rounding is all to cut.
    return _inside(at + speed * dt_s, low, high), speed
