"""Which command a hand's movement began with, and when the hand first said so: nothing rather than the wrong one."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from firmware_bridge.hand import HandState
from firmware_bridge.movement_trace import (
    GIVEN_UP_S,
    LEAVES,
    MOVED,
    STILL_BAND,
    STILL_S,
    Moved,
    MovementTrace,
)

MS = 1_000_000
NAN = math.nan


@dataclass
class Hand:
    """Tells a trace what the ring finger is sent to and where it is; the others do not move."""

    trace: MovementTrace = field(default_factory=MovementTrace)
    now_ns: int = 10**9
    moved: list[Moved] = field(default_factory=list)

    def says(self, *there: float, every_ms: float = 10) -> Hand:
        for place in there:
            self.now_ns += round(every_ms * MS)
            positions = np.array([0, 0.3, NAN, place, 0, 0])
            found = self.trace.reported(HandState(positions, self.now_ns))
            self.moved += [found] if found else []
        return self

    def stands(self, place: float = 0.0, seconds: float = 0.3) -> Hand:
        return self.says(*[place] * round(seconds * 100))

    def sent(self, index: int, aim: float) -> Hand:
        self.trace.sent(index, self.now_ns, (0, 0.3, 0, aim, 0, 0))
        return self

    def indices(self) -> list[int]:
        return [one.sample_index for one in self.moved]


def settled(place: float = 0.0) -> Hand:
    return Hand().stands(place, 0.1).sent(1, place).stands(place)


def test_the_first_report_beyond_the_band_is_told_once_with_the_first_command() -> None:
    hand = settled().sent(2, 0.5)
    sent_ns = hand.now_ns
    hand.says(0.0).sent(3, 0.6).says(0.02).sent(4, 0.6)
    assert hand.moved == []
    hand.says(0.0201)
    assert hand.moved == [Moved(2, sent_ns, sent_ns + 30 * MS)]
    hand.sent(5, 0.6).says(0.1, 0.3, 0.6).sent(6, 0.6).stands(0.6).sent(7, 0.6).stands(0.6)
    assert hand.indices() == [2]
    assert not hand.trace.is_awaiting


@pytest.mark.parametrize("sign", [1, -1])
def test_each_movement_from_a_standstill_is_told(sign: int) -> None:
    hand = settled()
    for index in range(10, 15):
        there = 0.0 if index % 2 else 0.4 * sign
        hand.sent(index, there).says(there).sent(index + 100, there).stands(there)
    assert hand.indices() == [10, 11, 12, 13, 14]


@pytest.mark.parametrize(("aim", "begins"), [(LEAVES, False), (LEAVES + 1e-9, True)])
@pytest.mark.parametrize("sign", [1, -1])
def test_a_target_that_does_not_leave_by_enough_begins_nothing(aim: float, begins: bool, sign: int) -> None:
    hand = settled().sent(2, aim * sign)
    assert hand.trace.is_awaiting is begins
    assert hand.says(0.049 * sign).indices() == ([2] if begins else [])


@pytest.mark.parametrize(("there", "is_told"), [(MOVED, False), (MOVED + 1e-9, True), (-0.5, False)])
@pytest.mark.parametrize("sign", [1, -1])
def test_a_movement_is_towards_the_target(there: float, is_told: bool, sign: int) -> None:
    assert settled().sent(2, 0.5 * sign).says(there * sign).indices() == ([2] if is_told else [])


@pytest.mark.parametrize(("still_ms", "begins"), [(STILL_S * 1000 - 0.001, False), (STILL_S * 1000, True)])
def test_a_hand_that_has_not_stood_still_for_long_begins_nothing(still_ms: float, begins: bool) -> None:
    hand = settled().says(0.2).says(0.2, every_ms=still_ms).sent(2, 0.5)
    assert hand.trace.is_awaiting is begins


@pytest.mark.parametrize(("drift", "begins"), [(STILL_BAND, True), (STILL_BAND + 1e-9, False)])
def test_still_is_within_a_band(drift: float, begins: bool) -> None:
    hand = settled().says(drift).sent(2, 0.5)
    assert hand.trace.is_awaiting is begins


def test_a_hand_that_creeps_does_not_stand_still() -> None:
    hand = settled().says(*[0.002 * i for i in range(100)]).sent(2, 0.6)
    assert not hand.trace.is_awaiting


def test_a_report_from_before_it_was_sent_says_nothing_about_it() -> None:
    hand = settled()
    hand.trace.sent(2, hand.now_ns + 10 * MS, (0, 0.3, 0, 0.5, 0, 0))
    assert hand.says(0.3).moved == []
    assert hand.says(0.3).indices() == [2]


def test_the_same_report_again_says_nothing_new() -> None:
    hand = settled().sent(2, 0.5)
    here = HandState(np.array([0, 0.3, NAN, 0.5, 0, 0]), hand.now_ns)
    assert hand.trace.reported(here) is None
    assert hand.says(0.5).indices() == [2]


def test_a_target_that_comes_back_before_the_hand_has_moved_began_nothing() -> None:
    hand = settled().sent(2, 0.5).says(0.0).sent(3, 0.01).says(0.3)
    assert hand.moved == []
    hand = settled().sent(2, 0.5).sent(3, 0.05).stands().sent(4, 0.5).says(0.1)
    assert hand.indices() == [4]


def test_a_target_on_the_other_side_is_another_movement() -> None:
    assert settled().sent(2, 0.5).sent(3, -0.5).says(-0.1).indices() == [3]
    assert settled().sent(2, 0.5).sent(3, -0.5).says(0.1).indices() == []


def test_a_hand_that_does_not_move_is_given_up_and_what_moves_it_later_is_not_that() -> None:
    hand = settled().sent(2, 0.5).stands(0.0, GIVEN_UP_S).sent(3, 0.5)
    assert not hand.trace.is_awaiting
    assert hand.sent(4, 0.52).says(0.5).moved == []
    hand = settled().sent(2, 0.5).stands(0.0, GIVEN_UP_S - 0.01).sent(3, 0.5).says(0.3)
    assert hand.indices() == [2]


def test_a_hand_that_stands_away_from_its_target_begins_nothing_until_the_target_changes() -> None:
    """As one that is held up, or whose positions are not exact."""
    hand = settled().sent(2, 0.5).says(0.3).stands(0.4).sent(3, 0.5).sent(4, 0.54).stands(0.4)
    assert hand.sent(5, 0.44).stands(0.4).indices() == [2]
    assert not hand.trace.is_awaiting
    assert hand.sent(6, 0.2).says(0.3).indices() == [2, 6]


def test_a_target_that_moves_away_slowly_begins_with_the_command_that_leaves() -> None:
    hand = settled()
    for index, aim in enumerate((0.02, 0.04, 0.05, 0.06, 0.08), 10):
        hand.sent(index, aim).says(0.0)
    assert hand.says(0.1).indices() == [13]


def test_what_is_sent_for_another_reason_ends_it_and_is_where_the_hand_stands_for() -> None:
    hand = settled().sent(2, 0.5)
    hand.trace.stopped((0, 0.3, 0, 0.1, 0, 0))
    assert not hand.trace.is_awaiting
    assert hand.says(0.3).moved == []
    hand.stands(0.3)  # held up on its way to 0.5
    hand.trace.stopped((0, 0.3, 0, 0.5, 0, 0))
    assert hand.sent(3, 0.5).says(0.4).moved == []
    hand.stands(0.4).sent(4, 0.2).says(0.3)
    assert hand.indices() == [4]


def test_after_nothing_was_sent_the_place_alone_counts() -> None:
    hand = Hand().stands()
    hand.trace.stopped()
    assert hand.sent(2, 0.5).says(0.1).indices() == [2]


def test_a_degree_of_freedom_that_is_not_measured_begins_nothing() -> None:
    hand = settled()
    hand.trace.sent(2, hand.now_ns, (0, 0.3, 0.9, 0, 0, 0))
    assert not hand.trace.is_awaiting
    hand.trace.sent(3, hand.now_ns, (0, 0.3, 0.9, 0.5, 0, 0))
    assert hand.says(0.3).indices() == [3]


def test_one_that_begins_to_be_measured_has_not_stood_still() -> None:
    trace = MovementTrace()
    for i in range(1, 30):
        trace.reported(HandState(np.full(6, NAN), i * 10 * MS))
    trace.sent(1, 300 * MS, (0.0,) * 6)
    trace.reported(HandState(np.zeros(6), 310 * MS))
    trace.sent(2, 310 * MS, (0.5,) * 6)
    assert not trace.is_awaiting


@pytest.mark.parametrize("positions", [np.full(6, NAN), np.zeros(0), np.zeros(5)])
def test_a_hand_without_positions_gives_none(positions: np.ndarray) -> None:
    trace = MovementTrace()
    for i in range(1, 100):
        assert trace.reported(HandState(positions, i * 10 * MS)) is None
        trace.sent(i, i * 10 * MS, (0.9 * (i // 30 % 2),) * 6)
        assert not trace.is_awaiting


def test_a_hand_that_has_said_nothing_begins_nothing() -> None:
    trace = MovementTrace()
    trace.sent(1, 10**12, (0.9,) * 6)
    assert not trace.is_awaiting


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["send", "send", "report", "report", "report", "stop", "nothing"]),
            st.sampled_from([0.0, 0.01, 0.04, 0.3, -0.3, 0.9, NAN]),
            st.integers(1, 400),
        ),
        max_size=60,
    )
)
@settings(max_examples=300)
def test_what_is_told_was_sent_to_a_hand_that_stood_still_and_moved_after_it(
    steps: list[tuple[str, float, int]],
) -> None:
    """Whatever comes: each told once, later than the one before, with a place then and a place now that differ."""
    trace, now_ns = MovementTrace(), 10**9
    reports: list[tuple[int, float]] = []
    aims: dict[int, tuple[int, float]] = {}
    told: list[Moved] = []
    for index, (what, value, wait_ms) in enumerate(steps):
        now_ns += wait_ms * MS
        if what == "send" and value == value:
            aims[index] = (now_ns, value)
            trace.sent(index, now_ns, (value,) * 6)
        elif what == "report":
            reports.append((now_ns, value))
            moved = trace.reported(HandState(np.full(6, value), now_ns))
            told += [moved] if moved else []
        elif what == "stop" and value == value:
            trace.stopped((value,) * 6)
        elif what == "nothing":
            trace.stopped()
    for one in told:
        sent_ns, aim = aims[one.sample_index]
        assert one.sent_ns == sent_ns < one.reported_ns
        place = [there for at, there in reports if at <= sent_ns][-1]
        now = dict(reports)[one.reported_ns]
        assert abs(aim - place) > LEAVES
        assert (now - place) * (aim - place) > 0
        assert abs(now - place) > MOVED
        stood = [there for at, there in reports if sent_ns - STILL_S * 10**9 <= at <= sent_ns]
        assert not stood or max(stood) - min(stood) <= 2 * STILL_BAND
    assert [one.reported_ns for one in told] == sorted({one.reported_ns for one in told})
    assert len({one.sample_index for one in told}) == len(told)
