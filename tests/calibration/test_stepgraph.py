"""The step graph is one self-contained file of plain operators, and computes what its layers say."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from calibration.shapes import random_step_network
from calibration.stepgraph import (
    IR_VERSION,
    OPSET,
    TENSORRT_8_2_OPERATORS,
    CausalConv,
    Dense,
    Gru,
    StepNetwork,
    Weights,
    build_step_graph,
    to_whole_numbers,
)
from decoder import engines
from decoder.engines._step_kernel import GEMM
from decoder.engines.program import compile_program, whole_numbers
from firmware_bridge.errors import NervehandError


def weights(seed: int, *shape: int) -> Weights:
    return (np.random.default_rng(seed).standard_normal(shape) * 0.3).astype(np.float32)


def small_network(with_outputs: bool = True) -> StepNetwork:
    layers = (
        Dense(weights(1, 5, 7), weights(2, 7), "silu"),
        CausalConv(weights(3, 4, 7, 6), weights(4, 6), "relu"),
        CausalConv(weights(5, 1, 6, 6), weights(6, 6), "tanh"),
        Gru(weights(7, 6, 24), weights(8, 8, 24), weights(9, 24), weights(10, 24)),
    )
    outputs = Dense(weights(11, 8, 2), weights(12, 2)) if with_outputs else None
    return StepNetwork(layers, outputs, Dense(weights(13, 8, 3), weights(14, 3)))


def sigmoid(x: Weights) -> Weights:
    return np.asarray(1 / (1 + np.exp(-x)), np.float64)


def reference(network: StepNetwork, x: Weights) -> tuple[Weights, Weights]:
    """The layers' formulas over a whole sequence (t, f), in float64."""
    activations = {
        "none": lambda v: v,
        "relu": lambda v: np.maximum(v, 0),
        "tanh": np.tanh,
        "silu": lambda v: v * sigmoid(v),
    }
    y = x.astype(np.float64)
    for layer in network.layers:
        if isinstance(layer, Dense):
            y = activations[layer.activation](y @ layer.weight + layer.bias)
        elif isinstance(layer, CausalConv):
            kernel = layer.weight.shape[0]
            padded = np.concatenate([np.zeros((kernel - 1, y.shape[1])), y])
            taps = sum(padded[k : k + len(y)] @ layer.weight[k] for k in range(kernel))
            y = activations[layer.activation](taps + layer.bias)
        else:
            h, rows = np.zeros(layer.n_hidden), []
            for row in y:
                rx, zx, nx = np.split(row @ layer.input_weight + layer.input_bias, 3)
                rh, zh, nh = np.split(h @ layer.recurrent_weight + layer.recurrent_bias, 3)
                r, z = sigmoid(rx + rh), sigmoid(zx + zh)
                n = np.tanh(nx + r * nh)
                h = n + z * (h - n)
                rows.append(h)
            y = np.array(rows)
    logits = np.exp(y @ network.gesture.weight + network.gesture.bias)
    outputs = np.zeros((len(y), 0))
    if network.outputs is not None:
        outputs = y @ network.outputs.weight + network.outputs.bias
    return outputs, logits / logits.sum(1, keepdims=True)


@pytest.mark.parametrize("with_outputs", [True, False])
def test_the_graph_computes_its_layers_with_the_state_carried(with_outputs: bool) -> None:
    network, x = small_network(with_outputs), weights(0, 200, 5) * 5
    outputs, probabilities = engines.load(build_step_graph(network)).process(x)
    expected_outputs, expected_probabilities = reference(network, x)
    np.testing.assert_allclose(outputs, expected_outputs, atol=2e-6)
    np.testing.assert_allclose(probabilities, expected_probabilities, atol=2e-6)


def test_the_file_is_opset_13_self_contained_and_uses_only_operators_of_tensorrt_8_2() -> None:
    model = onnx.load_from_string(build_step_graph(small_network()))
    assert model.ir_version == IR_VERSION == 8
    assert [(entry.domain, entry.version) for entry in model.opset_import] == [("", OPSET)]
    assert {node.op_type for node in model.graph.node} <= TENSORRT_8_2_OPERATORS
    assert all(t.data_location == onnx.TensorProto.DEFAULT for t in model.graph.initializer)
    assert all(len(v.type.tensor_type.shape.dim) == 2 for v in (*model.graph.input, *model.graph.output))


def test_the_same_weights_give_the_same_bytes() -> None:
    assert build_step_graph(small_network()) == build_step_graph(small_network())


def test_matrices_are_the_bare_work_of_a_step() -> None:
    network = small_network()
    assert [m.shape for m in network.matrices()] == [
        (5, 7),
        (28, 6),
        (6, 6),
        (6, 24),
        (8, 24),
        (8, 2),
        (8, 3),
    ]
    n_biases = 7 + 6 + 6 + 24 + 24 + 2 + 3
    assert network.n_parameters == sum(m.size for m in network.matrices()) + n_biases


@given(st.lists(st.floats(-(2.0**60), 2.0**60, width=32), min_size=1, max_size=30))
def test_weights_are_rounded_to_whole_numbers_of_a_step_that_nothing_is_lost_in(values: list[float]) -> None:
    weight = np.array(values, np.float32)[:, None]
    weight[np.abs(weight) < 2.0**-60] = 0
    network = StepNetwork((), None, Dense(weight, np.zeros(1, np.float32)))
    rounded = to_whole_numbers(network).gesture.weight
    largest = np.abs(weight.astype(np.float64)).max()
    assert np.abs(rounded - weight.astype(np.float64)).max() <= largest / 127 / 2 * (1 + 2**-16)
    found = whole_numbers(rounded)
    assert found is not None
    numbers, steps = found
    assert np.array_equal(numbers.astype(np.float64) * steps, rounded)
    assert np.abs(numbers.astype(int)).max() == (127 if largest else 0)


def test_every_matrix_of_a_rounded_network_reaches_the_kernel_as_whole_numbers() -> None:
    for network in (small_network(), random_step_network("compact", 90, 6, 9, seed=1)):
        program = compile_program(build_step_graph(to_whole_numbers(network)))
        assert program.small.size >= sum(matrix.size for matrix in network.matrices())
        assert GEMM not in program.operations[:, 0]


def test_a_weight_that_is_not_finite_is_an_error() -> None:
    broken = np.full((1, 1), np.inf, np.float32)
    with pytest.raises(NervehandError, match="not finite"):
        to_whole_numbers(StepNetwork((), None, Dense(broken, np.zeros(1, np.float32))))
