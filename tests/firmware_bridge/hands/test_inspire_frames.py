"""Inspire RH56's command set: bytes as its manual has them, and what each answer tells."""

from __future__ import annotations

import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from firmware_bridge.emulators.hands.inspire import InspireDevice
from firmware_bridge.errors import NervehandError
from firmware_bridge.hands._checked_frames import FrameStream
from firmware_bridge.hands._dialect import Report
from firmware_bridge.hands._inspire import CLEAR_EVERY, InspireDialect, answer_shape, encode
from tests.firmware_bridge.hands.serial_talk import Talk

READ_ANGLES = bytes.fromhex("eb900104110a060c32")
WRITE_ANGLES = bytes.fromhex("eb90010f12ce056400640064006400d00700005c")
ANGLES = bytes.fromhex("90eb010f110a066400640064006400d007000098")
"""The manual's examples, as clients of it quote them in their tests."""

ANGLE_SET, SPEED_SET, CLEAR_ERROR, ANGLE_ACT, REST = 1486, 1522, 1004, 1546, 1582
OPEN = np.full(6, 1000.0)
NOW = 0


def answer(command: int, address: int, data: bytes, hand_id: int = 1) -> bytes:
    body = bytes([hand_id, len(data) + 3, command]) + address.to_bytes(2, "little") + data
    return b"\x90\xeb" + body + bytes([sum(body) & 0xFF])


TAKEN = answer(0x12, ANGLE_SET, b"\x01")


def angles(values: tuple[int, ...] = (1000,) * 6) -> bytes:
    return answer(0x11, ANGLE_ACT, struct.pack("<6h", *values))


def rest(
    forces: tuple[int, ...] = (0,) * 6,
    currents: tuple[int, ...] = (0,) * 6,
    errors: tuple[int, ...] = (0,) * 6,
    status: tuple[int, ...] = (2,) * 6,
    temperatures: tuple[int, ...] = (30,) * 6,
) -> bytes:
    return answer(0x11, REST, struct.pack("<6h6h6B6B6B", *forces, *currents, *errors, *status, *temperatures))


def only(reports: list[Report]) -> Report:
    (report,) = reports
    return report


def asked(dialect: InspireDialect) -> tuple[int, int]:
    """The command and the address of what is asked next."""
    command, address = struct.unpack_from("<BH", dialect.ask(0, NOW), 4)
    return command, address


def test_the_manuals_example_frames_are_ours() -> None:
    assert encode(1, 0x11, ANGLE_ACT, b"\x0c") == READ_ANGLES
    assert encode(1, 0x12, ANGLE_SET, struct.pack("<6h", 100, 100, 100, 100, 2000, 0)) == WRITE_ANGLES
    assert FrameStream(answer_shape(1)).feed(ANGLES) == [ANGLES]
    report = only(InspireDialect(1).receive(ANGLES))
    assert report.joints is not None
    assert report.joints.tolist() == [100, 100, 100, 100, 2000, 0]


def test_moving_writes_all_angles_and_never_the_minus_one_that_leaves_a_finger_alone() -> None:
    frame = InspireDialect(3).move(np.array([1000, 0, 499.6, -1, 1001, 7]), 0, NOW)
    assert frame == encode(3, 0x12, ANGLE_SET, struct.pack("<6h", 1000, 0, 500, 0, 1000, 7))


def test_the_greeting_sets_full_speed_and_reads() -> None:
    speed, read = InspireDialect(1).begin()
    assert speed == encode(1, 0x12, SPEED_SET, struct.pack("<6h", *[1000] * 6))
    assert read == encode(1, 0x11, REST, bytes([42]))


def test_angles_and_the_rest_are_asked_for_in_turn() -> None:
    dialect = InspireDialect(1)
    dialect.begin()
    assert [asked(dialect) for _ in range(4)] == [(0x11, ANGLE_ACT), (0x11, REST)] * 2


WORDS = st.tuples(*[st.integers(-32768, 32767)] * 6)
BYTES = st.tuples(*[st.integers(0, 255)] * 6)


@given(forces=WORDS, currents=WORDS, errors=BYTES, status=BYTES, temperatures=BYTES)
def test_the_state_is_read_as_it_was_written(
    forces: tuple[int, ...],
    currents: tuple[int, ...],
    errors: tuple[int, ...],
    status: tuple[int, ...],
    temperatures: tuple[int, ...],
) -> None:
    report = only(InspireDialect(1).receive(rest(forces, currents, errors, status, temperatures)))
    assert report.forces_n is not None
    assert report.currents_a is not None
    np.testing.assert_allclose(report.forces_n, np.array(forces) / 1000 * 9.80665)
    np.testing.assert_allclose(report.currents_a, np.array(currents) / 1000)
    assert report.temperature_c == max(temperatures)
    assert report.hot == any(error & 2 for error in errors)
    assert report.stalled == (any(error & 1 for error in errors) or bool({5, 6} & set(status)))
    assert report.joints is None
    has_fault = any(error & 0xFC for error in errors) or bool(set(status) - {0, 1, 2, 3, 5, 6, 7, 255})
    if has_fault:
        assert report.fault
    elif 7 not in status:
        assert report.fault == ""


