"""Quality per channel: noise of settled rest in the decoder's band, and what was masked and why."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from calibration.report.channels import channel_quality, settled_rest, typical_noise_uv
from decoder.session.model import Gap, Session, SessionMeta
from firmware_bridge.stream import StreamInfo
from tests.bundles import random_bundle
from tests.calibration.report import person

RATE_HZ = 2000.0
INFO = StreamInfo(rate_hz=RATE_HZ, channel_names=("a", "b", "c", "d"), kind="nerve", full_scale_uv=6000.0)
LEVELS_UV = np.array([5.0, 10.0, 20.0, 5.0])


def recording(seconds: float = 20.0) -> Session:
    """White noise of known levels at rest, ten times as loud in 2 s of movement out of 5."""
    rng = np.random.default_rng(4)
    n = round(seconds * RATE_HZ)
    labels = ((np.arange(n) / RATE_HZ) % 5.0 >= 3.0).astype(np.int16)
    signal = LEVELS_UV * rng.standard_normal((n, 4)) * np.where(labels > 0, 10.0, 1.0)[:, None]
    return Session(
        info=INFO,
        meta=SessionMeta("one"),
        signal=signal.astype(np.float32),
        labels=labels,
        gesture_names=("rest", "fist"),
    )


def test_noise_is_that_of_rest_in_the_band_of_the_decoder() -> None:
    session = recording()
    bundle = random_bundle(INFO, session.microvolts())
    found = channel_quality(session, bundle)
    band_hz = bundle.coefficients.band_hz
    assert band_hz is not None
    # White noise keeps the root of the band's share of half the rate.
    expected = LEVELS_UV * np.sqrt((band_hz[1] - band_hz[0]) / (RATE_HZ / 2))
    np.testing.assert_allclose([channel.noise_uv or 0.0 for channel in found], expected, rtol=0.1)
    assert all(channel.masked_share == 0 and channel.causes == {} for channel in found)
    assert typical_noise_uv(found) == pytest.approx(np.median([c.noise_uv for c in found]))


def test_rest_is_settled_half_a_second_after_a_movement_and_a_quarter_before_one() -> None:
    labels = np.repeat([0, 1, 0, 1], 100).astype(np.int16)
    session = replace(
        person.session(),
        signal=np.zeros((400, person.N), np.float32), labels=labels, trial=None, repetition=None, truth=None,
        truth_names=(), truth_units=(),
    )  # fmt: skip
    settled = np.flatnonzero(settled_rest(session))
    np.testing.assert_array_equal(settled, [*range(75), *range(250, 275)])
    assert settled_rest(replace(session, labels=None)).all()
    assert settled_rest(replace(session, labels=np.ones(400, np.int16))).all()


def test_a_flat_channel_is_masked_with_its_cause_and_its_share_of_the_time() -> None:
    session = recording()
    signal = np.array(session.signal[slice(None)])
    signal[len(signal) // 2 :, 1] = 7.0
    found = channel_quality(replace(session, signal=signal), random_bundle(INFO, session.microvolts()))
    assert found[1].main_cause == "flat"
    assert found[1].masked_share == pytest.approx(0.49, abs=0.02)
    assert sum(found[1].causes.values()) == pytest.approx(found[1].masked_share)
    # What it shows while it is masked is no noise of its own.
    whole = channel_quality(session, random_bundle(INFO, session.microvolts()))
    assert found[1].noise_uv == pytest.approx(whole[1].noise_uv, rel=0.1)
    assert found[0].masked_share == 0


def test_a_channel_that_is_never_believed_has_no_noise() -> None:
    session = recording()
    signal = np.array(session.signal[slice(None)])
    signal[:, 2] = np.nan
    found = channel_quality(replace(session, signal=signal), random_bundle(INFO, session.microvolts()))
    assert found[2].noise_uv is None
    assert found[2].masked_share == pytest.approx(1.0)
    assert found[2].main_cause == "not finite"


def test_a_gap_is_neither_noise_nor_masked() -> None:
    session = recording()
    start, stop = 5000, 9000
    signal = np.array(session.signal[slice(None)])
    signal[start:stop] = 1e6
    found = channel_quality(
        replace(session, signal=signal, gaps=(Gap(start, stop),)), random_bundle(INFO, session.microvolts())
    )
    whole = channel_quality(session, random_bundle(INFO, session.microvolts()))
    for one, other in zip(found, whole, strict=True):
        assert one.masked_share == 0
        assert one.noise_uv == pytest.approx(other.noise_uv, rel=0.05)
