"""A pseudo-terminal at a path that stays the same, and is there or not, as a plug is in its socket or not."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import socket
import tty
from pathlib import Path

from firmware_bridge.errors import NervehandError


class PtyPort:
    """The device's end is `master`, a file descriptor that does not block, -1 while unplugged; `link` is the host's.

    A link that an emulator left at that path is replaced; where one serves, or somebody's file is, no port is made.
    """

    def __init__(self, link: Path) -> None:
        self.link = link
        self.master = self._slave = -1
        self._place: socket.socket | None = None

    @property
    def is_plugged(self) -> bool:
        return self.master >= 0

    def plug(self) -> None:
        """NervehandError where no port can be put there."""
        if self.is_plugged:
            return
        if os.path.lexists(self.link) and not _is_link_to_terminal(self.link):
            raise NervehandError(
                f"{self.link} exists already, and is no emulated port: choose another place for the port"
            )
        self._place = _taken(self.link)
        self.master, self._slave = os.openpty()
        tty.setraw(self._slave)
        os.set_blocking(self.master, False)
        try:
            self.link.unlink(missing_ok=True)
            self.link.symlink_to(os.ttyname(self._slave))
        except OSError as error:
            self._close()
            raise NervehandError(
                f"{self.link}: no port can be put there ({error.strerror}): choose another place for the port"
            ) from None

    def unplug(self) -> None:
        """The path is gone, and so is what waited in the terminal."""
        if not self.is_plugged:
            return
        with contextlib.suppress(FileNotFoundError):
            if os.readlink(self.link) == os.ttyname(self._slave):  # else somebody has put another one there
                self.link.unlink()
        self._close()

    def _close(self) -> None:
        os.close(self.master)
        os.close(self._slave)
        self.master = self._slave = -1
        if self._place is not None:
            self._place.close()
            self._place = None


def _taken(link: Path) -> socket.socket:
    """The place, for whoever holds this socket: its name (Linux's, in no folder) is free as soon as its process ends.

    Whether the terminal is still there would not tell: the next one that somebody opens has the same number.
    """
    where = hashlib.sha256(os.fsencode(link.parent.resolve() / link.name)).hexdigest()
    place = socket.socket(socket.AF_UNIX)
    try:
        place.bind(f"\0nervehand port {where}")
    except OSError as error:
        place.close()
        if error.errno != errno.EADDRINUSE:
            raise
        raise NervehandError(
            f"{link}: another emulator serves there: end that one, or choose another place for the port"
        ) from None
    return place


def _is_link_to_terminal(path: Path) -> bool:
    return path.is_symlink() and os.readlink(path).startswith("/dev/pts/")
