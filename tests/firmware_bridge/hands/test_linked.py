"""What every hand's link keeps, whatever its wire and command set: the test is the hand at the other end."""

from __future__ import annotations

import asyncio
import threading
from dataclasses import replace

import numpy as np
import pytest

from firmware_bridge.errors import LinkError, NervehandError
from firmware_bridge.hand import LinkState, Quantity
from firmware_bridge.hands._linked import LinkedHand, within_reach
from firmware_bridge.hands._virtual import JOINTS
from firmware_bridge.hands._wire import CannotOpenError, WrongHandError
from firmware_bridge.joint_map import Joint, JointMap
from tests.firmware_bridge.hands.lines import (
    HAND,
    PATIENCE_S,
    Clock,
    Line,
    Words,
    acknowledging,
    connected,
    connecting,
    in_flight,
    linked,
    reporting,
    six,
    unmeasured,
    until,
)

# Being connected


def test_it_is_up_only_once_a_frame_was_answered_and_a_position_was_read() -> None:
    line = Line()
    with connecting(linked(line)) as hand:
        until(lambda: len(line.frames) >= 1)
        line.say(b"at 0.5")
        until(lambda: hand.state is not None)
        assert hand.link is LinkState.CONNECTING
        assert hand.counters.connections == 0
        line.say(b"! 0")
    line = Line()
    with connecting(linked(line)) as hand:
        until(lambda: len(line.frames) >= 1)
        line.say(b"! 0")
        until(lambda: hand.counters.acknowledged == 1)
        assert hand.link is LinkState.CONNECTING
        assert hand.state is None
        line.say(b"at 0.5")


def test_nothing_that_moves_it_is_written_before_that() -> None:
    line = Line()
    with connecting(linked(line)) as hand:
        until(lambda: len(line.frames) >= 1)
        for _ in range(3):
            hand.send(six(0.5), 0)
        line.say(b"at 0")
        line.say(b"! 0")
    assert line.positions() == []
    assert (hand.counters.submitted, hand.counters.dropped) == (3, 3)


def test_a_hand_that_measures_nothing_is_up_with_its_first_answer_and_says_nothing_of_where_it_is() -> None:
    clock = Clock()
    line = Line(acknowledging)
    with connected(linked(line, clock_ns=clock, **unmeasured())) as hand:
        assert hand.state is not None
        assert np.isnan(hand.state.positions).all()
        assert hand.state.reported_ns == clock.ns
        clock.pass_s(1.0)
        until(lambda: hand.state is not None and hand.state.reported_ns == clock.ns)


def test_greetings_are_each_answered_before_the_next_and_farewells_are_said_at_the_end() -> None:
    line = Line()
    with connecting(linked(line, lambda: Words(1, (b"hello 1", b"hello 2"), (b"bye 1", b"bye 2")))) as hand:
        until(lambda: line.frames == [b"hello 1"])
        assert hand.counters.acknowledged == 0
        line.say(b"!")
        until(lambda: line.frames == [b"hello 1", b"hello 2"])
        line.say(b"!")
        until(lambda: line.frames[2:] == [b"a 0"])
        line.say(b"is 0")
    assert line.frames[-2:] == [b"bye 1", b"bye 2"]
    assert line.closed == 1


def test_a_greeting_that_is_lost_is_said_again() -> None:
    clock = Clock()
    line = Line()
    hand = linked(line, lambda: Words(1, (b"hello",)), clock_ns=clock, answer_timeout_s=0.05)
    with connecting(hand):
        until(lambda: line.frames == [b"hello"])
        clock.pass_s(0.06)
        until(lambda: line.frames == [b"hello", b"hello"])
        line.answer = reporting
        line.say(b"!")


def test_a_hand_that_does_not_fit_is_refused_at_once_and_never_tried_again() -> None:
    line = Line(lambda frame: b"wrong it is a foot")
    hand = linked(line)
    with pytest.raises(LinkError, match=r"no connection to the hand at the test: it is a foot"):
        hand.connect(PATIENCE_S)
    assert (line.opened, hand.link) == (1, LinkState.DISCONNECTED)
    line = Line()
    line.fails = WrongHandError("it has no characteristic")
    with pytest.raises(LinkError, match="it has no characteristic"):
        linked(line).connect(PATIENCE_S)
    assert line.opened == 1


