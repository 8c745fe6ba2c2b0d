"""How a wait for a front-end's bytes is ended from another thread."""

from __future__ import annotations

import selectors
import socket
import weakref


class Interrupt:
    """Set once, from any thread; a wait then ends at once, and every later one too."""

    def __init__(self) -> None:
        self._reader, self._writer = socket.socketpair()
        self._writer.setblocking(False)
        self._is_set = False
        weakref.finalize(self, _close, self._reader, self._writer)

    def set(self) -> None:
        if not self._is_set:
            self._is_set = True
            self._writer.send(b"x")  # never read: the reader stays readable

    @property
    def is_set(self) -> bool:
        return self._is_set

    def wait_readable(self, files: tuple[int, ...], timeout_s: float) -> bool:
        """True once one of the file descriptors may be read; False after the time or where interrupted."""
        if self._is_set:
            return False
        with selectors.DefaultSelector() as selector:
            selector.register(self._reader, selectors.EVENT_READ)
            for file in files:
                selector.register(file, selectors.EVENT_READ)
            return bool(selector.select(max(0.0, timeout_s))) and not self._is_set


def _close(*sockets: socket.socket) -> None:
    for one in sockets:
        one.close()
