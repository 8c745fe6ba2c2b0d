"""BrainFlow's playback board against its file, bit for bit."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest

from firmware_bridge.sources import brainflow
from tests.brainflow_recording import microvolts, write_recording
from tests.proof.plugin import Proof

N_CHANNELS = 16
PIECE = 5000  # samples that are made, and written, at a time
FAST_HZ = 1e6  # the stamps' rate: BrainFlow plays as fast as it reads


@pytest.mark.skipif(
    importlib.util.find_spec("brainflow") is None,
    reason="BrainFlow is not installed (the extra brainflow, x86-64 only)",
)
def test_a_recording_is_played_bit_for_bit(proof: Proof, tmp_path: Path) -> None:
    n = proof.count(10_000_000 // N_CHANNELS // PIECE) * PIECE
    path = tmp_path / "recording.csv"
    for first in range(0, n, PIECE):
        packages = np.arange(first, first + PIECE)
        samples = microvolts(first, PIECE, proof.seed)
        write_recording(path, samples, packages, FAST_HZ, "w" if first == 0 else "a")
    opened = brainflow.open_device(f"playback/{path}")
    device = brainflow.BrainflowDevice(opened.info, opened.board, stall_s=60.0, ring_samples=n + 1)
    device.connect()
    received = 0
    piece = microvolts(0, PIECE, proof.seed)
    for block in device.blocks():
        assert block.first_sample == received
        assert block.lost_before == 0
        for row in np.asarray(block.samples, np.float64):
            if received and received % PIECE == 0:
                piece = microvolts(received, PIECE, proof.seed)
            assert np.array_equal(row, piece[:, received % PIECE])
            received += 1
    device.close()
    path.unlink()  # it is large
    assert received == n
    assert device.counters.repeated_samples == device.counters.bad_frames == 0
    proof.record(values=received * N_CHANNELS, lost_samples=device.counters.lost_samples)