def test_what_cannot_be_opened_is_tried_again_and_the_error_says_why() -> None:
    line = Line(reporting)
    line.fails = LinkError("the port is gone")
    with pytest.raises(
        LinkError, match=r"no connection to the hand at the test within 0\.3 s: the port is gone"
    ):
        linked(line).connect(0.3)
    assert line.opened >= 2
    with connecting(linked(line)):
        line.fails = None


def test_a_wire_that_cannot_be_opened_ends_the_first_connection_at_once() -> None:
    line = Line(reporting)
    line.fails = CannotOpenError("there is no such port")
    hand = linked(line)
    with pytest.raises(LinkError, match="there is no such port"):
        hand.connect(PATIENCE_S)
    assert (line.opened, hand.link) == (1, LinkState.DISCONNECTED)
    line.fails = None
    with connected(hand):
        assert line.opened == 2


def test_and_is_tried_again_where_it_could_be_before() -> None:
    line = Line(reporting)
    with connected(linked(line)) as hand:
        line.fails = CannotOpenError("there is no such port")
        line.cut("it was unplugged")
        until(lambda: line.opened >= 3)
        line.fails = None
        until(lambda: hand.link is LinkState.CONNECTED)


def test_a_closed_hand_can_be_connected_anew_and_its_frames_count_on() -> None:
    line = Line(acknowledging)
    hand = linked(line, **unmeasured())
    with connected(hand):
        assert line.frames[0] == b"a 0"
    hand.close()
    assert hand.link is LinkState.DISCONNECTED
    n_frames = len(line.frames)
    with connected(hand):
        assert line.frames[n_frames] == f"a {n_frames}".encode()
        assert hand.counters.connections == 2


def test_it_closes_though_what_it_waits_for_swallows_that_it_was_cancelled() -> None:
    """As asyncio.wait_for does before Python 3.12, where what it waits for is there just then."""
    line = Line(acknowledging)
    line.knows_arrival = line.swallows_cancel = True
    with connected(linked(line, lambda: Words(0), **unmeasured())) as hand:
        line.may_arrive.clear()
        n_frames = len(line.frames)
        until(lambda: len(line.frames) > n_frames)
    assert hand.link is LinkState.DISCONNECTED


# Positions


def test_positions_are_cut_to_its_reach() -> None:
    joints = JointMap((Joint("finger", "deg", 10.0, 90.0, None, {"index": 1.0}),))
    hand = LinkedHand(within_reach(HAND, joints), joints, Words, Line(), "the test")
    applied = hand.send(np.array([1, 0.5, 1, 1, 1, -1], np.float32), 77)
    np.testing.assert_array_equal(applied.positions, [0, 0.5, 0, 0, 0, 0])
    np.testing.assert_array_equal(applied.clipped, [True, False, True, True, True, True])
    assert applied.sent_ns == 77


def test_joints_are_told_in_their_own_units_and_tell_by_degree_of_freedom() -> None:
    joints = JointMap((Joint("finger", "deg", 10.0, 90.0, None, {"index": 1.0}),))
    line = Line()

    class OneJoint(Words):
        def receive(self, data: bytes):  # type: ignore[no-untyped-def]
            for report in super().receive(data):
                yield replace(report, joints=np.array([50.0]), currents_a=np.array([-0.5]))

    hand = LinkedHand(within_reach(HAND, joints), joints, OneJoint, line, "the test", 4 * PATIENCE_S)
    line.answer = lambda frame: b"!"
    with connected(hand):
        assert hand.state is not None
        np.testing.assert_array_equal(
            hand.state.positions, np.array([np.nan, 0.5] + 4 * [np.nan], np.float32)
        )
        assert hand.state.currents_a is not None
        assert hand.state.currents_a[1] == np.float32(0.5)
        hand.send(six(1.0), 0)
        until(lambda: line.positions() == ["90"])


@pytest.mark.parametrize("bad", [six(np.nan), np.zeros(5, np.float32), six(np.inf)])
def test_what_is_no_position_is_refused(bad: np.ndarray) -> None:
    with pytest.raises(NervehandError, match="6 finite numbers"):
        linked(Line()).send(bad, 0)


