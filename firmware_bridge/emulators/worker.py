"""The threads of an emulator, whose errors somebody hears of."""

from __future__ import annotations

import threading
from collections.abc import Callable


class Worker:
    """Runs functions in threads of their own. The first error of any of them is kept as `error`; `finished`, which
    the emulator sets once all its samples are sent, is set by an error too."""

    def __init__(self, *runs: Callable[[], None]) -> None:
        self.finished = threading.Event()
        self.error: BaseException | None = None
        self._threads = [
            threading.Thread(target=self._guarded, args=(run,), name="emulator", daemon=True) for run in runs
        ]

    @property
    def is_alive(self) -> bool:
        """Whether any function still runs."""
        return any(thread.is_alive() for thread in self._threads)

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def join(self) -> None:
        """Wait for the threads, which were told to end."""
        for thread in self._threads:
            thread.join()

    def raise_error(self, pending: BaseException | None) -> None:
        """Raise the error of a thread, unless the context that ends has one of its own: `pending`."""
        if self.error is not None and pending is None:
            raise self.error

    def _guarded(self, run: Callable[[], None]) -> None:
        try:
            run()
        except BaseException as error:  # noqa: BLE001 - raised again where the context ends
            self.error = self.error or error
            self.finished.set()
