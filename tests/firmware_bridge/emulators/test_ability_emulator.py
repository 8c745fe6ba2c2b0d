"""The emulated Ability Hand on a UART keeps the ICD: bytes by hand, the vendor's, and the ICD's C code."""

from __future__ import annotations

import struct
from itertools import pairwise

import numpy as np
import pytest

from firmware_bridge.emulators.hands.ability_hand import AbilityDevice
from firmware_bridge.emulators.hands.device import Traced
from firmware_bridge.errors import NervehandError

MS = 1_000_000
POSITION_1 = bytes.fromhex("7e50108808101199192122aa2acecc8c7e")
"""The vendor client's: 10, 20, 30, 40, 50, -60 degrees."""
READ_3 = bytes.fromhex("7e50a20e7e")
WANTED = np.array([10, 20, 30, 40, 50, -60.0])


def sealed(body: bytes) -> bytes:
    return body + bytes([-sum(body) % 256])


def line(body: bytes) -> bytes:
    """With its checksum, stuffed."""
    out = bytearray()
    for byte in sealed(body):
        out += bytes([0x7D, byte ^ 0x20]) if byte in (0x7D, 0x7E) else bytes([byte])
    return b"\x7e" + bytes(out) + b"\x7e"


def unstuffed(answer: bytes) -> bytes:
    out, at = bytearray(), 1
    assert answer[0] == answer[-1] == 0x7E
    while at < len(answer) - 1:
        at += answer[at] == 0x7D
        out.append(answer[at] ^ (0x20 if answer[at - 1] == 0x7D else 0))
        at += 1
    return bytes(out)


def entries(hand: AbilityDevice, kind: str) -> list[Traced]:
    return [entry for entry in hand.trace.entries if entry.kind == kind]


def run(hand: AbilityDevice, start_ns: int, seconds: float, every: bytes = b"") -> int:
    """Move it on in steps of 10 ms, telling it `every` each time; the time at the end."""
    now_ns = start_ns
    for _ in range(round(seconds * 100)):
        now_ns += 10 * MS
        hand.receive(every, now_ns) if every else hand.advance(now_ns)
    return now_ns


@pytest.mark.parametrize(("offset", "length"), [(0, 72), (1, 72), (2, 39)])
@pytest.mark.parametrize("mode", [0x10, 0x20, 0x30, 0x40, 0xA0])
def test_every_header_is_answered_in_its_variant(mode: int, offset: int, length: int) -> None:
    hand = AbilityDevice(0)
    body = bytes([0x50, mode + offset]) + (bytes(12) if mode != 0xA0 else b"")
    (answer,) = hand.receive(line(body), MS)
    reply = unstuffed(answer)
    assert len(reply) == length
    assert reply[0] == mode + offset
    assert sum(reply) % 256 == 0


def test_positions_are_followed_and_told() -> None:
    hand = AbilityDevice(0)
    now_ns = run(hand, 0, 1.0, POSITION_1)
    (answer,) = hand.receive(READ_3, now_ns)
    counts = struct.unpack("<12h", unstuffed(answer)[1:25])[::2]
    np.testing.assert_allclose(np.array(counts) * 150 / 32767, WANTED, atol=0.02)
    np.testing.assert_allclose(entries(hand, "target")[0].joints, WANTED, atol=0.005)
    assert entries(hand, "position")


def test_no_joint_is_faster_than_it_can_be() -> None:
    hand = AbilityDevice(0)
    run(hand, 0, 0.6, line(b"\x50\x12" + struct.pack("<6h", *[21844] * 5, -21844)))
    told = [(entry.time_ns, np.array(entry.joints)) for entry in entries(hand, "position")]
    for (before_ns, before), (after_ns, after) in pairwise(told):
        assert (np.abs(after - before) <= 463 * (after_ns - before_ns) / 1e9 + 1e-6).all()
    np.testing.assert_allclose(hand.body.positions_deg, [100] * 5 + [-100], atol=0.1)


