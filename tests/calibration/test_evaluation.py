"""A bundle evaluated on sessions, end to end: front end, normalisation, step engine, decision, scores, chance."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
from numpy.typing import NDArray

from calibration.evaluation import Evaluation, evaluate
from calibration.stepgraph import CausalConv, Dense, StepNetwork, build_step_graph
from decoder.bundle import (
    Bundle,
    FeatureSpec,
    Manifest,
    OutputSpec,
    StreamSpec,
    Training,
    TrainingSession,
)
from decoder.conditioning import ConditioningSettings
from decoder.conditioning_design import design
from decoder.decision import DecisionSettings, PositionMap
from decoder.features import FeatureSettings
from decoder.normalisation import Normalisation
from decoder.session.model import Session, SessionMeta
from firmware_bridge.errors import NervehandError, StreamMismatchError
from firmware_bridge.stream import StreamInfo

INFO = StreamInfo(rate_hz=100.0, channel_names=("flexor", "extensor"), kind="envelope")
GESTURES = ("rest", "index flexion", "index extension")
CONDITIONING = ConditioningSettings(decimation=1, band_hz=None)
FEATURES = FeatureSettings(2, 2, ("root",))

METRICS = (
    "movement_accuracy", "gesture_accuracy", "balanced_accuracy", "macro_f1", "trial_vote_accuracy",
    "per_dof_accuracy", "per_dof_balanced_accuracy", "exact_match", "joint_r2", "joint_r",
    "steady_gesture_accuracy", "onset_latency_ms", "offset_latency_ms", "algorithmic_latency_ms",
    "unintended_activations_per_hour", "unintended_activations_upper_95_per_hour", "rest_hours",
    "unintended_releases_per_hour", "unintended_releases_upper_95_per_hour", "hold_hours", "hold_drift",
    "hold_jitter", "information_throughput_bits_per_min", "information_throughput_n",
    "information_throughput_p", "information_throughput_t_s",
)  # fmt: skip


def session(
    identifier: str = "one",
    order: tuple[int, ...] = (1, 1, 2, 2, 1, 2) * 3,
    noise: float = 0.02,
    names: tuple[str, ...] = GESTURES,
) -> Session:
    """Two muscles, one per movement of the index finger; the finger's angle is the only truth."""
    rng = np.random.default_rng(5)
    label = np.concatenate([np.repeat([0, g, 0], [150, 200, 150]) for g in order])
    level = np.stack([label == 1, label == 2], axis=1) + 0.05
    signal = np.square(level + noise * rng.normal(size=level.shape)).astype(np.float32)
    angle = 45.0 * (label == 1) - 45.0 * (label == 2)
    return Session(
        info=INFO,
        meta=SessionMeta(identifier=identifier, subject="p1"),
        signal=signal,
        labels=label.astype(np.int16),
        gesture_names=names,
        truth=angle.astype(np.float32)[:, None],
        truth_names=("index",),
        truth_units=("deg",),
    )


def bundle(trained_on: tuple[TrainingSession, ...] = (), memory: int = 1) -> Bundle:
    """Extensor below zero, flexor above: linear in the mean root of the last `memory` hops."""
    average = np.repeat(np.eye(2, dtype=np.float32)[None] / memory, memory, axis=0)
    network = StepNetwork(
        (CausalConv(average, np.zeros(2, np.float32)),),
        Dense(np.array([[45.0], [-45.0]], np.float32), np.zeros(1, np.float32)),
        Dense(
            np.array([[0.0, 20.0, 0.0], [0.0, 0.0, 20.0]], np.float32), np.array([10.0, 0.0, 0.0], np.float32)
        ),
    )
    return Bundle(
        Manifest(
            format_version=1,
            stream=StreamSpec(
                kind="envelope", rate_hz=100.0, channel_names=INFO.channel_names, electrodes=()
            ),
            subject="p1",
            side="",
            array="",
            conditioning=CONDITIONING,
            features=FeatureSpec(set="envelope", settings=FEATURES, compress=("none", "none"), clip=8.0),
            outputs=(OutputSpec(name="index", unit="deg", lower=-45.0, upper=45.0),),
            gestures=GESTURES,
            decision=DecisionSettings(),
            warmup_s=0.1,
            training=Training(
                sessions=trained_on, network="linear", n_parameters=9, seed=0, nervehand_version="0"
            ),
        ),
        design(CONDITIONING, INFO),
        Normalisation(np.full(2, 0.05, np.float32), np.ones(2, np.float32), 8.0, ("none", "none")),
        PositionMap(index_column(1 / 45.0), np.zeros(6, np.float32), np.zeros((3, 6), np.float32)),
        build_step_graph(network),
    )


def index_column(gain: float) -> NDArray[np.float32]:
    matrix = np.zeros((6, 1), np.float32)
    matrix[1, 0] = gain
    return matrix


@pytest.fixture(scope="module")
def evaluation() -> Evaluation:
    return evaluate(bundle(), [session()], [2, 5, 7])


def test_a_decoder_that_knows_scores_high_and_chance_does_not(evaluation: Evaluation) -> None:
    scores, constant = evaluation.scores.mean, evaluation.chance.best_constant
    for name in ("movement_accuracy", "balanced_accuracy", "exact_match", "trial_vote_accuracy"):
        value, chance = scores[name], constant[name]
        assert value is not None
        assert chance is not None
        assert value > 0.98
        assert chance < 0.8
    assert scores["joint_r2"] is not None
    assert scores["joint_r2"] > 0.95
    assert evaluation.chance.permuted["movement_accuracy"] is not None


