"""Starts the server of a port, and starts it again where it dies."""

from __future__ import annotations

import contextlib
import logging
import socket
import subprocess
import sys
import threading
import time
from types import TracebackType
from typing import Self

from firmware_bridge.restarts import Waits, how_ended

ENDING_S = 3.0
"""How long the server may take to end once its owner has gone."""
FIRST_WAIT_S, LONGEST_WAIT_S = 0.1, 5.0
"""Before a server that died is started again; doubled each time that it dies young."""
OLD_S = 60.0
"""A server that lived for so long did not die of its start."""
BUFFER_BYTES = 1 << 20

logger = logging.getLogger(__name__)


class FaceProcess:
    """The process that serves `listener` and the ring at `memory`, told `first` at its start.

    `tls` is memory with a key and its certificate, None for plain text.
    `socket` is the owner's end, non-blocking, another one after each start. `problem` says that it died, and why.
    """

    def __init__(self, first: bytes, listener: socket.socket, memory: int, tls: int | None = None) -> None:
        self.problem = ""
        self._first, self._listener, self._memory, self._tls = first, listener, memory, tls
        self._deaths = 0
        self._ending = threading.Event()
        self._starting = threading.Lock()
        self._keeper = threading.Thread(target=self._keep, name="port keeper", daemon=True)
        self._old: list[socket.socket] = []
        self.socket, self._process = self._started()

    @property
    def pid(self) -> int:
        """Of the process that serves now."""
        return self._process.pid

    def retire(self, used: socket.socket) -> None:
        """Close the owner's ends of servers that have ended, but for the one that the owner still has in use."""
        with self._starting:
            for one in self._old:
                if one is not used:
                    one.close()
            self._old = [one for one in self._old if one is used]

    def _started(self) -> tuple[socket.socket, subprocess.Popen[bytes]]:
        ours, theirs = socket.socketpair()
        with theirs, contextlib.ExitStack() as failing:
            failing.enter_context(ours)
            ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, BUFFER_BYTES)
            theirs.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, BUFFER_BYTES)
            given = {"owner": theirs.fileno(), "listener": self._listener.fileno(), "memory": self._memory}
            if self._tls is not None:
                given["tls"] = self._tls
            options = [word for name, one in given.items() for word in (f"--{name}", str(one))]
            ours.sendall(self._first)
            process = subprocess.Popen(
                [sys.executable, "-m", "firmware_bridge.port", *options], pass_fds=tuple(given.values())
            )
            ours.setblocking(False)
            failing.pop_all()
        return ours, process

    def _keep(self) -> None:
        waits = Waits(FIRST_WAIT_S, LONGEST_WAIT_S, OLD_S)
        while True:
            began_s = time.monotonic()
            how = how_ended(self._process.wait())  # at once, where the last start failed
            if self._ending.wait(waits.after(time.monotonic() - began_s)):
                return
            with self._starting:
                if self._ending.is_set():
                    return
                self._start_again(how)

    def _start_again(self, how: str) -> None:
        """Where nothing can be started now, that is said, and it is tried again after the next wait."""
        ended, before = self.socket, self.problem
        try:
            self.socket, self._process = self._started()
        except OSError as error:
            self.problem = (
                f"the port's server ended by itself ({how}), and cannot be started now: {error.strerror}"
            )
            if self.problem != before:
                logger.warning("%s", self.problem)
            return
        self._old.append(ended)  # closed by `retire`: another thread may be at it
        self._deaths += 1
        self.problem = (
            f"the port's server ended by itself ({how}), and was started again: {self._deaths} times"
        )
        if self._deaths == 1:
            logger.warning("%s", self.problem)

    def __enter__(self) -> Self:
        self._keeper.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._starting:
            self._ending.set()
        with contextlib.suppress(OSError):
            self.socket.shutdown(socket.SHUT_RDWR)
        try:
            self._process.wait(ENDING_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._keeper.join()
        for one in (*self._old, self.socket):
            one.close()
