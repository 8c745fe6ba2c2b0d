"""The lag between the hands, found in the nerve."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from calibration.alignment.lag import LATEST_S, LagEstimate, Span, estimate_lag
from calibration.alignment.trace import able_trace
from firmware_bridge.errors import NervehandError
from tests.calibration.alignment.linear_nerve import nerve
from tests.calibration.alignment.two_hands import (
    HOP_SAMPLES,
    RATE_HZ,
    Cued,
    Glove,
    features_of,
    plan,
    samples,
)

FINGERS = ("thumb", "index", "wrist extension")


def estimated(cued: Cued, glove: Glove, seed: int = 0, noise: float = 0.5, tells: bool = True) -> LagEstimate:
    features = nerve(cued, seed, noise, tells)
    told = glove.readings(cued, seed)
    trace = able_trace((told.device_s - glove.from_s) * RATE_HZ, told.positions, RATE_HZ)
    spans = [Span(trial.first_sample, trial.stop_sample) for trial in cued.records()]
    return estimate_lag(features.values, features.sample_index, trace, spans, HOP_SAMPLES)


@settings(max_examples=6)
@given(lag_s=st.floats(-0.3, 0.5), seed=st.integers(0, 1000))
def test_a_lag_is_found_below_a_hop(lag_s: float, seed: int) -> None:
    found = estimated(plan(3, seed, FINGERS), Glove(lag_s=lag_s), seed)
    assert found.lag_s == pytest.approx(lag_s, abs=0.008)
    assert found.confidence > 0.9


def test_a_hand_that_is_neither_late_nor_early_has_no_lag() -> None:
    assert estimated(plan(3, 1, FINGERS), Glove()).lag_s == pytest.approx(0, abs=0.003)


def test_trials_of_one_lag_keep_it() -> None:
    found = estimated(plan(4, 2, FINGERS), Glove(lag_s=0.15), noise=1.5)
    assert found.spread_s < 0.01
    assert [lag for lag, _ in found.by_trial] == pytest.approx([found.lag_s] * 12, abs=0.01)


@pytest.mark.parametrize("seed", range(4))
def test_after_one_round_a_movement_that_no_other_trial_made_is_given_no_lag_of_its_own(seed: int) -> None:
    """No model of the other trials knows what that movement looks like: they have the subject's lag, or nearly."""
    names = ("thumb", "index", "middle", "ring", "little", "fist", "wrist flexion", "wrist extension")
    found = estimated(plan(1, seed, names), Glove(lag_s=0.15), seed)
    assert found.lag_s == pytest.approx(0.15, abs=0.01)
    assert [lag for lag, _ in found.by_trial] == pytest.approx([0.15] * 8, abs=0.015)


def test_lags_that_differ_from_trial_to_trial_are_recovered() -> None:
    cued, glove = plan(6, 3, FINGERS), Glove(lag_s=0.15, lag_spread_s=0.04)
    found = estimated(cued, glove, seed=3)
    true = glove.late_s(18, 3)
    own = np.array([lag for lag, _ in found.by_trial])
    assert np.std(own - true) < 0.4 * np.std(true)
    assert found.spread_s == pytest.approx(np.std(true), abs=0.015)


def test_the_less_a_trial_tells_the_nearer_its_lag_is_to_the_subjects() -> None:
    cued, glove = plan(6, 3, FINGERS), Glove(lag_s=0.15, lag_spread_s=0.04)
    found = [estimated(cued, glove, seed=3, noise=noise) for noise in (0.3, 1.5, 4.0)]
    away = [float(np.std([lag for lag, _ in one.by_trial])) for one in found]
    assert away == sorted(away, reverse=True)
    confidences = [float(np.mean([confidence for _, confidence in one.by_trial])) for one in found]
    assert confidences[0] > confidences[-1]


def test_a_nerve_that_tells_nothing_gives_no_confidence() -> None:
    found = [estimated(plan(3, seed, FINGERS), Glove(0.15), seed, tells=False) for seed in range(4)]
    assert max(one.confidence for one in found) < 0.7


def test_a_lag_beyond_what_is_looked_for_is_unknown() -> None:
    found = estimated(plan(3, 1, FINGERS), Glove(lag_s=LATEST_S + 0.15))
    assert found.confidence == 0


def test_two_trials_are_too_few() -> None:
    found = estimated(plan(1, 1, FINGERS[:2]), Glove(lag_s=0.15))
    assert found == LagEstimate(0.0, 0.0, 0.0, ((0.0, 0.0),) * 2)


def test_a_trial_without_truth_has_the_subjects_lag_and_the_others_are_found() -> None:
    cued, glove = plan(3, 4, FINGERS), Glove(lag_s=0.2)
    told = glove.readings(cued, 4, {4: "lost"})
    features = nerve(cued, 4)
    trace = able_trace((told.device_s - glove.from_s) * RATE_HZ, told.positions, RATE_HZ)
    spans = [Span(trial.first_sample, trial.stop_sample) for trial in cued.records()]
    found = estimate_lag(features.values, features.sample_index, trace, spans, HOP_SAMPLES)
    assert found.lag_s == pytest.approx(0.2, abs=0.005)
    assert found.by_trial[4][0] == pytest.approx(found.lag_s, abs=0.005)


def test_trials_that_overlap_are_an_error() -> None:
    features = nerve(plan(1, 1, FINGERS))
    trace = able_trace(np.arange(3.0), np.zeros((3, 6)), RATE_HZ)
    with pytest.raises(NervehandError, match="trials overlap"):
        estimate_lag(
            features.values, features.sample_index, trace, [Span(0, 100), Span(50, 150)], HOP_SAMPLES
        )


@pytest.mark.slow
def test_150_ms_and_20_ppm_in_a_simulated_subject_are_found_within_10_ms_from_three_repetitions() -> None:
    cued = plan(3, 2)
    found = features_of(samples(2, cued)).review(
        cued.records(), Glove(lag_s=0.15, drift_ppm=20).readings(cued, 2)
    )
    assert found.lag.lag_s == pytest.approx(0.15, abs=0.01)
    assert found.clock.drift_ppm == pytest.approx(20, abs=3)
