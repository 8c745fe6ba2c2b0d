"""The thread of a link: one session after the other until it is closed, or the hand is refused for good."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
from collections.abc import Callable, Coroutine

from firmware_bridge.errors import NervehandError
from firmware_bridge.hands._backoff import Backoff
from firmware_bridge.hands._wire import CannotOpenError, WrongHandError

NS = 1_000_000_000
logger = logging.getLogger(__name__)


class LinkThread:
    """One run of a link, from `start` to its end, with a thread and an asyncio loop of its own; it serves once.

    `session` is given this object and is called again and again, with pauses (`Backoff`): it connects, tells by
    `was_up` whether that went well, and ends with its connection; the error says why. WrongHandError ends the run, and
    so does CannotOpenError before the first session that went well. `close` does too: the session is then cancelled,
    and `closing` set. `on_over` is the last that the thread calls.
    """

    def __init__(
        self,
        session: Callable[[LinkThread], Coroutine[object, object, None]],
        on_over: Callable[[], None],
        clock_ns: Callable[[], int],
    ) -> None:
        self.n_waiting = 0
        """Calls of `connect` that wait for this run."""
        self.failure = ""
        self.was_up = self.is_closed = self.is_over = False
        self.wake, self.closing = asyncio.Event(), asyncio.Event()
        self._session, self._on_over, self._clock_ns = session, on_over, clock_ns
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._main, name="hand link", daemon=True)

    def start(self) -> None:
        try:
            self._thread.start()
        except RuntimeError:  # the system has no more threads
            self._on_over()
            self._loop.close()
            raise

    def close(self) -> None:
        """Have it end; from any thread, any number of times."""
        self.is_closed = True
        with contextlib.suppress(RuntimeError):  # the loop has ended by itself
            self._loop.call_soon_threadsafe(self.closing.set)

    def join(self) -> None:
        self._thread.join()

    def wake_soon(self) -> None:
        """Set `wake`, from another thread than this one."""
        self._loop.call_soon_threadsafe(self.wake.set)

    def _main(self) -> None:
        try:
            self._loop.run_until_complete(self._sessions())
        finally:
            self.is_over = True
            self._on_over()
            self._loop.close()

    async def _sessions(self) -> None:
        closing = asyncio.create_task(self.closing.wait())
        backoff = Backoff(self._clock_ns() / NS)
        was_ever_up = False
        while not closing.done():
            session = asyncio.create_task(self._session(self))
            await asyncio.wait({session, closing}, return_when=asyncio.FIRST_COMPLETED)
            session.cancel()
            try:
                await session
            except asyncio.CancelledError:
                if closing.done():
                    break
                # Not ours: Bumble cancels what still waits for an answer when a connection ends.
                self.failure = "the connection ended while it was set up"
            except WrongHandError as error:
                self.failure = str(error)
                break
            except (NervehandError, OSError) as error:
                self.failure = str(error) or repr(error)
                if isinstance(error, CannotOpenError) and not was_ever_up:
                    break
            except Exception as error:  # whatever it was, a hand without a link must be tried again
                logger.exception("the link to the hand failed")
                self.failure = repr(error)
            if self.was_up:
                was_ever_up = True
                backoff.reset(self._clock_ns() / NS)
            await asyncio.wait({closing}, timeout=backoff.pause_s(self._clock_ns() / NS))
        closing.cancel()
