"""Open Ephys over ZMQ at its nominal rate: nothing lost by itself, every loss that was made found and counted.

The sender keeps to the rate, but waits for the reader instead of dropping what it does not take: what a machine that
stands still makes ZMQ drop says nothing about the reader. That it could keep up is said by its processor time.
"""

from __future__ import annotations

import threading
import time

import numpy as np
import pytest

from tests.firmware_bridge.sources import patterned
from tests.proof.patience import LIMIT_S, patiently
from tests.proof.plugin import Proof

pytest.importorskip("zmq", reason="the extra openephys (pyzmq) is not installed")

from firmware_bridge.emulators.openephys import OpenEphysEmulator
from firmware_bridge.pacing import paced
from firmware_bridge.sources.openephys import OpenEphysDevice, open_device

N_CHANNELS = 16
RATE_HZ = 10_000.0
BLOCK = 200


@pytest.mark.proof
def test_a_minute_at_nominal_rate_with_every_drop_counted(proof: Proof) -> None:
    n_blocks = round(proof.count(60, least=3) * RATE_HZ / BLOCK)
    generator = np.random.default_rng(proof.seed)
    n_losses = n_samples = lost = 0
    samples = paced(patterned.blocks(None, N_CHANNELS, BLOCK), RATE_HZ, threading.Event().wait)
    with OpenEphysEmulator(patterned.info(N_CHANNELS), samples, False, BLOCK) as gui:
        host, port = gui.address.split(":")
        found = patiently(lambda: open_device(gui.address))
        device = OpenEphysDevice(
            host, int(port), found.info, found._heard, stall_s=LIMIT_S, timeout_s=LIMIT_S
        )
        device.connect()
        expected, begun_cpu_s = None, time.thread_time()
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
        cpu_s = time.thread_time() - begun_cpu_s
        device.close()
    assert n_losses > 0
    assert cpu_s < n_samples / RATE_HZ
    assert lost == gui.n_samples_lost == device.counters.lost_samples
    assert device.counters.bad_frames == device.counters.repeated_samples == 0
    proof.record(seconds=round(n_samples / RATE_HZ), values=n_samples * N_CHANNELS)
    proof.record(reader_cpu_s=round(cpu_s, 2))
    proof.record(losses_made=n_losses, samples_lost=gui.n_samples_lost, samples_found_lost=lost)
