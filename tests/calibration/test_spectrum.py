"""Levels by band, on signals whose levels are known."""

from __future__ import annotations

import numpy as np
import pytest

from calibration.spectrum import band_levels_uv
from firmware_bridge.errors import NervehandError

RATE_HZ = 10_000.0
BANDS = ((25.0, 300.0), (300.0, 1000.0), (1000.0, 5000.0))
T_S = np.arange(50_000) / RATE_HZ
EVERYWHERE = np.ones(len(T_S), np.bool_)


def test_a_tone_is_found_in_its_band_with_its_root_mean_square() -> None:
    x = np.stack([3.0 * np.sqrt(2) * np.sin(2 * np.pi * 500.0 * T_S), np.zeros_like(T_S)], axis=1)
    levels = band_levels_uv(x, EVERYWHERE, RATE_HZ, BANDS)
    np.testing.assert_allclose(levels[:, 0], [0, 3, 0], atol=0.01)
    assert not levels[:, 1].any()


def test_white_noise_is_spread_by_the_width_of_the_bands() -> None:
    x = 5.0 * np.random.default_rng(1).standard_normal((len(T_S), 1))
    levels = band_levels_uv(x, EVERYWHERE, RATE_HZ, BANDS)
    widths = np.array([high - low for low, high in BANDS])
    np.testing.assert_allclose(levels[:, 0], 5.0 * np.sqrt(widths / (RATE_HZ / 2)), rtol=0.03)


def test_only_the_chosen_samples_count() -> None:
    x = np.where(T_S < 2.5, 1.0, 9.0)[:, None] * np.sqrt(2) * np.sin(2 * np.pi * 500.0 * T_S)[:, None]
    for chosen, level in ((T_S < 2.5, 1.0), (T_S >= 2.5, 9.0)):
        assert band_levels_uv(x, chosen, RATE_HZ, BANDS)[1, 0] == pytest.approx(level, rel=0.01)


def test_too_little_to_judge_is_said() -> None:
    with pytest.raises(NervehandError, match=r"no 0\.25 s in a row"):
        band_levels_uv(np.zeros((50_000, 1)), np.arange(50_000) % 100 < 99, RATE_HZ, BANDS)
