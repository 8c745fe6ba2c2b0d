from __future__ import annotations

import dataclasses
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from scipy import signal

from decoder.conditioning import (
    Coefficients,
    Conditioner,
    ConditioningSettings,
    Rereference,
    conditioned_names,
)
from decoder.conditioning_design import default_settings, design
from firmware_bridge.errors import NervehandError, StreamMismatchError
from firmware_bridge.stream import StreamInfo, StreamKind
from tests.decoder.chunks import Step, assert_any_cut, assert_cut, random_cuts


def stream(rate_hz: float = 10_000.0, n_channels: int = 4, kind: StreamKind = "emg") -> StreamInfo:
    return StreamInfo(rate_hz, tuple(f"c{c}" for c in range(n_channels)), kind)


def designed(info: StreamInfo, **changed: Any) -> Coefficients:
    return design(dataclasses.replace(default_settings(info), **changed), info)


def noise(n: int, n_channels: int = 4, offset: float = 1000.0) -> Any:
    rng = np.random.default_rng(5)
    return (rng.standard_normal((n, n_channels)) * 50 + offset).astype(np.float32)


def condition(coefficients: Coefficients, x: Any, mask: Any = None, first: int = 0) -> tuple[Any, Any, int]:
    mask = np.zeros(x.shape, bool) if mask is None else mask
    return Conditioner(coefficients, x.shape[1]).process(x, mask, first)


def scipy_reference(coefficients: Coefficients, x: Any, first: int, rereference: str) -> Any:
    """The same chain with SciPy's own filters, started from the steady state of the first sample."""
    before = np.repeat(x[:1].astype(np.float64), len(coefficients.fir) - 1, axis=0)
    filtered = signal.lfilter(coefficients.fir, [1.0], np.concatenate([before, x]), axis=0)[len(before) :]
    d = coefficients.decimation
    y = filtered[[i for i in range(len(x)) if (first + i + 1) % d == 0]]
    if rereference == "average":
        y = y - y.mean(axis=1, keepdims=True)
    if rereference == "bipolar":
        y = y[:, :-1] - y[:, 1:]
    if len(coefficients.sos) == 0:
        return y
    zi = signal.sosfilt_zi(coefficients.sos)[:, :, None] * y[0]
    return signal.sosfilt(coefficients.sos, y, axis=0, zi=zi)[0]


@pytest.mark.parametrize("rereference", ["none", "average", "bipolar"])
@pytest.mark.parametrize(
    ("rate", "kind", "changed"),
    [
        (10_000.0, "nerve", {}),
        (30_000.0, "nerve", {}),
        (5_000.0, "nerve", {"notch_hz": 50.0, "notch_harmonics": 3}),
        (1_000.0, "emg", {}),
        (10_000.0, "nerve", {"band_hz": None}),
        (10_000.0, "nerve", {"order": 1}),
    ],
)
def test_equals_scipys_filters(rate: float, kind: StreamKind, changed: Any, rereference: Rereference) -> None:
    coefficients = designed(stream(rate, kind=kind), **changed, rereference=rereference)
    x = noise(3000)
    y, mask, _ = condition(coefficients, x, first=3)
    expected = scipy_reference(coefficients, x, 3, rereference)
    assert y.dtype == np.float32
    assert not mask.any()
    np.testing.assert_allclose(y, expected, rtol=1e-6, atol=1e-4)


@pytest.mark.parametrize(
    ("rate", "kind", "decimation", "band"),
    [
        (10_000.0, "nerve", 1, (300.0, 4500.0)),
        (30_000.0, "nerve", 3, (300.0, 4500.0)),
        (9_999.0, "nerve", 1, (300.0, 4499.55)),
        (5_000.0, "nerve", 1, (300.0, 2250.0)),
        (2_000.0, "nerve", 1, (25.0, 600.0)),
        (10_000.0, "emg", 2, (25.0, 600.0)),
        (1_000.0, "emg", 1, (25.0, 450.0)),
        (200.0, "emg", 1, (25.0, 90.0)),
        (100.0, "envelope", 1, None),
    ],
)
def test_defaults(rate: float, kind: StreamKind, decimation: int, band: tuple[float, float] | None) -> None:
    settings = default_settings(stream(rate, kind=kind))
    assert settings.decimation == decimation
    assert settings.band_hz == pytest.approx(band)
    assert design(settings, stream(rate, kind=kind)).band_hz == settings.band_hz


@pytest.mark.parametrize(("rate", "band"), [(10_000.0, "25-600 Hz"), (1_000.0, "25-450 Hz")])
def test_the_effective_edges_can_be_printed(rate: float, band: str) -> None:
    assert band in designed(stream(rate)).describe()