@pytest.mark.parametrize(
    ("errors", "status", "fault"),
    [
        ((0, 0, 4, 0, 0, 0), (2,) * 6, "over-current"),
        ((0, 8, 0, 16, 0, 0), (2,) * 6, "motor fault, communication fault"),
        ((0x40, 0, 0, 0, 0, 0), (2,) * 6, "error bits 0x40, which its manual does not name"),
        ((0,) * 6, (2, 7, 2, 2, 2, 2), "a finger stopped with a fault"),
        ((0,) * 6, (2, 4, 2, 2, 2, 2), "a finger's status is 4, which its manual does not name"),
        ((1, 2, 0, 0, 0, 0), (6, 7, 2, 2, 2, 2), ""),
        ((0,) * 6, (255,) * 6, ""),
    ],
)
def test_errors_have_their_names(errors: tuple[int, ...], status: tuple[int, ...], fault: str) -> None:
    assert only(InspireDialect(1).receive(rest(errors=errors, status=status))).fault == fault


@pytest.mark.parametrize(
    "strange",
    [
        answer(0x11, ANGLE_ACT, bytes(11)),
        answer(0x11, REST, bytes(12)),
        answer(0x11, ANGLE_SET, bytes(12)),
        answer(0x12, ANGLE_SET, b"\x00"),
        answer(0x12, ANGLE_SET, b""),
        answer(0x12, ANGLE_ACT, b"\x01"),
        answer(0x10, ANGLE_SET, b"\x01"),
    ],
)
def test_an_answer_to_no_question_of_ours_is_counted_and_says_nothing(strange: bytes) -> None:
    dialect = InspireDialect(1)
    assert dialect.receive(strange) == []
    assert dialect.bad_frames == 1


def test_what_others_say_on_the_line_and_our_own_echo_are_not_heard() -> None:
    dialect = InspireDialect(1)
    assert dialect.receive(answer(0x11, ANGLE_ACT, bytes(12), hand_id=2)) == []
    assert dialect.receive(READ_ANGLES) == []
    assert dialect.skipped_bytes > 0


def test_it_has_no_grips() -> None:
    with pytest.raises(NervehandError, match="no grip 'fist'"):
        InspireDialect(1).grip("fist", 1.0, 0, NOW)


def stalled(angle: int = 600) -> InspireDialect:
    """Connected with a hand whose index has stalled at this angle; nothing has moved yet."""
    dialect = InspireDialect(1)
    dialect.begin()
    dialect.receive(angles((1000, 1000, 1000, angle, 1000, 1000)))
    dialect.receive(rest(errors=(0, 0, 0, 1, 0, 0), status=(2, 2, 2, 6, 2, 2)))
    return dialect


def test_an_error_found_when_connecting_is_cleared_once_the_hand_is_to_stay_where_it_is() -> None:
    dialect = stalled()
    assert dialect.ask(0, NOW) == encode(
        1, 0x12, ANGLE_SET, struct.pack("<6h", 1000, 1000, 1000, 600, 1000, 1000)
    )
    dialect.receive(TAKEN)
    assert asked(dialect) == (0x12, CLEAR_ERROR)
    assert asked(dialect)[0] == 0x11


def test_a_hold_that_got_no_answer_is_written_again_after_a_reading_and_nothing_is_cleared_before() -> None:
    dialect = stalled()
    written = [asked(dialect) for _ in range(6)]
    assert [one for one in written if one[0] == 0x12] == [(0x12, ANGLE_SET)] * 3
    assert [one for one in written if one[0] == 0x11] == [(0x11, ANGLE_ACT), (0x11, REST), (0x11, ANGLE_ACT)]


@pytest.mark.parametrize(
    "answer_of_the_hand", [b"", answer(0x12, ANGLE_SET, b"\x00"), answer(0x12, SPEED_SET, b"\x01")]
)
def test_nothing_is_cleared_while_the_hand_may_still_hold_the_target_that_pushes(
    answer_of_the_hand: bytes,
) -> None:
    """A release was written, and lost: the hand would go on squeezing once its error was cleared."""
    dialect = stalled()
    dialect.move(np.zeros(6), 0, NOW)
    dialect.receive(TAKEN)
    dialect.move(OPEN, 1, NOW)
    dialect.receive(answer_of_the_hand)
    assert {asked(dialect)[0] for _ in range(4)} == {0x11}
    dialect.move(OPEN, 2, NOW)
    dialect.receive(TAKEN)
    assert asked(dialect) == (0x12, CLEAR_ERROR)


