"""A PSYONIC Ability Hand at the other end of a UART, written from the ICD 1.8.

It shares no code with our driver, so that one misreading cannot hide in both; the vendor's own client is the judge
between them. Where the ICD and that client differ, it does what the client reads: touch low bits first, a quarter of
the unit of a velocity command for speeds, a checksum on grips. What the ICD leaves open is decided here: its own mode
opens the hand, a grip ends the API mode, and a hand with a fault says nothing and does nothing.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from firmware_bridge.emulators.hands._ability_body import FASTEST_DEG_PER_S, OPENED_DEG, AbilityBody
from firmware_bridge.emulators.hands.device import Trace

WATCHDOG_NS = 300_000_000
IDLE_NS = 5_000_000
"""Silence that ends a frame without stuffing. The hand needs 15 bits of it; the machine that this runs on, longer."""

NO_LOAD_A = 0.5
"""In torque mode, what lets a joint that meets nothing reach its full speed."""

_POSITION, _VELOCITY, _TORQUE, _VOLTAGE, _READ = 0x10, 0x20, 0x30, 0x40, 0xA0
_GRIP, _LEAVE, _WRITE, _READ_REGISTER = 0x1D, 0x7C, 0xDE, 0xDA
_LENGTHS = {_GRIP: 5, _WRITE: 11, _READ_REGISTER: 7}
_GRIPS = (
    *(
        "open",
        "power",
        "key",
        "pinch",
        "tripod opened",
        "sign of the horns",
        "cylinder",
        "mouse",
        "power or key",
    ),
    *("point", "rude point", "hook", "relax", "sleeve", "peace", "tripod closed", "hang loose", "handshake"),
    "fixed pinch",
)


class AbilityDevice:
    """The hand on UART, a `HandDevice`. `is_stuffed`: settings 46 and 47 are enabled, as the vendor's client needs."""

    def __init__(
        self, now_ns: int, is_stuffed: bool = True, address: int = 0x50, trace: Trace | None = None
    ) -> None:
        self.trace = Trace() if trace is None else trace
        self.body = AbilityBody(now_ns, self.trace)
        self.obeys = False
        self.n_replies = 0
        self._address = address
        self._is_stuffed = is_stuffed
        self._fed_ns = self._heard_ns = now_ns
        self._header = _POSITION
        self._bytes = bytearray()
        self._is_escaped = False
        self._registers = dict(enumerate([3, 4, 1, 21, 0, 10, 1, 1773, 4, 3546] * 6, start=1))
        self._registers |= {0x3D: 0x21AB, 0x3E: 0x0042}

    def receive(self, data: bytes, now_ns: int) -> list[bytes]:
        self._move_on(now_ns)
        frames = self._unstuffed(data) if self._is_stuffed else self._plain(data, now_ns)
        return [answer for frame in frames for answer in self._answers(frame, now_ns)]

    def advance(self, now_ns: int) -> list[bytes]:
        self._move_on(now_ns)
        if not self._is_stuffed and self._bytes and now_ns - self._heard_ns >= IDLE_NS:
            return [answer for frame in self._idle() for answer in self._answers(frame, now_ns)]
        return []

    def connected(self, is_connected: bool, now_ns: int) -> None:
        self.trace.add(now_ns, "connected" if is_connected else "disconnected")
        self._bytes.clear()

    def obey(self, order: str, now_ns: int) -> None:
        self._move_on(now_ns)
        self.body.obey(order, now_ns)

    def _move_on(self, now_ns: int) -> None:
        trip_ns = self._fed_ns + WATCHDOG_NS
        if self.obeys and now_ns >= trip_ns:
            self.trace.add(trip_ns, "watchdog")
            self._leave(trip_ns)
        self.body.advance(now_ns)

    def _leave(self, now_ns: int) -> None:
        """To its own mode, from API mode."""
        if self.obeys:
            self.obeys = False
            self.body.go(OPENED_DEG, now_ns)

    # Bytes to frames

    def _unstuffed(self, data: bytes) -> Iterator[bytes]:
        for byte in data:
            if byte == 0x7E:
                frame = bytes(self._bytes)
                self._bytes.clear()
                self._is_escaped = False
                if frame:
                    yield frame
            elif byte == 0x7D:
                self._is_escaped = True
            else:
                self._bytes.append(byte ^ 0x20 if self._is_escaped else byte)
                self._is_escaped = False
                del self._bytes[:-64]

    def _plain(self, data: bytes, now_ns: int) -> Iterator[bytes]:
        if now_ns - self._heard_ns >= IDLE_NS:
            yield from self._idle()
        self._heard_ns = now_ns
        self._bytes += data
        while len(self._bytes) >= 3:
            header = self._bytes[1]
            length = 15 if _is_control(header) else _LENGTHS.get(header, 3)
            if (
                self._bytes[0] != self._address
                or len(self._bytes) < length
                or sum(self._bytes[:length]) % 256
            ):
                return  # to be judged once the line is idle
            yield bytes(self._bytes[:length])
            del self._bytes[:length]

    def _idle(self) -> Iterator[bytes]:
        frame = bytes(self._bytes)
        self._bytes.clear()
        if frame:
            yield frame

    # Frames to answers

    def _answers(self, frame: bytes, now_ns: int) -> list[bytes]:
        if len(frame) < 3 or sum(frame) % 256:
            self.trace.add(now_ns, "refused", text=f"no frame: {frame.hex()}")
            return []
        if frame[0] != self._address or self.body.is_faulty:
            return []
        header, payload = frame[1], frame[2:-1]
        self._fed_ns = now_ns
        if header in (_WRITE, _READ_REGISTER):
            return [self._line(self._register(header, payload))]
        if header == _GRIP:
            self._grip(payload, now_ns)
        elif _is_control(header):
            self._header = header
            self.obeys = True
            self._control(header & 0xF0, payload, now_ns)
        elif header in (_READ, _READ + 1, _READ + 2):
            self._header = header
        elif header == _LEAVE:
            self._leave(now_ns)
        else:
            self.obeys = True
        self.n_replies += 1
        return [self._line(self._reply())]

    def _control(self, mode: int, payload: bytes, now_ns: int) -> None:
        """Words that are missing leave their joints alone."""
        n = len(payload) // 2
        words = np.array(struct.unpack(f"<{n}h", payload[: 2 * n])[:6], np.float64)
        if mode == _POSITION:
            wanted = self.body.positions_deg.copy()
            wanted[: len(words)] = words * 150 / 32767
            self.trace.add(now_ns, "target", tuple(wanted.tolist()))
            self.body.go(wanted, now_ns)
            return
        speeds = np.zeros(6)
        per_word = {
            _VELOCITY: 3000 / 32767,
            _TORQUE: FASTEST_DEG_PER_S / NO_LOAD_A / 620.606,
            _VOLTAGE: FASTEST_DEG_PER_S / 3546,
        }
        speeds[: len(words)] = words * per_word[mode]
        self.body.drive(speeds, now_ns)

    def _grip(self, payload: bytes, now_ns: int) -> None:
        if len(payload) != 2:
            self.trace.add(now_ns, "refused", text=f"a grip with {len(payload)} bytes")
            return
        self.obeys = False
        code, speed = payload
        if speed == 0:
            self.body.stop(now_ns)
            return
        period_s = 0.2 if speed == 255 else 2.0 - (speed - 1) * (2.0 - 0.29) / 253
        name = {0x18: "trigger", 0x20: "finger wave"}.get(code, "a user's own")
        self.body.grip(_GRIPS[code] if code < len(_GRIPS) else name, period_s, now_ns)

    def _register(self, header: int, payload: bytes) -> bytes:
        success, failure = struct.pack("<I", 0x4E11FEA4), struct.pack("<I", 0xFA17FFFF)
        register = int.from_bytes(payload[:4], "little")
        if header == _WRITE:
            # Every tenth gain is read only, and so are the two words of the identity.
            if len(payload) != 8 or register not in self._registers or register % 10 == 0 or register > 0x3C:
                return failure
            self._registers[register] = int.from_bytes(payload[4:], "little", signed=True)
            return success
        body = failure + bytes(4)
        if len(payload) == 4 and register in self._registers:
            body = success + struct.pack("<i", self._registers[register])
        return body + _checksum(body)

    def _reply(self) -> bytes:
        variant, body = self._header & 0x0F, self.body
        positions = _words(body.positions_deg * 32767 / 150)
        currents = _words(body.currents_a * np.sign(body.speeds_deg_per_s + 1e-9) * 620.606)
        speeds = _words(body.speeds_deg_per_s * 4 * 32767 / 3000)
        second = speeds if variant == 1 else currents
        out = bytes([self._header])
        for i in range(6):
            out += struct.pack("<hh", positions[i], second[i])
        if variant == 2:
            out += struct.pack("<6h", *speeds)
        else:
            packed = sum(reading << 12 * i for i, reading in enumerate(body.touch.tolist()))
            out += packed.to_bytes(45, "little")
        out += bytes([body.limited])
        return out + _checksum(out)

    def _line(self, frame: bytes) -> bytes:
        if not self._is_stuffed:
            return frame
        inside = bytearray()
        for byte in frame:
            if byte in (0x7D, 0x7E):
                inside.append(0x7D)
                byte ^= 0x20
            inside.append(byte)
        return b"\x7e" + bytes(inside) + b"\x7e"


def _is_control(header: int) -> bool:
    return header & 0xF0 in (_POSITION, _VELOCITY, _TORQUE, _VOLTAGE) and header & 0x0F < 3


def _words(values: NDArray[np.float64]) -> list[int]:
    return [max(-32768, min(32767, round(value))) for value in values.tolist()]


def _checksum(body: bytes) -> bytes:
    return bytes([(256 - sum(body) % 256) % 256])
