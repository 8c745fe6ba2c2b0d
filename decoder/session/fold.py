"""Closing a recording: its journal is folded in, and it becomes a session file like any other."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from decoder.session.journal import journal_of, read_journal
from decoder.session.layout import NOTES_PATH, Header, streams
from decoder.session.reader import open_file, read_header, read_open, tail_of
from decoder.session.sidecar import Mark, mark_in, set_mark
from decoder.session.skeleton import create_private
from decoder.session.writer import RESERVE_BYTES, fill_tables, make_regular, sync_folder
from firmware_bridge.errors import NervehandError

if TYPE_CHECKING:
    import h5py

IN_PLACE_BYTES = 16 << 20
"""More than the tables take that closing adds to a file."""


def fold(path: Path, header: Header) -> None:
    """Turn a recording that is no longer open into a closed session file.

    It works on a copy, so that a kill at any moment leaves either the recording or the session; where the
    disk has no room for a copy it works in place, and moves no rows. NervehandError where there is no room for that.
    """
    import h5py

    part = path.with_name(f".{path.name}.part")
    free = free_bytes(path)
    room = free > path.stat().st_size + RESERVE_BYTES
    target = part if room else path
    if not room and free < IN_PLACE_BYTES + 4 * journal_of(path).stat().st_size:
        raise NervehandError(
            f"{path}: {free >> 20} MiB are free, too few to finish the file: free some space, then `nervehand recover`"
        )
    try:
        if room:
            part.unlink(missing_ok=True)
            create_private(part)
            shutil.copyfile(path, part)
        else:
            set_mark(tail_of(path), Mark.OPEN)  # a cut from here on may tear it
        notes, _ = read_journal(journal_of(path))
        with h5py.File(target, "r+", libver="latest") as file:
            session = read_open(file, path)
            fill_tables(file, session, notes)
            for name, stream in streams(header).items():
                if file[stream.index_path()].shape[0] == 0:
                    for root in stream.root_paths():
                        del file[root]
                elif room:
                    make_regular(file, header, name)
        with target.open("rb") as raw:
            os.fsync(raw.fileno())
        if room:
            part.replace(path)
        else:
            set_mark(tail_of(path), Mark.CLOSED)
    finally:
        part.unlink(missing_ok=True)
    sync_folder(path)
    tail_of(path).unlink()
    journal_of(path).unlink()


def is_folded(file: h5py.File) -> bool:
    """Whether a file that was closed is a session already: its journal's notes are in it, or there were none."""
    return NOTES_PATH not in file or len(file[f"{NOTES_PATH}/id"]) > 0


def is_in_place(path: Path) -> bool:
    """Whether the session has taken the recording's place already, and only a tail was left behind."""
    try:
        if mark_in(tail_of(path)) == Mark.OPEN:
            return False
        with open_file(path) as file:
            read_header(file)
            return is_folded(file)
    except (NervehandError, OSError, KeyError, RuntimeError):
        return False


def free_bytes(path: Path) -> int:
    """What is left on the disk for a file at `path`. Errors: NervehandError where its folder cannot be used."""
    try:
        disk = os.statvfs(path.parent)
    except OSError as error:
        raise NervehandError(f"{path}: the folder cannot be used ({error.strerror}): make it") from None
    return disk.f_bavail * disk.f_frsize
