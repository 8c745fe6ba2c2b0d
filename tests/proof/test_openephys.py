"""Open Ephys over ZMQ at its nominal rate: nothing lost by itself, every loss that was made found and counted."""

from __future__ import annotations

import numpy as np
import pytest

from tests.firmware_bridge.sources import patterned
from tests.proof.plugin import Proof

pytest.importorskip("zmq", reason="the extra openephys (pyzmq) is not installed")

from firmware_bridge.emulators.openephys import OpenEphysEmulator
from firmware_bridge.sources.openephys import open_device

N_CHANNELS = 16
RATE_HZ = 10_000.0
BLOCK = 200


@pytest.mark.proof
def test_a_minute_at_nominal_rate_with_every_drop_counted(proof: Proof) -> None:
    n_blocks = round(proof.count(60, least=3) * RATE_HZ / BLOCK)
    generator = np.random.default_rng(proof.seed)
    n_losses = n_samples = lost = 0
    with OpenEphysEmulator(
        patterned.info(N_CHANNELS), patterned.blocks(None, N_CHANNELS), True, BLOCK
    ) as gui:
        device = open_device(gui.address)
        device.connect()
        expected = None
        for i, block in enumerate(device.blocks()):
            sent = (patterned.samples(block.first_sample, block.n_samples) * np.float64(0.195)).astype(
                np.float32
            )
            assert np.array_equal(block.samples, sent)
            assert block.digital is not None
            assert np.array_equal(block.digital, patterned.digital(block.first_sample, block.n_samples))
            assert expected is None or block.first_sample == expected + block.lost_before
            expected = block.first_sample + block.n_samples
            n_samples += block.n_samples
            lost += block.lost_before
            is_settled = not gui.is_fault_due and lost == gui.n_samples_lost
            if is_settled and i >= n_blocks:
                break
            assert i < n_blocks + 1000, f"{lost} samples found lost, {gui.n_samples_lost} were"
            if is_settled and generator.random() < 0.1:
                n_losses += 1
                if generator.random() < 0.5:
                    gui.skip(int(generator.integers(1, 4)))
                else:
                    gui.drop(
                        generator.choice(N_CHANNELS, int(generator.integers(1, 5)), replace=False).tolist()
                    )
        device.close()
    assert n_losses > 0
    assert lost == gui.n_samples_lost == device.counters.lost_samples
    assert device.counters.bad_frames == device.counters.repeated_samples == 0
    proof.record(seconds=round(n_samples / RATE_HZ), values=n_samples * N_CHANNELS)
    proof.record(losses_made=n_losses, samples_lost=gui.n_samples_lost, samples_found_lost=lost)
