"""A decoder run statefully over orders of pieces, with decoders whose answers are known."""

from __future__ import annotations

from typing import TypeVar

import numpy as np
import pytest
from numpy.typing import NDArray

from calibration.chance import best_constant
from calibration.datasets import FeatureStream, feature_stream, pieces
from calibration.running import (
    Meaning,
    mean_of_known,
    score_decoder,
    seeded_orders,
    spread_of,
    stretches,
    training_reference,
)
from decoder.decision import Decision, DecisionSettings, PositionMap
from firmware_bridge.errors import NervehandError

Scalar = TypeVar("Scalar", bound=np.generic)

HOP_S = 0.02
FINGERS = PositionMap(
    matrix=np.eye(6, 2, dtype=np.float32),
    offset=np.zeros(6, np.float32),
    postures=np.zeros((3, 6), np.float32),
)


def recording(order: list[int], rest: int = 100, hold: int = 100, apart: bool = False) -> FeatureStream:
    """Movements with rest around them; the one feature is the label, truth is one finger per movement."""
    label = np.concatenate([np.repeat([0, g, 0], [rest, hold, rest]) for g in order]).astype(np.int64)
    k = len(label)
    truth = np.stack([label == 1, label == 2], axis=1).astype(np.float32)
    step = np.repeat(np.arange(len(order)), 2 * rest + hold) * (1000 if apart else 0)
    return feature_stream(
        label[:, None].astype(np.float32),
        np.zeros((k, 1), np.bool_),
        np.arange(k) + step,
        hop_samples=1,
        rate_hz=1 / HOP_S,
        label=spread_out(label, step),
        truth=spread_out(truth, step),
    )


def spread_out(values: NDArray[Scalar], step: NDArray[np.int64]) -> NDArray[Scalar]:
    """Values (k, ...) moved `step` (k,) rows further down, nothing between them."""
    rows = np.arange(len(values)) + step
    out = np.zeros((int(rows[-1]) + 1, *values.shape[1:]), values.dtype)
    out[rows] = values
    return out


