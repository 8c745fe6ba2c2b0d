"""The recorder as a process of its own, in the normal class: a hand is moved by a real-time one where it can be had.

    python -m decoder.recording.process --owner FD --memory FD

is how `RecorderProcess` starts it. `--owner` is a connected Unix socket, over which one line of JSON says what is kept
and how large the ring at `--memory` is. It ends when it is told so, or once its owner has gone and all that is in the
ring is written. Where it was killed, the one that is started in its place begins with the last moment before what was
written: nothing that is still in the ring is lost.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import logging
import os
import select
import signal
import socket
import subprocess
import sys
import time
from dataclasses import asdict
from pathlib import Path

from decoder.recording.keeper import Keeper, KeepSettings
from decoder.recording.messages import Kind
from decoder.recording.ring import RingReader, RingSize
from decoder.recording.spare import Spare
from firmware_bridge.plain import from_plain

LOOK_S = 0.02
"""How often the ring is looked at: with what is written each 0.1 s, the most that is lost where all are killed."""
REPORT_S = 0.5
FLUSH_S = 0.1
SETTLE_AGAIN_S, LONGEST_SETTLE_AGAIN_S = 60.0, 3600.0
"""A recording that could not be settled is tried again so much later, doubled each time."""
FAILED = 3
"""Exit status where HDF5 failed in the middle of a file: nothing in that process may touch it again."""

logger = logging.getLogger(__name__)


class Settler:
    """Has recordings that nobody writes settled, one after the other, each in a process at the lowest priority."""

    def __init__(self) -> None:
        self._waiting: list[Path] = []
        self._running: subprocess.Popen[bytes] | None = None
        self._failed: dict[Path, tuple[float, float]] = {}  # when, and for how long it is left alone
        self._now: Path | None = None

    def add(self, path: Path) -> None:
        """That one too, unless it failed a moment ago."""
        failed_s, wait_s = self._failed.get(path, (0.0, 0.0))
        if time.monotonic() - failed_s < wait_s:
            return
        if path != self._now and path not in self._waiting:
            self._waiting.append(path)

    def look(self) -> bool:
        """Start the next one where none is under way; whether anything is left to do."""
        if self._running is not None and self._running.poll() is not None:
            if self._running.returncode and self._now is not None:
                self._has_failed(self._now)
            self._running = self._now = None
        if self._running is None and self._waiting:
            self._now = self._waiting.pop(0)
            self._running = _settling([self._now])
            if self._running is None:
                self._has_failed(self._now)
                self._now = None
        return self._running is not None or bool(self._waiting)

    def _has_failed(self, path: Path) -> None:
        _, wait_s = self._failed.get(path, (0.0, 0.0))
        self._failed[path] = (
            time.monotonic(), min(max(2 * wait_s, SETTLE_AGAIN_S), LONGEST_SETTLE_AGAIN_S),
        )  # fmt: skip

    def leave(self) -> None:
        """Have the rest done by one that goes on without this process; what it does not get to, the next start does."""
        if self._waiting:
            _settling(self._waiting)

    def finish(self) -> None:
        """Wait until all of it is done."""
        while self.look():
            time.sleep(LOOK_S)


def _settling(paths: list[Path]) -> subprocess.Popen[bytes] | None:
    command = [sys.executable, "-m", "decoder.session.settle", *map(str, paths)]
    try:
        return subprocess.Popen(command, start_new_session=True)
    except OSError as error:
        logger.error("%s cannot be settled now: %s", paths[0], error)
        return None


class Recorder:
    """The process's loop."""

    def __init__(self, owner: socket.socket, reader: RingReader, settings: KeepSettings) -> None:
        self._owner, self._reader = owner, reader
        self._settler = Settler()
        self._makes_ahead = settings.path is None
        self._spare = Spare(Path(settings.folder), settings.name, self._say)
        self._keeper = Keeper(settings, self._settler.add, make=self._spare.make, waits=self._waits_for_spare)
        self._is_over = False
        self._begun = 0
        self._reported_s = self._flushed_s = float("-inf")
        self._waits = settings.path is not None
        taken = reader.taken
        if taken:  # one was here before, and was cut off
            begin = reader.last_of(Kind.MOMENT, taken)
            reader.next = begin or taken + 1
            if not begin:
                logger.warning("no moment is left in memory to begin with: the next one is waited for")

    def run(self) -> None:
        """Until it is over."""
        has_owner = True
        while not self._is_over:
            if has_owner:
                has_owner = not self._owner_has_gone(LOOK_S)
            self._take_all()
            self._look()
            if not has_owner and not self._is_over:
                self._take_all()
                break
        self._spare.close()
        self._keeper.close()
        self._say()
        self._settle_left()
        if self._waits:  # who asked for one file wants it whole
            self._settler.finish()
        else:
            self._settler.leave()

    def _owner_has_gone(self, wait_s: float) -> bool:
        ready, _, _ = select.select([self._owner], [], [], wait_s)
        if not ready:
            return False
        with contextlib.suppress(BlockingIOError):
            try:
                return not self._owner.recv(64)
            except OSError:
                return True
        return False

    def _take_all(self) -> None:
        keeper, reader = self._keeper, self._reader
        lost, flushed = reader.lost, keeper.flushed
        last = 0
        for message in reader.read():
            if reader.lost > lost:
                keeper.lose(reader.lost - lost)
                lost = reader.lost
            if message.kind == Kind.END:
                self._is_over = True
                break
            keeper.take(message)
            last = message.sequence
            is_new = (
                keeper.begun != self._begun
            )  # at once, so that the run notes in its tail what is on its way to it
            if is_new or time.monotonic() - self._reported_s > REPORT_S:
                self._begun = keeper.begun
                self._say()
        now_s = time.monotonic()
        if now_s - self._flushed_s > FLUSH_S:
            self._flushed_s = now_s
            keeper.flush(last)
        if keeper.flushed > flushed:
            reader.done(keeper.flushed)

    def _look(self) -> None:
        if time.monotonic() - self._reported_s > REPORT_S:
            self._say()
            self._settle_left()
        self._settler.look()
        if self._makes_ahead:
            self._spare.look()

    def _waits_for_spare(self) -> bool:
        return self._makes_ahead and self._spare.is_awaited

    def _settle_left(self) -> None:
        """What others that were cut off have left behind."""
        for path in self._keeper.left:
            self._settler.add(path)

    def _say(self) -> None:
        self._reported_s = time.monotonic()
        self._reader.report.write(json.dumps(asdict(self._keeper.report())).encode())


