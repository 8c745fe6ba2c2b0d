"""Decided intents: smooth, inside -1..1, and gestures that do not flicker."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from decoder.decision import Decision, DecisionSettings, PositionMap
from decoder.intent import EngineOutput, IntentDigest, Intents
from firmware_bridge.errors import NervehandError

HOP_S = 0.02


def raw(probabilities: np.ndarray, outputs: np.ndarray | None = None) -> EngineOutput:
    k = len(probabilities)
    outputs = np.zeros((k, 1)) if outputs is None else outputs
    return EngineOutput(
        np.arange(k, dtype=np.int64) * 200 + 199,
        outputs.astype(np.float32),
        probabilities.astype(np.float32),
        np.zeros(k, np.bool_),
        np.ones(k, np.float32),
    )


def decision(n_gestures: int = 3, **changes: float) -> Decision:
    positions = PositionMap(
        np.array([[2], [0], [0], [0], [0], [0]], np.float32),
        np.zeros(6, np.float32),
        np.zeros((n_gestures, 6), np.float32),
    )
    return Decision(DecisionSettings(**changes), positions, np.ones(1, np.float32), HOP_S)


def certain(gestures: list[int], n: int = 3) -> np.ndarray:
    return np.eye(n)[gestures]


def test_a_new_gesture_waits_for_the_minimum_hold() -> None:
    d = decision(probability_tau_s=0.0, min_hold_s=0.1)
    decided = d.process(raw(certain([1] * 3 + [2] * 10))).gesture
    assert decided.tolist() == [1] * 5 + [2] * 8  # 5 hops of 20 ms are 0.1 s


def test_a_small_lead_does_not_change_the_gesture() -> None:
    d = decision(probability_tau_s=0.0, min_hold_s=0.0, hysteresis=0.2)
    p = np.array([[0.1, 0.5, 0.4], [0.1, 0.4, 0.5], [0.0, 0.35, 0.65]])
    assert d.process(raw(p)).gesture.tolist() == [1, 1, 2]


def test_low_confidence_is_rest() -> None:
    d = decision(probability_tau_s=0.0, min_hold_s=0.0, reject_below=0.6)
    p = np.array([[0.1, 0.8, 0.1], [0.3, 0.5, 0.2]])
    assert d.process(raw(p)).gesture.tolist() == [1, 0]


def test_a_step_arrives_smoothly_and_completely() -> None:
    outputs = np.concatenate([np.zeros(10), np.ones(200)])[:, None] * 0.4
    decided = decision().process(raw(certain([0] * 210), outputs))
    assert decided.outputs[9, 0] == 0
    assert (np.diff(decided.outputs[:, 0]) >= 0).all()
    assert decided.outputs[-1, 0] == pytest.approx(0.4, abs=1e-3)
    np.testing.assert_allclose(decided.positions[:, 0], 2 * decided.outputs[:, 0], atol=1e-6)


def test_positions_stay_inside_the_range_and_a_nan_stays_visible() -> None:
    outputs = np.array([[5.0], [-5.0], [np.nan]])
    positions = decision().process(raw(certain([0] * 3), outputs)).positions[:, 0]
    assert positions[0] == 1.0
    assert -1.0 <= positions[1] <= 1.0
    assert np.isnan(positions[2])


def test_a_decoder_of_gestures_alone_moves_towards_the_posture() -> None:
    postures = np.array([[0] * 6, [1, 0, 0, 0, 0, -1]], np.float32)
    d = Decision(
        DecisionSettings(),
        PositionMap(np.zeros((6, 0), np.float32), np.zeros(6, np.float32), postures),
        np.zeros(0, np.float32),
        HOP_S,
    )
    decided = d.process(raw(certain([0] * 5 + [1] * 100, 2), np.zeros((105, 0))))
    assert decided.outputs.shape == (105, 0)
    np.testing.assert_allclose(decided.positions[4], 0)
    np.testing.assert_allclose(decided.positions[-1], postures[1], atol=1e-2)


def test_a_probability_that_is_not_finite_makes_positions_that_the_gate_must_see() -> None:
    postures = np.array([[0] * 6, [1, 0, 0, 0, 0, -1]], np.float32)
    d = Decision(
        DecisionSettings(),
        PositionMap(np.zeros((6, 0), np.float32), np.zeros(6, np.float32), postures),
        np.zeros(0, np.float32),
        HOP_S,
    )
    answers = certain([0] * 3, 2)
    answers[1] = np.nan
    positions = d.process(raw(answers, np.zeros((3, 0)))).positions
    assert np.isfinite(positions[0]).all()
    assert np.isnan(positions[1]).all()


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 2**32 - 1), st.lists(st.integers(0, 40), max_size=12))
def test_any_cutting_gives_the_same_bits(seed: int, cuts: list[int]) -> None:
    rng = np.random.default_rng(seed)
    block = raw(rng.dirichlet(np.ones(3) * 0.3, 60), rng.standard_normal((60, 1)).cumsum(0))
    whole = decision().process(block)
    edges = [0, *sorted({min(c, 60) for c in np.cumsum(cuts).tolist()}), 60]
    d, digest, expected = decision(), IntentDigest(), IntentDigest()
    expected.update(whole)
    parts: list[Intents] = []
    for a, b in itertools.pairwise(edges):
        part = raw(block.probabilities[a:b], block.outputs[a:b])
        parts.append(d.process(EngineOutput(block.sample_index[a:b], part.outputs, part.probabilities,
                                            part.warming, part.healthy_fraction)))  # fmt: skip
        digest.update(parts[-1])
    assert digest.hexdigest() == expected.hexdigest()
    assert np.concatenate([p.positions for p in parts]).tobytes() == whole.positions.tobytes()


@pytest.mark.parametrize(
    ("field", "value"),
    [("min_cutoff_hz", 0.0), ("speed_gain", -1.0), ("reject_below", 1.1), ("min_hold_s", float("nan"))],
)
def test_settings_outside_their_range_are_refused_by_name(field: str, value: float) -> None:
    with pytest.raises(NervehandError, match=f"decision.{field}"):
        DecisionSettings(**{field: value})


def test_answers_of_another_width_are_refused() -> None:
    with pytest.raises(NervehandError, match="3 gestures"):
        decision().process(raw(certain([0], 2)))
