"""Samples from the ring for many clients: what they have in common is made once."""

from __future__ import annotations

from dataclasses import dataclass

from firmware_bridge.port.blocks import encoded_blocks
from firmware_bridge.port.sample_ring import Kept, RingReader

MOST_BLOCKS = 64
MOST_BATCH_BYTES = 1 << 18
"""Of samples in a frame; a block that is longer by itself travels alone."""


@dataclass(slots=True)
class Position:
    """Where a client is: the block that it gets next, and the sample that it lacks next (None: whatever comes)."""

    sequence: int
    sample: int | None = None


class Samples:
    """The ring, and which of its blocks is the newest, as of the last `look`."""

    def __init__(self, ring: RingReader) -> None:
        self._ring = ring
        self._newest = 0
        self._made: dict[tuple[int, int | None], tuple[bytes, int, int]] = {}

    def look(self) -> None:
        """Find what has come since the last time."""
        self._made.clear()
        if self._newest == 0 or self._ring.entry(self._newest) is None:
            self._newest = self._ring.newest()
        while self._ring.entry(self._newest + 1) is not None:
            self._newest += 1

    def position(self, sample_index: int | None) -> Position:
        """Where who lacks that sample and what follows begins; None: with the next block that comes."""
        self._newest = self._ring.newest()
        if sample_index is None:
            return Position(self._newest + 1)
        return Position(self._ring.holding(sample_index, self._newest), sample_index)

    def batch(self, at: Position) -> bytes | None:
        """The next blocks as a frame, with what is lost before each; `at` goes on. None where there is none yet."""
        if at.sequence > self._newest:
            return None
        key = (at.sequence, at.sample)
        if key not in self._made:
            taken, after = self._taken(Position(at.sequence, at.sample))
            if not taken:
                at.sequence, at.sample = after.sequence, after.sample
                return None
            self._made[key] = (encoded_blocks(taken), after.sequence, after.sample or 0)
        frame, at.sequence, at.sample = self._made[key]
        return frame

    def _taken(self, at: Position) -> tuple[list[tuple[Kept, bytes, int]], Position]:
        taken: list[tuple[Kept, bytes, int]] = []
        n_bytes = 0
        while at.sequence <= self._newest and len(taken) < MOST_BLOCKS:
            kept = self._ring.entry(at.sequence)
            raw = None if kept is None else self._ring.bytes_of(kept)
            if kept is None or raw is None:  # overtaken: what is gone shows in the next block's loss
                self._newest = max(self._newest, self._ring.newest())
                at.sequence = max(at.sequence + 1, self._ring.oldest(self._newest))
                continue
            if taken and n_bytes + len(raw) > MOST_BATCH_BYTES:
                break
            at.sequence += 1
            block = _from_sample(kept, raw, at.sample)
            if block is None:
                continue
            lost = kept.lost_before if at.sample is None else max(0, kept.first_sample - at.sample)
            taken.append((*block, lost))
            n_bytes += len(raw)
            at.sample = kept.first_sample + kept.n_samples
        return taken, at


def _from_sample(kept: Kept, raw: bytes, sample: int | None) -> tuple[Kept, bytes] | None:
    """The block without the samples before `sample`; None where nothing is left."""
    if sample is None or sample <= kept.first_sample:
        return kept, raw
    behind = sample - kept.first_sample
    if behind >= kept.n_samples:
        return None
    left = kept.n_samples - behind
    lines_bytes = 4 * kept.n_samples if kept.has_lines else 0
    row = (len(raw) - lines_bytes) // kept.n_samples
    signal_end = row * kept.n_samples
    cut = raw[row * behind : signal_end] + raw[signal_end + 4 * behind : signal_end + lines_bytes]
    shorter = Kept(
        kept.sequence, kept.position, sample, kept.arrival_ns, 0, kept.scale_uv, left, kept.n_channels,
        kept.dtype, kept.has_lines, kept.crc,
    )  # fmt: skip
    return shorter, cut
