"""The simulated person as fast as its samples are taken: nothing lost, nothing reordered, every bit again."""

from __future__ import annotations

import numpy as np
import pytest

from firmware_bridge.nerve.subject import SimulatedSubject
from firmware_bridge.sources.simulated import SimulatedSource
from tests.proof.plugin import Proof

N_CHANNELS = 16
BLOCK = 37
"""Of the source; no divisor of the lengths in which the subject makes its samples."""


@pytest.mark.parametrize("preset", ["default", "hard"])
def test_ten_million_values_of_a_subject_are_the_same_bits_in_any_blocks(proof: Proof, preset: str) -> None:
    n_samples = -(-proof.count(10_000_000) // N_CHANNELS)
    first = 1000 * proof.seed + 7
    subject, again = (SimulatedSubject(proof.seed % 10 + 1, 3, preset, N_CHANNELS) for _ in range(2))
    source = SimulatedSource(subject, BLOCK, n_samples, is_paced=False, first_sample=first)
    lengths = np.random.default_rng(proof.seed).integers(1, 5000, n_samples)
    source.connect()
    n = at = k = lost = different = 0
    expected = np.empty((0, N_CHANNELS), np.int16)
    for block in source.blocks():
        assert block.first_sample == first + n + block.lost_before
        lost += block.lost_before
        while at + expected.shape[0] < n + block.n_samples:
            left = expected[n - at :]
            more = again.samples(first + at + expected.shape[0], int(lengths[k]))
            expected, at, k = np.concatenate([left, more]), n, k + 1
        rows = expected[n - at : n - at + block.n_samples]
        different += int(np.count_nonzero(block.samples != rows))
        n += block.n_samples
    proof.record(values=n * N_CHANNELS, lost=lost, different=different)
    assert (n, lost, different) == (n_samples, 0, 0)
