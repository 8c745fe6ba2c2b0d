"""A recording that nobody writes any more becomes a session file like any other, in its own place.

    python -m decoder.session.settle SESSION.nwb...

One that was closed has its journal folded in; one that was cut off is recovered. Only where all that was written holds
does the session take the recording's place; else it comes beside it (NAME.recovered.nwb) and the recording stays.
"""

from __future__ import annotations

import argparse
import fcntl
import os
import sys
from dataclasses import replace
from pathlib import Path

from decoder.session.fold import fold
from decoder.session.journal import journal_of
from decoder.session.reader import open_file, read_header, tail_of
from decoder.session.recorded import Note
from decoder.session.recover import recover, salvage
from decoder.session.sidecar import is_marked_whole, mark_whole
from decoder.session.writer import sync_folder, write_session
from firmware_bridge.errors import NervehandError

NICENESS = 15


def recovered_of(path: Path) -> Path:
    """The session that was made of a recording which is damaged."""
    return path.with_name(f"{path.stem}.recovered{path.suffix}")


def is_unsettled(path: Path) -> bool:
    """Whether there is something to do for a recording that nobody writes."""
    return tail_of(path).exists() and not recovered_of(path).exists()


def settle(path: Path) -> str:
    """What came of it, in words. NervehandError where nothing of it can be read, or the disk is too small."""
    if not is_unsettled(path):
        return f"{path}: nothing is to be done"
    with tail_of(path).open("rb") as tail:  # two at once would be at one file
        try:
            fcntl.flock(tail, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return f"{path}: another process is at it"
        return _settled(path) if is_unsettled(path) else f"{path}: nothing is to be done"


def _settled(path: Path) -> str:
    try:
        with open_file(path) as file:
            header = read_header(file)
    except (NervehandError, OSError, KeyError, RuntimeError):  # it was cut off
        return _recovered(path)
    if is_marked_whole(tail_of(path)):  # and so it is in its place already
        _clear(path)
        return f"{path}: was whole"
    fold(path, header)
    return f"{path}: closed"


def _recovered(path: Path) -> str:
    part = path.with_name(f".{path.name}.settled")
    try:
        with salvage(path) as found:
            if found.damaged or found.damaged_notes:
                return str(recover(path, recovered_of(path)))
            lost = found.received - sum(stop - start for start, stop in found.spans)
            end = found.session.first_sample + found.session.n_samples
            said = Note(max(end - 1, 0), f"cut off: {lost} samples that had been received are lost")
            notes = (*found.session.recorded.notes, said)
            write_session(replace(found.session, recorded=replace(found.session.recorded, notes=notes)), part)
        mark_whole(tail_of(path))
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
    sync_folder(path)
    _clear(path)
    return f"{path}: recovered, {lost} samples lost"


def _clear(path: Path) -> None:
    tail_of(path).unlink()
    journal_of(path).unlink(missing_ok=True)


def main() -> int:
    """See the module."""
    arguments = argparse.ArgumentParser()
    arguments.add_argument("paths", type=Path, nargs="+")
    os.nice(NICENESS)
    status = 0
    for path in arguments.parse_args().paths:
        try:
            print(settle(path), file=sys.stderr)
        except NervehandError as error:
            print(error, file=sys.stderr)
            status = 2
    return status


if __name__ == "__main__":
    sys.exit(main())
