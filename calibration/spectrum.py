"""How strong a signal is, band by band, while its person moves and while they rest."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from firmware_bridge.errors import NervehandError

WINDOW_S = 0.25  # of Welch's method: 4 Hz of resolution


def band_levels_uv(
    samples_uv: NDArray[np.float64],
    chosen: NDArray[np.bool_],
    rate_hz: float,
    bands_hz: Sequence[tuple[float, float]],
) -> NDArray[np.float64]:
    """Root-mean-square (bands, c) of (n, c) samples in microvolts within each band, where `chosen` (n,) holds.

    Welch's method over half-overlapping Hann windows that lie wholly in `chosen`. Raises NervehandError where none
    does.
    """
    length = round(WINDOW_S * rate_hz)
    kept = np.concatenate([[0], np.cumsum(chosen)])
    starts = np.arange(0, len(samples_uv) - length + 1, length // 2)
    starts = starts[kept[starts + length] - kept[starts] == length]
    if not len(starts):
        raise NervehandError(f"no {WINDOW_S:g} s in a row to take a spectrum of: give a longer recording")
    taper = np.hanning(length)[:, None]
    power = np.zeros((length // 2 + 1, samples_uv.shape[1]))
    for start in starts:
        window = samples_uv[start : start + length]
        power += np.abs(np.fft.rfft((window - window.mean(0)) * taper, axis=0)) ** 2
    # One-sided density times the width of a bin, so that the sum over all bins is the variance.
    power *= 2 / (len(starts) * length * np.sum(taper**2))
    frequency_hz = np.arange(length // 2 + 1) * (rate_hz / length)
    return np.array(
        [np.sqrt(power[(frequency_hz >= low) & (frequency_hz < high)].sum(0)) for low, high in bands_hz]
    )
