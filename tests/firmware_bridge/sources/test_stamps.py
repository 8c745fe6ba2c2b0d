"""What is loss and what is jitter, from the sender's time stamps alone."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from firmware_bridge.errors import SourceLostError
from firmware_bridge.sources._stamps import StampClock

RATE_HZ = 1000.0


def placed(stamps: NDArray[np.float64], cuts: list[int]) -> list[tuple[int, int, int]]:
    """(row, lost before it, again) of every run, for stamps read in pieces that end at the cuts."""
    clock = StampClock(RATE_HZ)
    found = []
    for begin, end in pairwise(sorted({0, *(cut for cut in cuts if cut < stamps.size), stamps.size})):
        while begin < end:
            run = clock.take(stamps[begin:end])
            found.append((begin, run.lost, run.again))
            begin += run.n_samples
    return found


def lost_in(stamps: NDArray[np.float64], every: int = 37) -> dict[int, int]:
    return {row: lost for row, lost, _ in placed(stamps, list(range(0, stamps.size, every))) if lost}


def kept(n: int, dropped: list[tuple[int, int]]) -> NDArray[np.int64]:
    """Of samples 0 .. n - 1, those that are not dropped: `count` from `first` on."""
    gone = np.concatenate([np.arange(first, first + count) for first, count in dropped] or [[]])
    return np.setdiff1d(np.arange(n), gone)


@settings(max_examples=50, deadline=None)
@given(
    st.lists(st.tuples(st.integers(1100, 9000), st.integers(1, 200)), max_size=8),
    st.lists(st.integers(1, 8000), max_size=30),
    st.floats(-1e-4, 1e-4),
)
def test_a_sender_that_counts_its_samples_has_every_loss_found_at_its_place(
    dropped: list[tuple[int, int]], cuts: list[int], drift: float
) -> None:
    index = kept(9500, dropped)
    stamps = 12_345.6 + index / RATE_HZ * (1 + drift)
    expected = {int(row) + 1: int(gap) - 1 for row, gap in enumerate(np.diff(index)) if gap > 1}
    assert {row: lost for row, lost, _ in placed(stamps, cuts) if lost} == expected


def test_a_loss_in_the_first_second_is_counted_within_another() -> None:
    index = kept(4000, [(300, 7), (310, 2)])
    found = lost_in(5.0 + index / RATE_HZ)
    assert sum(found.values()) == 9
    assert max(found) <= 1500


def jittered(
    index: NDArray[np.int64], seed: int, chunk: int = 10, jitter_s: float = 0.02
) -> NDArray[np.float64]:
    """Stamped when a chunk is sent, up to `jitter_s` late; within a chunk by the rate, as liblsl does."""
    generator = np.random.default_rng(seed)
    stamps = index / RATE_HZ
    for begin in range(0, index.size, chunk):
        stamps[begin : begin + chunk] += generator.uniform(0, jitter_s)
    return stamps


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("drift", [-3e-4, 0.0, 3e-4])
def test_jitter_is_never_loss(seed: int, drift: float) -> None:
    stamps = jittered(np.arange(60_000), seed) * (1 + drift)
    assert lost_in(stamps) == {}


@pytest.mark.parametrize("seed", range(5))
def test_a_loss_longer_than_the_jitter_is_counted_when_it_has_stayed_for_a_second(seed: int) -> None:
    index = kept(30_000, [(10_000, 100), (20_000, 300)])
    found = lost_in(jittered(index, seed))
    assert list(found.values()) == [pytest.approx(100, abs=5), pytest.approx(300, abs=5)]
    first, second = found
    assert 10_000 < first < 11_200
    assert 19_900 < second < 21_100


def test_a_sender_that_stood_still_and_caught_up_has_lost_nothing() -> None:
    index = np.arange(20_000)
    stamps = jittered(index, 1)
    stood = (index >= 10_000) & (index < 12_500)
    stamps[stood] = np.maximum(stamps[stood], 12.5)  # 2.5 s of samples, all sent when it went on
    assert lost_in(stamps) == {}


@pytest.mark.parametrize("seed", range(5))
def test_a_sender_that_begins_to_jitter_loses_no_more_by_it_than_its_jitter(seed: int) -> None:
    """Its first late stamp may be late by a whole number of periods, as after a loss."""
    index = np.arange(20_000)
    stamps = np.where(index < 5000, index / RATE_HZ, jittered(index, seed) + 0.0004)
    found = lost_in(stamps)
    assert sum(found.values()) <= 20
    assert set(found) <= set(range(5000, 6000))


def test_twice_the_rate_is_not_taken_for_loss_nor_for_samples_that_come_again() -> None:
    """What another rate means is for the supervisor to say; every sample is passed on."""
    by_chunk = np.concatenate([k * 0.05 + np.arange(100) / RATE_HZ for k in range(100)])
    for stamps in (np.arange(10_000) / (2 * RATE_HZ), by_chunk):
        assert [(lost, again) for _, lost, again in placed(stamps, [999, 2000]) if lost or again] == []


def test_samples_that_come_again_are_told_by_how_far_back_they_are() -> None:
    index = np.concatenate([np.arange(3000), np.arange(2990, 3010)])
    runs = placed(index / RATE_HZ, [])
    assert [run for run in runs if run[2]] == [(3000, 0, 10)]


@pytest.mark.parametrize("wrong", [np.nan, np.inf, 1e300, 60.0, -60.0])
def test_another_clock_is_a_lost_source(wrong: float) -> None:
    clock = StampClock(RATE_HZ)
    clock.take(np.array([5.0, 5.001]))
    with pytest.raises(SourceLostError, match="clock was set"):
        clock.take(np.array([5.002, 5.003 + wrong]))


@settings(max_examples=200, deadline=None)
@given(
    st.lists(
        st.one_of(st.floats(), st.floats(0, 20), st.integers(0, 3000).map(lambda i: i / RATE_HZ)), min_size=1
    ),
    st.booleans(),
)
def test_any_stamps_are_placed_or_refused(stamps: list[float], trusted: bool) -> None:
    clock = StampClock(RATE_HZ)
    if trusted:
        before = np.arange(1100) / RATE_HZ
        while before.size:
            before = before[clock.take(before).n_samples :]
    left = np.array(stamps)
    try:
        while left.size:
            run = clock.take(left)
            assert 1 <= run.n_samples <= left.size
            assert run.lost >= 0
            assert run.again >= 0
            left = left[run.n_samples :]
    except SourceLostError:
        pass
