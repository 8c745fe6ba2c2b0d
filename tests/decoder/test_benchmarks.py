"""What a hop costs, beside SciPy's filters and NumPy's features in the same run. Nothing is asserted about time.

    pytest tests/decoder/test_benchmarks.py -m slow --benchmark-only

Each round is one 20 ms hop of 16 channels at 10 kHz, decimated to 5 kHz, with a 500-sample window.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from scipy import signal

from decoder.conditioning import Conditioner
from decoder.conditioning_design import default_settings, design
from decoder.features import FeatureSettings, load
from decoder.health import ChannelHealth
from decoder.normalisation import Normalisation
from firmware_bridge.stream import SignalBlock, StreamInfo

pytestmark = pytest.mark.slow

RATE, CHANNELS, WINDOW, HOP, RAW_HOP = 10_000.0, 16, 500, 100, 200
INFO = StreamInfo(RATE, tuple(f"c{c}" for c in range(CHANNELS)), "nerve", full_scale_uv=6000.0)
BLOCKS = [
    (np.random.default_rng(seed).standard_normal((RAW_HOP, CHANNELS)) * 50).astype(np.float32)
    for seed in range(50)
]
NOTHING = np.zeros((RAW_HOP, CHANNELS), bool)


def raw_hops() -> Callable[[], tuple[tuple[Any, int], dict[str, Any]]]:
    """Consecutive blocks with the index of their first sample."""
    numbers = itertools.count()

    def next_hop() -> tuple[tuple[Any, int], dict[str, Any]]:
        number = next(numbers)
        return (BLOCKS[number % len(BLOCKS)], number * RAW_HOP), {}

    return next_hop


def run(benchmark: Any, hop: Callable[[Any, int], object]) -> None:
    benchmark.pedantic(hop, setup=raw_hops(), rounds=2000, warmup_rounds=20)


def test_health(benchmark: Any) -> None:
    health = ChannelHealth(INFO)
    run(benchmark, lambda block, first: health.process(SignalBlock(block, first)))


def test_conditioning(benchmark: Any) -> None:
    conditioner = Conditioner(design(default_settings(INFO), INFO), CHANNELS)
    run(benchmark, lambda block, first: conditioner.process(block, NOTHING, first))


def test_conditioning_and_14_features(benchmark: Any) -> None:
    conditioner = Conditioner(design(default_settings(INFO), INFO), CHANNELS)
    features = load("time_domain").make(FeatureSettings(WINDOW, HOP), INFO.channel_names)
    run(benchmark, lambda block, first: features.process(*conditioner.process(block, NOTHING, first)))


def test_health_to_normalised_features(benchmark: Any) -> None:
    health = ChannelHealth(INFO)
    conditioner = Conditioner(design(default_settings(INFO), INFO), CHANNELS)
    features = load("time_domain").make(FeatureSettings(WINDOW, HOP), INFO.channel_names)
    ones = np.ones(features.n_features, np.float32)
    normalisation = Normalisation(ones, ones, 8.0, ("none",) * features.n_features)

    def hop(block: Any, first: int) -> Any:
        judged = health.process(SignalBlock(block, first))
        made = features.process(*conditioner.process(judged.samples, judged.mask, judged.first_sample))
        return normalisation.apply(made.features, made.masked)

    run(benchmark, hop)


def numpy_features(x: Any) -> Any:
    """The same 14 over the whole window, as one would write them in NumPy, axis 0 being time."""
    n = len(x)
    difference, magnitude, std = np.diff(x, axis=0), np.abs(x), x.std(axis=0)
    centred = x - x.mean(axis=0)
    weight = np.full((n, 1), 0.5)
    weight[n // 4 : n - n // 4] = 1.0
    square = (x**2).mean(axis=0)
    difference_square = (difference**2).sum(axis=0)
    return np.stack(
        [
            (centred[1:] * centred[:-1] < 0).sum(axis=0),
            (difference[1:] * difference[:-1] < 0).sum(axis=0),
            np.abs(difference).sum(axis=0),
            (np.abs(difference) > std).sum(axis=0),
            magnitude.mean(axis=0),
            square,
            np.sqrt(square),
            np.cbrt((x**3).mean(axis=0)),
            np.exp(np.log(np.maximum(magnitude, 1e-12)).mean(axis=0)),
            np.sqrt(difference_square / (n - 1)),
            np.log(np.maximum(np.sqrt(difference_square), 1e-12)),
            (magnitude > std).sum(axis=0),
            (magnitude[: n // 2].sum(axis=0) - magnitude[n // 2 :].sum(axis=0)) / (n / 2),
            (weight * magnitude).mean(axis=0),
        ],
        axis=1,
    )


def test_baseline_scipy_filters_and_numpy_features(benchmark: Any) -> None:
    coefficients = design(default_settings(INFO), INFO)
    fir_state = np.zeros((len(coefficients.fir) - 1, CHANNELS))
    sos_state = np.zeros((len(coefficients.sos), 2, CHANNELS))
    window = np.zeros((WINDOW, CHANNELS))

    def hop(block: Any, first: int) -> Any:
        filtered, fir_state[:] = signal.lfilter(coefficients.fir, [1.0], block, axis=0, zi=fir_state)
        conditioned, sos_state[:] = signal.sosfilt(coefficients.sos, filtered[1::2], axis=0, zi=sos_state)
        window[:-HOP] = window[HOP:]
        window[-HOP:] = conditioned
        return numpy_features(window)

    run(benchmark, hop)
