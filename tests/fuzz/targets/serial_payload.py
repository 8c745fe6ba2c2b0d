"""What the serial protocol's frames carry, behind their checksums."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from firmware_bridge.sources import _serial_description as description
from firmware_bridge.sources import _serial_protocol as protocol
from firmware_bridge.stream import SignalBlock, StreamInfo
from tests.fuzz.targets._json import edited

_REST = slice(protocol.HEADER_SIZE, -4)


def seeds() -> Iterator[bytes]:
    block = SignalBlock(np.arange(12, dtype=np.int16).reshape(4, 3), 7, scale_uv=0.195)
    lines = SignalBlock(block.samples, 11, scale_uv=0.195, digital=np.arange(4, dtype=np.uint32))
    yield b"\0" + protocol.encode_data(1, 5, block)[_REST]
    for n in (1, 2, 4):
        yield b"\0" + protocol.encode_data(1, 5, lines, digital_bytes=n)[_REST]
    yield b"\1" + _said()
    yield b"\5" + bytes([3, 2, 7, 9, 0, 1, 20, 1, 4])
    yield b"\2" + protocol.encode_started(1, protocol.Started(2, 3, 4))[_REST]
    yield b"\3" + protocol.encode_error(1, protocol.DeviceError(2, 3, "no"))[_REST]
    yield b"\4" + protocol.encode_start(1, 2)[_REST]


def _said() -> bytes:
    info = StreamInfo(
        10_000.0, ("a", "b"), "nerve", ("median/1", "median/2"), "median", 6389.0, (0.1, 7500.0), 60.0, (3,)
    )
    return description.encode_description(1, 2, description.Description(info, "firmware 1", (4.7e4, None)))[
        _REST
    ]


def check(data: bytes) -> None:
    """Byte 0 says which; what is accepted is encoded again."""
    if data:
        try:
            _AGAIN[data[0] % len(_AGAIN)](data[1:])
        except protocol.ProtocolError:
            return


def _data(payload: bytes) -> None:
    found = protocol.parse_data(payload)
    n_samples, n_channels = found.samples.shape
    rest = len(payload) - protocol.DATA_SIZE - 2 * n_samples * n_channels
    block = SignalBlock(found.samples, found.first_sample, 0, 0, found.scale_uv, found.digital)
    assert protocol.encode_data(0, found.stream, block, rest // n_samples)[_REST] == payload


def _description(payload: bytes) -> None:
    found = description.parse_description(payload)
    assert 1 <= found.info.n_channels <= protocol.MAX_CHANNELS
    again = description.encode_description(0, 0, found)[_REST]
    assert description.parse_description(again) == found


def _started(payload: bytes) -> None:
    assert protocol.encode_started(0, protocol.parse_started(payload))[_REST] == payload


def _error(payload: bytes) -> None:
    error = protocol.parse_error(payload)
    assert len(error.text) <= 200
    assert error.text.isprintable()


def _start(payload: bytes) -> None:
    assert protocol.encode_start(0, protocol.parse_start(payload))[_REST] == payload


def _edited_description(edits: bytes) -> None:
    said = _said()
    head, text = said[: protocol.REQUEST.size], said[protocol.REQUEST.size :]
    _description(head + edited(text, edits).encode())


_AGAIN: tuple[Callable[[bytes], None], ...] = (
    _data,
    _description,
    _started,
    _error,
    _start,
    _edited_description,
)
