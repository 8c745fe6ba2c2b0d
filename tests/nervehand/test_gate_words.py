"""A release that waits for its link is told as one that waits, by the events of a real gate."""

from __future__ import annotations

import numpy as np

from firmware_bridge.gate import GateEvent, GateLimits, SafetyGate
from firmware_bridge.hand import HandState, LinkState
from firmware_bridge.hands.virtual_protocol import VIRTUAL_HAND
from firmware_bridge.preuse import overridden
from nervehand.gate_words import LATCHED, GateWords

MS = 1_000_000
AWAY = np.array([0, 0.8, 0, 0, 0, 0], np.float32)


class Told:
    """A gate at work, a step of 10 ms at a time; `said` is every event in words."""

    def __init__(self) -> None:
        self.gate = SafetyGate(GateLimits.for_hand(VIRTUAL_HAND), VIRTUAL_HAND.watchdog_action)
        self.words = GateWords()
        self.now_ns = 1000 * MS
        self.link = LinkState.CONNECTED
        self.said: list[str] = []

    def hear(self, events: tuple[GateEvent, ...]) -> None:
        self.said += [self.words.of(event) for event in events]

    def step(self) -> None:
        self.now_ns += 10 * MS
        state = HandState(AWAY, self.now_ns)
        self.hear(self.gate.step(self.now_ns, None, self.link, state).events)

    def arm(self) -> None:
        report = overridden("ada", self.now_ns)
        self.hear(self.gate.arm(self.now_ns, "ada", self.link, HandState(AWAY, self.now_ns), report))


def released_without_link() -> Told:
    told = Told()
    told.step()
    told.arm()
    told.link = LinkState.LOST
    told.step()
    assert told.said[-1].startswith("disarmed: no link to the hand; bring the hand back into reach")
    told.hear(told.gate.release(told.now_ns, "ada"))
    told.step()
    return told


def test_a_release_without_a_link_is_latched_and_goes_first() -> None:
    told = released_without_link()
    assert told.words.is_waiting
    assert told.said[-2:] == ["release requested", f"released: no link to the hand; {LATCHED}"]
    told.arm()
    told.hear(told.gate.disarm(told.now_ns, "ada"))
    assert told.said[-2:] == [f"no link to the hand: {LATCHED}"] * 2


def test_once_the_link_is_back_the_release_is_under_way() -> None:
    told = released_without_link()
    told.link = LinkState.CONNECTED
    told.step()
    assert not told.words.is_waiting
    told.arm()
    assert told.said[-2:] == ["released", "a release is under way: let it reach rest"]


def test_a_guard_that_ends_before_the_link_is_back_promises_nothing() -> None:
    told = released_without_link()
    told.hear((GateEvent(told.now_ns, "release given up", "look at the hand", "guard loop"),))
    told.hear(told.gate.disarm(told.now_ns, "guard loop"))
    given_up, refused = told.said[-2:]
    assert given_up.startswith("look at the hand; there was no link to the hand, and the guard ends: ")
    assert refused == "no link to the hand: once it is connected again, release it anew"
    assert not any(LATCHED in one for one in (given_up, refused))


def test_with_a_link_all_is_told_as_the_gate_says_it() -> None:
    told = Told()
    told.step()
    told.hear(told.gate.release(told.now_ns, "ada"))
    told.step()
    told.arm()
    assert told.said == ["release requested", "released", "a release is under way: let it reach rest"]
