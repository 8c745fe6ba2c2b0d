"""Messages in shared memory, from the loop that decodes to the recorder; the loop never waits.

There are two rings: entries of fixed size, one a message, and the bytes of the messages. An entry is found by its
sequence number, carries a CRC-32 of itself and one of its message, and says where the message's bytes are. A reader
takes what passes both and nothing else, so it does not matter in which order a processor makes the writer's stores
visible, nor whether the writer died in the middle of one. The oldest messages are overwritten; the reader knows how
many it has lost. How far the reader has come lies in the memory too, for the one that is started in its place.
"""

from __future__ import annotations

import mmap
import os
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

from firmware_bridge.errors import NervehandError
from firmware_bridge.guard_memory import Cell
from firmware_bridge.stream import StreamInfo

KEPT_S = 30.0
"""For how long the recorder may stand still before samples are lost to it."""
LEAST_BYTES, MOST_BYTES = 8 << 20, 128 << 20
"""Of messages: a stream that needs more is kept for less time."""
N_ENTRIES = 1 << 17
"""30 s of a front-end that sends a block each millisecond, and of what else there is to record."""
BESIDE = 1.25
"""What else is recorded, as a share of the samples."""
# sequence, position, bytes, kind, the message's CRC
_ENTRY = struct.Struct("<QQIIII")
_CRC = struct.Struct("<I")
_SLOT = 40  # _ENTRY (32) and _CRC, and a whole number of 8 bytes
REPORT_BYTES = 8192
"""What the recorder says of itself, as JSON."""
_NUMBER = struct.Struct("<Q")

Part = bytes | memoryview


@dataclass(frozen=True, slots=True)
class RingSize:
    """How large a ring is: the bytes of its messages, and how many messages it knows."""

    message_bytes: int
    n_entries: int = N_ENTRIES

    @classmethod
    def of(cls, info: StreamInfo) -> RingSize:
        """For KEPT_S of that stream, within the limits."""
        wanted = round(KEPT_S * info.rate_hz * BESIDE) * info.n_channels * 4
        return cls(min(max(wanted, LEAST_BYTES), MOST_BYTES))

    @property
    def total_bytes(self) -> int:
        return _cells_bytes() + self.n_entries * _SLOT + self.message_bytes


def _cells_bytes() -> int:
    return 2 * Cell.size_of(REPORT_BYTES) + 4 * Cell.size_of(_NUMBER.size) + 64


def make_memory(size: RingSize) -> int:
    """A descriptor of such memory, empty, without a name: it is gone with the last process that holds it."""
    if hasattr(os, "memfd_create"):
        descriptor = os.memfd_create("nervehand-recorder", os.MFD_CLOEXEC)
    else:  # a Python that was built for a glibc before 2.27
        descriptor = os.open("/dev/shm", os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC, 0o600)
    os.ftruncate(descriptor, size.total_bytes)
    return descriptor


@dataclass(frozen=True, slots=True)
class Message:
    """One message: its place in the sequence, from 1, its kind, and its bytes."""

    sequence: int
    kind: int
    payload: bytes


class _Memory:
    """What both sides see."""

    def __init__(self, descriptor: int, size: RingSize) -> None:
        self._size = size
        self._memory = mmap.mmap(descriptor, size.total_bytes)
        self.report = Cell(self._memory, 0, REPORT_BYTES)
        """The newest that the recorder says of itself."""
        at = 2 * Cell.size_of(REPORT_BYTES)
        self._taken = Cell(self._memory, at, _NUMBER.size)
        self._newest = Cell(self._memory, at + 2 * Cell.size_of(_NUMBER.size), _NUMBER.size)
        self._entries = _cells_bytes() // 8 * 8
        self._data = self._entries + size.n_entries * _SLOT

    @property
    def taken(self) -> int:
        """The newest message that the recorder is through with, as it last said; 0 before the first."""
        return _number_in(self._taken)

    def close(self) -> None:
        self._memory.close()


def _number_in(cell: Cell) -> int:
    n, payload = cell.read()
    return int(_NUMBER.unpack(payload)[0]) if n else 0


