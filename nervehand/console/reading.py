"""Recordings are read in a child process, which is ended when it takes too long.

A damaged file can keep HDF5 busy for ever, and HDF5 has one lock for a whole process: in the console's own, a page
that draws would wait for it, and STOP for the page. Nothing here needs NiceGUI: the child begins in a second or two.
"""

from __future__ import annotations

import asyncio
import logging
import multiprocessing
import signal
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from typing import TypeVar, cast

from firmware_bridge.errors import NervehandError
from nervehand.console.texts import say

START_S = 60.0
"""A child that has not begun by then never will."""
READ_S = 20.0
ALONE_S = 5.0
"""So long after its limit a child that nobody ended ends by itself: its console was killed."""

V = TypeVar("V")

logger = logging.getLogger(__name__)


class Reader:
    """One child, started when it is first needed and again after each end. It does one thing after the other."""

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1, "console reading")
        self._child: tuple[SpawnProcess, Connection] | None = None
        self._is_closed = False

    async def read(self, action: Callable[..., V], *given: object, limit_s: float = READ_S) -> V:
        """What `action`, a function of a module, gives for `given`; the event loop does not wait.

        NervehandError with its words where it refuses or fails, where it takes more than `limit_s`, and where its
        process ends. The child keeps what a module keeps: a session that is open stays open for the next call.
        """
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._thread, self._read, action, given, limit_s)

    async def rest(self) -> None:
        """End the child, and its memory; the next call starts another one."""
        await asyncio.get_running_loop().run_in_executor(self._thread, self._end)

    def close(self) -> None:
        """End it for good; what is being read is broken off."""
        self._is_closed = True
        if self._child is not None:
            self._child[0].kill()
        self._thread.shutdown(cancel_futures=True)
        self._end()

    def _read(self, action: Callable[..., V], given: tuple[object, ...], limit_s: float) -> V:
        try:
            there = self._started()
            there.send((action, given, limit_s))
            if not there.poll(limit_s):
                self._end()
                raise NervehandError(
                    f"reading took more than {limit_s:g} s and was broken off: the file is damaged, or its disk is slow"
                )
            is_done, value = there.recv()
        except (EOFError, OSError) as error:
            self._end()
            raise NervehandError(
                f"the process that reads has ended ({error!r}): the file may be damaged, else try again"
            ) from None
        if not is_done:
            raise NervehandError(str(value))
        return cast(V, value)

    def _started(self) -> Connection:
        if self._is_closed:
            raise NervehandError("the console is ending: start it again")
        if self._child is not None:
            return self._child[1]
        spawning = multiprocessing.get_context("spawn")  # a fork would copy locks that other threads hold
        here, there = spawning.Pipe()
        process = spawning.Process(target=_serve, args=(there,), name="console reading", daemon=True)
        process.start()
        there.close()
        self._child = process, here
        if not here.poll(START_S):
            self._end()
            raise NervehandError(f"no process that reads began within {START_S:g} s: the machine is too busy")
        here.recv()
        return here

    def _end(self) -> None:
        child, self._child = self._child, None
        if child is not None:
            child[0].kill()
            child[0].join()
            child[1].close()


def _serve(there: Connection) -> None:
    """The child: do what is asked until nobody is there who asks."""
    signal.signal(
        signal.SIGINT, signal.SIG_IGN
    )  # a key in the terminal is for the console, which then ends this
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    import h5py  # noqa: F401  # now, and not within the first request's limit

    import nervehand.console.session_view  # noqa: F401

    there.send(None)
    while True:
        try:
            action, given, limit_s = there.recv()
        except EOFError:
            return
        signal.setitimer(signal.ITIMER_REAL, limit_s + ALONE_S)
        there.send(_done(action, given))
        signal.setitimer(signal.ITIMER_REAL, 0)


def _done(action: Callable[..., object], given: tuple[object, ...]) -> tuple[bool, object]:
    try:
        return True, action(*given)
    except NervehandError as error:
        return False, str(error)
    except Exception as error:  # a damaged file makes h5py raise whatever it likes: the page says it
        logger.warning("reading failed", exc_info=True)
        return False, say("reading.failed", why=repr(error))
