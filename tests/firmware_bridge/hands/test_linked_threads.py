"""A link is opened and closed by whatever threads there are, and ends in one way only."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator

import pytest

from firmware_bridge.errors import LinkError
from firmware_bridge.hand import LinkState
from tests.firmware_bridge.hands.lines import (
    PATIENCE_S,
    Line,
    connected,
    connecting,
    linked,
    reporting,
    until,
)


@pytest.fixture
def restless() -> Iterator[None]:
    """Threads take turns as often as can be."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


class Caller(threading.Thread):
    """A call in a thread of its own, and what it raised."""

    def __init__(self, call: Callable[[], object], together: threading.Barrier | None = None) -> None:
        super().__init__(daemon=True)
        self.error: Exception | None = None
        self._call, self._together = call, together
        self.start()

    def run(self) -> None:
        try:
            if self._together is not None:
                self._together.wait()
            self._call()
        except Exception as error:  # noqa: BLE001  the test looks at it
            self.error = error


def at_once(*calls: Callable[[], object]) -> list[Exception]:
    """What they raise, each in its own thread."""
    together = threading.Barrier(len(calls))
    callers = [Caller(call, together) for call in calls]
    for caller in callers:
        caller.join()
    return [caller.error for caller in callers if caller.error is not None]


def link_threads() -> int:
    return sum(thread.name == "hand link" for thread in threading.enumerate())


@pytest.mark.usefixtures("restless")
def test_however_many_connect_at_once_one_connection_is_made_and_all_have_it() -> None:
    before = link_threads()
    for _ in range(20):
        line = Line(reporting)
        hand = linked(line)
        assert at_once(*[lambda hand=hand: hand.connect(PATIENCE_S)] * 4) == []  # type: ignore[misc]
        assert (line.opened, hand.link) == (1, LinkState.CONNECTED)
        hand.close()
    assert link_threads() == before


@pytest.mark.usefixtures("restless")
def test_however_many_close_at_once_all_return_once_it_has_ended() -> None:
    before = link_threads()
    for _ in range(40):
        line = Line(reporting)
        hand = linked(line)
        hand.connect(PATIENCE_S)
        assert at_once(*[hand.close] * 6) == []
        assert (line.closed, hand.link) == (1, LinkState.DISCONNECTED)
    assert link_threads() == before


@pytest.mark.usefixtures("restless")
def test_who_connects_while_others_close_is_connected_or_told() -> None:
    before = link_threads()
    line = Line(reporting)
    hand = linked(line)
    for _ in range(30):
        errors = at_once(*[lambda: hand.connect(PATIENCE_S), hand.close] * 2)
        assert {str(error) for error in errors} <= {
            "no connection to the hand at the test: it was closed meanwhile"
        }
    hand.close()
    assert line.opened == line.closed
    assert (link_threads(), hand.link) == (before, LinkState.DISCONNECTED)


def test_who_waits_for_a_hand_that_is_closed_is_told_at_once() -> None:
    line = Line()
    hand = linked(line)
    waits = Caller(lambda: hand.connect(100 * PATIENCE_S))
    until(lambda: len(line.frames) >= 1)
    hand.close()
    waits.join(PATIENCE_S)
    assert not waits.is_alive()
    assert isinstance(waits.error, LinkError)
    assert "the test: it was closed meanwhile" in str(waits.error)


def test_and_leaves_alone_what_was_opened_after_that() -> None:
    line = Line()
    hand = linked(line)
    waits = Caller(lambda: hand.connect(PATIENCE_S))
    until(lambda: len(line.frames) >= 1)
    hand.close()
    line.answer = reporting
    with connected(hand):
        waits.join()
        assert "closed meanwhile" in str(waits.error)
        assert (line.opened, hand.link) == (2, LinkState.CONNECTED)


def test_who_gives_up_does_not_close_what_another_still_waits_for() -> None:
    line = Line()
    with connecting(linked(line)) as hand:
        until(lambda: len(line.frames) >= 1)
        with pytest.raises(LinkError, match=r"within 0\.01 s: it does not answer"):
            hand.connect(0.01)
        line.say(b"is 0.5")
    assert line.opened == 1


def test_a_hand_that_was_refused_is_so_though_its_wire_does_not_close_well(
    caplog: pytest.LogCaptureFixture,
) -> None:
    line = Line(lambda frame: b"wrong it is a foot")
    line.close_fails = LinkError("the adapter is gone")
    hand = linked(line)
    with pytest.raises(LinkError, match="it is a foot"):
        hand.connect(PATIENCE_S)
    assert line.opened == 1
    assert "the adapter is gone" in caplog.text
    line.answer, line.close_fails = reporting, None
    with connected(hand):
        assert line.opened == 2


def test_a_link_that_was_lost_comes_back_though_its_wire_does_not_close_well() -> None:
    line = Line(reporting)
    line.close_fails = LinkError("the adapter is gone")
    with connected(linked(line)) as hand:
        line.cut("gone")
        until(lambda: hand.counters.connections == 2)
    assert hand.link is LinkState.DISCONNECTED