def test_no_more_frames_wait_for_an_answer_than_the_hand_takes_and_the_newest_follows() -> None:
    line = Line(acknowledging)
    with connected(linked(line, **unmeasured())) as hand:
        line.answer = lambda frame: None
        until(lambda: not in_flight(hand))

        def has_three() -> bool:
            hand.send(six(0.1), 0)
            return len(in_flight(hand)) == 3

        until(has_three)
        n_frames = len(line.frames)
        for value in np.linspace(0.2, 0.9, 50):
            hand.send(six(value), 0)
        assert len(line.frames) == n_frames
        sent = in_flight(hand)[0].number
        line.say(b"! %d" % sent)
        until(lambda: len(line.frames) == n_frames + 1)
        assert line.positions()[-1] == "0.9"
        assert hand.counters.acknowledged >= 2


def test_an_answer_answers_all_before_it_and_one_that_answers_nothing_is_none() -> None:
    line = Line(acknowledging)
    with connected(linked(line, **unmeasured())) as hand:
        line.answer = lambda frame: None
        until(lambda: len(in_flight(hand)) == 3)
        first, last = in_flight(hand)[0].number, in_flight(hand)[-1].number
        assert first is not None
        line.say(b"! %d" % (first - 1))
        line.say(b"nonsense")
        until(lambda: hand.counters.bad_frames == 1)
        assert len(in_flight(hand)) == 3
        line.say(b"! %d" % last)
        until(lambda: not in_flight(hand) or in_flight(hand)[0].number != first)
        assert all(sent.number is not None and sent.number > (last or 0) for sent in list(in_flight(hand)))


def test_a_position_that_waited_too_long_is_dropped_and_never_sent() -> None:
    clock = Clock()
    line = Line(acknowledging)
    with connected(linked(line, lambda: Words(1), clock_ns=clock, **unmeasured())) as hand:
        line.answer = lambda frame: None
        clock.pass_s(0.1)
        until(lambda: len(in_flight(hand)) == 1)
        hand.send(six(0.7), clock.ns)
        clock.pass_s(0.2)
        line.answer = acknowledging
        line.say(b"!")
        until(lambda: hand.counters.expired == 1)
        assert hand.counters.dropped == 1
        hand.send(six(0.8), clock.ns)
        until(lambda: "0.8" in line.positions())
    assert "0.7" not in line.positions()


def test_a_frame_that_is_not_answered_is_given_up_and_the_newest_position_sent_again() -> None:
    clock = Clock()
    line = Line(reporting)
    with connected(linked(line, lambda: Words(1), clock_ns=clock, answer_timeout_s=0.03)) as hand:
        until(lambda: not in_flight(hand))
        line.answer = lambda frame: None
        hand.send(six(0.4), clock.ns)
        until(lambda: line.positions() == ["0.4"])
        clock.pass_s(0.04)
        until(lambda: line.positions() == ["0.4", "0.4"])
        hand.send(six(0.6), clock.ns)
        clock.pass_s(0.04)
        until(lambda: line.positions() == ["0.4", "0.4", "0.6"])
        assert hand.counters.unanswered == 2
        clock.pass_s(0.12)  # too old by now: the hand is only asked
        until(lambda: hand.counters.unanswered == 3 and line.frames[-1].startswith(b"a"))
        clock.pass_s(0.04)
        until(lambda: hand.counters.expired == 1)
    assert line.positions() == ["0.4", "0.4", "0.6"]


def test_where_the_wire_loses_nothing_no_frame_is_given_up() -> None:
    clock = Clock()
    line = Line(reporting)
    with connected(linked(line, lambda: Words(1), clock_ns=clock)) as hand:
        until(lambda: not in_flight(hand))
        line.answer = lambda frame: None
        hand.send(six(0.4), clock.ns)
        until(lambda: line.positions() == ["0.4"])
        clock.pass_s(10.0)
        line.say(b"at 0.1")
        until(lambda: hand.state is not None and hand.state.reported_ns == clock.ns)
        assert (len(in_flight(hand)), hand.counters.unanswered) == (1, 0)


def test_a_hand_whose_answers_tell_no_position_is_asked_between_positions() -> None:
    clock = Clock()
    line = Line(lambda frame: b"is 0.1" if frame.startswith(b"a") else b"!")
    with connected(linked(line, lambda: Words(1), clock_ns=clock)) as hand:
        n_asked = sum(frame.startswith(b"a") for frame in line.frames)
        for i in range(6):
            n_sent = len(line.positions())
            hand.send(six(0.1 * i), clock.ns)
            until(lambda n_sent=n_sent: len(line.positions()) == n_sent + 1)  # type: ignore[misc]
            clock.pass_s(0.06)
        assert sum(frame.startswith(b"a") for frame in line.frames) >= n_asked + 2
        assert hand.counters.dropped == 0


