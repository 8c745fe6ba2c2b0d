"""What somebody asked of a hand outlives the guard: after a stop only a person arms, whoever was killed meanwhile.

A file beside the guard's socket, `rest-NAME.json`, says who asked for rest. It is there from a stop, release, disarm or
fault on, until somebody arms or the guard ends in order.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
from pathlib import Path

from firmware_bridge.guard_sockets import folder, folders

MOST_BYTES = 4096

logger = logging.getLogger(__name__)


def latch_of(name: str) -> Path:
    """Where the guard of that name notes it."""
    return folder() / f"rest-{name}.json"


class Latch:
    """The guard's side. Nothing here raises for what a disk does: it is logged, and the gate has done its part."""

    def __init__(self, name: str) -> None:
        self._path = latch_of(name)

    def set(self, why: str) -> None:
        """Only a person arms from now on."""
        part = self._path.with_name(f".{self._path.name}-{os.getpid()}")
        try:
            with contextlib.suppress(FileNotFoundError):
                part.unlink()
            descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
            with os.fdopen(descriptor, "w") as file:
                json.dump(why[:1000], file)
            part.rename(self._path)
        except OSError as error:
            logger.error("it cannot be noted that somebody asked for rest (%s): %s", error, why)

    def clear(self) -> None:
        """Somebody has armed, or it has ended in order."""
        try:
            self._path.unlink(missing_ok=True)
        except OSError as error:
            logger.error("%s cannot be removed: %s", self._path, error)


def asked_for_rest(name: str) -> str:
    """Who asked the guard of that name for rest before it was cut off, in words; "" where nobody did."""
    for where in folders():
        path = where / f"rest-{name}.json"
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        except FileNotFoundError:
            continue
        except OSError as error:
            return f"somebody did, and {path.name} cannot be read ({error.strerror})"
        with os.fdopen(descriptor, "rb") as file:
            try:
                said = json.loads(file.read(MOST_BYTES))
            except ValueError:
                said = ""
        return said if isinstance(said, str) and said else "somebody did"
    return ""
