"""Recovering a recording whose file, tail or journal were damaged: what comes out was recorded so."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator

import numpy as np

from decoder.session import Session, recover
from decoder.session.recorder import LANES
from decoder.session.recover import salvage
from decoder.session.sidecar import HEADER_BYTES
from firmware_bridge.errors import NervehandError
from tests.fuzz.targets._rooms import FIRST, INFO, empty_room, unclosed

_EDIT = struct.Struct("<BIB")
_RECORD = 8 * (len(LANES) + 1) + 4
_SEAL = 0x80
_N_RECORDS = 4
_WRITTEN_TOO = 7
"""Edits of an input that is also recovered to a file."""


def seeds() -> Iterator[bytes]:
    yield b""
    yield _EDIT.pack(0, 5000, 3) + b"abc"
    yield _EDIT.pack(1, HEADER_BYTES + 9, 2) + b"\x01\x02"
    yield _EDIT.pack(1 | _SEAL, HEADER_BYTES, 8) + bytes(8)
    yield _EDIT.pack(2, 3, 1) + b"\n"


def check(data: bytes) -> None:
    """Edits: which file, where, how many bytes, the bytes; 0x80 then gives the tail right checksums."""
    files = [bytearray(content) for content in unclosed()]
    at = n = 0
    while at + _EDIT.size <= len(data) and n < 64:
        which, where, length = _EDIT.unpack_from(data, at)
        new = data[at + _EDIT.size : at + _EDIT.size + length]
        file = files[(which & 0x7F) % len(files)]
        where %= len(file)
        file[where : where + len(new)] = new[: len(file) - where]
        if which & _SEAL:
            _seal(files[1])
        at, n = at + _EDIT.size + length, n + 1
    path = empty_room() / "fuzzed.nwb"
    for name, content in zip(("fuzzed.nwb", "fuzzed.nwb.tail", "fuzzed.nwb.journal"), files, strict=True):
        path.with_name(name).write_bytes(content)
    try:
        with salvage(path) as found:
            _check_rows(found.session)
        if n == _WRITTEN_TOO:  # seldom: it takes a second
            recover(path)
    except NervehandError:
        return


def _check_rows(session: Session) -> None:
    """No value that was not recorded is there outside the gaps. (A flush's checksum does not cover the header.)"""
    if session.first_sample != FIRST or session.info.n_channels != INFO.n_channels:
        return
    lost = np.zeros(session.n_samples, bool)
    for gap in session.gaps:
        lost[max(gap.start - FIRST, 0) : max(gap.stop - FIRST, 0)] = True
    rows = session.signal[slice(0, session.n_samples)]
    assert set(rows[~lost[: len(rows)]].ravel().tolist()) <= {0, 1, 2}


def _seal(tail: bytearray) -> None:
    for k in range(_N_RECORDS):
        at = HEADER_BYTES + k * (_RECORD + 4)
        struct.pack_into("<I", tail, at + _RECORD, zlib.crc32(tail[at : at + _RECORD]))
