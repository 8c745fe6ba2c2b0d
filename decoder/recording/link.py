"""Starts the recorder's process, and starts it again where it dies; what it had not written is still in the ring."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from decoder.recording.keeper import KeepSettings
from decoder.recording.ring import RingSize, make_memory
from decoder.recording.sender import Sender
from decoder.session.layout import Header
from firmware_bridge.plain import to_plain
from firmware_bridge.restarts import Waits, how_ended

ENDING_S = 60.0
"""How long the recorder may take to write what is in the ring, and to close its file."""
ENDINGS = 3
"""So often a recorder is let finish: one that dies meanwhile is started again."""
FIRST_WAIT_S, LONGEST_WAIT_S = 0.1, 5.0
"""Before a recorder that died is started again; doubled each time that it dies young."""
STUCK_S = 20.0
"""A recorder that shows no sign of life for so long while something waits is started anew; the ring keeps longer."""
OLD_S = 60.0
"""One that lived for so long did not die of its start."""

logger = logging.getLogger(__name__)


class RecorderProcess:
    """The process that records what is in the ring at `memory`. `problem` says that it died, and how often."""

    def __init__(self, settings: KeepSettings, memory: int, size: RingSize) -> None:
        self.problem = ""
        self.deaths = 0
        self._first = json.dumps({"settings": to_plain(settings), "size": to_plain(size)}).encode() + b"\n"
        self._memory = memory
        self._sign, self._moved_s = (0, 0), time.monotonic()
        self._is_ending = threading.Event()
        self._lock = threading.Lock()
        self._owner, self._process = self._started()
        self._keeper = threading.Thread(target=self._keep, name="recorder's keeper", daemon=True)
        self._keeper.start()

    def look(self, sender: Sender, now_s: float) -> None:
        """Kill a recorder that stands still, before the ring is full: another one takes its place.

        `now_s` is monotonic. To be called each second or so, from any thread.
        """
        sign = sender.sign_of_life
        if not sender.backlog or sign != self._sign:
            self._sign, self._moved_s = sign, now_s
        elif now_s - self._moved_s > STUCK_S and self._process.poll() is None:
            self._moved_s = now_s
            logger.error("the recorder has not moved for %g s and is killed", STUCK_S)
            self._process.kill()

    @property
    def pid(self) -> int:
        """Of the process that records now."""
        return self._process.pid

    def close(self) -> None:
        """Wait until it has written all that it was told to, and ended."""
        with self._lock:
            self._is_ending.set()
            process = self._process
        with contextlib.suppress(OSError):
            self._owner.shutdown(socket.SHUT_RDWR)
        for tries_left in reversed(range(ENDINGS)):
            try:
                process.wait(ENDING_S)
            except subprocess.TimeoutExpired:
                logger.error("the recorder did not end within %g s and is killed: recover its file", ENDING_S)
                process.kill()
                process.wait()
                break
            if process.returncode == 0 or not tries_left:
                break
            try:  # it died before it was through: another writes what is left in the ring
                self._owner.close()
                self._owner, process = self._started()
                self._owner.shutdown(socket.SHUT_RDWR)
            except OSError as error:
                logger.error("the recorder has ended, and cannot be started again: %s", error.strerror)
                break
        self._keeper.join()
        self._owner.close()

    def _started(self) -> tuple[socket.socket, subprocess.Popen[bytes]]:
        ours, theirs = socket.socketpair()
        with theirs, contextlib.ExitStack() as failing:
            failing.enter_context(ours)
            ours.sendall(self._first)
            process = subprocess.Popen(
                [
                    sys.executable, "-m", "decoder.recording.process",
                    "--owner", str(theirs.fileno()), "--memory", str(self._memory),
                ],
                stdin=subprocess.DEVNULL,
                pass_fds=(theirs.fileno(), self._memory),
                # Each file is closed by a thread of its own: memory would grow by an arena of malloc for each.
                env={**os.environ, "OPENBLAS_NUM_THREADS": "1", "MALLOC_ARENA_MAX": "2"},
                # Ctrl-C and a kill of the run's group leave it the time to close its file.
                start_new_session=True,
            )  # fmt: skip
            failing.pop_all()
        return ours, process

    def _keep(self) -> None:
        waits = Waits(FIRST_WAIT_S, LONGEST_WAIT_S, OLD_S)
        while True:
            began_s = time.monotonic()
            how = how_ended(self._process.wait())  # at once, where the last start failed
            if self._is_ending.wait(waits.after(time.monotonic() - began_s)):
                return
            with self._lock:
                if self._is_ending.is_set():
                    return
                self._start_again(how)

    def _start_again(self, how: str) -> None:
        """Where nothing can be started now, that is said, and it is tried again after the next wait."""
        self._owner.close()
        before = self.problem
        try:
            self._owner, self._process = self._started()
        except OSError as error:
            self.problem = (
                f"the recorder ended by itself ({how}), and cannot be started now: {error.strerror}"
            )
            if self.problem != before:
                logger.error("%s", self.problem)
            return
        self._moved_s = time.monotonic()  # the new one has its own time
        self.deaths += 1
        self.problem = f"the recorder ended by itself ({how}), and was started again: {self.deaths} times"
        logger.warning("%s", self.problem)


@contextmanager
def recorder_process(settings: KeepSettings, header: Header) -> Iterator[tuple[Sender, RecorderProcess]]:
    """A recorder and what hands over to it; at the end all is written."""
    size = RingSize.of(header.info)
    memory = make_memory(size)
    try:
        process = RecorderProcess(settings, memory, size)
        try:
            sender = Sender(memory, size, header)
            try:
                yield sender, process
            finally:
                sender.close()
        finally:
            process.close()
    finally:
        os.close(memory)