def test_without_frames_it_goes_back_to_its_own_mode_after_300_ms() -> None:
    hand = AbilityDevice(0)
    now_ns = run(hand, 0, 1.0, POSITION_1)
    hand.advance(now_ns + 299 * MS)
    assert hand.obeys
    hand.advance(now_ns + 305 * MS)
    assert not hand.obeys
    assert [entry.time_ns for entry in entries(hand, "watchdog")] == [now_ns + 300 * MS]
    run(hand, now_ns + 305 * MS, 1.0)
    np.testing.assert_allclose(hand.body.positions_deg, 0, atol=0.1)


def test_reading_feeds_the_watchdog_but_begins_nothing() -> None:
    hand = AbilityDevice(0)
    now_ns = run(hand, 0, 1.0, READ_3)
    assert not hand.obeys
    now_ns = run(hand, now_ns, 0.5, POSITION_1)
    now_ns = run(hand, now_ns, 1.0, READ_3)
    assert hand.obeys
    np.testing.assert_allclose(hand.body.positions_deg, WANTED, atol=0.1)


def test_a_miscellaneous_command_begins_the_mode_and_is_answered_in_the_last_variant() -> None:
    hand = AbilityDevice(0)
    (answer,) = hand.receive(line(b"\x50\xc2"), MS)
    assert unstuffed(answer)[0] == 0x10  # variant 1 where none was asked for
    assert hand.obeys
    hand.receive(READ_3, 2 * MS)
    (answer,) = hand.receive(line(b"\x50\xc3"), 3 * MS)
    assert unstuffed(answer)[0] == 0xA2


def test_it_leaves_the_mode_when_told() -> None:
    hand = AbilityDevice(0)
    now_ns = run(hand, 0, 0.5, POSITION_1)
    assert len(hand.receive(line(b"\x50\x7c"), now_ns)) == 1
    assert not hand.obeys
    run(hand, now_ns, 1.0)
    np.testing.assert_allclose(hand.body.positions_deg, 0, atol=0.1)
    assert not entries(hand, "watchdog")


@pytest.mark.parametrize(
    "wrong",
    [
        bytes.fromhex("7e50108808101199192122aa2acecc8d7e"),
        bytes.fromhex("7e50a27e"),
        bytes.fromhex("7e50a20f7e"),
        b"\x7e\x7e\x7e\x7d\x7e",
    ],
)
def test_a_bad_frame_is_not_answered_and_feeds_nothing(wrong: bytes) -> None:
    hand = AbilityDevice(0)
    now_ns = run(hand, 0, 0.5, POSITION_1)
    for _ in range(40):
        now_ns += 10 * MS
        assert hand.receive(wrong, now_ns) == []
    assert not hand.obeys
    assert len(hand.receive(READ_3, now_ns)) == 1


def test_another_hands_frames_are_left_alone() -> None:
    hand = AbilityDevice(0, address=0x51)
    assert hand.receive(POSITION_1, MS) == []
    assert len(hand.receive(line(b"\x51\xa0"), 2 * MS)) == 1


def test_frames_may_come_in_any_pieces() -> None:
    hand = AbilityDevice(0)
    answers = [a for i, byte in enumerate(POSITION_1 + READ_3) for a in hand.receive(bytes([byte]), i * MS)]
    assert [unstuffed(answer)[0] for answer in answers] == [0x10, 0xA2]


def test_without_stuffing_frames_are_told_by_their_length_and_by_silence() -> None:
    hand = AbilityDevice(0, is_stuffed=False)
    read, move = sealed(b"\x50\xa2"), POSITION_1[1:-1]
    assert [answer[0] for answer in hand.receive(move + read, MS)] == [0x10, 0xA2]
    assert hand.receive(move[:7], 2 * MS) == []
    assert [answer[0] for answer in hand.receive(move[7:], 3 * MS)] == [0x10]
    # Garbage before a frame spoils it; silence ends both.
    assert hand.receive(b"\xff" + read, 4 * MS) == []
    assert hand.advance(20 * MS) == []
    assert [answer[0] for answer in hand.receive(read, 21 * MS)] == [0xA2]
    # A command that is cut short and has a checksum moves the joints that it names (3.1.2.3).
    assert hand.receive(sealed(b"\x50\x11" + struct.pack("<h", 4369)), 30 * MS) == []
    (answer,) = hand.advance(40 * MS)
    assert answer[0] == 0x11
    np.testing.assert_allclose(entries(hand, "target")[-1].joints[0], 20, atol=0.01)


