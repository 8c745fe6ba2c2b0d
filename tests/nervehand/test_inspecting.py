"""The statistics of a stream, on signals whose answers are known."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nervehand.inspecting import (
    band_noise,
    channel_figures,
    flat_samples,
    measure_mains,
    measure_rate,
    railed,
    stronger_mains,
)

RATE_HZ = 10_000.0


def arrivals(
    rate_hz: float, seconds: float, late_s: np.ndarray | float = 0.0, block: int = 50
) -> tuple[np.ndarray, np.ndarray]:
    ends = np.arange(block, round(rate_hz * seconds), block)
    return ends, np.round((ends / rate_hz + late_s) * 1e9).astype(np.int64) + 10**15


def noise(n: int, n_channels: int, std: float, seed: int = 0) -> np.ndarray:
    return (np.random.default_rng(seed).standard_normal((n, n_channels)) * std).astype(np.float32)


def tone(frequency_hz: float, amplitude: float, n: int) -> np.ndarray:
    phase = 2 * np.pi * frequency_hz * np.arange(n) / RATE_HZ
    return (amplitude * np.sin(phase + 0.7)).astype(np.float32)[:, None]


def test_blocks_that_come_on_time_give_the_rate_itself() -> None:
    found = measure_rate(*arrivals(10_037.0, 2.0))
    assert found is not None
    assert found.rate_hz == pytest.approx(10_037.0, abs=0.01)
    assert found.lateness_p99_ms == pytest.approx(0.0, abs=1e-3)
    assert found.agrees_with(10_037.5)
    assert not found.agrees_with(10_000.0)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 1000), st.floats(500, 40_000), st.floats(0.0, 4e-3))
def test_the_true_rate_lies_within_the_uncertainty(seed: int, rate_hz: float, jitter_s: float) -> None:
    ends, _ = arrivals(rate_hz, 5.0)
    late = np.random.default_rng(seed).exponential(jitter_s, len(ends)) if jitter_s else 0.0
    ends, at_ns = arrivals(rate_hz, 5.0, late)
    found = measure_rate(ends, np.maximum.accumulate(at_ns))
    assert found is not None
    assert found.agrees_with(rate_hz)
    assert found.uncertainty_hz / rate_hz < 1e-4 + 2 * 4e-3


def test_a_host_that_stalls_for_a_second_does_not_move_the_rate_but_shows_as_lateness() -> None:
    ends, at_ns = arrivals(RATE_HZ, 10.0)
    stalled = (at_ns >= at_ns[0] + 3 * 10**9) & (at_ns < at_ns[0] + 4 * 10**9)
    at_ns = np.where(stalled, at_ns[0] + 4 * 10**9, at_ns)
    found = measure_rate(ends, at_ns)
    assert found is not None
    assert found.rate_hz == pytest.approx(RATE_HZ, rel=1e-4)
    assert found.lateness_p99_ms > 800


def test_what_says_nothing_about_a_rate_gives_none() -> None:
    assert measure_rate(*arrivals(RATE_HZ, 0.03)) is None
    ends, at_ns = arrivals(RATE_HZ, 1.0)
    assert measure_rate(ends, np.zeros_like(at_ns)) is None


def test_noise_is_measured_in_its_band_and_spikes_move_its_robust_estimate_little() -> None:
    samples = noise(50_000, 2, 10.0)
    band = (300.0, 3000.0)
    expected = 10.0 * np.sqrt((band[1] - band[0]) / (RATE_HZ / 2))
    rms, robust = band_noise([samples], RATE_HZ, band)
    assert rms == pytest.approx(expected, rel=0.1)
    assert robust == pytest.approx(rms, rel=0.05)
    spiky = samples.copy()
    spiky[::200, 0] += 300.0
    with_spikes, robust_with_spikes = band_noise([spiky], RATE_HZ, band)
    assert with_spikes[0] > 1.5 * rms[0]
    assert robust_with_spikes[0] < 1.25 * robust[0]
    assert with_spikes[1] == pytest.approx(rms[1], rel=1e-6)


def test_what_lies_outside_the_band_an_offset_too_is_no_noise() -> None:
    samples = tone(20.0, 1000.0, 50_000) + 5e4
    rms, _ = band_noise([samples.astype(np.float32)], RATE_HZ, (300.0, 3000.0))
    assert rms[0] < 1000 / np.sqrt(2) / 100


def test_without_a_band_noise_is_the_spread_about_the_mean() -> None:
    rms, _ = band_noise([noise(50_000, 1, 7.0) + np.float32(100)], RATE_HZ, None)
    assert rms[0] == pytest.approx(7.0, rel=0.02)


def test_values_that_are_not_finite_are_left_out_and_short_stretches_give_none() -> None:
    samples = noise(20_000, 2, 10.0)
    samples[500, 0] = np.nan
    samples[:, 1] = np.nan
    rms, robust = band_noise([samples], RATE_HZ, (300.0, 3000.0))
    assert rms[0] == pytest.approx(7.3, rel=0.1)
    assert rms[1] == robust[1] == 0
    short, _ = band_noise([noise(100, 2, 1.0)], RATE_HZ, (25.0, 600.0))
    assert np.isnan(short).all()


@pytest.mark.parametrize("seconds", [0.6, 1.0, 4.5])
def test_the_amplitude_of_the_mains_and_its_share_are_found_in_noise(seconds: float) -> None:
    n = round(seconds * RATE_HZ)
    samples = noise(n, 3, 5.0) + tone(50.0, 20.0, n)
    samples[:, 1:2] += tone(150.0, 10.0, n)
    samples[:, 2:] -= tone(50.0, 20.0, n)
    fifty, sixty = measure_mains([samples], RATE_HZ)
    assert fifty.amplitude_uv[:2] == pytest.approx(20.0, rel=0.05)
    assert fifty.share[0] == pytest.approx(200 / (200 + 25), rel=0.05)
    assert fifty.share[1] == pytest.approx(250 / (250 + 25), rel=0.05)
    assert fifty.share[2] < 0.1
    assert fifty.amplitude_uv[2] < 0.6
    assert sixty.amplitude_uv.max() < 0.6
    assert stronger_mains((fifty, sixty), 50.0) is None
    assert stronger_mains((fifty, sixty), 60.0) == 50.0


def test_noise_alone_is_no_mains_of_either_frequency() -> None:
    for seed in range(20):
        mains = measure_mains([noise(20_000, 4, 5.0, seed)], RATE_HZ)
        assert stronger_mains(mains, 50.0) is None
        assert stronger_mains(mains, 60.0) is None


def test_the_mains_are_measured_across_gaps_from_the_stretches_between() -> None:
    n = 25_000
    samples = noise(n, 1, 1.0) + tone(60.0, 8.0, n)
    whole = [samples[:12_000], samples[12_345:]]
    _, sixty = measure_mains(whole, RATE_HZ)
    assert sixty.amplitude_uv[0] == pytest.approx(8.0, rel=0.03)


def test_where_the_mains_cannot_be_told_nothing_is_said() -> None:
    assert measure_mains([], RATE_HZ) == ()
    assert measure_mains([noise(2000, 1, 1.0)], RATE_HZ) == ()
    assert [m.frequency_hz for m in measure_mains([noise(1000, 1, 1.0)], 120.0)] == [50.0]


def test_railed_samples_are_those_at_the_limit_of_the_converter() -> None:
    counts = np.array([[32767, 0], [-32768, 32766], [-32767, 1]], np.int16)
    assert railed(counts, None).tolist() == [[True, False], [True, False], [True, False]]
    assert railed(counts, 0.195 * 32000, 0.195).sum() == 4
    volts = np.array([[6389.0, -6390.0]], np.float32)
    assert railed(volts, 6389.0).tolist() == [[True, True]]
    assert not railed(volts, None).any()


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(1, 700), min_size=1, max_size=12))
def test_flat_samples_are_those_of_long_stretches_of_one_value(lengths: list[int]) -> None:
    """At 1 kHz a stretch is flat from 250 samples on; neighbours differ."""
    column = np.concatenate([np.full(length, i % 3, np.int16) for i, length in enumerate(lengths)])
    samples = np.stack([column, np.arange(len(column), dtype=np.int16)], axis=1)
    expected = sum(length for length in lengths if length >= 250)
    assert flat_samples(samples, 1000.0).tolist() == [expected, 0]


def test_all_figures_of_many_channels_are_those_of_each_alone() -> None:
    rng = np.random.default_rng(1)
    counts = (rng.standard_normal((12_000, 35)) * 30).astype(np.int16)
    counts[:, 3] = 7
    counts[100:110, 20] = 32767
    stretches = [counts[:11_000], counts[11_500:]]
    band = (300.0, 3000.0)
    found = channel_figures(stretches, 0.5, RATE_HZ, None, band)
    assert found.n_samples == 11_500
    assert found.flat.nonzero()[0].tolist() == [3]
    assert found.railed.nonzero()[0].tolist() == [20]
    assert found.railed[20] == 10
    assert found.offset_uv[3] == 3.5
    for c in (0, 16, 34):
        alone = channel_figures([part[:, c : c + 1] for part in stretches], 0.5, RATE_HZ, None, band)
        assert alone.noise_uv[0] == pytest.approx(found.noise_uv[c])
        assert alone.mains[1].share[0] == pytest.approx(found.mains[1].share[c])