def test_nothing_is_cleared_while_it_is_not_known_whether_the_hand_took_a_target_that_pushes() -> None:
    dialect = stalled()
    dialect.move(OPEN, 0, NOW)
    dialect.receive(TAKEN)
    dialect.move(np.zeros(6), 1, NOW)
    assert {asked(dialect)[0] for _ in range(4)} == {0x11}


@pytest.mark.parametrize(("target", "is_cleared"), [(1000, True), (595, True), (580, False), (0, False)])
def test_an_error_is_cleared_where_the_newest_target_does_not_push_on(target: int, is_cleared: bool) -> None:
    dialect = stalled()
    dialect.move(np.array([0, 0, 0, target, 0, 0.0]), 0, NOW)
    dialect.receive(TAKEN)
    assert (asked(dialect) == (0x12, CLEAR_ERROR)) == is_cleared


def test_an_error_that_stays_is_not_cleared_all_the_time() -> None:
    dialect = stalled()
    dialect.move(OPEN, 0, NOW)
    dialect.receive(TAKEN)
    cleared = 0
    for _ in range(5 * CLEAR_EVERY):
        match asked(dialect):
            case (0x12, address):
                assert address == CLEAR_ERROR
                cleared += 1
            case (_, address) if address == REST:
                dialect.receive(rest(errors=(0, 0, 0, 1, 0, 0)))
    assert 2 <= cleared <= 3


def test_over_temperature_is_not_cleared_since_it_ends_by_itself() -> None:
    dialect = InspireDialect(1)
    dialect.begin()
    dialect.receive(angles())
    dialect.receive(rest(errors=(0, 0, 0, 2, 0, 0)))
    assert asked(dialect)[0] == 0x11


def talk() -> Talk:
    one = Talk(InspireDialect(1), InspireDevice(0))
    one.greet()
    return one


def test_with_the_emulated_hand_positions_follow_and_everything_is_told() -> None:
    one = talk()
    target = np.array([0, 1000, 500, 250, 0, 1000.0])
    for _ in range(150):
        one.move(target)
        one.ask()
    assert one.told.joints is not None
    np.testing.assert_allclose(one.told.joints, target, atol=1)
    assert one.told.temperature_c is not None
    assert 20 < one.told.temperature_c < 50
    assert (one.told.stalled, one.told.hot, one.told.fault) == (False, False, "")
    assert one.dialect.bad_frames == one.dialect.skipped_bytes == 0


def test_the_range_takes_four_fifths_of_a_second() -> None:
    one = talk()
    one.move(np.zeros(6), exchanges=40)
    one.ask(2)
    assert one.told.joints is not None
    np.testing.assert_allclose(one.told.joints, 480, atol=40)


@pytest.mark.parametrize(("order", "kind"), [("hot", "hot"), ("stall", "stalled"), ("fault", "fault")])
def test_alarms_are_told_and_end(order: str, kind: str) -> None:
    one = talk()
    one.ask(2)
    assert not getattr(one.told, kind)
    one.device.obey(order, one.now_ns)
    one.ask(2)
    assert getattr(one.told, kind)
    one.device.obey("clear", one.now_ns)
    one.ask(4)
    assert not getattr(one.told, kind)


def test_a_stalled_hand_draws_and_presses_and_heat_is_a_number() -> None:
    one = talk()
    one.device.obey("stall", one.now_ns)
    one.device.obey("hot", one.now_ns)
    one.ask(2)
    assert one.told.currents_a is not None
    assert one.told.forces_n is not None
    assert one.told.currents_a.max() > 1
    assert one.told.forces_n.max() > 5
    assert one.told.temperature_c == 80


def test_a_stall_holds_the_finger_until_it_is_to_open() -> None:
    one = talk()
    one.move(np.zeros(6), exchanges=30)
    one.device.obey("stall", one.now_ns)
    one.ask(2)
    assert one.told.joints is not None
    stuck_at = one.told.joints[3]
    one.device.obey("loosen", one.now_ns)
    for _ in range(100):
        one.move(np.zeros(6))
        one.ask()
    assert one.told.stalled
    assert one.told.joints[3] == pytest.approx(stuck_at, abs=1)
    for _ in range(100):
        one.move(OPEN)
        one.ask()
    assert not one.told.stalled
    assert one.told.joints[3] == pytest.approx(1000, abs=1)


def test_where_it_strays_to_is_told() -> None:
    one = talk()
    one.device.obey("stray", one.now_ns)
    one.move(OPEN, exchanges=100)
    one.ask(2)
    assert one.told.joints is not None
    assert (one.told.joints < 500).all()
