"""Opening an HDF5 file whose writer was killed, for reading, without changing it.

The superblock of such a file still says that a writer has it, and where the file ended when that was written,
so HDF5 refuses it. Here the file is read through an object that puts a corrected superblock in front of it.
(Reading it in SWMR mode works as well, but HDF5 retries damaged metadata there, practically for ever.)
"""

from __future__ import annotations

import io
import struct
from pathlib import Path
from typing import TYPE_CHECKING

from firmware_bridge.errors import NervehandError

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

SUPERBLOCK_BYTES = 48
"""A superblock of version 3 with 8-byte offsets: HDF5 File Format Specification 3.0, section II.A."""

FLAGS_AT, END_OF_FILE_AT, CHECKSUM_AT = 11, 28, 44
MASK = 0xFFFFFFFF


class UnclosedFile(io.FileIO):
    """A file for reading, with the superblock that its writer would have left on closing it."""

    def __init__(self, path: Path) -> None:
        """Errors: NervehandError where the file cannot be opened or has no superblock of version 3."""
        try:
            super().__init__(path, "rb")
        except OSError as error:
            raise NervehandError(f"{path}: cannot be read ({error.strerror}): check the name") from None
        start = super().read(SUPERBLOCK_BYTES)
        if len(start) < SUPERBLOCK_BYTES or not start.startswith(b"\x89HDF\r\n\x1a\n\x03\x08\x08"):
            self.close()
            raise NervehandError(
                f"{path}: is not a recording (no HDF5 superblock of version 3): check the name"
            )
        corrected = bytearray(start)
        corrected[FLAGS_AT] = 0
        struct.pack_into("<Q", corrected, END_OF_FILE_AT, path.stat().st_size)
        struct.pack_into("<I", corrected, CHECKSUM_AT, lookup3(bytes(corrected[:CHECKSUM_AT])))
        self._start = bytes(corrected)
        self.seek(0)

    def readinto(self, buffer: WriteableBuffer, /) -> int | None:
        at = self.tell()
        count = super().readinto(buffer)
        if count and at < SUPERBLOCK_BYTES:
            n = min(count, SUPERBLOCK_BYTES - at)
            memoryview(buffer).cast("B")[:n] = self._start[at : at + n]
        return count


def lookup3(data: bytes) -> int:
    """Bob Jenkins' lookup3 `hashlittle` with an initial value of 0: the checksum of HDF5's metadata."""
    a = b = c = (0xDEADBEEF + len(data)) & MASK
    at = 0
    while len(data) - at > 12:
        x, y, z = struct.unpack_from("<III", data, at)
        a, b, c = _mix((a + x) & MASK, (b + y) & MASK, (c + z) & MASK)
        at += 12
    if at == len(data):
        return c
    x, y, z = struct.unpack("<III", data[at:].ljust(12, b"\0"))
    return _final((a + x) & MASK, (b + y) & MASK, (c + z) & MASK)


def _rotate(value: int, bits: int) -> int:
    return ((value << bits) | (value >> (32 - bits))) & MASK


def _mix(a: int, b: int, c: int) -> tuple[int, int, int]:
    a = ((a - c) & MASK) ^ _rotate(c, 4)
    c = (c + b) & MASK
    b = ((b - a) & MASK) ^ _rotate(a, 6)
    a = (a + c) & MASK
    c = ((c - b) & MASK) ^ _rotate(b, 8)
    b = (b + a) & MASK
    a = ((a - c) & MASK) ^ _rotate(c, 16)
    c = (c + b) & MASK
    b = ((b - a) & MASK) ^ _rotate(a, 19)
    a = (a + c) & MASK
    c = ((c - b) & MASK) ^ _rotate(b, 4)
    b = (b + a) & MASK
    return a, b, c


def _final(a: int, b: int, c: int) -> int:
    c = ((c ^ b) - _rotate(b, 14)) & MASK
    a = ((a ^ c) - _rotate(c, 11)) & MASK
    b = ((b ^ a) - _rotate(a, 25)) & MASK
    c = ((c ^ b) - _rotate(b, 16)) & MASK
    a = ((a ^ c) - _rotate(c, 4)) & MASK
    b = ((b ^ a) - _rotate(a, 14)) & MASK
    return ((c ^ b) - _rotate(b, 24)) & MASK
