"""Movements put together from single ones: their features are those of the movements made together."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from calibration.composition import N_COMPOSED, WRIST, Composed, can_compose, compose
from calibration.datasets import Piece
from decoder.features import FeatureSettings, time_domain, two_bands
from firmware_bridge.hand import N_DOF

WINDOW, HOP, TRIAL = 500, 100, 60  # samples, samples, hops
N_CHANNELS = 3
CHANNELS = tuple(f"c{c}" for c in range(N_CHANNELS))
SETTINGS = FeatureSettings(WINDOW, HOP, low_samples=10)
NAMES = two_bands.make(SETTINGS, CHANNELS).names
SINGLE = np.concatenate([np.eye(N_DOF), [-np.eye(N_DOF)[5]]])
"""Each degree of freedom by itself, the wrist both ways."""


def recorded(postures: Any, seed: int = 0) -> tuple[Any, Any, list[Piece]]:
    """Features, truth and pieces of trials: rest, a posture, rest; each part of it has noise of its own colour."""
    rng = np.random.default_rng(seed)
    moving = (np.arange(TRIAL) >= 20) & (np.arange(TRIAL) < 40)
    truth = (moving[:, None] * np.asarray(postures)[:, None]).reshape(-1, N_DOF)
    n = len(truth) * HOP
    x = rng.standard_normal((n, N_CHANNELS))
    active = np.repeat(
        np.concatenate([np.maximum(truth, 0), np.maximum(-truth[:, 5:], 0)], axis=1), HOP, axis=0
    )
    for part in range(active.shape[1]):
        own = rng.standard_normal((n, N_CHANNELS))
        colour = 0.8 * (part % 3 - 1)
        own[1:] += colour * own[:-1]
        size = 0.5 + 1.5 * np.abs(np.sin(1.0 + 2.0 * part + 3.0 * np.arange(N_CHANNELS)))
        x += active[:, part, None] * size * own
    block = two_bands.make(SETTINGS, CHANNELS).process(x.astype(np.float32), np.zeros(x.shape, bool), 0)
    missing = len(truth) - len(block.features)
    features = np.concatenate([np.repeat(block.features[:1], missing, axis=0), block.features])
    pieces = [Piece(i * TRIAL, (i + 1) * TRIAL, i, 0, 1, 0, False) for i in range(len(truth) // TRIAL)]
    return features, truth.astype(np.float32), pieces


def composed(n_trials: int = 150, seed: int = 0, **changed: Any) -> Composed:
    features, truth, pieces = recorded(np.tile(SINGLE, (6, 1)))
    given = {"features": features, "truth": truth, "pieces": pieces} | changed
    masked = given.pop("masked", np.zeros(features.shape, bool))
    made = compose(
        given["features"], masked, given["truth"], given["pieces"], NAMES, WINDOW, 0.02,
        np.random.default_rng(seed), n_trials,
    )  # fmt: skip
    assert made is not None
    return made


def test_two_movements_together_have_the_features_that_they_are_given(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("DRIFT_HIGH", "DRIFT_LOW", "APART"):
        monkeypatch.setattr(f"calibration.composition.{name}", 0.0)
    made = composed(1500)
    pair = np.array([1, 0, 1, 0, 0, 0])
    features, _, _ = recorded(np.tile(pair, (20, 1)), seed=1)
    held = np.arange(len(features)) % TRIAL
    real = features[(held >= 26) & (held < 40)]
    hop = np.concatenate([np.arange(n) for n in made.lengths])
    found = made.features[(made.truth == pair).all(1) & (hop >= 26)]
    assert len(found) > 20
    alone = recorded(np.tile([1, 0, 0, 0, 0, 0], (20, 1)), seed=2)[0][(held >= 26) & (held < 40)]
    spread = real.std(0) + 1e-9
    off = np.abs(found.mean(0) - real.mean(0)) / spread
    assert np.sqrt((off**2).mean()) < 0.6  # of one window's spread
    assert np.sqrt((((alone.mean(0) - real.mean(0)) / spread) ** 2).mean()) > 3


def test_every_number_of_fingers_and_both_ways_of_the_wrist_come() -> None:
    made = composed(300)
    edges = np.cumsum([0, *made.lengths])
    peak = np.array(
        [made.truth[a:b][np.abs(made.truth[a:b]).sum(1).argmax()] for a, b in pairwise(edges.tolist())]
    )
    fingers = np.count_nonzero(
        np.array([made.truth[a:b, :5].max(0) for a, b in pairwise(edges.tolist())]), axis=1
    )
    assert np.bincount(fingers, minlength=6).min() > 25
    assert 0.5 * WRIST < np.mean(np.abs(peak[:, 5]) > 0.5) < 1.5 * WRIST
    assert {-1.0, 1.0} <= set(np.unique(made.truth[:, 5]))


def test_the_same_seed_composes_the_same_and_another_does_not() -> None:
    first, again, other = composed(5, seed=3), composed(5, seed=3), composed(5, seed=4)
    np.testing.assert_array_equal(first.features, again.features)
    assert not np.array_equal(first.features[:TRIAL], other.features[:TRIAL])


def test_what_was_masked_in_a_part_is_masked_in_the_whole() -> None:
    features, _, _ = recorded(np.tile(SINGLE, (6, 1)))
    masked = np.zeros(features.shape, bool)
    masked[:, len(NAMES) // N_CHANNELS :][:, : len(NAMES) // N_CHANNELS] = True
    made = composed(5, masked=masked)
    assert made.masked.all(0).tolist() == masked.all(0).tolist() == made.masked.any(0).tolist()
    assert np.isfinite(made.features).all()


def test_a_channel_without_signal_gives_finite_features() -> None:
    features, _, _ = recorded(np.tile(SINGLE, (6, 1)))
    features[:, : len(NAMES) // N_CHANNELS] = 0.0
    assert np.isfinite(composed(20, features=features).features).all()


def test_pieces_follow_one_another_behind_the_recorded_ones() -> None:
    made = composed(3)
    pieces = made.pieces(1000, 50, 7)
    assert [(p.start, p.stop, p.trial) for p in pieces] == [
        (1000, 1060, 50),
        (1060, 1120, 51),
        (1120, 1180, 52),
    ]
    assert {p.segment for p in pieces} == {7}


def test_without_single_movements_or_rest_there_is_nothing_to_compose() -> None:
    features, truth, pieces = recorded([[1, 1, 0, 0, 0, 0]] * 3)
    masked, rng = np.zeros(features.shape, bool), np.random.default_rng(0)
    assert compose(features, masked, truth, pieces, NAMES, WINDOW, 0.02, rng) is None
    assert compose(features, masked, np.ones_like(truth), pieces, NAMES, WINDOW, 0.02, rng) is None
    assert N_COMPOSED == 480


def test_which_features_can_be_composed() -> None:
    assert can_compose(NAMES)
    assert can_compose(time_domain.make(FeatureSettings(WINDOW, HOP), CHANNELS).names)
    assert not can_compose(("a/root", "a/mean"))
    assert not can_compose(("a/mean_square",))
