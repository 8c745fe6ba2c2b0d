"""The step graph: one feature vector and the carried state in, one answer and the next state out, as ONNX.

Built from plain NumPy weights with `onnx.helper`, so that no exporter decides the opset, the operators or
the file layout. Opset 13, IR 8, batch 1, fixed shapes and only operators that TensorRT 8.2 accepts
(onnx-tensorrt, release/8.2-GA, docs/operators.md). Convolutions over time become one `Gemm` over the
concatenated last samples, because a step has only one new column.

Inputs: `features` (1, f), then `state_<i>` (1, n) for every layer that remembers.
Outputs: `outputs` (1, o) unless the network has none, `probabilities` (1, g), then `state_<i>_next`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from decoder.engines.program import LARGEST_NUMBER
from firmware_bridge.errors import NervehandError

Weights = NDArray[np.float32]
Activation = Literal["none", "relu", "tanh", "silu"]

OPSET = 13
IR_VERSION = 8
TENSORRT_8_2_OPERATORS = frozenset(
    {"Add", "Concat", "Div", "Gemm", "Identity", "MatMul", "Mul", "ReduceMean", "Relu", "Sigmoid", "Slice",
     "Softmax", "Split", "Sqrt", "Sub", "Tanh"}
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Dense:
    """activation(x @ weight + bias); weight (n_in, n_out), bias (n_out,)."""

    weight: Weights
    bias: Weights
    activation: Activation = "none"


@dataclass(frozen=True, slots=True)
class CausalConv:
    """activation(sum_k x[t - (K-1) + k] @ weight[k] + bias); weight (K, n_in, n_out).

    Remembers K-1 inputs.
    """

    weight: Weights
    bias: Weights
    activation: Activation = "none"


@dataclass(frozen=True, slots=True)
class Gru:
    """A gated recurrent unit in PyTorch's form (gates in the order reset, update, new).

    `input_weight` (n_in, 3h), `recurrent_weight` (h, 3h), biases (3h,). With r, z = sigmoid(...):
    n = tanh(x W_n + b_n + r * (h U_n + c_n)), h' = n + z * (h - n) (torch.nn.GRU).
    """

    input_weight: Weights
    recurrent_weight: Weights
    input_bias: Weights
    recurrent_bias: Weights

    @property
    def n_hidden(self) -> int:
        return int(self.recurrent_weight.shape[0])


Layer = Dense | CausalConv | Gru


@dataclass(frozen=True, slots=True)
class StepNetwork:
    """Layers in order, then the heads that read the last one: linear outputs (if any), and gesture logits."""

    layers: tuple[Layer, ...]
    outputs: Dense | None
    gesture: Dense

    @property
    def _with_heads(self) -> tuple[Layer, ...]:
        heads = (self.gesture,) if self.outputs is None else (self.outputs, self.gesture)
        return (*self.layers, *heads)

    @property
    def n_features(self) -> int:
        return _n_in(self.layers[0])

    @property
    def n_parameters(self) -> int:
        return sum(w.size for w in self._all_weights())

    def matrices(self) -> list[Weights]:
        """Each (n_in, n_out) matrix that one step multiplies a vector by: the bare work of a step."""
        found: list[Weights] = []
        for layer in self._with_heads:
            match layer:
                case Dense(weight=w):
                    found.append(w)
                case CausalConv(weight=w):
                    found.append(w.reshape(-1, w.shape[2]))
                case Gru():
                    found += [layer.input_weight, layer.recurrent_weight]
        return found

    def _all_weights(self) -> list[Weights]:
        found = self.matrices()
        for layer in self._with_heads:
            found += [layer.input_bias, layer.recurrent_bias] if isinstance(layer, Gru) else [layer.bias]
        return found


def to_whole_numbers(network: StepNetwork) -> StepNetwork:
    """The network with each matrix, but no bias, rounded to whole numbers from -127 to 127 times a step per column.

    The step is the column's largest magnitude / 127, in a float32 with so few bits that each product is exact: the
    graph stays float32, and decoder/engines/program.py finds the whole numbers again. They take a quarter of the bytes
    to fetch, which is what a step waits for. Raises NervehandError where a weight is not finite.
    """
    outputs = None if network.outputs is None else _dense_rounded(network.outputs)
    layers = tuple(_rounded(layer) for layer in network.layers)
    return StepNetwork(layers, outputs, _dense_rounded(network.gesture))


def _rounded(layer: Layer) -> Layer:
    match layer:
        case Dense():
            return _dense_rounded(layer)
        case CausalConv(weight=w):
            flat = _nearest_whole_numbers(w.reshape(-1, w.shape[2]))
            return replace(layer, weight=flat.reshape(w.shape))
        case Gru(input_weight=w, recurrent_weight=u):
            # As the graph multiplies: one matrix for the gates of both, one each for the new state.
            h = layer.n_hidden
            gates = _nearest_whole_numbers(np.concatenate([w[:, : 2 * h], u[:, : 2 * h]]))
            new_w, new_u = _nearest_whole_numbers(w[:, 2 * h :]), _nearest_whole_numbers(u[:, 2 * h :])
            return replace(
                layer,
                input_weight=np.concatenate([gates[: len(w)], new_w], axis=1),
                recurrent_weight=np.concatenate([gates[len(w) :], new_u], axis=1),
            )


def _dense_rounded(layer: Dense) -> Dense:
    return replace(layer, weight=_nearest_whole_numbers(layer.weight))


STEP_BITS = 24 - LARGEST_NUMBER.bit_length()
"""Significant bits of a step: with those of a whole number they fill the 24 of a float32."""


def _nearest_whole_numbers(weight: Weights) -> Weights:
    if not np.isfinite(weight).all():
        raise NervehandError("a weight is not finite: train again")
    mantissa, exponent = np.frexp(np.abs(weight.astype(np.float64)).max(0, initial=0.0) / LARGEST_NUMBER)
    steps = np.ldexp(np.ceil(np.ldexp(mantissa, STEP_BITS)), exponent - STEP_BITS)  # up, so that it suffices
    numbers = np.rint(weight / np.where(steps > 0, steps, 1.0))
    rounded: Weights = (numbers * steps).astype(np.float32)
    if not np.isfinite(rounded).all():
        raise NervehandError("a weight is too large for a float32: train again")
    return rounded


def _n_in(layer: Layer) -> int:
    match layer:
        case Dense(weight=w):
            return int(w.shape[0])
        case CausalConv(weight=w):
            return int(w.shape[1])
        case Gru(input_weight=w):
            return int(w.shape[0])


class _Graph:
    """Collects nodes, weights and carried states while the layers are walked."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.initializers: list[onnx.TensorProto] = []
        self.states: dict[str, int] = {}  # input name -> length

    def fresh(self, stem: str) -> str:
        return f"{stem}_{len(self.nodes) + len(self.initializers)}"

    def constant(self, values: NDArray[np.float32] | NDArray[np.int64], stem: str) -> str:
        name = self.fresh(stem)
        self.initializers.append(numpy_helper.from_array(np.ascontiguousarray(values), name))
        return name

    def op(self, kind: str, inputs: Sequence[str], axis: int | None = None) -> str:
        name = self.fresh(kind.lower())
        node = helper.make_node(kind, list(inputs), [name])
        if axis is not None:
            node.attribute.append(helper.make_attribute("axis", axis))
        self.nodes.append(node)
        return name

    def rename_last(self, name: str) -> None:
        self.nodes[-1].output[0] = name

    def slice(self, x: str, start: int, stop: int) -> str:
        bounds = [self.constant(np.array([v], np.int64), "bound") for v in (start, stop, 1)]
        return self.op("Slice", [x, *bounds])

    def halves(self, x: str) -> tuple[str, str]:
        first, second = self.fresh("half_a"), self.fresh("half_b")
        self.nodes.append(helper.make_node("Split", [x], [first, second], axis=1))
        return first, second

    def gemm(self, x: str, weight: Weights, bias: Weights) -> str:
        return self.op("Gemm", [x, self.constant(weight, "weight"), self.constant(bias, "bias")])

    def activate(self, x: str, activation: Activation) -> str:
        match activation:
            case "none":
                return x
            case "relu":
                return self.op("Relu", [x])
            case "tanh":
                return self.op("Tanh", [x])
            case "silu":
                return self.op("Mul", [x, self.op("Sigmoid", [x])])

    def new_state(self, length: int) -> str:
        name = f"state_{len(self.states)}"
        self.states[name] = length
        return name

    def add(self, layer: Layer, x: str) -> str:
        match layer:
            case Dense():
                return self.activate(self.gemm(x, layer.weight, layer.bias), layer.activation)
            case CausalConv():
                return self._causal_conv(layer, x)
            case Gru():
                return self._gru(layer, x)

    def _causal_conv(self, layer: CausalConv, x: str) -> str:
        kernel, n_in, n_out = layer.weight.shape
        if kernel > 1:
            past = self.new_state((kernel - 1) * n_in)
            x = self.op("Concat", [past, x], axis=1)
            self.slice(x, n_in, kernel * n_in)
            self.rename_last(f"{past}_next")
        flat = layer.weight.reshape(kernel * n_in, n_out)
        return self.activate(self.gemm(x, flat, layer.bias), layer.activation)

    def _gru(self, layer: Gru, x: str) -> str:
        h = layer.n_hidden
        past = self.new_state(h)
        stacked = np.concatenate([layer.input_weight[:, : 2 * h], layer.recurrent_weight[:, : 2 * h]])
        bias = layer.input_bias[: 2 * h] + layer.recurrent_bias[: 2 * h]
        gates = self.gemm(self.op("Concat", [x, past], axis=1), stacked, bias)
        r, z = self.halves(self.op("Sigmoid", [gates]))
        from_x = self.gemm(x, layer.input_weight[:, 2 * h :], layer.input_bias[2 * h :])
        from_past = self.gemm(past, layer.recurrent_weight[:, 2 * h :], layer.recurrent_bias[2 * h :])
        new = self.op("Tanh", [self.op("Add", [from_x, self.op("Mul", [r, from_past])])])
        self.op("Add", [new, self.op("Mul", [z, self.op("Sub", [past, new])])])
        self.rename_last(f"{past}_next")
        return f"{past}_next"


def build_step_graph(network: StepNetwork) -> bytes:
    """The network's step as one self-contained ONNX file (weights inside), checked before it is returned."""
    graph = _Graph()
    x = "features"
    for layer in network.layers:
        x = graph.add(layer, x)
    results = []
    if network.outputs is not None:
        graph.add(network.outputs, x)
        graph.rename_last("outputs")
        results.append(_vector("outputs", network.outputs.bias.size))
    graph.op("Softmax", [graph.add(network.gesture, x)], axis=1)
    graph.rename_last("probabilities")
    results.append(_vector("probabilities", network.gesture.bias.size))
    results += [_vector(f"{name}_next", length) for name, length in graph.states.items()]
    inputs = [_vector("features", network.n_features)]
    inputs += [_vector(name, length) for name, length in graph.states.items()]
    model = helper.make_model(
        helper.make_graph(graph.nodes, "nervehand_step", inputs, results, graph.initializers),
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
        producer_name="nervehand",
    )
    onnx.checker.check_model(model, full_check=True)
    return bytes(model.SerializeToString(deterministic=True))


def _vector(name: str, length: int) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, length])
