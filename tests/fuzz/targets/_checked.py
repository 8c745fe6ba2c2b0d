"""Serial hands whose frames end in a one-byte checksum: any stream, in pieces, with our own requests between them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from firmware_bridge.hands._checked_frames import FrameShape, FrameStream
from firmware_bridge.hands._dialect import Dialect

_FRAME_OF_OUR_OWN = 0xF7
_MOVE = 0x80


def check_stream(
    data: bytes,
    shape: FrameShape,
    checksum: Callable[[bytes], int],
    dialect: Dialect,
    answer: Callable[[int, bytes], bytes],
) -> None:
    """Byte 0 is the length of the pieces, and whether we move or ask between them. A mark, a kind, a length n and n
    bytes in the rest become a whole answer. `checksum` and `answer` are the caller's own, not the parser's."""
    if not data:
        return
    stream = _sealed(data[1:], answer)
    size = max(data[0] % _MOVE + 1, len(stream) // 128)
    pieces = [stream[at : at + size] for at in range(0, len(stream), size)]
    found = FrameStream(shape)
    frames = []
    for piece in pieces:
        frames += found.feed(piece)
        assert found.buffered < shape.longest
    at = 0
    for frame in frames:
        assert frame.startswith(shape.start)
        assert checksum(frame[2:-1]) == frame[-1], "an accepted frame has a bad checksum"
        at = stream.find(frame, at)
        assert at >= 0, "an accepted frame is not in the stream"
        at += len(frame)
    assert sum(map(len, frames)) + found.skipped_bytes + found.buffered == len(stream)
    assert FrameStream(shape).feed(stream) == frames
    for frame in dialect.begin():
        assert checksum(frame[2:-1]) == frame[-1]
    for number, piece in enumerate(pieces):
        for report in dialect.receive(piece):
            for values in (report.joints, report.currents_a, report.forces_n):
                assert values is None or (values.shape == (6,) and np.isfinite(values).all())
        joints = np.full(6, 500.0)
        asked = dialect.move(joints, number, 0) if data[0] & _MOVE else dialect.ask(number, 0)
        assert checksum(asked[2:-1]) == asked[-1]


def _sealed(data: bytes, answer: Callable[[int, bytes], bytes]) -> bytes:
    out, at = bytearray(), 0
    while at < len(data):
        if data[at] == _FRAME_OF_OUR_OWN and at + 3 <= len(data):
            end = at + 3 + data[at + 2]
            out += answer(data[at + 1], data[at + 3 : end])
            at = end
        else:
            out.append(data[at])
            at += 1
    return bytes(out)
