"""The Hero hands: the bytes of Open-Bionics/MyoLink's document, and the hand end to end over Bluetooth LE."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from firmware_bridge.emulators.hands.hero import HeroHand
from firmware_bridge.errors import NervehandError
from firmware_bridge.hand import LinkState, WatchdogAction
from firmware_bridge.hands import HandOptions, open_hand
from firmware_bridge.hands._dialect import REFUSAL_READINGS
from firmware_bridge.hands._hero import GATT, GRIPS, HeroDialect, request, set_digits
from firmware_bridge.hands._linked import LinkedHand
from firmware_bridge.hands.hero import CAPABILITIES, JOINTS
from firmware_bridge.hands.virtual import JOINTS as OTHER_JOINTS
from firmware_bridge.hands.virtual_process import VirtualHandProcess, virtual_hand_process

PATIENCE_S = 60.0
ASK_FIRST, ASK_REST = bytes.fromhex("0006010400000102"), bytes.fromhex("00060103000304")


def answer(*digits: tuple[int, str]) -> bytes:
    """A response with these digits, each position as the hexadecimal digits of a float."""
    payload = b"".join(bytes([digit]) + bytes.fromhex(position) for digit, position in digits)
    return bytes([0, 6, 0, len(payload)]) + payload


HALF, OPEN, CLOSED = "3f000000", "00000000", "3f800000"
FIRST, REST = (
    answer((0, HALF), (1, OPEN), (2, CLOSED)),
    answer((3, OPEN), (4, HALF)),
)


# Bytes


def test_digits_are_set_as_in_the_documents_example() -> None:
    """Thumb to 50 %, index to 20 %."""
    assert set_digits([(0, 0.5), (1, 0.2)]) == bytes.fromhex("0006010b01003f000000013e4ccccd")
    assert GATT.service.startswith("0b0b4000-feed-dead-bee5")
    assert GATT.write == GATT.notify == "0b0b4102-feed-dead-bee5-0be9b1091c50"


def test_a_move_sets_all_five_digits() -> None:
    frame = HeroDialect().move(np.array([0.5, 0, 1, 0, 0.5]), 0, 0)
    assert frame[:5] == bytes([0, 6, 1, 26, 1])
    assert frame[5:] == (FIRST + REST[4:])[4:]


@given(st.lists(st.floats(-10, 10), min_size=5, max_size=5))
def test_no_digit_is_sent_beyond_open_and_closed(joints: list[float]) -> None:
    frame = HeroDialect().move(np.array(joints), 0, 0)
    sent = [np.frombuffer(frame[6 + 5 * i : 10 + 5 * i], ">f4")[0] for i in range(5)]
    np.testing.assert_array_equal(sent, np.clip(joints, 0, 1).astype(np.float32))


@pytest.mark.parametrize(("code", "grip"), list(enumerate(GRIPS)))
def test_grips_are_set_by_their_number(code: int, grip: str) -> None:
    assert HeroDialect().grip(grip, 1.0, 0, 0) == bytes([0, 7, 1, 1, code])


def test_a_grip_that_it_does_not_have_is_refused() -> None:
    with pytest.raises(NervehandError, match="no grip 'wave'"):
        HeroDialect().grip("wave", 1.0, 0, 0)


def test_digits_are_asked_for_in_two_frames_whose_answers_fit_the_smallest_mtu() -> None:
    dialect = HeroDialect()
    assert [dialect.ask(i, 0) for i in range(3)] == [ASK_FIRST, ASK_REST, ASK_FIRST]
    assert max(len(FIRST), len(REST)) <= 20


def test_where_it_is_is_known_once_both_answers_came() -> None:
    dialect = HeroDialect()
    assert list(dialect.receive(FIRST)) == []
    (report,) = dialect.receive(REST)
    assert report.joints is not None
    np.testing.assert_array_equal(report.joints, [0.5, 0, 1, 0, 0.5])
    dialect.begin()
    assert list(dialect.receive(REST)) == [], "what it said on another connection does not count"


def test_a_command_that_it_refuses_is_a_fault_until_it_has_been_seen() -> None:
    """The status is in bits 0 to 2 of byte 2, as the vendor's client has it."""
    dialect = HeroDialect()
    (refusal,) = dialect.receive(bytes([0, 6, 3, 0]))
    assert refusal.fault == "it refuses command 0x06: invalid length"
    assert refusal.joints is None
    faults = []
    for _ in range(REFUSAL_READINGS + 2):
        list(dialect.receive(FIRST))
        (report,) = dialect.receive(REST)
        faults.append(report.fault)
    assert faults == [refusal.fault] * REFUSAL_READINGS + [""] * 2


