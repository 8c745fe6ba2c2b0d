"""Channels die at a sample, each of its own cause; nothing else changes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from calibration.channel_loss import CAUSES, Cause, ChannelLoss, draw_losses, lose_channels
from firmware_bridge.errors import NervehandError
from tests.calibration.subjects import N_CHANNELS, RATE_HZ, SCALE_UV, session

FROM = 5001


def dead(cause: Cause) -> np.ndarray:
    """What channel 2 delivers from FROM on, in microvolts."""
    lost = lose_channels(session(1), (ChannelLoss(2, cause, FROM),), seed=1)
    return lost.microvolts()[FROM:, 2]


@pytest.mark.parametrize("cause", CAUSES)
def test_only_the_lost_channel_changes_and_only_from_its_sample_on(cause: Cause) -> None:
    whole = session(1)
    lost = lose_channels(whole, (ChannelLoss(2, cause, FROM),), seed=1)
    changed = np.asarray(lost.signal[:]) != np.asarray(whole.signal[:])
    others = np.arange(N_CHANNELS) != 2
    assert not changed[:, others].any()
    assert not changed[:FROM, 2].any()
    assert changed[FROM : FROM + 20, 2].any()
    assert changed[FROM:, 2].mean() > 0.9
    assert lost.signal.dtype == whole.signal.dtype


def test_samples_are_counted_from_the_sessions_own_first() -> None:
    later = replace(session(1), first_sample=1000)
    lost = lose_channels(later, (ChannelLoss(0, "flat", 1500),), seed=0)
    flat = lost.microvolts()[:, 0]
    assert not flat[500:].any()
    assert flat[400:500].any()


def test_each_cause_is_what_it_is_called() -> None:
    assert np.ptp(dead("flat")) == 0
    assert (np.abs(dead("railed")) >= 32767 * SCALE_UV - 1e-3).all()
    assert dead("noise").std() == pytest.approx(100.0, rel=0.05)
    swamped = dead("mains")
    spectrum = np.abs(np.fft.rfft(swamped)) ** 2
    hz = np.fft.rfftfreq(len(swamped), 1 / RATE_HZ)
    assert hz[spectrum.argmax()] == pytest.approx(50.0, abs=1.0)
    assert spectrum[np.abs(hz - 50.0) < 2].sum() > 0.9 * spectrum.sum()


def test_losses_are_drawn_by_seed_each_of_another_channel_and_cause() -> None:
    losses = draw_losses(16, 4, FROM, seed=3)
    assert losses == draw_losses(16, 4, FROM, seed=3)
    assert len({loss.channel for loss in losses}) == 4
    assert {loss.cause for loss in losses} == set(CAUSES)
    assert {loss.from_sample for loss in losses} == {FROM}
    assert any(draw_losses(16, 4, FROM, seed=s) != losses for s in range(3))


def test_what_cannot_be_lost_is_refused() -> None:
    with pytest.raises(NervehandError, match="17 of 16"):
        draw_losses(16, 17, 0, seed=0)
    with pytest.raises(NervehandError, match="channel 0 cannot be lost at sample 99999999"):
        lose_channels(session(1), (ChannelLoss(0, "flat", 99_999_999),), seed=0)
