"""Shared memory between the decode process and the guard: what is newest, and what happened, without a lock.

Each cell and each record carries its own sequence number and a CRC-32 over all of itself. A reader takes what passes
the checksum and nothing else, so it does not matter in which order a processor (an aarch64 reorders stores) makes a
writer's bytes visible, nor whether a writer died in the middle: a mixture of two writes is refused. Nobody ever waits.
"""

from __future__ import annotations

import mmap
import os
import struct
import threading
import zlib
from collections.abc import Iterator

import numpy as np

from firmware_bridge.errors import NervehandError
from firmware_bridge.gate import GateState
from firmware_bridge.guard import Sent
from firmware_bridge.hand import N_DOF, HandCommand, Quality
from firmware_bridge.movement_trace import Moved

MOST_GESTURE_BYTES = 200
_CRC = struct.Struct("<I")
_CELL = struct.Struct("<QI")  # sequence, bytes of payload
_RECORD = struct.Struct("<QBB")  # sequence, bytes of payload, whether the message goes on
_BEAT = struct.Struct("<q")
_COMMAND = struct.Struct("<qqq?ddB6f")
_SENT = struct.Struct("<qqqqB6f")
_MOVED = struct.Struct("<3q")
_STATES = tuple(GateState)


class Cell:
    """The newest payload of one writer, latest-wins: two buffers in turn, so that one is always whole.

    `capacity` is in bytes. `refused` counts the different contents that failed their checksum when they were read.
    """

    def __init__(self, memory: mmap.mmap, offset: int, capacity: int) -> None:
        self.capacity, self.refused = capacity, 0
        self._memory = memory
        self._at = (offset, offset + self.size_of(capacity))
        self._written = 0
        self._bad: list[bytes | None] = [None, None]

    @staticmethod
    def size_of(capacity: int) -> int:
        """Bytes of one of its two buffers."""
        return _CRC.size + _CELL.size + capacity

    def go_on(self) -> None:
        """Write in the place of another writer that has ended: what it wrote is older from now on."""
        self._written = self.read()[0]

    def write(self, payload: bytes) -> None:
        """Replace what is there; NervehandError where it does not fit."""
        if len(payload) > self.capacity:
            raise NervehandError(f"{len(payload)} bytes do not fit a cell of {self.capacity}: send less")
        self._written += 1
        body = _CELL.pack(self._written, len(payload)) + payload
        at = self._at[self._written % 2]
        self._memory[at : at + _CRC.size + len(body)] = _CRC.pack(zlib.crc32(body)) + body

    def read(self) -> tuple[int, bytes]:
        """The newest whole payload and how many were written up to it; (0, b"") where none is whole."""
        newest = (0, b"")
        for which, at in enumerate(self._at):
            found = self._read(at, which)
            if found is not None and found[0] > newest[0]:
                newest = found
        return newest

    def _read(self, at: int, which: int) -> tuple[int, bytes] | None:
        raw = self._memory[at : at + self.size_of(self.capacity)]
        sequence, length = _CELL.unpack_from(raw, _CRC.size)
        if not sequence and not length:
            return None  # nothing was written yet
        end = _CRC.size + _CELL.size + length
        if length > self.capacity or zlib.crc32(raw[_CRC.size : end]) != _CRC.unpack_from(raw)[0]:
            if raw != self._bad[which]:
                self.refused += 1
                self._bad[which] = raw
            return None
        return sequence, raw[_CRC.size + _CELL.size : end]


