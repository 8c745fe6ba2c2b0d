"""The virtual hand's command set as the link speaks it: which hand it is, which frame an answer answers."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from firmware_bridge.errors import NervehandError
from firmware_bridge.hands import virtual_protocol as protocol
from firmware_bridge.hands._dialect import Report
from firmware_bridge.hands._virtual import VirtualDialect
from firmware_bridge.hands.virtual_protocol import VIRTUAL_HAND, StateFrame

INFO = protocol.encode_info(VIRTUAL_HAND)
WHERE = np.array([0, 0.5, 1, -1, -0.25, 0.1], np.float32)


def state(sequence: int, **flags: bool) -> bytes:
    said = {"watchdog_tripped": False, "fault": False} | flags
    return protocol.encode_state(StateFrame(sequence, WHERE, accepted=0, rejected=0, **said))


def begun(sequence: int = 0) -> VirtualDialect:
    """A dialect that has met the hand, whose last frame had this sequence number."""
    dialect = VirtualDialect()
    assert dialect.begin() == ()
    assert list(dialect.receive(INFO)) == []
    (report,) = dialect.receive(state(sequence))
    assert (report.is_answer, report.answers) == (False, None)
    return dialect


def only(reports: Iterable[Report]) -> Report:
    (report,) = reports
    return report


def test_it_goes_on_with_the_number_after_the_hands_last() -> None:
    dialect = begun(sequence=41)
    ask = protocol.decode_command(dialect.ask(7, 5_000_000))
    assert (ask.sequence, ask.positions, ask.sent_ms) == (42, None, 5)
    move = protocol.decode_command(dialect.move(WHERE.astype(np.float64), 8, 70_000_000_000))
    assert (move.sequence, move.sent_ms) == (43, 70_000 % 65536)
    np.testing.assert_allclose(move.positions, WHERE, atol=1e-4)


@given(
    sequence=st.integers(0, 65535), first=st.integers(0, 10**9), n=st.integers(1, 8), back=st.integers(0, 7)
)
def test_a_state_answers_the_frame_whose_sequence_it_repeats(
    sequence: int, first: int, n: int, back: int
) -> None:
    dialect = begun(sequence)
    for number in range(first, first + n):
        dialect.ask(number, 0)
    back %= n
    report = only(dialect.receive(state((sequence + n - back) % 65536)))
    assert (report.is_answer, report.answers) == (True, first + n - 1 - back)


def test_a_state_that_was_on_its_way_answers_nothing_that_was_sent() -> None:
    dialect = begun(sequence=41)
    dialect.ask(7, 0)
    answers = only(dialect.receive(state(41))).answers
    assert answers is not None
    assert answers < 7


def test_it_tells_where_the_hand_is_and_how_it_is() -> None:
    dialect = begun()
    report = only(dialect.receive(state(0, hot=True, stalled=True, fault=True, watchdog_tripped=True)))
    assert report.joints is not None
    np.testing.assert_allclose(report.joints, WHERE, atol=1e-4)
    assert (report.hot, report.stalled, report.watchdog_tripped) == (True, True, True)
    assert report.fault == "the hand reports a fault"
    report = only(dialect.receive(state(0)))
    assert (report.hot, report.stalled, report.watchdog_tripped, report.fault) == (False, False, False, "")


def test_another_hand_or_none_at_all_does_not_fit() -> None:
    other = protocol.encode_info(replace(VIRTUAL_HAND, watchdog_s=0.5))
    assert "use the right capabilities" in only(VirtualDialect().receive(other)).misfit
    assert "bytes" in only(VirtualDialect().receive(b"\x01\x02")).misfit
    assert list(VirtualDialect(replace(VIRTUAL_HAND, watchdog_s=0.5)).receive(other)) == []


def test_a_state_that_is_damaged_is_counted_and_tells_nothing() -> None:
    dialect = begun()
    assert list(dialect.receive(state(1)[:-1])) == []
    assert list(dialect.receive(bytes(20))) == []
    assert dialect.bad_frames == 2


def test_a_new_connection_begins_anew() -> None:
    dialect = begun(sequence=41)
    dialect.ask(7, 0)
    assert dialect.begin() == ()
    assert "bytes" in only(dialect.receive(state(0))).misfit, "the info comes first again"


def test_it_has_no_grips() -> None:
    with pytest.raises(NervehandError, match="no grip 'fist'"):
        begun().grip("fist", 1.0, 0, 0)
