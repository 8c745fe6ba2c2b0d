"""The layers of each network by name, with random weights: for the bench, without training and without torch."""

from __future__ import annotations

import numpy as np

from calibration.stepgraph import CausalConv, Dense, Gru, Layer, StepNetwork, Weights
from firmware_bridge.errors import NervehandError


def random_step_network(
    network: str, n_features: int, n_outputs: int, n_gestures: int, seed: int
) -> StepNetwork:
    """The step network `network` for this many features, outputs and gestures; small seeded weights."""
    rng = np.random.default_rng(seed)

    def weights(*shape: int) -> Weights:
        return (rng.standard_normal(shape) / np.sqrt(max(shape[-2:]))).astype(np.float32) * np.float32(0.5)

    layers: tuple[Layer, ...]
    if network == "paper":
        layers = (
            CausalConv(weights(3, n_features, 256), weights(256), "relu"),
            CausalConv(weights(3, 256, 256), weights(256), "relu"),
            Gru(weights(256, 3 * 512), weights(512, 3 * 512), weights(3 * 512), weights(3 * 512)),
        )
        width = 512
    elif network == "compact":
        layers = (
            Dense(weights(n_features, 64), weights(64), "relu"),
            CausalConv(weights(5, 64, 96), weights(96), "relu"),
            Gru(weights(96, 3 * 192), weights(192, 3 * 192), weights(3 * 192), weights(3 * 192)),
        )
        width = 192
    else:
        raise NervehandError(f"there is no network {network!r}: use compact or paper")
    return StepNetwork(
        layers,
        Dense(weights(width, n_outputs), weights(n_outputs)),
        Dense(weights(width, n_gestures), weights(n_gestures)),
    )
