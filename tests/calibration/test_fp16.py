"""The float16 graph: what TensorRT 8.2 takes, float32 at its edges, and answers within a bound that was measured."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, numpy_helper

from calibration.fp16 import FP16_OPERATORS, require_tensorrt_8_2, to_fp16
from calibration.fp16_arithmetic import HalfArithmeticEngine, Sums
from calibration.shapes import random_step_network
from calibration.stepgraph import Dense, StepNetwork, build_step_graph, to_whole_numbers
from decoder.bundle import read_bundle
from decoder.engines.graph import read_step_graph
from decoder.engines.onnx_runtime import OnnxRuntimeEngine
from decoder.engines.parity import FP16_BOUND, compare, simulated_features
from decoder.engines.plans import reference_engine
from firmware_bridge.errors import NervehandError
from tests.decoder.engines.test_engines import STEP_GRAPH, network
from tests.replay.reference import BUNDLE

HOPS = 600


def graph_of(name: str) -> bytes:
    """The demo's trained graph, or a network of that shape with random weights."""
    if name == "demo":
        return read_bundle(BUNDLE).step_graph
    return build_step_graph(to_whole_numbers(random_step_network(name, 224, 6, 9, seed=0)))


@pytest.mark.parametrize("name", ["demo", "compact", "paper"])
def test_it_is_a_step_graph_of_the_same_shape_that_tensorrt_8_2_takes_in_half_the_bytes(name: str) -> None:
    full = graph_of(name)
    half = to_fp16(full)
    require_tensorrt_8_2(full)
    require_tensorrt_8_2(half)
    assert read_step_graph(half).shape == read_step_graph(full).shape
    assert len(half) < 0.51 * len(full)
    model = onnx.load_model_from_string(half)
    assert [o.version for o in model.opset_import] == [13]
    assert model.ir_version == 8
    assert {node.op_type for node in model.graph.node} <= FP16_OPERATORS
    for value in (*model.graph.input, *model.graph.output):
        assert value.type.tensor_type.elem_type == TensorProto.FLOAT
    floats = [t for t in model.graph.initializer if t.data_type != TensorProto.INT64]
    assert {t.data_type for t in floats} == {TensorProto.FLOAT16}
    assert to_fp16(full) == half


@pytest.mark.parametrize("name", ["demo", "compact", "paper"])
def test_its_answers_stay_within_the_bound_however_a_device_sums(name: str) -> None:
    full = graph_of(name)
    half, reference = to_fp16(full), reference_engine(full)
    z = simulated_features(HOPS, reference.shape.n_features, 8.0, seed=1)
    runtime = compare(reference, OnnxRuntimeEngine(half), z)
    wide, narrow = (
        compare(reference, HalfArithmeticEngine(half, sums), z) for sums in ("float32", "float16")
    )
    assert 0 < runtime.largest <= wide.largest < narrow.largest < FP16_BOUND / 2


def test_products_and_activations_are_float16_and_the_state_s_sums_are_not() -> None:
    model = onnx.shape_inference.infer_shapes(onnx.load_model_from_string(to_fp16(graph_of("demo"))))
    kinds = {v.name: v.type.tensor_type.elem_type for v in (*model.graph.value_info, *model.graph.output)}
    made = {node.output[0]: node.op_type for node in model.graph.node}
    for name, operator in made.items():
        if operator in ("Gemm", "Relu", "Sigmoid", "Tanh"):
            assert kinds[name] == TensorProto.FLOAT16, name
        if operator == "Softmax" or name.endswith("_next"):
            assert kinds[name] == TensorProto.FLOAT, name
    # A cast to float16 and back before the next hop would round the state itself.
    assert {made[f"state_{i}_next"] for i in range(3)} == {"Slice", "Add"}


def test_a_graph_whose_output_is_a_float16_product_gives_it_in_float32_under_its_name() -> None:
    outputs, _ = HalfArithmeticEngine(to_fp16(STEP_GRAPH), "float32").process(np.ones((3, 4), np.float32))
    assert outputs.dtype == np.float32
    assert np.array_equal(outputs, outputs.astype(np.float16).astype(np.float32))


def test_a_weight_beyond_float16_is_refused_with_its_value() -> None:
    large = np.full((4, 2), 7e4, np.float32)
    dense = Dense(large, np.zeros(2, np.float32))
    graph = build_step_graph(
        StepNetwork((Dense(np.eye(4, dtype=np.float32), np.zeros(4, np.float32)),), dense, dense)
    )
    with pytest.raises(NervehandError, match=r"weight of 70000 .* \(65504\)"):
        to_fp16(graph)


