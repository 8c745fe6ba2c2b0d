"""Blocks of samples in shared memory, from the process that has them to the one that serves them; nobody ever waits.

There are two rings: entries of fixed size, one a block, and the bytes of the blocks. An entry is found by its sequence
number, carries a CRC-32 of itself and one of its block, and says where the block's bytes are. A reader takes what
passes both and nothing else, so it does not matter in which order a processor makes the writer's stores visible; a
block that was overwritten, or is just being, fails one of them.
"""

from __future__ import annotations

import mmap
import os
import struct
import zlib
from dataclasses import dataclass

import numpy as np

from firmware_bridge.errors import NervehandError
from firmware_bridge.stream import SignalBlock, StreamInfo

KEPT_S = 30.0
"""What is kept for a client that was cut off, of a stream of float32."""
LEAST_BYTES, MOST_BYTES = 1 << 20, 128 << 20
"""Of samples kept: a stream that needs more is kept for less time."""
N_ENTRIES = 1 << 15
"""30 s of blocks of a millisecond."""
DTYPES = ("<i2", "<f4", "<f8")
# sequence, position, first sample, arrival ns, lost before, scale µV, samples, channels, dtype, has lines, block's CRC
_ENTRY = struct.Struct("<QQqqqdIIBBxxI")
_CRC = struct.Struct("<I")
_SLOT = 72  # _ENTRY and _CRC, and a whole number of 8 bytes


@dataclass(frozen=True, slots=True)
class RingSize:
    """How large a ring is: the bytes of its samples, and how many blocks it knows."""

    sample_bytes: int
    n_entries: int = N_ENTRIES

    @classmethod
    def of(cls, info: StreamInfo) -> RingSize:
        """For KEPT_S of that stream, within the limits."""
        wanted = round(KEPT_S * info.rate_hz) * info.n_channels * 4
        return cls(min(max(wanted, LEAST_BYTES), MOST_BYTES))

    @property
    def total_bytes(self) -> int:
        return self.n_entries * _SLOT + self.sample_bytes


@dataclass(frozen=True, slots=True)
class Kept:
    """A block's entry: where its bytes are, and what they mean."""

    sequence: int
    position: int
    first_sample: int
    arrival_ns: int
    lost_before: int
    scale_uv: float
    n_samples: int
    n_channels: int
    dtype: int
    has_lines: bool
    crc: int

    @property
    def n_bytes(self) -> int:
        per_sample = self.n_channels * int(DTYPES[self.dtype][-1]) + 4 * self.has_lines
        return self.n_samples * per_sample


def make_memory(size: RingSize) -> int:
    """A descriptor of such memory, empty, without a name: it is gone with the last process that holds it."""
    if hasattr(os, "memfd_create"):
        descriptor = os.memfd_create("nervehand-port", os.MFD_CLOEXEC)
    else:  # a Python that was built for a glibc before 2.27
        descriptor = os.open("/dev/shm", os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC, 0o600)
    os.ftruncate(descriptor, size.total_bytes)
    return descriptor


