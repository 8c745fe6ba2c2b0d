"""A front-end whose driver keeps what came until it is asked for it."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator
from typing import Protocol

from firmware_bridge.errors import SourceLostError
from firmware_bridge.stream import SignalBlock


class Connection(Protocol):
    """What a driver delivers from `connect` to `close`; used by one thread at a time."""

    wait_s: float
    """How long `poll` waits at most."""

    def poll(self) -> Iterable[SignalBlock] | None:
        """What came meanwhile, waiting for it; None after the last sample. Raises SourceLostError, at once or where
        the blocks before it were taken."""

    def silence(self, seconds: float) -> str:
        """What to say where nothing came for so long."""

    def close(self) -> None:
        """Let the driver go, also where it is broken."""


class Polling:
    """The blocks of one connection at a time. `close` may come from any thread.

    Silence is waited for, not passed: a machine that stood still has not heard a device that fell silent.
    """

    def __init__(self, stall_s: float) -> None:
        self._stall_s = stall_s
        self._lock = threading.Lock()  # around every use of the connection
        self._ending = threading.Event()  # so that a reader leaves the lock to whoever closes
        self._connection: Connection | None = None

    def begin(self, connection: Connection) -> None:
        """From here on `blocks` are those of this connection."""
        with self._lock:
            self._connection = connection
            self._ending.clear()

    def blocks(self) -> Iterator[SignalBlock]:
        connection = self._connection
        silent_s = 0.0
        try:
            while connection is not None and not self._ending.is_set():
                with self._lock:
                    if self._connection is not connection:
                        return
                    blocks = connection.poll()
                if blocks is None:
                    return
                silent_s += connection.wait_s
                for block in blocks:
                    if self._connection is not connection:
                        return
                    yield block
                    silent_s = 0.0
                if silent_s >= self._stall_s:
                    raise SourceLostError(connection.silence(self._stall_s))
        except SourceLostError:
            if self._connection is connection:
                self.close()
            raise

    def close(self) -> None:
        self._ending.set()
        with self._lock:
            connection, self._connection = self._connection, None
            if connection is not None:
                connection.close()
