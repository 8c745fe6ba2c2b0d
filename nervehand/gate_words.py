"""The gate's events in words for who sees the hand: of a release that waits for its link they say so."""

from __future__ import annotations

from firmware_bridge.gate import RELEASING, Cause, GateEvent, GateState
from firmware_bridge.hand import LinkState

LATCHED = "the release is latched, and goes first once the hand is connected again"
ANEW = "once it is connected again, release it anew"
_STATES = frozenset(state.value for state in GateState)


class GateWords:
    """Told every event in its order.

    The gate itself calls a release under way as soon as it is asked for, and tells of a lost link how to arm again.
    Where nothing is connected neither is what a person needs to know.
    """

    def __init__(self) -> None:
        self._is_waiting = self._is_given_up = False

    @property
    def is_waiting(self) -> bool:
        """Whether a release waits for the link."""
        return self._is_waiting

    def of(self, event: GateEvent) -> str:
        """What to tell a person of it."""
        if event.kind in _STATES:
            self._is_waiting = event.kind == GateState.RELEASED.value and Cause.LINK_LOST.value in event.text
            return f"{event.kind}: {Cause.LINK_LOST.value}; {LATCHED}" if self._is_waiting else event.text
        self._is_given_up = self._is_given_up or event.kind == "release given up"
        if not self._is_waiting:
            return event.text
        if event.kind == "release given up":
            return f"{event.text}; there was {Cause.LINK_LOST.value}, and the guard ends: {ANEW}"
        if event.text == RELEASING:
            return f"{Cause.LINK_LOST.value}: {ANEW if self._is_given_up else LATCHED}"
        return event.text


def without_link(state: object, link: object) -> str:
    """What to add to the gate's state, both as a guard answers them, where nothing is connected."""
    if link == LinkState.CONNECTED.value:
        return ""
    return f"; {Cause.LINK_LOST.value}" + (f": {LATCHED}" if state == GateState.RELEASED.value else "")
