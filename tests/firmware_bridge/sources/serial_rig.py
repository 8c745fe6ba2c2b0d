"""Sample patterns and shortcuts for the tests of the serial front-end."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from firmware_bridge.sources.serial import SerialDevice
from firmware_bridge.stream import SignalBlock, StreamInfo

PATIENCE_S = 60.0
"""For a machine that does nothing else for seconds: a device under test is not called silent before."""

SCALE_UV = 0.195


def info(n_channels: int = 16, rate_hz: float = 10_000.0) -> StreamInfo:
    return StreamInfo(
        rate_hz=rate_hz,
        channel_names=tuple(f"ch{i:02d}" for i in range(n_channels)),
        kind="nerve",
        electrodes=tuple(f"median/{i:02d}" for i in range(n_channels)),
        nerve="median",
        full_scale_uv=32767 * SCALE_UV,
        hardware_band_hz=(0.1, 7500.0),
        stimulation_lines=(3,),
    )


def pattern(first: int, n: int, n_channels: int) -> NDArray[np.int16]:
    """(n, n_channels) counts that tell index and channel: a multiplicative hash of both."""
    index = np.arange(first, first + n, dtype=np.uint64)[:, None]
    mixed = (index * np.uint64(n_channels) + np.arange(n_channels, dtype=np.uint64)) * np.uint64(
        0x9E3779B97F4A7C15
    )
    return (mixed >> np.uint64(48)).astype(np.uint16).view(np.int16)


def blocks(first: int, n_samples: int, size: int, n_channels: int = 16) -> Iterator[SignalBlock]:
    """`n_samples` of the pattern in blocks of `size`, with the index's low 32 bits as digital lines."""
    for start in range(first, first + n_samples, size):
        n = min(size, first + n_samples - start)
        digital = (np.arange(start, start + n) % 2**32).astype(np.uint32)
        yield SignalBlock(pattern(start, n, n_channels), start, scale_uv=SCALE_UV, digital=digital)


def endless(size: int = 20, n_channels: int = 16, first: int = 0) -> Iterator[SignalBlock]:
    return blocks(first, 2**40, size, n_channels)


def patient(port: str, n_channels: int = 16, stall_s: float = PATIENCE_S) -> SerialDevice:
    return SerialDevice(port, info(n_channels), stall_s=stall_s, answer_s=PATIENCE_S)


def is_pattern(block: SignalBlock, shift: int = 0) -> bool:
    """Whether the block's samples are those of its indices, `shift` further on in the pattern."""
    first = block.first_sample + shift
    same = np.array_equal(block.samples, pattern(first, block.n_samples, block.samples.shape[1]))
    index = np.arange(first, first + block.n_samples)
    return same and (block.digital is None or np.array_equal(block.digital, index % 2**32))
