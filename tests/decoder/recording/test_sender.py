"""The run's side of the recorder: what is on its way to a file is noted there, whatever the recorder is doing."""

from __future__ import annotations

import json
import os
import struct
from contextlib import closing
from pathlib import Path

import pytest

from decoder.recording import sender as module
from decoder.recording.ring import RingReader, RingSize, make_memory
from decoder.recording.sender import Sender
from decoder.session.sidecar import HEADER_BYTES, ON_ITS_WAY_AT
from firmware_bridge.stream import SignalBlock
from tests.decoder.recording.recording_run import BLOCK, HEADER, INFO, samples


def noted(tail: Path) -> int:
    return int(struct.unpack_from("<Q", tail.read_bytes(), ON_ITS_WAY_AT)[0])


def test_between_two_files_the_one_before_still_counts_what_is_on_its_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LOOK_S", -1.0)  # at each block
    first, second = tmp_path / "first.tail", tmp_path / "second.tail"
    for tail in (first, second):
        tail.write_bytes(bytes(HEADER_BYTES))
    size = RingSize.of(INFO)
    memory = make_memory(size)
    try:
        with closing(Sender(memory, size, HEADER)) as sender, closing(RingReader(memory, size)) as recorder:
            seen = []
            for number, tail in enumerate(("", str(first), "", "", str(second))):
                recorder.report.write(json.dumps({"tail": tail}).encode())
                sender.append(SignalBlock(samples(number * BLOCK, BLOCK), number * BLOCK, scale_uv=0.195))
                seen.append((noted(first), noted(second)))
    finally:
        os.close(memory)
    assert seen == [(0, 0), (2 * BLOCK, 0), (3 * BLOCK, 0), (4 * BLOCK, 0), (0, 5 * BLOCK)]
