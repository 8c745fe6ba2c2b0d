"""The command set of Open Bionics' Hero RGD and Hero PRO hands as a dialect. Not tried on a real hand.

From github.com/Open-Bionics/MyoLink: Docs/hand_control_protocol.md, and the vendor's client, myolink/device/hand.py. A
frame is one write or notification of the same characteristic. Floats are big-endian float32; a position is 0 (fully
open) to 1 (fully closed); digits 0 to 4 are thumb to little finger ("pinky"):

| bytes | field |
|---|---|
| 0 | schema, 0x00 |
| 1 | command: 0x06 digits, 0x07 grip |
| 2 | 0x01 request; in a response the status, 0x00 for success |
| 3 | number of bytes that follow |
| digits, set | 0x01, then for each digit its number and its position; not answered |
| digits, get | 0x00, then the numbers of the digits; answered with each digit's number and position |
| grip, set | 0x00 relax, 0x01 point, 0x02 hook, 0x03 pinch, 0x04 cylindrical, 0x05 tripod; not answered |

The document says that byte 2 of a response is 0x00; the client takes bits 0 to 2 as a status and bit 7 as "a request",
which is what is done here. The client never asks for positions: that they are told rests on the document alone. Neither
writes more than it must: commands go out without response there, here with one where the characteristic has it, so that
it is known whether they arrive.

Digits are asked for in two frames, so that each answer fits the smallest ATT MTU. A position is reported once each
digit was told since the last report. A position that is far from 0 to 1 is none: such a frame is refused.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from firmware_bridge.errors import NervehandError
from firmware_bridge.hands._ble_wire import Gatt
from firmware_bridge.hands._dialect import REFUSAL_READINGS, Report

_CONTROL_UUID = "0b0b4102-feed-dead-bee5-0be9b1091c50"
GATT = Gatt("0b0b4000-feed-dead-bee5-0be9b1091c50", _CONTROL_UUID, _CONTROL_UUID)

DIGITS = ("thumb", "index", "middle", "ring", "pinky")
GRIPS = ("relax", "point", "hook", "pinch", "cylindrical", "tripod")
SCHEMA, REQUEST = 0x00, 0x01
SET_DIGITS, SET_GRIP = 0x06, 0x07
GET, SET = 0x00, 0x01
STATUSES = (
    "success",
    "invalid command",
    "invalid parameter",
    "invalid length",
    "invalid data",
    "internal error",
)

PLAUSIBLE = (-0.5, 1.5)
"""Positions that are taken for some: a digit may overshoot, or be set up a little off."""

_ASKED = ((0, 1, 2), (3, 4))
_DIGIT = struct.Struct(">Bf")


def request(command: int, payload: bytes) -> bytes:
    return bytes([SCHEMA, command, REQUEST, len(payload)]) + payload


def set_digits(positions: Iterable[tuple[int, float]]) -> bytes:
    """Digits by number, each with its position of 0 to 1."""
    return request(SET_DIGITS, bytes([SET]) + b"".join(_DIGIT.pack(*digit) for digit in positions))


class HeroDialect:
    """Nothing that moves the hand is answered, so each write is waited for; what it tells, it was asked.

    A refused command is told for REFUSAL_READINGS readings: nothing tells that a later one was obeyed.
    """

    window = 0

    def __init__(self) -> None:
        self.bad_frames = 0
        self.skipped_bytes = 0
        self.begin()

    def begin(self) -> tuple[bytes, ...]:
        self._positions = np.full(len(DIGITS), np.nan)
        self._asks = 0
        self._refusal, self._refusal_left = "", 0
        return ()

    def end(self) -> tuple[bytes, ...]:
        return ()

    def move(self, joints: NDArray[np.float64], number: int, now_ns: int) -> bytes:
        return set_digits(enumerate(np.clip(joints, 0, 1).tolist()))

    def ask(self, number: int, now_ns: int) -> bytes:
        digits = _ASKED[self._asks % len(_ASKED)]
        self._asks += 1
        return request(SET_DIGITS, bytes([GET, *digits]))

    def grip(self, name: str, speed: float, number: int, now_ns: int) -> bytes:
        """At the hand's own speed, whatever `speed` is."""
        if name not in GRIPS:
            raise NervehandError(f"a Hero hand has no grip {name!r}: use one of {', '.join(GRIPS)}")
        return request(SET_GRIP, bytes([GRIPS.index(name)]))

    def receive(self, data: bytes) -> Iterable[Report]:
        if len(data) < 4 or data[0] != SCHEMA or data[2] & 0x80 or len(data) != 4 + data[3]:
            self.bad_frames += 1
            return ()
        status = data[2] & 0x07
        if status:
            name = STATUSES[status] if status < len(STATUSES) else f"status {status}"
            self._refusal, self._refusal_left = (
                f"it refuses command 0x{data[1]:02x}: {name}",
                REFUSAL_READINGS,
            )
            return (Report(is_answer=False, fault=self._refusal),)
        if data[1] != SET_DIGITS or len(data) == 4:
            return ()
        try:
            digits = list(_DIGIT.iter_unpack(data[4:]))
        except struct.error:
            digits = []
        least, most = PLAUSIBLE
        if not digits or not all(i < len(DIGITS) and least <= p <= most for i, p in digits):
            self.bad_frames += 1
            return ()
        for i, position in digits:
            self._positions[i] = position
        if np.isnan(self._positions).any():
            return ()
        positions, self._positions = self._positions, np.full(len(DIGITS), np.nan)
        fault = self._refusal if self._refusal_left else ""
        self._refusal_left = max(self._refusal_left - 1, 0)
        return (Report(joints=positions, is_answer=False, fault=fault),)
