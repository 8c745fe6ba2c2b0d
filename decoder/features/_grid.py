"""The frame of every feature set: names, the grid of hops, what is carried from block to block, and the way out."""

from __future__ import annotations

from abc import ABC, abstractmethod

import numpy as np
from numpy.typing import NDArray

from decoder.carried import Carried, packed, refill, whole, whole_or_none
from decoder.features import FeatureBlock, FeatureSettings, column_names, selected
from firmware_bridge.errors import NervehandError, StreamMismatchError

NEVER = np.iinfo(np.int64).min // 2
"""When a channel was last masked that never was since the reset."""


class WindowFeatures(ABC):
    """A FeatureExtractor but for the arithmetic, which a set adds in `_fill`.

    For that it finds `_start`, the first index since the reset, `_last_masked` (c,), at which index each channel was
    masked last, which it keeps up to date, and `_chosen`, the features of a channel as places in `offered`.
    """

    def __init__(
        self, settings: FeatureSettings, channel_names: tuple[str, ...], offered: tuple[str, ...]
    ) -> None:
        chosen = selected(settings, offered)
        self.settings = settings
        self._names = column_names(channel_names, chosen)
        self._n_channels = len(channel_names)
        self._chosen = np.array([offered.index(name) for name in chosen], np.int64)
        self._next: int | None = None
        self._start = 0
        self._last_masked = np.full(self._n_channels, NEVER, np.int64)

    @property
    def names(self) -> tuple[str, ...]:
        return self._names

    @property
    def n_features(self) -> int:
        return len(self._names)

    def reset(self) -> None:
        """Forget the past: the next block may begin at any index, and the first window begins with it or later."""
        self._next = None

    def carried(self) -> Carried:
        """Copies of all that it carries from block to block."""
        return packed(self._all_memory, next=self._next, start=self._start)

    def restore(self, carried: Carried) -> None:
        """Go on from there."""
        next_index, start = whole_or_none(carried, "next"), whole(carried, "start")
        refill(self._all_memory, carried)
        self._next, self._start = next_index, start

    @property
    def _all_memory(self) -> dict[str, NDArray[np.generic]]:
        return {"last_masked": self._last_masked, **self._memory}

    @property
    @abstractmethod
    def _memory(self) -> dict[str, NDArray[np.generic]]:
        """The arrays that a set's arithmetic carries from block to block, by name."""

    def process(
        self, conditioned: NDArray[np.float32], mask: NDArray[np.bool_], first_index: int
    ) -> FeatureBlock:
        """Take (n, c) finite samples and their mask, give the windows that end within them, as new arrays."""
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
        index = self._due(first_index, n) if n else np.empty(0, np.int64)
        features = np.empty((len(index), len(self._names)), np.float32)
        masked = np.empty((len(index), len(self._names)), np.bool_)
        if n:
            self._fill(conditioned, mask, first_index, features, masked)
        return FeatureBlock(features, masked, index)

    @abstractmethod
    def _fill(
        self,
        conditioned: NDArray[np.float32],
        mask: NDArray[np.bool_],
        first_index: int,
        features: NDArray[np.float32],
        masked: NDArray[np.bool_],
    ) -> None:
        """Take (n, c) samples, n >= 1, from `first_index` on; fill a row for each full window that ends in them.

        One ends at each index j with (j + 1) % hop == 0 that lies a window or more after `_start`.
        """

    def _due(self, first_index: int, n: int) -> NDArray[np.int64]:
        """The index of the last sample of each full window that ends in the next n samples."""
        if self._next is None:
            self._start = first_index
            self._last_masked[:] = NEVER
        elif first_index != self._next:
            raise NervehandError(
                f"a block begins at index {first_index}, the last one ended before {self._next}: reset after a gap"
            )
        self._next = first_index + n
        hop = self.settings.hop_samples
        # The hop that holds the first index at which a full window can end.
        due = max(first_index, self._start + self.settings.window_samples - 1) // hop
        return np.arange((due + 1) * hop - 1, first_index + n, hop, dtype=np.int64)
