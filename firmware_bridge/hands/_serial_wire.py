"""A serial port as a hand's wire: opened for this program alone, never waited for by the thread that uses it."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable

import serial

from firmware_bridge.errors import LinkError, NervehandError
from firmware_bridge.hands._wire import CannotOpenError
from firmware_bridge.serial_ports import open_serial_port

GULP = 65536
"""Bytes of a read at most."""


class SerialWire:
    """The port at `path`, 8N1. `is_rs485`: its driver switches the direction, which many adapters do by themselves.

    Bytes that the port does not take at once are kept and written as it takes them; frames are never cut short.
    """

    def __init__(self, path: str, baud: int, is_rs485: bool = False) -> None:
        self._path = path
        self._baud = baud
        self._is_rs485 = is_rs485
        self._port: serial.Serial | None = None
        self._ending = ""
        self._unwritten = bytearray()

    @property
    def is_open(self) -> bool:
        return self._port is not None

    @property
    def ending(self) -> str:
        return self._ending

    async def open(self, on_data: Callable[[bytes], None], on_end: Callable[[], None]) -> None:
        self._loop = asyncio.get_running_loop()
        self._on_data, self._on_end = on_data, on_end
        self._drained = asyncio.Event()
        try:
            self._port = open_serial_port(
                self._path,
                self._baud,
                hint_if_absent="nothing of that name is there: plug the hand in, and see `ls /dev/serial/by-id`",
                is_rs485=self._is_rs485,
            )
        except NervehandError as error:
            raise CannotOpenError(str(error)) from error
        self._fd = self._port.fileno()
        self._loop.add_reader(self._fd, self._read)

    async def write(self, frame: bytes, wait: bool) -> bool:
        if self._port is None:
            raise LinkError(self._ending or f"serial port {self._path} is not open")
        self._unwritten += frame
        self._flush()
        if wait:
            while self._unwritten:
                self._drained.clear()
                await self._drained.wait()
        return False

    async def close(self) -> None:
        if self._port is not None:
            port, self._port = self._port, None
            self._loop.remove_reader(self._fd)
            self._loop.remove_writer(self._fd)
            port.close()

    def _read(self) -> None:
        try:
            data = os.read(self._fd, GULP)
        except BlockingIOError:
            return
        except OSError as error:
            self._end(os.strerror(error.errno or 0))
            return
        if data:
            self._on_data(data)
        else:
            self._end("end of file")

    def _flush(self) -> None:
        """Write what the port takes; come again when it takes more."""
        try:
            taken = os.write(self._fd, self._unwritten)
        except BlockingIOError:
            taken = 0
        except OSError as error:
            self._end(os.strerror(error.errno or 0))
            return
        del self._unwritten[:taken]
        if self._unwritten:
            self._loop.add_writer(self._fd, self._flush)
        else:
            self._loop.remove_writer(self._fd)
            self._drained.set()

    def _end(self, why: str) -> None:
        self._ending = f"serial port {self._path} is gone: {why}"
        self._unwritten.clear()
        self._drained.set()
        assert self._port is not None
        port, self._port = self._port, None
        self._loop.remove_reader(self._fd)
        self._loop.remove_writer(self._fd)
        port.close()
        self._on_end()
