"""The Ability Hand's frames: the vendor's own bytes, units and refusals."""

from __future__ import annotations

import struct
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from firmware_bridge.hands import _ability_frames as frames
from firmware_bridge.hands._ability_frames import FrameError

GOLDEN = [
    (frames.position_frame([10, 20, 30, 40, 50, -60], 1), "7e50108808101199192122aa2acecc8c7e"),
    (frames.read_frame(3), "7e50a20e7e"),
    (frames.grip_frame(1, 255), "7e501d01ff937e"),
    (frames.torque_frame([0.1] * 6, 3), "7e50323e003e003e003e003e003e000a7e"),
    (frames.voltage_frame([50] * 6, 1), "7e5040ed06ed06ed06ed06ed06ed06be7e"),
    (frames.velocity_frame([100] * 6, 1), "7e5020440444044404440444044404e07e"),
]
"""Made with `ability-hand` 0.2.2."""

variants = st.sampled_from([1, 2, 3])
counts = st.integers(-32768, 32767)
sixes = st.lists(counts, min_size=6, max_size=6)


@pytest.mark.parametrize(("frame", "vector"), GOLDEN, ids=[vector for _, vector in GOLDEN])
def test_commands_are_the_vendors_byte_for_byte(frame: bytes, vector: str) -> None:
    assert frames.stuffed(frame).hex() == vector


def test_the_short_commands() -> None:
    assert frames.upsampling_frame(True).hex() == "50c2ee"
    assert frames.upsampling_frame(False).hex() == "50c3ed"
    assert frames.leave_frame().hex() == "507c34"
    assert frames.read_frame(1, address=0x51).hex() == "51a00f"
    assert frames.read_register_frame(0x3D).hex() == "50da3d00000099"
    assert frames.write_register_frame(1, -1)[:-1].hex() == "50de01000000ffffffff"


def test_a_reply_is_read_in_the_units_of_the_vendors_client() -> None:
    """The bytes by hand: 2184 counts are 9.998 degrees, 62 are 0.0999 A, and 4369 are 100 degrees per second."""
    pairs = struct.pack("<12h", *[2184, 62] * 6)
    touch = bytes([0x23, 0x61, 0x45]) + bytes(42)  # 0x123, then 0x456: low bits first
    one = frames.decode_reply(frames.sealed(b"\x10" + pairs + touch + b"\x21"))
    assert one.variant == 1
    np.testing.assert_allclose(one.positions_deg, 2184 * 150 / 32767)
    assert one.currents_a is not None
    np.testing.assert_allclose(one.currents_a, 62 / 620.606079)
    assert one.speeds_deg_per_s is None
    assert one.touch is not None
    assert one.touch.shape == (5, 6)
    assert one.touch[0].tolist() == [0x123, 0x456, 0, 0, 0, 0]
    assert one.limited == 0x21

    two = frames.decode_reply(frames.sealed(b"\xa1" + struct.pack("<12h", *[0, 4369] * 6) + touch + b"\0"))
    assert two.variant == 2
    assert two.currents_a is None
    assert two.speeds_deg_per_s is not None
    np.testing.assert_allclose(two.speeds_deg_per_s, 100, rtol=1e-3)

    three = frames.decode_reply(frames.sealed(b"\x42" + pairs + struct.pack("<6h", *[-4369] * 6) + b"\x01"))
    assert three.variant == 3
    assert three.touch is None
    assert three.speeds_deg_per_s is not None
    np.testing.assert_allclose(three.speeds_deg_per_s, -100, rtol=1e-3)


@given(variants, sixes, sixes, sixes, st.integers(0, 255))
def test_every_word_of_a_reply_comes_back(
    variant: int, positions: list[int], second: list[int], third: list[int], limited: int
) -> None:
    words = [word for pair in zip(positions, second, strict=True) for word in pair]
    rest = struct.pack("<6h", *third) if variant == 3 else bytes(45)
    frame = frames.sealed(bytes([0x10 + variant - 1]) + struct.pack("<12h", *words) + rest + bytes([limited]))
    reply = frames.decode_reply(frame)
    assert np.rint(reply.positions_deg * 32767 / 150).tolist() == positions
    assert reply.limited == limited
    if reply.currents_a is not None:
        assert np.rint(reply.currents_a * 620.606079).tolist() == second
    if reply.speeds_deg_per_s is not None:
        speeds = np.rint(reply.speeds_deg_per_s * 4 * 32767 / 3000).tolist()
        assert speeds == (second if variant == 2 else third)


