"""The virtual hand's command set as bytes: frames of at most 20 bytes, little-endian, each with a checksum.

docs/virtual-hand.md has the layouts, the rules and test vectors. Command and state frames fit the 20 bytes
that a GATT write or notification holds at the smallest ATT MTU (23).
"""

from __future__ import annotations

import binascii
import struct
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from firmware_bridge.errors import NervehandError
from firmware_bridge.hand import N_DOF, HandCapabilities, WatchdogAction

PROTOCOL_VERSION = 2
SERVICE_UUID = "6e657276-6568-4e44-8000-000000000001"
COMMAND_UUID = "6e657276-6568-4e44-8000-000000000002"
STATE_UUID = "6e657276-6568-4e44-8000-000000000003"
INFO_UUID = "6e657276-6568-4e44-8000-000000000004"

SCALE = 32767
"""Counts of full flexion: position = count / SCALE; -32768 is not a position."""

MOVE, PING, STATE = 0x1, 0x2, 0x8
FLAG_WATCHDOG, FLAG_FAULT, FLAG_HOT, FLAG_STALLED = 0x01, 0x02, 0x04, 0x08
_FLAGS = FLAG_WATCHDOG | FLAG_FAULT | FLAG_HOT | FLAG_STALLED

_COMMAND = struct.Struct("<BHB6hH")
_STATE = struct.Struct("<BHB6hBB")
_INFO = struct.Struct("<BHB6h6h6HB")
_CRC = struct.Struct("<H")
_WATCHDOG_CODES = (WatchdogAction.HOLD, WatchdogAction.OPEN, WatchdogAction.OWN_MODE, WatchdogAction.UNKNOWN)


class FrameError(NervehandError):
    """A frame is refused: what is wrong with it."""


@dataclass(frozen=True, slots=True, eq=False)
class CommandFrame:
    """To the hand: MOVE with its six target positions (6,), or PING (None), which moves and feeds nothing.

    `sent_ms` is when its sender made it, in milliseconds of a monotonic clock of its own, modulo 65536.
    """

    sequence: int
    positions: NDArray[np.float32] | None
    sent_ms: int


@dataclass(frozen=True, slots=True, eq=False)
class StateFrame:
    """From the hand: the last accepted sequence, positions (6,), flags, and two counters modulo 256."""

    sequence: int
    positions: NDArray[np.float32]
    watchdog_tripped: bool
    fault: bool
    accepted: int
    rejected: int
    hot: bool = False
    stalled: bool = False


def quantise(positions: NDArray[np.float32]) -> list[int]:
    """Positions (6,) in -1..1 as counts. (Six numbers are done with before numpy has begun.)"""
    values: list[float] = positions.tolist()
    if positions.shape != (N_DOF,) or not all(-1 <= value <= 1 for value in values):
        raise FrameError(f"positions are {values}: give {N_DOF} numbers in -1..1")
    return [round(value * SCALE) for value in values]


def dequantise(counts: tuple[int, ...]) -> NDArray[np.float32]:
    """Counts as positions (6,)."""
    if min(counts) < -SCALE:
        raise FrameError(f"position count {min(counts)} is below {-SCALE}")
    return np.array([count / SCALE for count in counts], np.float32)


def _seal(body: bytes) -> bytes:
    """CRC-16/CCITT-FALSE (polynomial 0x1021, initial value 0xFFFF, not reflected) at the end."""
    return body + _CRC.pack(binascii.crc_hqx(body, 0xFFFF))


def _unseal(frame: bytes, length: int, what: str) -> bytes:
    if len(frame) != length:
        raise FrameError(f"{what} frame has {len(frame)} bytes, not {length}")
    body = frame[: -_CRC.size]
    if _seal(body) != frame:
        raise FrameError(f"{what} frame fails its checksum: {frame.hex()}")
    if frame[0] >> 4 != PROTOCOL_VERSION:
        raise FrameError(f"{what} frame has protocol version {frame[0] >> 4}, not {PROTOCOL_VERSION}")
    return body


def encode_command(frame: CommandFrame) -> bytes:
    opcode = PING if frame.positions is None else MOVE
    counts = [0] * N_DOF if frame.positions is None else quantise(frame.positions)
    return _seal(_COMMAND.pack(PROTOCOL_VERSION << 4 | opcode, frame.sequence, 0, *counts, frame.sent_ms))


