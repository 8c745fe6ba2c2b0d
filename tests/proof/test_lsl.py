"""Lab Streaming Layer at the nominal rate: every drop told by the time stamps, nothing else lost or reordered."""

from __future__ import annotations

import importlib.util

import numpy as np
import pytest

from firmware_bridge.sources import lsl
from firmware_bridge.stream import StreamInfo
from tests.lsl_sender import lsl_sender, values
from tests.proof.patience import patiently
from tests.proof.plugin import Proof

N_CHANNELS = 16
RATE_HZ = 10_000.0
CHUNK = 200  # samples that are sent together, every 20 ms
CALM = 10_000  # in the first second losses are counted, but not yet at their place


@pytest.mark.skipif(
    importlib.util.find_spec("mne_lsl") is None, reason="mne-lsl is not installed (the extra lsl)"
)
def test_every_drop_is_told_by_the_time_stamps(proof: Proof) -> None:
    n = proof.count(10_000_000 // N_CHANNELS, least=3 * CALM)
    generator = np.random.default_rng(proof.seed)
    n_drops = proof.count(1000)
    starts = np.sort(generator.choice(np.arange(CALM + 500, n - 500, 300), n_drops, replace=False))
    dropped = np.concatenate([start + np.arange(generator.integers(1, 250)) for start in starts])
    sent = np.setdiff1d(np.arange(n), dropped)
    info = StreamInfo(RATE_HZ, tuple(f"ch{i:02d}" for i in range(N_CHANNELS)), "nerve")
    with lsl_sender() as sender:
        sender.open("proof", N_CHANNELS, RATE_HZ, "int16", "", source_id="id of proof")
        device = lsl.LslDevice(info, "proof", "id of proof", stall_s=60.0)
        patiently(device.connect)
        sender.begin(do="paced", n=n, chunk=CHUNK, dropped=dropped.tolist(), stamps="counted")
        received, lost, drops = 0, 0, 0
        for block in device.blocks():
            index = block.first_sample + np.arange(block.n_samples)
            assert np.array_equal(index, sent[received : received + block.n_samples])
            assert np.array_equal(block.samples, values(index, N_CHANNELS))
            received += block.n_samples
            lost += block.lost_before
            drops += block.lost_before > 0
            if received == sent.size:
                break
        sender.finish()
        device.close()
    assert lost == dropped.size == device.counters.lost_samples
    assert drops == n_drops
    assert device.counters.repeated_samples == 0
    proof.record(values=received * N_CHANNELS, drops=drops, lost_samples=lost)
