"""ROHand's command set: bytes as its documents have them, and what each answer tells."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from firmware_bridge.emulators.hands.rohand import RohandDevice
from firmware_bridge.errors import NervehandError
from firmware_bridge.hands._checked_frames import FrameStream
from firmware_bridge.hands._dialect import REFUSAL_READINGS, Report
from firmware_bridge.hands._rohand import (
    ERRORS,
    RohandDialect,
    answer_shape,
    encode,
    lrc,
)
from tests.firmware_bridge.hands.serial_talk import Talk

MOVE_ALL = bytes.fromhex("55aa020150121027ff1027ff1027ff1027ff1027ff1027ff41")
MOVED = bytes.fromhex("55aa0102500053")
WRONG_CHECKSUM = bytes.fromhex("55aa0102d00101d3")
"""The examples of OHandSerialProtocol_EN.md, section 3."""

OPEN = np.zeros(6)


def answer(command: int, data: bytes) -> bytes:
    body = bytes([1, 2, command, len(data)]) + data
    return b"\x55\xaa" + body + bytes([lrc(body)])


def state(
    positions: tuple[int, ...] = (0,) * 6,
    currents: tuple[int, ...] = (0,) * 6,
    status: tuple[int, ...] = (2,) * 6,
) -> bytes:
    words = b"".join(value.to_bytes(2, "little") for value in (*positions, *currents))
    return answer(0x5F, words + bytes(status))


def only(reports: list[Report]) -> Report:
    (report,) = reports
    return report


def test_the_documents_example_frames_are_ours() -> None:
    assert encode(2, 0x50, bytes.fromhex("1027ff") * 6) == MOVE_ALL
    assert FrameStream(answer_shape(2)).feed(MOVED) == [MOVED]
    assert FrameStream(answer_shape(2)).feed(WRONG_CHECKSUM) == [WRONG_CHECKSUM]


def test_moving_sets_all_positions_and_asks_for_positions_currents_and_status() -> None:
    # Flags 0x02 set positions, 0x08 | 0x20 | 0x80 read: ohand_serial_sdk, example/custom_cmd_test.
    frame = RohandDialect(2).move(np.array([0, 1, 256, 32767.4, 65535, 99999.0]), 0, 0)
    assert frame[:-1] == bytes.fromhex("55aa02015f0daa") + bytes.fromhex("0000 0100 0001 ff7f ffff ffff")
    assert frame[-1] == lrc(frame[2:-1])


def test_asking_moves_nothing() -> None:
    dialect = RohandDialect(7)
    dialect.begin()
    for reply in ("0003", "35010103", ""):
        command = {"0003": 0, "35010103": 1, "": 0x5F}[reply]
        body = bytes([1, 7, command, len(bytes.fromhex(reply))]) + bytes.fromhex(reply)
        dialect.receive(b"\x55\xaa" + body + bytes([lrc(body)]))
    assert dialect.ask(0, 0) == encode(7, 0x5F, b"\xa8")


@given(
    positions=st.tuples(*[st.integers(0, 65535)] * 6),
    currents=st.tuples(*[st.integers(0, 65535)] * 6),
    status=st.tuples(*[st.integers(0, 5)] * 6),
)
def test_a_state_is_read_as_it_was_written(
    positions: tuple[int, ...], currents: tuple[int, ...], status: tuple[int, ...]
) -> None:
    report = only(RohandDialect(2).receive(state(positions, currents, status)))
    assert report.joints is not None
    assert report.currents_a is not None
    assert report.joints.tolist() == list(positions)
    np.testing.assert_allclose(report.currents_a, np.array(currents) / 1000)
    assert report.stalled == bool({3, 5} & set(status))
    assert report.fault == ""
    assert report.hot is None
    assert report.temperature_c is None
    assert report.forces_n is None
    assert report.battery is None


def test_a_status_that_the_document_does_not_name_is_a_fault() -> None:
    report = only(RohandDialect(2).receive(state(status=(2, 2, 9, 2, 2, 2))))
    assert report.fault == "a motor's status is 9, which its document does not name"


@pytest.mark.parametrize("code", [*(set(ERRORS) - {0x23}), 0x77])
def test_a_refused_move_is_a_fault_until_it_has_been_seen(code: int) -> None:
    dialect = RohandDialect(2)
    dialect.move(OPEN, 0, 0)
    report = only(dialect.receive(answer(0xDF, bytes([code]))))
    why = ERRORS.get(code, "error 0x77, which its document does not name")
    assert report.fault == f"it does not move: {why}"
    faults = []
    for _ in range(REFUSAL_READINGS + 2):
        dialect.ask(0, 0)
        faults.append(only(dialect.receive(state())).fault)
    assert faults == [report.fault] * REFUSAL_READINGS + [""] * 2


def test_a_move_that_succeeds_ends_the_fault_of_the_one_before() -> None:
    dialect = RohandDialect(2)
    dialect.move(OPEN, 0, 0)
    assert only(dialect.receive(answer(0xDF, b"\x31"))).fault
    dialect.move(OPEN, 1, 0)
    assert only(dialect.receive(state())).fault == ""


def test_a_move_refused_for_a_stuck_motor_is_a_stall() -> None:
    dialect = RohandDialect(2)
    dialect.move(OPEN, 0, 0)
    report = only(dialect.receive(answer(0xDF, b"\x23")))
    assert report.stalled is True
    assert report.fault is None
    dialect.ask(1, 0)
    assert only(dialect.receive(state())).stalled is True


def test_a_refusal_for_a_wrong_checksum_answers_nothing_so_that_the_frame_is_sent_again() -> None:
    dialect = RohandDialect(2)
    dialect.move(OPEN, 0, 0)
    assert dialect.receive(answer(0xDF, b"\x01")) == []
    assert dialect.bad_frames == 1


@pytest.mark.parametrize(
    ("reply", "why"),
    [
        (answer(0, bytes([0, 2])), "it speaks protocol 2.0, not 3.x"),
        (
            answer(1, bytes([140, 0, 0, 3])),
            "its firmware is V3.0-140: update it to V3.0-168 or later",
        ),
        (answer(0xDF, b"\x12"), "it refuses command 0x5F: the command has another length"),
        (
            answer(0x80, b"\x22"),
            "it refuses command 0x00: it waits for its calibration, which needs the maker's tool",
        ),
    ],
)
def test_a_hand_that_cannot_be_used_says_why(reply: bytes, why: str) -> None:
    dialect = RohandDialect(2)
    dialect.begin()
    assert only(dialect.receive(reply)).misfit == why


def test_a_hand_that_still_initialises_is_greeted_again() -> None:
    dialect = RohandDialect(2)
    version, firmware, speed = dialect.begin()
    assert only(dialect.receive(answer(0x80, b"\x21"))).fault == (
        "it does not answer as it should: it is still initialising"
    )
    assert dialect.ask(0, 0) == version
    dialect.receive(answer(0, bytes([0, 3])))
    assert dialect.ask(1, 0) == firmware
    dialect.receive(answer(1, bytes([0x35, 1, 1, 3])))
    assert dialect.ask(2, 0) == speed
    dialect.receive(answer(0x5F, b""))
    assert dialect.ask(3, 0) == encode(2, 0x5F, b"\xa8")


@pytest.mark.parametrize(
    "strange",
    [
        answer(0x5F, bytes(29)),
        answer(0x50, b""),
        answer(0x00, b"\x03"),
        answer(0x01, b"\x03"),
        answer(0xDF, b""),
        answer(0xD0, b"\x31"),
    ],
)
def test_an_answer_to_no_question_of_ours_is_counted_and_says_nothing(strange: bytes) -> None:
    dialect = RohandDialect(2)
    assert dialect.receive(strange) == []
    assert dialect.bad_frames == 1


@pytest.mark.parametrize("ids", [(2, 1), (1, 3), (3, 2)])
def test_what_others_say_on_the_line_and_our_own_echo_are_not_heard(ids: tuple[int, int]) -> None:
    body = bytes([*ids, 0x5F, 0])
    dialect = RohandDialect(2)
    assert dialect.receive(b"\x55\xaa" + body + bytes([lrc(body)])) == []
    assert dialect.skipped_bytes > 0


def test_it_has_no_grips() -> None:
    with pytest.raises(NervehandError, match="no grip 'fist'"):
        RohandDialect(2).grip("fist", 1.0, 0, 0)


def talk() -> Talk:
    one = Talk(RohandDialect(2), RohandDevice(0))
    one.greet()
    return one


def test_with_the_emulated_hand_every_move_is_answered_by_the_whole_state() -> None:
    one = talk()
    target = np.array([65535, 30000, 0, 1, 65535, 65535.0])
    reports = one.move(target, exchanges=200)
    assert all(report.joints is not None and report.currents_a is not None for report in reports)
    assert one.told.joints is not None
    np.testing.assert_allclose(one.told.joints, target, atol=1)
    assert (one.told.stalled, one.told.fault) == (False, "")
    assert one.dialect.bad_frames == one.dialect.skipped_bytes == 0


def test_full_range_takes_a_second_at_the_speed_that_the_greeting_asks_for() -> None:
    one = talk()
    one.move(np.full(6, 65535.0), exchanges=50)
    assert one.told.joints is not None
    np.testing.assert_allclose(one.told.joints, 0.5 * 65535, rtol=0.03)


def test_a_stall_is_told_with_its_current() -> None:
    one = talk()
    one.ask()
    assert one.told.currents_a is not None
    at_rest = one.told.currents_a.max()
    one.device.obey("stall", one.now_ns)
    one.move(np.full(6, 65535.0))
    assert one.told.stalled is True
    assert one.told.currents_a.min() > 0.5 > at_rest
    one.device.obey("clear", one.now_ns)
    one.move(np.full(6, 65535.0), exchanges=200)
    assert one.told.stalled is False


def test_a_fault_is_told_when_it_is_to_move() -> None:
    one = talk()
    one.ask()
    one.device.obey("fault", one.now_ns)
    one.ask()
    assert one.told.fault == ""
    one.move(OPEN)
    assert one.told.fault == "it does not move: the operation failed"


def test_where_it_strays_to_is_told() -> None:
    one = talk()
    one.device.obey("stray", one.now_ns)
    one.move(OPEN, exchanges=100)
    assert one.told.joints is not None
    assert (one.told.joints > 30000).all()
