"""An emulated Inspire RH56 on its serial line, read from the maker's documents and not from our driver.

Registers and frames as in TechShare-inc/inspire_demos; answers, codes and units as WiseZenn/pyrh56 quotes the RH56 user
manual V1.09 (docs/official-driver-review.md), and STATUS 255 before the first command as it found on a real hand
(docs/hardware-test-report.md). Registers are bytes at their address, words low byte first. The manual does not say what
a hand answers to a frame that is wrong: this one says nothing.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from firmware_bridge.emulators.hands._motors import Motors
from firmware_bridge.emulators.hands.device import Trace
from firmware_bridge.errors import NervehandError

ORDERS = ("fault", "hot", "stall", "loosen", "stray", "clear")

_FIRST, _LAST = 1000, 2400
_HAND_ID, _CLEAR_ERROR, _CURRENT_LIMIT = 1000, 1004, 1020
_ANGLE_SET, _FORCE_SET, _SPEED_SET = 1486, 1498, 1522
_ANGLE_ACT, _FORCE_ACT, _CURRENT, _ERROR, _STATUS, _TEMP = 1546, 1582, 1594, 1606, 1612, 1618
_WRITABLE = (_CLEAR_ERROR, *range(_ANGLE_SET, _FORCE_SET + 12), *range(_SPEED_SET, _SPEED_SET + 12))
_OPEN = 1000
_RANGE_S = 0.8
"""For the whole range at speed 1000."""

_PATIENCE_NS = 50_000_000
"""A frame that has begun is not waited for any longer than this."""

_NEAR = 5
_STRAY = 400
_MOVING_MA, _STUCK_MA = 150, 1200
_PUSHING_G, _WARM_C, _HOT_C = 900, 38, 80


class InspireDevice:
    """A `HandDevice`: the hand with this id. Joints in its trace are angles, 0 (closed) to 1000 (open)."""

    def __init__(self, now_ns: int, hand_id: int = 1, trace: Trace | None = None) -> None:
        self.trace = Trace() if trace is None else trace
        self._id = hand_id
        self._registers = bytearray(_LAST)
        self._registers[_HAND_ID] = hand_id
        self._put(_ANGLE_SET, np.full(6, -1.0))
        self._put(_FORCE_SET, np.full(6, 500.0))
        self._put(_SPEED_SET, np.full(6, 500.0))
        self._put(_CURRENT_LIMIT, np.full(6, 1500.0))
        self._motors = Motors(np.full(6, float(_OPEN)), np.full(6, 500 / _RANGE_S), now_ns)
        self._was_told = np.zeros(6, bool)
        self._errors = np.zeros(6, np.uint8)
        self._is_hot = self._is_faulty = self._is_jammed = False
        self._heard, self._heard_ns = b"", now_ns

    def receive(self, data: bytes, now_ns: int) -> list[bytes]:
        self.advance(now_ns)
        if now_ns - self._heard_ns > _PATIENCE_NS:
            self._heard = b""
        self._heard, self._heard_ns = self._heard + data, now_ns
        answers = []
        while (frame := self._next_frame()) is not None:
            answer = None
            if sum(frame[2:-1]) % 256 != frame[-1]:
                self.trace.add(now_ns, "refused", text=f"checksum of {frame.hex()}")
            elif frame[2] == self._id:
                answer = self._execute(frame[4], frame[5] + 256 * frame[6], frame[7:-1], now_ns)
            if answer is not None:
                body = bytes([self._id, len(answer) + 3]) + frame[4:7] + answer
                answers.append(b"\x90\xeb" + body + bytes([sum(body) % 256]))
        return answers

    def advance(self, now_ns: int) -> list[bytes]:
        before = self._motors.positions
        self._motors.is_dead = self._is_faulty
        self._motors.is_stuck = bool(self._errors.any()) and not self._is_faulty
        self._motors.advance(now_ns)
        if not np.array_equal(before, self._motors.positions):
            self.trace.add(now_ns, "position", tuple(self._motors.positions.tolist()))
        return []

    def connected(self, is_connected: bool, now_ns: int) -> None:
        self._heard = b""
        self.trace.add(now_ns, "connected" if is_connected else "disconnected")

    def obey(self, order: str, now_ns: int) -> None:
        """`HandDevice.obey`; "loosen" ends what a stall comes from, but not its error, which waits to be cleared."""
        self.advance(now_ns)
        match order:
            case "fault":
                self._is_faulty = True
                self._errors[3] |= 0x08
            case "hot":
                self._is_hot = True
                self._errors[3] |= 0x02
            case "stall":
                self._is_jammed = True
                self._errors[3] |= 0x01
            case "loosen":
                self._is_jammed = False
            case "stray":
                self._motors.strays_to = np.full(6, float(_STRAY))
            case "clear":
                self._is_faulty = self._is_hot = self._is_jammed = False
                self._errors[:] = 0
                self._motors.strays_to = None
            case _:
                raise NervehandError(f"order {order!r} is not known here: use {', '.join(ORDERS)}")
        self.trace.add(now_ns, "ordered", text=order)

    def _next_frame(self) -> bytes | None:
        """The next whole frame, its checksum unseen; what is before it is thrown away."""
        at = self._heard.find(b"\xeb\x90")
        if at < 0:
            self._heard = self._heard[-1:]
            return None
        self._heard = self._heard[at:]
        if len(self._heard) < 4 or len(self._heard) < self._heard[3] + 5:
            return None
        size = self._heard[3] + 5
        frame, self._heard = self._heard[:size], self._heard[size:]
        return frame if size >= 9 else self._next_frame()

    def _execute(self, command: int, address: int, data: bytes, now_ns: int) -> bytes | None:
        if command == 0x11 and len(data) == 1 and _FIRST <= address <= address + data[0] <= _LAST:
            self._measure()
            return bytes(self._registers[address : address + data[0]])
        last = address + len(data) - 1
        if command == 0x12 and data and address in _WRITABLE and last in _WRITABLE:
            self._write(address, data, now_ns)
            return b"\x01"
        self.trace.add(now_ns, "refused", text=f"command {command:#04x} at {address}")
        return None

    def _write(self, address: int, data: bytes, now_ns: int) -> None:
        if address == _CLEAR_ERROR:
            if data[0] == 1:
                self._clear_errors()
            return
        self._registers[address : address + len(data)] = data
        if _ANGLE_SET <= address < _FORCE_SET:
            told = self._get(_ANGLE_SET)
            self._was_told |= told >= 0
            self._motors.targets = np.where(told < 0, self._motors.positions, np.clip(told, 0, _OPEN))
            self.trace.add(now_ns, "target", tuple(self._motors.targets.tolist()))
        elif address >= _SPEED_SET:
            self._motors.set_speeds(np.clip(self._get(_SPEED_SET), 0, 1000) / _RANGE_S)

    def _clear_errors(self) -> None:
        """All but what is still the case; over-temperature ends by itself."""
        kept = 0x02 if self._is_hot else 0
        kept |= 0x08 if self._is_faulty else 0
        kept |= 0x01 if self._is_jammed else 0
        self._errors &= kept

    def _measure(self) -> None:
        ways = self._motors.ways
        is_off = np.abs(ways) > _NEAR
        is_stalled = self._errors & 0x01 != 0
        self._put(_ANGLE_ACT, self._motors.positions)
        self._put(_CURRENT, np.where(is_stalled, _STUCK_MA, np.where(is_off, _MOVING_MA, 0)).astype(float))
        self._put(_FORCE_ACT, np.where(is_stalled, _PUSHING_G, -12).astype(float))
        status = np.where(is_off, np.where(ways < 0, 1, 0), 2)
        status = np.where(self._was_told, status, 255)
        status = np.where(self._errors & 0x01, 6, status)
        status = np.where(self._errors & 0x08, 7, status)
        self._registers[_ERROR : _ERROR + 6] = self._errors.tobytes()
        self._registers[_STATUS : _STATUS + 6] = status.astype(np.uint8).tobytes()
        warmth = np.where(self._errors & 0x02, _HOT_C, _WARM_C)
        self._registers[_TEMP : _TEMP + 6] = warmth.astype(np.uint8).tobytes()

    def _put(self, address: int, words: NDArray[np.float64]) -> None:
        self._registers[address : address + 12] = np.rint(words).astype("<i2").tobytes()

    def _get(self, address: int) -> NDArray[np.float64]:
        return np.frombuffer(bytes(self._registers[address : address + 12]), "<i2").astype(np.float64)
