"""Wires that stop or release a hand: a modem line of a serial port, or a general-purpose input of the board.

A line is a closed circuit in normal use. Opening it acts, and so does all that a broken wire, an unplugged adapter or
a driver that fails can look like: what cannot be read stops the hand.
"""

from __future__ import annotations

import contextlib
import os
import termios
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Protocol

import serial

from firmware_bridge.errors import NervehandError

READ_EVERY_S = 0.005
OPEN_READS, LAST_READS = 2, 10
"""So many of the last readings open a line; it is closed again when none of them was open. One alone is a contact
that bounces, or a disturbance. Two in 50 ms are more than that, in a row (an opened line acts within 10 ms) or not: a
loose contact chatters, and a rule of readings in a row could wait for it for ever."""
REOPEN_S = 0.25
READING_FAILS = (OSError, termios.error, ValueError, TypeError)
"""What pyserial and the system raise of a port that has gone. Anything else ends the thread, which stops the hand."""
FORMS = "serial:DEVICE#cts (or #dsr, #cd, #ri) or gpio:FILE#low (or #high: the level at which the circuit is closed)"


class LineAction(Enum):
    """What the opening of a line asks for."""

    STOP = "stop"
    RELEASE = "release"


@dataclass(frozen=True, slots=True)
class StopLine:
    """A line that is watched, by its address (FORMS), and what its opening asks for."""

    address: str
    action: LineAction = LineAction.STOP


class Contact(Protocol):
    """The electrical side of a line."""

    def is_closed(self) -> bool:
        """Whether current flows; raises where that cannot be read."""

    def close(self) -> None: ...


class SerialContact:
    """A modem line of the serial port at `device`: `name` is cts, dsr, cd or ri.

    RTS and DTR are asserted, so that a switch between RTS and CTS is all the wiring there is.
    """

    NAMES = ("cts", "dsr", "cd", "ri")

    def __init__(self, device: str, name: str = "cts") -> None:
        self._device, self._name = device, name
        self._port: serial.Serial | None = None

    def is_closed(self) -> bool:
        if self._port is None:
            self._port = serial.Serial(self._device)
        return bool(getattr(self._port, self._name))

    def close(self) -> None:
        if self._port is not None:
            with contextlib.suppress(OSError):
                self._port.close()
            self._port = None


class GpioContact:
    """The value file of an exported input in sysfs: "0" or "1". `closed` is its level while the circuit is closed."""

    def __init__(self, path: str, closed: int = 0) -> None:
        self._path, self._closed = path, closed
        self._descriptor: int | None = None

    def is_closed(self) -> bool:
        if self._descriptor is None:
            self._descriptor = os.open(self._path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        level = os.pread(self._descriptor, 8, 0).strip()
        if level not in (b"0", b"1"):
            raise OSError(f"{self._path} holds {level!r}, neither 0 nor 1")
        return int(level) == self._closed

    def close(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


def contact(address: str) -> Contact:
    """The contact at an address (FORMS), not opened yet; NervehandError where the address is malformed."""
    kind, _, where = address.partition(":")
    where, _, choice = where.partition("#")
    if where and kind == "serial" and choice in ("", *SerialContact.NAMES):
        return SerialContact(where, choice or "cts")
    if where and kind == "gpio" and choice in ("", "low", "high"):
        return GpioContact(where, int(choice == "high"))
    raise NervehandError(f"there is no stop line {address!r}: use {FORMS}")


class Reading(Enum):
    """What one look at a line has found."""

    CLOSED = "closed"
    OPEN = "open"
    FAILED = "failed"


class LineWatch:
    """One line, judged by its last readings: `look` says in words that it has opened, once each time that it does.

    `failure` is why it could not be read, "" where it could.

    A contact that fails is opened anew every REOPEN_S, so that an adapter that is plugged in again can be read.
    """

    def __init__(self, line: StopLine, of: Contact, clock: Callable[[], int] = time.monotonic_ns) -> None:
        self.line = line
        self._contact, self._clock = of, clock
        self.is_open = False
        """Whether it has been open, or unreadable, often enough to act, and not closed all the time since."""
        self._last = (Reading.CLOSED,) * LAST_READS  # replaced, never changed: another thread may look at it
        self.failure = ""
        self._failed = ""
        self._retry_ns = 0

    @property
    def action(self) -> LineAction:
        """What its state asks for: a line that cannot be read stops, whatever it is there for."""
        return LineAction.STOP if Reading.FAILED in self._last else self.line.action

    @property
    def reason(self) -> str:
        """Its state in words, where it is open."""
        failed = Reading.FAILED in self._last
        return f"line {self.line.address} " + (f"cannot be read: {self._failed}" if failed else "is open")

    def look(self) -> str:
        """Read it once; "" unless it has just opened, or asks for something else than before."""
        was_open, before = self.is_open, self.action
        reading = self._read()
        self._last = (*self._last[1:], reading)
        n_open = LAST_READS - self._last.count(Reading.CLOSED)
        self.is_open = n_open >= (1 if was_open else OPEN_READS)
        if reading is Reading.CLOSED or not self.is_open or (was_open and self.action is before):
            return ""
        return self.reason

    def close(self) -> None:
        """Give the device back."""
        self._contact.close()

    def _read(self) -> Reading:
        if self.failure and self._clock() < self._retry_ns:
            return Reading.FAILED
        try:
            is_closed = self._contact.is_closed()
        except READING_FAILS as error:
            self.failure = self._failed = str(error) or repr(error)
            self._contact.close()
            self._retry_ns = self._clock() + round(REOPEN_S * 1e9)
            return Reading.FAILED
        self.failure = ""
        return Reading.CLOSED if is_closed else Reading.OPEN


class StopLines:
    """Reads every line each READ_EVERY_S in a thread; `act` gets what an opened line asks for, and the reason.

    `reads` counts the rounds, so that whoever looks on can see that the thread is not stuck in a driver. `asked` is
    what `act` was told of the lines that are still open, for whoever has to see that it stays so.
    """

    def __init__(self, lines: tuple[StopLine, ...], act: Callable[[LineAction, str], None]) -> None:
        self.reads = 0
        self.asked: tuple[tuple[LineAction, str], ...] = ()
        self._watches = [LineWatch(line, contact(line.address)) for line in lines]
        self._act = act
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run, name="stop lines", daemon=True)

    @property
    def open_now(self) -> tuple[str, ...]:
        """The addresses of the lines that are open or cannot be read."""
        return tuple(watch.line.address for watch in self._watches if watch.is_open)

    def start(self) -> None:
        """Read them all once, and then for ever; NervehandError for one that cannot be read to begin with."""
        for watch in self._watches:
            watch.look()
            if watch.failure:
                self.close()
                raise NervehandError(f"stop line {watch.line.address} cannot be read: {watch.failure}")
        self._thread.start()

    def close(self) -> None:
        """End the thread, unless a driver holds it."""
        self._ending.set()
        if self._thread.is_alive():
            self._thread.join(1.0)
        for watch in self._watches:
            watch.close()

    def _run(self) -> None:
        while not self._ending.wait(READ_EVERY_S if self._watches else None):
            for watch in self._watches:
                why = watch.look()
                if why:
                    self._act(watch.action, why)
            self.asked = tuple((watch.action, watch.reason) for watch in self._watches if watch.is_open)
            self.reads += 1
