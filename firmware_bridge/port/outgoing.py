"""Bytes on their way out of a socket that never makes the sender wait."""

from __future__ import annotations

from collections import deque
from typing import Protocol

MOST_AT_ONCE = 1 << 18


class Taker(Protocol):
    """A non-blocking socket, or a channel over one."""

    def send(self, data: memoryview, /) -> int: ...


class Outgoing:
    """Frames in their order. `waiting` is how many bytes the socket has not taken."""

    def __init__(self) -> None:
        self.waiting = 0
        self._frames: deque[memoryview] = deque()

    def put(self, frame: bytes) -> None:
        """Append one; nothing is sent yet."""
        self._frames.append(memoryview(frame))
        self.waiting += len(frame)

    def send(self, to: Taker) -> int:
        """What it takes now, in bytes; OSError where it has gone."""
        done = 0
        while self._frames:
            first = self._frames[0]
            try:
                n = to.send(first[:MOST_AT_ONCE])
            except BlockingIOError:
                break
            done += n
            if n == len(first):
                self._frames.popleft()
            else:
                self._frames[0] = first[n:]
        self.waiting -= done
        return done

    def clear(self) -> None:
        """Forget all of it: the socket is another one now."""
        self._frames.clear()
        self.waiting = 0
