"""Intan RHX over TCP, as fast as flow control allows: nothing lost, nothing reordered, every bit as sent."""

from __future__ import annotations

import time

import numpy as np
import pytest

from firmware_bridge.emulators.intan import IntanEmulator
from firmware_bridge.sources.intan import IntanDevice, open_device
from tests.firmware_bridge.sources import patterned
from tests.proof.patience import LIMIT_S, patiently
from tests.proof.plugin import Proof

N_CHANNELS = 16
BLOCK = 128


@pytest.mark.proof
def test_ten_million_values_through_rhx_are_bit_identical(proof: Proof) -> None:
    n_samples = -(-proof.count(10_000_000) // N_CHANNELS // BLOCK) * BLOCK
    first = proof.seed * 1_000_003
    sent = patterned.blocks(n_samples, N_CHANNELS, size=4096, first=first)
    with IntanEmulator(patterned.info(N_CHANNELS), sent) as rhx:
        host, port = rhx.address.split(":")
        described = patiently(lambda: open_device(rhx.address))
        described.release()
        device = IntanDevice(host, int(port), described.info, stall_s=LIMIT_S, timeout_s=LIMIT_S)
        device.connect()
        begun_s = time.perf_counter()
        n = 0
        for block in device.blocks():
            assert block.first_sample == n
            expected = patterned.samples(first + n, block.n_samples, N_CHANNELS)
            assert np.array_equal(block.samples, expected)
            n += block.n_samples
            if n >= n_samples:
                break
        seconds = time.perf_counter() - begun_s
        device.release()
    assert n == n_samples
    counters = device.counters
    assert (counters.lost_samples, counters.repeated_samples, counters.bad_frames) == (0, 0, 0)
    proof.record(values=n * N_CHANNELS, lost=0, seconds=round(seconds, 2))
