"""What a hand leaves unsaid or unanswered, piece by piece: it is seen, though the rest of it goes on."""

from __future__ import annotations

import pytest

from firmware_bridge.errors import NervehandError
from firmware_bridge.hand import LinkState
from firmware_bridge.hands import HandOptions, ability_hand, inspire, rohand
from firmware_bridge.hands._connection import LONGEST_ANSWER_S, MOVES_GIVEN_UP
from firmware_bridge.hands._linked import LinkedHand
from tests.firmware_bridge.hands.lines import (
    Clock,
    Line,
    Words,
    connected,
    connecting,
    in_flight,
    linked,
    reporting,
    six,
    until,
)


def a_moment_later(hand: LinkedHand, clock: Clock) -> None:
    """A tenth of a second, and the position of then."""
    clock.pass_s(0.1)
    until(lambda: hand.state is not None and hand.state.reported_ns == clock.ns)


def deaf_to(kind: bytes, line: Line) -> None:
    """It answers, and does not answer frames of that kind."""
    line.answer = lambda frame: None if frame.startswith(kind) else b"is 0.25"


def obeyed_by(clock: Clock, line: Line) -> LinkedHand:
    """A hand that is asked one thing at a time, over a wire that loses frames."""
    return linked(line, lambda: Words(1), clock_ns=clock, answer_timeout_s=LONGEST_ANSWER_S, ask_s=0.03)


# Readings


def test_a_reading_that_it_stops_telling_is_a_lost_link_though_its_positions_come() -> None:
    clock = Clock()
    line = Line(reporting)
    with connected(linked(line, clock_ns=clock, link_timeout_s=0.3)) as hand:
        for amperes in range(5):
            line.say(b"draws %d" % amperes)
            until(
                lambda amperes=amperes: (  # type: ignore[misc]
                    hand.state is not None
                    and hand.state.currents_a is not None
                    and hand.state.currents_a[0] == amperes
                )
            )
            a_moment_later(hand, clock)
        a_moment_later(hand, clock)
        assert hand.link is LinkState.CONNECTED
        assert hand.counters.losses == 0
        clock.pass_s(0.1)
        assert hand.link is LinkState.LOST, "judged when asked"
        until(lambda: hand.counters.losses == 1)


def test_what_it_never_told_is_not_missed() -> None:
    clock = Clock()
    line = Line(reporting)
    with connected(linked(line, clock_ns=clock, link_timeout_s=0.3)) as hand:
        for _ in range(10):
            a_moment_later(hand, clock)
        assert hand.link is LinkState.CONNECTED
        assert hand.counters.losses == 0


# Positions


def test_positions_that_are_not_answered_are_sent_again_and_six_times_in_a_row_are_a_lost_link() -> None:
    clock = Clock()
    line = Line(reporting)
    with connected(obeyed_by(clock, line)) as hand:
        until(lambda: not in_flight(hand))
        deaf_to(b"m", line)
        for i, value in enumerate(("0.4", "0.5", "0.6")):
            hand.send(six(float(value)), clock.ns)
            until(lambda n=2 * i + 1: len(line.positions()) == n)  # type: ignore[misc]
            clock.pass_s(LONGEST_ANSWER_S)
            until(lambda n=2 * i + 2: len(line.positions()) == n)  # type: ignore[misc]
            assert line.positions()[-2:] == [value, value]
            assert hand.counters.losses == 0
            clock.pass_s(LONGEST_ANSWER_S + 0.001)
            until(lambda n=i + 1: hand.counters.expired == n or hand.counters.losses == 1)  # type: ignore[misc]
        assert (hand.counters.expired, hand.counters.losses) == (2, 1)
        assert hand.counters.unanswered == MOVES_GIVEN_UP == 6


def test_one_that_is_answered_begins_the_count_anew() -> None:
    clock = Clock()
    line = Line(reporting)
    with connected(obeyed_by(clock, line)) as hand:
        for i in range(4):
            until(lambda: not in_flight(hand))
            deaf_to(b"m", line)
            hand.send(six(0.4), clock.ns)
            n_unanswered = 2 * i
            until(lambda n=4 * i + 1: len(line.positions()) == n)  # type: ignore[misc]
            clock.pass_s(LONGEST_ANSWER_S)
            until(lambda n=4 * i + 2: len(line.positions()) == n)  # type: ignore[misc]
            clock.pass_s(LONGEST_ANSWER_S + 0.001)
            until(lambda n=n_unanswered + 2: hand.counters.unanswered == n)  # type: ignore[misc]
            until(lambda n=i + 1: hand.counters.expired == n)  # type: ignore[misc]
            line.answer = reporting
            for n in (4 * i + 3, 4 * i + 4):
                hand.send(six(0.5), clock.ns)
                until(lambda n=n: len(line.positions()) == n)  # type: ignore[misc]
        assert hand.counters.losses == 0


def test_a_grip_that_is_not_answered_is_not_begun_twice() -> None:
    clock = Clock()
    line = Line(reporting)
    with connected(obeyed_by(clock, line)) as hand:
        until(lambda: not in_flight(hand))
        deaf_to(b"g", line)
        hand.grip("hook", 1.0, clock.ns)
        until(lambda: line.frames[-1].startswith(b"g"))
        clock.pass_s(LONGEST_ANSWER_S)
        until(lambda: hand.counters.unanswered == 1)
        n_frames = len(line.frames)
        clock.pass_s(0.03)
        until(lambda: len(line.frames) > n_frames)
        assert sum(frame.startswith(b"g") for frame in line.frames) == 1


@pytest.mark.parametrize("answer_timeout_s", [0.051, 0.1, 0.0, -1.0, float("nan")])
def test_who_would_wait_until_nothing_can_be_sent_again_is_refused(answer_timeout_s: float) -> None:
    with pytest.raises(NervehandError, match=r"answer_timeout_s is .*: give more than 0 and at most 0\.05 s"):
        linked(Line(), answer_timeout_s=answer_timeout_s)


def test_no_driver_of_a_serial_hand_does() -> None:
    for module in (inspire, rohand, ability_hand):
        assert isinstance(module.open_hand("/dev/ttyUSB0", HandOptions()), LinkedHand)
        assert module.ANSWER_TIMEOUT_S <= LONGEST_ANSWER_S


# A hand that never answers


@pytest.mark.parametrize("greetings", [(), (b"hello",)])
def test_it_is_not_up_by_what_it_streams_but_once_a_frame_has_arrived(greetings: tuple[bytes, ...]) -> None:
    line = Line()
    line.knows_arrival = True
    line.may_arrive.clear()
    with connecting(linked(line, lambda: Words(0, greetings))) as hand:
        until(lambda: len(line.frames) == 1)
        line.say(b"at 0.5")
        until(lambda: hand.state is not None)
        assert hand.link is LinkState.CONNECTING
        assert hand.counters.acknowledged == 0
        line.may_arrive.set()
        until(lambda: hand.counters.acknowledged >= 1 + len(greetings))
