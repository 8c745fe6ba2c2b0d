"""A note whose text is no UTF-8, as whoever asked may have named himself, makes no recording unreadable."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np

from decoder.session import SessionMeta, SessionWriter, read_session, recover
from decoder.session.layout import Header
from decoder.session.recorded import Note
from firmware_bridge.stream import SignalBlock, StreamInfo


def test_half_a_character_in_a_note_is_replaced_when_a_recording_is_closed_or_recovered(
    info: StreamInfo, tmp_path: Path
) -> None:
    meta = SessionMeta("live", "p07", "left", "2026-01-31T12:00:00+01:00")
    path, killed = tmp_path / "live.nwb", tmp_path / "killed"
    with SessionWriter(path, Header(info, meta, "int16", 0.195, 0, ("rest",))) as writer:
        writer.append(SignalBlock(np.ones((20, info.n_channels), np.int16), 0, scale_uv=0.195))
        writer.note(Note(3, "asked by \ud800"))
        writer.flush()
        shutil.copytree(tmp_path, killed)
    recovered = recover(killed / "live.nwb").path
    for one in (path, recovered):
        assert read_session(one).recorded.notes == (Note(3, "asked by ?"),)
