"""A connection as the two sides of a port use it: bytes in and out, without waiting, with TLS or without (tls.py)."""

from __future__ import annotations

import contextlib
import socket
from typing import Protocol


class Channel(Protocol):
    """What a frame goes through. Nothing here waits: BlockingIOError where nothing is there, or is taken, now.

    One thread receives, several may send. `socket` is what is waited for.
    """

    @property
    def socket(self) -> socket.socket: ...

    @property
    def is_open(self) -> bool:
        """Whether frames can pass."""

    @property
    def heard_bytes(self) -> int:
        """What the other side has sent, as it came over the wire, if it belongs to such a channel."""

    @property
    def waiting(self) -> int:
        """Bytes that were taken, and that the socket has not: `flush` them once it is writable."""

    def receive(self, most: int) -> bytes:
        """What has come, of at most so many bytes on the wire; b"" where the other side has closed it, else OSError."""

    def send(self, data: memoryview, /) -> int:
        """How many bytes of it were taken; OSError where the other side has gone."""

    def flush(self) -> None:
        """Hand the socket what it takes of what waits; OSError where the other side has gone."""

    def refuse(self, frame: bytes) -> None:
        """Say why, before anything else was said, to who does not speak as this side does."""


class PlainChannel:
    """The socket itself, non-blocking."""

    is_open = True
    waiting = 0

    def __init__(self, connected: socket.socket) -> None:
        self.socket = connected
        self.heard_bytes = 0

    def receive(self, most: int) -> bytes:
        received = self.socket.recv(most)
        self.heard_bytes += len(received)
        return received

    def send(self, data: memoryview, /) -> int:
        return self.socket.send(data)

    def flush(self) -> None:
        pass

    def refuse(self, frame: bytes) -> None:
        with contextlib.suppress(OSError):
            self.socket.send(frame)