@pytest.mark.parametrize(
    ("rate", "changed", "edge"),
    [
        (10_000.0, {}, 600.0),
        (30_000.0, {}, 600.0),
        (30_000.0, {"band_hz": (300.0, 2000.0)}, 2000.0),
        (20_000.0, {"decimation": 8, "band_hz": (25.0, 1125.0)}, 1125.0),
        (96_000.0, {}, 600.0),
        (10_000.0, {"band_hz": None}, 2000.0),
    ],
)
def test_anti_alias_is_flat_to_the_edge_and_60_db_down_where_it_folds_into_the_band(
    rate: float, changed: Any, edge: float
) -> None:
    coefficients = designed(stream(rate), **changed)
    frequency, response = signal.freqz(coefficients.fir, worN=1 << 14, fs=rate)
    gain_db = 20 * np.log10(np.abs(response) + 1e-12)
    assert np.abs(gain_db[frequency <= edge]).max() < 0.01
    # A frequency folds to its distance from the nearest multiple of the decimated rate.
    folded = np.abs(frequency - coefficients.rate_hz * np.round(frequency / coefficients.rate_hz))
    assert gain_db[(frequency > edge) & (folded <= edge)].max() < -60


def test_the_delay_of_the_decimation_is_stated() -> None:
    coefficients = designed(stream(), band_hz=None)
    _, delay = signal.group_delay((coefficients.fir, [1.0]), w=[100.0, 1000.0], fs=10_000.0)
    np.testing.assert_allclose(delay / 10_000.0, coefficients.decimation_delay_s, rtol=1e-6)


def test_the_grid_is_absolute() -> None:
    x = noise(100)
    for first in range(9):
        y, _, index = condition(designed(stream(30_000.0)), x, first=first)
        raw = [i for i in range(first, first + 100) if (i + 1) % 6 == 0]
        assert len(y) == len(raw)
        assert index == raw[0] // 6


def test_a_constant_input_leaves_the_band_pass_as_zero_from_the_first_sample() -> None:
    y, _, _ = condition(designed(stream()), np.full((500, 4), 12_345.0, np.float32))
    assert np.abs(y).max() < 1e-4


def test_an_envelope_passes_as_it_is() -> None:
    info = stream(100.0, kind="envelope")
    x = noise(50)
    assert condition(designed(info), x)[0].tobytes() == x.tobytes()


def test_a_masked_channel_is_zero_and_the_others_do_not_notice() -> None:
    coefficients = designed(stream())
    x = noise(4000)
    mask = np.zeros(x.shape, bool)
    mask[1000:1500, 2] = True
    poisoned = x.copy()
    poisoned[1000:1500, 2] = np.nan
    y, masked, _ = condition(coefficients, poisoned, mask)
    expected, _, _ = condition(coefficients, x)
    refilled = 1499 + len(coefficients.fir)  # raw index of the first sample whose filter holds no masked one
    assert np.flatnonzero(masked[:, 2]).tolist() == [j for j in range(2000) if 1000 <= 2 * j + 1 < refilled]
    assert (y[masked] == 0).all()
    assert np.isfinite(y).all()
    assert y[:, [0, 1, 3]].tobytes() == expected[:, [0, 1, 3]].tobytes()
    # After the mask the channel starts anew, in the steady state of its first value.
    restart = int(np.flatnonzero(masked[:, 2])[-1]) + 1
    fresh = signal.lfilter(coefficients.fir, [1.0], x[:, 2].astype(np.float64))[1::2][restart:]
    zi = signal.sosfilt_zi(coefficients.sos) * fresh[0]
    np.testing.assert_allclose(
        y[restart:, 2], signal.sosfilt(coefficients.sos, fresh, zi=zi)[0], rtol=1e-6, atol=1e-4
    )


def test_the_average_is_over_unmasked_channels_only() -> None:
    coefficients = designed(stream(5000.0), band_hz=None, rereference="average")
    x = noise(10)
    mask = np.zeros(x.shape, bool)
    mask[:, 1] = True
    y, _, _ = condition(coefficients, x, mask)
    kept = x[:, [0, 2, 3]].astype(np.float64)
    np.testing.assert_allclose(y[:, [0, 2, 3]], kept - kept.mean(axis=1, keepdims=True), rtol=1e-6, atol=1e-4)
    assert (y[:, 1] == 0).all()


def test_the_average_of_nobody_is_zero() -> None:
    coefficients = designed(stream(5000.0), rereference="average")
    y, masked, _ = condition(coefficients, noise(10), np.ones((10, 4), bool))
    assert masked.all()
    assert (y == 0).all()


