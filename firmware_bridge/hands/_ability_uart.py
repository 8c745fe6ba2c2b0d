"""The Ability Hand over UART or RS485 as a `Dialect`: position mode, read only as the heartbeat.

By the ICD 1.8 a position makes the hand obey the UART ("API mode"); 300 ms without a valid frame end that, and the
hand goes back to its own mode (section 3). A read feeds that watchdog, but neither begins nor ends the mode (3.3.2): a
hand that was moved once holds its last position between commands for as long as the link lives. It never says in which
mode it is; `watchdog_tripped` is our own reckoning, from the time between two frames that it answered: what got no
answer may not have reached it. What a grip does to the mode is
not documented; here it ends it, as the hand moves by itself then.

Its mask (3.4.7) says of each joint that it does not do all that it is told: the joint has met something (3.2.1; the
vendor's client calls every bit "Collision Detected"), or its motor is too hot (3.2.2, 3.2.3), and the hand does not say
which. The thumb rotator never halts on a collision (3.2.1), so its bit is heat: `hot`. The others are `stalled`. A
joint that has met something goes no further that way until it was told to go back.
"""

from __future__ import annotations

from enum import Enum

import numpy as np
from numpy.typing import NDArray

from firmware_bridge.errors import NervehandError
from firmware_bridge.hands import _ability_frames as frames
from firmware_bridge.hands._ability_frames import Mode
from firmware_bridge.hands._ability_grips import UART_GRIPS, speed_byte
from firmware_bridge.hands._ability_stream import PlainStream, ReplyStream, StuffedStream
from firmware_bridge.hands._dialect import Report

WATCHDOG_S = 0.3
ROTATOR_BIT = 1 << frames.JOINT_NAMES.index("thumb rotator")
FINGER_BITS = ROTATOR_BIT - 1
TRAVEL_DEG = (np.array([0, 0, 0, 0, 0, -100.0]), np.array([100.0, 100, 100, 100, 100, 0]))
"""Of each joint, by the vendor's client."""


class _Asked(Enum):
    MOVE = 1
    STATE = 2
    GRIP = 3


class AbilityUartDialect:
    """Joints are degrees in the order of `_ability_frames.JOINT_NAMES`, cut to their travel."""

    window = 1

    def __init__(self, variant: int = 3, is_stuffed: bool = True, address: int = frames.ADDRESS) -> None:
        self.bad_frames = self.skipped_bytes = 0
        self._variant = variant
        self._is_stuffed = is_stuffed
        self._address = address
        self._stream = self._new_stream()
        self._fed_ns: int | None = None
        self._is_tripped = False
        self._asked: tuple[_Asked, int] | None = None

    def begin(self) -> tuple[bytes, ...]:
        """Nothing: the first read tells all."""
        self._forget()
        self._fed_ns, self._is_tripped, self._asked = None, False, None
        return ()

    def end(self) -> tuple[bytes, ...]:
        return (self._out(frames.leave_frame(self._address)),)

    def move(self, joints: NDArray[np.float64], number: int, now_ns: int) -> bytes:
        self._asked = (_Asked.MOVE, now_ns)
        if self._fed_ns is None:  # it may obey from now on, answered or not
            self._fed_ns = now_ns
        degrees = np.clip(joints, *TRAVEL_DEG)
        return self._out(frames.position_frame(degrees, self._variant, self._address))

    def ask(self, number: int, now_ns: int) -> bytes:
        self._asked = (_Asked.STATE, now_ns)
        return self._out(frames.read_frame(self._variant, self._address))

    def grip(self, name: str, speed: float, number: int, now_ns: int) -> bytes:
        if name not in UART_GRIPS:
            raise NervehandError(f"the Ability Hand has no grip {name!r}: use one of {', '.join(UART_GRIPS)}")
        self._asked = (_Asked.GRIP, now_ns)
        return self._out(frames.grip_frame(UART_GRIPS[name], speed_byte(speed), self._address))

    def receive(self, data: bytes) -> list[Report]:
        stream = self._stream
        bad_frames, skipped_bytes = stream.bad_frames, stream.skipped_bytes
        reports = [self._report(frame) for frame in stream.feed(data)]
        self.bad_frames += stream.bad_frames - bad_frames
        self.skipped_bytes += stream.skipped_bytes - skipped_bytes
        return reports

    def _feed(self) -> None:
        """What was asked last has reached the hand."""
        if self._asked is None:
            return
        (asked, at_ns), self._asked = self._asked, None
        if asked is not _Asked.STATE:
            self._is_tripped = False
            self._fed_ns = at_ns if asked is _Asked.MOVE else None
        elif self._fed_ns is not None:
            self._is_tripped |= at_ns - self._fed_ns >= WATCHDOG_S * 1e9
            self._fed_ns = at_ns

    def _report(self, frame: bytes) -> Report:
        self._feed()
        reply = frames.decode_reply(frame)
        return Report(
            joints=reply.positions_deg,
            currents_a=reply.currents_a,
            hot=bool(reply.limited & ROTATOR_BIT),
            stalled=bool(reply.limited & FINGER_BITS),
            watchdog_tripped=self._is_tripped,
        )

    def _out(self, frame: bytes) -> bytes:
        """One thing is asked at a time: what is kept of an answer when the next is asked is the rest of a lost one."""
        self._forget()
        return frames.stuffed(frame) if self._is_stuffed else frame

    def _forget(self) -> None:
        self.skipped_bytes += self._stream.buffered
        self._stream = self._new_stream()

    def _new_stream(self) -> ReplyStream:
        headers = frozenset(mode + self._variant - 1 for mode in (Mode.POSITION, Mode.READ_ONLY))
        return StuffedStream(headers) if self._is_stuffed else PlainStream(headers)
