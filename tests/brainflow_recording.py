"""Recordings in BrainFlow's own file format, written by its library, from data that a seed gives."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from firmware_bridge.sources.brainflow import files_of_package

ROWS, CHANNELS, PACKAGE, STAMP = 32, slice(1, 17), 0, 30
"""Of the synthetic board's arrays."""


def microvolts(first: int, n: int, seed: int = 1) -> NDArray[np.float64]:
    """(16, n) of counts of 0.195 uV, each the double nearest to its decimal: what the file's text holds exactly."""
    generator = np.random.Generator(np.random.Philox(key=seed, counter=[0, 0, 0, first]))
    counts = generator.integers(-32_768, 32_768, (16, n))
    return counts * 195 / 1000


def write_recording(
    path: Path, samples: NDArray[np.float64], packages: NDArray[np.int64], rate_hz: float, mode: str = "w"
) -> None:
    """A recording of the synthetic board, of samples (16, n) with package numbers (n,), stamped `rate_hz` apart."""
    from brainflow import data_filter

    data_filter.files = files_of_package  # as the front-end does for the other half of the library
    data = np.zeros((ROWS, samples.shape[1]))
    data[PACKAGE] = packages % 256
    data[CHANNELS] = samples
    data[STAMP] = 1_700_000_000 + packages / rate_hz
    data_filter.DataFilter.write_file(data, str(path), mode)
