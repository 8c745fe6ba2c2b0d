"""The Ability Hand's command set over UART as bytes: commands out, replies in, with and without byte stuffing.

Read from PSYONIC's ICD 1.8 (psyonicinc/ability-hand-api: Documentation/ABILITY-HAND-ICD.pdf, sections 2.2 and 3) and
held against its own Python client, `ability-hand` 0.2.2, whose bytes are the tests' vectors. Where they differ, the
client's reading is taken:

- Touch: table 17 of the ICD packs the 12-bit readings high bits first. Its section 3.4.6 and the client unpack them
  low bits first: so do we.
- Speed in replies: section 3.4.3 has rad/s of the rotor, times 4. The client reads a quarter of the unit of a velocity
  command, degrees per second of the finger: so do we. For the fingers (gears of 649:1) both agree within 4 %; for the
  thumb rotator (162:1) the ICD's reading would be 3.9 times as fast.
- Stuffing: off as the hand is delivered. The client always stuffs, and needs settings 46 and 47 enabled.
- Grip over UART: in the ICD only over I2C, without a checksum. The client sends it with the address and a checksum.
- Fractions of a count are cut off, as in the ICD's C code and by the client.

A command is the hand's address, a header, its words (int16, little-endian, in the order of JOINT_NAMES) and a
checksum; a reply has no address. Every frame adds up to 0 modulo 256.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from numpy.typing import ArrayLike, NDArray

from firmware_bridge.errors import NervehandError

JOINT_NAMES = ("index", "middle", "ring", "pinky", "thumb flexor", "thumb rotator")
"""The order of every six words; the thumb rotator flexes with negative values."""

N_JOINTS = len(JOINT_NAMES)
ADDRESS = 0x50
COUNTS_PER_DEG = 32767 / 150
COUNTS_PER_DEG_PER_S = 32767 / 3000
COUNTS_PER_A = 620.606079
"""The client's; section 3.4.5: it depends on the hand's version, `Rv` over Bluetooth asks for it."""

COUNTS_PER_PERCENT = 3546 / 100
REPLY_SPEED_SCALE = 4
"""Speeds in replies have that many times the counts of a velocity command."""

N_TOUCH = 30
"""Six places on each finger: index, middle, ring, pinky, thumb."""

REPLY_LENGTHS = {1: 72, 2: 72, 3: 39}
FLAG, ESCAPE, FLIP = 0x7E, 0x7D, 0x20
STUFFED_HEADS = {FLAG ^ FLIP: FLAG, ESCAPE ^ FLIP: ESCAPE}
UPSAMPLING_ON, UPSAMPLING_OFF, LEAVE, GRIP = 0xC2, 0xC3, 0x7C, 0x1D
WRITE_REGISTER, READ_REGISTER = 0xDE, 0xDA
SUCCESS, FAILURE = 0x4E11FEA4, 0xFA17FFFF

_SIX = struct.Struct("<6h")


class FrameError(NervehandError):
    """A frame is refused: what is wrong with it."""


class Mode(IntEnum):
    """What the six words of a command are; the reply's variant - 1 is added to make the header."""

    POSITION = 0x10
    VELOCITY = 0x20
    TORQUE = 0x30
    VOLTAGE = 0x40
    READ_ONLY = 0xA0


REPLY_HEADERS = frozenset(mode + offset for mode in Mode for offset in range(3))


@dataclass(frozen=True, slots=True, eq=False)
class HandReply:
    """What the hand says: arrays in the order of JOINT_NAMES; None for what the variant does not hold.

    `positions_deg`, `currents_a` and `speeds_deg_per_s` are (6,); `touch` (5, 6) are raw readings of 0 to 4095 by
    finger (index, middle, ring, pinky, thumb), see `touch_newtons`. Bit i of `limited` says that joint i does not do
    all that it is told: it has met something, or is too hot (section 3.4.7). `header` is that of the command answered.
    """

    header: int
    positions_deg: NDArray[np.float64]
    currents_a: NDArray[np.float64] | None
    speeds_deg_per_s: NDArray[np.float64] | None
    touch: NDArray[np.uint16] | None
    limited: int

    @property
    def variant(self) -> int:
        """1: currents and touch; 2: speeds and touch; 3: currents and speeds."""
        return (self.header & 0x0F) + 1


