"""Histograms of latencies in bounded memory; when a sample arrived, though the block that let it go came later."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from firmware_bridge.stream import SignalBlock
from nervehand.latency import BOUNDS_S, Arrivals, LatencyCounts, LatencyHistogram, RecentLatency


def block(first: int, n: int, arrival_ns: int) -> SignalBlock:
    return SignalBlock(np.zeros((n, 1), np.float32), first, arrival_ns)


def test_a_sample_arrived_with_its_own_block() -> None:
    arrivals = Arrivals(delay=20)
    for i in range(10):
        arrivals.add(block(100 * i, 100, i))
    assert [arrivals.of(index) for index in (880, 899, 900, 999)] == [8, 8, 9, 9]


def test_a_sample_of_a_joined_block_arrived_with_its_piece() -> None:
    arrivals = Arrivals(delay=20)
    pieces = ((110, 7), (150, 9))
    arrivals.add(SignalBlock(np.zeros((150, 1), np.float32), 0, 9, pieces=pieces))
    assert [arrivals.of(index) for index in (109, 110, 149)] == [7, 9, 9]


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


durations_ns = st.lists(st.integers(1, 3 * 10**12), max_size=60)
BUCKET = 2 ** (1 / 64)


def counted(durations: list[int]) -> LatencyCounts:
    histogram = LatencyHistogram()
    for duration_ns in durations:
        histogram.add(duration_ns)
    return histogram.counts


def same(one: LatencyCounts, other: LatencyCounts) -> bool:
    return (
        bool((one.counts == other.counts).all())
        and one.largest_ns == other.largest_ns
        and one.sum_ns == other.sum_ns
    )


@given(durations_ns, st.floats(0, 100))
def test_a_percentile_is_that_of_the_sorted_durations_to_a_bucket(
    durations: list[int], percent: float
) -> None:
    found_us = counted(durations).percentile_us(percent)
    if not durations:
        assert found_us is None
        return
    true_ns = sorted(durations)[max(math.ceil(len(durations) * percent / 100), 1) - 1]
    assert found_us is not None
    if true_ns < 2**39:
        assert true_ns * 0.999999 <= found_us * 1e3 <= true_ns * BUCKET * 1.000001
    assert found_us <= max(durations) / 1e3


@given(durations_ns, durations_ns)
def test_two_histograms_merged_are_one_that_counted_all(first: list[int], second: list[int]) -> None:
    merged = counted(first).merged(counted(second))
    assert same(merged, counted(first + second))
    histogram = LatencyHistogram()
    histogram.merge(counted(first))
    histogram.merge(counted(second))
    assert same(histogram.counts, merged)


@given(durations_ns, durations_ns)
def test_what_came_since_a_moment_is_what_was_added_after_it(before: list[int], after: list[int]) -> None:
    since = counted(before + after).since(counted(before))
    exact = counted(after)
    assert (since.counts == exact.counts).all()
    assert since.sum_ns == exact.sum_ns
    assert exact.largest_ns <= since.largest_ns <= max([*before, *after, 0])
    if exact.largest_ns < 2**39:
        assert since.largest_ns <= exact.largest_ns * BUCKET + 1


def test_a_moment_of_another_histogram_is_no_earlier_one() -> None:
    with pytest.raises(ValueError, match="earlier"):
        counted([5]).since(counted([5, 7]))


@given(durations_ns)
def test_cumulative_counts_grow_with_the_bound_and_are_right_to_a_bucket(durations: list[int]) -> None:
    cumulative = counted(durations).cumulative()
    assert list(cumulative) == sorted(cumulative)
    for count, bound_s in zip(cumulative, BOUNDS_S, strict=True):
        below = sum(ns <= bound_s * 1e9 for ns in durations)
        surely = sum(ns * BUCKET * 1.000001 <= bound_s * 1e9 for ns in durations)
        assert surely <= count <= below


@given(durations_ns, durations_ns)
def test_cumulative_counts_never_shrink_as_more_comes(before: list[int], after: list[int]) -> None:
    earlier, later = counted(before).cumulative(), counted(before + after).cumulative()
    assert all(one <= other for one, other in zip(earlier, later, strict=True))


def test_the_last_minute_is_the_last_minute_and_the_start_is_not_forgotten() -> None:
    histogram = LatencyHistogram()
    recent = RecentLatency(histogram, window_s=60.0, steps=6)
    for second in range(1000):
        histogram.add(50_000_000 if second < 500 else 1_000_000)
        since_start, lately = recent.at(float(second))
        assert len(since_start) == second + 1
        assert min(second + 1, 60) <= len(lately) <= 70
    assert since_start.percentile_us(25) == pytest.approx(1000, rel=0.02)
    assert since_start.largest_us == 50_000.0
    assert lately.largest_us == pytest.approx(1000, rel=0.02)


def test_months_take_no_more_memory_than_a_minute() -> None:
    histogram = LatencyHistogram()
    recent = RecentLatency(histogram)
    for minute in range(0, 100 * 24 * 60, 1):
        histogram.add(1_500_000, times=3000)
        if minute % 60 == 0:
            recent.at(minute * 60.0)
    assert len(histogram) == 100 * 24 * 60 * 3000
    assert len(recent._kept) <= 8
    assert histogram.percentile_us(99) == 1500.0


def test_counts_that_were_taken_do_not_change_any_more() -> None:
    histogram = LatencyHistogram()
    histogram.add(1000)
    counts = histogram.counts
    histogram.add(1000)
    assert len(counts) == 1
    with pytest.raises(ValueError, match="read-only"):
        counts.counts[0] = 1
