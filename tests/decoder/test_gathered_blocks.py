"""Blocks that were joined until a hop was complete give the same bits as those that came."""

from __future__ import annotations

import itertools

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from decoder.chain import DecodeChain
from decoder.intent import IntentDigest
from firmware_bridge.gathering import Gathering
from firmware_bridge.nerve.motion import Schedule
from firmware_bridge.nerve.subject import SCALE_UV, SimulatedSubject
from firmware_bridge.stream import SignalBlock
from tests.bundles import random_bundle


@settings(max_examples=10, deadline=None)
@given(st.lists(st.integers(1, 300), min_size=10, max_size=60))
def test_the_chains_answers_are_the_same_bits(sizes: list[int]) -> None:
    subject = SimulatedSubject(2, n_channels=5, rate_hz=10_000.0, schedule=Schedule(repetitions=1))
    n = sum(sizes)
    counts = subject.samples(0, n)
    made = random_bundle(subject.info, subject.samples(0, 4000).astype(np.float32) * np.float32(SCALE_UV))
    edges = [0, *itertools.accumulate(sizes)]
    pieces = [
        SignalBlock(counts[a:b], a, arrival_ns=b, scale_uv=SCALE_UV) for a, b in itertools.pairwise(edges)
    ]
    digests = []
    for gathers in (False, True):
        chain, digest = DecodeChain(made, subject.info), IntentDigest()
        gathering = Gathering(made.hop_raw_samples, chain.front_end.delay)
        for piece in pieces:
            for block in gathering.add(piece) if gathers else [piece]:
                digest.update(chain.process(block))
        for block in gathering.rest():
            digest.update(chain.process(block))
        digests.append(digest.hexdigest())
    assert digests[0] == digests[1]
