"""Nerve and muscle from one stream: the high band's features, the low band's power, its mains and its masks."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given

from decoder.features import FeatureSettings, load, time_domain
from decoder.features.two_bands import FEATURE_NAMES, make
from firmware_bridge.errors import NervehandError
from tests.decoder.chunks import Step, assert_any_cut, assert_cut, random_cuts

WINDOW, HOP, LOW, MAINS = 200, 40, 8, 5
SETTINGS = FeatureSettings(WINDOW, HOP, low_samples=LOW, mains_samples=MAINS, groups=(0, 0, 1))
NAMES = ("a", "b", "c")
FIRST = 3


def noise(n: int = 1300) -> Any:
    return np.random.default_rng(0).standard_normal((n, len(NAMES))).astype(np.float32)


def columns(x: Any, mask: Any = None, settings: FeatureSettings = SETTINGS) -> tuple[Any, Any, Any]:
    mask = np.zeros(x.shape, bool) if mask is None else mask
    block = make(settings, NAMES).process(x, mask, FIRST)
    shape = (len(block.features), len(NAMES), -1)
    return block.features.reshape(shape), block.masked.reshape(shape), block.conditioned_index


def low_values(x: Any) -> dict[int, Any]:
    """The low band's value of each number that is whole and has a partner."""
    last = (FIRST + len(x)) // LOW
    means = {v: x[v * LOW - FIRST : (v + 1) * LOW - FIRST].astype(float).mean(0) for v in range(1, last)}
    return {v: (means[v] - means[v - MAINS]) / np.sqrt(2) for v in means if v - MAINS in means}


def test_the_high_band_has_the_features_of_a_sample_without_the_mean_about_it() -> None:
    x = noise()
    side = LOW // 4
    padded = np.concatenate([np.zeros((2 * side, 3), np.float32), x])
    high = np.array(
        [padded[t + side] - padded[t : t + 2 * side + 1].mean(0) for t in range(len(x))], np.float32
    )
    expected = time_domain.make(FeatureSettings(WINDOW, HOP), NAMES).process(
        high, np.zeros(x.shape, bool), FIRST
    )
    found, _, index = columns(x)
    assert index.tolist() == expected.conditioned_index.tolist()
    np.testing.assert_allclose(
        found[:, :, :14].reshape(len(found), -1), expected.features, rtol=1e-4, atol=1e-4
    )


def test_the_low_band_is_the_power_of_means_without_what_was_a_period_ago() -> None:
    x = noise()
    values = low_values(x)
    found, _, index = columns(x)
    for row, last in zip(found, index.tolist(), strict=True):
        own = np.array(
            [d for v, d in values.items() if v * LOW > last - WINDOW and (v + 1) * LOW <= last + 1]
        )
        np.testing.assert_allclose(row[:, 14], (own**2).mean(0), rtol=1e-5)
        together = np.stack([own[:, :2].mean(1)] * 2 + [own[:, 2]], axis=1)
        np.testing.assert_allclose(row[:, 15], (together**2).mean(0), rtol=1e-5)


def test_the_mains_and_their_harmonics_leave_nothing_in_the_low_band() -> None:
    t = np.arange(1300)
    period = LOW * MAINS
    waves = [np.sin(2 * np.pi * k * t / period + k) / k for k in (1, 2, 3, 5)]
    found, _, _ = columns(np.stack([sum(waves)] * 3, axis=1).astype(np.float32))
    assert found[:, :, 14:].max() < 1e-10
    left = FeatureSettings(WINDOW, HOP, low_samples=LOW)
    assert columns(np.stack([sum(waves)] * 3, axis=1).astype(np.float32), None, left)[0][:, :, 14].min() > 0.1


def test_what_all_channels_of_a_group_share_is_heard_and_their_noise_is_averaged_out() -> None:
    x = noise(4000)
    slow = np.repeat(np.random.default_rng(1).standard_normal(4000 // LOW), LOW)[:, None]
    found, _, _ = columns((x + 0.5 * slow).astype(np.float32))
    alone, _, _ = columns(x)
    rise = found[:, 0].mean(0) / alone[:, 0].mean(0)
    assert rise[15] > 1.5 * rise[14] > 1.5


def test_a_masked_channel_is_masked_as_far_as_its_samples_reach_and_leaves_the_mean_of_its_group() -> None:
    x = noise()
    mask = np.zeros(x.shape, bool)
    mask[400:410, 1] = True
    x[400:410, 1] = 0.0
    found, masked, index = columns(x, mask)
    reach = WINDOW + (MAINS + 1) * LOW
    expected = (index >= 400 + FIRST) & (index < 409 + FIRST + reach)
    assert masked[:, 1].all(1).tolist() == masked[:, 1].any(1).tolist() == expected.tolist()
    assert not masked[:, [0, 2]].any()
    loud = x.copy()
    loud[400:410, 1] = 1000.0  # which a masked sample never is, but nothing of it may be left
    again, _, _ = columns(loud, mask)
    np.testing.assert_array_equal(again[:, 0], found[:, 0])


def stage() -> Step:
    features = make(SETTINGS, NAMES)
    return lambda x, mask, first: tuple(features.process(x, mask, first))


def test_any_cut_gives_the_same_bits() -> None:
    x = noise()
    assert_any_cut(stage, [x, x > 3], first=FIRST)


@given(cuts=random_cuts(600))
def test_random_cuts_give_the_same_bits(cuts: list[int]) -> None:
    x = noise(600)
    assert_cut(stage, [x, x > 3], cuts, first=1)


def test_after_a_reset_nothing_is_left_of_what_came_before() -> None:
    x = noise()
    used = make(SETTINGS, NAMES)
    used.process(1e3 * x, x > 2, 17)
    used.reset()
    again, fresh = (f.process(x, np.zeros(x.shape, bool), 5) for f in (used, make(SETTINGS, NAMES)))
    for a, b in zip(again, fresh, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("names", [("low_square",), ("low_common", "mean_square"), ("zero_crossings",)])
def test_some_columns_are_those_of_all(names: tuple[str, ...]) -> None:
    x = noise()
    some = FeatureSettings(WINDOW, HOP, names, LOW, MAINS, (0, 0, 1))
    found, all_of_them = columns(x, None, some)[0], columns(x)[0]
    np.testing.assert_array_equal(found, all_of_them[:, :, [FEATURE_NAMES.index(name) for name in names]])


def test_refusals_say_what_to_give() -> None:
    assert load("two_bands").FEATURE_NAMES == FEATURE_NAMES
    with pytest.raises(NervehandError, match="need low_samples"):
        make(FeatureSettings(WINDOW, HOP), NAMES)
    with pytest.raises(NervehandError, match="give 56 or more"):
        make(FeatureSettings(55, HOP, low_samples=LOW, mains_samples=MAINS), NAMES)
    with pytest.raises(NervehandError, match="2 groups for 3 channels"):
        make(FeatureSettings(WINDOW, HOP, low_samples=LOW, groups=(0, 1)), NAMES)
    with pytest.raises(NervehandError, match="low_samples is -1"):
        FeatureSettings(WINDOW, HOP, low_samples=-1)
