"""A run that records 16 channels at 10 kHz in real time, to be killed; what it has handed over is known afterwards.

    python -m tests.decoder.recording.recording_run FOLDER PROGRESS SECONDS

PROGRESS is a file of four numbers, mapped: the blocks handed over, the one that is being handed over, the recorder's
process, and the files that it has begun.
"""

from __future__ import annotations

import mmap
import struct
import sys
import time
from pathlib import Path

import numpy as np

from decoder.carried import packed
from decoder.intent import Intents
from decoder.recording.keeper import KeepSettings
from decoder.recording.link import recorder_process
from decoder.session.layout import Header
from decoder.session.model import SessionMeta
from decoder.session.recorded import Event, EventKind, Note
from firmware_bridge.stream import SignalBlock, StreamInfo

RATE_HZ, CHANNELS, BLOCK, FIRST = 10_000.0, 16, 200, 1000
ROTATE_S = 1.5
MOMENT_BLOCKS = 10
INFO = StreamInfo(RATE_HZ, tuple(f"ch{i:02d}" for i in range(CHANNELS)), "nerve")
HEADER = Header(
    INFO, SessionMeta("live", "p07", "left"), gesture_names=("rest", "fist"), output_names=("u", "v")
)
CAUGHT_UP = 15
"""Messages: those of 0.1 s, which is how often the recorder writes."""
PROGRESS = struct.Struct("=QQQQ")


def samples(first: int, n: int) -> np.ndarray:
    """Rows in which every value tells its place."""
    rows, channels = np.arange(first, first + n)[:, None], np.arange(CHANNELS)[None, :]
    return ((rows * 31 + channels * 1009) % 65521 - 32000).astype(np.int16)


def intents(at: int) -> Intents:
    return Intents(
        np.array([at]), np.full((1, 2), at, np.float32), np.zeros((1, 6), np.float32), np.array([1], np.int16),
        np.array([0.5], np.float32), np.array([False]), np.array([1.0], np.float32),
    )  # fmt: skip


def main(folder: str, progress: Path, seconds: float) -> None:
    settings = KeepSettings(folder, rotate_s=ROTATE_S, reserve_bytes=0)
    progress.write_bytes(bytes(PROGRESS.size))
    with progress.open("r+b") as file:
        told = mmap.mmap(file.fileno(), PROGRESS.size)
    with recorder_process(settings, HEADER) as (sender, process):
        began_s, begun, is_recording = time.monotonic(), 0, False
        for number in range(round(seconds * RATE_HZ / BLOCK)):
            at = FIRST + number * BLOCK
            time.sleep(max(0.0, began_s + number * BLOCK / RATE_HZ - time.monotonic()))
            PROGRESS.pack_into(told, 0, number, number + 1, process.pid, begun)
            if number % MOMENT_BLOCKS == 0:
                sender.moment(packed({"place": np.arange(3.0)}, next=at))
            if number % 7 == 0:
                sender.event(Event(at, EventKind.RELOADED, number))
                sender.note(Note(at, f"note at {at}"))
            sender.append(SignalBlock(samples(at, BLOCK), at, scale_uv=0.195))
            sender.intents(intents(at + BLOCK - 1))
            PROGRESS.pack_into(told, 0, number + 1, number + 1, process.pid, begun)
            process.look(sender, time.monotonic())
            # Until the first file is made, for seconds, all samples are in memory only: that is no recording yet.
            is_recording = is_recording or (
                bool(sender.report.get("files_begun")) and sender.backlog <= CAUGHT_UP
            )
            begun = int(str(sender.report.get("files_begun", 0))) if is_recording else 0


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), float(sys.argv[3]))
