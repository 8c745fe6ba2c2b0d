"""A Hero hand over Bluetooth LE, written from Open-Bionics/MyoLink's Docs/hand_control_protocol.md.

What the document leaves open is decided here: a digit goes from open to closed in half a second; nothing happens when
writes stop; a command that it cannot read is answered with the status that the vendor's client knows for it.
"""

from __future__ import annotations

import struct

import numpy as np
from numpy.typing import NDArray

from firmware_bridge.emulators.hands.device import Trace
from firmware_bridge.emulators.hands.gatt import Peripheral
from firmware_bridge.errors import NervehandError
from firmware_bridge.hands._ble_wire import Gatt
from firmware_bridge.kinematics import JointMotion

SPEED_PER_S = 2.0
STRAY = 0.5
ORDERS = ("fault", "stall", "stray", "clear")

_BAD_COMMAND, _BAD_PARAMETER, _BAD_LENGTH, _BAD_DATA, _INTERNAL = 1, 2, 3, 4, 5
_GRIPS = {
    0: ("relax", (0.0, 0.0, 0.0, 0.0, 0.0)),
    1: ("point", (1.0, 0.0, 1.0, 1.0, 1.0)),
    2: ("hook", (0.0, 1.0, 1.0, 1.0, 1.0)),
    3: ("pinch", (0.6, 0.6, 0.0, 0.0, 0.0)),
    4: ("cylindrical", (1.0, 1.0, 1.0, 1.0, 1.0)),
    5: ("tripod", (0.6, 0.6, 0.6, 0.0, 0.0)),
}


class HeroHand:
    """A `HandDevice` of five digits, in shares closed, which tells where they are when asked; with a fault it moves no
    more."""

    def __init__(self, now_ns: int, trace: Trace | None = None) -> None:
        self.trace = Trace() if trace is None else trace
        self._digits = JointMotion(np.zeros(5), np.full(5, SPEED_PER_S), now_ns)
        self._is_faulty = self._strays = self._is_stuck = False

    def receive(self, data: bytes, now_ns: int) -> list[bytes]:
        self.advance(now_ns)
        command, status, answer = self._obeyed(data, now_ns)
        if status:
            self.trace.add(now_ns, "refused", text=f"status {status}: {data.hex()}")
        elif not answer:
            return []
        return [bytes([0, command, status, len(answer)]) + answer]

    def advance(self, now_ns: int) -> list[bytes]:
        self._digits.advance(now_ns)
        self.trace.add(now_ns, "position", tuple(self._digits.positions.tolist()))
        return []

    def connected(self, is_connected: bool, now_ns: int) -> None:
        self.trace.add(now_ns, "connected" if is_connected else "disconnected")

    def obey(self, order: str, now_ns: int) -> None:
        self.advance(now_ns)
        match order:
            case "fault":
                self._is_faulty = True
            case "stall":
                self._is_stuck = True
                self._digits.targets = self._digits.positions.copy()
            case "stray":
                self._strays = True
                self._digits.targets = np.full(5, STRAY)
            case "clear":
                self._is_faulty = self._strays = self._is_stuck = False
            case _:
                raise NervehandError(f"order {order!r} is unknown: use {', '.join(ORDERS)}")
        self.trace.add(now_ns, "ordered", text=order)

    def _obeyed(self, data: bytes, now_ns: int) -> tuple[int, int, bytes]:
        """Command, status, and the payload of the answer."""
        if len(data) < 4 or data[0] != 0 or data[2] != 1:
            return (data[1] if len(data) > 1 else 0), _BAD_DATA, b""
        command, payload = data[1], data[4:]
        if len(payload) != data[3] or not payload:
            return command, _BAD_LENGTH, b""
        if self._is_faulty and (command == 7 or payload[0] == 1):
            return command, _INTERNAL, b""
        if command == 7:
            return command, self._grip(payload, now_ns), b""
        if command != 6:
            return command, _BAD_COMMAND, b""
        if payload[0] == 1:
            return command, self._set(payload[1:], now_ns), b""
        if payload[0] != 0 or any(digit > 4 for digit in payload[1:]):
            return command, _BAD_PARAMETER, b""
        where = self._digits.positions
        return command, 0, b"".join(struct.pack(">Bf", digit, where[digit]) for digit in payload[1:])

    def _set(self, pairs: bytes, now_ns: int) -> int:
        if len(pairs) % 5 or not pairs:
            return _BAD_LENGTH
        targets = self._digits.targets.copy()
        for digit, position in struct.iter_unpack(">Bf", pairs):
            if digit > 4 or not 0 <= position <= 1:
                return _BAD_PARAMETER
            targets[digit] = position
        self._go(targets, now_ns)
        return 0

    def _grip(self, payload: bytes, now_ns: int) -> int:
        if payload[0] not in _GRIPS or len(payload) != 1:
            return _BAD_PARAMETER
        name, targets = _GRIPS[payload[0]]
        self.trace.add(now_ns, "grip", text=name)
        self._go(np.array(targets), now_ns)
        return 0

    def _go(self, targets: NDArray[np.float64], now_ns: int) -> None:
        self.trace.add(now_ns, "target", tuple(targets.tolist()))
        if not self._strays and not self._is_stuck:
            self._digits.targets = targets


def over_the_air(
    now_ns: int, name: str = "Hero RGD", trace: Trace | None = None
) -> tuple[HeroHand, Peripheral]:
    """The hand, and what it shows of itself."""
    control = "0b0b4102-feed-dead-bee5-0be9b1091c50"
    gatt = Gatt("0b0b4000-feed-dead-bee5-0be9b1091c50", control, control)
    return HeroHand(now_ns, trace), Peripheral(name, gatt)