def sealed(body: bytes) -> bytes:
    """With the checksum that makes it add up to 0."""
    return body + bytes([-sum(body) & 0xFF])


def is_whole(frame: bytes) -> bool:
    """Whether it adds up to 0."""
    return sum(frame) & 0xFF == 0


def position_frame(positions_deg: ArrayLike, variant: int = 3, address: int = ADDRESS) -> bytes:
    """Go to these positions (6,), in degrees, within +-150."""
    return _six_words(Mode.POSITION, positions_deg, COUNTS_PER_DEG, "positions in degrees", variant, address)


def velocity_frame(speeds_deg_per_s: ArrayLike, variant: int = 3, address: int = ADDRESS) -> bytes:
    """Move at these speeds (6,), in degrees per second, within +-3000."""
    words = "speeds in degrees per second"
    return _six_words(Mode.VELOCITY, speeds_deg_per_s, COUNTS_PER_DEG_PER_S, words, variant, address)


def torque_frame(currents_a: ArrayLike, variant: int = 3, address: int = ADDRESS) -> bytes:
    """Draw these motor currents (6,), in A; the client's documentation names +-1 as their range."""
    return _six_words(Mode.TORQUE, currents_a, COUNTS_PER_A, "currents in A", variant, address)


def voltage_frame(duty_percent: ArrayLike, variant: int = 3, address: int = ADDRESS) -> bytes:
    """Put that share of the supply voltage on the motors (6,), in per cent, within +-100."""
    duty = np.asarray(duty_percent, np.float64)
    if not (np.abs(duty) <= 100).all():
        raise FrameError(f"duty cycles in per cent are {duty.tolist()}: give {N_JOINTS} of -100 to 100")
    return _six_words(Mode.VOLTAGE, duty, COUNTS_PER_PERCENT, "duty cycles in per cent", variant, address)


def read_frame(variant: int = 3, address: int = ADDRESS) -> bytes:
    """Reply, and go on as before: neither begins to obey the UART nor ends that, but feeds the watchdog."""
    return sealed(bytes([address, Mode.READ_ONLY + _offset(variant)]))


def upsampling_frame(is_on: bool, address: int = ADDRESS) -> bytes:
    """Whether the thumb rotator goes smoothly between positions that come seldom."""
    return sealed(bytes([address, UPSAMPLING_ON if is_on else UPSAMPLING_OFF]))


def leave_frame(address: int = ADDRESS) -> bytes:
    """Leave the API mode now, without the 300 ms; harmless where the hand is not in it."""
    return sealed(bytes([address, LEAVE]))


def grip_frame(grip: int, speed: int = 255, address: int = ADDRESS) -> bytes:
    """Start a grip of section 2.2. `speed` 0 stops the hand; 1 to 254 give each part of it 2 to 0.29 s, 255 0.2 s."""
    if not (0 <= grip <= 0xFF and 0 <= speed <= 0xFF):
        raise FrameError(f"grip {grip} at speed {speed}: give bytes")
    return sealed(bytes([address, GRIP, grip, speed]))


def write_register_frame(register: int, value: int, address: int = ADDRESS) -> bytes:
    """Set a register of the extended register access, a signed 32-bit value."""
    return sealed(bytes([address, WRITE_REGISTER]) + _words32(register, value))


def read_register_frame(register: int, address: int = ADDRESS) -> bytes:
    return sealed(bytes([address, READ_REGISTER]) + _words32(register))


def decode_register(frame: bytes) -> int:
    """The value in the answer to a read of a register; FrameError where the hand refuses, or for anything else."""
    if len(frame) != 9 or not is_whole(frame):
        raise FrameError(f"no answer to a read of a register: {frame.hex()}")
    word, value = struct.unpack("<Ii", frame[:8])
    if word != SUCCESS:
        raise FrameError("the hand has no such register")
    return int(value)


def decode_written(frame: bytes) -> bool:
    """Whether a write of a register succeeded, from its answer: four bytes without a checksum; else FrameError."""
    if frame not in (struct.pack("<I", SUCCESS), struct.pack("<I", FAILURE)):
        raise FrameError(f"no answer to a write of a register: {frame.hex()}")
    return frame == struct.pack("<I", SUCCESS)


