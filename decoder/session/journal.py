"""The journal beside a recording: free text, one checksummed line each, appended and never changed.

A line is eight hexadecimal digits, the CRC-32 of what follows them, a space, and a JSON object. Text lives
here while a recording runs because text appended inside the HDF5 file does not survive a kill. Lines of other kinds
than notes say where in the file its rows are (places.py).
"""

from __future__ import annotations

import errno
import json
import os
import zlib
from pathlib import Path

from decoder.session.recorded import Note
from decoder.session.room import Room
from firmware_bridge.errors import NervehandError

AHEAD_BYTES = 1 << 16
"""Room on the disk for lines to come."""
KINDS = {"layout", "chunks"}
"""What a line that is no note begins with: places.py."""


def journal_of(path: Path) -> Path:
    """The journal of the session file at `path`."""
    return path.with_name(path.name + ".journal")


class JournalWriter:
    """Appends notes; each is one write of a whole line, so a kill loses at most the line being written.

    `path` must not exist, unless it `goes_on`: then a line that was cut short is ended, and stays damaged.
    """

    def __init__(self, path: Path, *, goes_on: bool = False) -> None:
        is_cut = goes_on and path.exists() and not path.read_bytes().endswith(b"\n")
        flags = os.O_CREAT | os.O_WRONLY | os.O_APPEND | (0 if goes_on else os.O_EXCL)
        try:
            self._fd = os.open(path, flags, 0o600)
        except OSError as error:
            raise NervehandError(f"{path}: cannot be created ({error.strerror}): move it away") from None
        self._room = Room(self._fd, AHEAD_BYTES)
        if is_cut:
            os.write(self._fd, b"\n")

    def append(self, note: Note) -> None:
        self.put({"sample_index": note.sample_index, "text": note.text})

    def put(self, entry: dict[str, object]) -> None:
        """A line of any kind. Errors: NervehandError where the disk has no room for it."""
        body = json.dumps(entry).encode()
        line = b"%08x %b\n" % (zlib.crc32(body), body)
        try:
            is_whole = self._room.hold(len(line)) and os.write(self._fd, line) == len(line)
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise
            is_whole = False
        if not is_whole:
            raise NervehandError("the journal could not take a whole line: free some disk space")

    def sync(self) -> None:
        """Return when the disk has all lines."""
        os.fsync(self._fd)

    def close(self) -> None:
        self._room.release()
        os.close(self._fd)


def read_journal(path: Path) -> tuple[tuple[Note, ...], int]:
    """The notes whose checksums hold, in order, and how many lines were damaged. A missing file has none."""
    lines, damaged = read_lines(path)
    notes = []
    for line in lines:
        if KINDS.isdisjoint(line):
            try:
                notes.append(Note(int(line["sample_index"]), str(line["text"])))  # type: ignore[call-overload]
            except (ValueError, KeyError, TypeError, OverflowError):  # no note, though the checksum holds
                damaged += 1
    return tuple(notes), damaged


def read_lines(path: Path) -> tuple[list[dict[str, object]], int]:
    """The lines whose checksums hold, of any kind, and how many were damaged. A missing file has none."""
    if not path.exists():
        return [], 0
    lines, damaged = [], 0
    for line in path.read_bytes().split(b"\n"):
        if not line:
            continue
        entry = _parse(line)
        if entry is None:
            damaged += 1
        else:
            lines.append(entry)
    return lines, damaged


def _parse(line: bytes) -> dict[str, object] | None:
    crc, _, body = line.partition(b" ")
    if crc != b"%08x" % zlib.crc32(body):
        return None
    try:
        entry = json.loads(body)
    except (ValueError, RecursionError):  # no object, though the checksum holds
        return None
    return entry if isinstance(entry, dict) else None
