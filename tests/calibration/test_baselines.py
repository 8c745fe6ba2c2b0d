"""The classical decoders that every network is compared with."""

from __future__ import annotations

import os
import sys
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from calibration.baselines import ClassicalDecoder, fit_classical, fit_ridge, lagged, permuted, summarised
from calibration.datasets import FeatureStream, Piece, feature_stream, in_order, pieces, with_repetitions
from calibration.running import Meaning, score_decoder, seeded_orders
from decoder.importers import ninapro
from firmware_bridge.errors import NervehandError

HOP_S = 0.02
TEST_REPETITIONS = (2, 5, 7)


def recording(seed: int = 0, noise: float = 0.4) -> FeatureStream:
    """Three movements, ten times each; each raises another pair of four features, and a truth of its own."""
    rng = np.random.default_rng(seed)
    order = np.tile([1, 2, 3], 10)
    label = np.concatenate([np.repeat([0, g, 0], [30, 60, 30]) for g in order]).astype(np.int64)
    raised = np.array([[0, 0, 0, 0], [1, 1, 0, 0], [0, 1, 1, 0], [0, 0, 1, 1]], np.float32)[label]
    features = (raised + noise * rng.normal(size=raised.shape)).astype(np.float32)
    truth = np.stack([label == 1, label == 3], axis=1).astype(np.float32)
    k = len(label)
    return feature_stream(
        features, np.zeros_like(features, dtype=bool), np.arange(k), hop_samples=1, rate_hz=1 / HOP_S,
        label=label, truth=truth,
    )  # fmt: skip


def split(stream: FeatureStream) -> tuple[list[Piece], list[Piece]]:
    """Training and test pieces."""
    found = pieces(stream)
    test = with_repetitions(found, TEST_REPETITIONS)
    return [piece for piece in found if piece not in test], test


@pytest.mark.parametrize("name", ["lda", "extra_trees"])
def test_a_baseline_learns_what_is_there(name: str) -> None:
    stream = recording()
    training, test = split(stream)
    decoder = fit_classical(name, stream, stream.features, training, 4)  # type: ignore[arg-type]  # a name of the two
    scores = score_decoder(decoder, Meaning(4), stream, stream.features, seeded_orders(test, 2), 0.2).mean
    assert scores["movement_accuracy"] is not None
    assert scores["movement_accuracy"] > 0.9
    assert scores["joint_r2"] is not None
    assert scores["joint_r2"] > 0.6


def test_on_permuted_trials_nothing_is_left_but_rest() -> None:
    stream = recording()
    training, test = split(stream)
    reached = []
    for seed in range(5):
        dealt = permuted(stream, training, seed)
        decoder = fit_classical("lda", dealt, stream.features, training, 4)
        scores = score_decoder(decoder, Meaning(4), stream, stream.features, [test], 0.2).mean
        reached.append(scores["movement_accuracy"])
    assert 0.1 < np.mean([value for value in reached if value is not None]) < 0.6


def test_permuting_keeps_rest_and_the_test_trials_and_deals_out_the_gestures() -> None:
    stream = recording()
    training, test = split(stream)
    dealt = permuted(stream, training, 1)
    assert np.array_equal(dealt.label == 0, stream.label == 0)
    kept = in_order(test, 0).rows
    assert np.array_equal(dealt.label[kept], stream.label[kept])
    assert stream.truth is not None
    assert dealt.truth is not None
    assert np.array_equal(dealt.truth[kept], stream.truth[kept])
    before, after = (np.bincount(s.label[in_order(training, 0).rows]) for s in (stream, dealt))
    assert np.array_equal(before, after)
    assert not np.array_equal(dealt.label, stream.label)


def test_ridge_is_the_solution_of_its_normal_equations() -> None:
    rng = np.random.default_rng(0)
    x, weights = rng.normal(size=(200, 3)), np.array([[1.0, 0.0], [2.0, -1.0], [0.0, 3.0]])
    model = fit_ridge(x, x @ weights + 5.0, 1e-9)
    np.testing.assert_allclose(model.predict(x), x @ weights + 5.0, rtol=1e-6)
    shrunk = fit_ridge(x, x @ weights, 1e6)
    assert np.abs(shrunk.weights).max() < 0.01
    constant = fit_ridge(np.ones((5, 1)), np.arange(5.0)[:, None], 1.0)
    np.testing.assert_allclose(constant.predict(np.ones((1, 1))), [[2.0]])


