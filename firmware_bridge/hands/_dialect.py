"""What a hand's command set is to the link that speaks it: frames out, reports in, no I/O and no clock."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

REFUSAL_READINGS = 5
"""A refused command is told with so many readings after it: whoever looks now and then misses a single one."""


@dataclass(frozen=True, slots=True)
class Report:
    """What a hand said; None is what it did not say, and the link keeps what it said of that before.

    Arrays are by joint (n_joints,), in the order and units of its joint map; `joints` are positions. `answers` is the
    number of the frame that this answers; None where the hand numbers no frames: it answers the oldest. `is_answer` is
    False for what it says unasked. `fault` "" is a hand without one. `misfit` says why this is not the hand that was
    described, or cannot be used: the link is then given up for good.
    """

    joints: NDArray[np.float64] | None = None
    is_answer: bool = True
    answers: int | None = None
    currents_a: NDArray[np.float64] | None = None
    forces_n: NDArray[np.float64] | None = None
    temperature_c: float | None = None
    battery: float | None = None
    hot: bool | None = None
    stalled: bool | None = None
    watchdog_tripped: bool | None = None
    fault: str | None = None
    misfit: str = ""


class Dialect(Protocol):
    """A hand's command set. One object serves one connection at a time: `begin` starts it anew.

    `window` is how many frames may wait for their answer: 1 for a hand that is asked one thing at a time; 0 for a hand
    that answers nothing, where each write is waited for instead. `bad_frames` and `skipped_bytes` count what `receive`
    refused; it never raises for what a hand may send.

    The link counts as up once a frame was answered (window 0: once the other end has a write) and, where the hand
    measures positions, one was reported. From then on a hand that measures positions must report one at least every
    `link_timeout_s`; `ask` is sent where none came for a third of that, even between positions.
    """

    window: int
    bad_frames: int
    skipped_bytes: int

    def begin(self) -> tuple[bytes, ...]:
        """Called before the wire is opened. What is written first, in this order, each answered before the next where
        the hand answers (the oldest waiting frame is answered, whatever the report's number); moves nothing."""

    def end(self) -> tuple[bytes, ...]:
        """What is written before the link is given up on purpose; may leave the hand to its own mode."""

    def move(self, joints: NDArray[np.float64], number: int, now_ns: int) -> bytes:
        """Frame `number`: go to these joint values, which were handed to `Hand.send` at `now_ns`.

        Frames are counted from 0 without a bound; the count goes on over connections.
        """

    def ask(self, number: int, now_ns: int) -> bytes:
        """Frame `number`: moves nothing, and is answered, or at least shows that writing works: the heartbeat."""

    def grip(self, name: str, speed: float, number: int, now_ns: int) -> bytes:
        """Frame `number`: one of the hand's own grips; NervehandError for a name it does not have."""

    def receive(self, data: bytes) -> Iterable[Report]:
        """What these bytes, whole notifications or any pieces of a serial stream, complete."""
