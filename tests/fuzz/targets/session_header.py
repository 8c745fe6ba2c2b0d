"""The header of a session, as JSON."""

from __future__ import annotations

from collections.abc import Iterator

from decoder.session.layout import Header, streams
from decoder.session.model import SessionMeta
from firmware_bridge.errors import NervehandError
from tests.fuzz.targets._json import edited
from tests.fuzz.targets._rooms import INFO


def seeds() -> Iterator[bytes]:
    yield b"\0" + Header(INFO, SessionMeta("fuzzed")).to_json().encode()
    yield b"\1" + bytes([3, 2, 7, 9, 0, 1, 20, 1, 4])


def _full() -> Header:
    row = (0.0, None, 1.0, 0.5, -1.0, 0.0)
    return Header(
        INFO,
        SessionMeta("x", "p", "left"),
        "int16",
        0.2,
        5,
        ("rest", "a"),
        ("t",),
        ("u",),
        (row, row),
        ("o",),
        "b",
    )


def check(data: bytes) -> None:
    """Byte 0: any text, or a whole header with edits."""
    text = data[1:].decode(errors="replace") if data[:1] == b"\0" else edited(_full().to_json(), data[1:])
    try:
        header = Header.from_json(text)
        header.postures_array()
        streams(header)
        assert Header.from_json(header.to_json()) == header
    except NervehandError:
        return