def test_every_score_has_a_value_or_a_reason(evaluation: Evaluation) -> None:
    found = evaluation.to_json()
    for name in METRICS:
        assert found[name] is not None, name
    mean = evaluation.scores.mean
    assert {name for name, value in mean.items() if value is None} == set(evaluation.scores.not_scored)
    assert evaluation.dofs_not_scored == ["thumb", "middle", "ring", "little", "wrist"]


def test_it_is_one_json_object_with_the_spread_beside_it(evaluation: Evaluation) -> None:
    found = json.loads(json.dumps(evaluation.to_json(), allow_nan=False))
    assert found["movement_accuracy"] == evaluation.scores.mean["movement_accuracy"]
    assert found["decided_movement_accuracy"] == evaluation.scores.mean["decided_movement_accuracy"]
    assert found["spread"]["movement_accuracy"] == evaluation.scores.spread["movement_accuracy"]
    assert (found["order"], found["n_orders"], found["n_trials"]) == ("shuffled", 5, 6)
    assert found["repetitions"] == [2, 5, 7]
    assert found["unscored_per_trial_s"] == pytest.approx(0.02)
    assert found["chance"]["not_scored"]["best_constant.joint_r"]


def test_the_same_seed_gives_the_same_scores() -> None:
    made = [evaluate(bundle(), [session(noise=0.3)], [2, 5], n_orders=2, seed=3).scores for _ in range(2)]
    assert made[0] == made[1]


def test_the_recorded_order_is_one_order_and_says_that_it_is_optimistic() -> None:
    found = evaluate(bundle(), [session()], [2], recorded_order=True).to_json()
    assert found["order"] == "recorded (optimistic)"
    assert found["n_orders"] == 1


def test_scores_with_a_reset_before_each_trial_stand_beside(evaluation: Evaluation) -> None:
    assert evaluation.reset is not None
    found = evaluation.to_json()
    assert found["reset_movement_accuracy"] == evaluation.reset.mean["movement_accuracy"]
    assert found["reset_joint_r2"] == pytest.approx(found["joint_r2"], abs=0.02)


def test_the_time_after_each_change_can_be_left_unscored() -> None:
    plain = evaluate(bundle(memory=21), [session()], [2, 5, 7], n_orders=1)
    settled = evaluate(bundle(memory=21), [session()], [2, 5, 7], n_orders=1, unscored_after_change_s=0.5)
    found = settled.to_json()
    assert found["unscored_after_change_s"] == 0.5
    # 6 trials of 5 s, each with two changes.
    assert plain.scored_s - settled.scored_s == pytest.approx(6 * 2 * 0.5, abs=0.3)
    assert plain.scores.mean["gesture_accuracy"] is not None
    assert plain.scores.mean["gesture_accuracy"] < 0.97
    assert found["gesture_accuracy"] == 1.0
    assert settled.reset is not None
    assert settled.reset.mean["gesture_accuracy"] == 1.0
    with pytest.raises(NervehandError, match="-1 s after each change"):
        evaluate(bundle(), [session()], unscored_after_change_s=-1)


def test_without_other_trials_there_is_no_chance_and_it_says_why() -> None:
    found = evaluate(bundle(), [session()], n_orders=1)
    assert found.chance.best_constant == {}
    assert found.chance.not_scored["permuted"] == "no trial is left to learn the constant from"


def test_trials_that_the_decoder_was_trained_on_are_counted() -> None:
    learned = TrainingSession(identifier="one", sha256="0" * 64, repetitions=(1, 2))
    found = evaluate(bundle((learned,)), [session("one"), session("two")], [2, 3], n_orders=1)
    assert found.n_trials == 8
    assert found.n_trials_trained_on == 2


def test_a_longer_memory_is_later_by_half_of_it() -> None:
    quick = evaluate(bundle(memory=1), [session(noise=0.0)], [2], n_orders=1).scores.mean[
        "algorithmic_latency_ms"
    ]
    slow = evaluate(bundle(memory=11), [session(noise=0.0)], [2], n_orders=1).scores.mean[
        "algorithmic_latency_ms"
    ]
    assert quick is not None
    assert slow is not None
    assert slow - quick == pytest.approx(100.0, abs=21.0)


def test_a_masked_channel_becomes_the_training_mean() -> None:
    broken = session()
    signal = np.array(broken.signal[0 : broken.n_samples])
    signal[:, 1] = np.nan
    found = evaluate(
        bundle(), [dataclasses.replace(broken, signal=signal)], [2, 5, 7], n_orders=1
    ).scores.mean
    # The extensor is never seen: its movement looks like rest, the flexor's is untouched.
    assert found["balanced_accuracy"] == pytest.approx(2 / 3, abs=0.03)


def test_a_session_without_truth_or_labels_is_scored_on_what_it_has() -> None:
    full = session()
    no_truth = dataclasses.replace(full, truth=None, truth_names=(), truth_units=())
    found = evaluate(bundle(), [no_truth], [2, 5, 7], n_orders=1)
    assert found.scores.mean["joint_r2"] is None
    assert found.scores.not_scored["joint_r2"] == "the recording has no ground truth"
    assert found.scores.mean["movement_accuracy"] is not None
    found = evaluate(bundle(), [dataclasses.replace(full, labels=None)], n_orders=1)
    assert found.scores.mean["joint_r2"] is not None
    assert found.scores.not_scored["movement_accuracy"] == "the recording names no gestures"


def test_a_session_of_other_gestures_or_another_stream_is_refused() -> None:
    with pytest.raises(NervehandError, match="'fist', which the decoder does not know"):
        evaluate(bundle(), [session(names=("rest", "fist", "index extension"))])
    other = StreamInfo(rate_hz=200.0, channel_names=INFO.channel_names, kind="envelope")
    with pytest.raises(StreamMismatchError, match="sampling rate"):
        evaluate(bundle(), [dataclasses.replace(session(), info=other)])