def decode_reply(frame: bytes) -> HandReply:
    """A whole reply without stuffing; FrameError for anything else."""
    if not frame or frame[0] not in REPLY_HEADERS:
        raise FrameError(f"no reply begins like {frame[:1].hex() or 'nothing'}")
    variant = (frame[0] & 0x0F) + 1
    if len(frame) != REPLY_LENGTHS[variant]:
        raise FrameError(f"a reply {variant} has {REPLY_LENGTHS[variant]} bytes, not {len(frame)}")
    if not is_whole(frame):
        raise FrameError(f"the reply fails its checksum: {frame.hex()}")
    pairs = np.frombuffer(frame, "<i2", 2 * N_JOINTS, 1).reshape(N_JOINTS, 2).astype(np.float64)
    speeds = None
    if variant > 1:
        speeds = pairs[:, 1] if variant == 2 else np.frombuffer(frame, "<i2", N_JOINTS, 25).astype(np.float64)
    return HandReply(
        frame[0],
        pairs[:, 0] / COUNTS_PER_DEG,
        None if variant == 2 else pairs[:, 1] / COUNTS_PER_A,
        None if speeds is None else speeds / (COUNTS_PER_DEG_PER_S * REPLY_SPEED_SCALE),
        None if variant == 3 else _unpacked(frame[25:70]),
        frame[-2],
    )


def touch_newtons(touch: NDArray[np.uint16]) -> NDArray[np.float64]:
    """Raw readings as N by section 3.4.6, whose constants are rough: nothing is calibrated; 0 where no sensor is."""
    volts = touch.astype(np.float64) * (3.3 / 4096)
    with np.errstate(divide="ignore"):
        return np.where(touch > 0, 121591.0 / (33000.0 / volts + 10000.0) + 0.878894, 0.0)


def stuffed(frame: bytes) -> bytes:
    """Between two flags, every flag and escape in it escaped (HDLC)."""
    inside = frame.replace(b"\x7d", b"\x7d\x5d").replace(b"\x7e", b"\x7d\x5e")
    return bytes([FLAG]) + inside + bytes([FLAG])


def unstuffed(inside: bytes) -> bytes:
    """What was between two flags; FrameError for an escape of something that need not be escaped."""
    first, *rest = inside.split(bytes([ESCAPE]))
    out = bytearray(first)
    for part in rest:
        if not part or part[0] not in STUFFED_HEADS:
            raise FrameError(f"a stuffed frame has an escape before {part[:1].hex() or 'its end'}")
        out.append(STUFFED_HEADS[part[0]])
        out += part[1:]
    return bytes(out)


def _six_words(
    mode: Mode, values: ArrayLike, per_unit: float, what: str, variant: int, address: int
) -> bytes:
    array = np.asarray(values, np.float64)
    if array.shape != (N_JOINTS,) or not (np.abs(array * per_unit) <= 32767).all():
        raise FrameError(
            f"{what} are {array.tolist()}: give {N_JOINTS} of {-32767 / per_unit:g} to {32767 / per_unit:g}"
        )
    counts = np.trunc(array * per_unit).astype(int)
    return sealed(bytes([address, mode + _offset(variant)]) + _SIX.pack(*counts.tolist()))


def _offset(variant: int) -> int:
    if variant not in REPLY_LENGTHS:
        raise FrameError(f"reply {variant} is not known: use 1, 2 or 3")
    return variant - 1


def _words32(register: int, *value: int) -> bytes:
    try:
        return struct.pack(f"<I{len(value)}i", register, *value)
    except struct.error as error:
        raise FrameError(f"register {register}, value {value}: give 32-bit numbers") from error


def _unpacked(data: bytes) -> NDArray[np.uint16]:
    """45 bytes as 30 readings of 12 bits, low bits first."""
    triples = np.frombuffer(data, np.uint8).reshape(-1, 3).astype(np.uint16)
    even = triples[:, 0] | (triples[:, 1] & 0x0F) << 8
    odd = triples[:, 1] >> 4 | triples[:, 2] << 4
    return np.stack([even, odd], axis=1).reshape(5, 6)
