"""A wire whose other end is the test, and a tiny command set to speak over it."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from firmware_bridge.errors import LinkError
from firmware_bridge.hand import N_DOF, HandCapabilities, LinkState, Quantity, WatchdogAction
from firmware_bridge.hands._connection import Sent
from firmware_bridge.hands._dialect import Report
from firmware_bridge.hands._linked import LinkedHand
from firmware_bridge.hands._virtual import JOINTS

PATIENCE_S = 60.0
SECOND = 1_000_000_000

HAND = HandCapabilities(
    name="a hand of words",
    lower=np.full(N_DOF, -1, np.float32),
    upper=np.full(N_DOF, 1, np.float32),
    max_speed_per_s=np.full(N_DOF, 4, np.float32),
    watchdog_s=None,
    watchdog_action=WatchdogAction.UNKNOWN,
    source="this file",
    measures=frozenset({Quantity.POSITION}),
    grips=("point", "hook"),
)


def in_flight(hand: LinkedHand) -> Sequence[Sent]:
    """What waits for its answer now, oldest first."""
    assert hand._connection is not None
    return hand._connection.in_flight


def until(is_so: Callable[[], bool]) -> None:
    end_s = time.monotonic() + PATIENCE_S
    while not is_so():
        assert time.monotonic() < end_s, f"not in {PATIENCE_S:g} s"
        time.sleep(0.001)


def six(value: float) -> NDArray[np.float32]:
    return np.full(N_DOF, value, np.float32)


class Clock:
    """Stands still until it is moved."""

    def __init__(self) -> None:
        self.ns = 1000 * SECOND

    def __call__(self) -> int:
        return self.ns

    def pass_s(self, seconds: float) -> None:
        self.ns += round(seconds * SECOND)


class Words:
    """Moves are "m NUMBER JOINT", asks "a NUMBER", grips "g NUMBER NAME SPEED". The hand says "! NUMBER" (answered),
    "!" (without numbers), "at JOINT" (unasked), "is JOINT" (an answer), "draws AMPERES", "fault WHY", "wrong WHY"; the
    rest is refused.
    """

    def __init__(self, window: int = 3, greetings: tuple[bytes, ...] = (), farewells: tuple[bytes, ...] = ()):
        self.window = window
        self.bad_frames = self.skipped_bytes = 0
        self._greetings, self._farewells = greetings, farewells

    def begin(self) -> tuple[bytes, ...]:
        return self._greetings

    def end(self) -> tuple[bytes, ...]:
        return self._farewells

    def move(self, joints: NDArray[np.float64], number: int, now_ns: int) -> bytes:
        return f"m {number} {joints[0]:g}".encode()

    def ask(self, number: int, now_ns: int) -> bytes:
        return f"a {number}".encode()

    def grip(self, name: str, speed: float, number: int, now_ns: int) -> bytes:
        return f"g {number} {name} {speed:g}".encode()

    def receive(self, data: bytes) -> Iterable[Report]:
        match data.decode(errors="replace").split(" ", 1):
            case ["!"]:
                yield Report()
            case ["!", number]:
                yield Report(answers=int(number))
            case ["at", joint]:
                yield Report(joints=np.full(N_DOF, float(joint)), is_answer=False)
            case ["is", joint]:
                yield Report(joints=np.full(N_DOF, float(joint)), fault="", hot=False)
            case ["draws", amperes]:
                yield Report(is_answer=False, currents_a=np.full(N_DOF, float(amperes)))
            case ["fault", why]:
                yield Report(is_answer=False, fault=why, hot=True)
            case ["wrong", why]:
                yield Report(misfit=why)
            case ["break"]:
                raise ZeroDivisionError("a bug of the dialect")
            case _:
                self.bad_frames += 1
                self.skipped_bytes += len(data)


class Line:
    """The other end: what was written (`frames`), and `answer`, which says at once what the hand does."""

    def __init__(self, answer: Callable[[bytes], bytes | None] = lambda frame: None) -> None:
        self.answer = answer
        self.frames: list[bytes] = []
        self.opened = self.closed = 0
        self.fails: Exception | None = None
        self.close_fails: Exception | None = None
        self.knows_arrival = self.swallows_cancel = False
        self.may_arrive = threading.Event()
        self.may_arrive.set()
        self.may_close = threading.Event()
        self.may_close.set()
        self.wire: LineWire | None = None

    def __call__(self) -> LineWire:
        self.wire = LineWire(self)
        return self.wire

    def say(self, data: bytes) -> None:
        """Something that the hand says now."""
        assert self.wire is not None
        self.wire.loop.call_soon_threadsafe(self.wire.on_data, data)

    def cut(self, why: str) -> None:
        """The connection ends."""
        assert self.wire is not None
        self.wire.loop.call_soon_threadsafe(self.wire.end, why)

    def positions(self) -> list[str]:
        return [frame.decode().split(" ")[2] for frame in self.frames if frame.startswith(b"m")]


class LineWire:
    def __init__(self, line: Line) -> None:
        self._line = line
        self.is_open = False
        self.ending = ""

    async def open(self, on_data: Callable[[bytes], None], on_end: Callable[[], None]) -> None:
        self._line.opened += 1
        if self._line.fails is not None:
            raise self._line.fails
        self.loop, self.on_data, self._on_end = asyncio.get_running_loop(), on_data, on_end
        self.is_open = True

    async def write(self, frame: bytes, wait: bool) -> bool:
        if not self.is_open:
            raise LinkError("it is not open")
        self._line.frames.append(frame)
        answer = self._line.answer(frame)
        if answer is not None:
            self.loop.call_soon(self.on_data, answer)
        if wait and self._line.knows_arrival:
            while not self._line.may_arrive.is_set():
                try:
                    await asyncio.sleep(0.001)
                except asyncio.CancelledError:
                    if not self._line.swallows_cancel:
                        raise
                    break
            return True
        return False

    async def close(self) -> None:
        while not self._line.may_close.is_set():
            await asyncio.sleep(0.001)
        self._line.closed += 1
        self.is_open = False
        if self._line.close_fails is not None:
            raise self._line.close_fails

    def end(self, why: str) -> None:
        self.is_open, self.ending = False, why
        self._on_end()


def acknowledging(frame: bytes) -> bytes:
    """A hand that answers each frame by its number."""
    return b"! " + frame.split(b" ")[1]


def linked(line: Line, make_dialect: Callable[[], Words] = Words, **options: object) -> LinkedHand:
    """A hand on that line; no silence is too long unless `link_timeout_s` says so."""
    settings: dict[str, object] = {"capabilities": HAND, "link_timeout_s": 4 * PATIENCE_S} | options
    return LinkedHand(
        joint_map=JOINTS, make_dialect=make_dialect, make_wire=line, where="the test", **settings
    )  # type: ignore[arg-type]


def reporting(frame: bytes) -> bytes:
    """A hand that answers everything with where it is."""
    return b"is 0.25"


@contextmanager
def connected(hand: LinkedHand) -> Iterator[LinkedHand]:
    hand.connect(PATIENCE_S)
    try:
        yield hand
    finally:
        hand.close()


@contextmanager
def connecting(hand: LinkedHand) -> Iterator[LinkedHand]:
    """A hand that is waited for by somebody else."""
    thread = threading.Thread(target=hand.connect, args=(PATIENCE_S,), daemon=True)
    thread.start()
    try:
        yield hand
        thread.join()
        assert hand.link is LinkState.CONNECTED
    finally:
        hand.close()


def unmeasured() -> dict[str, object]:
    return {"capabilities": replace(HAND, measures=frozenset())}
