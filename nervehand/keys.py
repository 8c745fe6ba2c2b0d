"""Keys pressed in the terminal, one by one, while something else runs."""

from __future__ import annotations

import contextlib
import os
import select
import sys
import termios
import threading
import tty
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from firmware_bridge.errors import NervehandError


@contextmanager
def keys_pressed(on_key: Callable[[str], None], descriptor: int | None = None) -> Iterator[None]:
    """Each key goes to `on_key`, in a thread, until the block is left; the terminal is then as it was.

    Ctrl-C keeps its meaning. `descriptor` None is standard input; NervehandError where that is no terminal.
    """
    fd = sys.stdin.fileno() if descriptor is None else descriptor
    if not os.isatty(fd):
        raise NervehandError("keys are read from a terminal, and standard input is none: run it in one")
    before = termios.tcgetattr(fd)
    ended, end = os.pipe()

    def listen() -> None:
        while True:
            readable, _, _ = select.select([fd, ended], [], [])
            if ended in readable:
                return
            received = os.read(fd, 64)
            if not received:  # the terminal closed
                return
            for key in received.decode(errors="ignore"):
                on_key(key)

    thread = threading.Thread(target=listen, name="keys", daemon=True)
    tty.setcbreak(fd)
    try:
        thread.start()
        yield
    finally:
        os.write(end, b".")
        thread.join()
        os.close(end)
        os.close(ended)
        with contextlib.suppress(termios.error):  # a terminal that closed
            termios.tcsetattr(fd, termios.TCSADRAIN, before)
