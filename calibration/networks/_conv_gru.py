"""Causal convolutions over time, then a gated recurrent unit, then linear heads: what the networks share.

Batch normalisation steadies training and is folded into the convolutions at export, so that a step pays nothing
for it. Dropout keeps one mask per stream and chunk (Gal and Ghahramani 2016), as suits a carried state.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor, nn

from calibration.networks._gru import GatedRecurrentUnit
from calibration.shapes import NetworkShape
from calibration.stepgraph import CausalConv, Dense, Gru, Layer, StepNetwork, Weights

State = tuple[Tensor, ...]


class CausalConvolution(nn.Module):
    """relu(norm(sum_k x[t - (K-1) + k] @ weight[k])); the state is the last K-1 inputs, (K-1, b, n_in)."""

    def __init__(self, n_inputs: int, n_outputs: int, kernel: int) -> None:
        super().__init__()
        self.kernel, self.n_inputs = kernel, n_inputs
        linear = nn.Linear(kernel * n_inputs, n_outputs, bias=False)
        self.weight = nn.Parameter(linear.weight.detach().t().contiguous())
        self.norm = nn.BatchNorm1d(n_outputs, momentum=0.05)

    def forward(self, x: Tensor, past: Tensor) -> tuple[Tensor, Tensor]:
        t, b, _ = x.shape
        whole = torch.cat([past, x])
        columns = torch.cat([whole[k : k + t] for k in range(self.kernel)], dim=2)
        y = torch.relu(self.norm(columns.reshape(t * b, -1) @ self.weight))
        return y.view(t, b, -1), whole[t:]

    def folded(self) -> tuple[Weights, Weights]:
        """Weight (kernel * n_in, n_out) and bias with the normalisation of evaluation mode inside, in float32."""
        mean, variance = self.norm.running_mean, self.norm.running_var
        assert mean is not None
        assert variance is not None  # both are tracked
        scale = self.norm.weight.detach().double() / torch.sqrt(variance.double() + self.norm.eps)
        bias = self.norm.bias.detach().double() - mean.double() * scale
        return _numpy(self.weight.detach().double() * scale), _numpy(bias)


class StepModule(nn.Module):
    """A network over (t, b, n_features) with carried state; `step_network` is the same function step by step.

    `dropout` acts before and after the recurrent unit, in training only.
    """

    def __init__(
        self, shape: NetworkShape, n_features: int, n_outputs: int, n_gestures: int, dropout: float
    ) -> None:
        super().__init__()
        self.n_features, self.n_outputs, self.n_gestures = n_features, n_outputs, n_gestures
        self.dropout = dropout
        layers = shape.convolutions_of(n_features)
        widths = [n_features, *(layer.n_outputs for layer in layers)]
        self.convolutions = nn.ModuleList(
            CausalConvolution(n_in, layer.n_outputs, layer.kernel)
            for (n_in, _), layer in zip(pairwise(widths), layers, strict=True)
        )
        self.recurrent = GatedRecurrentUnit(widths[-1], shape.n_hidden)
        self.gesture = nn.Linear(shape.n_hidden, n_gestures)
        self.outputs = nn.Linear(shape.n_hidden, n_outputs) if n_outputs else None

    def _convolutions(self) -> Iterable[CausalConvolution]:
        for layer in self.convolutions:
            assert isinstance(layer, CausalConvolution)
            yield layer

    def initial_state(self, n_streams: int) -> State:
        """What a reset engine holds: zeros."""
        past = [torch.zeros(c.kernel - 1, n_streams, c.n_inputs) for c in self._convolutions()]
        return (*past, torch.zeros(n_streams, self.recurrent.n_hidden))

    def forward(self, x: Tensor, state: State) -> tuple[Tensor | None, Tensor, State]:
        """Outputs (t, b, n_outputs) or None, gesture logits (t, b, n_gestures), and the next state, detached."""
        following: list[Tensor] = []
        for convolution, past in zip(self._convolutions(), state, strict=False):
            x, past = convolution(x, past)
            following.append(past.detach())
        x = self.recurrent(self._dropped(x), state[-1])
        following.append(x[-1].detach())
        x = self._dropped(x)
        return None if self.outputs is None else self.outputs(x), self.gesture(x), tuple(following)

    def _dropped(self, x: Tensor) -> Tensor:
        if not self.training or self.dropout == 0:
            return x
        kept = torch.rand(1, x.shape[1], x.shape[2]) >= self.dropout
        return x * (kept.float() / (1 - self.dropout))

    def step_network(self) -> StepNetwork:
        """The NumPy weights of one step, normalisation folded in."""
        layers: list[Layer] = []
        for convolution in self._convolutions():
            weight, bias = convolution.folded()
            if convolution.kernel == 1:
                layers.append(Dense(weight, bias, "relu"))
            else:
                shaped = weight.reshape(convolution.kernel, convolution.n_inputs, -1)
                layers.append(CausalConv(shaped, bias, "relu"))
        unit = self.recurrent
        layers.append(
            Gru(
                _numpy(unit.input_weight),
                _numpy(unit.recurrent_weight),
                _numpy(unit.input_bias),
                _numpy(unit.recurrent_bias),
            )
        )
        outputs = None if self.outputs is None else _dense(self.outputs)
        return StepNetwork(tuple(layers), outputs, _dense(self.gesture))


def _dense(linear: nn.Linear) -> Dense:
    return Dense(_numpy(linear.weight.t()), _numpy(linear.bias))


def _numpy(values: Tensor) -> Weights:
    return np.array(values.detach().float().numpy(), dtype=np.float32, order="C")
