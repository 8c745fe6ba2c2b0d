"""The Ability Hand over Bluetooth LE as a `Dialect`: short commands to a Nordic UART service (ICD 1.8, section 4).

Everything that the hand says is a notification, and nothing that moves it is answered: a frame is waited for as a write
with response, and that the hand lives is seen from its stream of positions. What is used of section 4:

- `W00`: obey Bluetooth (4.4). The hand writes it to its flash and says "success" or "error: fs write". It is written
  until that was seen once, not at each connection. The hand stays in that mode when the link is gone, and moves no
  more by its electrodes until it is told to, by the vendor's app or by `after=01` in the address.
- `P5`: stream six positions (4.7), float32; little-endian by the vendor's plotting tools. Their unit is not
  documented: they are taken as degrees, as everywhere in the document. 24 bytes need an ATT MTU of 27.
- `M`: fingers (4.10). Since ICD 1.7 "MF" and six positions, with the periods set before by "MP", 14 bytes each
  (`fingers=split`). Up to ICD 1.6, and in the vendor's MATLAB client, "M" and position and period of each finger in
  turn, 25 bytes (`fingers=joined`). A period is how long a finger takes, 0.2 s at least: that is what we ask for.
- `g`: grips, with a typed period (4.3.2).

What the hand does when writes stop, or when the link ends, is documented nowhere. Its currents, temperature and battery
are streams of their own (PE, PI, PH0); "the current stream" of `P1` reads as one at a time, so they are not read.
"""

from __future__ import annotations

import struct

import numpy as np
from numpy.typing import NDArray

from firmware_bridge.errors import NervehandError
from firmware_bridge.hands._ability_grips import BLE_GRIPS, FASTEST_S, period_s
from firmware_bridge.hands._ability_uart import TRAVEL_DEG
from firmware_bridge.hands._ble_wire import Gatt
from firmware_bridge.hands._dialect import Report

GATT = Gatt(
    service="6e400001-b5a3-f393-e0a9-e50e24dcca9e",
    write="6e400002-b5a3-f393-e0a9-e50e24dcca9e",
    notify="6e400003-b5a3-f393-e0a9-e50e24dcca9e",
)
OBEY, STREAM, SILENCE = b"W00", b"P5", b"P1"
SAVED, NOT_SAVED = b"success", b"error: fs write"
COUNTS_PER_DEG = 0x7FFF / 150
COUNTS_PER_S = 0xFFFF / 300
BELIEVABLE_DEG = 180.0
"""No joint is further than that from 0: a notification that says so is no stream of positions."""

_POSITIONS = struct.Struct("<6f")
_PERIOD = int(FASTEST_S * COUNTS_PER_S)


def positions_frame(positions_deg: NDArray[np.float64]) -> bytes:
    """Go to these positions (6,), in degrees within +-150, in the periods set before (ICD 1.7 and later)."""
    return b"MF" + struct.pack("<6h", *_counts(positions_deg))


def periods_frame(periods_s: NDArray[np.float64]) -> bytes:
    """Take these times (6,) from position to position, in s up to 300 (ICD 1.7 and later)."""
    return b"MP" + struct.pack("<6H", *(periods_s * COUNTS_PER_S).astype(int).tolist())


def joined_frame(positions_deg: NDArray[np.float64]) -> bytes:
    """Go to these positions (6,), in degrees within +-150, as fast as the hand goes (up to ICD 1.6)."""
    pairs = (word for count in _counts(positions_deg) for word in (count, _PERIOD))
    return b"M" + struct.pack("<" + "hH" * 6, *pairs)


def grip_frame(grip: int, seconds: float) -> bytes:
    """Start a grip of section 4.3.3, each part of it in that time."""
    return f"g{grip:02d}:{seconds:.2f}".encode()


def decode_positions(data: bytes) -> NDArray[np.float64] | None:
    """A notification of the P5 stream as degrees (6,); None for any other."""
    if len(data) != _POSITIONS.size:
        return None
    positions = np.array(_POSITIONS.unpack(data))
    return positions if (np.abs(positions) <= BELIEVABLE_DEG).all() else None


class AbilityBleDialect:
    """Joints are degrees in the order of `_ability_frames.JOINT_NAMES`, cut to their travel.

    One object for all connections of a hand: it knows whether the hand has stored that it obeys Bluetooth. `after` is
    the control mode that it is left in by `close`, "01" say; "" leaves it as it is.
    """

    window = 0

    def __init__(self, is_joined: bool = False, after: str = "") -> None:
        self.bad_frames = self.skipped_bytes = 0
        self._is_joined = is_joined
        self._after = after
        self._obeys = self._is_told_to = False

    def begin(self) -> tuple[bytes, ...]:
        self._is_told_to = not self._obeys
        obey = () if self._obeys else (OBEY,)
        periods = () if self._is_joined else (periods_frame(np.full(6, FASTEST_S)),)
        return (*obey, *periods, STREAM)

    def end(self) -> tuple[bytes, ...]:
        if not self._after:
            return (SILENCE,)
        self._obeys = self._is_told_to = False
        return (SILENCE, b"W" + self._after.encode())

    def move(self, joints: NDArray[np.float64], number: int, now_ns: int) -> bytes:
        degrees = np.clip(joints, *TRAVEL_DEG)
        return joined_frame(degrees) if self._is_joined else positions_frame(degrees)

    def ask(self, number: int, now_ns: int) -> bytes:
        """Asking for the stream again moves nothing, and begins it anew where it was lost."""
        return STREAM

    def grip(self, name: str, speed: float, number: int, now_ns: int) -> bytes:
        if name not in BLE_GRIPS:
            raise NervehandError(f"the Ability Hand has no grip {name!r}: use one of {', '.join(BLE_GRIPS)}")
        return grip_frame(BLE_GRIPS[name], period_s(speed))

    def receive(self, data: bytes) -> list[Report]:
        positions = decode_positions(data)
        if positions is not None:
            return [Report(joints=positions, is_answer=False)]
        text = data.strip(b"\0\r\n ")
        if text == SAVED:
            self._obeys |= self._is_told_to
            return [Report(is_answer=False, fault="")]
        if text == NOT_SAVED:
            return [Report(is_answer=False, fault=f"it cannot store its control mode: {NOT_SAVED.decode()}")]
        self.bad_frames += 1
        self.skipped_bytes += len(data)
        return []


def _counts(positions_deg: NDArray[np.float64]) -> list[int]:
    counts: list[int] = np.trunc(positions_deg * COUNTS_PER_DEG).astype(int).tolist()
    return counts
