"""Closing a recording: its journal is folded in, and it becomes a session file like any other."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from decoder.session.journal import journal_of, read_journal
from decoder.session.layout import Header, streams
from decoder.session.reader import read_open, tail_of
from decoder.session.sidecar import mark_whole
from decoder.session.writer import RESERVE_BYTES, fill_tables, make_regular, sync_folder
from firmware_bridge.errors import NervehandError


def fold(path: Path, header: Header) -> None:
    """Turn a recording that is no longer open into a closed session file.

    It works on a copy, so that a kill at any moment leaves either the recording or the session; where the
    disk has no room for a copy it works in place.
    """
    import h5py

    part = path.with_name(f".{path.name}.part")
    room = free_bytes(path) > path.stat().st_size + RESERVE_BYTES
    target = part if room else path
    try:
        if room:
            shutil.copy(path, part)
        notes, _ = read_journal(journal_of(path))
        with h5py.File(target, "r+", libver="latest") as file:
            session = read_open(file, path)
            fill_tables(file, session, notes)
            for name, stream in streams(header).items():
                if file[stream.index_path()].shape[0] == 0:
                    for root in stream.root_paths():
                        del file[root]
                else:
                    make_regular(file, header, name)
        with target.open("rb") as raw:
            os.fsync(raw.fileno())
        mark_whole(tail_of(path))
        if room:
            part.replace(path)
    finally:
        part.unlink(missing_ok=True)
    sync_folder(path)
    tail_of(path).unlink()
    journal_of(path).unlink()


def free_bytes(path: Path) -> int:
    """What is left on the disk for a file at `path`. Errors: NervehandError where its folder cannot be used."""
    try:
        disk = os.statvfs(path.parent)
    except OSError as error:
        raise NervehandError(f"{path}: the folder cannot be used ({error.strerror}): make it") from None
    return disk.f_bavail * disk.f_frsize