def test_a_refusal_on_another_connection_is_forgotten() -> None:
    dialect = HeroDialect()
    list(dialect.receive(bytes([0, 6, 3, 0])))
    dialect.begin()
    list(dialect.receive(FIRST))
    (report,) = dialect.receive(REST)
    assert report.fault == ""


def test_digits_that_are_told_no_more_make_no_report_with_those_that_are() -> None:
    dialect = HeroDialect()
    list(dialect.receive(FIRST))
    assert len(list(dialect.receive(REST))) == 1
    for _ in range(3):
        assert list(dialect.receive(REST)) == []
    (report,) = dialect.receive(answer((0, OPEN), (1, CLOSED), (2, OPEN)))
    assert report.joints is not None
    np.testing.assert_array_equal(report.joints, [0, 1, 0, 0, 0.5])


def test_both_answers_count_in_either_order() -> None:
    dialect = HeroDialect()
    assert list(dialect.receive(REST)) == []
    assert len(list(dialect.receive(FIRST))) == 1


@pytest.mark.parametrize(
    "frame",
    [
        b"",
        FIRST[:3],
        FIRST[:-1],
        FIRST + b"\0",
        b"\x01" + FIRST[1:],
        bytes([0, 6, 0x80, 0]),
        answer((5, HALF)),
        answer((0, "7fc00000")),
        answer((0, "7f800000")),
        answer((0, HALF), (1, "7e967699")),
        answer((0, "3fd9999a")),
        answer((0, "bf19999a")),
        bytes([0, 6, 0, 4, 0, 0, 0, 0]),
    ],
)
def test_what_is_no_frame_of_its_own_is_counted_and_tells_nothing(frame: bytes) -> None:
    dialect = HeroDialect()
    assert list(dialect.receive(frame)) == []
    assert dialect.bad_frames == 1


@given(st.lists(st.binary(max_size=40), max_size=20))
def test_nothing_that_it_may_send_breaks_the_dialect(notifications: list[bytes]) -> None:
    dialect = HeroDialect()
    for data in notifications:
        for report in dialect.receive(data):
            assert report.joints is None or np.isfinite(report.joints).all()


# The emulated hand


@pytest.mark.parametrize(
    ("frame", "status"),
    [
        (request(9, b"\0"), 1),
        (request(6, b"\2"), 2),
        (request(6, b"\0\5"), 2),
        (request(7, b"\6"), 2),
        (request(6, b"\1\0"), 3),
        (request(6, b"")[:4], 3),
        (request(7, b"\1")[:-1], 3),
        (b"\1" + ASK_FIRST[1:], 4),
        (set_digits([(0, 1.5)]), 2),
        (set_digits([(0, float("nan"))]), 2),
    ],
)
def test_the_emulated_hand_refuses_what_the_document_does_not_have(frame: bytes, status: int) -> None:
    hand = HeroHand(0)
    (refusal,) = hand.receive(frame, 1)
    assert refusal == bytes([0, frame[1], status, 0])
    assert [entry.kind for entry in hand.trace.entries] == ["position", "refused"]


