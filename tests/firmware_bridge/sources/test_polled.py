"""The blocks of a driver that is asked again and again, from a script of what it answers."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator

import numpy as np
import pytest

from firmware_bridge.errors import SourceLostError
from firmware_bridge.sources._polled import Polling
from firmware_bridge.stream import SignalBlock

LIMIT_S = 30.0

Answer = Callable[[], Iterable[SignalBlock] | None]


class Scripted:
    """Gives one answer after another, and then nothing new for ever."""

    wait_s = 0.25

    def __init__(self, *answers: Answer) -> None:
        self._answers = iter(answers)
        self.polls = self.closes = 0

    def poll(self) -> Iterable[SignalBlock] | None:
        self.polls += 1
        return next(self._answers, lambda: ())()

    def silence(self, seconds: float) -> str:
        return f"nothing for {seconds:g} s"

    def close(self) -> None:
        self.closes += 1


def block(first: int) -> SignalBlock:
    return SignalBlock(np.zeros((1, 2), np.float32), first)


def lost() -> Iterator[SignalBlock]:
    yield block(1)
    raise SourceLostError("gone")


def begun(*answers: Answer, stall_s: float = 1.0) -> tuple[Polling, Scripted]:
    polling, connection = Polling(stall_s), Scripted(*answers)
    polling.begin(connection)
    return polling, connection


def test_without_a_connection_there_are_no_blocks() -> None:
    assert list(Polling(1.0).blocks()) == []


def test_blocks_come_in_the_order_of_the_answers_until_the_last() -> None:
    polling, connection = begun(lambda: [block(0), block(1)], lambda: (), lambda: [block(2)], lambda: None)
    assert [each.first_sample for each in polling.blocks()] == [0, 1, 2]
    assert connection.polls == 4


def test_so_many_waits_in_a_row_without_a_block_are_silence_and_let_the_driver_go() -> None:
    quiet: list[Answer] = [lambda: ()] * 3
    polling, connection = begun(*quiet, lambda: [block(0)], stall_s=1.0)
    blocks = polling.blocks()
    assert next(blocks).first_sample == 0  # three waits of a quarter of a second are not one second
    with pytest.raises(SourceLostError, match="nothing for 1 s"):
        next(blocks)
    assert (connection.polls, connection.closes) == (4 + 4, 1)
    assert list(polling.blocks()) == []


def test_what_came_before_a_loss_is_delivered_and_the_driver_let_go() -> None:
    polling, connection = begun(lost)
    blocks = polling.blocks()
    assert next(blocks).first_sample == 1
    with pytest.raises(SourceLostError, match="gone"):
        next(blocks)
    assert connection.closes == 1


def test_a_close_from_another_thread_ends_the_iteration_between_two_polls() -> None:
    polled, ended = threading.Event(), threading.Event()

    def nothing() -> Iterable[SignalBlock]:
        polled.set()
        return ()

    polling, connection = begun(*[nothing] * 1_000_000, stall_s=float("inf"))

    def iterate() -> None:
        list(polling.blocks())
        ended.set()

    thread = threading.Thread(target=iterate)
    thread.start()
    assert polled.wait(LIMIT_S)
    polling.close()
    assert ended.wait(LIMIT_S)
    thread.join()
    assert connection.closes == 1


def test_an_iteration_of_an_earlier_connection_delivers_nothing_of_the_next() -> None:
    polling, _ = begun(lambda: [block(0), block(1)])
    blocks = polling.blocks()
    next(blocks)
    polling.close()
    polling.begin(Scripted(lambda: [block(7)]))
    assert list(blocks) == []
    assert next(polling.blocks()).first_sample == 7
