"""Stop lines: opening one acts, contacts may bounce, and whatever cannot be read stops. On files, a FIFO and a pty."""

from __future__ import annotations

import os
import termios
from pathlib import Path

import pytest

from firmware_bridge.errors import NervehandError
from firmware_bridge.guard_process import Stillness
from firmware_bridge.stop_lines import (
    LAST_READS,
    OPEN_READS,
    REOPEN_S,
    GpioContact,
    LineAction,
    LineWatch,
    SerialContact,
    StopLine,
    StopLines,
    contact,
)
from tests.firmware_bridge.guarding import set_level, wait_for

NS = 1_000_000_000


class Clock:
    now_ns = 0

    def __call__(self) -> int:
        return self.now_ns


class Wire:
    """A contact that is what the test says: closed, open, or broken."""

    def __init__(self, *levels: bool | Exception) -> None:
        self.levels = list(levels)
        self.closes = 0

    def is_closed(self) -> bool:
        level = self.levels.pop(0) if len(self.levels) > 1 else self.levels[0]
        if isinstance(level, Exception):
            raise level
        return level

    def close(self) -> None:
        self.closes += 1


def watch(*levels: bool | Exception, action: LineAction = LineAction.STOP) -> tuple[LineWatch, Clock]:
    clock = Clock()
    return LineWatch(StopLine("serial:/dev/ttyX#cts", action), Wire(*levels), clock), clock


def test_an_opened_line_is_said_once_and_again_after_it_was_closed_for_long_enough() -> None:
    line, _ = watch(True, *[False] * 4, *[True] * LAST_READS, *[False] * 3)
    said = [line.look() for _ in range(1 + 4 + LAST_READS + 3)]
    assert [i for i, one in enumerate(said) if one] == [OPEN_READS, 5 + LAST_READS + 1]
    assert (OPEN_READS, LAST_READS) == (2, 10)
    assert said[2] == "line serial:/dev/ttyX#cts is open"


def test_a_contact_that_bounces_once_in_a_while_does_nothing() -> None:
    line, _ = watch(*[False, *[True] * (LAST_READS - 1)] * 10)
    assert [line.look() for _ in range(10 * LAST_READS)] == [""] * (10 * LAST_READS)


@pytest.mark.parametrize("every", range(2, LAST_READS))
def test_a_loose_contact_that_chatters_acts_and_stays_open_until_it_is_quiet(every: int) -> None:
    line, _ = watch(*[False, *[True] * (every - 1)] * 20, True)
    said = [line.look() for _ in range(20 * every)]
    assert [i for i, one in enumerate(said) if one] == [every]
    assert line.is_open
    for _ in range(LAST_READS):
        assert line.look() == ""
    assert not line.is_open


def test_a_line_that_could_not_be_read_for_a_while_asks_to_stop_until_that_is_over() -> None:
    """One that releases must not release because its adapter was unplugged."""
    line, clock = watch(OSError("gone"), True, action=LineAction.RELEASE)
    line.look(), line.look()
    clock.now_ns += NS
    while line.is_open:
        assert (line.action, line.reason.endswith("cannot be read: gone")) == (LineAction.STOP, True)
        line.look()
    assert line.failure == ""


def test_a_line_that_cannot_be_read_stops_even_where_it_is_there_to_release() -> None:
    line, clock = watch(True, OSError("unplugged"), action=LineAction.RELEASE)
    assert line.look() == ""
    assert line.look() == ""
    clock.now_ns += NS
    assert "cannot be read: unplugged" in line.look()
    assert line.action is LineAction.STOP


def test_whatever_a_driver_raises_is_a_line_that_cannot_be_read() -> None:
    line, _ = watch(True, termios.error(5, "Input/output error"))
    assert line.look() == ""
    assert line.look() == ""
    assert "Input/output error" in line.look()


def test_a_released_line_that_then_breaks_stops_too() -> None:
    line, _ = watch(False, False, OSError("gone"), action=LineAction.RELEASE)
    assert [line.look(), line.look()] == ["", "line serial:/dev/ttyX#cts is open"]
    assert line.action is LineAction.RELEASE
    assert "cannot be read" in line.look()
    assert line.action is LineAction.STOP


