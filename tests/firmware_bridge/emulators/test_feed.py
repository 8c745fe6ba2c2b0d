"""What a network emulator sends: any blocks, cut to its own length."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from firmware_bridge.emulators._feed import recut
from firmware_bridge.stream import SignalBlock
from tests.firmware_bridge.sources import patterned


@given(
    st.lists(st.tuples(st.integers(0, 40), st.sampled_from([0, 0, 0, 7])), max_size=20), st.integers(1, 30)
)
def test_the_same_samples_in_other_blocks_less_what_does_not_fill_one_before_a_gap_or_the_end(
    pieces: list[tuple[int, int]], size: int
) -> None:
    """A piece is its number of samples and the gap before it."""
    runs: list[list[int]] = []  # first sample and length of each stretch without a gap
    given_blocks: list[SignalBlock] = []
    at = 0
    for n, gap in pieces:
        at += gap
        if gap or not runs:
            runs.append([at, 0])
        given_blocks.append(
            SignalBlock(patterned.samples(at, n, 3), at, scale_uv=0.195, digital=patterned.digital(at, n))
        )
        runs[-1][1] += n
        at += n

    found = list(recut(iter_once(given_blocks), size))
    expected = [first + k for first, n in runs for k in range(0, n // size * size, size)]
    assert [block.first_sample for block in found] == expected
    for block in found:
        assert np.array_equal(block.samples, patterned.samples(block.first_sample, size, 3))
        assert block.digital is not None
        assert np.array_equal(block.digital, patterned.digital(block.first_sample, size))
        assert block.scale_uv == 0.195


def iter_once(blocks: list[SignalBlock]) -> Iterator[SignalBlock]:
    yield from blocks
