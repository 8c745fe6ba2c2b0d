"""Where windows end: the bookkeeping that every feature set shares."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from decoder.features import FeatureSettings
from firmware_bridge.errors import NervehandError, StreamMismatchError


class HopGrid:
    """Follows a stream of conditioned blocks and says at which indices a vector is due.

    `start` is the first index since the reset, `restarted` whether the block just taken was it.
    """

    def __init__(self, settings: FeatureSettings, n_channels: int) -> None:
        self._window = settings.window_samples
        self._hop = settings.hop_samples
        self._n_channels = n_channels
        self._next: int | None = None
        self.start = 0
        self.restarted = False

    def reset(self) -> None:
        self._next = None

    def take(
        self, conditioned: NDArray[np.float32], mask: NDArray[np.bool_], first_index: int
    ) -> tuple[NDArray[np.float32], NDArray[np.bool_], NDArray[np.int64]]:
        """The block as a kernel wants it, and the index of the last sample of each full window that ends in it."""
        n = len(conditioned)
        if conditioned.shape != (n, self._n_channels) or mask.shape != conditioned.shape:
            raise StreamMismatchError(
                f"samples {conditioned.shape} and mask {mask.shape} for features of {self._n_channels} channels:"
                f" both must be (samples, {self._n_channels})"
            )
        if conditioned.dtype != np.float32 or not conditioned.flags.c_contiguous:
            conditioned = np.ascontiguousarray(conditioned, np.float32)
        if not mask.flags.c_contiguous:
            mask = np.ascontiguousarray(mask)
        if n == 0:
            return conditioned, mask, np.empty(0, np.int64)
        self.restarted = self._next is None
        if self.restarted:
            self.start = first_index
        elif first_index != self._next:
            raise NervehandError(
                f"a block begins at index {first_index}, the last one ended before {self._next}: reset after a gap"
            )
        self._next = first_index + n
        hop = self._hop
        # The hop that holds the first index at which a full window can end.
        due = max(first_index, self.start + self._window - 1) // hop
        return conditioned, mask, np.arange((due + 1) * hop - 1, first_index + n, hop, dtype=np.int64)