def test_what_failed_is_opened_anew_not_sooner_than_after_a_pause_and_can_close_again() -> None:
    wire = Wire(OSError("gone"), True)
    clock = Clock()
    line = LineWatch(StopLine("gpio:/x"), wire, clock)
    for _ in range(5):
        line.look()
    assert (wire.closes, len(wire.levels), line.is_open) == (1, 1, True)  # read once; four readings waited
    clock.now_ns += round(REOPEN_S * NS)
    assert [line.look() for _ in range(LAST_READS)] == [""] * LAST_READS
    assert not line.is_open


def test_a_gpio_is_read_from_its_file_each_time(tmp_path: Path) -> None:
    value = tmp_path / "value"
    value.write_text("0\n")
    low, high = GpioContact(str(value)), GpioContact(str(value), closed=1)
    assert low.is_closed()
    assert not high.is_closed()
    value.write_text("1\n")
    assert not low.is_closed()
    assert high.is_closed()
    value.write_text("in\n")
    with pytest.raises(OSError, match="neither 0 nor 1"):
        low.is_closed()
    low.close()
    high.close()


@pytest.mark.parametrize("kind", ["fifo", "folder", "nothing"])
def test_what_is_no_gpio_cannot_be_read_and_nothing_waits_for_it(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "value"
    if kind == "fifo":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    with pytest.raises(OSError):
        GpioContact(str(path)).is_closed()


def test_a_port_without_modem_lines_cannot_be_read() -> None:
    """A pseudo-terminal has none; one that is unplugged says the same."""
    ours, theirs = os.openpty()
    line = SerialContact(os.ttyname(theirs), "cts")
    with pytest.raises(OSError):
        line.is_closed()
    line.close()
    os.close(ours)
    os.close(theirs)
    with pytest.raises(OSError):
        SerialContact("/dev/no-such-port").is_closed()


@pytest.mark.parametrize("address", ["serial:", "gpio:", "usb:/dev/x", "serial:/dev/x#rts", "gpio:/x#1", ""])
def test_a_malformed_address_is_an_error_that_shows_the_forms(address: str) -> None:
    with pytest.raises(NervehandError, match="gpio:FILE#low"):
        contact(address)


@pytest.mark.parametrize(
    "address", ["serial:/dev/ttyUSB0", "serial:/dev/ttyUSB0#dsr", "gpio:/x", "gpio:/x#high"]
)
def test_addresses(address: str) -> None:
    contact(address).close()


def test_a_line_that_cannot_be_read_to_begin_with_is_an_error(tmp_path: Path) -> None:
    lines = StopLines((StopLine(f"gpio:{tmp_path}/value"),), lambda action, why: None)
    with pytest.raises(NervehandError, match="cannot be read"):
        lines.start()
    lines.close()


def test_the_lines_are_read_all_the_time(tmp_path: Path) -> None:
    files = [tmp_path / "stop", tmp_path / "release"]
    for file in files:
        set_level(file, "0")
    done: list[tuple[LineAction, str]] = []
    lines = StopLines(
        (StopLine(f"gpio:{files[0]}"), StopLine(f"gpio:{files[1]}", LineAction.RELEASE)),
        lambda action, why: done.append((action, why)),
    )
    lines.start()
    wait_for(lambda: lines.reads > 3)
    assert done == []
    set_level(files[1], "1")
    wait_for(lambda: len(done) == 1)
    set_level(files[0], "1")
    wait_for(lambda: len(done) == 2)
    assert [action for action, _ in done] == [LineAction.RELEASE, LineAction.STOP]
    assert len(lines.open_now) == 2
    wait_for(lambda: len(lines.asked) == 2)
    assert set(lines.asked) == set(done)
    set_level(files[0], "0")
    wait_for(lambda: lines.asked == (done[0],))
    assert len(done) == 2
    lines.close()


def test_stillness_counts_only_what_the_onlooker_has_seen() -> None:
    still = Stillness(0.02)
    assert still.look(1, 0) == 0
    assert still.look(1, 10_000_000) == pytest.approx(0.01)
    assert still.look(1, 510_000_000) == pytest.approx(0.03)  # half a second without a look proves 20 ms
    assert still.look(2, 520_000_000) == 0
    assert still.look(2, 530_000_000) == pytest.approx(0.01)
