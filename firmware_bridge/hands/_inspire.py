"""Inspire-Robots RH56, serial command set: registers written and read; frames out, reports in.

Sources: GitHub's TechShare-inc/inspire_demos (inspire_demos/inspire_serial.py: frames, register addresses, 1000 is open
and 0 closed, as docs/ROS2 and Unitree's client have it too); WiseZenn/pyrh56 docs/official-driver-review.md (the RH56
user manual V1.09, page by page: answers begin with 90 EB, units, bits, codes, consecutive registers may be read and
written at once) and docs/hardware-test-report.md (a real hand: 6.6 ms an exchange, STATUS 255 before the first command,
forces below 0); correlllab/rh56_controller rh56_hand.py (signed values, 800 ms for the whole range at speed 1000).

Request, 115200 8N1: EB 90 id n command addressL addressH data sum; n counts from the command to the last data byte, sum
is of byte 2 to the last data byte, modulo 256. Write: command 0x12, the data. Read: command 0x11, one byte, how many.
Answer: 90 EB id n command addressL addressH data sum; a write is answered with one byte, 1.

| register | address | what |
|---|---|---|
| CLEAR_ERROR | 1004 | 1 clears every error but over-temperature, which ends by itself |
| ANGLE_SET | 1486 | six int16, 0 (closed) to 1000 (open); -1 leaves a finger alone, and is never sent |
| SPEED_SET | 1522 | six int16, 0 to 1000 |
| ANGLE_ACT | 1546 | six int16 |
| FORCE_ACT | 1582 | six int16, grams |
| CURRENT | 1594 | six int16, mA |
| ERROR | 1606 | six bytes of bits: stall, over-temperature, over-current, motor, communication |
| STATUS | 1612 | six bytes: opening, closing, at the position, at the force (3), 5 current, 6 stall, 7 fault |
| TEMP | 1618 | six bytes, degrees Celsius |

Order of the fingers: little, ring, middle, index, thumb bend, thumb rotation. The angles are one reading; FORCE_ACT to
TEMP, 42 consecutive bytes, are another; they take turns. Not used: FORCE_SET (1498), at which a closing finger stops,
stays as the hand has it; the action sequences (ACTION_SEQ_INDEX 2320, ACTION_SEQ_RUN 2322), since what they do is
stored in the hand and nothing tells what that is. The document's clients do not look at the answer of a write; the
manual's 1 is asked for here.
"""

from __future__ import annotations

import struct

import numpy as np
from numpy.typing import NDArray

from firmware_bridge.errors import NervehandError
from firmware_bridge.hands._checked_frames import FrameShape, FrameStream
from firmware_bridge.hands._dialect import Report

BAUD = 115200
HAND_IDS = range(1, 255)
DEFAULT_ID = 1
N_FINGERS = 6
OPEN = 1000
FULL_SPEED = 1000

READ, WRITE = 0x11, 0x12
CLEAR_ERROR, ANGLE_SET, SPEED_SET, ANGLE_ACT, FORCE_ACT = 1004, 1486, 1522, 1546, 1582
NEWTON_PER_GRAM = 9.80665e-3

STALL, TOO_HOT = 0x01, 0x02
CLEARABLE = 0x1D
ERRORS = {0x04: "over-current", 0x08: "motor fault", 0x10: "communication fault"}
NEAR = 10
"""Angles that a target may be more closed than its finger, and still not push it on."""

CLEAR_EVERY = 10
"""Readings of the errors before they are cleared once more."""

STATUS_STOPPED = {5, 6}
"""Current protection and stall."""

STATUS_FAULT, STATUS_UNTOLD = 7, 255
STATUS_KNOWN = {0, 1, 2, 3, STATUS_FAULT, STATUS_UNTOLD} | STATUS_STOPPED

_WORDS = struct.Struct("<6h")
_REST = struct.Struct("<6h6h6B6B6B")


def checksum(data: bytes) -> int:
    return sum(data) & 0xFF


def _shape(start: bytes) -> FrameShape:
    return FrameShape(start, length_at=3, overhead=5, shortest=8, longest=8 + _REST.size, checksum=checksum)


def answer_shape(hand_id: int) -> FrameShape:
    """What hand `hand_id` answers."""
    return _shape(bytes([0x90, 0xEB, hand_id]))


def encode(hand_id: int, command: int, address: int, data: bytes) -> bytes:
    """A request; checksum included."""
    start = bytes([0xEB, 0x90, hand_id])
    return _shape(start).sealed(start + struct.pack("<BBH", len(data) + 3, command, address) + data)


