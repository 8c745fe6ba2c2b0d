"""What becomes of a step graph: views instead of copies, half the bytes where nothing is lost, no foreign files."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from calibration.stepgraph import build_step_graph, to_whole_numbers
from decoder import engines
from decoder.engines.compiled import CompiledEngine
from decoder.engines.onnx_runtime import OnnxRuntimeEngine
from decoder.engines.program import UnknownOperatorError, compile_program, whole_numbers
from firmware_bridge.errors import NervehandError
from tests.decoder.engines.test_engines import STEP_GRAPH, Z, network


def test_weights_that_are_whole_numbers_of_a_step_are_kept_as_bytes_and_answer_as_before() -> None:
    graph = build_step_graph(to_whole_numbers(network()))
    program = compile_program(graph)
    assert program.small.size >= sum(matrix.size for matrix in network().matrices())
    for ours, theirs in zip(
        CompiledEngine(program).process(Z), OnnxRuntimeEngine(graph).process(Z), strict=True
    ):
        assert np.abs(ours - theirs).max() < 1e-6


def test_other_weights_are_kept_as_they_are() -> None:
    program = compile_program(STEP_GRAPH)
    assert program.small.size == 0
    assert program.exact.size >= sum(matrix.size for matrix in network().matrices())


@pytest.mark.parametrize("sizes", [[-2, 6], [4, 0], [1, 2]])
def test_a_split_into_impossible_sizes_is_refused_by_every_engine(sizes: list[int]) -> None:
    given = numpy_helper.from_array(np.array(sizes, np.int64), "sizes")
    nodes = [
        helper.make_node("Concat", ["features", "state_0"], ["both"], axis=1),
        helper.make_node("Split", ["both", "sizes"], ["first", "rest"], axis=1),
        helper.make_node("Identity", ["features"], ["probabilities"]),
        *REST,
    ]
    with pytest.raises(NervehandError) as caught:
        engines.load(graph(nodes, [given]))
    assert not isinstance(caught.value, UnknownOperatorError)


def test_a_graph_that_grows_without_bound_is_refused_before_it_is_allocated() -> None:
    nodes = [helper.make_node("Identity", ["features"], ["x_0"])]
    nodes += [helper.make_node("Concat", [f"x_{i}", f"x_{i}"], [f"x_{i + 1}"], axis=1) for i in range(30)]
    nodes += [helper.make_node("Identity", ["features"], ["probabilities"]), *REST]
    with pytest.raises(NervehandError, match="in all"):
        compile_program(graph(nodes, []))


def test_a_value_computed_twice_is_refused() -> None:
    twice = [
        helper.make_node("Relu", ["state_0"], ["features"]),
        helper.make_node("Identity", ["features"], ["probabilities"]),
        *REST,
    ]
    with pytest.raises(NervehandError, match="cannot be loaded"):
        compile_program(graph(twice, []))


def test_an_operator_of_another_domain_is_not_taken_for_the_standard_one() -> None:
    foreign = helper.make_node("Relu", ["features"], ["probabilities"], domain="com.example")
    model = onnx.load_model_from_string(graph([foreign, *REST], []))
    model.opset_import.add(domain="com.example", version=1)
    with pytest.raises(UnknownOperatorError, match=r"com\.example\.Relu"):
        compile_program(model.SerializeToString())


@pytest.mark.parametrize("seed", range(200))
def test_a_damaged_file_is_refused_or_answers_and_nothing_else(seed: int) -> None:
    rng = np.random.default_rng(seed)
    data = bytearray(STEP_GRAPH)
    for _ in range(rng.integers(1, 4)):
        data[rng.integers(len(data))] ^= 1 << rng.integers(8)
    try:
        program = compile_program(bytes(data))
    except NervehandError:
        return
    CompiledEngine(program).process(np.zeros((2, program.shape.n_features), np.float32))


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e-45, 0.0])
def test_strange_weights_are_whole_numbers_only_where_that_is_exact(value: float) -> None:
    weight = np.array([[1.0, 127.0], [value, 3.0]], np.float32)
    found = whole_numbers(weight)
    assert (found is not None) == (value == 0.0)
    assert whole_numbers(np.zeros((3, 2), np.float32)) is not None
    assert whole_numbers(np.array([[190 * 1e-45]], np.float32)) is None


def graph(nodes: list[onnx.NodeProto], initializers: list[onnx.TensorProto]) -> bytes:
    """A step graph of two states of two values each, two features and two gestures."""

    def vector(name: str) -> onnx.ValueInfoProto:
        return helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 2])

    inputs = [vector("features"), vector("state_0"), vector("state_1")]
    outputs = [vector("probabilities"), vector("state_0_next"), vector("state_1_next")]
    made = helper.make_graph(nodes, "step", inputs, outputs, initializers)
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    return bytes(model.SerializeToString())


def test_a_state_handed_on_is_read_before_it_is_replaced() -> None:
    """Delay lines in which a state replaces another, or is the answer itself."""
    forwards = [
        helper.make_node("Softmax", ["state_1"], ["probabilities"], axis=1),
        helper.make_node("Identity", ["features"], ["state_0_next"]),
        helper.make_node("Identity", ["state_0"], ["state_1_next"]),
    ]
    backwards = [
        helper.make_node("Softmax", ["state_0"], ["probabilities"], axis=1),
        helper.make_node("Identity", ["features"], ["state_1_next"]),
        helper.make_node("Identity", ["state_1"], ["state_0_next"]),
    ]
    answers = [helper.make_node("Identity", ["state_1"], ["probabilities"]), *forwards[1:]]
    z = np.random.default_rng(1).standard_normal((9, 2)).astype(np.float32)
    for nodes in (forwards, backwards, answers):
        ours = CompiledEngine(compile_program(graph(nodes, []))).process(z)[1]
        theirs = OnnxRuntimeEngine(graph(nodes, [])).process(z)[1]
        assert np.abs(ours - theirs).max() < 1e-6
        assert not np.allclose(ours[3], ours[4])


def test_uneven_splits_and_slices_from_the_end_are_views() -> None:
    sizes = numpy_helper.from_array(np.array([1, 3], np.int64), "sizes")
    bounds = [
        numpy_helper.from_array(np.array([v], np.int64), name)
        for name, v in (("from", -2), ("to", 2**40), ("axis", 1))
    ]
    nodes = [
        helper.make_node("Concat", ["features", "state_0"], ["both"], axis=1),
        helper.make_node("Split", ["both", "sizes"], ["first", "rest"], axis=1),
        helper.make_node("Slice", ["rest", "from", "to", "axis"], ["last"]),
        helper.make_node("Softmax", ["last"], ["probabilities"], axis=1),
        helper.make_node("Sub", ["features", "state_1"], ["state_0_next"]),
        helper.make_node("Relu", ["features"], ["state_1_next"]),
    ]
    made = graph(nodes, [sizes, *bounds])
    z = np.random.default_rng(1).standard_normal((9, 2)).astype(np.float32)
    ours, theirs = CompiledEngine(compile_program(made)), OnnxRuntimeEngine(made)
    assert np.abs(ours.process(z)[1] - theirs.process(z)[1]).max() < 1e-6


REST = [
    helper.make_node("Identity", ["state_0"], ["state_0_next"]),
    helper.make_node("Identity", ["state_1"], ["state_1_next"]),
]


@pytest.mark.parametrize(
    "node",
    [
        helper.make_node("Exp", ["features"], ["probabilities"]),
        helper.make_node("Softmax", ["features"], ["probabilities"], axis=0),
        helper.make_node("Add", ["features", "constant"], ["probabilities"]),
        helper.make_node("Gemm", ["features", "matrix", "constant"], ["probabilities"], transB=1),
        helper.make_node("Gemm", ["features", "matrix"], ["probabilities"]),
    ],
    ids=lambda node: f"{node.op_type}-{len(node.input)}",
)
def test_what_a_program_cannot_express_is_said_and_never_computed_wrongly(node: onnx.NodeProto) -> None:
    constants = [
        numpy_helper.from_array(np.ones(2, np.float32), "constant"),
        numpy_helper.from_array(np.ones((2, 2), np.float32), "matrix"),
    ]
    with pytest.raises(UnknownOperatorError, match="step graph"):
        compile_program(graph([node, *REST], constants))


def test_a_length_that_is_not_the_declared_one_is_refused() -> None:
    nodes = [helper.make_node("Concat", ["features", "features"], ["probabilities"], axis=1), *REST]
    with pytest.raises(NervehandError, match="declares 2 values of 'probabilities' and computes 4"):
        compile_program(graph(nodes, []))


def test_weights_that_lie_in_another_file_are_refused() -> None:
    tensor = numpy_helper.from_array(np.ones((2, 2), np.float32), "matrix")
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="/etc/hostname")
    nodes = [helper.make_node("Identity", ["features"], ["probabilities"]), *REST]
    with pytest.raises(NervehandError, match="another file"):
        compile_program(graph(nodes, [tensor]))


def test_damaged_weights_are_refused() -> None:
    tensor = numpy_helper.from_array(np.ones((2, 2), np.float32), "matrix")
    tensor.dims[0] = 3
    nodes = [helper.make_node("Identity", ["features"], ["probabilities"]), *REST]
    with pytest.raises(NervehandError, match="cannot reshape"):
        compile_program(graph(nodes, [tensor]))


def test_the_exponential_and_what_is_made_of_it_are_accurate() -> None:
    """Through the graph: sigmoid and tanh over the whole range of float32 differ by less than 3e-7 from float64's."""
    x = np.concatenate(
        [np.linspace(-100, 100, 20001), np.logspace(-30, 38, 2000), -np.logspace(-30, 38, 2000)]
    )
    x = x.astype(np.float32)
    nodes = [
        helper.make_node("Sigmoid", ["features"], ["state_0_next"]),
        helper.make_node("Tanh", ["features"], ["state_1_next"]),
        helper.make_node("Softmax", ["features"], ["probabilities"], axis=1),
    ]
    engine = CompiledEngine(compile_program(graph(nodes, [])))
    sigmoid, tanh = np.empty(len(x)), np.empty(len(x))
    for i, value in enumerate(x):
        _, probabilities = engine.process(np.array([[value, 0.0]], np.float32))
        (sigmoid[i], _), (tanh[i], _) = (part[0] for part in engine.state())
        assert abs(probabilities[0, 0] - sigmoid[i]) < 3e-7
    with np.errstate(over="ignore"):
        assert np.abs(sigmoid - 1 / (1 + np.exp(-x.astype(np.float64)))).max() < 3e-7
    assert np.abs(tanh - np.tanh(x.astype(np.float64))).max() < 3e-7