class Ring:
    """Messages of one writing process to one reader, in order; the oldest are overwritten, and the reader counts them.

    A message takes as many records of 128 bytes as it needs.
    """

    RECORD_BYTES = 128
    _PAYLOAD = RECORD_BYTES - _CRC.size - _RECORD.size

    def __init__(self, memory: mmap.mmap, offset: int, n_records: int) -> None:
        self.lost = 0
        self._memory, self._offset, self._n = memory, offset, n_records
        self._lock = threading.Lock()
        self._written = 0
        self._next = 1
        self._parts: list[bytes] = []
        self._whole = True  # false while the rest of a message that began with a lost record is passed over

    def write(self, message: bytes) -> None:
        """Append a message; from any thread, without waiting for a reader."""
        parts = [message[i : i + self._PAYLOAD] for i in range(0, len(message), self._PAYLOAD)] or [b""]
        with self._lock:
            for i, part in enumerate(parts, 1):
                self._written += 1
                body = _RECORD.pack(self._written, len(part), i < len(parts)) + part
                at = self._place(self._written)
                self._memory[at : at + _CRC.size + len(body)] = _CRC.pack(zlib.crc32(body)) + body

    def read(self) -> Iterator[bytes]:
        """The messages that came whole since the last time. `lost` counts records that were not there any more."""
        while True:
            found = self._record(self._next)
            if found is None:
                following = self._record(self._next + 1)
                if following is None or following[0] != self._next + 1:
                    return  # it is being written, or is yet to be
                self._skip_to(self._next + 1)
                continue
            sequence, payload, goes_on = found
            if sequence < self._next:
                return
            if sequence > self._next:
                # Overwritten. A quarter more is given up, because the writer goes on meanwhile.
                self._skip_to(sequence - self._n + 1 + self._n // 4)
                continue
            self._next += 1
            if not self._whole:
                self.lost += 1
                self._whole = not goes_on
                continue
            self._parts.append(payload)
            if not goes_on:
                message = b"".join(self._parts)
                self._parts.clear()
                yield message

    def _skip_to(self, sequence: int) -> None:
        self.lost += sequence - self._next + len(self._parts)
        self._next = sequence
        before = self._record(sequence - 1)
        # What follows is the beginning of a message only where the record before it ended one; unknown is no.
        self._whole = before is not None and before[0] == sequence - 1 and not before[2]
        self._parts.clear()

    def _place(self, sequence: int) -> int:
        return self._offset + sequence % self._n * self.RECORD_BYTES

    def _record(self, sequence: int) -> tuple[int, bytes, bool] | None:
        at = self._place(sequence)
        raw = self._memory[at : at + self.RECORD_BYTES]
        found, length, goes_on = _RECORD.unpack_from(raw, _CRC.size)
        end = _CRC.size + _RECORD.size + length
        if end > self.RECORD_BYTES or zlib.crc32(raw[_CRC.size : end]) != _CRC.unpack_from(raw)[0]:
            return None
        return found, raw[_CRC.size + _RECORD.size : end], bool(goes_on)


class GuardMemory:
    """The four things that the two processes share: `command` and `beat` for the guard, `status` and `told` from it."""

    COMMAND_BYTES = _COMMAND.size + MOST_GESTURE_BYTES
    STATUS_BYTES = 8192  # a fault's text and the names of open lines may be as long as they are in JSON
    TOLD_RECORDS = 8192  # a minute of a guard that tells the hand something a hundred times a second
    _LINE = 64  # a cell begins a cache line, so that two writers never share one

    def __init__(self, descriptor: int) -> None:
        self._memory = mmap.mmap(descriptor, self.size())
        at = 0
        cells = []
        for capacity in (self.COMMAND_BYTES, _BEAT.size, self.STATUS_BYTES):
            cells.append(Cell(self._memory, at, capacity))
            at += self._room(capacity)
        self.command, self._beat, self.status = cells
        self._last_beat = (0, 0)
        self.told = Ring(self._memory, at, self.TOLD_RECORDS)

    @classmethod
    def _room(cls, capacity: int) -> int:
        return -(-2 * Cell.size_of(capacity) // cls._LINE) * cls._LINE

    @classmethod
    def size(cls) -> int:
        """Bytes of all of it."""
        cells = sum(map(cls._room, (cls.COMMAND_BYTES, _BEAT.size, cls.STATUS_BYTES)))
        return cells + cls.TOLD_RECORDS * Ring.RECORD_BYTES

    @classmethod
    def make(cls) -> int:
        """A descriptor of such memory, empty, without a name: it is gone with the last process that holds it."""
        if hasattr(os, "memfd_create"):
            descriptor = os.memfd_create("nervehand-guard", os.MFD_CLOEXEC)
        else:  # a Python that was built for a glibc before 2.27
            descriptor = os.open("/dev/shm", os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC, 0o600)
        os.ftruncate(descriptor, cls.size())
        return descriptor

    @property
    def refused(self) -> int:
        """Commands and heartbeats that failed their checksum."""
        return self.command.refused + self._beat.refused

    def beat(self, now_ns: int) -> None:
        """The decode loop is alive at host time `now_ns`."""
        self._beat.write(_BEAT.pack(now_ns))

    def last_beat(self) -> tuple[int, int]:
        """How many beats there were, and the host time of the newest in ns; (0, 0) before the first."""
        n, payload = self._beat.read()
        if n > self._last_beat[0]:
            self._last_beat = (n, int(_BEAT.unpack(payload)[0]))
        return self._last_beat

    def close(self) -> None:
        """Give the mapping back."""
        self._memory.close()


def encode_command(command: HandCommand) -> bytes:
    """As bytes. Targets that are not six travel as none at all, which the gate refuses for the same cause."""
    gesture = command.gesture.encode()
    if len(gesture) > MOST_GESTURE_BYTES:
        raise NervehandError(
            f"the gesture's name {command.gesture[:20]!r}... has {len(gesture)} bytes: at most {MOST_GESTURE_BYTES}"
        )
    targets, quality = command.targets, command.quality
    n = N_DOF if targets.shape == (N_DOF,) else 0
    plain = targets.tolist() if n else [0.0] * N_DOF
    return (
        _COMMAND.pack(
            command.sample_index, command.issued_ns, command.expires_ns,
            quality.warming, quality.confidence, quality.healthy_fraction, n, *plain,
        )
        + gesture
    )  # fmt: skip


def decode_command(payload: bytes) -> HandCommand:
    """What `encode_command` made."""
    index, issued_ns, expires_ns, warming, confidence, healthy, n, *targets = _COMMAND.unpack_from(payload)
    return HandCommand(
        np.array(targets[:n], np.float32),
        index,
        issued_ns,
        expires_ns,
        payload[_COMMAND.size :].decode(),
        Quality(warming, confidence, healthy),
    )


def encode_sent(sent: Sent) -> bytes:
    """As bytes."""
    times = (sent.taken_ns, sent.decided_ns, sent.sent_ns)
    return _SENT.pack(*times, sent.sample_index, _STATES.index(sent.state), *map(float, sent.positions))


def decode_sent(payload: bytes) -> Sent:
    """What `encode_sent` made."""
    taken_ns, decided_ns, sent_ns, index, state, *positions = _SENT.unpack(payload)
    return Sent(sent_ns, index, np.array(positions, np.float32), _STATES[state], taken_ns, decided_ns)


def encode_moved(moved: Moved) -> bytes:
    """As bytes."""
    return _MOVED.pack(*moved)


def decode_moved(payload: bytes) -> Moved:
    """What `encode_moved` made."""
    return Moved(*_MOVED.unpack(payload))
