from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from decoder.features import FeatureSettings, load
from decoder.features.envelope import FEATURE_NAMES, make
from firmware_bridge.errors import NervehandError
from tests.decoder.chunks import Step, assert_any_cut, assert_cut, random_cuts


def envelope(n: int, n_channels: int = 3) -> Any:
    return (np.random.default_rng(0).standard_normal((n, n_channels)) * 2 + 3).astype(np.float32)


def extract(x: Any, window: int, hop: int, features: tuple[str, ...] = (), first: int = 0) -> Any:
    names = tuple(f"c{c}" for c in range(x.shape[1]))
    return make(FeatureSettings(window, hop, features), names).process(x, np.zeros(x.shape, bool), first)


def test_one_vector_per_sample_is_the_root() -> None:
    x = envelope(50)
    block = extract(x, 1, 1)
    np.testing.assert_allclose(block.features, np.sqrt(np.maximum(x, 0)), rtol=1e-6)
    assert block.conditioned_index.tolist() == list(range(50))


@given(window=st.integers(1, 9), hop=st.integers(1, 9), first=st.integers(0, 20))
def test_every_column_is_what_its_name_says(window: int, hop: int, first: int) -> None:
    hop = min(hop, window)
    x = envelope(40, 2)
    block = extract(x, window, hop, FEATURE_NAMES, first)
    due = [j for j in range(first + window - 1, first + 40) if (j + 1) % hop == 0]
    assert block.conditioned_index.tolist() == due
    for row, last in zip(block.features, due, strict=True):
        w = np.maximum(x[last - first - window + 1 : last - first + 1].astype(np.float64), 0)
        expected = np.stack([np.sqrt(w).mean(0), w.mean(0), np.sqrt(w[-1]), np.sqrt(w[0])], axis=1)
        np.testing.assert_allclose(row, expected.reshape(-1), rtol=1e-6)


def test_a_pair_of_samples_can_be_had_whole() -> None:
    x = envelope(20, 2)
    block = extract(x, 2, 2, ("oldest_root", "newest_root"))
    roots = np.sqrt(np.maximum(x, 0)).reshape(10, 2, 2)
    np.testing.assert_allclose(block.features.reshape(10, 2, 2), roots.transpose(0, 2, 1), rtol=1e-6)


def test_a_masked_sample_masks_its_channel_for_the_window() -> None:
    x = envelope(12, 2)
    mask = np.zeros(x.shape, bool)
    mask[5, 1] = True
    block = make(FeatureSettings(4, 2, ("root", "mean")), ("a", "b")).process(x, mask, 0)
    assert block.conditioned_index.tolist() == [3, 5, 7, 9, 11]
    assert block.masked[:, :2].any() == np.False_
    assert block.masked[:, 2].tolist() == block.masked[:, 3].tolist() == [False, True, True, False, False]


def stage(window: int, hop: int) -> Step:
    features = make(FeatureSettings(window, hop, FEATURE_NAMES), ("a", "b", "c"))
    return lambda x, mask, first: tuple(features.process(x, mask, first))


@pytest.mark.parametrize(("window", "hop"), [(1, 1), (2, 2), (5, 2)])
def test_any_cut_gives_the_same_bits(window: int, hop: int) -> None:
    x = envelope(1300)
    assert_any_cut(lambda: stage(window, hop), [x, x > 7], first=3)


@given(cuts=random_cuts(100))
def test_random_cuts_give_the_same_bits(cuts: list[int]) -> None:
    x = envelope(100)
    assert_cut(lambda: stage(2, 2), [x, x > 7], cuts, first=1)


def test_names_and_refusals() -> None:
    assert load("envelope").make(FeatureSettings(1, 1), ("a", "b")).names == ("a/root", "b/root")
    with pytest.raises(NervehandError, match="'median'"):
        extract(envelope(5), 1, 1, ("median",))
