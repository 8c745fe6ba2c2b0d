"""Every engine carries its state and refuses what is no step graph; the compiled one answers as ONNX Runtime does."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from calibration.stepgraph import CausalConv, Dense, Gru, Layer, StepNetwork, build_step_graph
from decoder import engines
from decoder.engine import Engine
from decoder.engines.compiled import CompiledEngine
from decoder.engines.onnx_runtime import OnnxRuntimeEngine
from decoder.engines.program import compile_program
from decoder.engines.remote import RemoteEngine, RemoteTimes
from firmware_bridge.errors import NervehandError


def compiled(graph: bytes) -> Engine:
    return CompiledEngine(compile_program(graph))


def remote(graph: bytes) -> Engine:
    """ONNX Runtime in a process of its own, standing where TensorRT would."""
    return RemoteEngine(graph, "onnxruntime", times=RemoteTimes(call_s=60.0))


MAKERS = (compiled, OnnxRuntimeEngine, remote)
Make = Callable[[bytes], Engine]


@pytest.fixture(params=MAKERS, ids=["compiled", "onnx_runtime", "remote"])
def make(request: pytest.FixtureRequest) -> Make:
    chosen: Make = request.param
    return chosen


def network(seed: int = 3, n_features: int = 4, n_outputs: int = 2) -> StepNetwork:
    rng = np.random.default_rng(seed)

    def weights(*shape: int) -> np.ndarray:
        return (rng.standard_normal(shape) * 0.3).astype(np.float32)

    layers: tuple[Layer, ...] = (
        Dense(weights(n_features, 5), weights(5), "tanh"),
        CausalConv(weights(3, 5, 6), weights(6), "relu"),
        CausalConv(weights(1, 6, 6), weights(6), "silu"),
        Gru(weights(6, 15), weights(5, 15), weights(15), weights(15)),
    )
    outputs = Dense(weights(5, n_outputs), weights(n_outputs)) if n_outputs else None
    return StepNetwork(layers, outputs, Dense(weights(5, 3), weights(3)))


STEP_GRAPH = build_step_graph(network())
Z = np.random.default_rng(0).standard_normal((50, 4)).astype(np.float32)


@pytest.mark.parametrize("cuts", [[1] * 50, [7, 0, 43], [49, 1], [0, 50, 0]])
def test_any_cutting_gives_the_same_bits(make: Make, cuts: list[int]) -> None:
    whole = make(STEP_GRAPH).process(Z)
    engine = make(STEP_GRAPH)
    edges = np.cumsum([0, *cuts])
    parts = [engine.process(Z[a:b]) for a, b in itertools.pairwise(edges)]
    assert np.concatenate([o for o, _ in parts]).tobytes() == whole[0].tobytes()
    assert np.concatenate([p for _, p in parts]).tobytes() == whole[1].tobytes()


def test_the_past_matters_until_a_reset(make: Make) -> None:
    engine = make(STEP_GRAPH)
    first, _ = engine.process(Z[:1])
    again, _ = engine.process(Z[:1])
    assert not np.array_equal(first, again)
    engine.reset()
    anew, _ = engine.process(Z[:1])
    assert np.array_equal(first, anew)


@pytest.mark.parametrize("n_before", [1, 2])
def test_a_saved_state_continues_bit_for_bit(make: Make, n_before: int) -> None:
    engine = make(STEP_GRAPH)
    engine.process(Z[:n_before])
    saved = engine.state()
    expected, _ = engine.process(Z[n_before:])
    other = make(STEP_GRAPH)
    other.restore(saved)
    found, _ = other.process(Z[n_before:])
    assert found.tobytes() == expected.tobytes()


def test_a_state_of_another_decoder_is_refused(make: Make) -> None:
    state = make(STEP_GRAPH).state()
    for other in (state[:1], (state[0], state[1][0]), (state[0], np.zeros((1, 3), np.float32))):
        with pytest.raises(NervehandError, match="state has shapes"):
            make(STEP_GRAPH).restore(other)


def test_it_stops_after_an_answer_that_is_not_finite(make: Make) -> None:
    engine = make(STEP_GRAPH)
    bad = Z.copy()
    bad[20, 1] = np.nan
    outputs, probabilities = engine.process(bad)
    assert len(outputs) == len(probabilities) == 21
    assert np.isfinite(outputs[:20]).all()
    assert not np.isfinite(outputs[20]).any()
    engine.reset()
    assert engine.process(Z)[0].tobytes() == make(STEP_GRAPH).process(Z)[0].tobytes()


def test_a_decoder_of_gestures_alone_has_outputs_of_width_0(make: Make) -> None:
    outputs, probabilities = make(build_step_graph(network(n_outputs=0))).process(Z)
    assert outputs.shape == (50, 0)
    assert np.allclose(probabilities.sum(1), 1)


@given(
    seed=st.integers(0, 2**32 - 1),
    n_features=st.integers(1, 40),
    n_outputs=st.integers(0, 9),
    size=st.sampled_from([0.1, 1.0, 30.0, 1000.0]),
)
@settings(max_examples=30, deadline=None)
def test_the_compiled_engine_answers_as_onnx_runtime_does(
    seed: int, n_features: int, n_outputs: int, size: float
) -> None:
    graph = build_step_graph(network(seed, n_features, n_outputs))
    z = (size * np.random.default_rng(seed).standard_normal((30, n_features))).astype(np.float32)
    for ours, theirs in zip(compiled(graph).process(z), OnnxRuntimeEngine(graph).process(z), strict=True):
        assert np.abs(ours - theirs).max(initial=0.0) < 1e-5


def test_a_bundle_s_graph_runs_compiled() -> None:
    assert isinstance(engines.load(STEP_GRAPH), CompiledEngine)


@pytest.mark.parametrize(
    ("name", "kind"),
    [("auto", CompiledEngine), ("compiled", CompiledEngine), ("onnxruntime", OnnxRuntimeEngine)],
)
def test_an_engine_is_chosen_by_name(name: str, kind: type) -> None:
    assert isinstance(engines.load(STEP_GRAPH, name), kind)


def test_a_name_that_is_none_is_refused_with_those_there_are() -> None:
    with pytest.raises(NervehandError, match="no engine 'cuda': use auto, compiled, onnxruntime, tensorrt"):
        engines.load(STEP_GRAPH, "cuda")


def with_elu() -> bytes:
    """The step graph with an operator that no program has."""
    import onnx

    model = onnx.load_model_from_string(STEP_GRAPH)
    [softmax] = [node for node in model.graph.node if node.op_type == "Softmax"]
    logits = softmax.input[0]
    model.graph.node.insert(
        list(model.graph.node).index(softmax), onnx.helper.make_node("Elu", [logits], ["bent"])
    )
    softmax.input[0] = "bent"
    return bytes(model.SerializeToString())


def test_a_graph_with_an_operator_of_its_own_runs_on_onnx_runtime() -> None:
    engine = engines.load(with_elu())
    assert isinstance(engine, OnnxRuntimeEngine)
    assert engine.process(Z)[1].shape == (50, 3)


def test_the_compiled_engine_by_name_refuses_a_graph_that_it_has_not_the_operators_of() -> None:
    with pytest.raises(NervehandError, match="Elu"):
        engines.load(with_elu(), "compiled")


@pytest.mark.parametrize("data", [b"not an onnx file", b"", STEP_GRAPH[:200]])
def test_bytes_that_are_no_graph_are_refused_in_one_line(data: bytes) -> None:
    with pytest.raises(NervehandError) as caught:
        engines.load(data)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("size", [2**40, -1])
def test_a_damaged_size_is_refused_before_anything_is_allocated(make: Make, size: int) -> None:
    import onnx

    model = onnx.load_model_from_string(STEP_GRAPH)
    model.graph.input[0].type.tensor_type.shape.dim[1].dim_value = size
    with pytest.raises(NervehandError):
        make(model.SerializeToString())
