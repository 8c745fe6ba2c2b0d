"""Blocks wait until a hop is complete: nothing is lost, nothing comes late."""

from __future__ import annotations

import itertools
from collections.abc import Collection

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from firmware_bridge.gathering import Gathering
from firmware_bridge.stream import SignalBlock


def blocks(sizes: list[int], gaps: Collection[int] = (), first: int = 0) -> list[SignalBlock]:
    found, at = [], first
    for number, n in enumerate(sizes):
        lost = 7 if number in gaps else 0
        at += lost
        samples = np.arange(at, at + n, dtype=np.int16)[:, None].repeat(2, axis=1)
        found.append(SignalBlock(samples, at, arrival_ns=number + 1, lost_before=lost, scale_uv=0.5))
        at += n
    return found


@given(
    st.lists(st.integers(0, 70), max_size=40),
    st.sets(st.integers(0, 39)),
    st.integers(1, 50),
    st.integers(0, 30),
    st.integers(0, 1000),
)
def test_every_sample_comes_once_in_its_order_and_no_hop_waits(
    sizes: list[int], gaps: set[int], hop: int, delay: int, first: int
) -> None:
    gathering = Gathering(hop, delay)
    given_blocks = blocks(sizes, gaps, first)
    out: list[SignalBlock] = []
    run = first  # where the samples without a loss begin that lead up to now
    for block in given_blocks:
        out += gathering.add(block)
        run = block.first_sample if block.lost_before or block is given_blocks[0] else run
        known = max(out[-1].first_sample + out[-1].n_samples if out else first, run)
        # What left the delay line with this block ends no hop that did not go out.
        left = range(max(known - delay, run), block.first_sample + block.n_samples - delay)
        assert not any((i + 1) % hop == 0 for i in left)
    out += gathering.rest()
    joined = np.concatenate([np.empty((0, 2), np.int16), *(b.samples for b in out)])
    expected = np.concatenate([np.empty((0, 2), np.int16), *(b.samples for b in given_blocks)])
    assert np.array_equal(joined, expected)
    assert sum(b.lost_before for b in out) == sum(b.lost_before for b in given_blocks)
    for one, following in itertools.pairwise(out):
        assert following.first_sample == one.first_sample + one.n_samples + following.lost_before


def test_a_block_goes_out_with_the_one_that_completes_the_hop() -> None:
    gathering = Gathering(100, 10)
    sizes = [len(gathering.add(block)) for block in blocks([50, 50, 9, 1, 99, 1])]
    assert sizes == [0, 0, 0, 1, 0, 1]


def test_what_goes_out_has_the_arrival_of_its_last_sample_and_the_lines_of_all() -> None:
    gathering = Gathering(40, 0)
    lines = [np.full(20, i, np.uint32) for i in range(2)]
    one, two = (
        SignalBlock(b.samples, b.first_sample, b.arrival_ns, 0, 0.5, line)
        for b, line in zip(blocks([20, 20]), lines, strict=True)
    )
    assert gathering.add(one) == []
    (joined,) = gathering.add(two)
    assert (joined.first_sample, joined.n_samples, joined.arrival_ns, joined.scale_uv) == (0, 40, 2, 0.5)
    assert joined.pieces == ((20, 1), (40, 2))
    assert joined.digital is not None
    assert joined.digital.tolist() == [0] * 20 + [1] * 20


def test_another_form_or_a_loss_begins_anew() -> None:
    gathering = Gathering(1000, 0)
    first, second = blocks([10, 10], {1})
    assert gathering.add(first) == []
    assert [b.first_sample for b in gathering.add(second)] == [0]
    other = SignalBlock(second.samples, 27, 3, 0, 0.25)
    assert [b.first_sample for b in gathering.add(other)] == [17]
    floats = SignalBlock(second.samples.astype(np.float32), 37, 4)
    assert [b.first_sample for b in gathering.add(floats)] == [27]
    assert [b.first_sample for b in gathering.rest()] == [37]
    assert gathering.rest() == []


def test_each_piece_keeps_its_arrival_however_often_it_is_joined() -> None:
    inner, outer = Gathering(20, 0), Gathering(60, 0)
    for number, block in enumerate(blocks([10] * 6)):
        joined = [whole for part in inner.add(block) for whole in outer.add(part)]
        assert len(joined) == (number == 5)
    assert joined[0].pieces == tuple((10 * i, i) for i in range(1, 7))
