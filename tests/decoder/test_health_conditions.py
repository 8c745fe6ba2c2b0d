"""What frames and levels show: noise, mains, drift, dead and failing channels; when each is found, and when it ends."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from decoder.health import (
    Cause,
    ChannelHealth,
    HealthEvent,
    HealthEventKind,
    HealthSettings,
    HealthyBlock,
    default_health,
)
from firmware_bridge.nerve.subject import SCALE_UV, SimulatedSubject
from firmware_bridge.stream import SignalBlock, StreamInfo
from tests.decoder.chunks import Arrays, Step, assert_any_cut, assert_cut, random_cuts

RATE = 2000.0
N_CHANNELS = 6
INFO = StreamInfo(RATE, tuple("abcdef"), "nerve", full_scale_uv=5000.0)
Samples = NDArray[np.float32]


def seconds(s: float) -> int:
    return round(s * RATE)


def noise(duration_s: float, seed: int = 0) -> Samples:
    """Amplifier noise of 5 microvolts on every channel, and the activity of all in bursts of 2 s every 5 s."""
    n = seconds(duration_s)
    x = np.random.default_rng(seed).standard_normal((n, N_CHANNELS)).astype(np.float32) * np.float32(5.0)
    busy = (np.arange(n) / RATE) % 5.0 > 3.0
    x[busy] *= np.float32(3.0)
    return x


def judge(
    samples: Samples, health: HealthSettings | None = None, info: StreamInfo = INFO
) -> tuple[HealthyBlock, list[HealthEvent]]:
    events: list[HealthEvent] = []
    return ChannelHealth(info, health, events.append).process(SignalBlock(samples, 0)), events


def first_masked_s(judged: HealthyBlock, channel: int) -> float:
    rows = np.flatnonzero(judged.mask[:, channel])
    return float(rows[0]) / RATE if len(rows) else np.inf


def masked_channels(judged: HealthyBlock) -> list[int]:
    return np.flatnonzero(judged.mask.any(0)).tolist()


def mains(x: Samples, amplitude_uv: float, channels: slice | list[int]) -> Samples:
    wave = amplitude_uv * np.sin(2 * np.pi * 50.0 * np.arange(len(x)) / RATE + 0.3)
    y = x.copy()
    y[:, channels] += wave.astype(np.float32)[:, None]
    return y


def test_a_healthy_array_stays_unmasked() -> None:
    judged, events = judge(noise(60.0))
    assert not judged.mask.any()
    assert events == []


@pytest.mark.parametrize(("ratio", "within_s"), [(12.0, 1.3), (40.0, 1.2)])
def test_a_contact_that_breaks_into_noise_is_masked_in_little_more_than_a_second(
    ratio: float, within_s: float
) -> None:
    x, start = noise(20.0), 8.0
    x[seconds(start) :, 2] *= np.float32(ratio)
    judged, events = judge(x)
    assert masked_channels(judged) == [2]
    assert start < first_masked_s(judged, 2) <= start + within_s
    assert (events[0].kind, events[0].channel, events[0].cause) == (HealthEventKind.MASKED, 2, Cause.NOISY)
    assert events[0].value > 8


def test_noise_of_five_times_the_others_is_told_by_its_quietest_moments_within_half_a_minute() -> None:
    x, start = noise(60.0), 22.0
    x[seconds(start) :, 2] *= np.float32(5.0)
    judged, _ = judge(x)
    assert masked_channels(judged) == [2]
    assert first_masked_s(judged, 2) <= start + 30.0


def test_a_muscle_under_one_electrode_is_not_noise_in_an_emg() -> None:
    x = noise(40.0)
    x[(np.arange(len(x)) / RATE) % 10.0 > 4.0, 1] *= np.float32(20.0)
    assert masked_channels(judge(x, default_health("emg"))[0]) == []
    assert masked_channels(judge(x, default_health("nerve"))[0]) == [1]


def test_activity_of_one_channel_is_not_noise() -> None:
    """Five times the array's level, for 3 s on end, with rests between."""
    x = noise(60.0)
    x[(np.arange(len(x)) / RATE) % 4.0 > 1.0, 1] *= np.float32(5.0)
    assert masked_channels(judge(x)[0]) == []


def test_mains_on_one_channel_is_masked_and_says_its_share() -> None:
    x = noise(12.0)
    x[seconds(4.0) :] = mains(x[seconds(4.0) :], 150.0, [4])
    judged, events = judge(x)
    assert masked_channels(judged) == [4]
    assert 4.0 < first_masked_s(judged, 4) <= 7.0
    assert events[0].cause is Cause.MAINS
    assert 0.7 < events[0].value <= 1.0


