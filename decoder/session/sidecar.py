"""The tail beside a recording: how far it got, and a checksum for every range that was flushed.

A small memory-mapped file, little-endian. What a process wrote to it survives that process's death. A header
of 64 bytes: magic, version uint32, number of lanes uint32, samples received, written and flushed, uint64 each, and
the index after the last sample received, and after the last one that was on its way to the recorder from a process of
its own (uint64, 0 where unknown), and a Mark. Then a
record per flush: first signal row of the flush and the row at which each lane ends (uint64), the CRC-32 of all rows
that the flush added (uint32), and the CRC-32 of the record so far (uint32). Lanes are the signal and then the streams
of the file, in a fixed order, to which later releases add at the end.
"""

from __future__ import annotations

import errno
import fcntl
import mmap
import os
import struct
import zlib
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path

from firmware_bridge.errors import NervehandError

MAGIC = b"NHTAIL\x00\x01"
VERSION = 1
HEADER = struct.Struct("<8sIIQQQ")
HEADER_BYTES = 64
RECEIVED_AT, WRITTEN_AT, FLUSHED_AT, NEXT_AT, ON_ITS_WAY_AT, MARK_AT = 16, 24, 32, 40, 48, 56
GROWTH_BYTES = 1 << 16


class Mark(IntEnum):
    """What of the file beside a tail is on the disk, whatever its own superblock says: that may be there before all
    else is."""

    OPEN = 0
    CLOSED = 1
    """The recording was closed: nothing of it can be torn."""
    REPLACED = 2
    """A session that was recovered from it is about to take its place."""


@dataclass(frozen=True, slots=True)
class FlushRecord:
    """One flush: signal rows start..ends[0] and, in lane k, all rows up to ends[k] that were not flushed before."""

    start: int
    ends: tuple[int, ...]
    crc: int


@dataclass(frozen=True, slots=True)
class Tail:
    """What a tail says: samples received, written and flushed (gaps not counted), its whole records, and how many
    samples were on their way to the recorder when all of it ended."""

    received: int
    written: int
    flushed: int
    records: tuple[FlushRecord, ...]
    on_its_way: int = 0


class TailWriter:
    """Keeps a tail up to date; space is allocated before it is mapped, so a full disk raises here."""

    def __init__(self, path: Path, n_lanes: int) -> None:
        self._record = struct.Struct(f"<{n_lanes + 1}QI")
        self._end = HEADER_BYTES
        try:
            self._fd = os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600)
        except OSError as error:
            raise NervehandError(f"{path}: cannot be created ({error.strerror}): move it away") from None
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)  # nobody settles it while it is written
            os.posix_fallocate(self._fd, 0, GROWTH_BYTES)
            self._map = mmap.mmap(self._fd, GROWTH_BYTES)
        except OSError as error:
            os.close(self._fd)
            path.unlink()
            raise NervehandError(
                f"{path}: has no room ({error.strerror}): free some space or choose another disk"
            ) from None
        HEADER.pack_into(self._map, 0, MAGIC, VERSION, n_lanes, 0, 0, 0)

    def received(self, samples: int, next_index: int) -> None:
        """So many were received, and the one of `next_index` is next."""
        _put(self._map, RECEIVED_AT, samples)
        _put(self._map, NEXT_AT, next_index)

    def written(self, samples: int) -> None:
        _put(self._map, WRITTEN_AT, samples)

    def make_room(self) -> bool:
        """Whether another record fits."""
        if self._end + GROWTH_BYTES // 2 > len(self._map):
            size = len(self._map) + GROWTH_BYTES
            try:
                os.posix_fallocate(self._fd, 0, size)
                self._map.resize(size)
            except OSError as error:
                if error.errno != errno.ENOSPC:
                    raise
        return self._end + self._record.size + 4 <= len(self._map)

    def flushed(self, samples: int, record: FlushRecord) -> None:
        """Add the record of a flush that has reached the operating system; there is room for it."""
        body = self._record.pack(record.start, *record.ends, record.crc)
        self._map[self._end : self._end + len(body) + 4] = body + struct.pack("<I", zlib.crc32(body))
        self._end += len(body) + 4
        _put(self._map, FLUSHED_AT, samples)

    def mark(self, mark: Mark) -> None:
        _put(self._map, MARK_AT, mark)

    def sync(self) -> None:
        """Return when the disk has it all. (Linux's fsync writes what was changed through the mapping too.)"""
        os.fsync(self._fd)

    def close(self) -> None:
        self._map.close()
        os.close(self._fd)


def read_tail(path: Path, n_lanes: int) -> Tail:
    """A tail of up to `n_lanes` lanes; those that it does not have are empty in every record.

    Errors: NervehandError where the tail is missing or not one.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise NervehandError(
            f"{path}: cannot be read ({error.strerror}): without it no row of the recording can be verified"
        ) from None
    if len(content) < HEADER_BYTES:
        raise NervehandError(
            f"{path}: has {len(content)} bytes, no tail is that short: restore it from a copy"
        )
    magic, version, lanes, received, written, flushed = HEADER.unpack_from(content)
    if magic != MAGIC or version != VERSION or not 1 <= lanes <= n_lanes:
        raise NervehandError(
            f"{path}: is not the tail of this recording (version {version}, {lanes} lanes): restore it from a copy"
        )
    body = struct.Struct(f"<{lanes + 1}QI")
    missing = (0,) * (n_lanes - lanes)
    records = []
    for at in range(HEADER_BYTES, len(content) - body.size - 3, body.size + 4):
        raw = content[at : at + body.size]
        fields = body.unpack(raw)
        if struct.unpack_from("<I", content, at + body.size)[0] != zlib.crc32(raw) or not any(fields):
            break
        records.append(FlushRecord(fields[0], fields[1:-1] + missing, fields[-1]))
    next_index, way_index = struct.unpack_from("<QQ", content, NEXT_AT)
    return Tail(
        received, written, flushed, tuple(records), max(way_index - next_index, 0) if way_index else 0
    )


def set_mark(path: Path, mark: Mark) -> None:
    """Put it into a tail that nobody writes any more; on the disk when this returns."""
    with path.open("r+b") as file:
        file.seek(MARK_AT)
        file.write(struct.pack("<Q", mark))
        file.flush()
        os.fsync(file.fileno())


def mark_in(path: Path) -> Mark:
    """The mark of a tail; OPEN where it has none that is known."""
    with path.open("rb") as file:
        file.seek(MARK_AT)
        raw = file.read(8)
    number = struct.unpack("<Q", raw)[0] if len(raw) == 8 else 0
    return Mark(number) if number in set(Mark) else Mark.OPEN


class OnItsWay:
    """Notes in the tail of a recording that another process writes how far samples have come towards it.

    What was noted survives the death of both processes. NervehandError where there is no such tail.
    """

    def __init__(self, path: Path) -> None:
        try:
            with path.open("r+b") as file:
                self._map = mmap.mmap(file.fileno(), HEADER_BYTES)
        except (OSError, ValueError) as error:
            raise NervehandError(f"{path}: cannot be noted in ({error}): the recording has ended") from None

    def note(self, next_index: int) -> None:
        """The sample before `next_index` is on its way."""
        _put(self._map, ON_ITS_WAY_AT, next_index)

    def close(self) -> None:
        self._map.close()


def _put(memory: mmap.mmap, at: int, number: int) -> None:
    """Not pack_into, which writes zeros first: a kill in between would leave them."""
    memory[at : at + 8] = struct.pack("<Q", number)
