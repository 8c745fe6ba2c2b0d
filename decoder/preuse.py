"""What the channels are like now beside the training session, for the check before use."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from decoder.bundle import Bundle
from decoder.conditioning import conditioned_names
from firmware_bridge.errors import StreamMismatchError
from firmware_bridge.preuse_check import ChannelReading

LEAST_SPREAD = 0.05
"""Of a normalised feature at rest: what varied less in training is judged as if it had varied so much."""
UNKNOWN_SPREAD = 0.4
"""Where a bundle does not hold what rest was like: the mean of all training (0), and this for its spread. Of simulated
subjects at rest it leaves whole channels at 1.4 at the most, and dead ones at 2.1 at the least."""


class ChannelComparison:
    """Gathers the normalised features of a wearer at rest, and compares each channel's mean with the training's.

    A channel's distance is the mean, over its features, of |mean now - mean then| / spread then, where `then` is the
    training's rest (`Bundle.rest`). A channel that was never there in training is not compared.
    """

    def __init__(self, bundle: Bundle) -> None:
        manifest, f = bundle.manifest, bundle.normalisation.n_features
        self._names = conditioned_names(manifest.stream.channel_names, manifest.conditioning.rereference)
        rest = bundle.rest
        self._mean = np.zeros(f) if rest is None else rest.mean.astype(np.float64)
        spread = np.full(f, UNKNOWN_SPREAD) if rest is None else rest.spread.astype(np.float64)
        self._spread = np.maximum(spread, LEAST_SPREAD)
        self._is_trained = bundle.normalisation.scale > 0
        self._sum, self._there, self._n = np.zeros(f), np.zeros(f), 0

    def add(self, z: NDArray[np.float32], masked: NDArray[np.bool_]) -> None:
        """k hops: normalised features (k, f) and their mask (`DecodeChain.seen`)."""
        if z.ndim != 2 or z.shape != masked.shape or z.shape[1] != len(self._mean):
            raise StreamMismatchError(
                f"features {z.shape} and mask {masked.shape} for a decoder of {len(self._mean)} features"
            )
        self._n += len(z)
        self._sum += np.where(masked, 0.0, z).sum(0, dtype=np.float64)
        self._there += (~masked).sum(0)

    def readings(self) -> tuple[ChannelReading, ...]:
        """One per channel that the decoder was trained on; empty before the first hop."""
        if not self._n:
            return ()
        shape = (len(self._names), -1)
        trained = self._is_trained.reshape(shape)
        mean = self._sum / np.maximum(self._there, 1)
        distance = (np.abs(mean - self._mean) / self._spread).reshape(shape)
        there = self._there.reshape(shape) / self._n
        found = []
        for name, of, is_there, compared in zip(self._names, distance, there, trained, strict=True):
            if not compared.any():
                continue
            share = float(is_there.max())
            far = float(of[compared].mean()) if share > 0 else 0.0
            found.append(ChannelReading(name, 1.0 - share, far))
        return tuple(found)
