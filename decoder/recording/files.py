"""The files of a recorder that goes on for months: their names, which are kept, and which go first."""

from __future__ import annotations

import contextlib
import json
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from decoder.recording.messages import Pin
from decoder.session.journal import journal_of
from decoder.session.reader import tail_of
from decoder.session.settle import is_unsettled
from firmware_bridge.errors import NervehandError

MIB = 1 << 20


@dataclass(frozen=True, slots=True)
class Kept:
    """A recording in the folder; `n_bytes` with what lies beside it, `is_open` while somebody writes or settles it."""

    path: Path
    number: int
    n_bytes: int
    is_pinned: bool
    is_open: bool


def pin_of(path: Path) -> Path:
    """What says that a recording is to be kept, by whom and why."""
    return path.with_name(path.name + ".pin")


def kept_in(folder: Path, name: str) -> list[Kept]:
    """The recordings of that name, oldest first; sessions that were recovered beside one are of the same age."""
    found = []
    for path in folder.glob(f"{name}-*.nwb"):
        match = re.fullmatch(rf"{re.escape(name)}-(\d+)-[0-9TZ]+(\.recovered)?\.nwb", path.name)
        if match is None:
            continue
        n_bytes = sum(size_of(one) for one in (path, tail_of(path), journal_of(path)))
        original = path.with_name(
            path.name.replace(".recovered", "")
        )  # whose pin keeps what was recovered, too
        is_pinned = pin_of(path).exists() or pin_of(original).exists()
        found.append(Kept(path, int(match[1]), n_bytes, is_pinned, is_unsettled(path)))
    return sorted(found, key=lambda one: (one.number, one.path.name))


def next_path(folder: Path, name: str, now: datetime) -> Path:
    """The name of the next recording: a number that ascends, as clocks may go back, and the time in UTC."""
    numbers = [one.number for one in kept_in(folder, name)]
    return folder / f"{name}-{max(numbers, default=0) + 1:06d}-{now:%Y%m%dT%H%M%SZ}.nwb"


def too_many(kept: Sequence[Kept], budget_bytes: int) -> list[Kept]:
    """What goes so that the others are within the budget: the oldest that nobody pinned first, none that is open."""
    over = sum(one.n_bytes for one in kept) - budget_bytes
    going = []
    for one in kept:
        if over <= 0:
            break
        if not one.is_pinned and not one.is_open:
            going.append(one)
            over -= one.n_bytes
    return going


def outside(kept: Sequence[Kept], durations_s: Mapping[Path, float], ring_s: float) -> list[Kept]:
    """What nobody pinned and is older than the last `ring_s`, as far as is known how long the newer ones are."""
    going, newer_s = [], 0.0
    for one in reversed(kept):
        if newer_s >= ring_s and not one.is_pinned and not one.is_open:
            going.append(one)
        newer_s += durations_s.get(one.path, 0.0)
    return going[::-1]


def remove(one: Kept) -> None:
    """Take it away. NervehandError where that cannot be."""
    try:
        one.path.unlink()
        for beside in (
            tail_of(one.path),
            journal_of(one.path),
        ):  # of one that is kept beside what was recovered
            beside.unlink(missing_ok=True)
    except OSError as error:
        raise NervehandError(
            f"{one.path}: cannot be removed ({error.strerror}): see to the folder's permissions"
        ) from None


def write_pin(path: Path, pin: Pin, from_sample: int, to_sample: int, now: datetime) -> None:
    """Have the recording at `path` kept; whole or not at all. The first who pins a file is the one who is named."""
    plain = {
        "who": pin.who, "why": pin.why, "from_sample": from_sample, "to_sample": to_sample,
        "pinned": now.isoformat(timespec="seconds"),
    }  # fmt: skip
    part = path.with_name(f".{path.name}.pin.part")
    try:
        part.unlink(missing_ok=True)
        descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
        with os.fdopen(descriptor, "w") as file:
            json.dump(plain, file)
            file.flush()
            os.fsync(descriptor)
        with contextlib.suppress(FileExistsError):
            os.link(part, pin_of(path))
        part.unlink()
    except OSError as error:
        raise NervehandError(f"{path}: cannot be pinned ({error.strerror}): free some space") from None


def size_of(path: Path) -> int:
    """Its bytes; 0 where it is not there."""
    try:
        return path.stat().st_size
    except OSError:
        return 0
