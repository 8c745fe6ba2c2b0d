"""The ring to the recorder: every message comes whole and once, or is counted as lost; nobody waits."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import closing, contextmanager

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from decoder.recording.ring import RingReader, RingSize, RingWriter, make_memory
from firmware_bridge.errors import NervehandError
from firmware_bridge.stream import StreamInfo

SMALL = RingSize(message_bytes=4096, n_entries=32)


@contextmanager
def ring(size: RingSize = SMALL) -> Iterator[tuple[RingWriter, int]]:
    descriptor = make_memory(size)
    try:
        with closing(RingWriter(descriptor, size)) as writer:
            yield writer, descriptor
    finally:
        os.close(descriptor)


def test_messages_come_in_their_order_with_kind_and_bytes() -> None:
    with ring() as (writer, descriptor), closing(RingReader(descriptor, SMALL)) as reader:
        writer.write(3, b"abc", memoryview(b"def"))
        writer.write(4)
        assert [(m.sequence, m.kind, m.payload) for m in reader.read()] == [(1, 3, b"abcdef"), (2, 4, b"")]
        assert list(reader.read()) == []
        writer.write(5, b"x")
        assert [m.payload for m in reader.read()] == [b"x"]
        assert reader.lost == 0


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, 1000), st.integers(0, 12)), max_size=60))
def test_a_message_comes_whole_and_once_or_is_counted_as_lost(steps: list[tuple[int, int]]) -> None:
    """`steps`: bytes of a message, and how many messages are read after it."""
    with ring() as (writer, descriptor), closing(RingReader(descriptor, SMALL)) as reader:
        sent: list[bytes] = []
        got: dict[int, bytes] = {}
        for n_bytes, reads in steps:
            sent.append(bytes((len(sent) + i) % 256 for i in range(n_bytes)))
            writer.write(len(sent) % 7, sent[-1])
            for message, _ in zip(reader.read(), range(reads), strict=False):
                assert message.sequence not in got
                got[message.sequence] = message.payload
                assert message.kind == message.sequence % 7
        for message in reader.read():
            got[message.sequence] = message.payload
        assert list(got) == sorted(got)
        for sequence, payload in got.items():
            assert payload == sent[sequence - 1]
        skipped = sum(1 for _ in range(len(sent))) - len(got)
        assert skipped >= reader.lost  # what `zip` takes and drops is not lost to the ring
        if sum(map(len, sent)) < 3000 and len(sent) < 32:
            assert reader.lost == 0


def test_a_reader_that_was_overtaken_goes_on_with_what_is_there() -> None:
    with ring() as (writer, descriptor), closing(RingReader(descriptor, SMALL)) as reader:
        for number in range(100):
            writer.write(0, bytes([number]))
        found = [m.payload[0] for m in reader.read()]
        assert found == list(range(found[0], 100))
        assert 0 < len(found) <= 32
        assert reader.lost == 100 - len(found)


def test_one_that_is_started_again_finds_where_the_other_one_was() -> None:
    with ring() as (writer, descriptor):
        for number in range(20):
            writer.write(9 if number % 5 == 0 else 1, bytes([number]))
        with closing(RingReader(descriptor, SMALL)) as first:
            for message in first.read():
                if message.sequence == 13:
                    first.done(12)
                    break
        with closing(RingReader(descriptor, SMALL)) as second:
            assert second.taken == 12
            begin = second.last_of(9, second.taken)
            assert begin == 11
            second.next = begin
            assert [m.payload[0] for m in second.read()] == list(range(10, 20))


def test_what_is_no_longer_there_is_not_found() -> None:
    with ring() as (writer, descriptor), closing(RingReader(descriptor, SMALL)) as reader:
        writer.write(9, b"begin")
        for _ in range(40):
            writer.write(1, b"x")
        assert reader.last_of(9, 41) == 0
        assert reader.last_of(1, 41) == 41


def test_a_message_that_is_damaged_in_memory_is_never_shown() -> None:
    with ring() as (writer, descriptor), closing(RingReader(descriptor, SMALL)) as reader:
        writer.write(1, b"abcdefgh")
        at = reader._memory.find(b"abcdefgh")
        reader._memory[at] = ord("z")
        assert list(reader.read()) == []


def test_a_message_larger_than_the_ring_takes_is_refused() -> None:
    with ring() as (writer, _), pytest.raises(NervehandError, match="shorter blocks"):
        writer.write(1, bytes(2000))


def test_half_a_minute_of_the_bench_stream_fits_and_a_wide_stream_is_bounded() -> None:
    bench = StreamInfo(10_000.0, tuple(map(str, range(16))), "nerve")
    assert RingSize.of(bench).message_bytes >= 30 * 10_000 * 16 * 4
    wide = StreamInfo(30_000.0, tuple(map(str, range(1024))), "nerve")
    assert RingSize.of(wide).total_bytes < 150 << 20


def test_a_write_of_a_block_of_2_ms(benchmark: object) -> None:
    size = RingSize.of(StreamInfo(10_000.0, tuple(map(str, range(16))), "nerve"))
    block, head = memoryview(bytes(20 * 16 * 4)), bytes(64)
    with ring(size) as (writer, _):
        assert callable(benchmark)
        benchmark(writer.write, 1, head, block)