def test_mains_that_all_channels_share_is_nobodys_fault() -> None:
    assert masked_channels(judge(mains(noise(12.0), 100.0, slice(None)))[0]) == []


def test_mains_below_the_channels_own_signal_is_left_in() -> None:
    assert masked_channels(judge(mains(noise(12.0), 4.0, [4]))[0]) == []


def test_a_mean_that_will_soon_leave_the_range_is_masked_before_it_rails() -> None:
    x = noise(20.0)
    x[:, 3] += np.linspace(0, 8000, len(x), dtype=np.float32)  # reaches 5000 at 12.5 s
    judged, events = judge(x)
    assert masked_channels(judged) == [3]
    assert 8.0 < first_masked_s(judged, 3) < 12.0
    assert events[0].cause is Cause.DRIFTING


def test_a_large_steady_offset_is_no_drift() -> None:
    x = noise(10.0)
    x[:, 3] += np.float32(3000.0)
    assert masked_channels(judge(x)[0]) == []


def test_a_channel_that_no_longer_follows_the_array_is_dead() -> None:
    """Constant noise instead of bursts, at a level that is neither low nor high."""
    x, start = noise(110.0), 30.0
    rng = np.random.default_rng(9)
    x[seconds(start) :, 5] = rng.standard_normal(len(x) - seconds(start)).astype(np.float32) * np.float32(7.5)
    judged, events = judge(x)
    assert masked_channels(judged) == [5]
    assert start + 10.0 <= first_masked_s(judged, 5) <= start + 60.0
    assert events[0].cause is Cause.DEAD


def test_in_a_nerve_at_rest_no_channel_is_dead() -> None:
    x = np.random.default_rng(1).standard_normal((seconds(60.0), N_CHANNELS)).astype(np.float32) * np.float32(
        5
    )
    x[:, 0] *= np.float32(0.5)
    assert masked_channels(judge(x)[0]) == []


def test_fewer_than_four_channels_are_not_compared() -> None:
    x = noise(10.0)[:, :3]
    x[seconds(3.0) :, 0] *= np.float32(50.0)
    info = replace(INFO, channel_names=tuple("abc"))
    assert masked_channels(judge(x, info=info)[0]) == []


def test_a_mask_ends_two_seconds_after_its_cause_and_says_so() -> None:
    x = noise(20.0)
    x[seconds(4.0) : seconds(8.0), 2] *= np.float32(30.0)
    judged, events = judge(x)
    rows = np.flatnonzero(judged.mask[:, 2])
    assert 9.9 <= (rows[-1] + 1) / RATE <= 10.3
    assert [event.kind for event in events] == [HealthEventKind.MASKED, HealthEventKind.UNMASKED]
    assert events[1].sample_index == rows[-1] + 1
    assert events[1].cause is Cause.NOISY


def test_between_the_two_thresholds_a_mask_holds_that_would_not_have_begun() -> None:
    x = noise(20.0)
    x[seconds(4.0) : seconds(6.0), 2] *= np.float32(30.0)
    x[seconds(6.0) :, 2] *= np.float32(6.0)  # below 8 times, above 4
    rows = np.flatnonzero(judge(x)[0].mask[:, 2])
    assert rows[-1] == len(x) - 1 - ChannelHealth(INFO).delay
    below = noise(20.0)
    below[seconds(6.0) :, 2] *= np.float32(6.0)
    assert masked_channels(judge(below[: seconds(18.0)])[0]) == []


def test_a_channel_that_comes_and_goes_is_unmasked_later_each_time() -> None:
    x = noise(60.0)
    for start in (4.0, 12.0, 22.0):
        x[seconds(start) : seconds(start + 2.0), 2] *= np.float32(30.0)
    mask = judge(x)[0].mask[:, 2]
    ends = np.flatnonzero(mask[:-1] & ~mask[1:]) / RATE
    assert np.round(ends - [6.0, 14.0, 24.0]).tolist() == [2.0, 4.0, 8.0]


def test_a_channel_that_keeps_railing_is_masked_until_it_is_quiet() -> None:
    x = noise(60.0)
    for k in range(8):
        x[seconds(5.0 + k), 1] = 5000.0
    judged, events = judge(x)
    mask = judged.mask[:, 1]
    assert not mask[seconds(5.9)]
    assert mask[seconds(11.5) : seconds(20.0)].all()
    assert not mask[-1]
    assert Cause.UNSTABLE in [event.cause for event in events]


