"""The delay line: artefacts on many channels, stimulation, and samples that never came."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from decoder.health import Cause, ChannelHealth, HealthEvent, HealthEventKind, HealthSettings, HealthyBlock
from firmware_bridge.errors import NervehandError, StreamMismatchError
from firmware_bridge.stream import SignalBlock, StreamInfo
from tests.decoder.chunks import Arrays, Step, assert_any_cut, assert_cut, random_cuts

RATE = 10_000.0
N_CHANNELS = 8
INFO = StreamInfo(RATE, tuple("abcdefgh"), "nerve", full_scale_uv=6000.0, stimulation_lines=(3,))
DELAY, BRIDGE, LEAD, TAIL = 20, 200, 5, 5
STIMULATION_TAIL = 10
CLEAN = 500
# The mean difference of two samples of the noise, times artefact_ratio.
THRESHOLD_UV = 12 * 5 * 2 / np.pi**0.5
N = 40_000
AT = 20_000

Samples = NDArray[np.float32]


def noise(n: int = N, seed: int = 0) -> Samples:
    """5 microvolts of noise on offsets of millivolts."""
    rng = np.random.default_rng(seed)
    offsets = rng.normal(0, 1000, N_CHANNELS)
    return (rng.standard_normal((n, N_CHANNELS)) * 5 + offsets).astype(np.float32)


def run(
    x: Samples, digital: NDArray[np.uint32] | None = None
) -> tuple[HealthyBlock, ChannelHealth, list[HealthEvent]]:
    events: list[HealthEvent] = []
    health = ChannelHealth(INFO, None, events.append)
    return health.process(SignalBlock(x, 0, digital=digital)), health, events


def changed(judged: HealthyBlock, x: Samples) -> list[int]:
    return np.flatnonzero((judged.samples != x[: len(judged.samples)]).any(1)).tolist()


def assert_straight(rows: Samples, before: Samples, after: Samples) -> None:
    along = (np.arange(len(rows)) + 1) / (len(rows) + 1)
    np.testing.assert_allclose(rows, before + np.outer(along, after - before), rtol=1e-5, atol=1e-2)


def test_an_artefact_on_all_channels_is_replaced_by_a_straight_line_from_before_its_onset_to_after_its_end() -> (
    None
):
    x = noise()
    x[AT : AT + 6] += np.float32(700.0)
    judged, health, events = run(x)
    rows = changed(judged, x)
    assert rows[0] == AT - LEAD
    assert (
        AT + 5 + TAIL <= rows[-1] <= AT + 5 + 2 * TAIL + 10
    )  # the differences over 1 ms see its end as well
    assert len(rows) <= DELAY + 10
    assert_straight(judged.samples[rows[-1] - DELAY + 1 : rows[-1] + 1],
                    judged.samples[rows[-1] - DELAY], x[rows[-1] + 1])  # fmt: skip
    assert not judged.mask.any()
    assert np.abs(judged.samples[AT - 20 : AT + 40] - np.median(x, 0)).max() < 40
    assert health.artefacts.tolist() == [0] * (N_CHANNELS - 1) + [1]
    assert [(e.kind, e.sample_index, e.size) for e in events] == [(HealthEventKind.ARTEFACT, AT, N_CHANNELS)]


def test_an_artefact_that_comes_to_the_channels_one_after_the_other_within_a_millisecond_is_one() -> None:
    x = noise()
    for c in range(N_CHANNELS):
        x[AT + c : AT + c + 4, c] -= np.float32(500.0)
    judged, health, _ = run(x)
    assert changed(judged, x)[0] == AT - LEAD
    assert health.artefacts[N_CHANNELS - 1] == 1


@pytest.mark.parametrize("n_hit", [1, 3])
def test_what_few_channels_see_is_left_in(n_hit: int) -> None:
    x = noise()
    x[AT : AT + 6, :n_hit] += np.float32(700.0)
    judged, health, _ = run(x)
    assert changed(judged, x) == []
    assert health.artefacts.sum() == 0


def test_what_comes_to_the_channels_milliseconds_apart_is_left_in() -> None:
    x = noise()
    for c in range(N_CHANNELS):
        x[AT + 30 * c : AT + 30 * c + 6, c] += np.float32(700.0)
    assert changed(run(x)[0], x) == []


def test_activity_that_grows_on_all_channels_at_once_is_left_in_once_the_channels_were_heard_so_loud() -> (
    None
):
    """Muscle: bursts of Gaussian activity, twenty times the noise, ramping up over 50 ms."""
    x = noise(6 * N, seed=1)
    t = np.arange(len(x)) / RATE
    ramp = np.clip((t % 2.0 - 1.0) / 0.05, 0, 1) * (t % 2.0 > 1.0)
    x += (np.random.default_rng(2).standard_normal(x.shape) * 100.0 * ramp[:, None]).astype(np.float32)
    _, health, _ = run(x)
    assert health.artefacts.sum() <= 1


def test_an_artefact_longer_than_the_delay_line_follows_the_channels_means_and_past_20_ms_is_masked() -> None:
    x = noise()
    x[AT : AT + 600] += np.float32(1500.0)
    judged, _, _ = run(x)
    middle = judged.samples[AT - LEAD + 2 * DELAY : AT - LEAD + BRIDGE - 1]
    assert np.abs(middle - np.median(x, 0)).max() < 5
    masked = np.flatnonzero(judged.mask.any(1))
    assert masked[0] == AT - LEAD + BRIDGE
    assert AT + 600 <= masked[-1] <= AT + 640
    assert judged.mask[masked].all()


def slow_amplifier(n_slow: int) -> Samples:
    """A discharge of 3 ms on all channels, after which the first ones come back from 3 mV in 15 ms to 1/e."""
    x = noise()
    x[AT : AT + 30] += np.float32(700.0)
    t_s = np.arange(1000) / RATE
    x[AT : AT + len(t_s), :n_slow] += (3000.0 * np.exp(-t_s / 0.015)).astype(np.float32)[:, None]
    return x


def test_a_channel_that_comes_back_slowly_is_masked_alone_and_the_others_go_on_after_20_ms() -> None:
    judged, _, events = run(slow_amplifier(1))
    assert not judged.mask[:, 1:].any()
    masked = np.flatnonzero(judged.mask[:, 0])
    assert masked[0] == AT - LEAD + BRIDGE
    back = AT + int(np.ceil(RATE * 0.015 * np.log(3000 / THRESHOLD_UV)))
    assert back - 30 <= masked[-1] - CLEAN <= back + 30
    assert (np.diff(masked) == 1).all()
    told = [(event.kind, event.channel, event.cause) for event in events]
    assert (HealthEventKind.MASKED, 0, Cause.RECOVERING) in told
    assert {channel for _, channel, _ in told} == {0, -1}


def test_while_a_quarter_of_the_channels_are_away_the_artefact_lasts_for_all() -> None:
    judged, _, events = run(slow_amplifier(N_CHANNELS // 4))
    assert judged.mask[AT + BRIDGE + 50].all()
    assert not judged.mask[AT + 1100].any()
    assert [event.kind for event in events if event.kind is HealthEventKind.ARTEFACT] == [
        HealthEventKind.ARTEFACT
    ]


def test_slow_recoveries_of_a_channel_make_it_no_unstable_one() -> None:
    x = noise(10 * N)
    for k in range(8):
        at = AT + 15_000 * k
        x[at : at + 1000] += slow_amplifier(1)[AT : AT + 1000] - noise()[AT : AT + 1000]
    _, _, events = run(x)
    assert Cause.RECOVERING in {event.cause for event in events}
    assert Cause.UNSTABLE not in {event.cause for event in events}


def test_a_signal_that_stays_large_passes_after_a_tenth_of_a_second() -> None:
    """Half a second of pulses everywhere: no artefact lasts so long."""
    x = noise()
    x[AT : AT + 5000] += (np.random.default_rng(3).standard_normal((5000, N_CHANNELS)) * 800).astype(
        np.float32
    )
    judged, _, _ = run(x)
    assert not judged.mask[AT + 1100 :].any()


def test_an_artefact_into_the_rail_masks_no_channel_for_its_clean_time() -> None:
    x = noise()
    x[AT : AT + 12] = 6000.0
    judged, _, events = run(x)
    assert not judged.mask.any()
    assert {event.kind for event in events} == {HealthEventKind.ARTEFACT}


def stimulated(x: Samples, starts: list[int], width: int) -> tuple[Samples, NDArray[np.uint32]]:
    y, lines = x.copy(), np.full(len(x), 4, np.uint32)  # another line is high all the time
    for start in starts:
        y[start : start + width] += np.float32(3000.0)
        lines[start : start + width] |= np.uint32(8)
    return y, lines


def test_artefacts_that_rail_some_channels_first_make_none_of_them_unstable() -> None:
    x = noise(120_000)
    for at in range(30_000, 110_000, 10_000):
        x[at : at + 20, :3] = 9000.0
        x[at + 4 : at + 20, 3:] += np.float32(1000.0)
    judged, _, events = run(x)
    assert [e.size for e in events] == [N_CHANNELS] * 8
    assert not judged.mask.any()


def test_while_a_stimulation_line_is_high_and_for_its_tail_samples_are_bridged() -> None:
    y, lines = stimulated(noise(), [AT, AT + 500, AT + 1000], 4)
    judged, health, events = run(y, lines)
    rows = changed(judged, y)
    each = list(range(-LEAD, 4 + STIMULATION_TAIL))
    assert rows == [AT + 500 * k + r for k in range(3) for r in each]
    assert_straight(judged.samples[rows[: len(each)]], y[rows[0] - 1], y[rows[len(each) - 1] + 1])
    assert not judged.mask.any()
    assert health.artefacts.sum() == 0
    assert events == []


def test_stimulation_is_bridged_from_the_first_sample_on_and_before_anything_was_learned() -> None:
    y, lines = stimulated(noise(1000), [100], 4)
    judged, _, _ = run(y, lines)
    assert np.abs(judged.samples - np.median(y, 0)).max() < 40


def test_stimulation_longer_than_20_ms_is_masked_until_it_is_over() -> None:
    y, lines = stimulated(noise(), [AT], 1000)
    mask = run(y, lines)[0].mask.all(1)
    assert np.flatnonzero(mask).tolist() == list(range(AT - LEAD + BRIDGE, AT + 1000 + STIMULATION_TAIL))


def test_lines_that_do_not_fit_the_samples_are_refused() -> None:
    with pytest.raises(StreamMismatchError, match="one value per sample"):
        run(noise(100), np.zeros(99, np.uint32))


def with_loss(
    x: Samples, start: int, n: int, health: ChannelHealth | None = None
) -> tuple[Samples, NDArray[np.bool_]]:
    health = ChannelHealth(INFO) if health is None else health
    parts = [
        health.process(SignalBlock(x[:start], 0)),
        health.process(SignalBlock(x[start + n :], start + n)),
    ]
    assert parts[1].first_sample == start - health.delay
    return np.concatenate([p.samples for p in parts]), np.concatenate([p.mask for p in parts])


@pytest.mark.parametrize("n", [1, 7, DELAY])
def test_a_loss_that_fits_the_delay_line_is_a_straight_line(n: int) -> None:
    x = noise()
    samples, mask = with_loss(x, AT, n)
    assert_straight(samples[AT : AT + n], x[AT - 1], x[AT + n])
    kept = np.delete(np.arange(N - DELAY), np.arange(AT, AT + n))
    np.testing.assert_array_equal(samples[kept], x[kept])
    assert not mask.any()


@pytest.mark.parametrize("n", [DELAY + 1, 60, BRIDGE])
def test_a_longer_loss_follows_the_channels_means_and_stays_on_the_grid(n: int) -> None:
    x = noise()
    samples, mask = with_loss(x, AT, n)
    assert np.abs(samples[AT : AT + n] - np.median(x, 0)).max() < 30
    if n > 3 * DELAY:
        assert np.abs(samples[AT + DELAY : AT + n - DELAY] - np.median(x, 0)).max() < 3
    np.testing.assert_array_equal(samples[AT + n :], x[AT + n : N - DELAY])
    assert not mask.any()


def test_a_loss_of_more_than_20_ms_does_not_continue_the_stream() -> None:
    health = ChannelHealth(INFO)
    health.process(SignalBlock(noise(1000), 0))
    assert health.continues(1000 + BRIDGE)
    assert not health.continues(1000 + BRIDGE + 1)
    assert not health.continues(999)
    with pytest.raises(NervehandError, match="reset after a gap of more than 200"):
        health.process(SignalBlock(noise(100), 1000 + BRIDGE + 1))


def test_a_masked_channel_stays_masked_over_a_loss() -> None:
    x = noise()
    x[AT - 50 : AT - 10, 2] = np.nan
    mask = with_loss(x, AT, 15)[1]
    assert np.flatnonzero(mask[:, 2]).tolist() == list(range(AT - 50, AT - 10 + 500 + 15))


def test_what_is_known_of_a_channel_outlasts_a_restart_but_no_reset() -> None:
    x = noise()
    x[:, 2] = np.median(x[:, 2]) + (x[:, 2] - np.median(x[:, 2])) * 40
    for forget, expected in ((False, True), (True, False)):
        health = ChannelHealth(INFO)
        assert health.process(SignalBlock(x, 0)).mask[-1, 2]
        health.reset() if forget else health.restart()
        assert health.process(SignalBlock(x[:2000], 10 * N)).mask[:, 2].all() == expected


def test_a_restart_on_another_offset_is_no_artefact() -> None:
    health = ChannelHealth(INFO)
    health.process(SignalBlock(noise(), 0))
    health.restart()
    health.process(SignalBlock(noise(seed=7) + np.float32(2000.0), 10 * N))
    assert health.artefacts.sum() == 0


def trouble() -> tuple[Samples, NDArray[np.uint32]]:
    x, lines = stimulated(noise(8000, seed=5), [700, 5000, 5030], 15)
    x[2000:2009] += np.float32(800.0)
    x[3000:3300] -= np.float32(900.0)
    x[4000:4030] = 6000.0
    x[4100:4120, 1] = np.nan
    x[4500:4530] += np.float32(600.0)
    x[4500:5200, 3] += (2000.0 * np.exp(-np.arange(700) / 120.0)).astype(np.float32)
    x[6000:6007] += np.float32(600.0)
    x[6015:6020] = np.nan
    return x, lines


QUICK = HealthSettings(frame_s=0.0064)


def stage() -> Step:
    health = ChannelHealth(INFO, QUICK)

    def step(samples: Samples, digital: NDArray[np.uint32], first: int) -> Arrays:
        judged = health.process(SignalBlock(samples, first, digital=digital))
        return judged.samples, judged.mask

    return step


def quick_learning(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("decoder.health.LEARN_S", 0.05)


def test_any_cut_of_artefacts_and_stimulation_gives_the_same_bits(monkeypatch: pytest.MonkeyPatch) -> None:
    quick_learning(monkeypatch)
    x, lines = trouble()
    samples, _ = stage()(x, lines, 3)
    assert (samples[1995:2015] != x[1995:2015]).any()
    assert_any_cut(stage, [x, lines], first=3)


@settings(max_examples=40, deadline=None)
@given(cuts=random_cuts(8000))
def test_random_cuts_of_artefacts_and_stimulation_give_the_same_bits(cuts: list[int]) -> None:
    with pytest.MonkeyPatch.context() as patched:
        quick_learning(patched)
        assert_cut(stage, trouble(), cuts, first=3)


@settings(max_examples=40, deadline=None)
@given(
    cuts=random_cuts(8000),
    losses=st.lists(st.tuples(st.integers(100, 7800), st.integers(1, BRIDGE)), max_size=4),
)
def test_losses_are_bridged_to_the_same_bits_however_the_rest_is_cut(
    cuts: list[int], losses: list[tuple[int, int]]
) -> None:
    """Cuts beside the losses change nothing, whether or not they fall on them."""
    x, lines = trouble()
    lost = np.zeros(len(x), np.bool_)
    for start, n in losses:
        if not lost[start - 1 : start + n + 1].any():
            lost[start : start + n] = True

    def outcome(edges: list[int]) -> tuple[bytes, bytes]:
        health, parts = ChannelHealth(INFO, QUICK), []
        marks = sorted({0, len(x), *edges, *(np.flatnonzero(np.diff(lost)) + 1).tolist()})
        for a, b in itertools.pairwise(marks):
            if not lost[a]:
                parts.append(health.process(SignalBlock(x[a:b], a, digital=lines[a:b])))
        return (
            np.concatenate([p.samples for p in parts]).tobytes(),
            np.concatenate([p.mask for p in parts]).tobytes(),
        )

    assert outcome(cuts) == outcome([])


def test_a_delay_of_nothing_still_bridges_by_holding() -> None:
    info = replace(INFO, kind="envelope", rate_hz=100.0, stimulation_lines=())
    health, x = ChannelHealth(info), np.abs(noise(100))
    parts = [health.process(SignalBlock(x[:50], 0)), health.process(SignalBlock(x[52:], 52))]
    samples = np.concatenate([p.samples for p in parts])
    assert len(samples) == 100
    np.testing.assert_array_equal(samples[50:52], x[[49, 49]])
