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

from decoder.features import FeatureBlock, FeatureSettings, column_names, selected
from decoder.features._grid import HopGrid
from decoder.kernels import compiled

__all__ = ["FEATURE_NAMES", "Envelope", "make"]

FEATURE_NAMES = ("root", "mean", "newest_root", "oldest_root")


def make(settings: FeatureSettings, channel_names: tuple[str, ...]) -> Envelope:
    """The extractor for these channels."""
    return Envelope(settings, channel_names)


class Envelope:
    """A FeatureExtractor for envelope streams."""

    def __init__(self, settings: FeatureSettings, channel_names: tuple[str, ...]) -> None:
        if not settings.features:
            settings = dataclasses.replace(settings, features=("root",))
        chosen = selected(settings, FEATURE_NAMES)
        n_channels = len(channel_names)
        self.settings = settings
        self._names = column_names(channel_names, chosen)
        self._grid = HopGrid(settings, n_channels)
        self._chosen = np.array([FEATURE_NAMES.index(name) for name in chosen], np.int64)
        self._ring = np.zeros((settings.window_samples, n_channels), np.float32)
        self._ring_mask = np.zeros((settings.window_samples, n_channels), np.bool_)

    @property
    def names(self) -> tuple[str, ...]:
        return self._names

    @property
    def n_features(self) -> int:
        return len(self._names)

    def reset(self) -> None:
        """Forget the past: the next block may begin at any index, and the first window begins with it or later."""
        self._grid.reset()

    def process(
        self, conditioned: NDArray[np.float32], mask: NDArray[np.bool_], first_index: int
    ) -> FeatureBlock:
        """Take (n, c) finite samples and their mask, give the windows that end within them, as new arrays."""
        conditioned, mask, index = self._grid.take(conditioned, mask, first_index)
        features = np.empty((len(index), len(self._names)), np.float32)
        masked = np.empty((len(index), len(self._names)), np.bool_)
        first_due = index[0] if len(index) else -1
        _extract(
            conditioned, mask, first_index, first_due, self.settings.hop_samples, self._chosen, self._ring,
            self._ring_mask, features, masked,
        )  # fmt: skip
        return FeatureBlock(features, masked, index)


@compiled
def _extract(
    conditioned: NDArray[np.float32],
    mask: NDArray[np.bool_],
    first_index: int,
    first_due: int,
    hop: int,
    chosen: NDArray[np.int64],
    ring: NDArray[np.float32],
    ring_mask: NDArray[np.bool_],
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
            ring_mask[at, c] = mask[t, c]
        if emitted == len(features) or index != first_due + emitted * hop:
            continue
        for c in range(n_channels):
            roots, total, gone = 0.0, 0.0, False
            for age in range(window):
                row = (at + 1 + age) % window
                value = 1.0 * ring[row, c]
                roots += math.sqrt(value)
                total += value
                gone |= ring_mask[row, c]
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
