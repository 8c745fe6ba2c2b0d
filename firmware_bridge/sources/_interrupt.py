"""How a wait for a front-end's bytes is ended from another thread."""

from __future__ import annotations

import math
import selectors
import socket
import sys
import weakref

if sys.platform == "win32":
    _Selector = selectors.SelectSelector
else:
    _Selector = selectors.PollSelector  # the cheapest for two or three files and one wait

_LEAST_WAITS = 8
_LONGEST_WAIT_S = 0.25


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
        with _Selector() as selector:
            selector.register(self._reader, selectors.EVENT_READ)
            try:
                for file in files:
                    selector.register(file, selectors.EVENT_READ)
            except (OSError, ValueError):
                if self.is_set:  # whoever set it has closed the file since
                    return False
                raise
            return bool(selector.select(max(0.0, timeout_s))) and not self._is_set


class Patience:
    """How long a device may be silent, counted in short waits that ended without anything: a host that stood still
    for seconds takes one of them, and what came meanwhile is still read."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._left = max(_LEAST_WAITS, math.ceil(seconds / _LONGEST_WAIT_S))
        self._wait_s = seconds / self._left

    def wait_readable(self, interrupt: Interrupt, files: tuple[int, ...]) -> bool:
        """False where it is at an end; else True after a wait, which may be over for any reason."""
        if self._left == 0:
            return False
        if not interrupt.wait_readable(files, self._wait_s):
            self._left -= 1
        return True


def _close(*sockets: socket.socket) -> None:
    for one in sockets:
        one.close()
