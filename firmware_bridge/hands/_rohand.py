"""OYMotion ROHand, serial command set ("OHand Communication Protocol" V3.0): frames out, reports in.

Sources, all of GitHub's oymotion: roh_firmware protocol/OHandSerialProtocol_EN.md (frames, commands, error codes, LRC),
protocol/OHandModBusRTUProtocol_EN.md 4.3 (status codes), firmware/RELEASE_INFO.md, FAQs/FAQs_EN.md; ohand_serial_sdk
(include/OHandSerialAPI.h, example/custom_cmd_test) and ohand_serial_sdk_python: the maker's own clients.

Request, 115200 8N1: 55 AA hand master command n data[n] LRC; LRC is the XOR of byte 2 to the last of the data. The
answer swaps the two ids (the document's table does not say so; its example and both clients do). A refusal is
command | 0x80 with one byte, the error code.

Every exchange but the greeting is command 0x5F (CMD_SET_CUSTOM), which sets positions and reads in one frame: a byte of
flags, then six uint16 little-endian for each kind that is set; the answer has six uint16 each of positions (0 open to
65535 closed) and currents (mA), and six status bytes. The document's "[MOTOR_CNT, DATA_FLAG, ...]" is not what the
maker's clients send: they begin with the flags, and so do we. 0x50 (all positions, each with a speed byte) is not used:
it reads nothing, and firmware V3.1-168 to V3.1-209 expects another layout of it. Before V3.0-168 0x5F was another, too:
such firmware is refused.

Order of the motors: thumb, index, middle, ring, little finger, thumb rotation. Force (flag 0x40) is, by the maker's
release notes, estimated from the current, so it is not read; no command reads a temperature, and the battery's
voltage is "ignore for ROH please".
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from functools import reduce
from operator import xor

import numpy as np
from numpy.typing import NDArray

from firmware_bridge.errors import NervehandError
from firmware_bridge.hands._checked_frames import FrameShape, FrameStream
from firmware_bridge.hands._dialect import REFUSAL_READINGS, Report

BAUD = 115200
MASTER_ID = 1
HAND_IDS = range(2, 248)
DEFAULT_ID = 2
N_MOTORS = 6
FULL = 65535
"""Closed, in positions; and the whole range in a second, in the unit of speeds: 0 to 65535 a second."""

GET_PROTOCOL_VERSION, GET_FIRMWARE_VERSION, SET_CUSTOM = 0x00, 0x01, 0x5F
REFUSED = 0x80
SET_SPEED, SET_POSITION = 0x01, 0x02
GET_POSITION, GET_CURRENT, GET_STATUS = 0x08, 0x20, 0x80
_READ = GET_POSITION | GET_CURRENT | GET_STATUS
_STATE = struct.Struct("<6H6H6B")
_MAX_DATA = 64

PROTOCOL_MAJOR = 3
OLDEST_FIRMWARE = (3, 0, 168)

STATUS_OVER_CURRENT, STATUS_STUCK, LAST_STATUS = 3, 5, 5
ERROR_CHECKSUM, ERROR_STUCK = 0x01, 0x23
ERRORS_FOR_GOOD = (0x11, 0x12, 0x13, 0x22)
"""In answer to a greeting: trying again would not help."""

ERRORS = {
    0x11: "it does not know the command",
    0x12: "the command has another length",
    0x13: "the command has values that it does not take",
    0x21: "it is still initialising",
    0x22: "it waits for its calibration, which needs the maker's tool",
    ERROR_STUCK: "a motor is stuck",
    0x31: "the operation failed",
    0x32: "saving failed",
}


def lrc(data: bytes) -> int:
    return reduce(xor, data, 0)


def _shape(start: bytes) -> FrameShape:
    return FrameShape(start, length_at=5, overhead=7, shortest=7, longest=7 + _MAX_DATA, checksum=lrc)


def answer_shape(hand_id: int) -> FrameShape:
    """What hand `hand_id` answers; its own requests, echoed by an adapter, are no frames of it."""
    return _shape(bytes([0x55, 0xAA, MASTER_ID, hand_id]))


def encode(hand_id: int, command: int, data: bytes = b"") -> bytes:
    """A request; LRC included."""
    start = bytes([0x55, 0xAA, hand_id, MASTER_ID])
    return _shape(start).sealed(start + bytes([command, len(data)]) + data)


class RohandDialect:
    """One connection with hand `hand_id`, as a `Dialect`. Joints are motors, in positions of 0 to 65535.

    The motors move at their full speed: the gate limits how fast positions change. A refused move is told for
    REFUSAL_READINGS readings, where no move succeeds before.
    """

    window = 1

    def __init__(self, hand_id: int) -> None:
        self.bad_frames = 0
        self.skipped_bytes = 0
        self._hand_id = hand_id
        self._stream = FrameStream(answer_shape(hand_id))
        self._bad_answers = 0
        self._greetings: dict[int, bytes] = {}
        self._has_moved = False
        self._refusal, self._refusal_left, self._stuck_left = "", 0, 0

    def begin(self) -> tuple[bytes, ...]:
        self._stream.forget()
        self._has_moved = False
        self._refusal, self._refusal_left, self._stuck_left = "", 0, 0
        full_speed = struct.pack("<B6H", SET_SPEED, *[FULL] * N_MOTORS)
        self._greetings = {
            GET_PROTOCOL_VERSION: encode(self._hand_id, GET_PROTOCOL_VERSION),
            GET_FIRMWARE_VERSION: encode(self._hand_id, GET_FIRMWARE_VERSION),
            SET_CUSTOM: encode(self._hand_id, SET_CUSTOM, full_speed),
        }
        return tuple(self._greetings.values())

    def end(self) -> tuple[bytes, ...]:
        return ()

    def move(self, joints: NDArray[np.float64], number: int, now_ns: int) -> bytes:
        self._stream.forget()
        self._has_moved = True
        positions = np.clip(np.rint(joints), 0, FULL).astype(int).tolist()
        return encode(self._hand_id, SET_CUSTOM, struct.pack("<B6H", SET_POSITION | _READ, *positions))

    def ask(self, number: int, now_ns: int) -> bytes:
        """The state; before it whatever of the greeting was not answered well, an initialising hand's for example."""
        self._stream.forget()
        self._has_moved = False
        read = encode(self._hand_id, SET_CUSTOM, bytes([_READ]))
        return next(iter(self._greetings.values()), read)

    def grip(self, name: str, speed: float, number: int, now_ns: int) -> bytes:
        raise NervehandError(f"a ROHand has no grip {name!r}: it has none of its own")

    def receive(self, data: bytes) -> list[Report]:
        reports = []
        for frame in self._stream.feed(data):
            report = self._report(frame[4], frame[6:-1])
            if report is None:
                self._bad_answers += 1
            else:
                reports.append(report)
        self.bad_frames = self._stream.bad_frames + self._bad_answers
        self.skipped_bytes = self._stream.skipped_bytes
        return reports

    def _report(self, command: int, data: bytes) -> Report | None:
        """None for an answer that fits none of our questions."""
        if command & REFUSED and command & ~REFUSED in _ANSWERS and len(data) == 1:
            return self._refused(command & ~REFUSED, data[0])
        answered = _ANSWERS.get(command)
        return None if answered is None else answered(self, data)

    def _refused(self, command: int, code: int) -> Report | None:
        if code == ERROR_CHECKSUM:  # it did not read the frame, which is then sent again
            return None
        why = ERRORS.get(code, f"error 0x{code:02X}, which its document does not name")
        if self._greetings and code in ERRORS_FOR_GOOD:
            return Report(misfit=f"it refuses command 0x{command:02X}: {why}")
        if command == SET_CUSTOM and self._has_moved:
            if code == ERROR_STUCK:
                self._stuck_left = REFUSAL_READINGS
                return Report(stalled=True)
            self._refusal, self._refusal_left = f"it does not move: {why}", REFUSAL_READINGS
            return Report(fault=self._refusal)
        return Report(fault=f"it does not answer as it should: {why}")

    def _protocol_version(self, data: bytes) -> Report | None:
        if len(data) != 2:
            return None
        self._greetings.pop(GET_PROTOCOL_VERSION, None)
        minor, major = data
        if major != PROTOCOL_MAJOR:
            return Report(misfit=f"it speaks protocol {major}.{minor}, not {PROTOCOL_MAJOR}.x")
        return Report()

    def _firmware_version(self, data: bytes) -> Report | None:
        if len(data) != 4:
            return None
        self._greetings.pop(GET_FIRMWARE_VERSION, None)
        revision, minor, major = struct.unpack("<HBB", data)
        if (major, minor, revision) < OLDEST_FIRMWARE:
            oldest = "V{}.{}-{}".format(*OLDEST_FIRMWARE)
            return Report(
                misfit=f"its firmware is V{major}.{minor}-{revision}: update it to {oldest} or later"
            )
        return Report()

    def _custom(self, data: bytes) -> Report | None:
        if not data:
            self._greetings.pop(SET_CUSTOM, None)
            return Report()
        if len(data) != _STATE.size:
            return None
        words = _STATE.unpack(data)
        status = words[2 * N_MOTORS :]
        if self._has_moved:
            self._refusal_left = self._stuck_left = 0
        stopped = {STATUS_OVER_CURRENT, STATUS_STUCK} & set(status)
        report = Report(
            joints=np.array(words[:N_MOTORS], float),
            currents_a=np.array(words[N_MOTORS : 2 * N_MOTORS], float) / 1000,
            stalled=bool(stopped or self._stuck_left),
            fault=self._refusal if self._refusal_left else _status_fault(status),
        )
        self._refusal_left = max(self._refusal_left - 1, 0)
        self._stuck_left = max(self._stuck_left - 1, 0)
        return report


def _status_fault(status: tuple[int, ...]) -> str:
    worst = max(status)
    return f"a motor's status is {worst}, which its document does not name" if worst > LAST_STATUS else ""


_ANSWERS: dict[int, Callable[[RohandDialect, bytes], Report | None]] = {
    GET_PROTOCOL_VERSION: RohandDialect._protocol_version,
    GET_FIRMWARE_VERSION: RohandDialect._firmware_version,
    SET_CUSTOM: RohandDialect._custom,
}