def first_line(owner: socket.socket) -> bytes:
    """What the owner says; EOFError where it has gone."""
    line = bytearray()
    while not line.endswith(b"\n"):
        byte = owner.recv(1)
        if not byte:
            raise EOFError
        line += byte
    return bytes(line)


def main() -> int:
    """Record; see the module."""
    arguments = argparse.ArgumentParser()
    for name in ("--owner", "--memory"):
        arguments.add_argument(name, type=int, required=True)
    given = arguments.parse_args()
    logging.basicConfig(level=logging.INFO, format="recorder: %(message)s")
    # The owner answers them; this process ends with it.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2):
        signal.signal(number, signal.SIG_IGN)
    with contextlib.suppress(OSError):  # a real-time owner's class is inherited, and is not for this
        os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
    with socket.socket(fileno=given.owner) as owner:
        try:
            said = json.loads(first_line(owner))
        except EOFError:
            return 0
        settings = from_plain(KeepSettings, said["settings"], "recorder's settings")
        size = from_plain(RingSize, said["size"], "recorder's ring")
        reader = RingReader(given.memory, size)
        os.close(given.memory)
        recorder = Recorder(owner, reader, settings)
        try:
            recorder.run()
        except (OSError, RuntimeError) as error:
            logger.error("the disk fails, and the file is left as it is: %s", error)
            sys.stderr.flush()
            os._exit(FAILED)  # HDF5 may crash on closing it
    return 0


if __name__ == "__main__":
    sys.exit(main())
