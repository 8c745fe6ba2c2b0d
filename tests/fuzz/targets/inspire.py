"""What an Inspire RH56 answers, in a stream of any bytes, cut anywhere."""

from __future__ import annotations

import struct
from collections.abc import Iterator

from firmware_bridge.hands._inspire import InspireDialect, answer_shape
from tests.fuzz.targets._checked import check_stream

_ANGLES = struct.pack("<6h", 0, 200, 400, 600, 800, 1000)
_REST = struct.pack("<6h6h", *range(-3, 3), *range(6)) + bytes([0, 1, 2, 4, 8, 16, *range(6), *range(30, 36)])
_SHAPE = answer_shape(1)
_KINDS = ((0x12, 1522), (0x11, 1582), (0x11, 1546), (0x12, 1486), (0x12, 1004))


def seeds() -> Iterator[bytes]:
    greeting = _answer(0, b"\1") + _answer(1, _REST)
    yield b"\x1e" + greeting + _answer(2, _ANGLES) + _answer(1, _REST) + _answer(4, b"\1")
    yield b"\x81" + b"\x90\xeb\1" + greeting[:-3] + _answer(3, b"\1") + _answer(1, _REST)
    yield b"\x08" + greeting + b"\xf7\2\x0c" + _ANGLES


def check(data: bytes) -> None:
    check_stream(data, _SHAPE, lambda body: sum(body) % 256, InspireDialect(1), _answer)


def _answer(kind: int, data: bytes) -> bytes:
    command, address = _KINDS[kind % len(_KINDS)]
    body = struct.pack("<BBBH", 1, (len(data) + 3) % 256, command, address) + data
    return b"\x90\xeb" + body + bytes([sum(body) % 256])
