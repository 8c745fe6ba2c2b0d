"""The emulated ROHand answers as the maker's documents say."""

from __future__ import annotations

import pytest

from firmware_bridge.emulators.hands.rohand import RohandDevice
from firmware_bridge.errors import NervehandError

MS = 1_000_000
MOVE_ALL = bytes.fromhex("55aa020150121027ff1027ff1027ff1027ff1027ff1027ff41")


def request(body: str) -> bytes:
    """A frame from its ids on; the checksum is added."""
    data = bytes.fromhex(body)
    check = 0
    for byte in data:
        check ^= byte
    return b"\x55\xaa" + data + bytes([check])


def say(device: RohandDevice, frame: bytes, now_ns: int = 0) -> str:
    return b"".join(device.receive(frame, now_ns)).hex()


def test_the_documents_example_is_answered_as_in_the_document() -> None:
    device = RohandDevice(0)
    assert say(device, MOVE_ALL) == "55aa0102500053"
    assert device.trace.entries[-1].joints == (10000.0,) * 6


def test_a_wrong_checksum_is_answered_as_in_the_document() -> None:
    assert say(RohandDevice(0), MOVE_ALL[:-1] + b"\x42") == "55aa0102d00101d3"


@pytest.mark.parametrize(
    ("body", "answer"),
    [
        ("02010000", "010200020003"),
        ("02010100", "0102010435010103"),
        ("02013f00", "01023f024f59"),
        ("02010001ff", "0102800112"),
        ("02017700", "0102f70111"),
        ("0201060109", "0102860113"),
        ("0201060101", "0102060301" + "0500"),
    ],
)
def test_other_commands_and_what_it_refuses(body: str, answer: str) -> None:
    assert say(RohandDevice(0), request(body)) == request(answer).hex()


def test_what_is_said_to_another_hand_is_not_answered() -> None:
    assert say(RohandDevice(0, node=3), MOVE_ALL) == ""


def test_a_frame_is_found_behind_garbage_and_in_pieces() -> None:
    device = RohandDevice(0)
    assert say(device, b"\x55\x00\xaa" + MOVE_ALL[:5]) == ""
    assert say(device, MOVE_ALL[5:]) == "55aa0102500053"


def test_a_frame_that_does_not_go_on_is_given_up() -> None:
    device = RohandDevice(0)
    assert say(device, MOVE_ALL[:9], 0) == ""
    assert say(device, MOVE_ALL, 100 * MS) == "55aa0102500053"


def test_it_moves_in_a_second_at_full_speed_and_tells_where_it_is() -> None:
    device = RohandDevice(0)
    say(device, request("02015f0d02" + "ffff" * 6))
    said = bytes.fromhex(say(device, request("02015f0188"), 500 * MS))
    positions = [int.from_bytes(said[6 + 2 * i : 8 + 2 * i], "little") for i in range(6)]
    assert positions == pytest.approx([32768] * 6, rel=0.02)
    assert said[18:24] == b"\x01" * 6
    said = bytes.fromhex(say(device, request("02015f0188"), 2000 * MS))
    assert said[18:24] == b"\x02" * 6


def test_speeds_are_what_it_is_told() -> None:
    device = RohandDevice(0)
    say(device, request("02015f19" + "03" + "0040" * 6 + "ffff" * 6))
    said = bytes.fromhex(say(device, request("02015f0108"), 1000 * MS))
    assert int.from_bytes(said[6:8], "little") == pytest.approx(0x4000, rel=0.02)


@pytest.mark.parametrize("data", ["", "02", "02" + "00" * 11, "04" + "00" * 12, "10"])
def test_a_custom_command_of_another_shape_is_refused(data: str) -> None:
    n = len(data) // 2
    assert say(RohandDevice(0), request(f"02015f{n:02x}{data}"))[8:12] == "df01"


def test_a_stalled_hand_stands_still_draws_more_and_says_that_it_is_stuck() -> None:
    device = RohandDevice(0)
    device.obey("stall", 0)
    say(device, request("02015f0d02" + "ffff" * 6))
    said = bytes.fromhex(say(device, request("02015f01a8"), 500 * MS))
    assert said[6:18] == bytes(12)
    assert int.from_bytes(said[18:20], "little") > 500
    assert said[30:36] == b"\x05" * 6
    device.obey("clear", 500 * MS)
    said = bytes.fromhex(say(device, request("02015f01a8"), 2000 * MS))
    assert said[6:18] == b"\xff" * 12


def test_an_order_that_it_does_not_know_is_refused() -> None:
    with pytest.raises(NervehandError, match="order 'hot' is not known here: use fault, stall, stray, clear"):
        RohandDevice(0).obey("hot", 0)


def test_the_trace_says_who_came_what_was_ordered_and_where_it_went() -> None:
    device = RohandDevice(0)
    device.connected(True, 1)
    say(device, MOVE_ALL, 2)
    device.advance(20 * MS)
    device.obey("stray", 30 * MS)
    say(device, request("02017700"), 31 * MS)
    device.connected(False, 40 * MS)
    kinds = [entry.kind for entry in device.trace.entries]
    assert [kind for kind in kinds if kind != "position"] == [
        "connected",
        "target",
        "ordered",
        "refused",
        "disconnected",
    ]
    assert "position" in kinds


def test_a_length_that_no_frame_has_begins_none() -> None:
    assert say(RohandDevice(0), bytes.fromhex("55aa0201507f") + MOVE_ALL) == "55aa0102500053"


def test_a_faulty_hand_refuses_to_move_and_tells_where_it_is() -> None:
    device = RohandDevice(0)
    device.obey("fault", 0)
    assert say(device, MOVE_ALL) == request("0102d00131").hex()
    assert say(device, request("02015f0d02" + "ffff" * 6)) == request("0102df0131").hex()
    assert say(device, request("02015f0108")) == request("01025f0c" + "00" * 12).hex()


def test_force_is_told_where_it_is_asked_for() -> None:
    assert say(RohandDevice(0), request("02015f0140")) == request("01025f0c" + "0a00" * 6).hex()


@pytest.mark.parametrize("body", ["02015011" + "00" * 17, "02010602" + "0000"])
def test_another_length_is_refused(body: str) -> None:
    assert say(RohandDevice(0), request(body))[10:14] == "0112"