class Oracle:
    """Reads the label off the feature, `delay` hops late; counts its resets."""

    def __init__(self, delay: int = 0) -> None:
        self.delay, self.resets = delay, 0
        self.past = np.zeros(delay, np.int64)

    def reset(self) -> None:
        self.resets += 1
        self.past = np.zeros(self.delay, np.int64)

    def process(self, z: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        seen = np.concatenate([self.past, z[:, 0].astype(np.int64)])
        self.past = seen[len(seen) - self.delay :]
        label = seen[: len(z)]
        return np.stack([label == 1, label == 2], axis=1).astype(np.float32), np.eye(3, dtype=np.float32)[
            label
        ]


def test_a_perfect_decoder_has_perfect_scores() -> None:
    stream = recording([1, 2, 2, 1])
    decision = Decision(DecisionSettings(), FINGERS, np.ones(2, np.float32), HOP_S)
    found = score_decoder(
        Oracle(), Meaning(3, FINGERS, decision), stream, stream.features, seeded_orders(pieces(stream)), 0.1
    )
    for name in (
        "movement_accuracy", "gesture_accuracy", "balanced_accuracy", "macro_f1", "trial_vote_accuracy",
        "per_dof_accuracy", "per_dof_balanced_accuracy", "exact_match", "joint_r2", "joint_r",
        "decided_trial_vote_accuracy", "decided_steady_balanced_accuracy", "information_throughput_p",
    ):  # fmt: skip
        assert found.mean[name] == pytest.approx(1.0), name
        assert found.spread[name] == pytest.approx(0.0, abs=1e-9), name
    assert found.mean["onset_latency_ms"] == 0.0
    assert found.mean["unintended_activations_per_hour"] == 0.0
    assert found.mean["unintended_releases_per_hour"] == 0.0
    assert found.mean["hold_drift"] == 0.0
    assert found.each["joint_r2"] == (1.0, 1.0)
    assert found.each["per_dof_accuracy"][2:] == (None,) * 4
    assert found.not_scored == {}


def test_a_late_decoder_is_as_late_as_it_is() -> None:
    stream = recording([1, 2, 2, 1])
    found = score_decoder(
        Oracle(delay=5), Meaning(3), stream, stream.features, seeded_orders(pieces(stream)), 0.1
    )
    assert found.mean["onset_latency_ms"] == pytest.approx(100.0)
    assert found.mean["offset_latency_ms"] == pytest.approx(100.0)
    assert found.mean["steady_gesture_accuracy"] == 1.0
    # Each of 4 trials has 300 hops, of which 5 are unscored; 5 are late at either change.
    assert found.mean["gesture_accuracy"] == pytest.approx(1 - 10 / 295)


def test_without_a_decision_stage_only_raw_scores_appear() -> None:
    stream = recording([1, 2])
    found = score_decoder(Oracle(), Meaning(3), stream, stream.features, [pieces(stream)], 0.1)
    assert not [name for name in found.mean if name.startswith(("decided_", "unintended_"))]
    assert found.mean["per_dof_accuracy"] is None
    assert found.not_scored["per_dof_accuracy"] == "the decoder gives no positions"


def test_the_state_is_carried_over_connected_pieces() -> None:
    stream, oracle = recording([1, 2, 1, 2]), Oracle()
    score_decoder(oracle, Meaning(3), stream, stream.features, [pieces(stream)], 0.1)
    assert oracle.resets == 1


def test_with_a_reset_before_each_piece_scoring_begins_at_300_ms() -> None:
    stream, oracle = recording([1, 2], rest=10), Oracle(delay=12)
    found = score_decoder(oracle, Meaning(3), stream, stream.features, [pieces(stream)], 0.1, reset_each=True)
    assert oracle.resets == 2
    # 15 hops are unscored: of 10 + 100 movement hops 105 remain, 12 - 5 of each movement late.
    assert found.mean["gesture_accuracy"] == pytest.approx(1 - 2 * (7 + 10) / (2 * 105))


def test_hops_after_a_change_of_label_can_be_left_out_where_labels_are_cues() -> None:
    stream = recording([1, 2], rest=40)
    found = score_decoder(
        Oracle(delay=12),
        Meaning(3),
        stream,
        stream.features,
        [pieces(stream)],
        0.1,
        unscored_after_change_s=0.2,
    )
    # Each of 2 trials: 40 hops of rest, 100 of movement, 40 of rest; 5 and 2 x 10 are unscored, 2 x 2 are late.
    assert found.mean["gesture_accuracy"] == pytest.approx(1 - 4 / (180 - 25))
    assert found.mean["onset_latency_ms"] == pytest.approx(240.0)
    with pytest.raises(NervehandError, match="no label holds for longer than 9 s"):
        score_decoder(
            Oracle(), Meaning(3), stream, stream.features, [pieces(stream)], 0.1, unscored_after_change_s=9.0
        )


def test_a_change_counts_from_where_it_was_recorded_not_from_where_the_pieces_were_cut() -> None:
    stream = recording([1, 2], rest=0, hold=50)  # cut at the change: nothing in the pieces shows it
    found = score_decoder(
        Oracle(delay=10),
        Meaning(3),
        stream,
        stream.features,
        [pieces(stream)],
        0.02,
        unscored_after_change_s=0.2,
    )
    # The first movement has no change before it: 1 hop unscored, 9 more late (the oracle begins with rest).
    assert found.mean["gesture_accuracy"] == pytest.approx(1 - 9 / (49 + 40))


def test_unconnected_pieces_each_begin_from_the_reset_state() -> None:
    stream, oracle = recording([1, 2, 1], apart=True), Oracle()
    found = pieces(stream)
    assert all(piece.alone for piece in found)
    score_decoder(oracle, Meaning(3), stream, stream.features, [found], 0.1)
    assert oracle.resets == 3
    assert stretches(found, reset_each=False).tolist() == [0, 1, 2]


def test_orders_differ_and_belong_to_their_seed() -> None:
    found = pieces(recording([1, 2] * 10, rest=5, hold=5))
    orders = seeded_orders(found, 5, seed=7)
    assert len(orders) == 5
    assert orders == seeded_orders(found, 5, seed=7)
    assert orders[1] == seeded_orders(found, 1, seed=8)[0]
    assert all(sorted(order, key=lambda p: p.start) == found for order in orders)
    with pytest.raises(NervehandError, match="0 orders"):
        seeded_orders(found, 0)


def test_trials_shorter_than_the_unscored_time_are_refused() -> None:
    stream = recording([1], rest=1, hold=1)
    with pytest.raises(NervehandError, match="no hop is left to score"):
        score_decoder(Oracle(), Meaning(3), stream, stream.features, [pieces(stream)], 1.0)


def test_a_decoder_of_gestures_alone_is_scored_by_its_postures() -> None:
    stream = recording([1, 2, 1, 2])
    postures = np.zeros((3, 6), np.float32)
    postures[1, 1], postures[2, 2] = 1.0, -1.0
    by_gesture = PositionMap(np.zeros((6, 0), np.float32), np.zeros(6, np.float32), postures)

    class GesturesOnly(Oracle):
        def process(self, z: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
            return np.zeros((len(z), 0), np.float32), super().process(z)[1]

    found = score_decoder(
        GesturesOnly(), Meaning(3, by_gesture), stream, stream.features, [pieces(stream)], 0.1
    )
    assert found.mean["per_dof_accuracy"] == 1.0
    assert found.each["per_dof_accuracy"][:4] == (None, 1.0, 1.0, None)
    assert found.mean["joint_r2"] is None
    assert found.not_scored["joint_r2"] == "the decoder gives no outputs"


def test_a_recording_without_labels_is_scored_on_its_truth_alone() -> None:
    labelled = recording([1, 2, 1])
    stream = feature_stream(
        labelled.features,
        labelled.masked,
        labelled.sample_index,
        hop_samples=1,
        rate_hz=50.0,
        truth=labelled.truth,
    )
    found = score_decoder(Oracle(), Meaning(3, FINGERS), stream, stream.features, [pieces(stream)], 0.1)
    assert found.mean["joint_r2"] == 1.0
    assert found.mean["exact_match"] == 1.0
    for name in ("movement_accuracy", "onset_latency_ms", "steady_joint_r2", "hold_jitter"):
        assert found.not_scored[name] == "the recording names no gestures"


def test_mean_and_spread() -> None:
    assert mean_of_known([1.0, None, 3.0]) == 2.0
    assert mean_of_known([None]) is None
    assert spread_of([1.0]) is None
    assert spread_of([0.1, 0.1, 0.1]) == 0.0
    assert spread_of([1.0, 3.0]) == pytest.approx(2.0**0.5)


def test_the_best_constant_is_chosen_on_the_training_trials_score_by_score() -> None:
    stream = recording([1, 1, 2], rest=100)
    training = training_reference(stream, pieces(stream), FINGERS)
    test = training_reference(stream, pieces(stream)[1:], FINGERS)
    found = best_constant(training, test, 3)
    assert found.scores["gesture_accuracy"] == pytest.approx(400 / 600)
    assert found.scores["movement_accuracy"] == pytest.approx(0.5)
    assert found.scores["balanced_accuracy"] == pytest.approx(1 / 3)
    assert found.scores["trial_vote_accuracy"] == pytest.approx(0.5)
    assert found.scores["per_dof_balanced_accuracy"] == pytest.approx(0.5)
    r2 = found.scores["joint_r2"]
    assert r2 is not None
    assert r2 <= 0.0
    assert found.scores["joint_r"] is None
    assert found.not_scored["joint_r"] == "a constant answer gives it no meaning"
