from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from decoder.features import FeatureSettings, load
from decoder.features.time_domain import FEATURE_NAMES, LOG_FLOOR, make
from firmware_bridge.errors import NervehandError, StreamMismatchError
from tests.decoder.chunks import Step, assert_any_cut, assert_cut, random_cuts

COUNTS = ("zero_crossings", "slope_sign_changes", "willison_amplitude", "myopulse_rate")
Window = NDArray[np.float64]


def sgn(v: Window) -> Window:
    return np.where(v > 0, 1.0, 0.0)


def log(v: Window) -> Window:
    return np.log(np.maximum(v, LOG_FLOOR))


def middle_weight(n: int) -> Window:
    w = np.full(n, 0.5)
    w[n // 4 : n - n // 4] = 1.0
    return w


# One channel's window x, N = len(x): the table of the paper, line by line.
FORMULAS: dict[str, Any] = {
    "zero_crossings": lambda x: np.sum(sgn(-(x[:-1] - x.mean()) * (x[1:] - x.mean()))),
    "slope_sign_changes": lambda x: np.sum(sgn(-np.diff(x)[1:] * np.diff(x)[:-1])),
    "waveform_length": lambda x: np.sum(np.abs(np.diff(x))),
    "willison_amplitude": lambda x: np.sum(sgn(np.abs(np.diff(x)) - x.std())),
    "mean_absolute": lambda x: np.mean(np.abs(x)),
    "mean_square": lambda x: np.mean(x**2),
    "root_mean_square": lambda x: np.sqrt(np.mean(x**2)),
    "v_order_3": lambda x: np.cbrt(np.mean(x**3)),
    "log_detector": lambda x: np.exp(np.mean(log(np.abs(x)))),
    "difference_absolute_std": lambda x: np.sqrt(np.sum(np.diff(x) ** 2) / (len(x) - 1)),
    "maximum_fractal_length": lambda x: log(np.sqrt(np.sum(np.diff(x) ** 2))),
    "myopulse_rate": lambda x: np.sum(sgn(np.abs(x) - x.std())),
    "mean_absolute_slope": lambda x: (
        (np.sum(np.abs(x[: len(x) // 2])) - np.sum(np.abs(x[len(x) // 2 :]))) / (len(x) / 2)
    ),
    "weighted_mean_absolute": lambda x: np.mean(middle_weight(len(x)) * np.abs(x)),
}

# How far each count's terms are from changing, and what its terms are compared with.
THRESHOLDS: dict[str, Any] = {
    "zero_crossings": lambda x: np.abs(x - x.mean()),
    "slope_sign_changes": lambda x: np.abs(np.diff(x)),
    "willison_amplitude": lambda x: np.abs(np.abs(np.diff(x)) - x.std()),
    "myopulse_rate": lambda x: np.abs(np.abs(x) - x.std()),
}


def signal(n: int, n_channels: int, seed: int = 0) -> Any:
    """Noise of differing size and offset per channel."""
    rng = np.random.default_rng(seed)
    size, offset = 10 ** rng.uniform(-1, 3, n_channels), rng.standard_normal(n_channels) * 20
    return (rng.standard_normal((n, n_channels)) * size + offset).astype(np.float32)


def extractor(window: int, hop: int, n_channels: int, features: tuple[str, ...] = ()) -> Any:
    return make(FeatureSettings(window, hop, features), tuple(f"c{c}" for c in range(n_channels)))


def extract(x: Any, window: int, hop: int, first: int = 0) -> Any:
    return extractor(window, hop, x.shape[1]).process(x, np.zeros(x.shape, bool), first)


def assert_formulas(x: Any, block: Any, window: int, first: int = 0) -> None:
    table = block.features.reshape(len(block.features), x.shape[1], len(FEATURE_NAMES))
    for row, last in enumerate(block.conditioned_index):
        rows = x[last - first - window + 1 : last - first + 1].astype(np.float64)
        for channel in range(x.shape[1]):
            w = rows[:, channel]
            for column, name in enumerate(FEATURE_NAMES):
                value, expected = float(table[row, channel, column]), float(FORMULAS[name](w))
                where = f"{name} of channel {channel} at {last}"
                if name in COUNTS:
                    unsure = int(np.sum(THRESHOLDS[name](w) <= 1e-9 * np.abs(w).max()))
                    assert abs(value - expected) <= 2 * unsure, where
                else:
                    # A difference of two near-equal sums is as exact as the sums; float32 ends at 1e-38.
                    slack = 1e-6 * np.mean(np.abs(w)) if name == "mean_absolute_slope" else 1e-37
                    assert value == pytest.approx(expected, rel=1e-6, abs=slack), where


@pytest.mark.parametrize(
    ("window", "hop", "n_channels", "first"),
    [
        (500, 100, 16, 0),
        (500, 100, 3, 37),
        (501, 100, 2, 5),
        (77, 13, 17, 9),
        (64, 64, 1, 3),
        (65, 64, 2, 1),
        (50, 1, 2, 0),
        (500, 5, 2, 1),
        (4, 4, 1, 2),
        (5, 3, 1, 1),
        (7, 1, 1, 0),
    ],
)
def test_every_feature_equals_its_formula(window: int, hop: int, n_channels: int, first: int) -> None:
    x = signal(window + 7 * hop + 11, n_channels)
    block = extract(x, window, hop, first)
    assert len(block.features) >= 5
    assert_formulas(x, block, window, first)


@given(window=st.integers(4, 60), hop=st.integers(1, 60), first=st.integers(0, 100), seed=st.integers(0, 100))
def test_every_window_and_hop(window: int, hop: int, first: int, seed: int) -> None:
    hop = min(hop, window)
    x = signal(window + 3 * hop, 2, seed)
    block = extract(x, window, hop, first)
    due = [j for j in range(first + window - 1, first + len(x)) if (j + 1) % hop == 0]
    assert block.conditioned_index.tolist() == due
    assert_formulas(x, block, window, first)


def test_many_channels_are_channel_major_and_independent() -> None:
    x = signal(700, 1024)
    block = extract(x, 500, 100)
    assert block.features.shape == (3, 1024 * 14)
    alone = extract(x[:, 700:701], 500, 100)
    assert block.features[:, 700 * 14 : 701 * 14].tobytes() == alone.features.tobytes()


@pytest.mark.parametrize(
    "x",
    [
        pytest.param(np.zeros((600, 2), np.float32), id="zero"),
        pytest.param(np.full((600, 2), 3.3, np.float32), id="constant"),
        pytest.param(np.full((600, 2), -3.3, np.float32), id="negative constant"),
        pytest.param(
            np.where(np.arange(1200).reshape(600, 2) % 7 < 3, 5e6, -5e6).astype(np.float32), id="railed"
        ),
        pytest.param(np.eye(600, 2, -300, np.float32) * 1e6, id="one impulse"),
        pytest.param(np.full((600, 2), 1e-30, np.float32), id="tiny"),
    ],
)
def test_degenerate_input_is_finite_and_as_the_formulas_say(x: Any) -> None:
    block = extract(x, 500, 100)
    assert np.isfinite(block.features).all()
    assert_formulas(x, block, 500)


def test_the_largest_float32_is_finite() -> None:
    x = signal(600, 2)
    x[200:400] = np.finfo(np.float32).max
    assert np.isfinite(extract(x, 500, 100).features).all()


def test_a_mean_that_dwarfs_the_deviation_does_not_spoil_the_counts() -> None:
    x = (np.random.default_rng(1).integers(-8, 9, (700, 3)) + 2.0**20).astype(np.float32)
    assert_formulas(x, extract(x, 500, 100), 500)


def test_an_artefact_leaves_no_trace_once_it_left_the_window() -> None:
    x = signal(2000, 2)
    spoilt = x.copy()
    spoilt[300:400] = 9e6
    clean, after = extract(x, 500, 100), extract(spoilt, 500, 100)
    later = clean.conditioned_index - 499 >= 400
    assert clean.features[later].tobytes() == after.features[later].tobytes()


def test_features_are_chosen_by_name_in_the_order_named() -> None:
    x, chosen = signal(600, 2), ("root_mean_square", "zero_crossings")
    some = extractor(500, 100, 2, chosen)
    assert some.names == (
        "c0/root_mean_square", "c0/zero_crossings", "c1/root_mean_square", "c1/zero_crossings",
    )  # fmt: skip
    every = extract(x, 500, 100).features
    columns = [channel * 14 + FEATURE_NAMES.index(name) for channel in range(2) for name in chosen]
    assert some.process(x, np.zeros(x.shape, bool), 0).features.tobytes() == every[:, columns].tobytes()
    assert some.n_features == 4


def test_a_channel_masked_anywhere_in_the_window_has_all_its_features_masked() -> None:
    x = signal(1500, 3)
    mask = np.zeros(x.shape, bool)
    mask[600, 1] = True
    block = extractor(500, 100, 3).process(x, mask, 0)
    masked = block.masked.reshape(len(block.masked), 3, 14)
    assert not masked[:, [0, 2]].any()
    inside = (block.conditioned_index - 499 <= 600) & (block.conditioned_index >= 600)
    assert masked[:, 1].all(axis=1).tolist() == inside.tolist()
    assert masked[:, 1].any(axis=1).tolist() == inside.tolist()
    assert inside.sum() == 5


def stage(window: int, hop: int, n_channels: int) -> Step:
    features = extractor(window, hop, n_channels)
    return lambda x, mask, first: tuple(features.process(x, mask, first))


@pytest.mark.parametrize(
    ("window", "hop", "n_channels"), [(500, 100, 16), (501, 100, 3), (77, 13, 17), (50, 1, 2), (64, 64, 1)]
)
def test_any_cut_gives_the_same_bits(window: int, hop: int, n_channels: int) -> None:
    x = signal(1700, n_channels)
    mask = np.random.default_rng(2).random(x.shape) < 0.0005
    assert_any_cut(lambda: stage(window, hop, n_channels), [x, mask], first=23)


@given(cuts=random_cuts(900), first=st.integers(0, 200))
def test_random_cuts_give_the_same_bits(cuts: list[int], first: int) -> None:
    x = signal(900, 2)
    assert_cut(lambda: stage(101, 17, 2), [x, np.abs(x) > 2500], cuts, first)


def test_a_window_has_the_same_bits_wherever_the_stream_began() -> None:
    x = signal(1500, 2)
    early, late = extract(x, 500, 100), extract(x[333:], 500, 100, 333)
    assert late.features.tobytes() == early.features[-len(late.features) :].tobytes()


def test_reset_emits_nothing_from_before() -> None:
    x, mask = signal(700, 2), np.zeros((700, 2), bool)
    mask[-1] = True
    features = extractor(500, 100, 2)
    features.process(x, mask, 0)
    with pytest.raises(NervehandError, match=r"index 900.*before 700"):
        features.process(x, mask, 900)
    features.reset()
    again = features.process(x, np.zeros_like(mask), 900)
    assert again.conditioned_index.tolist() == [1399, 1499, 1599]
    assert not again.masked.any()
    assert again.features.tobytes() == extract(x, 500, 100, 900).features.tobytes()


@pytest.mark.parametrize(
    ("window", "hop", "features", "said"),
    [
        (100, 200, (), "window of 100 samples is shorter than the hop of 200"),
        (100, 0, (), "hop is 0"),
        (3, 1, (), "3 samples: these features need 4"),
        (100, 10, ("kurtosis",), "'kurtosis'"),
        (100, 10, ("mean_square", "mean_square"), "repeat"),
    ],
)
def test_settings_that_cannot_be_are_refused(
    window: int, hop: int, features: tuple[str, ...], said: str
) -> None:
    with pytest.raises(NervehandError, match=said):
        extractor(window, hop, 2, features)


def test_another_channel_count_is_refused() -> None:
    with pytest.raises(StreamMismatchError, match=r"\(5, 3\).*2 channels"):
        extractor(500, 100, 2).process(np.zeros((5, 3), np.float32), np.zeros((5, 3), bool), 0)


def test_a_feature_set_is_found_by_its_modules_name() -> None:
    assert load("time_domain").FEATURE_NAMES == FEATURE_NAMES
    with pytest.raises(NervehandError, match="'wavelet': use one of envelope, time_domain, two_bands"):
        load("wavelet")