@given(st.lists(st.integers(0, 4095), min_size=30, max_size=30))
def test_touch_readings_are_twelve_bits_low_bits_first(values: list[int]) -> None:
    packed = sum(value << 12 * i for i, value in enumerate(values)).to_bytes(45, "little")
    touch = frames.decode_reply(frames.sealed(b"\x10" + bytes(24) + packed + b"\0")).touch
    assert touch is not None
    assert touch.ravel().tolist() == values


@given(st.binary(max_size=80))
def test_stuffing_leaves_no_flag_inside_and_is_undone(frame: bytes) -> None:
    out = frames.stuffed(frame)
    assert out[:1] == out[-1:] == b"\x7e"
    assert b"\x7e" not in out[1:-1]
    assert frames.unstuffed(out[1:-1]) == frame


def test_the_vendors_stuffing() -> None:
    assert frames.stuffed(bytes([0x7E, 0x7D, 0x20])).hex() == "7e7d5e7d5d207e"
    for wrong in ("7d", "017d", "7d00", "7d7d5e"):
        with pytest.raises(FrameError, match="escape"):
            frames.unstuffed(bytes.fromhex(wrong))


@given(st.binary(max_size=80))
def test_any_bytes_are_a_reply_or_refused(data: bytes) -> None:
    try:
        reply = frames.decode_reply(data)
    except FrameError:
        return
    assert sum(data) % 256 == 0
    assert len(data) == frames.REPLY_LENGTHS[reply.variant]


def test_a_wrong_bit_anywhere_is_refused() -> None:
    frame = frames.sealed(b"\x12" + bytes(range(36)) + b"\0")
    frames.decode_reply(frame)
    for bit in range(8 * len(frame)):
        wrong = bytearray(frame)
        wrong[bit // 8] ^= 1 << bit % 8
        with pytest.raises(FrameError):
            frames.decode_reply(bytes(wrong))


def test_registers_are_answered_with_a_value_or_a_refusal() -> None:
    assert frames.decode_register(frames.sealed(bytes.fromhex("a4fe114e") + struct.pack("<i", -7))) == -7
    with pytest.raises(FrameError, match="no such register"):
        frames.decode_register(frames.sealed(bytes.fromhex("ffff17fa00000000")))
    with pytest.raises(FrameError, match="no answer"):
        frames.decode_register(bytes.fromhex("a4fe114e0000000000"))
    assert frames.decode_written(bytes.fromhex("a4fe114e"))
    assert not frames.decode_written(bytes.fromhex("ffff17fa"))
    with pytest.raises(FrameError, match="no answer"):
        frames.decode_written(b"\0\0\0\0")


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: frames.position_frame([0, 0, 0, 0, 0, 150.1]), "positions in degrees"),
        (lambda: frames.position_frame([0, 0, 0, 0, 0, float("nan")]), "positions in degrees"),
        (lambda: frames.position_frame([0] * 5), "positions in degrees"),
        (lambda: frames.velocity_frame([3001] * 6), "degrees per second"),
        (lambda: frames.torque_frame([60] * 6), "currents in A"),
        (lambda: frames.voltage_frame([100.5] * 6), "per cent"),
        (lambda: frames.voltage_frame([float("nan")] * 6), "per cent"),
        (lambda: frames.read_frame(0), "reply 0"),
        (lambda: frames.read_frame(4), "reply 4"),
        (lambda: frames.grip_frame(256), "grip 256"),
        (lambda: frames.write_register_frame(1, 1 << 31), "32-bit"),
    ],
)
def test_what_fits_no_frame_is_refused(make: Callable[[], bytes], said: str) -> None:
    with pytest.raises(FrameError, match=said):
        make()


def test_the_ends_of_the_words_fit() -> None:
    assert frames.position_frame([150, -150, 0, 0, 0, 0])[2:6].hex() == "ff7f0180"
    assert frames.voltage_frame([100, -100, 0, 0, 0, 0])[2:6].hex() == "da0d26f2"  # +-3546


def test_touch_as_force_is_the_vendors_estimate() -> None:
    newtons = frames.touch_newtons(np.array([0, 1000, 4095], np.uint16))
    assert newtons[0] == 0
    np.testing.assert_allclose(newtons[1:], [3.26490, 6.95770], rtol=1e-3)
