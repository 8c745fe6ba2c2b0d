"""A glove on a serial port: what all of them have in common, whatever their bytes mean."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from calibration.truth import TruthBlock, TruthInfo
from firmware_bridge.errors import LinkError, SourceLostError
from firmware_bridge.sources import Found
from firmware_bridge.sources import serial as serial_ports
from firmware_bridge.sources._serial_port import SerialPort

REPLY_S = 0.1
"""How long an answer is waited for before it is asked for again."""


class Wire(Protocol):
    """One connection's bytes: a protocol with what it has half received."""

    request: bytes
    """What asks for a reading; empty where the glove sends them by itself."""

    def begin(self, port: SerialPort) -> None:
        """Make the glove ready; raises LinkError where it does not answer as it should."""

    def feed(self, data: bytes) -> list[list[float]]:
        """The readings that these bytes complete, a value for each sensor."""


class SerialGlove:
    """A `TruthSource` on the serial port `path`. `stall_s` without a reading is a lost source.

    A glove that is asked is asked `info.rate_hz` times a second, and its reading is from when it was asked; one that
    sends by itself has its readings' times of arrival. Both are the host's clock: these gloves tell no time.
    """

    def __init__(
        self, info: TruthInfo, path: str, baud: int, new_wire: Callable[[], Wire], stall_s: float = 1.0
    ) -> None:
        self.info = info
        self._path, self._baud, self._new_wire, self._stall_s = path, baud, new_wire, stall_s
        self._port: SerialPort | None = None
        self._wire = new_wire()

    def connect(self) -> None:
        self.close()
        self._wire = self._new_wire()
        self._port = opened(self._path, self._baud, self._wire)

    def close(self) -> None:
        port = self._port
        if port is not None:
            port.close()

    def blocks(self) -> Iterator[TruthBlock]:
        port, wire = self._port, self._wire
        if port is None:
            return
        period_s = 1.0 / self.info.rate_hz
        heard_s = due_s = time.monotonic()
        asked_s: float | None = None
        try:
            while not port.is_closed:
                now_s = time.monotonic()
                if wire.request and now_s >= due_s and (asked_s is None or now_s - asked_s >= REPLY_S):
                    port.write(wire.request)
                    asked_s = now_s
                    due_s = max(due_s + period_s, now_s)
                until_s = heard_s + self._stall_s
                if wire.request:
                    until_s = min(until_s, due_s if asked_s is None else asked_s + REPLY_S)
                rows = wire.feed(port.read(max(0.0, until_s - time.monotonic())))
                if rows:
                    arrival_ns = time.monotonic_ns()
                    taken_s = arrival_ns / 1e9 if asked_s is None else asked_s
                    asked_s = None
                    yield block(rows, taken_s, arrival_ns)
                    heard_s = time.monotonic()
                elif time.monotonic() - heard_s >= self._stall_s and not port.is_closed:
                    raise SourceLostError(
                        f"{self.info.name} at {self._path} is silent for {self._stall_s:g} s: is it on, and worn?"
                    )
        except SourceLostError:
            port.close()
            raise
        except LinkError as error:
            port.close()
            raise SourceLostError(f"{self.info.name} is lost: {error}") from error


def opened(path: str, baud: int, wire: Wire) -> SerialPort:
    """The port with a glove that is ready; LinkError where the port or the glove is not there."""
    if not Path(path).exists():
        raise LinkError(f"no serial port {path} is there: plug the glove in, and see `ls /dev/serial/by-id`")
    port = SerialPort(path, baud)
    try:
        wire.begin(port)
    except LinkError:
        port.close()
        raise
    return port


def block(rows: list[list[float]], taken_s: float, arrival_ns: int) -> TruthBlock:
    """Readings that came at once; `taken_s` is the time of the last one."""
    values: NDArray[np.float32] = np.array(rows, np.float32)
    return TruthBlock(values, np.full(len(rows), taken_s), np.full(len(rows), arrival_ns, np.int64))


def find(name: str, what: str) -> tuple[Found, ...]:
    """The USB serial ports. They are not asked what they are: it may be another machine."""
    return tuple(
        Found(f"{name}:{one.address.removeprefix('serial:')}", f"{one.description}; perhaps {what}")
        for one in serial_ports.find()
    )
