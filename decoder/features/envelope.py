"""Features of an envelope, which needs no band filter: its root, which spreads small activity out.

| name | value over the window, x >= 0 (a negative sample counts as 0) |
|---|---|
| root | mean sqrt(x_i) |
| mean | mean x_i |
| newest_root | sqrt of the window's last sample |
| oldest_root | sqrt of the window's first sample |

One vector per sample is a window and a hop of 1, one per two samples a window and a hop of 2. Without names in the
settings a channel has the column `root` only.
"""

from __future__ import annotations

import dataclasses
import math

import numpy as np
from numpy.typing import NDArray

from decoder.features import FeatureSettings
from decoder.features._grid import WindowFeatures
from decoder.kernels import compiled

__all__ = ["FEATURE_NAMES", "Envelope", "make"]

FEATURE_NAMES = ("root", "mean", "newest_root", "oldest_root")


def make(settings: FeatureSettings, channel_names: tuple[str, ...]) -> Envelope:
    """The extractor for these channels."""
    return Envelope(settings, channel_names)


class Envelope(WindowFeatures):
    """A FeatureExtractor for envelope streams."""

    def __init__(self, settings: FeatureSettings, channel_names: tuple[str, ...]) -> None:
        if not settings.features:
            settings = dataclasses.replace(settings, features=("root",))
        super().__init__(settings, channel_names, FEATURE_NAMES)
        self._ring = np.zeros((settings.window_samples, len(channel_names)), np.float32)

    @property
    def _memory(self) -> dict[str, NDArray[np.generic]]:
        return {"ring": self._ring}

    def _fill(
        self,
        conditioned: NDArray[np.float32],
        mask: NDArray[np.bool_],
        first_index: int,
        features: NDArray[np.float32],
        masked: NDArray[np.bool_],
    ) -> None:
        _extract(
            conditioned, mask, first_index, self._start, self.settings.hop_samples, self._chosen, self._ring,
            self._last_masked, features, masked,
        )  # fmt: skip


@compiled
def _extract(
    conditioned: NDArray[np.float32],
    mask: NDArray[np.bool_],
    first_index: int,
    start: int,
    hop: int,
    chosen: NDArray[np.int64],
    ring: NDArray[np.float32],
    last_masked: NDArray[np.int64],
    features: NDArray[np.float32],
    masked: NDArray[np.bool_],
) -> None:
    """The ring holds the last window; sums run from its oldest sample to its newest, in float64."""
    n, n_channels = conditioned.shape
    window, n_chosen = len(ring), len(chosen)
    emitted = 0
    for t in range(n):
        index = first_index + t
        at = index % window
        for c in range(n_channels):
            ring[at, c] = max(conditioned[t, c], np.float32(0.0))
            if mask[t, c]:
                last_masked[c] = index
        if (index + 1) % hop != 0 or index + 1 - start < window:
            continue
        for c in range(n_channels):
            roots, total = 0.0, 0.0
            for age in range(window):
                value = 1.0 * ring[(at + 1 + age) % window, c]
                roots += math.sqrt(value)
                total += value
            gone = last_masked[c] > index - window
            for column in range(n_chosen):
                feature = chosen[column]
                if feature == 0:
                    value = roots / window
                elif feature == 1:
                    value = total / window
                elif feature == 2:
                    value = math.sqrt(1.0 * ring[at, c])
                else:
                    value = math.sqrt(1.0 * ring[(at + 1) % window, c])
                features[emitted, c * n_chosen + column] = value
                masked[emitted, c * n_chosen + column] = gone
        emitted += 1
