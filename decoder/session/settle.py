"""A recording that nobody writes any more becomes a session file like any other, in its own place.

    python -m decoder.session.settle SESSION.nwb...

One that was closed has its journal folded in; one that was cut off is recovered. Only where all that was written holds
does the session take the recording's place; else it comes beside it (NAME.recovered.nwb) and the recording stays.
"""

from __future__ import annotations

import argparse
import fcntl
import glob
import os
import re
import sys
from dataclasses import replace
from pathlib import Path

from decoder.session.fold import fold, is_in_place
from decoder.session.journal import journal_of
from decoder.session.reader import open_file, read_header, tail_of
from decoder.session.recorded import Note
from decoder.session.recorder import LANES
from decoder.session.recover import recover, salvage
from decoder.session.sidecar import Mark, mark_in, read_tail, set_mark
from decoder.session.writer import sync_folder, write_session
from firmware_bridge.errors import NervehandError

NICENESS = 15
_LEFT = re.compile(r"\.\.part|\.\.settled|\.\.\.settled\.\d+\.part")


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
        if not is_unsettled(path):
            return f"{path}: nothing is to be done"
        for left in path.parent.glob(f".*{glob.escape(path.name)}.*"):  # by one that was cut off
            if _LEFT.fullmatch(left.name.replace(path.name, "", 1)):
                left.unlink()
        return _settled(path)


def _settled(path: Path) -> str:
    if is_in_place(path):
        _clear(path)
        return f"{path}: was whole"
    if mark_in(tail_of(path)) != Mark.CLOSED:
        return _recovered(path)
    try:
        with open_file(path) as file:
            header = read_header(file)
    except (NervehandError, OSError, KeyError, RuntimeError):  # something else has damaged it
        return _recovered(path)
    fold(path, header)
    return f"{path}: closed"


def _recovered(path: Path) -> str:
    tail = read_tail(tail_of(path), len(LANES))
    if not tail.records:  # it was cut off before its first row was written
        path.unlink(missing_ok=True)
        _clear(path)
        return f"{path}: held nothing and is gone, {tail.received + tail.on_its_way} samples lost"
    part = path.with_name(f".{path.name}.settled")
    try:
        with salvage(path) as found:
            within = [span for span in found.damaged if span[0] < found.spans[-1][1]]
            if within or found.damaged_notes:  # (what was never whole at the end is lost, and not damaged)
                return str(recover(path, recovered_of(path)))
            lost = found.received - sum(stop - start for start, stop in found.spans)
            end = found.session.first_sample + found.session.n_samples
            said = Note(
                max(end - 1, 0), f"cut off: {lost} samples that had been received are not in this file"
            )
            notes = (*found.session.recorded.notes, said)
            write_session(replace(found.session, recorded=replace(found.session.recorded, notes=notes)), part)
        set_mark(tail_of(path), Mark.REPLACED)
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
