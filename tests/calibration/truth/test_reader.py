"""A ground truth read in a thread: nothing is lost before it must be, losses are mended, and what is wrong is said."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import numpy as np
import pytest

from calibration.truth import TruthBlock, TruthInfo
from calibration.truth.reader import TruthReader
from firmware_bridge.errors import LinkError, NervehandError, SourceLostError
from tests.calibration.truth.glove_rig import wait_for

INFO = TruthInfo("glove", ("a", "b"), ("raw", "raw"), ("index mcp", ""), 100.0, "right")
LIMIT_S = 30.0

Step = list[int] | BaseException
"""The numbers of a block's readings, or what is raised."""


def block(numbers: list[int], value: float = 0.0) -> TruthBlock:
    values = np.full((len(numbers), 2), value, np.float32)
    values[:, 0] += np.array(numbers)
    return TruthBlock(values, np.array(numbers) / 100.0, np.array(numbers, np.int64))


class Scripted:
    """Each connection has its own steps; after them it waits to be closed, or is lost where the script says so."""

    info = INFO

    def __init__(self, *connections: list[Step] | BaseException) -> None:
        self._connections = iter(connections)
        self._steps: list[Step] = []
        self._closed = threading.Event()
        self.n_connects = 0
        self.is_idle = threading.Event()

    def connect(self) -> None:
        self._closed.clear()
        self.n_connects += 1
        script = next(self._connections, [])
        if isinstance(script, BaseException):
            raise script
        self._steps = script

    def blocks(self) -> Iterator[TruthBlock]:
        for step in self._steps:
            if isinstance(step, BaseException):
                raise step
            yield block(step)
        self.is_idle.set()
        self._closed.wait()

    def close(self) -> None:
        self._closed.set()


class Ending(Scripted):
    """Is exhausted after its steps."""

    def blocks(self) -> Iterator[TruthBlock]:
        for step in self._steps:
            assert isinstance(step, list)
            yield block(step)
        self.is_idle.set()


def numbers(taken: TruthBlock | None) -> list[int]:
    return [] if taken is None else [round(s * 100) for s in taken.device_s.tolist()]


def test_what_came_since_the_last_time_is_taken_as_one_block_in_its_order() -> None:
    source = Scripted([[0, 1], [2], [], [3, 4, 5]])
    with TruthReader(source) as reader:
        assert source.is_idle.wait(LIMIT_S)
        taken = reader.take()
        assert numbers(taken) == [0, 1, 2, 3, 4, 5]
        assert taken is not None
        assert taken.values.shape == (6, 2)
        assert reader.take() is None
        assert reader.info is INFO


def test_a_source_that_is_lost_is_connected_again_and_its_readings_go_on() -> None:
    waits: list[float] = []
    source = Scripted(
        [[0, 1], SourceLostError("the cable was pulled")],
        LinkError("nothing there"),
        LinkError("nothing there"),
        [[7], SourceLostError("again")],
        [[9]],
    )

    def wait(seconds: float) -> bool:
        waits.append(seconds)
        return False

    with TruthReader(source, wait=wait, longest_wait_s=0.15) as reader:
        assert source.is_idle.wait(LIMIT_S)
        assert numbers(reader.take()) == [0, 1, 7, 9]
        assert reader.problem == ""
    assert (source.n_connects, reader.connections) == (5, 3)
    assert waits == pytest.approx([0.05, 0.1, 0.15, 0.05])


def test_what_is_wrong_is_said_in_the_sources_own_words_until_a_reading_comes() -> None:
    go_on = threading.Event()

    def wait(_: float) -> bool:
        assert go_on.wait(LIMIT_S)
        go_on.clear()
        return False

    source = Scripted(LinkError("plug the glove in"), [[0], SourceLostError("the cable was pulled")], [[1]])
    reader = TruthReader(source, wait=wait)
    assert reader.problem == "not connected yet"
    with reader:
        wait_for(lambda: reader.problem == "plug the glove in")
        go_on.set()
        wait_for(lambda: reader.problem == "the cable was pulled")
        go_on.set()
        wait_for(lambda: reader.problem == "")
    assert numbers(reader.take()) == [0, 1]


def test_an_error_that_no_attempt_would_mend_ends_the_reading_with_its_words() -> None:
    source = Scripted(NervehandError("the extra lsl is not installed"))
    with TruthReader(source) as reader:
        wait_for(lambda: "extra lsl" in reader.problem)
        assert source.n_connects == 1


def test_a_programs_error_is_raised_where_the_readings_are_taken() -> None:
    source = Scripted([[0], ZeroDivisionError("broken")])
    with TruthReader(source) as reader:
        wait_for(lambda: "ZeroDivisionError" in reader.problem)
        with pytest.raises(ZeroDivisionError):
            reader.take()


def test_silence_and_a_hand_that_is_not_seen_are_problems_by_the_hosts_clock() -> None:
    now_ns = 1_000_000_000
    source = Scripted([[0]])
    with TruthReader(source, clock_ns=lambda: now_ns, silent_after_s=0.5) as reader:
        assert source.is_idle.wait(LIMIT_S)
        now_ns += 400_000_000
        assert reader.problem == ""
        assert reader.silent_s == pytest.approx(0.4)
        now_ns += 1_000_000_000
        assert reader.problem == "glove says nothing for 1.4 s"


def test_a_source_that_never_sees_the_hand_is_told_from_a_silent_one() -> None:
    now_ns = 1_000_000_000

    class Blind(Scripted):
        def blocks(self) -> Iterator[TruthBlock]:
            nonlocal now_ns
            for number in range(200):
                now_ns += 10_000_000
                yield block([number], np.nan)
            self.is_idle.set()
            self._closed.wait()

    source = Blind([])
    with TruthReader(source, clock_ns=lambda: now_ns) as reader:
        assert source.is_idle.wait(LIMIT_S)
        assert reader.problem == "glove does not see the hand for 2.0 s: bring it into view"
        assert reader.silent_s == 0.0


def test_readings_that_nobody_takes_push_the_oldest_out_and_are_counted() -> None:
    source = Scripted([[k, k + 1, k + 2] for k in range(0, 300, 3)])
    with TruthReader(source, capacity_s=1.0) as reader:
        assert source.is_idle.wait(LIMIT_S)
        assert numbers(reader.take()) == list(range(200, 300))
        assert reader.dropped_readings == 200


def test_a_source_that_has_ended_says_so_and_what_it_said_can_still_be_taken() -> None:
    source = Ending([[0, 1]])
    with TruthReader(source) as reader:
        wait_for(lambda: reader.problem == "glove has ended")
    assert numbers(reader.take()) == [0, 1]
    assert source.n_connects == 1


def test_closing_ends_a_source_that_waits_and_one_that_is_waited_for() -> None:
    for source in (Scripted([[0]]), Scripted(*(LinkError("not there") for _ in range(10_000)))):
        reader = TruthReader(source, longest_wait_s=3600.0)
        reader.start()
        wait_for(lambda source=source: source.n_connects > 0)
        begun_s = time.monotonic()
        reader.close()
        assert time.monotonic() - begun_s < LIMIT_S
        reader.close()


def test_times_that_make_no_sense_are_refused() -> None:
    with pytest.raises(NervehandError, match="capacity_s is 0"):
        TruthReader(Scripted(), capacity_s=0)
