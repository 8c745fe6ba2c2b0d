"""How a run ends early: signals become an event, and the event closes the source that the run waits for."""

from __future__ import annotations

import logging
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from firmware_bridge.stream import Source

_STOP_SEEN_S = 0.1

logger = logging.getLogger(__name__)


@contextmanager
def closed_by(stop: threading.Event, source: Source) -> Iterator[None]:
    """Close `source` once `stop` is set, however long the caller waits for its next block."""
    over = threading.Event()

    def watch() -> None:
        while not over.is_set():
            if stop.wait(_STOP_SEEN_S):
                try:
                    source.close()
                except Exception:  # the caller closes it too, and hears of it there
                    logger.exception("the source could not be closed")
                return

    watcher = threading.Thread(target=watch, name="stop", daemon=True)
    watcher.start()
    try:
        yield
    finally:
        over.set()
        watcher.join()


@contextmanager
def stop_on_signals() -> Iterator[threading.Event]:
    """An event that SIGINT, SIGTERM and SIGHUP (unless `nohup` ignores it) set; handlers are put back afterwards.

    A thread sets it, told by the wake-up descriptor of the signal module: a handler written in Python runs only once
    the main thread is back from what it waits for, which may be a device that will never answer.
    """
    numbers = {signal.SIGINT, signal.SIGTERM}
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        numbers.add(signal.SIGHUP)
    stop = threading.Event()
    told, tell = socket.socketpair()
    tell.setblocking(False)

    def listen() -> None:
        while received := told.recv(64):
            if numbers & set(received):
                stop.set()

    listener = threading.Thread(target=listen, name="signals", daemon=True)
    previous: dict[
        signal.Signals, signal.Handlers | Callable[[int, FrameType | None], object] | int | None
    ] = {}
    try:
        with told, tell:
            listener.start()
            try:
                before = signal.set_wakeup_fd(tell.fileno(), warn_on_full_buffer=False)
                try:
                    previous |= {number: signal.signal(number, _taken) for number in numbers}
                    yield stop
                finally:
                    signal.set_wakeup_fd(before)
            finally:
                tell.shutdown(socket.SHUT_WR)
                listener.join()
    finally:  # last, so that another Ctrl-C does not cut this short
        for number, handler in previous.items():
            signal.signal(number, handler)


def _taken(number: int, frame: FrameType | None) -> None:
    """The signal is answered by the thread that listens for it."""
