"""Blocks of samples as one frame, and back."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from firmware_bridge.errors import NervehandError
from firmware_bridge.port.sample_ring import DTYPES, Kept
from firmware_bridge.port.wire import Frame, encoded
from firmware_bridge.stream import SignalBlock

FIELDS = 8
"""Of a block in the header: first sample, samples, channels, dtype, has lines, lost before, scale, owner's arrival."""


def encoded_blocks(blocks: Sequence[tuple[Kept, bytes, int]]) -> bytes:
    """A frame of blocks: each with its bytes, and what was lost before it for who gets it."""
    rows = [
        [k.first_sample, k.n_samples, k.n_channels, k.dtype, int(k.has_lines), lost, k.scale_uv, k.arrival_ns]
        for k, _, lost in blocks
    ]
    return encoded({"kind": "samples", "blocks": rows}, b"".join(raw for _, raw, _ in blocks))


def decoded_blocks(frame: Frame) -> Iterator[SignalBlock]:
    """The blocks of such a frame; `arrival_ns` is by the owner's clock. NervehandError where they do not fit it."""
    rows = frame.header.get("blocks")
    at = 0
    for row in rows if isinstance(rows, list) else ():
        if not isinstance(row, list) or len(row) != FIELDS:
            raise NervehandError("a block of the port lacks something: use the same nervehand on both sides")
        first, n, channels, dtype, has_lines, lost, scale, arrival = row
        kind = np.dtype(DTYPES[int(dtype)])
        n_bytes = int(n) * int(channels) * kind.itemsize
        end = at + n_bytes + 4 * int(n) * bool(has_lines)
        if end > len(frame.payload):
            raise NervehandError("a block of the port is cut short: use the same nervehand on both sides")
        samples = np.frombuffer(frame.payload, kind, int(n) * int(channels), at).reshape(
            int(n), int(channels)
        )
        lines = np.frombuffer(frame.payload, "<u4", int(n), at + n_bytes) if has_lines else None
        at = end
        yield SignalBlock(samples, int(first), int(arrival), int(lost), float(scale), lines)
