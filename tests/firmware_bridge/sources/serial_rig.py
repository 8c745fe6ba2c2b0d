"""A described stream, a patient device and a judge of its blocks, for the tests of the serial front-end."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from firmware_bridge.sources.serial import SerialDevice
from firmware_bridge.stream import SignalBlock, StreamInfo
from tests.firmware_bridge.sources import patterned

PATIENCE_S = 60.0
"""For a machine that does nothing else for seconds: a device under test is not called silent before."""

SCALE_UV = 0.195


def info(n_channels: int = 16) -> StreamInfo:
    """With every field that a description can have."""
    return replace(
        patterned.info(n_channels),
        electrodes=tuple(f"median/{i:02d}" for i in range(n_channels)),
        nerve="median",
        full_scale_uv=32767 * SCALE_UV,
        hardware_band_hz=(0.1, 7500.0),
        mains_hz=60.0,
        stimulation_lines=(16,),
    )


def blocks(first: int, n_samples: int, size: int, n_channels: int = 16) -> Iterator[SignalBlock]:
    """The pattern in blocks of `size`, made a few thousand samples at a time."""
    for large in patterned.blocks(n_samples, n_channels, size * max(1, 4096 // size), first):
        for at in range(0, large.n_samples, size):
            rows = slice(at, at + size)
            digital = None if large.digital is None else large.digital[rows]
            yield replace(
                large, samples=large.samples[rows], digital=digital, first_sample=large.first_sample + at
            )


def endless(size: int = 20, n_channels: int = 16, first: int = 0) -> Iterator[SignalBlock]:
    return blocks(first, 2**31 - 1, size, n_channels)


def patient(port: str, n_channels: int = 16, stall_s: float = PATIENCE_S) -> SerialDevice:
    return SerialDevice(port, info(n_channels), stall_s=stall_s, answer_s=PATIENCE_S)


def is_pattern(block: SignalBlock, shift: int = 0) -> bool:
    """Whether samples and lines are those of the block's indices, `shift` further on in the pattern."""
    first, n = block.first_sample + shift, block.n_samples
    same = np.array_equal(block.samples, patterned.samples(first, n, block.samples.shape[1]))
    return same and block.digital is not None and np.array_equal(block.digital, patterned.digital(first, n))