class RingWriter(_Memory):
    """The side of the loop that decodes: `write` costs a copy and a checksum. One thread writes."""

    def __init__(self, descriptor: int, size: RingSize) -> None:
        super().__init__(descriptor, size)
        self.written = 0
        """The sequence number of the newest message."""
        self._end = 0

    def write(self, kind: int, *parts: Part) -> None:
        """Append a message of these bytes, over the oldest; NervehandError where it is larger than all that is kept."""
        n_bytes = sum(len(part) for part in parts)
        whole = self._size.message_bytes
        if n_bytes > whole // 4:
            raise NervehandError(
                f"{n_bytes} bytes at once for the recorder, which keeps {whole}: send shorter blocks"
            )
        offset = self._end % whole
        if offset + n_bytes > whole:  # a message lies in one piece
            self._end += whole - offset
            offset = 0
        at, crc = self._data + offset, 0
        for part in parts:
            self._memory[at : at + len(part)] = part
            crc = zlib.crc32(part, crc)
            at += len(part)
        self.written += 1
        entry = _ENTRY.pack(self.written, self._end, n_bytes, kind, crc, 0)
        slot = self._entries + self.written % self._size.n_entries * _SLOT
        self._memory[slot : slot + _ENTRY.size + _CRC.size] = entry + _CRC.pack(zlib.crc32(entry))
        self._end += n_bytes
        self._newest.write(_NUMBER.pack(self.written))


class RingReader(_Memory):
    """The recorder's side. `lost` counts messages that were overwritten before they were read."""

    def __init__(self, descriptor: int, size: RingSize) -> None:
        super().__init__(descriptor, size)
        for cell in (self.report, self._taken):
            cell.go_on()  # another recorder may have been here
        self.lost = 0
        self.next = 1
        """The sequence number of the message that is read next."""

    def read(self) -> Iterator[Message]:
        """The messages since the last time, in their order."""
        while True:
            found = self._message(self.next)
            if found is None:
                newest = self.newest()
                if newest <= self.next or not self._is_gone(self.next, newest):
                    return
                # A quarter more than what is gone is given up, because the writer goes on meanwhile.
                oldest = self._oldest(newest)
                onwards = max(oldest + (newest - oldest) // 4, self.next + 1)
                self.lost += onwards - self.next
                self.next = onwards
                continue
            self.next += 1
            yield found

    def done(self, sequence: int) -> None:
        """Be through with all messages up to that one: whoever is started in this one's place begins behind it."""
        self._taken.write(_NUMBER.pack(sequence))

    def newest(self) -> int:
        """The sequence number of the newest message; 0 before the first."""
        return _number_in(self._newest)

    def last_of(self, kind: int, until: int) -> int:
        """The newest message of a kind that is not newer than `until` and still there; 0 where there is none."""
        sequence = until
        while sequence > max(0, until - self._size.n_entries):
            entry = self._entry(sequence)
            if entry is None:
                return 0
            if entry[2] == kind:
                return sequence if self._message(sequence) is not None else 0
            sequence -= 1
        return 0

    def _is_gone(self, sequence: int, newest: int) -> bool:
        """Whether a message that cannot be read was overwritten, and is not just becoming visible."""
        if newest - sequence >= self._size.n_entries:
            return True
        entry, last = self._entry(sequence), self._entry(newest)
        return (
            entry is not None
            and last is not None
            and (last[0] + last[1] - entry[0] > self._size.message_bytes)
        )

    def _oldest(self, newest: int) -> int:
        low, high = max(self.next, newest - self._size.n_entries + 1), newest
        while low < high:
            middle = (low + high) // 2
            if self._message(middle) is None:
                low = middle + 1
            else:
                high = middle
        return low

    def _entry(self, sequence: int) -> tuple[int, int, int, int] | None:
        """Position, bytes, kind and CRC of that message; None where it is yet to come, or was overwritten."""
        at = self._entries + sequence % self._size.n_entries * _SLOT
        raw = self._memory[at : at + _ENTRY.size + _CRC.size]
        if zlib.crc32(raw[: _ENTRY.size]) != _CRC.unpack_from(raw, _ENTRY.size)[0]:
            return None
        number, position, n_bytes, kind, crc, _ = _ENTRY.unpack_from(raw)
        return (position, n_bytes, kind, crc) if number == sequence and sequence else None

    def _message(self, sequence: int) -> Message | None:
        entry = self._entry(sequence)
        if entry is None:
            return None
        position, n_bytes, kind, crc = entry
        at = self._data + position % self._size.message_bytes
        payload = self._memory[at : at + n_bytes]
        return Message(sequence, kind, payload) if zlib.crc32(payload) == crc else None
