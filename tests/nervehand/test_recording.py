"""A live recording: a recorder that cannot go on says so once, and whoever feeds it never hears of it."""

from __future__ import annotations

import logging
import threading
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import numpy as np
import pytest

from decoder.bundle import read_bundle
from decoder.chain import DecodeChain
from decoder.health import Cause
from decoder.intent import IntentDigest
from decoder.replay import replay
from decoder.session.model import Session, iter_blocks
from decoder.session.reader import read_session
from decoder.session.recorded import Event, EventKind
from decoder.session.recorder import SessionWriter
from firmware_bridge.errors import NervehandError
from firmware_bridge.gate import GateEvent, GateState
from firmware_bridge.guard import Sent
from firmware_bridge.stream import SignalBlock
from nervehand.recording import MOST_SENT, LiveRecorder, recording

BLOCK = 100


def record(session: Session, decoder: Path, path: Path, n_blocks: int, spoil_at: int | None) -> LiveRecorder:
    """Feed blocks through a chain into a recorder; the one numbered `spoil_at` comes a second time."""
    bundle = read_bundle(decoder)
    chain = DecodeChain(bundle, session.info)
    blocks = [block for block, _ in zip(iter_blocks(session, BLOCK), range(n_blocks), strict=False)]
    with recording(path, session.info, bundle, session.first_sample, session.scale_uv) as recorder:
        for i, block in enumerate(blocks):
            intents = chain.process(block)
            recorder.block(block, intents, chain.front_end)
            if i == spoil_at:
                recorder.block(block, intents, chain.front_end)
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


def test_all_that_was_sent_is_recorded_the_release_after_the_last_block_too(
    small_session: Session, small_decoder: Path, tmp_path: Path
) -> None:
    path, bundle = tmp_path / "live.nwb", read_bundle(small_decoder)
    chain = DecodeChain(bundle, small_session.info)
    positions = [np.full(6, i / 10, np.float32) for i in range(4)]
    with recording(path, small_session.info, bundle, 0, small_session.scale_uv) as recorder:
        block = next(iter_blocks(small_session, BLOCK))
        recorder.sent(Sent(10, 7, positions[0], GateState.ARMED))
        recorder.sent(Sent(20, -1, positions[1], GateState.RELAXING))
        recorder.block(block, chain.process(block), chain.front_end)
        recorder.sent(Sent(30, -1, positions[2], GateState.RELEASED))
        recorder.sent(Sent(40, -1, positions[3], GateState.RELEASED))
    sent = read_session(path).recorded.sent
    assert sent is not None
    assert sent.sent_ns.tolist() == [10, 20, 30, 40]
    assert sent.sample_index.tolist() == [7, -1, -1, -1]
    np.testing.assert_array_equal(sent.positions, positions)
    assert [sent.state_names[k] for k in sent.state] == ["armed", "relaxing", "released", "released"]


def test_what_could_not_be_remembered_of_what_was_sent_is_counted(
    small_session: Session, small_decoder: Path, tmp_path: Path
) -> None:
    path, bundle = tmp_path / "live.nwb", read_bundle(small_decoder)
    chain = DecodeChain(bundle, small_session.info)
    with recording(path, small_session.info, bundle, 0, small_session.scale_uv) as recorder:
        for block, burst in zip(
            iter_blocks(small_session, BLOCK), (MOST_SENT + 5, 3, MOST_SENT + 1), strict=False
        ):
            for i in range(burst):
                recorder.sent(Sent(i, -1, np.zeros(6, np.float32), GateState.HOLDING))
            recorder.block(block, chain.process(block), chain.front_end)
    recorded = read_session(path).recorded
    assert recorded.sent is not None
    assert len(recorded.sent.sent_ns) == 2 * MOST_SENT + 3
    unrecorded = [event for event in recorded.events if event.kind == EventKind.UNRECORDED]
    assert unrecorded == [
        Event(BLOCK - 1, EventKind.UNRECORDED, 5),
        Event(3 * BLOCK - 1, EventKind.UNRECORDED, 1),
    ]


def test_fifteen_seconds_of_blocks_of_a_millisecond_wait_for_a_file_that_is_slow_to_open(
    small_session: Session, small_decoder: Path, tmp_path: Path
) -> None:
    fed = threading.Event()

    def make(block: SignalBlock) -> SessionWriter:
        fed.wait()
        raise NervehandError("the disk is gone")

    chain = DecodeChain(read_bundle(small_decoder), small_session.info)
    block = next(iter_blocks(small_session, BLOCK))
    intents, recorder = chain.process(block), LiveRecorder(None, make)
    for _ in range(15_000):
        recorder.block(block, intents, chain.front_end)
    assert recorder.stopped == ""
    fed.set()
    recorder.close(failing=False)
    assert recorder.stopped == "the disk is gone"


def test_a_disk_that_fails_stops_the_recording_only(
    small_session: Session, small_decoder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise OSError("Input/output error")

    monkeypatch.setattr(SessionWriter, "note", fail)
    recorder = record(small_session, small_decoder, tmp_path / "live.nwb", 5, None)
    assert "Input/output error" in recorder.stopped


def test_a_recording_holds_masks_artefacts_losses_and_digital_lines_and_replays_to_the_same_bits(
    small_session: Session, small_decoder: Path, tmp_path: Path
) -> None:
    path, bundle = tmp_path / "live.nwb", read_bundle(small_decoder)
    info = replace(small_session.info, stimulation_lines=(1,))
    counts = np.array(small_session.signal[0:20_000])
    counts[12_000:12_300, 2] = 32767  # channel 2 rails for 60 ms
    counts[14_000:14_005] += 4000  # an artefact on all channels
    lines = np.zeros(len(counts), np.uint32)
    lines[16_000:16_005] = 2
    counts[16_000:16_005] -= 8000
    blocks = [
        SignalBlock(counts[a : a + BLOCK], a, scale_uv=small_session.scale_uv, digital=lines[a : a + BLOCK])
        for a in range(0, len(counts), BLOCK)
        if a != 18_000
    ]
    parts = []
    with recording(path, info, bundle, 0, small_session.scale_uv) as recorder:
        chain = DecodeChain(bundle, info, recorder.chain_event)
        for block in blocks:
            parts.append(chain.process(block))
            recorder.block(block, parts[-1], chain.front_end)
    found = read_session(path)
    events = {(event.kind, event.sample_index, event.first, event.second) for event in found.recorded.events}
    assert (EventKind.MASKED, 12_000, 2, int(Cause.RAILED)) in events
    assert (EventKind.FILLED, 18_000 + BLOCK, BLOCK, 0) in events
    artefacts = [event for event in events if event[0] == EventKind.ARTEFACT]
    assert [(sample, size) for _, sample, size, _ in artefacts] == [(14_000, 4)]
    assert found.info.stimulation_lines == (1,)
    assert found.digital is not None
    np.testing.assert_array_equal(found.digital.at(0, 20_000), lines)
    digests = [IntentDigest(), IntentDigest()]
    for part in parts:
        digests[0].update(part)
    for part in replay(iter_blocks(found, 777), found.info, bundle):
        digests[1].update(part)
    assert digests[0].hexdigest() == digests[1].hexdigest()
    assert found.recorded.health is not None
    assert found.recorded.health.mask[:, 2].any()
