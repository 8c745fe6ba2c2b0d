"""What the wearer wants, hop by hop."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class EngineOutput:
    """The network's raw answers to k feature vectors.

    `sample_index` (k,) int64: last raw sample each rests on; `outputs` (k, n_outputs) float32 in the units of
    the bundle's outputs; `probabilities` (k, n_gestures) float32, rows summing to 1; `warming` (k,) bool;
    `healthy_fraction` (k,) float32.
    """

    sample_index: NDArray[np.int64]
    outputs: NDArray[np.float32]
    probabilities: NDArray[np.float32]
    warming: NDArray[np.bool_]
    healthy_fraction: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.sample_index)


@dataclass(frozen=True, slots=True)
class Intents:
    """k decided intents, one per hop, struct of arrays.

    `outputs` (k, n_outputs) float32 are the bundle's named outputs after smoothing; `positions` (k, 6)
    float32 in -1..1 follow from them by the bundle's map; `gesture` (k,) int16 indexes the bundle's gestures
    (0 is rest); `probability` (k,) float32 belongs to the decided gesture.
    """

    sample_index: NDArray[np.int64]
    outputs: NDArray[np.float32]
    positions: NDArray[np.float32]
    gesture: NDArray[np.int16]
    probability: NDArray[np.float32]
    warming: NDArray[np.bool_]
    healthy_fraction: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.sample_index)


class IntentDigest:
    """Running SHA-256 over intents, for any cutting into blocks.

    Per hop, little-endian: sample index int64, outputs float32, gesture int16, probability float32.
    Host times are left out, so that two runs over one recording compare.
    """

    def __init__(self) -> None:
        self._hash = hashlib.sha256()

    def update(self, intents: Intents) -> None:
        n_outputs = intents.outputs.shape[1]
        row = np.dtype([("s", "<i8"), ("o", "<f4", (n_outputs,)), ("g", "<i2"), ("p", "<f4")])
        rows = np.zeros(len(intents), row)
        rows["s"], rows["o"] = intents.sample_index, intents.outputs
        rows["g"], rows["p"] = intents.gesture, intents.probability
        self._hash.update(rows.tobytes())

    def hexdigest(self) -> str:
        return self._hash.hexdigest()
