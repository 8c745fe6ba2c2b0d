"""The layers of each network by name; with random weights, for the bench, without training and without torch."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from calibration.stepgraph import CausalConv, Dense, Gru, Layer, StepNetwork, Weights
from firmware_bridge.errors import NervehandError


@dataclass(frozen=True, slots=True)
class Convolution:
    """A causal convolution over the last `kernel` hops, with ReLU; a kernel of 1 sees the newest hop only."""

    n_outputs: int
    kernel: int


@dataclass(frozen=True, slots=True)
class NetworkShape:
    """Convolutions, then a gated recurrent unit of `n_hidden`, then linear heads.

    Where there are more than `widest` features, a convolution of kernel 1 first narrows them to `narrowed`.
    """

    convolutions: tuple[Convolution, ...]
    n_hidden: int
    widest: int = 1_000_000
    narrowed: int = 64

    def convolutions_of(self, n_features: int) -> tuple[Convolution, ...]:
        """All convolutions for this many features."""
        if n_features <= self.widest:
            return self.convolutions
        return (Convolution(self.narrowed, 1), *self.convolutions)


COMPACT = NetworkShape((Convolution(96, 5), Convolution(128, 5)), n_hidden=256, widest=64)
PAPER = NetworkShape((Convolution(256, 3), Convolution(256, 3)), n_hidden=512)
SHAPES = {"compact": COMPACT, "paper": PAPER}


def random_step_network(
    network: str, n_features: int, n_outputs: int, n_gestures: int, seed: int
) -> StepNetwork:
    """The step network `network` for this many features, outputs and gestures; small seeded weights."""
    if network not in SHAPES:
        raise NervehandError(f"there is no network {network!r}: use {' or '.join(SHAPES)}")
    shape = SHAPES[network]
    rng = np.random.default_rng(seed)

    def weights(*sizes: int) -> Weights:
        drawn: Weights = (0.5 * rng.standard_normal(sizes) / np.sqrt(max(sizes[-2:]))).astype(np.float32)
        return drawn

    layers: list[Layer] = []
    width = n_features
    for convolution in shape.convolutions_of(n_features):
        kernel, n_out = convolution.kernel, convolution.n_outputs
        if kernel == 1:
            layers.append(Dense(weights(width, n_out), weights(n_out), "relu"))
        else:
            layers.append(CausalConv(weights(kernel, width, n_out), weights(n_out), "relu"))
        width = n_out
    h = shape.n_hidden
    layers.append(Gru(weights(width, 3 * h), weights(h, 3 * h), weights(3 * h), weights(3 * h)))
    outputs = Dense(weights(h, n_outputs), weights(n_outputs)) if n_outputs else None
    return StepNetwork(tuple(layers), outputs, Dense(weights(h, n_gestures), weights(n_gestures)))
