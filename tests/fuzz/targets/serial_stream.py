"""The serial protocol's frames in a stream of any bytes, cut anywhere."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from firmware_bridge.sources import _serial_protocol as protocol
from firmware_bridge.stream import SignalBlock

_MOST_BUFFERED = protocol.MAX_PAYLOAD + protocol.OVERHEAD
_FRAME_OF_OUR_OWN = 0xF7


def seeds() -> Iterator[bytes]:
    block = SignalBlock(np.arange(12, dtype=np.int16).reshape(4, 3), 7, scale_uv=0.195)
    lines = SignalBlock(block.samples, 11, scale_uv=0.195, digital=np.arange(4, dtype=np.uint32))
    frames = protocol.encode_data(1, 5, block) + protocol.encode_data(2, 5, lines, digital_bytes=2)
    yield bytes([200]) + frames
    yield bytes([7]) + protocol.MAGIC[:2] + frames[:-3] + frames
    yield bytes([50, _FRAME_OF_OUR_OWN, 0x90, 20]) + bytes(20) + protocol.encode_start(9, 1)


def check(data: bytes) -> None:
    """Byte 0 is the length of the pieces; a frame marked in the input is given right checksums."""
    if not data:
        return
    stream = sealed(data[1:])
    piece = max(data[0] + 1, len(stream) // 128)
    parser = protocol.FrameParser()
    frames: list[protocol.Frame] = []
    for start in range(0, len(stream), piece):
        frames += parser.feed(stream[start : start + piece])
        assert parser.buffered < _MOST_BUFFERED
    at = 0
    for frame in frames:
        made = protocol.encode_frame(frame.type, frame.sequence, frame.payload, frame.version)
        found = stream.find(made, at)
        assert found >= 0, "an accepted frame is not in the stream"
        at = found + len(made)
    whole = sum(len(frame.payload) + protocol.OVERHEAD for frame in frames)
    assert whole + parser.skipped_bytes + parser.buffered == len(stream)
    assert protocol.FrameParser().feed(stream) == frames


def sealed(data: bytes) -> bytes:
    """Each mark, type, length n and n bytes become a whole frame, so that what lies behind the checksums is reached."""
    out, at = bytearray(), 0
    while at < len(data):
        if data[at] == _FRAME_OF_OUR_OWN and at + 3 <= len(data):
            end = at + 3 + data[at + 2]
            out += protocol.encode_frame(data[at + 1], at, data[at + 3 : end])
            at = end
        else:
            out.append(data[at])
            at += 1
    return bytes(out)
