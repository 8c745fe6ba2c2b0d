"""Samples that say where they belong: the first two channels hold their index, the others a scrambling of it."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from firmware_bridge.stream import SignalBlock, StreamInfo


def info(n_channels: int = 16, rate_hz: float = 10_000.0) -> StreamInfo:
    return StreamInfo(rate_hz, tuple(f"ch{i:02d}" for i in range(n_channels)), "nerve")


def samples(first: int, n: int, n_channels: int = 16) -> NDArray[np.int16]:
    index = np.arange(first, first + n, dtype=np.uint64)
    columns = [index, index >> np.uint64(16)]
    for k in range(2, n_channels):
        columns.append((index * np.uint64(2654435761 + 2 * k)) >> np.uint64(k % 16))
    return np.stack(columns[:n_channels], axis=1).astype(np.uint16).view(np.int16)


def digital(first: int, n: int) -> NDArray[np.uint32]:
    """Sixteen inputs that count in 64ths, and line 16 on for one in a hundred."""
    index = np.arange(first, first + n, dtype=np.uint32)
    return (index // 64) & 0xFFFF | (index % 100 == 0).astype(np.uint32) << 16


def blocks(
    n_samples: int | None, n_channels: int = 16, size: int = 500, first: int = 0
) -> Iterator[SignalBlock]:
    """`n_samples` in blocks; without end where None."""
    at = first
    while n_samples is None or at < first + n_samples:
        n = size if n_samples is None else min(size, first + n_samples - at)
        yield SignalBlock(samples(at, n, n_channels), at, scale_uv=0.195, digital=digital(at, n))
        at += n


def index_of(counts: NDArray[np.int16]) -> int:
    """The index of the first of (n, channels) counts, two channels at least."""
    low, high = counts[0, :2].view(np.uint16).tolist()
    return int(low) + (int(high) << 16)


def is_intact(counts: NDArray[np.int16]) -> bool:
    """Whether (n, channels) counts are consecutive, unchanged samples."""
    return np.array_equal(counts, samples(index_of(counts), *counts.shape))
