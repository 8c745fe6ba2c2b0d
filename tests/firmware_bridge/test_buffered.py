"""A source behind a thread of its own: blocks in their order, what is said between them at its place, nothing waits."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import closing

import numpy as np
import pytest

from firmware_bridge import buffered as module
from firmware_bridge.buffered import BufferedSource
from firmware_bridge.errors import NervehandError, SourceLostError
from firmware_bridge.stream import SignalBlock, StreamInfo
from firmware_bridge.supervised import SourceEvent

INFO = StreamInfo(1000.0, ("a", "b"), "nerve")


def block(number: int, n: int = 10) -> SignalBlock:
    return SignalBlock(np.full((n, 2), number, np.float32), number * n)


class Given:
    """A source that gives what its maker says, and ends when it is closed."""

    info = INFO

    def __init__(self, make: Callable[[threading.Event], Iterator[SignalBlock]]) -> None:
        self._make = make
        self.closed = threading.Event()

    def connect(self) -> None:
        self.closed.clear()

    def blocks(self) -> Iterator[SignalBlock]:
        return self._make(self.closed)

    def close(self) -> None:
        self.closed.set()


def ready(n: int, all_came: threading.Event) -> Callable[[threading.Event], Iterator[SignalBlock]]:
    """n blocks at once, and then silence."""

    def make(closed: threading.Event) -> Iterator[SignalBlock]:
        yield from map(block, range(n))
        all_came.set()
        closed.wait()

    return make


def test_blocks_come_in_their_order_and_end_with_the_source() -> None:
    source = BufferedSource(Given(lambda closed: map(block, range(50))))
    source.connect()
    assert [b.first_sample for b in source.blocks()] == list(range(0, 500, 10))
    assert source.backlog_s == 0


def test_what_comes_while_nobody_takes_it_waits_and_is_told() -> None:
    came = threading.Event()
    source = BufferedSource(Given(ready(30, came)))
    source.connect()
    with closing(source.blocks()) as blocks:
        first = next(blocks)
        assert came.wait(5)
        assert (first.first_sample, source.backlog_s) == (0, 0.29)
        waiting: list[SignalBlock] = []
        source.take_waiting(waiting.append)
        assert [b.first_sample for b in waiting] == list(range(10, 300, 10))
        assert source.backlog_s == 0


def test_what_is_said_of_the_source_is_heard_at_its_place_in_the_thread_that_takes_the_blocks() -> None:
    heard: list[object] = []

    def make(closed: threading.Event) -> Iterator[SignalBlock]:
        yield block(0)
        source.event(SourceEvent(10, "lost", "gone"))
        yield block(1)
        source.event(SourceEvent(20, "lost", "for good"))

    def hear(event: SourceEvent) -> None:
        heard.append((event.text, threading.current_thread()))

    source = BufferedSource(Given(make), hear)
    source.connect()
    for taken in source.blocks():
        heard.append(taken.first_sample)
    me = threading.current_thread()
    assert heard == [0, ("gone", me), 10, ("for good", me)]


def test_an_error_of_the_source_is_raised_where_the_blocks_are_taken() -> None:
    def make(closed: threading.Event) -> Iterator[SignalBlock]:
        yield block(0)
        raise SourceLostError("the cable is out: plug it in")

    source = BufferedSource(Given(make))
    source.connect()
    blocks = source.blocks()
    next(blocks)
    with pytest.raises(SourceLostError, match="the cable is out"):
        next(blocks)


def test_closing_from_another_thread_ends_a_wait_without_a_block() -> None:
    came = threading.Event()
    source = BufferedSource(Given(ready(0, came)))
    source.connect()
    threading.Timer(0.05, source.close).start()
    assert list(source.blocks()) == []


def test_it_can_be_taken_again_after_it_was_closed() -> None:
    source = BufferedSource(Given(lambda closed: map(block, range(3))))
    for _ in range(2):
        source.connect()
        assert len(list(source.blocks())) == 3


def test_what_was_not_taken_from_it_is_none_of_what_waits_after_it_was_closed() -> None:
    came = threading.Event()
    source = BufferedSource(Given(ready(30, came)))
    for _ in range(2):
        source.connect()
        with closing(source.blocks()) as blocks:
            next(blocks)
            assert came.wait(5)
        assert source.backlog_s == 0
        came.clear()


def test_two_cannot_take_it_at_once() -> None:
    source = BufferedSource(Given(ready(3, threading.Event())))
    source.connect()
    with closing(source.blocks()) as blocks:
        next(blocks)
        with pytest.raises(NervehandError, match="once"):
            next(source.blocks())


def test_what_nobody_takes_for_too_long_is_dropped_and_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_S", 0.1)
    came, more = threading.Event(), threading.Event()

    def make(closed: threading.Event) -> Iterator[SignalBlock]:
        yield from map(block, range(50))
        came.set()
        more.wait(5)
        yield block(50)

    source = BufferedSource(Given(make))
    source.connect()
    with closing(source.blocks()) as blocks:
        next(blocks)
        assert came.wait(5)
        kept: list[SignalBlock] = []
        source.take_waiting(kept.append)
        more.set()
        last = next(blocks)
    expected = kept[-1].first_sample + 10
    assert 90 <= sum(b.n_samples for b in kept) <= 110
    assert last.first_sample == 500
    assert last.lost_before == 500 - expected
    assert source.dropped_samples == 500 - expected


def test_a_source_without_a_clock_is_taken_from_only_as_it_is_needed() -> None:
    made: list[int] = []

    def make(closed: threading.Event) -> Iterator[SignalBlock]:
        for number in range(1000):
            made.append(number)
            yield block(number)

    source = BufferedSource(Given(make), waits=True)
    source.connect()
    for count, taken in enumerate(source.blocks(), 1):
        assert taken.first_sample == 10 * (count - 1)
        assert len(made) <= count + 102  # a second ahead, and what is just being made
    assert count == 1000
    assert source.dropped_samples == 0


def test_whoever_decodes_is_given_whole_hops_and_the_rest_before_what_is_said() -> None:
    taken: list[object] = []

    def make(closed: threading.Event) -> Iterator[SignalBlock]:
        yield from map(block, range(7))
        source.event(SourceEvent(70, "lost", "gone"))
        yield from map(block, range(7, 9))

    source = BufferedSource(Given(make), lambda event: taken.append(event.kind))
    source.for_hops(30, 5)
    source.connect()
    for one in source.blocks():
        taken.append((one.first_sample, one.n_samples))
    assert taken == [(0, 40), (40, 30), "lost", (70, 20)]
    assert source.backlog_s == 0


def test_its_thread_is_prepared_first() -> None:
    names: list[str] = []
    source = BufferedSource(
        Given(lambda closed: map(block, range(2))),
        prepare=lambda: names.append(threading.current_thread().name),
    )
    source.connect()
    list(source.blocks())
    assert names == ["acquisition"]
