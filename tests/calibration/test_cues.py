"""Cue labels moved to where the signal changes."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from calibration.cues import Realigned, realigned
from calibration.datasets import FeatureStream, feature_stream, pieces

HOP_S = 0.02
HOLD = 100


def recording(late: list[int], gestures: int = 3, noise: float = 0.3) -> FeatureStream:
    """Postures 0, 1, 2, 0, ... of 2 s by cue; the i-th change of the signal is late[i] hops behind its cue."""
    rng = np.random.default_rng(4)
    posture = np.arange(len(late) + 1) % gestures
    label = np.repeat(posture, HOLD)
    changes = [0, *((i + 1) * HOLD + lag for i, lag in enumerate(late)), len(label)]
    held = np.repeat(posture, np.diff(changes))
    features = np.eye(gestures)[held] + noise * rng.normal(size=(len(label), gestures))
    return feature_stream(
        features.astype(np.float32),
        np.zeros(features.shape, np.bool_),
        np.arange(len(label)),
        hop_samples=1,
        rate_hz=1 / HOP_S,
        label=label,
    )


def moved(stream: FeatureStream) -> Realigned:
    return realigned(stream, stream.features, pieces(stream))


def test_every_change_moves_to_where_the_signal_changes() -> None:
    late = [10, 0, -8, 25, 3, 40, 15, 5]
    found = moved(recording(late))
    assert found.reaction_s == pytest.approx(np.array(late) * HOP_S, abs=0.041)


@settings(max_examples=15, deadline=None)
@given(st.lists(st.integers(-10, 40), min_size=4, max_size=9))
def test_any_reaction_of_up_to_a_second_is_found(late: list[int]) -> None:
    found = moved(recording(late, noise=0.1))
    assert found.reaction_s == pytest.approx(np.array(late) * HOP_S, abs=1e-9)


def test_labels_that_are_right_stay_as_they_are() -> None:
    stream = recording([0] * 8, noise=0.1)
    assert np.array_equal(moved(stream).label, stream.label)


def test_a_change_moves_no_further_than_to_the_middle_of_a_label() -> None:
    stream = recording([90, 0, 0, 0, 0, 0, 0])  # 1.8 s late: no reaction
    found = moved(stream)
    assert found.reaction_s[0] <= 1.0
    assert np.array_equal(found.label[: HOLD // 2], stream.label[: HOLD // 2])


def test_only_training_pieces_are_looked_at_and_relabelled() -> None:
    stream = recording([20] * 8)
    chosen = pieces(stream)[2:4]
    found = realigned(stream, stream.features, chosen)
    outside = np.ones(len(stream), np.bool_)
    outside[chosen[0].start : chosen[-1].stop] = False
    assert np.array_equal(found.label[outside], stream.label[outside])
    hidden = np.where(outside[:, None], np.float32(7.0), stream.features)
    assert np.array_equal(realigned(stream, hidden, chosen).label, found.label)
    assert found.reaction_s == pytest.approx(0.4, abs=0.041)


def test_an_unlabelled_stretch_and_a_single_class_stay() -> None:
    stream = recording([10] * 4)
    unknown: NDArray[np.int64] = np.where(np.arange(len(stream)) < HOLD, -1, stream.label)
    hidden = feature_stream(
        stream.features, stream.masked, stream.sample_index, hop_samples=1, rate_hz=1 / HOP_S, label=unknown
    )
    found = moved(hidden)
    assert np.array_equal(found.label[: HOLD + 5], unknown[: HOLD + 5])
    rest = recording([], gestures=1)
    assert len(moved(rest).reaction_s) == 0
    assert np.array_equal(moved(rest).label, rest.label)
