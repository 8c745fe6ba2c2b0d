"""The virtual hand's frames."""

from __future__ import annotations

import binascii
from collections.abc import Iterator

import numpy as np

from firmware_bridge.hands import virtual_protocol as protocol

_POSITIONS = np.linspace(-1, 1, 6, dtype=np.float32)


def seeds() -> Iterator[bytes]:
    state = protocol.StateFrame(7, _POSITIONS, True, False, 3, 4)
    for kind, frame in (
        (0, protocol.encode_command(protocol.CommandFrame(1, _POSITIONS, 3))),
        (0, protocol.encode_command(protocol.CommandFrame(2, None, 4))),
        (1, protocol.encode_state(state)),
        (2, protocol.encode_info(protocol.VIRTUAL_HAND)),
    ):
        yield bytes([kind]) + frame
        yield bytes([kind + 4]) + frame[:-2] if kind < 2 else bytes([kind]) + frame


def check(data: bytes) -> None:
    """Byte 0 says which frame, and whether a right checksum is put at its end."""
    if not data:
        return
    kind, frame = data[0] & 3, data[1:]
    if data[0] & 4:
        frame += binascii.crc_hqx(frame, 0xFFFF).to_bytes(2, "little")
    try:
        if kind == 0:
            assert protocol.encode_command(protocol.decode_command(frame)) == frame
        elif kind == 1:
            assert protocol.encode_state(protocol.decode_state(frame)) == frame
        else:
            assert protocol.encode_info(protocol.decode_info(frame, "fuzzed")) == frame
    except protocol.FrameError:
        return
