"""Two engines are compared hop by hop with their states carried; the features are as training leaves them."""

from __future__ import annotations

import numpy as np
import pytest

from calibration.stepgraph import Dense, StepNetwork, build_step_graph
from decoder.engines.compiled import CompiledEngine
from decoder.engines.parity import compare, half_ranges, simulated_features
from decoder.engines.program import compile_program
from firmware_bridge.errors import NervehandError
from tests.decoder.engines.test_engines import STEP_GRAPH, Z, compiled, network


def test_an_engine_is_like_itself() -> None:
    found = compare(compiled(STEP_GRAPH), compiled(STEP_GRAPH), Z)
    assert (found.hops, found.outputs, found.probabilities, found.gestures_differ) == (50, 0.0, 0.0, 0.0)


def test_the_largest_difference_of_any_hop_is_what_counts() -> None:
    program = compile_program(STEP_GRAPH)
    a, b = CompiledEngine(program), compiled(build_step_graph(network(seed=11)))
    z = 5 * Z
    found = compare(a, b, z, np.ones(2, np.float32))
    (x, p), (y, q) = a.process(z), b.process(z)
    assert found.outputs == pytest.approx(np.abs(x - y).max())
    assert found.probabilities == pytest.approx(np.abs(p - q).max())
    assert found.largest == max(found.outputs, found.probabilities)
    assert found.gestures_differ == pytest.approx((p.argmax(1) != q.argmax(1)).mean())
    assert found.gestures_differ > 0


def test_both_begin_at_rest_and_are_left_at_rest() -> None:
    engine = compiled(STEP_GRAPH)
    engine.process(Z)
    assert compare(compiled(STEP_GRAPH), engine, Z).largest == 0
    assert not np.concatenate(engine.state(), axis=1).any()


def test_engines_of_other_decoders_and_answers_that_are_not_finite_are_refused() -> None:
    with pytest.raises(NervehandError, match="one decoder's files"):
        compare(compiled(STEP_GRAPH), compiled(build_step_graph(network(n_outputs=5))), Z)
    bad = Z.copy()
    bad[20] = np.nan
    with pytest.raises(NervehandError, match="hop 21 is not finite"):
        compare(compiled(STEP_GRAPH), compiled(STEP_GRAPH), bad)


def test_features_are_normalised_correlated_and_within_the_clip() -> None:
    z = simulated_features(5000, 40, clip=8.0, seed=3)
    assert z.shape == (5000, 40)
    assert z.dtype == np.float32
    assert np.abs(z.mean(0)).max() < 1.0
    assert 1.0 < z.std() < 3.0
    assert np.abs(z).max() == 8.0
    assert np.corrcoef(z[1:, 0], z[:-1, 0])[0, 1] > 0.8
    assert np.array_equal(z, simulated_features(5000, 40, clip=8.0, seed=3))
    assert not np.array_equal(z, simulated_features(5000, 40, clip=8.0, seed=4))


def test_outputs_are_judged_by_their_own_ranges() -> None:
    a, b = compiled(STEP_GRAPH), compiled(build_step_graph(network(seed=4)))
    plain = compare(a, b, Z, half_ranges([-1.0, -1.0], [1.0, 1.0]))
    degrees = compare(a, b, Z, half_ranges([0.0, 0.0], [90.0, 90.0]))
    assert degrees.outputs == pytest.approx(plain.outputs / 45)
    assert degrees.probabilities == plain.probabilities
    assert half_ranges([0.0, 5.0], [0.0, 3.0]).tolist() == [1.0, 1.0]


def test_without_ranges_an_output_is_judged_by_what_it_spans_but_at_least_by_1() -> None:
    rng = np.random.default_rng(0)
    eye = np.eye(4, dtype=np.float32)
    large = rng.standard_normal((4, 2)).astype(np.float32) * np.array([200.0, 0.01], np.float32)
    zero, three = np.zeros(2, np.float32), Dense(np.zeros((4, 3), np.float32), np.zeros(3, np.float32))
    layers = (Dense(eye, np.zeros(4, np.float32)),)
    shifted = zero + np.float32(0.5)
    a, b = (
        compiled(build_step_graph(StepNetwork(layers, Dense(large, bias), three))) for bias in (zero, shifted)
    )
    assert compare(a, b, Z).outputs == pytest.approx(0.5, rel=1e-3)  # the narrow one, whose 0.5 counts whole
    span = np.ptp(a.process(Z)[0], axis=0)
    assert span[0] > 100
    assert compare(a, b, Z, span / 2).outputs > 5
