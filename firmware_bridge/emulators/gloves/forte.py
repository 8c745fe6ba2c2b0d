"""An emulated Forte glove on a serial line, to be served by `hands/pty.py`.

Bytes as in sofwerx/dataglove: B0 73 01 switches the data on, B0 76 and a mode says where to; then frames of ten sensors
and the battery, F0 01 0B ... F7, and among them the inertial sensor's, F0 02 0C ... F7.
"""

from __future__ import annotations

from firmware_bridge.emulators.gloves._worn import Posture, counts
from firmware_bridge.emulators.hands.device import Trace
from firmware_bridge.errors import NervehandError

SENSORS: tuple[str, ...] = (
    "thumb", "thumb", "index", "index", "middle", "middle", "ring", "ring", "little", "little",
)  # fmt: skip
"""What bends each sensor."""

_LOW, _HIGH = 5, 120  # of 0..127
_BATTERY = 88
_PERIOD_NS = 10_000_000
_INERTIAL = b"\xf0\x02\x0c" + bytes(range(12)) + b"\xf7"
ORDERS = ("silent", "short", "long", "cut", "clear")


class Forte:
    """Sends a frame every 10 ms, once it is switched on for `mode`, of a hand that makes `posture`.

    Faults to order: "silent" (no more frames), "short" and "long" (every third frame lacks a byte, or has one too
    many), "cut" (every third frame ends in its middle), "clear".
    """

    def __init__(self, posture: Posture, mode: int = 1) -> None:
        self.trace = Trace()
        self.n_frames = 0
        self._posture, self._mode = posture, mode
        self._fault = ""
        self._heard = b""
        self._due_ns: int | None = None

    def receive(self, data: bytes, now_ns: int) -> list[bytes]:
        self._heard = (self._heard + data)[-64:]
        on = b"\xb0\x73\x01" in self._heard and b"\xb0\x76" + bytes([self._mode]) in self._heard
        if on and self._due_ns is None:
            self._due_ns = now_ns
        return []

    def advance(self, now_ns: int) -> list[bytes]:
        frames = []
        while self._due_ns is not None and self._due_ns <= now_ns:
            self._due_ns += _PERIOD_NS
            self.n_frames += 1
            if self._fault != "silent":
                frames += [self._frame(now_ns), _INERTIAL]
        return frames

    def connected(self, is_connected: bool, now_ns: int) -> None:
        """Without its plug it has no power: it must be switched on again."""
        self._heard, self._due_ns = b"", None
        self.trace.add(now_ns, "connected" if is_connected else "disconnected")

    def obey(self, order: str, now_ns: int) -> None:
        if order not in ORDERS:
            raise NervehandError(f"order {order!r} is unknown to this glove: use one of {', '.join(ORDERS)}")
        self._fault = "" if order == "clear" else order
        self.trace.add(now_ns, "ordered", text=order)

    def _frame(self, now_ns: int) -> bytes:
        sensors = counts(self._posture(now_ns), SENSORS, _LOW, _HIGH)
        if self.n_frames % 3 == 0:
            if self._fault == "short":
                sensors = sensors[1:]
            elif self._fault == "long":
                sensors += b"\x01"
            elif self._fault == "cut":
                return b"\xf0\x01\x0b" + sensors[:5]
        return b"\xf0\x01\x0b" + sensors + bytes([_BATTERY]) + b"\xf7"
