"""What an Ability Hand may say: replies in a stream with and without stuffing, answers of registers, notifications."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from firmware_bridge.hands import _ability_frames as frames
from firmware_bridge.hands._ability_ble import AbilityBleDialect, decode_positions
from firmware_bridge.hands._ability_stream import PlainStream, ReplyStream, StuffedStream
from firmware_bridge.hands._ability_uart import AbilityUartDialect

_STUFFED, _PLAIN, _REGISTERS, _AIR = range(4)
_REPLY_OF_OUR_OWN = 0xF7
_MOST_BUFFERED = 2 * max(frames.REPLY_LENGTHS.values())


def seeds() -> Iterator[bytes]:
    replies = [made(header, bytes(range(70))) for header in (0x10, 0xA1, 0x12, 0x42)]
    yield bytes([_STUFFED, 20]) + b"".join(map(frames.stuffed, replies))
    yield bytes([_STUFFED, 3]) + frames.stuffed(replies[0])[7:] + b"\0\0" + frames.stuffed(replies[3])
    yield bytes([_STUFFED, 90, _REPLY_OF_OUR_OWN, 0x12, 9]) + bytes(range(0x78, 0x81))
    yield bytes([_PLAIN, 7]) + b"".join(replies)
    yield bytes([_PLAIN, 50]) + replies[2][4:] + replies[1]
    yield bytes([_PLAIN, 90, _REPLY_OF_OUR_OWN, 0x10, 2]) + b"\x10\xa2"
    yield bytes([_REGISTERS]) + bytes.fromhex("a4fe114e0000000000")
    yield bytes([_REGISTERS]) + bytes.fromhex("ffff17fa")
    yield bytes([_AIR]) + np.linspace(-100, 100, 6, dtype="<f4").tobytes()
    yield bytes([_AIR]) + b"success"


def made(header: int, body: bytes) -> bytes:
    """A reply with that body, repeated or cut to its length, and a right checksum."""
    length = frames.REPLY_LENGTHS[(header & 0x0F) % 3 + 1] - 2
    return frames.sealed(bytes([header]) + (body * length or bytes(length))[:length])


def check(data: bytes) -> None:
    """Byte 0 says what kind, byte 1 of a stream the length of its pieces; a reply marked in it is given a checksum."""
    if len(data) < 2:
        return
    kind, rest = data[0] % 4, data[1:]
    if kind == _REGISTERS:
        _check_register(rest)
    elif kind == _AIR:
        _check_notification(rest)
    else:
        _check_stream(rest[1:], rest[0] + 1, kind == _STUFFED)


def _check_stream(data: bytes, piece: int, is_stuffed: bool) -> None:
    stream = _sealed(data, is_stuffed)
    piece = max(piece, len(stream) // 128)
    decoder: ReplyStream = StuffedStream() if is_stuffed else PlainStream()
    dialect = AbilityUartDialect(3, is_stuffed)
    found: list[bytes] = []
    reports = 0
    for start in range(0, len(stream), piece):
        part = stream[start : start + piece]
        found += decoder.feed(part)
        reports += len(dialect.receive(part))
        assert decoder.buffered <= _MOST_BUFFERED
    at = 0
    for frame in found:
        assert sum(frame) % 256 == 0, "an accepted frame fails its checksum"
        frames.decode_reply(frame)
        inside = frames.stuffed(frame)[1:-1] if is_stuffed else frame
        at = stream.find(inside, at)
        assert at >= 0, "an accepted frame is not in the stream"
        at += len(inside)
    whole: ReplyStream = StuffedStream() if is_stuffed else PlainStream()
    assert whole.feed(stream) == found
    assert reports <= sum(frame[0] & 0x0F == 2 for frame in found) or not is_stuffed


def _sealed(data: bytes, is_stuffed: bool) -> bytes:
    """Each mark, header, length n and n bytes become a whole reply, so that what lies behind a checksum is reached."""
    out, at = bytearray(), 0
    while at < len(data):
        if data[at] == _REPLY_OF_OUR_OWN and at + 3 <= len(data):
            end = at + 3 + data[at + 2]
            reply = made(data[at + 1], data[at + 3 : end])
            out += frames.stuffed(reply) if is_stuffed else reply
            at = end
        else:
            out.append(data[at])
            at += 1
    return bytes(out)


def _check_register(data: bytes) -> None:
    for sealed in (data, frames.sealed(data)):
        try:
            value = frames.decode_register(sealed)
        except frames.FrameError:
            continue
        assert sealed[4:8] == value.to_bytes(4, "little", signed=True)
    try:
        is_written = frames.decode_written(data)
    except frames.FrameError:
        return
    assert data == (b"\xa4\xfe\x11\x4e" if is_written else b"\xff\xff\x17\xfa")


def _check_notification(data: bytes) -> None:
    dialect = AbilityBleDialect()
    reports = dialect.receive(data)
    positions = decode_positions(data)
    if positions is not None:
        assert positions.astype("<f4").tobytes() == data
        assert np.isfinite(positions).all()
    assert len(reports) + dialect.bad_frames == 1
