"""Features to what a network sees: compressed, standardised on the training rows, clipped, masked to the mean."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from decoder.kernels import compiled
from firmware_bridge.errors import NervehandError, StreamMismatchError

Compression = Literal["none", "log", "root"]
COMPRESSIONS: tuple[Compression, ...] = ("none", "log", "root")
LOG_FLOOR = 1e-6
"""'log' is the natural logarithm of max(value, LOG_FLOOR), the value in the feature's unit."""
CLIP = 8.0
"""By default: standard deviations from the training mean beyond which a feature tells no more."""
RESOLUTION = 1e-7
"""A column whose spread is below this part of its mean is constant: float32 cannot tell its values apart."""


@dataclass(frozen=True, slots=True, eq=False)
class Normalisation:
    """z = (g(feature) - mean) / scale, clipped to -clip..clip, column by column; a masked column gives 0, the mean.

    `mean` and `scale` are (f,) float32; g is the column's compression: 'none', 'log', or 'root', the signed
    square root. A scale of 0 marks a column that never varied in training: it gives 0.
    """

    mean: NDArray[np.float32]
    scale: NDArray[np.float32]
    clip: float
    compress: tuple[Compression, ...]
    _codes: NDArray[np.int64] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        f = len(self.compress)
        if self.mean.shape != (f,) or self.scale.shape != (f,):
            raise NervehandError(
                f"normalisation has means of shape {self.mean.shape}, scales of {self.scale.shape} and {f}"
                " compressions: give one of each per column"
            )
        if not (np.isfinite(self.mean).all() and np.isfinite(self.scale).all() and (self.scale >= 0).all()):
            raise NervehandError(
                "normalisation needs finite means and scales, no scale below 0: fit it again"
            )
        if not (math.isfinite(self.clip) and self.clip > 0):
            raise NervehandError(f"normalisation clips at {self.clip}: give standard deviations above 0")
        object.__setattr__(self, "mean", np.ascontiguousarray(self.mean, np.float32))
        object.__setattr__(self, "scale", np.ascontiguousarray(self.scale, np.float32))
        object.__setattr__(self, "_codes", _codes(self.compress))

    @property
    def n_features(self) -> int:
        return len(self.compress)

    def apply(self, features: NDArray[np.float32], masked: NDArray[np.bool_]) -> NDArray[np.float32]:
        """(k, f) finite features and their mask to (k, f) float32, a new array."""
        if features.ndim != 2 or features.shape[1] != self.n_features or masked.shape != features.shape:
            raise StreamMismatchError(
                f"features {features.shape} and mask {masked.shape} for a normalisation of {self.n_features} columns:"
                f" both must be (hops, {self.n_features})"
            )
        z = np.empty(features.shape, np.float32)
        _apply(features, masked, self.mean, self.scale, float(self.clip), self._codes, z)
        return z


def fit_normalisation(
    features: NDArray[np.float32],
    masked: NDArray[np.bool_],
    compress: tuple[Compression, ...],
    clip: float = CLIP,
) -> Normalisation:
    """Mean and standard deviation (ddof 0) of each compressed column over the training rows that are not masked.

    `features` and `masked` are (n, f). A column that is always masked, or never varies, gets scale 0.
    """
    f = len(compress)
    if features.ndim != 2 or features.shape[1] != f or masked.shape != features.shape:
        raise NervehandError(
            f"features {features.shape}, mask {masked.shape} and {f} compressions do not belong together:"
            " give (rows, columns) twice and one compression per column"
        )
    if not len(features):
        raise NervehandError("there is no training row to fit a normalisation on: give at least one trial")
    if not np.isfinite(features[~masked]).all():
        raise NervehandError("a training feature is not finite: mask the row or mend its source")
    codes = _codes(compress)
    mean, scale = np.zeros(f), np.zeros(f)
    for column in range(f):
        values = features[~masked[:, column], column].astype(np.float64)
        if not len(values):
            continue
        if codes[column] == 1:
            values = np.log(np.maximum(values, LOG_FLOOR))
        elif codes[column] == 2:
            values = np.copysign(np.sqrt(np.abs(values)), values)
        mean[column], spread = values.mean(), values.std()
        scale[column] = spread if spread > RESOLUTION * abs(mean[column]) else 0.0
    return Normalisation(mean.astype(np.float32), scale.astype(np.float32), clip, compress)


def _codes(compress: tuple[Compression, ...]) -> NDArray[np.int64]:
    unknown = sorted(set(compress) - set(COMPRESSIONS))
    if unknown:
        raise NervehandError(f"there is no compression {unknown[0]!r}: use one of {', '.join(COMPRESSIONS)}")
    return np.array([COMPRESSIONS.index(name) for name in compress], np.int64)


@compiled
def _apply(
    features: NDArray[np.float32],
    masked: NDArray[np.bool_],
    mean: NDArray[np.float32],
    scale: NDArray[np.float32],
    clip: float,
    codes: NDArray[np.int64],
    z: NDArray[np.float32],
) -> None:
    rows, columns = features.shape
    for row in range(rows):
        for column in range(columns):
            if masked[row, column] or scale[column] == 0.0:
                z[row, column] = 0.0
                continue
            value = 1.0 * features[row, column]
            if codes[column] == 1:
                value = math.log(max(value, LOG_FLOOR))
            elif codes[column] == 2:
                value = math.copysign(math.sqrt(abs(value)), value)
            value = (value - mean[column]) / scale[column]
            z[row, column] = min(max(value, -clip), clip)
