"""Errors in an emulator's threads: heard of by whoever uses it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Protocol

import pytest

from firmware_bridge.emulators.intan import IntanEmulator
from firmware_bridge.emulators.worker import Worker
from firmware_bridge.stream import SignalBlock
from tests.firmware_bridge.sources import patterned

PATIENCE_S = 60.0


class Emulator(AbstractContextManager["Emulator"], Protocol):
    worker: Worker


def unreadable() -> Iterator[SignalBlock]:
    yield from patterned.blocks(12_800, 4)
    raise OSError("the disk is gone")


def intan() -> Emulator:
    emulator = IntanEmulator(patterned.info(4), unreadable(), is_paced=True)
    emulator.set_speed(1000.0)
    emulator.press_run()
    return emulator


def openephys() -> Emulator:
    pytest.importorskip("zmq", reason="needs the extra openephys")
    from firmware_bridge.emulators.openephys import OpenEphysEmulator

    emulator = OpenEphysEmulator(patterned.info(4), unreadable())
    emulator.set_speed(1000.0)
    return emulator


@pytest.mark.parametrize("made", [intan, openephys])
def test_an_error_in_the_samples_is_raised_where_the_emulator_ends(made: Callable[[], Emulator]) -> None:
    def use() -> None:
        with made() as emulator:
            assert emulator.worker.finished.wait(PATIENCE_S)
            assert isinstance(emulator.worker.error, OSError)

    with pytest.raises(OSError, match="the disk is gone"):
        use()


def test_an_error_of_the_caller_comes_first() -> None:
    def use() -> None:
        with intan() as emulator:
            assert emulator.worker.finished.wait(PATIENCE_S)
            raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        use()


def test_the_first_error_of_several_threads_is_kept_while_the_others_go_on() -> None:
    end = threading.Event()

    def fail() -> None:
        raise ValueError("first")

    def go_on() -> None:
        end.wait()
        raise ValueError("second")

    worker = Worker(fail, go_on)
    worker.start()
    assert worker.finished.wait(PATIENCE_S)
    assert worker.is_alive
    end.set()
    worker.join()
    assert not worker.is_alive
    with pytest.raises(ValueError, match="first"):
        worker.raise_error(None)
