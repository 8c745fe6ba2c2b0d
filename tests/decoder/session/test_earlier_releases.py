"""Recordings made before a part of the format existed open and recover; they are kept as they were written."""

from __future__ import annotations

import lzma
from pathlib import Path

import numpy as np
import pytest

from decoder.session import Session, read_session, recover, write_session
from decoder.session.recorded import Event, EventKind, Note

BEFORE_SENT = Path(__file__).with_name("before_sent")
"""Ten blocks of 20 samples, written before what is sent to the hand was recorded: closed, and as a kill left it."""


def unpacked(name: str, folder: Path) -> Path:
    """The file with all that lies beside it, as it was."""
    for packed in BEFORE_SENT.glob(f"{name}*.xz"):
        (folder / packed.stem).write_bytes(lzma.decompress(packed.read_bytes()))
    return folder / name


def assert_whole(session: Session) -> None:
    assert np.array_equal(
        session.signal[0:200], np.repeat(np.arange(10, dtype=np.int16), 20)[:, None] * [1, 1]
    )
    assert session.labels is not None
    assert np.array_equal(session.labels, np.repeat([0, 1], 100))
    recorded = session.recorded
    last = np.arange(10) * 20 + 19
    assert recorded.sent is None
    assert recorded.sensors is None
    assert recorded.commands is not None
    assert np.array_equal(recorded.commands.sample_index, last)
    assert np.array_equal(recorded.commands.targets[:, 0], np.arange(10, dtype=np.float32) / np.float32(10))
    assert recorded.states is not None
    assert np.array_equal(recorded.states.times_ns[:, 0], 1000 + np.arange(10))
    assert recorded.intents is not None
    assert np.array_equal(recorded.intents.sample_index, last)
    assert recorded.events == (Event(100, EventKind.RESTART, 7),)
    assert recorded.notes == (Note(101, "a note"),)
    assert recorded.health is not None
    assert recorded.health.mask.tolist() == [[True, False]]


def test_a_session_without_what_was_sent_opens_and_is_written_again(tmp_path: Path) -> None:
    session = read_session(unpacked("closed.nwb", tmp_path))
    assert_whole(session)
    write_session(session, tmp_path / "again.nwb")
    assert_whole(read_session(tmp_path / "again.nwb"))


def test_a_recording_without_what_was_sent_is_recovered_after_a_kill(tmp_path: Path) -> None:
    recovery = recover(unpacked("cut_off.nwb", tmp_path))
    assert (recovery.received, recovery.verified, recovery.damaged) == (200, 200, ())
    assert_whole(read_session(recovery.path))


@pytest.mark.parametrize("name", ["closed.nwb", "cut_off.nwb"])
def test_they_are_really_from_before(name: str, tmp_path: Path) -> None:
    import h5py

    from decoder.session.unclosed import UnclosedFile

    with UnclosedFile(unpacked(name, tmp_path)) as raw, h5py.File(raw, "r") as file:
        assert "sent" not in file["processing/behavior"]
        assert "commands" in file["processing/behavior"]
        assert "gate_states" not in file["scratch/nervehand"].asstr()[()]
