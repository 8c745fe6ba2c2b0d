"""Frames of the port: a header of JSON and a binary payload, each of a stated length (docs/port.md).

Layout, little-endian: 4 bytes b"NHP1", header length uint32, payload length uint32, the header (UTF-8), the payload.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from firmware_bridge.errors import NervehandError

VERSION = 1
"""Of all that is said over it. Both sides must speak the same."""
MAGIC = b"NHP1"
HEAD = struct.Struct("<4sII")
MOST_GREETING_BYTES = 4096
"""Of a header before the other side has shown that it knows the token; a payload there is none then."""
MOST_HEADER_BYTES = 1 << 20
MOST_PAYLOAD_BYTES = 64 << 20
"""Of samples and views, which are far smaller."""
MOST_REQUEST_BYTES = 16 << 20
"""Of what comes with a request. Bundles have some megabytes; copying far more would hold up an engine."""
URGENT = ("stop", "release")
"""Requests that wait behind no others, and are passed on however late they come."""


class Frame(NamedTuple):
    """One frame; `header` has a "kind", except in the greeting."""

    header: dict[str, object]
    payload: bytes


def encoded(header: Mapping[str, object], payload: bytes = b"") -> bytes:
    """A frame as bytes; NervehandError where it is longer than anybody takes."""
    text = json.dumps(header, separators=(",", ":")).encode()
    if len(text) > MOST_HEADER_BYTES or len(payload) > MOST_PAYLOAD_BYTES:
        raise NervehandError(
            f"{len(text)} and {len(payload)} bytes are too much for one message: at most {MOST_HEADER_BYTES} of "
            f"text and {MOST_PAYLOAD_BYTES} beside it"
        )
    return b"".join((HEAD.pack(MAGIC, len(text), len(payload)), text, payload))


class FrameReader:
    """Bytes as they come, cut into frames. It holds no more than one frame and what was fed at once.

    `most_header` and `most_payload` are limits in bytes; they may be changed between two frames.
    """

    def __init__(self, most_header: int = MOST_HEADER_BYTES, most_payload: int = MOST_PAYLOAD_BYTES) -> None:
        self.most_header, self.most_payload = most_header, most_payload
        self._bytes = bytearray()

    def feed(self, received: bytes) -> None:
        """Append what was received."""
        self._bytes += received

    def frames(self) -> Iterator[Frame]:
        """The frames that are whole; NervehandError says what is wrong with what came."""
        while (frame := self._next()) is not None:
            yield frame

    def _next(self) -> Frame | None:
        if len(self._bytes) < HEAD.size:
            if not MAGIC.startswith(self._bytes[:4]):
                raise NervehandError("what came is no frame of a port: is something else at this address?")
            return None
        magic, n_header, n_payload = HEAD.unpack_from(self._bytes)
        if magic != MAGIC:
            raise NervehandError("what came is no frame of a port: is something else at this address?")
        if n_header > self.most_header or n_payload > self.most_payload:
            raise NervehandError(
                f"a message of {n_header} and {n_payload} bytes: at most {self.most_header} and {self.most_payload}"
            )
        start, end = HEAD.size + n_header, HEAD.size + n_header + n_payload
        if len(self._bytes) < end:
            return None
        with memoryview(self._bytes) as view:
            text, payload = bytes(view[HEAD.size : start]), bytes(view[start:end])
        del self._bytes[:end]
        try:
            header = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise NervehandError(f"a message is not JSON: {str(error)[:200]}") from None
        if not isinstance(header, dict):
            raise NervehandError("a message is not a JSON object: give names and values")
        return Frame(header, payload)


def text_in(header: Mapping[str, object], name: str, most: int = 1000) -> str:
    """The text of that name; NervehandError where it is none, or longer than `most` characters."""
    value = header.get(name)
    if not isinstance(value, str) or len(value) > most:
        raise NervehandError(f"{name} is {str(value)[:40]!r}: give text of at most {most} characters")
    return value


def whole_in(header: Mapping[str, object], name: str) -> int:
    """The whole number of that name; NervehandError where it is none that 64 bits hold."""
    value = header.get(name)
    if not isinstance(value, int) or isinstance(value, bool) or abs(value) >= 1 << 63:
        raise NervehandError(f"{name} is {str(value)[:40]!r}: give a whole number")
    return value
