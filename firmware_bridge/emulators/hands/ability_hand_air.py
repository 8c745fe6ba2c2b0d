"""A PSYONIC Ability Hand over Bluetooth LE, written from the ICD 1.8, section 4; see `ability_hand` for its UART.

What the ICD leaves open is decided here: in another control mode than Bluetooth it refuses to move its fingers; streams
come every 20 ms and end with the connection; nothing happens when writes stop.
"""

from __future__ import annotations

import struct

import numpy as np
from numpy.typing import NDArray

from firmware_bridge.emulators.hands._ability_body import FASTEST_DEG_PER_S, AbilityBody
from firmware_bridge.emulators.hands.device import Trace
from firmware_bridge.emulators.hands.gatt import Peripheral
from firmware_bridge.hands._ble_wire import Gatt

STREAM_NS = 20_000_000
STREAMS = (b"P0", b"P4", b"P5", b"P8", b"PE", b"PH0")
BATTERY_V = 8.1

_GRIPS = (
    *(
        "chuck",
        "chuck ok",
        "pinch",
        "power",
        "key",
        "handshake",
        "trigger",
        "point",
        "relax",
        "sign of the horns",
    ),
    *(
        "rude point",
        "mode switch",
        "cylinder",
        "mouse",
        "hook",
        "sleeve",
        "peace",
        "hang loose",
        "fixed pinch",
    ),
)


class AbilityAirDevice:
    """The hand over Bluetooth LE, a `HandDevice`; its control mode is 1, direct control by electrodes, until told."""

    def __init__(self, now_ns: int, name: str = "PSYONIC-NERVE", trace: Trace | None = None) -> None:
        self.trace = Trace() if trace is None else trace
        self.body = AbilityBody(now_ns, self.trace)
        self.control_mode = 1
        self._name = name
        self._stream = b""
        self._said_ns = now_ns
        self._periods_s = np.full(6, 0.2)

    def receive(self, data: bytes, now_ns: int) -> list[bytes]:
        self.body.advance(now_ns)
        if self.body.is_faulty:
            return []
        if data[:1] == b"M":
            self._fingers(data, now_ns)
            return []
        text = data.rstrip(b"\0\r\n")
        match text[:1]:
            case b"P" if text == b"P1" or text in STREAMS:
                self._stream = b"" if text == b"P1" else text
                return []
            case b"W" if len(text) == 3 and text[1:2] == b"0" and text[2:].isdigit():
                self.control_mode = int(text[2:])
                return [b"success"]
            case b"R" if text in (b"R1", b"RC", b"Rv"):
                mode, name = str(self.control_mode).encode(), self._name.removeprefix("PSYONIC-").encode()
                return [{b"R1": mode, b"RC": name, b"Rv": b"620.606079"}[text]]
            case b"g":
                if self._typed_grip(text, now_ns):
                    return []
            case _:
                pass
        self.trace.add(now_ns, "refused", text=f"no command: {data.hex()}")
        return []

    def advance(self, now_ns: int) -> list[bytes]:
        self.body.advance(now_ns)
        if not self._stream or self.body.is_faulty or now_ns - self._said_ns < STREAM_NS:
            return []
        self._said_ns = now_ns
        return [self._streamed()]

    def connected(self, is_connected: bool, now_ns: int) -> None:
        self.trace.add(now_ns, "connected" if is_connected else "disconnected")
        self._stream = b""

    def obey(self, order: str, now_ns: int) -> None:
        self.body.obey(order, now_ns)

    def _fingers(self, data: bytes, now_ns: int) -> None:
        if self.control_mode != 0:
            self.trace.add(now_ns, "refused", text=f"fingers in control mode {self.control_mode}")
        elif len(data) == 14 and data[1:2] == b"F":
            self._move(np.array(struct.unpack("<6h", data[2:]), np.float64), now_ns)
        elif len(data) == 14 and data[1:2] == b"P":
            self._take_periods(np.array(struct.unpack("<6H", data[2:]), np.float64))
        elif len(data) == 25:
            words = struct.unpack("<" + "hH" * 6, data[1:])
            self._take_periods(np.array(words[1::2], np.float64))
            self._move(np.array(words[::2], np.float64), now_ns)
        else:
            self.trace.add(now_ns, "refused", text=f"no fingers: {data.hex()}")

    def _take_periods(self, words: NDArray[np.float64]) -> None:
        self._periods_s = np.clip(words * 300 / 65535, 0.2, 300.0)

    def _move(self, words: NDArray[np.float64], now_ns: int) -> None:
        wanted = words * 150 / 32767
        self.trace.add(now_ns, "target", tuple(wanted.tolist()))
        speeds = np.abs(wanted - self.body.positions_deg) / self._periods_s
        self.body.go(wanted, now_ns, np.minimum(speeds, FASTEST_DEG_PER_S))

    def _typed_grip(self, text: bytes, now_ns: int) -> bool:
        typed, _, period = text[1:].partition(b":")
        try:
            index, period_s = int(typed), float(period)
        except ValueError:
            return False
        if not (-1 <= index <= 63 and 0 < period_s < 1000):
            return False
        name = "open" if index == -1 or index >= 32 else "finger wave" if index == 31 else "a user's own"
        self.body.grip(_GRIPS[index] if 0 <= index < len(_GRIPS) else name, period_s, now_ns)
        return True

    def _streamed(self) -> bytes:
        body = self.body
        match self._stream:
            case b"P4":
                return struct.pack("<30h", *body.touch.tolist())
            case b"PH0":
                return struct.pack("<f", BATTERY_V)
            case b"P8":
                values = body.speeds_deg_per_s
            case b"PE":
                values = body.currents_a
            case b"P0":
                values = np.append(body.touch.reshape(5, 6).max(axis=1), 0.0)
            case _:
                values = body.positions_deg
        return struct.pack("<6f", *values.tolist())


def over_the_air(
    now_ns: int, name: str = "PSYONIC-NERVE", trace: Trace | None = None
) -> tuple[AbilityAirDevice, Peripheral]:
    """The hand, and what it shows of itself."""
    uuid = "6e40000{}-b5a3-f393-e0a9-e50e24dcca9e"
    gatt = Gatt(uuid.format(1), uuid.format(2), uuid.format(3))
    return AbilityAirDevice(now_ns, name, trace), Peripheral(name, gatt)
