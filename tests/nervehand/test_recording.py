"""A live recording: a recorder that cannot go on says so once, and whoever feeds it never hears of it."""

from __future__ import annotations

import logging
from datetime import datetime
from pathlib import Path

import numpy as np
import pytest

from decoder.bundle import read_bundle
from decoder.chain import DecodeChain
from decoder.session.model import Session, iter_blocks
from decoder.session.reader import read_session
from decoder.session.recorder import SessionWriter
from firmware_bridge.gate import GateEvent
from nervehand.recording import LiveRecorder, recording

BLOCK = 100


def record(session: Session, decoder: Path, path: Path, n_blocks: int, spoil_at: int | None) -> LiveRecorder:
    """Feed blocks through a chain into a recorder; the one numbered `spoil_at` comes a second time."""
    bundle = read_bundle(decoder)
    chain = DecodeChain(bundle, session.info)
    blocks = [block for block, _ in zip(iter_blocks(session, BLOCK), range(n_blocks), strict=False)]
    with recording(path, session.info, bundle, session.first_sample, session.scale_uv) as recorder:
        for i, block in enumerate(blocks):
            intents = chain.process(block)
            recorder.block(block, chain.front_end.masked_now, intents)
            if i == spoil_at:
                recorder.block(block, chain.front_end.masked_now, intents)
            recorder.gate_event(GateEvent(0, "arm", "armed", f"block {i}"))
    return recorder


def test_a_recording_holds_all_blocks_and_when_it_began(
    small_session: Session, small_decoder: Path, tmp_path: Path
) -> None:
    path = tmp_path / "live.nwb"
    assert record(small_session, small_decoder, path, 20, None).stopped == ""
    found = read_session(path)
    np.testing.assert_array_equal(found.signal[0 : 20 * BLOCK], small_session.signal[0 : 20 * BLOCK])
    assert len(found.recorded.notes) == 20
    assert datetime.fromisoformat(found.meta.start_time).year >= 2026


def test_a_block_that_cannot_be_recorded_stops_the_recording_only(
    small_session: Session, small_decoder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "live.nwb"
    recorder = record(small_session, small_decoder, path, 20, spoil_at=9)
    assert "start a new recording" in recorder.stopped
    assert len([r for r in caplog.records if r.levelno >= logging.ERROR]) == 1
    assert read_session(path).n_samples == 10 * BLOCK


def test_a_disk_that_fails_stops_the_recording_only(
    small_session: Session, small_decoder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise OSError("Input/output error")

    monkeypatch.setattr(SessionWriter, "note", fail)
    recorder = record(small_session, small_decoder, tmp_path / "live.nwb", 5, None)
    assert "Input/output error" in recorder.stopped