@pytest.mark.parametrize(
    ("mode", "word", "sign"), [(0x20, 1092, 1), (0x30, 62, 1), (0x40, 1773, 1), (0x20, -1092, -1)]
)
def test_other_modes_move_the_joints_the_way_they_are_told(mode: int, word: int, sign: int) -> None:
    hand = AbilityDevice(0)
    now_ns = run(hand, 0, 0.5, line(b"\x50\x12" + struct.pack("<6h", *[10922] * 5, -10922)))
    before = hand.body.positions_deg.copy()
    run(hand, now_ns, 0.1, line(bytes([0x50, mode]) + struct.pack("<6h", *[word] * 5, -word)))
    moved = hand.body.positions_deg - before
    assert (moved[:5] * sign > 1).all()
    assert moved[5] * sign < -1


def test_speeds_are_told_as_the_vendors_client_reads_them() -> None:
    hand = AbilityDevice(0)
    now_ns = run(hand, 0, 0.1, line(b"\x50\x22" + struct.pack("<6h", *[1092] * 5, -1092)))
    for header, at in ((b"\xa1", slice(3, 25, 4)), (b"\xa2", slice(25, 37, 2))):
        (answer,) = hand.receive(line(b"\x50" + header), now_ns)
        reply = unstuffed(answer)
        words = [struct.unpack_from("<h", reply, i)[0] for i in range(at.start, at.stop, at.step)]
        np.testing.assert_allclose(np.array(words) * 3000 / 32767 / 4, [100] * 5 + [-100], rtol=0.01)


