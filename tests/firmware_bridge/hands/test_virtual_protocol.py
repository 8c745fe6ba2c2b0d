"""The virtual hand's frames: the vectors of docs/virtual-hand.md, and nothing else is accepted."""

from __future__ import annotations

import binascii
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from firmware_bridge.hand import HandCapabilities, WatchdogAction
from firmware_bridge.hands import virtual_protocol as protocol
from firmware_bridge.hands.virtual_protocol import VIRTUAL_HAND, CommandFrame, FrameError, StateFrame

POSITIONS = np.array([0, 0.5, 1, -1, -0.25, 0.1], dtype=np.float32)
MOVE = bytes.fromhex("2101000000000040ff7f018000e0cd0cd2045d51")
PING = bytes.fromhex("22ffff00000000000000000000000000ffffd49a")
STATE = bytes.fromhex("2801000100000040ff7f018000e0cd0c02033f9b")

sequences = st.integers(0, 65535)
positions = st.lists(st.floats(-1, 1, width=32), min_size=6, max_size=6).map(
    lambda values: np.array(values, dtype=np.float32)
)


def test_the_vectors_in_the_documentation_are_these() -> None:
    text = (Path(__file__).parents[3] / "docs" / "virtual-hand.md").read_text()
    vectors = set(re.findall(r"`([0-9a-f]{36,})`", text))
    assert {MOVE.hex(), PING.hex(), STATE.hex(), protocol.encode_info(VIRTUAL_HAND).hex()} == vectors
    for uuid in (protocol.SERVICE_UUID, protocol.COMMAND_UUID, protocol.STATE_UUID, protocol.INFO_UUID):
        assert uuid in text


def test_frames_are_made_as_documented() -> None:
    assert protocol.encode_command(CommandFrame(1, POSITIONS, 1234)) == MOVE
    assert protocol.encode_command(CommandFrame(65535, None, 65535)) == PING
    assert protocol.encode_state(StateFrame(1, POSITIONS, True, False, 258, 3)) == STATE


def test_command_and_state_fit_the_smallest_att_mtu() -> None:
    assert max(len(MOVE), len(PING), len(STATE)) <= 20


def test_the_checksum_is_crc_16_ccitt_false() -> None:
    assert protocol._seal(b"123456789")[-2:] == bytes.fromhex("b129")


@given(sequence=sequences, wanted=positions, sent_ms=sequences)
def test_a_command_comes_back_within_half_a_count(sequence: int, wanted: np.ndarray, sent_ms: int) -> None:
    frame = protocol.decode_command(protocol.encode_command(CommandFrame(sequence, wanted, sent_ms)))
    assert (frame.sequence, frame.sent_ms) == (sequence, sent_ms)
    np.testing.assert_allclose(frame.positions, wanted, atol=0.5001 / protocol.SCALE)


@given(
    sequence=sequences,
    where=positions,
    tripped=st.booleans(),
    fault=st.booleans(),
    alarms=st.tuples(st.booleans(), st.booleans()),
    counts=st.tuples(st.integers(0, 10**6), st.integers(0, 10**6)),
)
def test_a_state_comes_back(
    sequence: int,
    where: np.ndarray,
    tripped: bool,
    fault: bool,
    alarms: tuple[bool, bool],
    counts: tuple[int, int],
) -> None:
    sent = StateFrame(sequence, where, tripped, fault, *counts, *alarms)
    frame = protocol.decode_state(protocol.encode_state(sent))
    assert (frame.hot, frame.stalled) == alarms
    assert (frame.sequence, frame.watchdog_tripped, frame.fault) == (sequence, tripped, fault)
    assert (frame.accepted, frame.rejected) == (counts[0] % 256, counts[1] % 256)
    np.testing.assert_allclose(frame.positions, where, atol=0.5001 / protocol.SCALE)


@given(data=st.binary(max_size=40))
def test_noise_is_refused_and_never_crashes(data: bytes) -> None:
    for decode in (protocol.decode_command, protocol.decode_state, lambda d: protocol.decode_info(d, "test")):
        with pytest.raises(FrameError):
            decode(data)


def test_a_frame_of_another_kind_is_no_info() -> None:
    body = bytearray(protocol.encode_info(VIRTUAL_HAND)[:-2])
    body[0] |= protocol.MOVE
    with pytest.raises(FrameError, match="opcode 0x1"):
        protocol.decode_info(bytes(body) + binascii.crc_hqx(body, 0xFFFF).to_bytes(2, "little"), "test")


@given(frame=st.sampled_from([MOVE, PING, STATE]), bits=st.sets(st.integers(0, 159), min_size=1, max_size=3))
def test_up_to_three_flipped_bits_are_always_noticed(frame: bytes, bits: set[int]) -> None:
    damaged = bytearray(frame)
    for bit in bits:
        damaged[bit // 8] ^= 1 << bit % 8
    for decode in (protocol.decode_command, protocol.decode_state):
        with pytest.raises(FrameError):
            decode(bytes(damaged))


@given(body=st.binary(min_size=17, max_size=19))
def test_a_good_checksum_does_not_make_a_good_frame(body: bytes) -> None:
    """Whatever is accepted is exactly what the encoder makes of it."""
    sealed = protocol._seal(body)
    try:
        frame = protocol.decode_command(sealed)
    except FrameError:
        pass
    else:
        assert protocol.encode_command(frame) == sealed
    try:
        state = protocol.decode_state(sealed)
    except FrameError:
        pass
    else:
        assert protocol.encode_state(state) == sealed


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ((0, 0x11), "version 1, not 2"),
        ((0, 0x23), "opcode 0x3"),
        ((3, 0x01), "flags are 0x01"),
        ((5, 0x80), "count -32768"),
    ],
)
def test_what_is_wrong_with_a_command_is_named(change: tuple[int, int], message: str) -> None:
    body = bytearray(MOVE[:-2])
    body[change[0]] = change[1]
    with pytest.raises(FrameError, match=message):
        protocol.decode_command(protocol._seal(bytes(body)))


def test_a_ping_with_positions_is_refused() -> None:
    with pytest.raises(FrameError, match="ping carries positions"):
        protocol.decode_command(protocol._seal(b"\x22" + MOVE[1:-2]))


@pytest.mark.parametrize("wanted", [np.full(6, 1.0001, np.float32), np.full(6, np.nan), np.zeros(5)])
def test_what_is_not_a_position_is_not_encoded(wanted: np.ndarray) -> None:
    with pytest.raises(FrameError, match=r"6 numbers in -1\.\.1"):
        protocol.encode_command(CommandFrame(0, wanted, 0))


@pytest.mark.parametrize("watchdog_s", [None, 0.001, 65.535])
@pytest.mark.parametrize("action", list(WatchdogAction))
def test_what_the_hand_says_of_itself_comes_back(watchdog_s: float | None, action: WatchdogAction) -> None:
    told = replace(VIRTUAL_HAND, name="Hånd", watchdog_s=watchdog_s, watchdog_action=action)
    read = protocol.decode_info(protocol.encode_info(told), told.source)
    assert isinstance(read, HandCapabilities)
    assert (read.name, read.watchdog_s, read.watchdog_action) == ("Hånd", watchdog_s, action)
    np.testing.assert_array_equal(read.lower, told.lower)
    np.testing.assert_array_equal(read.max_speed_per_s, told.max_speed_per_s)
