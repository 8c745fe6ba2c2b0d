"""Keys of a terminal, on a pseudo-terminal."""

from __future__ import annotations

import os
import queue
import termios

import pytest

from firmware_bridge.errors import NervehandError
from nervehand.keys import keys_pressed


def test_each_key_is_told_at_once_and_the_terminal_is_put_back() -> None:
    ours, theirs = os.openpty()
    before = termios.tcgetattr(theirs)
    got: queue.SimpleQueue[str] = queue.SimpleQueue()
    with keys_pressed(got.put, theirs):
        os.write(ours, b"1")
        assert got.get(timeout=60) == "1"  # without Enter
        os.write(ours, b"02")
        assert got.get(timeout=60) + got.get(timeout=60) == "02"
    assert termios.tcgetattr(theirs) == before
    os.close(ours)
    os.close(theirs)


def test_a_terminal_that_closes_is_no_error_of_what_runs() -> None:
    ours, theirs = os.openpty()
    with keys_pressed(print, theirs):
        os.close(ours)
    os.close(theirs)


def test_a_pipe_is_no_terminal() -> None:
    reading, writing = os.pipe()
    with pytest.raises(NervehandError, match="standard input is none"), keys_pressed(print, reading):
        pass
    os.close(reading)
    os.close(writing)
