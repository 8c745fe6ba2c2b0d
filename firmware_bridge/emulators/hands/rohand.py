"""An emulated ROHand on its serial line, read from the maker's documents and not from our driver.

OHandSerialProtocol_EN.md has the frames, commands and error codes; the maker's example custom_cmd_test command 0x5F;
OHandModBusRTUProtocol_EN.md 4.3 the status codes. FAQs_EN.md: at most 0.25 A moving without load, a motor stops above
500 mA. It answers as firmware V3.1-309.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from firmware_bridge.emulators.hands._motors import Motors
from firmware_bridge.emulators.hands.device import Trace
from firmware_bridge.errors import NervehandError

ORDERS = ("fault", "stall", "stray", "clear")

_CLOSED = 65535
_PATIENCE_NS = 50_000_000
"""A frame that has begun is not waited for any longer than this."""

_NEAR = 200
"""Positions that count as there."""

_STANDING_MA, _MOVING_MA, _STUCK_MA = 5, 40, 520
_STRAY = 0.6
_OPENING, _CLOSING, _REACHED, _STUCK = 0, 1, 2, 5
_BAD_CHECK, _UNKNOWN_COMMAND, _WRONG_COUNT, _WRONG_DATA, _FAILED = 0x01, 0x11, 0x12, 0x13, 0x31


class RohandDevice:
    """A `HandDevice`: the hand with id `node`. Joints in its trace are positions, 0 (open) to 65535."""

    def __init__(
        self,
        now_ns: int,
        node: int = 2,
        firmware: tuple[int, int, int] = (3, 1, 309),
        trace: Trace | None = None,
    ) -> None:
        self.trace = Trace() if trace is None else trace
        self._node = node
        self._firmware = firmware
        self._motors = Motors(np.zeros(6), np.full(6, float(_CLOSED)), now_ns)
        self._is_faulty = False
        self._heard, self._heard_ns = b"", now_ns

    def receive(self, data: bytes, now_ns: int) -> list[bytes]:
        self.advance(now_ns)
        if now_ns - self._heard_ns > _PATIENCE_NS:
            self._heard = b""
        self._heard, self._heard_ns = self._heard + data, now_ns
        answers = []
        while (frame := self._next_frame()) is not None:
            addressee, sender, command = frame[2], frame[3], frame[4]
            if addressee != self._node:
                continue
            check = 0
            for byte in frame[2:-1]:
                check ^= byte
            if check != frame[-1]:
                self.trace.add(now_ns, "refused", text=f"checksum of {frame.hex()}")
                answers.append(self._answer(sender, command | 0x80, bytes([_BAD_CHECK])))
                continue
            answers.append(self._obey_frame(sender, command, frame[6:-1], now_ns))
        return answers

    def advance(self, now_ns: int) -> list[bytes]:
        before = self._motors.positions
        self._motors.advance(now_ns)
        if not np.array_equal(before, self._motors.positions):
            self.trace.add(now_ns, "position", tuple(self._motors.positions.tolist()))
        return []

    def connected(self, is_connected: bool, now_ns: int) -> None:
        self._heard = b""
        self.trace.add(now_ns, "connected" if is_connected else "disconnected")

    def obey(self, order: str, now_ns: int) -> None:
        """`HandDevice.obey`; "hot" is refused, since this hand tells no temperature. "fault": it moves no more, and
        says so where it is told to."""
        self.advance(now_ns)
        match order:
            case "fault":
                self._is_faulty = True
            case "stall":
                self._motors.is_stuck = True
            case "stray":
                self._motors.strays_to = np.full(6, _STRAY * _CLOSED)
            case "clear":
                self._is_faulty = self._motors.is_stuck = False
                self._motors.strays_to = None
            case _:
                raise NervehandError(f"order {order!r} is not known here: use {', '.join(ORDERS)}")
        self.trace.add(now_ns, "ordered", text=order)

    def _next_frame(self) -> bytes | None:
        """The next whole frame, its checksum unseen; what is before it is thrown away."""
        while True:
            at = self._heard.find(b"\x55\xaa")
            if at < 0:
                self._heard = self._heard[-1:]
                return None
            self._heard = self._heard[at:]
            if len(self._heard) < 6:
                return None
            n = self._heard[5]
            if n > 64:
                self._heard = self._heard[1:]
                continue
            if len(self._heard) < n + 7:
                return None
            frame, self._heard = self._heard[: n + 7], self._heard[n + 7 :]
            return frame

    def _answer(self, master: int, command: int, data: bytes) -> bytes:
        body = bytes([master, self._node, command, len(data)]) + data
        check = 0
        for byte in body:
            check ^= byte
        return b"\x55\xaa" + body + bytes([check])

    def _obey_frame(self, master: int, command: int, data: bytes, now_ns: int) -> bytes:
        answer = self._execute(command, data, now_ns)
        if isinstance(answer, int):
            self.trace.add(now_ns, "refused", text=f"command {command:#04x}: error {answer:#04x}")
            return self._answer(master, command | 0x80, bytes([answer]))
        return self._answer(master, command, answer)

    def _execute(self, command: int, data: bytes, now_ns: int) -> bytes | int:
        """What is answered, or an error code."""
        major, minor, revision = self._firmware
        fixed = {
            0x00: bytes([0, 3]),
            0x01: bytes([revision & 0xFF, revision >> 8, minor, major]),
            0x3F: b"OY",
            0x0F: _words(self._motors.targets) + _words(self._motors.positions),
        }
        if command in fixed:
            return _WRONG_COUNT if data else fixed[command]
        match command:
            case 0x06:  # the current of one finger
                if len(data) != 1:
                    return _WRONG_COUNT
                return data + _words(self._currents()[data[0] : data[0] + 1]) if data[0] < 6 else _WRONG_DATA
            case 0x50:  # all positions, with a speed byte each
                if len(data) != 18:
                    return _WRONG_COUNT
                speeds = np.array([data[i] for i in range(2, 18, 3)], float)
                self._motors.set_speeds(speeds / 255 * _CLOSED)
                return self._go(b"".join(data[i : i + 2] for i in range(0, 18, 3)), now_ns) or b""
            case 0x5F:
                return self._custom(data, now_ns)
            case _:
                return _UNKNOWN_COMMAND

    def _custom(self, data: bytes, now_ns: int) -> bytes | int:
        if not data:
            return _WRONG_COUNT
        flags, rest = data[0], data[1:]
        if flags & 0x04 or flags & 0x10:  # angles are not emulated
            return _WRONG_DATA
        if len(rest) != 12 * (flags & 0x03).bit_count():
            return _WRONG_COUNT
        if flags & 0x01:
            self._motors.set_speeds(_numbers(rest[:12]))
            rest = rest[12:]
        if flags & 0x02 and (error := self._go(rest, now_ns)):
            return error
        answer = b""
        if flags & 0x08:
            answer += _words(self._motors.positions)
        if flags & 0x20:
            answer += _words(self._currents())
        if flags & 0x40:
            answer += _words(2 * self._currents())  # mN, estimated from the current
        if flags & 0x80:
            answer += self._status()
        return answer

    def _go(self, positions: bytes, now_ns: int) -> int:
        """0, or an error code."""
        if self._is_faulty:
            return _FAILED
        self._motors.targets = _numbers(positions)
        self.trace.add(now_ns, "target", tuple(self._motors.targets.tolist()))
        return 0

    def _currents(self) -> NDArray[np.float64]:
        moving = np.abs(self._motors.ways) > _NEAR
        if self._motors.is_stuck:
            moving[1] = True
            return np.where(moving, _STUCK_MA, _STANDING_MA).astype(float)
        return np.where(moving, _MOVING_MA, _STANDING_MA).astype(float)

    def _status(self) -> bytes:
        ways = self._motors.ways
        moving = np.where(ways > 0, _CLOSING, _OPENING)
        status = np.where(np.abs(ways) > _NEAR, moving, _REACHED)
        if self._motors.is_stuck:
            status = np.where(self._currents() == _STUCK_MA, _STUCK, status)
        return bytes(status.astype(np.uint8))


def _words(values: NDArray[np.float64]) -> bytes:
    return np.rint(np.clip(values, 0, 65535)).astype("<u2").tobytes()


def _numbers(words: bytes) -> NDArray[np.float64]:
    return np.frombuffer(words, "<u2").astype(np.float64)
