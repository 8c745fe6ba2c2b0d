"""The engine carries its state, and refuses what is no step graph."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from calibration.stepgraph import CausalConv, Dense, Gru, StepNetwork, build_step_graph
from decoder.engine import StepEngine
from firmware_bridge.errors import NervehandError


def step_graph() -> bytes:
    rng = np.random.default_rng(3)

    def weights(*shape: int) -> np.ndarray:
        return (rng.standard_normal(shape) * 0.3).astype(np.float32)

    layers = (
        CausalConv(weights(3, 4, 6), weights(6), "relu"),
        Gru(weights(6, 15), weights(5, 15), weights(15), weights(15)),
    )
    return build_step_graph(
        StepNetwork(layers, Dense(weights(5, 2), weights(2)), Dense(weights(5, 3), weights(3)))
    )


@pytest.fixture
def engine() -> StepEngine:
    return StepEngine(step_graph())


Z = np.random.default_rng(0).standard_normal((50, 4)).astype(np.float32)


@pytest.mark.parametrize("cuts", [[1] * 50, [7, 0, 43], [49, 1], [0, 50, 0]])
def test_any_cutting_gives_the_same_bits(engine: StepEngine, cuts: list[int]) -> None:
    whole = StepEngine(step_graph()).process(Z)
    edges = np.cumsum([0, *cuts])
    parts = [engine.process(Z[a:b]) for a, b in itertools.pairwise(edges)]
    assert np.concatenate([o for o, _ in parts]).tobytes() == whole[0].tobytes()
    assert np.concatenate([p for _, p in parts]).tobytes() == whole[1].tobytes()


def test_the_past_matters_until_a_reset(engine: StepEngine) -> None:
    first, _ = engine.process(Z[:1])
    again, _ = engine.process(Z[:1])
    assert not np.array_equal(first, again)
    engine.reset()
    anew, _ = engine.process(Z[:1])
    assert np.array_equal(first, anew)


@pytest.mark.parametrize("n_before", [1, 2])
def test_a_saved_state_continues_bit_for_bit(engine: StepEngine, n_before: int) -> None:
    engine.process(Z[:n_before])
    saved = engine.state()
    expected, _ = engine.process(Z[n_before:])
    other = StepEngine(step_graph())
    other.restore(saved)
    found, _ = other.process(Z[n_before:])
    assert found.tobytes() == expected.tobytes()


def test_a_state_of_another_decoder_is_refused(engine: StepEngine) -> None:
    with pytest.raises(NervehandError, match="state has lengths"):
        engine.restore((np.zeros((1, 3), np.float32),))


def test_bytes_that_are_no_graph_are_refused_in_one_line() -> None:
    with pytest.raises(NervehandError) as caught:
        StepEngine(b"not an onnx file")
    assert "\n" not in str(caught.value)
