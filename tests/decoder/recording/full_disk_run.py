"""Records onto a small disk of its own while something else fills it: in a mount namespace, as

    unshare -rm python -m tests.decoder.recording.full_disk_run FOLDER

where FOLDER becomes a tmpfs. What the recorder said, and what is in its files, is printed as JSON.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from decoder.recording.files import MIB, kept_in
from decoder.recording.keeper import KeepSettings
from decoder.recording.link import RecorderProcess, recorder_process
from decoder.recording.sender import Sender
from decoder.session import read_session
from decoder.session.recorded import EventKind
from decoder.session.settle import settle
from firmware_bridge.stream import SignalBlock
from tests.decoder.recording.recording_run import BLOCK, FIRST, HEADER, RATE_HZ, samples

DISK_MIB, RESERVE_MIB = 160, 16


class Run:
    """Hands over a block each 20 ms, whatever the recorder does; the longest that handing over took is kept."""

    def __init__(self, sender: Sender, process: RecorderProcess) -> None:
        self._sender, self._process = sender, process
        self.number, self.longest_s = 0, 0.0
        self._began_s = time.monotonic()

    def until(self, is_so: Callable[[], bool], within_s: float = 40.0) -> None:
        end_s = time.monotonic() + within_s
        while not is_so():
            if time.monotonic() > end_s:
                raise SystemExit(f"it did not come to pass: {self._sender.report}")
            time.sleep(max(0.0, self._began_s + self.number * BLOCK / RATE_HZ - time.monotonic()))
            at, began_s = FIRST + self.number * BLOCK, time.perf_counter()
            if self.number % 10 == 0:
                self._sender.moment(None)
            self._sender.append(SignalBlock(samples(at, BLOCK), at, scale_uv=0.195))
            self.longest_s = max(self.longest_s, time.perf_counter() - began_s)
            self.number += 1
            self._process.look(self._sender, time.monotonic())

    def state(self) -> str:
        return str(self._sender.report.get("state", ""))


def fill(folder: Path) -> None:
    """All that is left of the disk, at once."""
    fd = os.open(folder / "somebody else's", os.O_CREAT | os.O_WRONLY, 0o600)
    disk = os.statvfs(folder)
    n = disk.f_bavail * disk.f_frsize
    while n:
        try:
            os.posix_fallocate(fd, os.fstat(fd).st_size, n)
        except OSError:
            n //= 2
    os.close(fd)


def main(folder: Path) -> None:
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={DISK_MIB}m", "tmpfs", str(folder)], check=True)
    settings = KeepSettings(str(folder), reserve_bytes=RESERVE_MIB * MIB)
    said: dict[str, object] = {}
    with recorder_process(settings, HEADER) as (sender, process):
        run = Run(sender, process)
        run.until(lambda: run.state() == "recording")
        ends = run.number + 40
        run.until(lambda: run.number >= ends)
        fill(folder)
        said["full_at"] = FIRST + run.number * BLOCK
        run.until(lambda: run.state() == "stopped")
        said["why"] = sender.report["why"]
        ends = run.number + 100
        run.until(lambda: run.number >= ends)
        (folder / "somebody else's").unlink()
        run.until(lambda: run.state() == "recording")
        said["again_at"] = FIRST + run.number * BLOCK
        ends = run.number + 30
        run.until(lambda: run.number >= ends)
        said["problem"], said["longest_s"] = process.problem, run.longest_s
        said["end"] = FIRST + run.number * BLOCK
    for one in kept_in(folder, "nervehand"):
        while "another process" in settle(one.path):
            time.sleep(0.05)
    files = []
    for one in kept_in(folder, "nervehand"):
        session = read_session(one.path)
        n, first = session.n_samples, session.first_sample
        files.append(
            {
                "first": first, "end": first + n,
                "right": bool(np.array_equal(session.signal[0:n], samples(first, n))) and not session.gaps,
                "says_why": any(event.kind == EventKind.DISK_RESERVE for event in session.recorded.events),
            }
        )  # fmt: skip
    said["files"] = files
    print(json.dumps(said))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
