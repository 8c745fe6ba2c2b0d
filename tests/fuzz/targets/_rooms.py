"""Small sessions as bytes, and a folder in memory for the readers that take a path."""

from __future__ import annotations

import atexit
import shutil
import tempfile
from functools import cache
from pathlib import Path

import numpy as np

from decoder.session import Gap, Header, Session, SessionMeta, SessionWriter, write_session
from decoder.session.journal import journal_of
from decoder.session.reader import tail_of
from decoder.session.recorded import Event, EventKind, Note
from firmware_bridge.stream import SignalBlock, StreamInfo

INFO = StreamInfo(1000.0, ("a", "b"), "nerve", ("median/1", "median/2"), "median", 6389.0, (0.1, 400.0))
N_SAMPLES = 60
FIRST = 100


@cache
def room() -> Path:
    """A folder of this process, in memory where the machine has such a place."""
    memory = Path("/dev/shm")
    made = Path(tempfile.mkdtemp(prefix="nervehand-fuzz-", dir=memory if memory.is_dir() else None))
    atexit.register(shutil.rmtree, made, ignore_errors=True)
    return made


def empty_room() -> Path:
    for path in room().iterdir():
        path.unlink()
    return room()


@cache
def session_bytes() -> bytes:
    """A closed file with labels, trials, truth and a gap."""
    labels = np.zeros(N_SAMPLES, np.int16)
    labels[10:30] = 1
    session = Session(
        info=INFO,
        meta=SessionMeta("fuzzed", "p01", "left"),
        signal=np.arange(2 * N_SAMPLES, dtype=np.int16).reshape(-1, 2),
        scale_uv=0.195,
        first_sample=FIRST,
        labels=labels,
        gesture_names=("rest", "fist"),
        trial=(labels * 3).astype(np.int32),
        repetition=labels,
        truth=np.linspace(0, 1, N_SAMPLES, dtype=np.float32)[:, None],
        truth_names=("thumb",),
        truth_units=("position",),
        postures=np.array([[0] * 6, [1] * 6], np.float32),
        gaps=(Gap(140, 150),),
    )
    path = empty_room() / "made.nwb"
    write_session(session, path)
    return path.read_bytes()


@cache
def unclosed() -> tuple[bytes, bytes, bytes]:
    """A recording that was cut off: its file, its tail and its journal."""
    path = empty_room() / "made.nwb"
    header = Header(INFO, SessionMeta("fuzzed"), "int16", 0.195, FIRST, gesture_names=("rest", "fist"))
    recorder = SessionWriter(path, header, flush_s=0.02)
    for k in range(3):
        samples = np.full((20, 2), k, np.int16)
        recorder.append(SignalBlock(samples, FIRST + 25 * k, scale_uv=0.195))
        recorder.mark(FIRST + 25 * k, label=k % 2, trial=k + 1)
        recorder.event(Event(FIRST + 25 * k, EventKind.RESTART, 1, 2))
        recorder.note(Note(FIRST + 25 * k, "a note"))
        recorder.flush()
    files = path.read_bytes(), tail_of(path).read_bytes(), journal_of(path).read_bytes()
    recorder.close()
    return files