class InspireDialect:
    """One connection with hand `hand_id`, as a `Dialect`. Joints are fingers, in angles of 0 (closed) to 1000 (open).

    A finger with an error does not obey, a release neither. So errors are cleared once the newest target of each such
    finger is where it is or more open: never to push on. A target counts once the hand has answered that it took it;
    while an answer is missing it may hold the one before, and nothing is cleared. Before the first move the targets are
    made the angles first.
    Fingers move at their full speed: the gate limits how fast positions change.
    """

    window = 1

    def __init__(self, hand_id: int) -> None:
        self.bad_frames = 0
        self.skipped_bytes = 0
        self._hand_id = hand_id
        self._stream = FrameStream(answer_shape(hand_id))
        self._bad_answers = 0
        self._start()

    def _start(self) -> None:
        self._stream.forget()
        self._is_rest_next = False
        self._asked_targets: NDArray[np.float64] | None = None
        self._targets: NDArray[np.float64] | None = None
        self._was_moved = False
        self._angles: NDArray[np.float64] | None = None
        self._has_error = np.zeros(N_FINGERS, bool)
        self._clears_in = 0

    def begin(self) -> tuple[bytes, ...]:
        self._start()
        full_speed = np.full(N_FINGERS, float(FULL_SPEED))
        return (self._set(SPEED_SET, full_speed), self._read(FORCE_ACT, _REST.size))

    def end(self) -> tuple[bytes, ...]:
        return ()

    def move(self, joints: NDArray[np.float64], number: int, now_ns: int) -> bytes:
        self._stream.forget()
        self._asked_targets, self._was_moved = joints, True
        return self._set(ANGLE_SET, joints)

    def ask(self, number: int, now_ns: int) -> bytes:
        """The angles and the rest of the state in turn; between them what clears an error."""
        self._stream.forget()
        if (frame := self._clearing()) is not None:
            return frame
        self._is_rest_next = not self._is_rest_next
        return self._read(ANGLE_ACT, _WORDS.size) if self._is_rest_next else self._read(FORCE_ACT, _REST.size)

    def grip(self, name: str, speed: float, number: int, now_ns: int) -> bytes:
        raise NervehandError(
            f"an RH56 has no grip {name!r}: what its action sequences do is stored in the hand"
        )

    def receive(self, data: bytes) -> list[Report]:
        reports = []
        for frame in self._stream.feed(data):
            command, address = struct.unpack_from("<BH", frame, 4)
            report = self._report(command, address, frame[7:-1])
            if report is None:
                self._bad_answers += 1
            else:
                reports.append(report)
        self.bad_frames = self._stream.bad_frames + self._bad_answers
        self.skipped_bytes = self._stream.skipped_bytes
        return reports

    def _read(self, address: int, size: int) -> bytes:
        return encode(self._hand_id, READ, address, bytes([size]))

    def _set(self, address: int, values: NDArray[np.float64]) -> bytes:
        words = np.clip(np.rint(values), 0, 1000).astype(int).tolist()
        return encode(self._hand_id, WRITE, address, _WORDS.pack(*words))

    def _report(self, command: int, address: int, data: bytes) -> Report | None:
        """None for an answer that fits none of our questions."""
        if command == READ and address == ANGLE_ACT and len(data) == _WORDS.size:
            self._angles = np.array(_WORDS.unpack(data), dtype=np.float64)
            return Report(joints=self._angles)
        if command == READ and address == FORCE_ACT and len(data) == _REST.size:
            return self._rest(_REST.unpack(data))
        if command != WRITE or address not in (ANGLE_SET, SPEED_SET, CLEAR_ERROR) or data != b"\x01":
            return None
        if address == ANGLE_SET:
            self._targets = self._asked_targets
        return Report()

    def _rest(self, values: tuple[int, ...]) -> Report:
        forces, currents, errors, status, temperatures = (
            values[at : at + N_FINGERS] for at in range(0, len(values), N_FINGERS)
        )
        bits = int(np.bitwise_or.reduce(errors))
        self._has_error = (np.array(errors) & CLEARABLE) != 0
        self._clears_in = max(self._clears_in - 1, 0)
        return Report(
            forces_n=np.array(forces) * NEWTON_PER_GRAM,
            currents_a=np.array(currents) / 1000,
            temperature_c=float(max(temperatures)),
            hot=bool(bits & TOO_HOT),
            stalled=bool(bits & STALL or STATUS_STOPPED & set(status)),
            fault=_fault(bits, status),
        )

    def _clearing(self) -> bytes | None:
        """What clears the errors, where that may be done; not again before some readings have passed."""
        if not self._has_error.any() or self._angles is None or self._clears_in:
            return None
        if self._targets is not self._asked_targets:
            if not self._was_moved:
                self._asked_targets = self._targets  # lost, so it is written once more after this reading
            return None
        if self._targets is None:
            self._asked_targets = self._angles
            return self._set(ANGLE_SET, self._angles)
        if (self._targets < self._angles - NEAR)[self._has_error].any():
            return None
        self._clears_in = CLEAR_EVERY
        return encode(self._hand_id, WRITE, CLEAR_ERROR, b"\x01")


def _fault(bits: int, status: tuple[int, ...]) -> str:
    found = [name for bit, name in ERRORS.items() if bits & bit]
    if bits >> 5:
        found.append(f"error bits 0x{bits & ~0x1F:02X}, which its manual does not name")
    if STATUS_FAULT in status and not bits & (STALL | TOO_HOT) and not found:
        found.append("a finger stopped with a fault")
    unknown = set(status) - STATUS_KNOWN
    if unknown:
        found.append(f"a finger's status is {max(unknown)}, which its manual does not name")
    return ", ".join(found)
