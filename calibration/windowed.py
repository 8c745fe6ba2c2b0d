"""The published network as it was published: the last second of features, from a zero state, at every hop.

A yardstick for the difficulty of data, never what decodes: run like this it costs fifty times the same network
run step by step. Convolutions and a recurrent unit as in `calibration.shapes.PAPER`, 1.6 M parameters for 224
features; mean squared error of the positions; Adam, its rate cut tenfold on a stall. It needs torch.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from calibration.datasets import Piece
from calibration.networks._conv_gru import CausalConvolution
from calibration.networks._gru import GatedRecurrentUnit
from calibration.shapes import PAPER, NetworkShape
from calibration.training import Progress, torch_set_up
from firmware_bridge.errors import NervehandError

N_STEPS = 50
"""Hops that the recurrent unit runs over: about a second of 20 ms hops."""
PREDICTED_AT_ONCE = 1024


@dataclass(frozen=True, slots=True)
class WindowedSettings:
    """How the network is trained.

    A window begins every `stride` hops, at an offset drawn anew in each epoch, and its last `supervised` steps are
    scored: with 1 the last step only, as it is used; with more, a window teaches as much as many that overlap, at
    the cost of one. The rate is divided by ten once: after the first epoch whose loss is not below `stall` of the
    least so far, and for the `last_epochs` in any case. Batch and epochs are those of the paper as far as they are
    known; a first rate above 2e-3 learns less.
    """

    epochs: int = 10
    batch: int = 38
    rate: float = 2e-3
    stride: int = 20
    supervised: int = 25
    stall: float = 0.98
    last_epochs: int = 2
    dropout: float = 0.5
    largest_gradient: float = 1.0
    shape: NetworkShape = PAPER

    def __post_init__(self) -> None:
        if not 1 <= self.supervised <= N_STEPS:
            raise NervehandError(f"{self.supervised} supervised steps: give 1 to {N_STEPS}")
        if self.stride < 1 or self.epochs < 1 or self.batch < 1:
            raise NervehandError(
                f"stride {self.stride}, {self.epochs} epochs and batches of {self.batch}: give 1 or more of each"
            )


class WindowedNetwork(nn.Module):
    """Features (t, b, f) to outputs (t - led_in, b, o): `led_in` hops are what the convolutions look back on."""

    def __init__(self, shape: NetworkShape, n_features: int, n_outputs: int, dropout: float) -> None:
        super().__init__()
        layers = shape.convolutions_of(n_features)
        widths = [n_features, *(layer.n_outputs for layer in layers)]
        self.n_features = n_features
        self.convolutions = nn.ModuleList(
            CausalConvolution(n_in, layer.n_outputs, layer.kernel)
            for (n_in, _), layer in zip(pairwise(widths), layers, strict=True)
        )
        self.led_in = sum(layer.kernel - 1 for layer in layers)
        self.dropout = nn.Dropout(dropout)
        self.recurrent = GatedRecurrentUnit(widths[-1], shape.n_hidden)
        self.outputs = nn.Linear(shape.n_hidden, n_outputs)

    def convolved(self, x: Tensor) -> Tensor:
        """What the recurrent unit sees (t - led_in, b, width) of features (t, b, f)."""
        for convolution in self.convolutions:
            assert isinstance(convolution, CausalConvolution)
            back = convolution.kernel - 1
            x, _ = convolution(x[back:], x[:back])
        return x

    def forward(self, x: Tensor) -> Tensor:
        x = self.dropout(self.convolved(x))
        hidden = self.recurrent(x, x.new_zeros(x.shape[1], self.recurrent.n_hidden))
        answers: Tensor = self.outputs(self.dropout(hidden))
        return answers


class WindowedDecoder:
    """A trained network at work: at every hop it begins anew, from zero, on the last `N_STEPS` hops.

    What came before the first hop counts as the training mean. It has no gestures: `process` gives (k, 0)
    probabilities beside the outputs (k, o).
    """

    def __init__(self, network: WindowedNetwork, threads: int = 1) -> None:
        self._network, self._threads = network.eval(), threads
        self.reset()

    @property
    def n_parameters(self) -> int:
        return sum(parameter.numel() for parameter in self._network.parameters())

    def reset(self) -> None:
        """Forget the last second."""
        network = self._network
        self._past = np.zeros((N_STEPS - 1 + network.led_in, network.n_features), np.float32)

    def process(self, z: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Normalised features (k, f) to outputs (k, o), and no probabilities (k, 0)."""
        k = len(z)
        history = np.concatenate([self._past, z])
        self._past = history[k:]
        if k == 0:
            return np.zeros((0, self._network.outputs.out_features), np.float32), np.zeros((0, 0), np.float32)
        with torch_set_up(0, self._threads), torch.no_grad():
            outputs = np.concatenate(
                [
                    self._outputs(torch.from_numpy(history[a : a + PREDICTED_AT_ONCE + len(self._past)]))
                    for a in range(0, k, PREDICTED_AT_ONCE)
                ]
            )
        return outputs, np.zeros((k, 0), np.float32)

    def _outputs(self, history: Tensor) -> NDArray[np.float32]:
        """The answers at all hops of `history` (t, f) that have a whole window behind them."""
        network, unit = self._network, self._network.recurrent
        seen = network.convolved(history[:, None])[:, 0]
        # Overlapping windows share what the input gives to the gates: step s of all windows is one slice of it.
        from_x = torch.addmm(unit.input_bias, seen, unit.input_weight)
        n, h = len(seen) - N_STEPS + 1, unit.n_hidden
        state = history.new_zeros(n, h)
        for step in range(N_STEPS):
            x = from_x[step : step + n]
            g = torch.addmm(unit.recurrent_bias, state, unit.recurrent_weight)
            gates = torch.sigmoid(x[:, : 2 * h] + g[:, : 2 * h])
            new = torch.tanh(torch.addcmul(x[:, 2 * h :], gates[:, :h], g[:, 2 * h :]))
            state = torch.lerp(new, state, gates[:, h:])
        answers: NDArray[np.float32] = network.outputs(state).numpy()
        return answers