def test_a_bipolar_channel_is_masked_with_either_of_its_two() -> None:
    coefficients = designed(stream(5000.0), rereference="bipolar")
    mask = np.zeros((10, 4), bool)
    mask[:, 1] = True
    y, masked, _ = condition(coefficients, noise(10), mask)
    assert masked.all(axis=0).tolist() == [True, True, False]
    assert (y[:, :2] == 0).all()
    assert conditioned_names(("a", "b", "c", "d"), "bipolar") == ("a-b", "b-c", "c-d")


def stage(info: StreamInfo, **changed: Any) -> Step:
    conditioner = Conditioner(designed(info, **changed), info.n_channels)

    def step(samples: Any, mask: Any, first: int) -> tuple[Any, ...]:
        y, masked, index = conditioner.process(samples, mask, first)
        return y, masked, np.arange(index, index + len(y))

    return step


def masked_noise(n: int, n_channels: int) -> tuple[Any, Any]:
    rng = np.random.default_rng(11)
    mask = np.zeros((n, n_channels), bool)
    for begin in rng.integers(0, n, 12):
        mask[begin : begin + rng.integers(1, 90), rng.integers(n_channels)] = True
    return np.where(mask, np.float32(0), noise(n, n_channels)), mask


@pytest.mark.parametrize("rereference", ["none", "average", "bipolar"])
@pytest.mark.parametrize(("rate", "n_channels"), [(10_000.0, 16), (30_000.0, 5), (1000.0, 17)])
def test_any_cut_gives_the_same_bits(rate: float, n_channels: int, rereference: Rereference) -> None:
    info = stream(rate, n_channels, "emg")
    arrays = masked_noise(2300, n_channels)
    assert_any_cut(lambda: stage(info, rereference=rereference), arrays, first=13)


def test_a_block_longer_than_the_buffers_gives_the_same_bits() -> None:
    info = stream(10_000.0, 300)
    assert_cut(lambda: stage(info, notch_hz=50.0), masked_noise(1500, 300), list(range(0, 1500, 11)))


@given(cuts=random_cuts(700))
def test_random_cuts_give_the_same_bits(cuts: list[int]) -> None:
    assert_cut(lambda: stage(stream(30_000.0, 3)), masked_noise(700, 3), cuts, first=4)


def test_a_gap_asks_for_a_reset_and_a_reset_is_a_fresh_start() -> None:
    coefficients = designed(stream())
    conditioner = Conditioner(coefficients, 4)
    x, mask = noise(301), np.zeros((301, 4), bool)
    conditioner.process(x, mask, 0)
    with pytest.raises(NervehandError, match=r"sample 400.*before 301"):
        conditioner.process(x, mask, 400)
    conditioner.reset()
    assert (
        conditioner.process(x, mask, 400)[0].tobytes() == condition(coefficients, x, first=400)[0].tobytes()
    )


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"band_hz": (25.0, 2300.0)}, "2300 Hz, above 2250 Hz"),
        ({"notch_hz": 2250.0}, "notch is at 2250 Hz"),
        ({"band_hz": (600.0, 25.0)}, "600 to 25 Hz"),
        ({"decimation": 0}, "decimation is 0"),
        ({"order": 0}, "order is 0"),
        ({"notch_hz": -50.0}, "-50.0 Hz"),
        ({"rereference": "mean"}, "'mean'"),
    ],
)
def test_what_cannot_be_had_is_said(changed: Any, said: str) -> None:
    with pytest.raises(NervehandError, match=said):
        designed(stream(), **changed)


def test_an_envelope_is_not_filtered() -> None:
    with pytest.raises(NervehandError, match="envelope passes unfiltered"):
        design(ConditioningSettings(), stream(100.0, kind="envelope"))


def test_a_rate_that_leaves_no_band_is_refused() -> None:
    with pytest.raises(NervehandError, match="50 Hz leaves no band"):
        default_settings(stream(50.0, kind="emg"))


def test_one_channel_has_no_reference() -> None:
    with pytest.raises(NervehandError, match="2 channels or more"):
        designed(stream(n_channels=1), rereference="average")


def test_another_channel_count_is_refused() -> None:
    with pytest.raises(StreamMismatchError, match=r"\(5, 3\)"):
        Conditioner(designed(stream()), 4).process(np.zeros((5, 3), np.float32), np.zeros((5, 3), bool), 0)


def test_harmonics_of_the_mains_are_those_below_the_limit() -> None:
    coefficients = designed(stream(1000.0, kind="emg"), notch_hz=100.0, notch_harmonics=9)
    assert coefficients.notches_hz == (100.0, 200.0, 300.0, 400.0)
    _, response = signal.sosfreqz(coefficients.sos, worN=coefficients.notches_hz, fs=1000.0)
    assert np.abs(response).max() < 1e-6


def test_running_from_coefficients_loads_no_scipy() -> None:
    code = "import sys, decoder.conditioning; sys.exit('scipy.signal' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