# A hand that never answers


def test_where_nothing_is_answered_each_write_is_waited_for_and_shows_that_it_is_there() -> None:
    line = Line()
    line.knows_arrival = True
    with connected(linked(line, lambda: Words(0), **unmeasured())) as hand:
        line.may_arrive.clear()
        hand.send(six(0.1), 0)
        until(lambda: bool(line.positions()) or not hand._slot.is_empty)
        for value in (0.2, 0.3, 0.4):
            hand.send(six(value), 0)
        assert len(line.positions()) <= 1
        line.may_arrive.set()
        until(lambda: line.positions()[-1:] == ["0.4"])
        until(lambda: len(hand.round_trips_s()) >= 1)
        assert "0.3" not in line.positions()
        assert hand.counters.losses == 0


def test_a_write_that_never_arrives_is_a_lost_link() -> None:
    line = Line()
    line.knows_arrival = True
    with connected(linked(line, lambda: Words(0), link_timeout_s=0.3, **unmeasured())) as hand:
        line.may_arrive.clear()
        until(lambda: hand.counters.losses == 1)
        line.may_arrive.set()
        until(lambda: hand.link is LinkState.CONNECTED)
        assert hand.counters.connections >= 2


def test_where_no_write_tells_that_it_arrived_what_the_hand_says_shows_that_it_is_there() -> None:
    line = Line()
    with connecting(linked(line, lambda: Words(0))) as hand:
        until(lambda: len(line.frames) >= 1)
        assert hand.link is LinkState.CONNECTING
        line.say(b"at 0.5")


# Losing it


def test_a_hand_that_falls_silent_is_lost_at_the_moment_and_connected_again() -> None:
    clock = Clock()
    line = Line(reporting)
    with connected(linked(line, clock_ns=clock, link_timeout_s=0.3)) as hand:
        line.answer = lambda frame: None
        clock.pass_s(0.3)
        assert hand.link is LinkState.LOST, "judged when asked, though the link's thread has not run"
        until(lambda: hand.counters.losses == 1)
        line.answer = reporting
        until(lambda: hand.link is LinkState.CONNECTED)
        assert (hand.counters.connections, line.opened) == (2, line.closed + 1)


def test_a_hand_that_reports_but_answers_nothing_is_lost_too() -> None:
    clock = Clock()
    line = Line(reporting)
    with connected(linked(line, clock_ns=clock, link_timeout_s=0.3)) as hand:
        line.answer = lambda frame: None
        clock.pass_s(0.1)
        until(lambda: len(in_flight(hand)) > 0)
        for _ in range(5):
            clock.pass_s(0.06)
            line.say(b"at 0.1")
        until(lambda: hand.counters.losses == 1)


def test_a_connection_that_ends_is_lost_at_once_and_what_waits_is_dropped() -> None:
    line = Line(reporting)
    with connected(linked(line)) as hand:
        line.fails = LinkError("unplugged")
        line.cut("the port is gone")
        until(lambda: hand.link is LinkState.LOST)
        assert hand.counters.losses == 1
        before = hand.counters.dropped
        hand.send(six(0.1), 0)
        assert hand.counters.dropped == before + 1
        line.fails = None
        until(lambda: hand.link is LinkState.CONNECTED)
    assert line.positions() == []


def test_a_dialect_that_breaks_ends_the_connection_and_not_the_link() -> None:
    line = Line(reporting)
    with connected(linked(line)) as hand:
        line.say(b"break")
        until(lambda: hand.counters.losses == 1)
        until(lambda: hand.link is LinkState.CONNECTED)


def test_what_still_comes_of_a_connection_that_was_given_up_makes_nothing_look_alive() -> None:
    clock = Clock()
    line = Line(reporting)
    with connected(linked(line, clock_ns=clock, link_timeout_s=0.3)) as hand:
        old = line.wire
        assert old is not None
        line.fails = LinkError("away")
        clock.pass_s(0.3)
        until(lambda: hand.counters.losses == 1)
        clock.pass_s(0.1)
        tried = line.opened
        old.loop.call_soon_threadsafe(old.on_data, b"is 0.9")
        until(lambda: line.opened > tried)
        assert hand.link is LinkState.LOST
        assert hand.state is not None
        assert hand.state.positions[0] == np.float32(0.25)