def fit_windowed(
    z: NDArray[np.float32],
    positions: NDArray[np.float32],
    pieces: Sequence[Piece],
    settings: WindowedSettings | None = None,
    *,
    seed: int = 0,
    threads: int = 1,
    on_progress: Callable[[Progress], None] = lambda progress: None,
) -> WindowedDecoder:
    """Train on the windows of normalised features `z` (n, f) that lie within a run of connected pieces.

    `positions` (n, d) in -1..1 are what is learned. The same seed and threads give the
    same weights. Raises NervehandError where no window fits or the training diverges.
    """
    chosen = WindowedSettings() if settings is None else settings
    if len(positions) != len(z):
        raise NervehandError(f"{len(z)} feature vectors need as many positions, not {len(positions)}")
    if not np.isfinite(positions).all():
        raise NervehandError("a position is not known: the windowed network needs ground truth at every hop")
    rng = np.random.default_rng(seed)
    with torch_set_up(seed, threads):
        network = WindowedNetwork(chosen.shape, z.shape[1], positions.shape[1], chosen.dropout)
        length = N_STEPS + network.led_in
        runs = [run for run in _runs(pieces) if run[1] - run[0] >= length]
        if not runs:
            raise NervehandError(f"no stretch of {length} hops lies within the training trials: record more")
        features, targets = torch.from_numpy(z), torch.from_numpy(positions)
        optimiser = torch.optim.Adam(network.parameters(), lr=chosen.rate)
        network.train()
        least, is_cut, began = math.inf, False, time.monotonic()
        for epoch in range(1, chosen.epochs + 1):
            starts = _starts(runs, length, chosen.stride, rng)
            mean = _epoch(network, optimiser, features, targets, starts, chosen)
            if not math.isfinite(mean):
                raise NervehandError(f"training diverged in epoch {epoch}: the loss is {mean}")
            elapsed = time.monotonic() - began
            on_progress(
                Progress(epoch, chosen.epochs, mean, elapsed, elapsed / epoch * (chosen.epochs - epoch))
            )
            if not is_cut and (mean > chosen.stall * least or epoch >= chosen.epochs - chosen.last_epochs):
                is_cut = True
                for group in optimiser.param_groups:
                    group["lr"] /= 10
            least = min(least, mean)
    return WindowedDecoder(network, threads)


def _epoch(
    network: WindowedNetwork,
    optimiser: torch.optim.Optimizer,
    features: Tensor,
    targets: Tensor,
    starts: NDArray[np.int64],
    settings: WindowedSettings,
) -> float:
    """One gradient step per batch of windows; the mean loss."""
    length, scored, total = N_STEPS + network.led_in, slice(-settings.supervised, None), 0.0
    for first in range(0, len(starts), settings.batch):
        rows = torch.from_numpy(starts[first : first + settings.batch] + np.arange(length)[:, None])
        loss = (network(features[rows])[scored] - targets[rows[scored]]).square().mean()
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(network.parameters(), settings.largest_gradient)
        optimiser.step()
        total += float(loss.detach()) * rows.shape[1]
    return total / len(starts)


def _runs(pieces: Sequence[Piece]) -> list[tuple[int, int]]:
    """Rows (start, stop) of the stretches that neighbouring pieces of one segment make up."""
    runs: list[tuple[int, int]] = []
    last: Piece | None = None
    for piece in sorted(pieces, key=lambda piece: piece.start):
        if last is not None and (last.stop, last.segment) == (piece.start, piece.segment):
            runs[-1] = (runs[-1][0], piece.stop)
        else:
            runs.append((piece.start, piece.stop))
        last = piece
    return runs


def _starts(
    runs: Sequence[tuple[int, int]], length: int, stride: int, rng: np.random.Generator
) -> NDArray[np.int64]:
    """Where the windows of an epoch begin, in the order in which they come."""
    found = [
        np.arange(a + rng.integers(min(stride, b - a - length + 1)), b - length + 1, stride) for a, b in runs
    ]
    return np.concatenate(found)[rng.permutation(sum(map(len, found)))]
