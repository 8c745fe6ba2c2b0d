"""Where the trace of an emulated hand goes while it is served: into a file, line by line, or nowhere."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

from firmware_bridge.emulators.hands.device import Trace, Traced, write_entry
from firmware_bridge.errors import NervehandError


class Untraced(Trace):
    """Keeps nothing: for a hand that runs for days."""

    def keep(self, entry: Traced) -> None:
        pass


class TraceFile(Trace):
    """Each thing that happens goes to a file at once, as a line."""

    def __init__(self, file: TextIO) -> None:
        super().__init__()
        self._file = file

    def keep(self, entry: Traced) -> None:
        write_entry(entry, self._file)


@contextlib.contextmanager
def tracing(path: Path | None) -> Iterator[Trace]:
    """A trace that goes to this file, which is replaced; nowhere where it is None. NervehandError where it cannot."""
    if path is None:
        yield Untraced()
        return
    try:
        file = path.open("w", buffering=1)
    except OSError as error:
        raise NervehandError(
            f"{path}: cannot be written ({error.strerror}): choose another place for the trace"
        ) from error
    with file:
        yield TraceFile(file)
