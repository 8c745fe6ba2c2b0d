"""What a ROHand answers, in a stream of any bytes, cut anywhere."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from functools import reduce
from operator import xor

from firmware_bridge.hands._rohand import RohandDialect, answer_shape
from tests.fuzz.targets._checked import check_stream

_STATE = struct.pack("<6H6H6B", *range(0, 60000, 10000), *range(6), 0, 1, 2, 3, 4, 5)
_SHAPE = answer_shape(2)


def seeds() -> Iterator[bytes]:
    version, firmware, speed, state = (
        _answer(0, b"\0\3"),
        _answer(1, b"\x35\1\1\3"),
        _answer(0x5F, b""),
        _answer(0x5F, _STATE),
    )
    yield b"\x1e" + version + firmware + speed + state
    yield b"\x81" + b"\x55\xaa\1" + state[:-3] + state + _answer(0xDF, b"\x23") + state
    yield b"\x08" + _answer(0x80, b"\x21") + b"\xf7\x5f\x1e" + _STATE


def check(data: bytes) -> None:
    check_stream(data, _SHAPE, lambda body: reduce(xor, body, 0), RohandDialect(2), _answer)


def _answer(command: int, data: bytes) -> bytes:
    body = bytes([1, 2, command, len(data)]) + data
    return b"\x55\xaa" + body + bytes([reduce(xor, body, 0)])
