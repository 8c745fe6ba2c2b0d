"""Programs that record, to be traced: each says into a file what must be there after a power cut from then on.

python -m tests.decoder.session.power.workload trials|rotation FOLDER
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import numpy as np

from decoder.carried import packed
from decoder.intent import Intents
from decoder.recording import messages
from decoder.recording.keeper import Keeper, KeepSettings
from decoder.recording.messages import Kind, Moment
from decoder.recording.ring import Message
from decoder.session import SessionMeta, SessionWriter
from decoder.session.layout import Header
from decoder.session.recorded import Event, EventKind, Note
from decoder.session.settle import settle
from firmware_bridge.hand import HandCommand, Quality
from firmware_bridge.stream import SignalBlock, StreamInfo
from tests.decoder.session.power.trace import MARKERS

RATE_HZ, CHANNELS, BLOCK, FIRST = 10_000.0, 16, 200, 5000
TRIAL_BLOCKS, TRIALS = 9, 9
ROTATIONS, BLOCKS_EACH, SYNC_BLOCKS = 4, 30, 10
STATE = b"carried" * 500
INFO = StreamInfo(RATE_HZ, tuple(f"ch{i:02d}" for i in range(CHANNELS)), "nerve")
HEADER = Header(
    INFO, SessionMeta("live", "p07", "left"), "int16", 0.195, FIRST, gesture_names=("rest", "fist"),
    output_names=("u", "v"), truth_names=("index",), truth_units=("rad",),
)  # fmt: skip


def samples(first: int, n: int) -> np.ndarray:
    """Rows in which every value tells its place."""
    rows, channels = np.arange(first, first + n)[:, None], np.arange(CHANNELS)[None, :]
    return ((rows * 31 + channels * 1009) % 65521 - 32000).astype(np.int16)


def truth(first: int, n: int) -> np.ndarray:
    return np.arange(first, first + n, dtype=np.float32)[:, None]


def block(number: int) -> SignalBlock:
    at = FIRST + number * BLOCK
    return SignalBlock(samples(at, BLOCK), at, scale_uv=0.195)


def intents(at: int) -> Intents:
    k = np.float32(at)
    return Intents(
        np.array([at]), np.full((1, 2), k), np.zeros((1, 6), np.float32), np.array([1], np.int16),
        np.array([0.5], np.float32), np.array([False]), np.array([1.0], np.float32),
    )  # fmt: skip


class Said:
    def __init__(self, folder: Path) -> None:
        self._fd = os.open(folder / MARKERS, os.O_CREAT | os.O_WRONLY | os.O_APPEND, 0o600)

    def __call__(self, text: str) -> None:
        os.write(self._fd, f"{text}\n".encode())


def trials(folder: Path) -> None:
    """A session of trials of different length, notes and events within; then it is closed."""
    said = Said(folder)
    with SessionWriter(folder / "s.nwb", HEADER, reserve_bytes=0, state=STATE) as writer:
        said("begun")
        number = 0
        for trial in range(1, TRIALS + 1):
            start = FIRST + number * BLOCK
            writer.mark(start, label=trial % 2, trial=trial, repetition=1)
            if trial > 1:
                said(f"trial {trial - 1} {start}")
            for k in range(TRIAL_BLOCKS + trial):
                at = FIRST + number * BLOCK
                writer.append(block(number), truth(at, BLOCK))
                last = at + BLOCK - 1
                writer.intents(intents(last))
                writer.command(
                    HandCommand(
                        np.zeros(6, np.float32), last, number, number + 9, "fist", Quality(False, 0.5, 1.0)
                    )
                )
                if k % 4 == 1:
                    writer.note(Note(last, f"note at {last}"))
                    writer.event(Event(last, EventKind.NOTE, number))
                number += 1
        writer.mark(FIRST + number * BLOCK, label=0, trial=0, repetition=0)
        said(f"trial {TRIALS} {FIRST + number * BLOCK}")
    said("closed")


def rotation(folder: Path) -> None:
    """Files that follow each other, and are settled."""
    said = Said(folder)
    sequence = 0
    settled: list[Path] = []
    settings = KeepSettings(
        str(folder),
        rotate_s=BLOCKS_EACH * BLOCK / RATE_HZ,
        sync_s=SYNC_BLOCKS * BLOCK / RATE_HZ,
        reserve_bytes=0,
    )
    keeper = Keeper(settings, settled.append)

    def put(kind: Kind, parts: messages.Parts) -> None:
        nonlocal sequence
        sequence += 1
        keeper.take(Message(sequence, kind, b"".join(parts)))

    for number in range(ROTATIONS * BLOCKS_EACH):
        at = FIRST + number * BLOCK
        if number % BLOCKS_EACH == 0:
            header = Header(INFO, SessionMeta("live"), output_names=("u", "v"))
            put(
                Kind.MOMENT,
                messages.encode_moment(
                    Moment(header, bytes(packed({"at": np.array([at])}, next=at)["at"].tobytes()))
                ),
            )
        put(Kind.BLOCK, messages.encode_block(block(number)))
        keeper.until_synced()
        if number % BLOCKS_EACH == 0 and number:
            said(f"kept {at} {at}")
        elif number % BLOCKS_EACH % SYNC_BLOCKS == SYNC_BLOCKS - 1:  # with all but what belongs to this block
            said(f"kept {at + BLOCK} {at}")
        put(Kind.INTENTS, messages.encode_intents(intents(at + BLOCK - 1)))
        if number % 5 == 0:
            put(Kind.NOTE, messages.encode_note(Note(at, f"note at {at}")))
            put(Kind.EVENT, messages.encode_event(Event(at, EventKind.RELOADED, number)))
        if number % BLOCKS_EACH == BLOCKS_EACH // 2:
            for path in settled:
                settle(path)
            settled.clear()
    keeper.close()
    end = FIRST + ROTATIONS * BLOCKS_EACH * BLOCK
    said(f"kept {end} {end}")
    for path in settled:
        settle(path)
    said("closed")


if __name__ == "__main__":
    {"trials": trials, "rotation": rotation}[sys.argv[1]](Path(sys.argv[2]))