class RingWriter:
    """The owner's side: `write` costs a copy and a checksum."""

    def __init__(self, memory: mmap.mmap, size: RingSize) -> None:
        self._size = size
        self._memory = memory
        self._bytes = memoryview(memory)
        self._data = size.n_entries * _SLOT
        self._written = self._end = 0

    def write(self, block: SignalBlock) -> None:
        """Append a block, over the oldest; NervehandError where it is larger than all that is kept."""
        if not block.n_samples:
            return
        samples = np.ascontiguousarray(block.samples, block.samples.dtype.newbyteorder("<"))
        lines = None if block.digital is None else np.ascontiguousarray(block.digital, np.dtype("<u4"))
        n_bytes = samples.nbytes + (0 if lines is None else lines.nbytes)
        whole = self._size.sample_bytes
        if n_bytes > whole:
            raise NervehandError(f"a block of {n_bytes} bytes: the port keeps {whole}, send shorter blocks")
        offset = self._end % whole
        if offset + n_bytes > whole:  # a block lies in one piece
            self._end += whole - offset
            offset = 0
        at = self._data + offset
        raw = samples.reshape(-1).view(np.uint8).data
        self._bytes[at : at + samples.nbytes] = raw
        crc = zlib.crc32(raw)
        if lines is not None:
            tail = lines.view(np.uint8).data
            self._bytes[at + samples.nbytes : at + n_bytes] = tail
            crc = zlib.crc32(tail, crc)
        self._written += 1
        entry = _ENTRY.pack(
            self._written, self._end, block.first_sample, block.arrival_ns, block.lost_before, block.scale_uv,
            samples.shape[0], samples.shape[1], DTYPES.index(samples.dtype.str), lines is not None, crc,
        )  # fmt: skip
        slot = self._written % self._size.n_entries * _SLOT
        self._bytes[slot : slot + _ENTRY.size + _CRC.size] = entry + _CRC.pack(zlib.crc32(entry))
        self._end += n_bytes

    def close(self) -> None:
        """Give the memory back."""
        self._bytes.release()
        self._memory.close()


class RingReader:
    """The server's side: blocks by their sequence number, from 1."""

    def __init__(self, memory: mmap.mmap, size: RingSize) -> None:
        self._size = size
        self._memory = memory
        self._data = size.n_entries * _SLOT

    def newest(self) -> int:
        """The sequence number of the newest block; 0 before the first."""
        slots = np.frombuffer(self._memory, "<u8", self._data // 8).reshape(-1, _SLOT // 8)
        sequences = slots[:, 0].copy()
        while (best := int(sequences.argmax())) >= 0 and sequences[best]:
            sequence = int(sequences[best])
            if sequence % self._size.n_entries == best and self.entry(sequence) is not None:
                return sequence
            sequences[best] = 0  # it is just being written
        return 0

    def entry(self, sequence: int) -> Kept | None:
        """The entry of that number; None where it is yet to come, or was overwritten."""
        slot = sequence % self._size.n_entries * _SLOT
        raw = self._memory[slot : slot + _ENTRY.size + _CRC.size]
        if zlib.crc32(raw[: _ENTRY.size]) != _CRC.unpack_from(raw, _ENTRY.size)[0]:
            return None
        number, position, first, arrival, lost, scale, n, channels, dtype, has_lines, crc = (
            _ENTRY.unpack_from(raw)
        )
        if number != sequence or not sequence:
            return None
        return Kept(number, position, first, arrival, lost, scale, n, channels, dtype, bool(has_lines), crc)

    def bytes_of(self, kept: Kept) -> bytes | None:
        """The block's samples, C-ordered, then its lines; None where they were overwritten."""
        at = self._data + kept.position % self._size.sample_bytes
        raw = self._memory[at : at + kept.n_bytes]
        return raw if zlib.crc32(raw) == kept.crc else None

    def oldest(self, newest: int) -> int:
        """The oldest that is still whole, a little room left for the writer; `newest` where there is no older one."""
        last = self.entry(newest)
        if last is None:
            return newest
        room = self._size.sample_bytes - self._size.sample_bytes // 16
        low, high = max(1, newest - self._size.n_entries + 1 + self._size.n_entries // 16), newest
        while low < high:
            middle = (low + high) // 2
            kept = self.entry(middle)
            if kept is None or last.position + last.n_bytes - kept.position > room:
                low = middle + 1
            else:
                high = middle
        return low

    def holding(self, sample_index: int, newest: int) -> int:
        """The first block that ends after `sample_index`, or the oldest after it that is kept; `newest` + 1 if none."""
        low, high = self.oldest(newest), newest + 1
        while low < high:
            middle = (low + high) // 2
            kept = self.entry(middle)
            if kept is None or kept.first_sample + kept.n_samples <= sample_index:
                low = middle + 1
            else:
                high = middle
        return low
