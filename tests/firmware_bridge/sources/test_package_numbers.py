"""Losses and repeats, from package numbers that wrap."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from firmware_bridge.sources._package_numbers import PackageCounter


def placed(packages: NDArray[np.int64], cuts: list[int], counter: PackageCounter) -> list[tuple[int, int]]:
    """(row, its place in the stream) of every row that is delivered, for numbers read in pieces."""
    found, place = [], 0
    for first, end in pairwise(sorted({0, *(cut for cut in cuts if cut < packages.size), packages.size})):
        for begin, stop, lost in counter.runs(packages[first:end].astype(np.float64)):
            place += lost
            found.extend((first + row, place + row - begin) for row in range(begin, stop))
            place += stop - begin
    return found


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.integers(1, 223), max_size=20),
    st.integers(0, 255),
    st.lists(st.integers(1, 1500), max_size=30),
)
def test_every_loss_of_less_than_seven_eighths_of_a_turn_is_counted_in_its_place(
    gaps: list[int], start: int, cuts: list[int]
) -> None:
    starts = np.cumsum([0, *(40 + gap for gap in gaps)])
    index = np.concatenate([np.arange(first, first + 40) for first in starts])
    found = placed((index + start) % 256, cuts, PackageCounter(256))
    assert found == list(enumerate(index))


def test_numbers_that_come_again_are_dropped() -> None:
    index = np.concatenate([np.arange(300), np.arange(290, 310), [309, 309], np.arange(310, 320)])
    found = placed(index % 256, [100, 305], PackageCounter(256))
    assert [place for _, place in found] == list(range(320))
    assert [index[row] for row, _ in found] == list(range(320))


def test_a_board_that_numbers_its_halves_goes_on_by_two() -> None:
    index = np.delete(np.arange(400), [200, 201])
    found = placed(2 * index % 256, [77], PackageCounter(256, step=2))
    assert [place for _, place in found] == index.tolist()


def test_whole_turns_are_counted_by_the_clock_where_a_buffer_overflowed() -> None:
    counter = PackageCounter(256)
    assert list(counter.runs(np.arange(100.0), waited=1e6)) == [(0, 100, 0)]  # nothing to be lost after
    first = 100 + 3 * 256 + 7
    numbers = np.arange(first, first + 50) % 256
    assert list(counter.runs(numbers.astype(np.float64), waited=3 * 256 + 7 + 60.0)) == [(0, 50, 3 * 256 + 7)]
    again = np.arange(first + 50, first + 60) % 256
    assert list(counter.runs(again.astype(np.float64), waited=1.0)) == [(0, 10, 0)]


@given(
    st.lists(st.lists(st.floats(allow_nan=False, allow_infinity=False)), max_size=5),
    st.one_of(st.none(), st.floats(-1e9, 1e9)),
)
def test_any_numbers_are_placed(pieces: list[list[float]], waited: float | None) -> None:
    counter = PackageCounter(256)
    for piece in pieces:
        rows = 0
        for begin, end, lost in counter.runs(np.array(piece), waited):
            assert rows <= begin < end <= len(piece)
            assert lost >= 0
            rows = end
