"""When a sample arrived, though the block that let it leave the delay line came later."""

from __future__ import annotations

import numpy as np

from firmware_bridge.stream import SignalBlock
from nervehand.latency import Arrivals


def block(first: int, n: int, arrival_ns: int) -> SignalBlock:
    return SignalBlock(np.zeros((n, 1), np.float32), first, arrival_ns)


def test_a_sample_arrived_with_its_own_block() -> None:
    arrivals = Arrivals(delay=20)
    for i in range(10):
        arrivals.add(block(100 * i, 100, i))
    assert [arrivals.of(index) for index in (880, 899, 900, 999)] == [8, 8, 9, 9]


def test_as_many_blocks_are_remembered_as_the_delay_needs_and_no_more() -> None:
    arrivals = Arrivals(delay=20)
    for i in range(1000):
        arrivals.add(block(5 * i, 5, i))
        for age in range(min(25, 5 * i)):
            index = 5 * i + 4 - age
            assert arrivals.of(index) == index // 5
    assert len(arrivals._blocks) <= 6


def test_a_lost_sample_counts_from_the_block_after_it_and_an_empty_block_changes_nothing() -> None:
    arrivals = Arrivals(delay=20)
    arrivals.add(block(0, 50, 1))
    arrivals.add(block(50, 0, 2))
    arrivals.add(block(60, 50, 3))
    assert (arrivals.of(49), arrivals.of(55), arrivals.of(60)) == (1, 3, 3)


def test_a_stream_that_begins_anew_is_not_mixed_with_the_last_one() -> None:
    arrivals = Arrivals(delay=20)
    arrivals.add(block(1000, 50, 1))
    arrivals.add(block(0, 50, 2))
    assert arrivals.of(10) == 2