def changed(**changes: object) -> bytes:
    model = onnx.load_model_from_string(STEP_GRAPH)
    if "operator" in changes:
        next(n for n in model.graph.node if n.op_type == "Tanh").op_type = str(changes["operator"])
    if "ir" in changes:
        model.ir_version = 9
    if "opset" in changes:
        model.opset_import[0].version = 17
    if "computed" in changes:
        weight = next(n for n in model.graph.node if n.op_type == "Gemm").input[1]
        model.graph.node.insert(0, onnx.helper.make_node("Identity", [weight], ["computed"]))
        next(n for n in model.graph.node if n.op_type == "Gemm").input[1] = "computed"
    return bytes(model.SerializeToString())


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"operator": "Elu"}, "Elu, which TensorRT"),
        ({"ir": 9}, "IR 9"),
        ({"opset": 17}, "'': 17"),
        ({"computed": 1}, "a Gemm of the step graph has computed"),
    ],
)
def test_what_tensorrt_8_2_may_not_take_is_refused(change: dict[str, object], match: str) -> None:
    with pytest.raises(NervehandError, match=match):
        require_tensorrt_8_2(changed(**change))


def test_bytes_that_are_no_graph_are_refused_in_one_line() -> None:
    for given in (to_fp16, require_tensorrt_8_2):
        with pytest.raises(NervehandError) as caught:
            given(b"no graph")
        assert "\n" not in str(caught.value)


def test_an_operator_that_is_not_known_is_refused_by_the_conversion() -> None:
    with pytest.raises(NervehandError, match="Elu"):
        to_fp16(changed(operator="Elu"))


def gemm_graph(weight: np.ndarray, bias: np.ndarray) -> bytes:
    return build_step_graph(StepNetwork((Dense(weight, bias),), Dense(weight, bias), Dense(weight, bias)))


@pytest.mark.parametrize("sums", ["float32", "float16"])
def test_a_product_is_rounded_as_its_sums_are(sums: Sums) -> None:
    rng = np.random.default_rng(2)
    n = 24
    weight, bias = (rng.standard_normal(s).astype(np.float16).astype(np.float32) for s in ((n, n), (n,)))
    z = rng.standard_normal((1, n)).astype(np.float16).astype(np.float32)
    outputs, _ = HalfArithmeticEngine(to_fp16(gemm_graph(weight, bias)), sums).process(z)

    def product(x: np.ndarray) -> np.ndarray:
        if sums == "float32":
            return (x @ weight + bias).astype(np.float16).astype(np.float32)
        y = bias.astype(np.float64)
        for i in range(n):
            y = (y + float(x[0, i]) * weight[i].astype(np.float64)).astype(np.float16).astype(np.float64)
        return y.astype(np.float32)[None]

    assert np.array_equal(outputs, product(product(z)))


def test_the_arithmetic_carries_saves_and_forgets_its_state_as_every_engine() -> None:
    half = to_fp16(STEP_GRAPH)
    engine = HalfArithmeticEngine(half, "float32")
    z = np.random.default_rng(0).standard_normal((30, 4)).astype(np.float32)
    first = engine.process(z)[0]
    saved = engine.state()
    following = engine.process(z)[0]
    engine.restore(saved)
    assert engine.process(z)[0].tobytes() == following.tobytes() != first.tobytes()
    engine.reset()
    assert engine.process(z)[0].tobytes() == first.tobytes()
    bad = z.copy()
    bad[7] = np.nan
    assert len(engine.process(bad)[0]) == 8
    with pytest.raises(NervehandError, match="state has shapes"):
        engine.restore(saved[:1])


def test_a_decoder_of_gestures_alone_can_be_float16_too() -> None:
    half = to_fp16(build_step_graph(network(n_outputs=0)))
    z = np.random.default_rng(0).standard_normal((5, 4)).astype(np.float32)
    for engine in (OnnxRuntimeEngine(half), HalfArithmeticEngine(half, "float16")):
        assert engine.process(z)[0].shape == (5, 0)


def test_a_weight_is_rounded_to_the_nearest_float16() -> None:
    full, half = (onnx.load_model_from_string(g) for g in (STEP_GRAPH, to_fp16(STEP_GRAPH)))
    before = {t.name: numpy_helper.to_array(t) for t in full.graph.initializer}
    for tensor in half.graph.initializer:
        if tensor.data_type == TensorProto.FLOAT16:
            original = before[tensor.name.removesuffix("_float16")]
            assert np.array_equal(numpy_helper.to_array(tensor), original.astype(np.float16))