def test_touch_is_unpacked_by_the_code_of_the_icd() -> None:
    """Section 3.4.6: four bits at a time, low ones first."""
    hand = AbilityDevice(0)
    now_ns = run(hand, 0, 0.3, POSITION_1)
    hand.obey("stall", now_ns)
    hand.receive(line(b"\x50\x10" + struct.pack("<6h", 21844, 0, 0, 0, 0, 0)), now_ns)
    (answer,) = hand.receive(line(b"\x50\xa0"), now_ns + MS)
    data, values = unstuffed(answer)[25:70], [0] * 30
    for bit in range(30 * 12 - 4, -1, -4):
        values[bit // 12] |= (data[bit // 8] >> bit % 8 & 0x0F) << bit % 12
    assert values[:6] == [1500] * 6
    assert values[6:] == [40] * 24


def test_a_grip_is_done_by_the_hand_itself_and_kept() -> None:
    hand = AbilityDevice(0)
    now_ns = run(hand, 0, 0.5, POSITION_1)
    assert len(hand.receive(bytes.fromhex("7e501d01ff937e"), now_ns)) == 1
    assert [entry.text for entry in entries(hand, "grip")] == ["power"]
    now_ns = run(hand, now_ns, 2.0)
    assert (hand.body.positions_deg[:4] > 90).all()
    assert not entries(hand, "watchdog")
    hand.receive(line(bytes([0x50, 0x1D, 0, 1])), now_ns)
    now_ns = run(hand, now_ns, 0.2)
    hand.receive(line(bytes([0x50, 0x1D, 0, 0])), now_ns)  # speed 0: stop
    stopped = hand.body.positions_deg.copy()
    run(hand, now_ns, 1.0)
    np.testing.assert_allclose(hand.body.positions_deg, stopped, atol=0.1)
    assert (stopped[:4] > 50).all()


def test_registers_are_read_and_written_but_for_those_that_are_read_only() -> None:
    hand = AbilityDevice(0)

    def told(body: bytes) -> bytes:
        (answer,) = hand.receive(line(b"\x50" + body), MS)
        return unstuffed(answer)

    assert told(b"\xda" + struct.pack("<I", 8)) == sealed(struct.pack("<Ii", 0x4E11FEA4, 1773))
    assert told(b"\xde" + struct.pack("<Ii", 8, -5)) == struct.pack("<I", 0x4E11FEA4)
    assert told(b"\xda" + struct.pack("<I", 8)) == sealed(struct.pack("<Ii", 0x4E11FEA4, -5))
    for register in (0, 10, 0x3D, 999):
        assert told(b"\xde" + struct.pack("<Ii", register, 1)) == struct.pack("<I", 0xFA17FFFF)
    assert told(b"\xda" + struct.pack("<I", 999)) == sealed(struct.pack("<Ii", 0xFA17FFFF, 0))


def reply_3(hand: AbilityDevice, now_ns: int) -> bytes:
    (answer,) = hand.receive(READ_3, now_ns)
    return unstuffed(answer)


def test_what_it_meets_stops_its_fingers_until_they_are_told_to_go_back() -> None:
    hand = AbilityDevice(0)
    now_ns = run(hand, 0, 0.5, POSITION_1)
    hand.obey("stall", now_ns)
    assert reply_3(hand, now_ns)[37] == 0  # nothing is met before something moves
    close = line(b"\x50\x12" + struct.pack("<6h", *[17475] * 5, -17475))  # 80 degrees
    now_ns = run(hand, now_ns, 0.5, close)
    np.testing.assert_allclose(hand.body.positions_deg, [10, 20, 30, 40, 50, -80], atol=0.2)
    reply = reply_3(hand, now_ns)
    assert reply[37] == 0b011111
    currents = np.array(struct.unpack("<12h", reply[1:25])[1::2]) / 620.606
    assert (np.abs(currents[:5]) > 0.8).all()
    assert abs(currents[5]) < 0.3
    now_ns = run(hand, now_ns, 0.5, line(b"\x50\x12" + bytes(12)))
    assert reply_3(hand, now_ns)[37] == 0
    np.testing.assert_allclose(hand.body.positions_deg, 0, atol=0.2)


def test_too_hot_it_moves_no_more_and_says_so_of_every_joint() -> None:
    hand = AbilityDevice(0)
    hand.obey("hot", MS)
    now_ns = run(hand, MS, 0.5, POSITION_1)
    assert reply_3(hand, now_ns)[37] == 0b111111
    np.testing.assert_allclose(hand.body.positions_deg, 0, atol=0.01)
    hand.obey("clear", now_ns)
    now_ns = run(hand, now_ns, 0.5, POSITION_1)
    assert reply_3(hand, now_ns)[37] == 0
    np.testing.assert_allclose(hand.body.positions_deg, WANTED, atol=0.1)


def test_it_strays_where_it_was_not_sent() -> None:
    hand = AbilityDevice(0)
    hand.obey("stray", MS)
    run(hand, MS, 0.5, line(b"\x50\x12" + bytes(12)))
    np.testing.assert_allclose(hand.body.positions_deg, [50] * 5 + [-50], atol=0.1)


def test_with_a_fault_it_neither_answers_nor_moves() -> None:
    hand = AbilityDevice(0)
    hand.obey("fault", MS)
    assert hand.receive(POSITION_1, 2 * MS) == []
    run(hand, 2 * MS, 0.5)
    np.testing.assert_allclose(hand.body.positions_deg, 0, atol=0.01)
    hand.obey("clear", 600 * MS)
    assert len(hand.receive(POSITION_1, 601 * MS)) == 1
    assert [entry.text for entry in entries(hand, "ordered")] == ["fault", "clear"]
    with pytest.raises(NervehandError, match="'dance' is unknown"):
        hand.obey("dance", 700 * MS)
