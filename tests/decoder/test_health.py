"""What each sample is judged by at once: values that are not finite, rails, flat channels; and any cutting."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from decoder.health import ChannelHealth, HealthSettings, HealthyBlock, default_health, instant_health
from firmware_bridge.errors import NervehandError, StreamMismatchError
from firmware_bridge.stream import SignalBlock, StreamInfo, StreamKind
from tests.decoder.chunks import Step, assert_any_cut, assert_cut, random_cuts

RATE = 1000.0
FLAT = 250  # samples of the default flat_s
CLEAN = 50  # samples of the default clean_s


def stream(
    n_channels: int = 3, kind: StreamKind = "nerve", full_scale_uv: float | None = 5000.0
) -> StreamInfo:
    names = tuple(f"c{c}" for c in range(n_channels))
    return StreamInfo(RATE, names, kind, full_scale_uv=full_scale_uv)


def noise(n: int = 1000, n_channels: int = 3, seed: int = 0) -> np.ndarray[Any, np.dtype[np.float32]]:
    return (np.random.default_rng(seed).standard_normal((n, n_channels)) * 50).astype(np.float32)


def judge(samples: Any, info: StreamInfo | None = None, **block: Any) -> HealthyBlock:
    """Without a delay line: what goes in comes out."""
    info = stream(samples.shape[1]) if info is None else info
    return ChannelHealth(info, instant_health(info.kind)).process(SignalBlock(samples, 0, **block))


def masked_rows(judged: HealthyBlock, channel: int) -> list[int]:
    return np.flatnonzero(judged.mask[:, channel]).tolist()


def test_a_healthy_stream_passes_as_it_is() -> None:
    x = noise()
    judged = judge(x)
    assert not judged.mask.any()
    assert judged.samples.tobytes() == x.tobytes()
    assert judged.samples is not x


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_value_that_is_not_finite_is_masked_zeroed_and_held_until_clean(bad: float) -> None:
    x = noise()
    x[100, 1] = bad
    judged = judge(x)
    assert masked_rows(judged, 1) == list(range(100, 101 + CLEAN))
    assert (judged.samples[judged.mask] == 0).all()
    assert not judged.mask[:, [0, 2]].any()


def test_a_float64_beyond_float32_is_not_finite() -> None:
    x = noise().astype(np.float64)
    x[10, 0] = 1e300
    assert judge(x).mask[10, 0]


@pytest.mark.parametrize(("value", "railed"), [(4995.0, True), (-5000.0, True), (4994.0, False)])
def test_railed_is_from_the_fraction_of_full_scale_on(value: float, railed: bool) -> None:
    x = noise()
    x[10, 2] = value
    assert judge(x).mask[10, 2] == railed


def test_without_a_full_scale_only_an_implausible_value_is_railed() -> None:
    x = noise()
    x[10, 0], x[10, 1] = 9e6, 1e7
    judged = judge(x, stream(full_scale_uv=None))
    assert judged.mask[10].tolist() == [False, True, False]


@pytest.mark.parametrize(("count", "railed"), [(32767, True), (-32768, True), (-32767, True), (32766, False)])
def test_counts_are_scaled_and_railed_at_the_limits_of_int16(count: int, railed: bool) -> None:
    counts = np.round(noise() * 5).astype(np.int16)
    counts[10, 0] = count
    judged = judge(counts, stream(full_scale_uv=None), scale_uv=0.195)
    assert judged.mask[10, 0] == railed
    np.testing.assert_array_equal(judged.samples[:10], counts[:10].astype(np.float32) * np.float32(0.195))


def test_a_flat_channel_is_masked_when_its_time_is_full_and_until_it_moved_long_enough() -> None:
    x = noise()
    x[100:500, 0] = x[100, 0]
    assert masked_rows(judge(x), 0) == list(range(100 + FLAT - 1, 500 + CLEAN))


def test_a_flat_time_one_sample_short_is_not_flat() -> None:
    x = noise()
    x[100 : 100 + FLAT - 1, 0] = 7.0
    assert not judge(x).mask.any()


def test_an_envelope_may_stay_constant_and_leaves_at_once() -> None:
    info = stream(kind="envelope")
    judged = ChannelHealth(info).process(SignalBlock(np.zeros((2000, 3), np.float32), 0))
    assert judged.mask.shape == (2000, 3)
    assert not judged.mask.any()


@pytest.mark.parametrize("rate_hz", [1000.0, 10_000.0, 30_000.0])
def test_a_sample_leaves_two_milliseconds_after_it_came_and_the_last_ones_stay_inside(rate_hz: float) -> None:
    info = StreamInfo(rate_hz, ("a",), "nerve")
    health, x = ChannelHealth(info), noise(500, 1)
    assert health.delay == round(0.002 * rate_hz)
    first = health.process(SignalBlock(x[:200], 1000))
    second = health.process(SignalBlock(x[200:], 1200))
    assert (first.first_sample, second.first_sample) == (1000, 1200 - health.delay)
    left = np.concatenate([first.samples, second.samples])
    assert left.tobytes() == x[: 500 - health.delay].tobytes()


def test_without_masking_only_values_that_are_not_finite_are_masked() -> None:
    x = noise()
    x[100, 0], x[300:900, 1], x[500, 2] = np.nan, 3.0, 6000.0
    health = ChannelHealth(stream(), default_health("nerve").without_masking())
    mask = health.process(SignalBlock(x, 0)).mask
    assert np.flatnonzero(mask[:, 0]).tolist() == list(range(100, 101 + CLEAN))
    assert not mask[:, 1:].any()


def test_a_fault_while_recovering_starts_the_clean_time_again() -> None:
    x = noise()
    x[100, 0] = x[120, 0] = np.nan
    assert masked_rows(judge(x), 0) == list(range(100, 121 + CLEAN))


def test_reset_forgets() -> None:
    health = ChannelHealth(stream())
    x = noise()
    x[-1] = np.nan
    health.process(SignalBlock(x, 0))
    health.reset()
    assert not health.process(SignalBlock(noise(seed=1), 5000)).mask.any()


def stage(kind: StreamKind = "nerve", n_channels: int = 3) -> Step:
    health = ChannelHealth(stream(n_channels, kind))
    begun: list[int] = []

    def step(samples: Any, first: int) -> tuple[Any, ...]:
        begun.append(first)
        judged = health.process(SignalBlock(samples, first))
        assert judged.first_sample == max(first - health.delay, begun[0])
        return judged.samples, judged.mask

    return step


def faulty(n: int = 2100, n_channels: int = 3) -> Any:
    x = noise(n, n_channels, seed=3)
    x[40:60, 0] = np.nan
    x[300:900, 1] = 3.0
    x[1000:1003, 2] = 1e9
    return x


@pytest.mark.parametrize("n_channels", [3, 16, 21])
def test_any_cut_gives_the_same_bits(n_channels: int) -> None:
    assert_any_cut(lambda: stage(n_channels=n_channels), [faulty(n_channels=n_channels)], first=17)


@given(cuts=random_cuts(2100))
def test_random_cuts_give_the_same_bits(cuts: list[int]) -> None:
    assert_cut(stage, [faulty()], cuts)


@given(seed=st.integers(0, 1000), share=st.floats(0, 1))
def test_what_leaves_is_always_finite_and_zero_where_masked(seed: int, share: float) -> None:
    rng = np.random.default_rng(seed)
    x = noise(200, seed=seed)
    bad = rng.random(x.shape) < share
    x[bad] = rng.choice([np.nan, np.inf, -np.inf, 1e30], bad.sum())
    judged = judge(x)
    assert np.isfinite(judged.samples).all()
    assert (judged.samples[judged.mask] == 0).all()
    assert judged.mask[bad].all()


@pytest.mark.parametrize("order", ["F", "strided"])
def test_any_memory_layout(order: str) -> None:
    x = faulty()
    laid_out = np.asfortranarray(x) if order == "F" else np.repeat(x, 2, axis=1)[:, ::2]
    assert judge(laid_out).samples.tobytes() == judge(x).samples.tobytes()


def test_another_channel_count_is_refused() -> None:
    with pytest.raises(StreamMismatchError, match=r"\(5, 2\).*3 channels"):
        ChannelHealth(stream(3)).process(SignalBlock(np.zeros((5, 2), np.float32), 0))


def test_another_type_is_refused() -> None:
    with pytest.raises(NervehandError, match="int32"):
        judge(np.zeros((5, 3), np.int32))


@pytest.mark.parametrize("scale", [0.0, -1.0, np.nan])
def test_a_scale_that_is_none_is_refused(scale: float) -> None:
    with pytest.raises(NervehandError, match="scale_uv"):
        judge(np.zeros((5, 3), np.int16), scale_uv=scale)


@pytest.mark.parametrize(
    "wrong",
    [
        {"rail_fraction": 0.0},
        {"implausible_uv": 0.0},
        {"flat_s": 0.0},
        {"flat_samples": 1},
        {"clean_s": -1.0},
    ],
)
def test_settings_out_of_range_are_refused_by_name(wrong: dict[str, float]) -> None:
    with pytest.raises(NervehandError, match=next(iter(wrong))):
        HealthSettings(**wrong)  # type: ignore[arg-type]  # one wrong value at a time
