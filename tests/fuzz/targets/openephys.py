"""Open Ephys' messages, and the blocks that are put together from them."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from firmware_bridge.errors import NervehandError
from firmware_bridge.sources import _openephys_protocol as protocol
from firmware_bridge.sources._openephys_assembly import Assembler, DigitalLines, Listener
from tests.fuzz.targets._json import edited

_BETWEEN_MESSAGES, _BETWEEN_PARTS = b"\xf7\xf7", b"\xf5\xf5"
_EDITED = b"\xf1"
_CHANNELS, _LENGTH = 2, 3


def _message(channel: int, sample_num: int) -> bytes:
    samples = np.arange(_LENGTH, dtype=np.float32)
    data = protocol.Data("s", channel, f"CH{channel + 1}", sample_num, 30_000.0, samples)
    return _BETWEEN_PARTS.join(protocol.encode_data(data, 1))


def seeds() -> Iterator[bytes]:
    blocks = [_message(channel, first) for first in (10, 13, 19) for channel in range(_CHANNELS)]
    ttl = _BETWEEN_PARTS.join(protocol.encode_ttl(protocol.Ttl("s", 100, 14, 5), 2, 3))
    yield _BETWEEN_MESSAGES.join(blocks[:3])
    yield _BETWEEN_MESSAGES.join([*blocks[:2], ttl, *blocks[2:]])
    yield ttl
    yield _BETWEEN_MESSAGES.join([_EDITED + bytes([0, 5, 2, 7]), _EDITED + bytes([1, 3, 2, 9]), blocks[0]])


def check(data: bytes) -> None:
    """Messages in a row, as one stream's."""
    listener, lines = Listener(), DigitalLines()
    assembler: Assembler | None = None
    for number, message in enumerate(data.split(_BETWEEN_MESSAGES)):
        parts = message.split(_BETWEEN_PARTS)
        if parts[0][:1] == _EDITED:
            parts = _edited(parts)
        try:
            found = protocol.parse(parts)
            if found is None:
                continue
            _same_again(found, parts)
            if isinstance(found, protocol.Ttl):
                lines.take(found)
                continue
            if assembler is None:
                heard = listener.take(found)
                assembler = None if heard is None else Assembler(heard)
                continue
            block = assembler.take(found)
            if block is not None:
                first, samples = block
                assert samples.dtype == np.float32
                assert lines.lines(first, len(samples)).shape == (len(samples),)
        except NervehandError:
            if number % 2:
                assembler = None
            continue


def _edited(parts: list[bytes]) -> list[bytes]:
    """A whole message, with edits in its header and the values of the input, where it has any."""
    whole = _message(parts[0][1] % _CHANNELS if len(parts[0]) > 1 else 0, 10).split(_BETWEEN_PARTS)
    header = edited(whole[1], parts[0][2:]).encode()
    return [whole[0], header, *(parts[1:2] or whole[2:])]


def _same_again(found: protocol.Data | protocol.Ttl, parts: list[bytes]) -> None:
    """What was accepted is in the bytes that it came from, and encodes to a message that says the same."""
    if isinstance(found, protocol.Data):
        assert found.samples.tobytes() == parts[2]
        again = protocol.parse(protocol.encode_data(found, 0))
        assert isinstance(again, protocol.Data)
        assert again.samples.tobytes() == parts[2]
        names = ("stream", "channel_num", "channel_name", "sample_num", "sample_rate")
        assert all(getattr(again, name) == getattr(found, name) for name in names)
    else:
        assert protocol.parse(protocol.encode_ttl(found, 0, 0)) == found