def test_the_emulated_hand_moves_its_digits_and_tells_where_they_are() -> None:
    hand = HeroHand(0)
    assert hand.receive(set_digits([(0, 0.5), (2, 1.0)]), 0) == []
    assert hand.advance(2_000_000_000) == []
    (told,) = hand.receive(ASK_FIRST, 2_000_000_000)
    assert told[:4] == bytes([0, 6, 0, 15])
    np.testing.assert_allclose(
        [np.frombuffer(told[5 + 5 * i : 9 + 5 * i], ">f4")[0] for i in range(3)], [0.5, 0, 1.0], atol=1e-6
    )
    (target,) = [entry.joints for entry in hand.trace.entries if entry.kind == "target"]
    assert target == (0.5, 0.0, 1.0, 0.0, 0.0)


# End to end


@pytest.fixture(scope="module", params=["247", "23"], ids=lambda mtu: f"mtu {mtu}")
def process(request: pytest.FixtureRequest) -> Iterator[VirtualHandProcess]:
    with virtual_hand_process(arguments=["--speaks", "hero", "--mtu", request.param]) as process:
        yield process


@pytest.fixture
def hand(process: VirtualHandProcess) -> Iterator[LinkedHand]:
    options = HandOptions(process.transport, link_timeout_s=4 * PATIENCE_S)
    hand = open_hand(f"hero:{process.address}", options)
    assert isinstance(hand, LinkedHand)
    hand.connect(PATIENCE_S)
    yield hand
    hand.close()


def until(is_so: Callable[[], bool]) -> None:
    end_s = time.monotonic() + PATIENCE_S
    while not is_so():
        assert time.monotonic() < end_s
        time.sleep(0.01)


def is_at(hand: LinkedHand, digits: list[float]) -> bool:
    state = hand.state
    return state is not None and bool((np.abs(state.positions[:5] - digits) < 0.01).all())


def test_positions_arrive_are_reached_and_told(hand: LinkedHand) -> None:
    wanted = np.array([0.1, 0.3, 0.5, 0.7, -0.9, 0.9], np.float32)
    applied = hand.send(wanted, 0)
    np.testing.assert_array_equal(applied.positions, np.array([0.1, 0.3, 0.5, 0.7, 0, 0], np.float32))
    np.testing.assert_array_equal(applied.clipped, [False, False, False, False, True, True])

    def arrived() -> bool:
        hand.send(wanted, time.monotonic_ns())
        return is_at(hand, [0.1, 0.3, 0.5, 0.7, 0.0])

    until(arrived)
    assert hand.state is not None
    assert np.isnan(hand.state.positions[5]), "it has no wrist"
    assert hand.counters.bad_frames == 0
    assert len(hand.round_trips_s()) > 0, "each write was known to arrive"


def test_its_own_grips_are_started_by_name(hand: LinkedHand) -> None:
    def points() -> bool:
        hand.grip("point", 1.0, time.monotonic_ns())
        return is_at(hand, [1, 0, 1, 1, 1])

    until(points)
    assert hand.link is LinkState.CONNECTED


def test_a_hand_that_refuses_to_move_has_a_fault(process: VirtualHandProcess, hand: LinkedHand) -> None:
    process.order("fault")

    def refuses() -> bool:
        hand.send(np.zeros(6, np.float32), time.monotonic_ns())
        return hand.state is not None and hand.state.fault.endswith("internal error")

    until(refuses)
    process.order("clear")
    until(lambda: hand.state is not None and hand.state.fault == "")


def test_what_happens_without_commands_is_not_known_and_said_so() -> None:
    assert CAPABILITIES.watchdog_action is WatchdogAction.UNKNOWN
    assert CAPABILITIES.watchdog_s is None
    assert "do not say" in CAPABILITIES.source
    np.testing.assert_array_equal(JOINTS.lower, np.zeros(6))


def test_a_map_of_other_joints_is_refused() -> None:
    with pytest.raises(NervehandError, match="needs thumb, index, middle, ring, pinky, in this order"):
        open_hand("hero:C8:00:84:00:00:01", HandOptions(joint_map=OTHER_JOINTS))
