"""The emulated RH56 answers as the maker's manual says."""

from __future__ import annotations

import struct

import pytest

from firmware_bridge.emulators.hands.inspire import InspireDevice
from firmware_bridge.errors import NervehandError

MS = 1_000_000
READ_ANGLES = bytes.fromhex("eb900104110a060c32")


def request(body: bytes) -> bytes:
    return b"\xeb\x90" + body + bytes([sum(body) & 0xFF])


def read(device: InspireDevice, address: int, n: int, now_ns: int = 0) -> bytes:
    (answer,) = device.receive(request(struct.pack("<BBBHB", 1, 4, 0x11, address, n)), now_ns)
    assert answer[:7] == b"\x90\xeb" + struct.pack("<BBBH", 1, n + 3, 0x11, address)
    assert sum(answer[2:-1]) & 0xFF == answer[-1]
    return answer[7:-1]


def write(device: InspireDevice, address: int, data: bytes, now_ns: int = 0) -> list[bytes]:
    head = struct.pack("<BBBH", 1, len(data) + 3, 0x12, address)
    return device.receive(request(head + data), now_ns)


def words(*values: int) -> bytes:
    return struct.pack(f"<{len(values)}h", *values)


def test_angles_are_read_by_the_manuals_example() -> None:
    (answer,) = InspireDevice(0).receive(READ_ANGLES, 0)
    assert answer == bytes.fromhex("90eb010f110a06" + "e803" * 6 + "b3")


def test_a_write_is_answered_by_one_and_moves() -> None:
    device = InspireDevice(0)
    assert write(device, 1522, words(*[1000] * 6)) == [bytes.fromhex("90eb010412f205010f")]
    assert write(device, 1486, words(0, 0, 0, 0, 1000, -1)) == [bytes.fromhex("90eb010412ce0501eb")]
    assert struct.unpack("<6h", read(device, 1546, 12, 400 * MS)) == pytest.approx(
        (500, 500, 500, 500, 1000, 1000), abs=10
    )
    assert read(device, 1612, 6, 400 * MS) == bytes([1, 1, 1, 1, 2, 255])
    assert struct.unpack("<6h", read(device, 1546, 12, 2000 * MS)) == (0, 0, 0, 0, 1000, 1000)


def test_before_the_first_command_its_status_is_255() -> None:
    assert read(InspireDevice(0), 1612, 6) == b"\xff" * 6


def test_consecutive_registers_are_read_at_once() -> None:
    device = InspireDevice(0)
    device.obey("stall", 0)
    said = read(device, 1582, 42)
    assert said[:12] == read(device, 1582, 12)
    assert said[12:24] == read(device, 1594, 12)
    assert said[24:30] == read(device, 1606, 6) == bytes([0, 0, 0, 1, 0, 0])
    assert said[30:36] == read(device, 1612, 6)
    assert said[36:] == read(device, 1618, 6)


@pytest.mark.parametrize(
    "bad",
    [
        READ_ANGLES[:-1] + b"\x33",
        request(struct.pack("<BBBHB", 2, 4, 0x11, 1546, 12)),
        request(struct.pack("<BBBHB", 1, 4, 0x11, 10, 12)),
        request(struct.pack("<BBBHB", 1, 4, 0x13, 1546, 12)),
        request(struct.pack("<BBBH", 1, 15, 0x12, 1546) + bytes(12)),
    ],
)
def test_what_is_wrong_or_for_another_is_not_answered(bad: bytes) -> None:
    device = InspireDevice(0)
    assert device.receive(bad, 0) == []
    assert len(device.receive(READ_ANGLES, 0)) == 1


def test_a_frame_is_found_behind_garbage_and_in_pieces() -> None:
    device = InspireDevice(0)
    assert device.receive(b"\xeb\x01\x90" + READ_ANGLES[:4], 0) == []
    assert len(device.receive(READ_ANGLES[4:], 0)) == 1


def test_a_frame_that_does_not_go_on_is_given_up() -> None:
    device = InspireDevice(0)
    assert device.receive(b"\xeb\x90\x01\xff", 0) == []
    assert len(device.receive(READ_ANGLES, 100 * MS)) == 1


def test_clearing_ends_a_stall_once_nothing_jams_any_more() -> None:
    device = InspireDevice(0)
    device.obey("stall", 0)
    write(device, 1004, b"\x01")
    assert read(device, 1606, 6)[3] == 1
    device.obey("loosen", 0)
    assert read(device, 1606, 6)[3] == 1
    write(device, 1004, b"\x01")
    assert read(device, 1606, 6) == bytes(6)


def test_heat_cannot_be_cleared() -> None:
    device = InspireDevice(0)
    device.obey("hot", 0)
    write(device, 1004, b"\x01")
    assert read(device, 1606, 6)[3] == 2
    assert max(read(device, 1618, 6)) == 80


def test_an_order_that_it_does_not_know_is_refused() -> None:
    with pytest.raises(NervehandError, match="order 'jump' is not known here"):
        InspireDevice(0).obey("jump", 0)


def test_clearing_is_asked_for_by_one_and_forces_are_taken() -> None:
    device = InspireDevice(0)
    device.obey("stall", 0)
    device.obey("loosen", 0)
    write(device, 1004, b"\x00")
    assert read(device, 1606, 6)[3] == 1
    write(device, 1498, words(*[300] * 6))
    assert read(device, 1498, 12) == words(*[300] * 6)