def test_context_columns_by_hand() -> None:
    z = np.array([[1.0], [3.0], [2.0]], np.float32)
    rows = summarised(z, 2)
    assert rows.tolist() == [[1, 0, 1, 1, 0], [2, 1, 3, 1, 2], [2.5, 0.5, 3, 2, -1]]
    assert summarised(z, 1) is z
    assert lagged(z, hop_s=0.4).tolist() == [[1, 1, 1, 1], [3, 1, 9, 1], [2, 3, 4, 9]]


@settings(max_examples=15, deadline=None)
@given(cuts=st.lists(st.integers(0, 300), max_size=6))
def test_the_answers_do_not_depend_on_the_blocks(
    fitted: tuple[FeatureStream, ClassicalDecoder], cuts: list[int]
) -> None:
    stream, decoder = fitted
    z = stream.features[:300]
    decoder.reset()
    whole = decoder.process(z)
    decoder.reset()
    edges = [0, *sorted(cuts), 300]
    parts = [decoder.process(z[a:b]) for a, b in pairwise(edges)]
    for i in (0, 1):
        np.testing.assert_allclose(np.concatenate([part[i] for part in parts]), whole[i], atol=1e-5)


@pytest.fixture(scope="module")
def fitted() -> tuple[FeatureStream, ClassicalDecoder]:
    stream = recording()
    return stream, fit_classical("lda", stream, stream.features, pieces(stream), 4)


def test_one_movement_alone_still_gives_probabilities() -> None:
    stream = recording()
    label = np.minimum(stream.label, 1)
    one = feature_stream(
        stream.features, stream.masked, stream.sample_index, hop_samples=1, rate_hz=1 / HOP_S, label=label
    )
    decoder = fit_classical("lda", one, one.features, pieces(one), 2)
    outputs, probabilities = decoder.process(one.features)
    assert outputs.shape == (len(one), 0)
    np.testing.assert_allclose(probabilities.sum(1), 1.0, atol=1e-5)


def test_without_gestures_and_truth_there_is_nothing_to_learn() -> None:
    bare = feature_stream(
        np.zeros((500, 1), np.float32),
        np.zeros((500, 1), np.bool_),
        np.arange(500),
        hop_samples=1,
        rate_hz=50.0,
    )
    with pytest.raises(NervehandError, match="nothing to learn"):
        fit_classical("lda", bare, bare.features, pieces(bare), 2)


def test_without_scikit_learn_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("sklearn.discriminant_analysis", "sklearn.ensemble"):
        monkeypatch.setitem(sys.modules, module, None)
    stream = recording()
    with pytest.raises(NervehandError, match=r"nervehand\[train\]"):
        fit_classical("lda", stream, stream.features, pieces(stream), 4)


def data_folder() -> Path:
    here = os.environ.get("NERVEHAND_DATA", str(Path(__file__).parents[3] / "shared" / "data"))
    folder = Path(here) / "ninapro_db1_e1"
    if not folder.is_dir():
        pytest.skip("NinaPro DB1 E1 is not here: set NERVEHAND_DATA to the folder that holds ninapro_db1_e1")
    return folder


def envelope_stream(path: Path) -> tuple[FeatureStream, NDArray[np.float32]]:
    """Mean square root over two samples at 50 Hz, standardised on the training repetitions."""
    session = ninapro.read(path)
    root = np.sqrt(np.maximum(session.microvolts(), 0.0))
    n = len(root) // 2
    features = root[: 2 * n].reshape(n, 2, -1).mean(1)
    stream = feature_stream(
        features, np.zeros_like(features, dtype=bool), np.arange(1, 2 * n, 2), hop_samples=2, rate_hz=100.0,
        label=session.labels, trial=session.trial, repetition=session.repetition, truth=session.truth,
    )  # fmt: skip
    rows = in_order(split(stream)[0], 0).rows
    return stream, ((features - features[rows].mean(0)) / features[rows].std(0)).astype(np.float32)


@pytest.mark.slow
def test_on_ninapro_the_baselines_are_worth_beating() -> None:
    # Measured: movements .829 and .796, R2 .564 and .461.
    folder = data_folder()
    for person, least_accuracy, least_r2 in (("S07", 0.80, 0.52), ("S10", 0.77, 0.42)):
        stream, z = envelope_stream(folder / f"{person}.npz")
        training, test = split(stream)
        decoder = fit_classical("lda", stream, z, training, 13)
        scores = score_decoder(decoder, Meaning(13), stream, z, seeded_orders(test, 2), 0.2).mean
        assert scores["movement_accuracy"] is not None
        assert scores["movement_accuracy"] > least_accuracy
        assert scores["joint_r2"] is not None
        assert scores["joint_r2"] > least_r2
