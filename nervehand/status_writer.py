"""The thread of an engine that writes its status document once a second, whatever the decode loop does."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from pathlib import Path
from types import TracebackType

from nervehand.status import Status, StatusFile

PERIOD_S = 1.0
END_S = 2.0

logger = logging.getLogger(__name__)


class StatusWriter:
    """Writes what `make` gives, at once and then every `period_s` while it is entered; then once more, or removes it.

    What `make` raises is logged and the next one tried: a status that cannot be made ends no decoding. `kept` leaves
    the last document for whoever asks after an end that nobody asked for; so does an exception.
    """

    def __init__(self, path: Path, make: Callable[[], Status], period_s: float = PERIOD_S) -> None:
        self._file, self._make, self._period_s = StatusFile(path), make, period_s
        self._asked = threading.Event()
        self._is_over = False
        self.kept = False
        self._thread = threading.Thread(target=self._run, name="status", daemon=True)

    def __enter__(self) -> StatusWriter:
        self.write()
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._is_over = True
        self._asked.set()
        self._thread.join(END_S)
        if self.kept or kind is not None:
            self.write()
        else:
            self._file.remove()

    def soon(self) -> None:
        """Write it now and not in a second: somebody waits for what it says."""
        self._asked.set()

    def write(self) -> None:
        """Write it from this thread."""
        try:
            status = self._make()
        except Exception:  # it is only told; what it is made of goes on
            logger.exception("the status cannot be made")
            return
        self._file.write(status)

    def _run(self) -> None:
        while True:
            self._asked.wait(self._period_s)
            self._asked.clear()
            if self._is_over:
                return
            self.write()
