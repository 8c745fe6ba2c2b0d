"""Samples in shared memory: what is read is what was written, and what was overwritten is known."""

from __future__ import annotations

import mmap
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from firmware_bridge.errors import NervehandError
from firmware_bridge.port.blocks import decoded_blocks
from firmware_bridge.port.face_samples import Position, Samples
from firmware_bridge.port.sample_ring import RingReader, RingSize, RingWriter
from firmware_bridge.port.wire import FrameReader
from firmware_bridge.stream import SignalBlock, StreamInfo


def ring(sample_bytes: int = 4096, n_entries: int = 64) -> tuple[RingWriter, RingReader]:
    size = RingSize(sample_bytes, n_entries)
    memory = mmap.mmap(-1, size.total_bytes)
    return RingWriter(memory, size), RingReader(memory, size)


def counted(first: int, n: int, dtype: str = "<f4", lines: bool = False) -> SignalBlock:
    index = np.arange(first, first + n)
    samples = np.stack([index, -index], axis=1).astype(dtype)
    return SignalBlock(samples, first, 1000 + first, 0, 0.25, index.astype(np.uint32) if lines else None)


def taken(samples: Samples, at: Position) -> list[SignalBlock]:
    """All that a client at `at` gets now."""
    found = []
    samples.look()
    while (frame := samples.batch(at)) is not None:
        reader = FrameReader()
        reader.feed(frame)
        for one in reader.frames():
            found += list(decoded_blocks(one))
    return found


@given(
    st.lists(st.integers(0, 60), min_size=1, max_size=30),
    st.sampled_from(["<i2", "<f4", "<f8"]),
    st.booleans(),
)
def test_blocks_of_any_length_and_kind_are_read_as_they_were_written(
    lengths: list[int], dtype: str, lines: bool
) -> None:
    writer, reader = ring(1 << 16)
    samples = Samples(reader)
    at = samples.position(None)
    first, written = 7, []
    for n in lengths:
        written.append(counted(first, n, dtype, lines))
        writer.write(written[-1])
        first += n
    found = taken(samples, at)
    assert [block.first_sample for block in found] == [
        block.first_sample for block in written if block.n_samples
    ]
    for block, was in zip(found, [block for block in written if block.n_samples], strict=True):
        assert block.samples.dtype == was.samples.dtype
        np.testing.assert_array_equal(block.samples, was.samples)
        assert (block.arrival_ns, block.scale_uv) == (was.arrival_ns, was.scale_uv)
        if lines:
            np.testing.assert_array_equal(block.digital, was.digital)
        else:
            assert block.digital is None


@given(
    st.lists(st.tuples(st.integers(1, 40), st.integers(0, 3), st.booleans()), min_size=1, max_size=60),
    st.integers(0, 500),
    st.sampled_from([(512, 64), (4096, 16)]),
)
def test_who_is_overtaken_gets_the_rest_once_and_knows_every_sample_that_it_lacks(
    steps: list[tuple[int, int, bool]], begin: int, size: tuple[int, int]
) -> None:
    writer, reader = ring(*size)
    samples = Samples(reader)
    first = 100
    writer.write(counted(first, 1))
    first += 1
    at = samples.position(begin)
    expected = begin
    for n, gap, reads in steps:
        first += gap
        writer.write(counted(first, n, lines=True))
        first += n
        for block in taken(samples, at) if reads else ():
            assert block.first_sample - block.lost_before == expected
            index = np.arange(block.first_sample, block.first_sample + block.n_samples)
            np.testing.assert_array_equal(block.samples[:, 0], index)
            if block.digital is not None:
                np.testing.assert_array_equal(block.digital, index)
            expected = block.first_sample + block.n_samples


def test_whoever_asks_from_a_sample_on_gets_it_first_from_the_middle_of_its_block() -> None:
    writer, reader = ring(1 << 16)
    for first in range(0, 100, 10):
        writer.write(counted(first, 10, lines=True))
    samples = Samples(reader)
    found = taken(samples, samples.position(37))
    assert (found[0].first_sample, found[0].n_samples, found[0].lost_before) == (37, 3, 0)
    np.testing.assert_array_equal(
        np.concatenate([block.samples for block in found])[:, 0], np.arange(37, 100)
    )
    np.testing.assert_array_equal(found[0].digital, [37, 38, 39])


def test_whoever_asks_for_what_is_yet_to_come_waits_for_it() -> None:
    writer, reader = ring()
    writer.write(counted(0, 10))
    samples = Samples(reader)
    at = samples.position(15)
    assert taken(samples, at) == []
    writer.write(counted(10, 10))
    assert [(block.first_sample, block.lost_before) for block in taken(samples, at)] == [(15, 0)]


def test_whoever_asks_for_nothing_gets_what_comes_from_then_on() -> None:
    writer, reader = ring()
    writer.write(counted(0, 10))
    samples = Samples(reader)
    at = samples.position(None)
    writer.write(counted(10, 10))
    assert [block.first_sample for block in taken(samples, at)] == [10]


def test_a_long_silence_leaves_the_newest_and_says_how_much_was_lost() -> None:
    writer, reader = ring(2048)
    samples = Samples(reader)
    at = samples.position(None)
    writer.write(counted(0, 10))
    assert len(taken(samples, at)) == 1
    for first in range(10, 5000, 10):
        writer.write(counted(first, 10))
    found = taken(samples, at)
    assert found[0].lost_before == found[0].first_sample - 10 > 4000
    assert found[-1].first_sample == 4990
    kept = sum(block.samples.nbytes for block in found)
    assert kept > 2048 // 2


@pytest.mark.parametrize(
    "spoil",
    [
        lambda raw, size: raw.__setitem__(80, raw[80] ^ 1),
        lambda raw, size: raw.__setitem__(64 * 72 + 3, raw[64 * 72 + 3] ^ 1),
    ],
)
def test_a_block_of_which_a_bit_is_another_is_not_given_out(spoil: Callable[[mmap.mmap, int], None]) -> None:
    size = RingSize(4096, 64)
    memory = mmap.mmap(-1, size.total_bytes)
    writer, reader = RingWriter(memory, size), RingReader(memory, size)
    samples = Samples(reader)
    at = samples.position(None)
    writer.write(counted(0, 4))
    spoil(memory, 0)
    writer.write(counted(4, 4))
    assert [block.first_sample for block in taken(samples, at)] == [4]


def test_a_block_that_is_larger_than_the_ring_is_refused() -> None:
    writer, _ = ring(64)
    with pytest.raises(NervehandError, match="a block of 800 bytes: the port keeps 64"):
        writer.write(counted(0, 100))


def test_a_ring_holds_half_a_minute_within_its_limits() -> None:
    def held_s(n_channels: int, rate_hz: float) -> float:
        info = StreamInfo(rate_hz, tuple(map(str, range(n_channels))), "nerve")
        return RingSize.of(info).sample_bytes / (rate_hz * n_channels * 4)

    assert held_s(16, 10_000.0) == 30
    assert held_s(8, 250.0) > 30
    assert 0.5 < held_s(1024, 30_000.0) < 30