def test_it_is_lost_before_the_wire_is_closed_which_may_take_its_time() -> None:
    line = Line(reporting)
    line.may_close.clear()
    with connected(linked(line)) as hand:
        line.cut("gone")
        until(lambda: hand.link is LinkState.LOST)
        assert line.closed == 0
        line.may_close.set()


def test_a_hand_that_is_closed_while_its_wire_closes_leaves_none_half_closed() -> None:
    line = Line(reporting)
    line.may_close.clear()
    hand = linked(line)
    hand.connect(PATIENCE_S)
    line.cut("gone")
    until(lambda: hand.link is LinkState.LOST)
    closing = threading.Thread(target=hand.close)
    closing.start()
    assert hand._thread is not None
    until(hand._thread.closing.is_set)
    assert line.wire is not None
    asyncio.run_coroutine_threadsafe(asyncio.sleep(0.01), line.wire.loop).result()  # the link has heard of it
    line.may_close.set()
    closing.join()
    assert (line.opened, line.closed) == (1, 1)


# What it says


def test_what_it_said_stands_until_it_says_otherwise_or_the_connection_is_a_new_one() -> None:
    line = Line(lambda frame: acknowledging(frame))
    with connecting(linked(line)) as hand:
        until(lambda: len(line.frames) >= 1)
        line.say(b"fault worn")
        line.say(b"at 0.5")
        until(lambda: hand.state is not None)
        assert hand.state is not None
        assert (hand.state.fault, hand.state.hot, hand.state.positions[0]) == ("worn", True, np.float32(0.5))
        line.say(b"at 0.6")
        until(lambda: hand.state is not None and hand.state.positions[0] == np.float32(0.6))
        assert hand.state.fault == "worn"
        line.say(b"is 0.7")
        until(lambda: hand.state is not None and hand.state.fault == "")
        line.say(b"fault again")
        until(lambda: hand.state is not None and hand.state.fault == "again")
        line.cut("")
        until(lambda: hand.counters.losses == 1)
        until(lambda: line.opened == 2)
        line.say(b"at 0.1")
        until(lambda: hand.link is LinkState.CONNECTED)
        assert hand.state.fault == ""


def test_garbage_is_counted() -> None:
    line = Line(reporting)
    with connected(linked(line)) as hand:
        line.say(b"\xff\xff\xff")
        until(lambda: hand.counters.bad_frames == 1)
        assert hand.counters.skipped_bytes == 3
        assert hand.link is LinkState.CONNECTED


# Its own grips


def test_grips_wait_where_positions_do_and_the_newest_of_both_wins() -> None:
    line = Line(reporting)
    with connected(linked(line)) as hand:
        hand.grip("hook", 0.5, 0)
        until(lambda: line.frames[-1].endswith(b"hook 0.5"))
        line.answer = lambda frame: None
        until(lambda: len(in_flight(hand)) == 3)
        hand.grip("point", 1.0, 0)
        hand.send(six(0.3), 0)
        line.answer = reporting
        line.say(b"!")
        until(lambda: line.positions() == ["0.3"])
    assert not any(b"point" in frame for frame in line.frames)


@pytest.mark.parametrize(
    ("grip", "speed", "said"),
    [("wave", 1.0, "no grip 'wave': point, hook"), ("hook", 1.5, "speed of grip hook is 1.5: give 0 to 1")],
)
def test_a_grip_that_it_does_not_have_is_refused(grip: str, speed: float, said: str) -> None:
    with pytest.raises(NervehandError, match=said):
        linked(Line()).grip(grip, speed, 0)


def test_a_map_may_take_from_a_hands_reach_and_never_add() -> None:
    bent = within_reach(HAND, JointMap((Joint("f", "deg", 0.0, 1.0, None, {"index": 1.0}),)))
    np.testing.assert_array_equal(bent.lower, np.zeros(6))
    np.testing.assert_array_equal(bent.upper, [0, 1, 0, 0, 0, 0])
    few = replace(HAND, upper=six(0.5))
    np.testing.assert_array_equal(within_reach(few, JOINTS).upper, six(0.5))
    assert Quantity.POSITION in bent.measures