def decode_command(data: bytes) -> CommandFrame:
    """The frame, or FrameError for anything that `encode_command` does not make."""
    head, sequence, flags, *counts, sent_ms = _COMMAND.unpack(
        _unseal(data, _COMMAND.size + _CRC.size, "command")
    )
    opcode = head & 0x0F
    if flags:
        raise FrameError(f"command flags are 0x{flags:02x}: none is defined")
    if opcode == PING:
        if any(counts):
            raise FrameError("a ping carries positions")
        return CommandFrame(sequence, None, sent_ms)
    if opcode != MOVE:
        raise FrameError(f"command opcode 0x{opcode:x} is unknown")
    return CommandFrame(sequence, dequantise(tuple(counts)), sent_ms)


def encode_state(frame: StateFrame) -> bytes:
    flags = FLAG_WATCHDOG * frame.watchdog_tripped | FLAG_FAULT * frame.fault
    flags |= FLAG_HOT * frame.hot | FLAG_STALLED * frame.stalled
    return _seal(
        _STATE.pack(
            PROTOCOL_VERSION << 4 | STATE,
            frame.sequence,
            flags,
            *quantise(frame.positions),
            frame.accepted % 256,
            frame.rejected % 256,
        )
    )


def decode_state(data: bytes) -> StateFrame:
    """The frame, or FrameError for anything that `encode_state` does not make."""
    head, sequence, flags, *rest = _STATE.unpack(_unseal(data, _STATE.size + _CRC.size, "state"))
    if head & 0x0F != STATE:
        raise FrameError(f"state opcode 0x{head & 0x0F:x} is unknown")
    if flags & ~_FLAGS:
        raise FrameError(f"state flags are 0x{flags:02x}: only those in 0x{_FLAGS:02x} are defined")
    *counts, accepted, rejected = rest
    return StateFrame(
        sequence,
        dequantise(tuple(counts)),
        bool(flags & FLAG_WATCHDOG),
        bool(flags & FLAG_FAULT),
        accepted,
        rejected,
        bool(flags & FLAG_HOT),
        bool(flags & FLAG_STALLED),
    )


def encode_info(capabilities: HandCapabilities) -> bytes:
    name = capabilities.name.encode()
    watchdog_ms = 0 if capabilities.watchdog_s is None else round(capabilities.watchdog_s * 1000)
    return _seal(
        _INFO.pack(
            PROTOCOL_VERSION << 4,
            watchdog_ms,
            _WATCHDOG_CODES.index(capabilities.watchdog_action),
            *quantise(capabilities.lower),
            *quantise(capabilities.upper),
            *np.rint(capabilities.max_speed_per_s.astype(np.float64) * 1000).astype(np.uint16).tolist(),
            len(name),
        )
        + name
    )


def decode_info(data: bytes, source: str) -> HandCapabilities:
    """What the hand says of itself; `source` says how it was read."""
    body = _unseal(data, max(len(data), _INFO.size + _CRC.size), "info")
    head, watchdog_ms, action, *rest = _INFO.unpack(body[: _INFO.size])
    name = body[_INFO.size :]
    if head & 0x0F:
        raise FrameError(f"info opcode 0x{head & 0x0F:x} is unknown")
    if len(name) != rest[-1] or action >= len(_WATCHDOG_CODES):
        raise FrameError(f"info frame is inconsistent: {data.hex()}")
    try:
        text = name.decode()
    except UnicodeDecodeError as error:
        raise FrameError(f"the hand's name {name.hex()} is not UTF-8") from error
    return HandCapabilities(
        name=text,
        lower=dequantise(tuple(rest[:6])),
        upper=dequantise(tuple(rest[6:12])),
        max_speed_per_s=(np.array(rest[12:18], dtype=np.float64) / 1000).astype(np.float32),
        watchdog_s=watchdog_ms / 1000 if watchdog_ms else None,
        watchdog_action=_WATCHDOG_CODES[action],
        source=source,
    )


LONGEST_WATCHDOG_S = 65.0
"""It is told in milliseconds, in 16 bits."""

VIRTUAL_HAND = HandCapabilities(
    name="nervehand virtual hand",
    lower=np.full(N_DOF, -1, dtype=np.float32),
    upper=np.full(N_DOF, 1, dtype=np.float32),
    max_speed_per_s=np.full(N_DOF, 4, dtype=np.float32),
    watchdog_s=0.3,
    watchdog_action=WatchdogAction.OPEN,
    source="docs/virtual-hand.md",
)
"""What the virtual hand is unless it is started otherwise; it opens to rest when commands stop."""


def with_watchdog(watchdog_s: float | None) -> HandCapabilities:
    """The virtual hand with this watchdog time; NervehandError where it cannot tell it."""
    if watchdog_s is not None and not 0.001 <= watchdog_s <= LONGEST_WATCHDOG_S:
        raise NervehandError(f"watchdog is {watchdog_s} s: give 0.001 to {LONGEST_WATCHDOG_S:g}")
    return replace(VIRTUAL_HAND, watchdog_s=watchdog_s)
