"""What lies beside a recording that still runs: the tail and the journal."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator

from decoder.session.journal import read_journal
from decoder.session.recorder import LANES
from decoder.session.sidecar import HEADER_BYTES, read_tail
from firmware_bridge.errors import NervehandError
from tests.fuzz.targets._rooms import empty_room, unclosed

_BODY = struct.Struct(f"<{len(LANES) + 1}QI")


def seeds() -> Iterator[bytes]:
    _, tail, journal = unclosed()
    tail = tail[: HEADER_BYTES + 4 * (_BODY.size + 4)]
    yield b"\0" + tail
    yield b"\1" + tail
    yield b"\2" + journal
    yield b"\3" + b"\n".join(line.partition(b" ")[2] for line in journal.split(b"\n"))


def check(data: bytes) -> None:
    """Byte 0: a tail or a journal, as it is or with right checksums."""
    kind, content = data[:1], data[1:]
    path = empty_room() / "fuzzed"
    if kind in (b"\0", b"\1"):
        path.write_bytes(_sealed_tail(content) if kind == b"\1" else content)
        try:
            tail = read_tail(path, len(LANES))
        except NervehandError:
            return
        assert all(len(record.ends) == len(LANES) for record in tail.records)
        assert len(tail.records) * 4 <= len(content)
    elif kind in (b"\2", b"\3"):
        path.write_bytes(_sealed_journal(content) if kind == b"\3" else content)
        notes, damaged = read_journal(path)
        assert len(notes) + damaged <= content.count(b"\n") + 1
        assert all(isinstance(note.text, str) and isinstance(note.sample_index, int) for note in notes)


def _sealed_tail(content: bytes) -> bytes:
    out = content[:HEADER_BYTES]
    for at in range(HEADER_BYTES, len(content) - _BODY.size - 3, _BODY.size + 4):
        body = content[at : at + _BODY.size]
        out += body + struct.pack("<I", zlib.crc32(body))
    return out


def _sealed_journal(content: bytes) -> bytes:
    return b"".join(b"%08x %b\n" % (zlib.crc32(line), line) for line in content.split(b"\n"))
