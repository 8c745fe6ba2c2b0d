"""The header of a session, as JSON."""

from __future__ import annotations

from collections.abc import Iterator

from decoder.session.layout import Header, streams
from decoder.session.model import SessionMeta
from firmware_bridge.errors import NervehandError
from tests.fuzz.targets._rooms import INFO


def seeds() -> Iterator[bytes]:
    plain = Header(INFO, SessionMeta("fuzzed"))
    yield plain.to_json().encode()
    row = (0.0, None, 1.0, 0.5, -1.0, 0.0)
    full = Header(
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
    yield full.to_json().encode()


def check(data: bytes) -> None:
    try:
        header = Header.from_json(data.decode(errors="replace"))
        header.postures_array()
        streams(header)
        assert Header.from_json(header.to_json()) == header
    except NervehandError:
        return
