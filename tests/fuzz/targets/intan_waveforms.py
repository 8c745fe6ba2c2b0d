"""RHX's waveform blocks in a stream of any bytes, cut anywhere."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from firmware_bridge.sources import _intan_protocol as protocol

_MARK = 0xF7
_NAMES = ("A-000", "A-001|STIM", protocol.DIGITAL_IN, "B-127", "A-002|LOW", "A-003|DC", "ANALOG-IN-1")


def seeds() -> Iterator[bytes]:
    words = np.arange(128 * 2, dtype=np.uint16).reshape(128, 2)
    blocks = protocol.encode_block(2**32 - 50, words) + protocol.encode_block(78, words)
    yield bytes([2, 255]) + blocks
    yield bytes([2, 9]) + blocks[:100] + blocks
    yield bytes([3, 60, _MARK, 0, 0, 0, 1, _MARK, 0, 0, 0, 200]) + bytes(50)
    yield bytes([0, 60, _MARK, 0, 0, 0, 1])


def check(data: bytes) -> None:
    """Byte 0 is the number of words in a frame, byte 1 the length of the pieces."""
    if len(data) < 2:
        return
    layout = protocol.FrameLayout(_NAMES[: data[0] % (len(_NAMES) + 1)])
    stream, piece = _with_blocks(data[2:], len(layout.words)), 64 * (data[1] + 1)
    parser = protocol.WaveformParser(layout)
    at = used = 0
    for start in range(0, len(stream), piece):
        for block in parser.feed(stream[start : start + piece]):
            made = protocol.encode_block(block.timestamp, block.words)
            found = stream.find(made, at)
            assert found >= 0, "an accepted block is not in the stream"
            at = found + len(made)
            used += len(made)
            n = len(block.words)
            assert layout.samples(block.words).shape == (n, len(layout.channel_names))
            lines = layout.digital(block.words)
            assert lines is None or lines.shape == (n,)
        held = min(start + piece, len(stream)) - used - parser.skipped_bytes
        assert 0 <= held < layout.block_bytes


def _with_blocks(data: bytes, n_words: int) -> bytes:
    """Each mark and a timestamp become a whole block."""
    out, at = bytearray(), 0
    while at < len(data):
        if data[at] == _MARK and at + 5 <= len(data) and len(out) < 1 << 16:
            stamp = int.from_bytes(data[at + 1 : at + 5], "big")
            out += protocol.encode_block(stamp, np.full((128, n_words), at % 65536, np.uint16))
            at += 5
        else:
            out.append(data[at])
            at += 1
    return bytes(out)
