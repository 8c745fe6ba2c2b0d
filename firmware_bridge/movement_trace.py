"""When a hand first says that it moves because of a command: the end of the way from the nerve to the hand."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from firmware_bridge.hand import N_DOF, HandState

NS = 1_000_000_000
STILL_BAND = 0.015
"""A hand stands still while none of its positions is further than this from where it began to."""
STILL_S = 0.15
"""For how long, before a movement can begin."""
LEAVES = 0.05
"""A target further than this from where the hand stands, and from where it had been sent, begins a movement."""
MOVED = 0.02
"""The hand moves once it has come so much nearer to the target."""
GIVEN_UP_S = 1.0
"""A hand that has not moved by then is kept from it, or moves later for another reason."""


class Moved(NamedTuple):
    """A hand has begun to move: because of which command, when that was sent, and when it said so (host, ns)."""

    sample_index: int
    sent_ns: int
    reported_ns: int


class MovementTrace:
    """Hears what a hand is sent and what it reports, and finds once for each movement when it was first reported.

    A movement begins with the first command that is followed to a target away from where the hand has stood still;
    whatever is sent later on the same way belongs to it. Where the target comes back before the hand has moved, nothing
    began. A degree of freedom without a reported position begins none. Nothing is kept but the newest.
    """

    def __init__(self) -> None:
        self._here: list[float] = []
        self._reported_ns = 0
        self._still: list[float] = []
        self._still_since_ns = 0
        self._aim: Sequence[float] = ()
        self._settled: Sequence[float] = ()
        self._begun: tuple[int, int] | None = None
        self._place: list[float] = []
        self._sides: list[int] = []

    @property
    def is_awaiting(self) -> bool:
        """Whether a movement has begun that the hand has not reported yet."""
        return self._begun is not None

    def sent(self, sample_index: int, sent_ns: int, aim: Sequence[float]) -> None:
        """At `sent_ns` the hand was sent something on its way to `aim` (6,), following that command."""
        self._aim = aim
        if self._begun is not None:
            if sent_ns - self._begun[1] >= GIVEN_UP_S * NS:
                self._begun, self._settled = None, aim
            elif not any(map(_is_beyond, aim, self._place, self._sides, [LEAVES] * N_DOF)):
                self._begun = None
        if self._begun is None and self._here and self._reported_ns - self._still_since_ns >= STILL_S * NS:
            sides = list(map(_side, aim, self._here, self._settled or self._here))
            if any(sides):
                self._begun, self._place, self._sides = (sample_index, sent_ns), self._here, sides

    def stopped(self, positions: Sequence[float] = ()) -> None:
        """No command is followed: the hand was sent to `positions` (6,) for another reason, or nothing at all."""
        self._begun = None
        self._aim = self._settled = positions

    def reported(self, state: HandState) -> Moved | None:
        """The hand's newest report; a movement where it is the first that says so."""
        if state.reported_ns == self._reported_ns:
            return None
        self._here = state.positions.tolist() if state.positions.shape == (N_DOF,) else []
        self._reported_ns = state.reported_ns
        moved = None
        if (
            self._begun is not None
            and state.reported_ns > self._begun[1]
            and any(map(_is_beyond, self._here, self._place, self._sides, [MOVED] * N_DOF))
        ):
            moved, self._begun = Moved(*self._begun, state.reported_ns), None
        if moved or len(self._still) != len(self._here) or any(map(_is_apart, self._here, self._still)):
            self._still, self._still_since_ns = self._here, state.reported_ns
            self._settled = self._aim
        return moved


def _is_beyond(there: float, place: float, side: int, most: float) -> bool:
    return (there - place) * side > most


def _is_apart(there: float, place: float) -> bool:
    return abs(there - place) > STILL_BAND or math.isnan(there) != math.isnan(place)


def _side(aim: float, here: float, settled: float) -> int:
    """To which side this target leaves both; 0 where it does not, or the place is not known."""
    low, high = min(here, settled), max(here, settled)
    return 0 if math.isnan(here) else (aim > high + LEAVES) - (aim < low - LEAVES)
