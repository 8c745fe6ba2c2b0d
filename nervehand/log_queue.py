"""A stream that never holds up who logs: a thread writes, and what it cannot keep up with is counted instead."""

from __future__ import annotations

import queue
import threading
from typing import TextIO

MOST_WAITING = 1000
END_S = 2.0


class QueuedStream:
    """In place of a stream: `write` returns at once, also while nobody reads the pipe or the journal stands still.

    Of more than `MOST_WAITING` writings the newer ones are dropped; how many is written once there is room again.
    """

    def __init__(self, stream: TextIO, most_waiting: int = MOST_WAITING) -> None:
        self._stream = stream
        self._waiting: queue.Queue[str] = queue.Queue(most_waiting)
        self._dropped = self._told = 0  # each changed by one thread only
        self._thread = threading.Thread(target=self._run, name="log", daemon=True)
        self._thread.start()

    def fileno(self) -> int:
        """Of the stream behind it."""
        return self._stream.fileno()

    def write(self, text: str) -> int:
        """Take it."""
        try:
            self._waiting.put_nowait(text)
        except queue.Full:
            self._dropped += 1
        return len(text)

    def flush(self) -> None:
        """Nothing: who logs does not wait."""

    def drain(self, timeout_s: float = END_S) -> None:
        """Wait until all is written, for so long at most."""
        with self._waiting.all_tasks_done:
            self._waiting.all_tasks_done.wait_for(lambda: not self._waiting.unfinished_tasks, timeout_s)

    def _run(self) -> None:
        while True:
            text = self._waiting.get()
            try:
                self._stream.write(text)
                if (dropped := self._dropped) > self._told and self._waiting.empty():
                    lost, self._told = dropped - self._told, dropped
                    self._stream.write(f"({lost} lines of the log were lost: it was read too slowly)\n")
                self._stream.flush()
            except (OSError, ValueError):  # nobody will ever read it; there is nowhere to say so
                pass
            finally:
                self._waiting.task_done()