def test_what_is_said_of_a_flapping_channel_is_limited_to_once_a_second_and_ends_with_the_truth() -> None:
    x = noise(60.0)
    for k in range(16):
        x[seconds(5.0) + k * seconds(0.25), 1] = np.nan
    _, events = judge(x)
    assert 2 <= len(events) <= 7
    assert events[-1].kind is HealthEventKind.UNMASKED


def varied() -> Samples:
    """All of it in 8 s, for frames and times that are a tenth as long."""
    x = noise(8.0, seed=4)
    x[seconds(1.0) : seconds(2.0), 0] *= np.float32(30.0)
    x[seconds(2.0) : seconds(4.0)] = mains(x[seconds(2.0) : seconds(4.0)], 200.0, [1])
    x[:, 2] += np.linspace(0, 6000, len(x), dtype=np.float32)
    x[seconds(3.0) : seconds(3.0) + 40, 3] = np.nan
    x[seconds(5.0) : seconds(5.0) + 9] += np.float32(900.0)
    x[seconds(6.0) : seconds(6.1)] -= np.float32(900.0)
    return x


QUICK = HealthSettings(frame_s=0.032, sustained_s=0.1, slow_clean_s=0.2, longest_clean_s=1.0)


def stage() -> Step:
    events: list[HealthEvent] = []
    health = ChannelHealth(INFO, QUICK, events.append)

    def step(samples: Samples, first: int) -> Arrays:
        events.clear()
        judged = health.process(SignalBlock(samples, first))
        told = [
            (e.kind, e.sample_index, e.channel, e.cause, round(1000 * e.value), e.size, e.n_samples)
            for e in events
        ]
        return judged.samples, judged.mask, np.array(told, np.int64).reshape(-1, 7)

    return step


def test_the_varied_signal_shows_every_slow_cause_and_artefacts() -> None:
    _, _, told = stage()(varied(), 0)
    assert {int(cause) for cause in told[:, 3]} >= {
        Cause.NOISY,
        Cause.MAINS,
        Cause.DRIFTING,
        Cause.NOT_FINITE,
    }
    assert HealthEventKind.ARTEFACT in told[:, 0]


def test_any_cut_gives_the_same_bits_and_the_same_events() -> None:
    assert_any_cut(stage, [varied()], first=123)


@settings(max_examples=25, deadline=None)
@given(cuts=random_cuts(seconds(8.0)))
def test_random_cuts_give_the_same_bits_and_the_same_events(cuts: list[int]) -> None:
    assert_cut(stage, [varied()], cuts, first=77)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10_000), scale=st.floats(0.1, 1e5))
def test_whatever_comes_what_leaves_is_finite_and_zero_where_masked(seed: int, scale: float) -> None:
    rng = np.random.default_rng(seed)
    x = (rng.standard_cauchy((seconds(1.0), N_CHANNELS)) * scale).astype(np.float32)
    x[rng.random(x.shape) < 0.001] = np.nan
    judged, _ = judge(x, QUICK)
    assert np.isfinite(judged.samples).all()
    assert (judged.samples[judged.mask] == 0).all()


@cache
def subject() -> SimulatedSubject:
    return SimulatedSubject(1)


def false_alarms(duration_s: float) -> tuple[int, int, int]:
    """Channels masked, artefacts found and artefacts that there are, in a cued session of the simulated subject."""
    info = subject().info
    found: list[HealthEvent] = []
    health = ChannelHealth(info, None, found.append)
    n, block = round(duration_s * info.rate_hz), round(info.rate_hz)
    for first in range(0, n, block):
        health.process(SignalBlock(subject().samples(first, block), first, scale_uv=SCALE_UV))
    masked = [event for event in found if event.kind is HealthEventKind.MASKED]
    there = [a for a in subject().artefacts(0, n) if a.kind == "discharge" and a.start > info.rate_hz]
    return len(masked), int(health.artefacts.sum()), len(there)


@pytest.mark.slow
def test_in_ten_minutes_of_the_simulated_nerve_no_channel_is_masked_and_every_artefact_found_is_one() -> None:
    masked, found, there = false_alarms(600.0)
    assert masked == 0
    assert 0.9 * there <= found <= there


def test_in_a_minute_of_the_simulated_nerve_no_channel_is_masked() -> None:
    masked, found, there = false_alarms(60.0)
    assert masked == 0
    assert found == there
