"""Labels and truth from the aligned hand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from calibration.alignment.labels import SessionLabels, aligned_truth, label_session
from calibration.alignment.trace import AbleTrace, able_trace
from calibration.records import TrialRecord, Verdict
from firmware_bridge.errors import NervehandError
from tests.calibration.alignment.two_hands import (
    HOLD_S,
    MOVEMENTS,
    RAMP_S,
    RATE_HZ,
    TRIAL_S,
    Glove,
    plan,
)

NAMES = ("thumb", "index", "wrist extension")
CUED = plan(2, 1, NAMES)
N = round(len(CUED.asked) * TRIAL_S * RATE_HZ)
LAG_S = 0.15


def trace(glove: Glove, frozen: dict[int, str] | None = None) -> AbleTrace:
    told = glove.readings(CUED, 1, frozen or {})
    return able_trace((told.device_s - glove.from_s) * RATE_HZ, told.positions, RATE_HZ)


def labelled(
    trials: list[TrialRecord], of: AbleTrace | None = None, *, first: int = 0, by_trial: bool = False
) -> SessionLabels:
    of = trace(Glove(lag_s=LAG_S)) if of is None else of
    return label_session(of, trials, LAG_S, MOVEMENTS, ("rest", *NAMES), first, N - first, by_trial=by_trial)


def onsets_s(found: SessionLabels, first: int = 0) -> np.ndarray:  # type: ignore[type-arg]
    return (first + np.flatnonzero((found.labels[1:] > 0) & (found.labels[:-1] == 0))) / RATE_HZ


def test_the_truth_is_what_the_phantom_did_once_the_lag_is_out() -> None:
    truth, known = aligned_truth(trace(Glove(lag_s=LAG_S, noise=0.001)), LAG_S, 0, N - 3000)
    phantom = CUED.positions(CUED.phantom, np.arange(N - 3000) / RATE_HZ, np.zeros(6))
    assert np.abs(truth - phantom)[known].max() < 0.03
    assert known.mean() > 0.99


def test_a_label_holds_from_the_aligned_onset_to_the_aligned_return() -> None:
    found = labelled(CUED.records())
    assert np.array_equal(np.unique(found.labels), [0, 1, 2, 3])
    starts = np.arange(6) * TRIAL_S + 0.75 + CUED.delay_s
    assert onsets_s(found) == pytest.approx(starts + 0.2 * RAMP_S, abs=0.03)
    held_s = np.bincount(found.trial[found.labels > 0])[1:] / RATE_HZ
    assert held_s == pytest.approx([HOLD_S + 1.6 * RAMP_S] * 6, abs=0.05)


def test_every_sample_of_a_used_trial_belongs_to_it_and_to_its_repetition() -> None:
    found = labelled(CUED.records())
    for record in CUED.records():
        rows = slice(record.first_sample, record.stop_sample)
        assert (found.trial[rows] == record.number).all()
        assert (found.repetition[rows] == record.repetition).all()
    assert found.left_out == ()


def test_a_bad_trial_is_left_out_with_its_truth_held() -> None:
    trials = CUED.records()
    trials[2] = replace(trials[2], verdict=Verdict.BAD)
    found = labelled(trials)
    rows = slice(trials[2].first_sample, trials[2].stop_sample)
    assert found.left_out == ((rows.start, rows.stop),)
    assert not found.labels[rows].any()
    assert not found.trial[rows].any()
    assert not found.known[rows].any()
    assert (found.truth[rows] == found.truth[rows.start - 1]).all()


def test_a_persons_word_brings_a_bad_trial_back() -> None:
    trials = CUED.records()
    trials[2] = replace(trials[2], verdict=Verdict.BAD, accepted=True)
    assert labelled(trials).left_out == ()


def test_a_used_trial_in_which_no_movement_is_seen_is_left_out() -> None:
    trials = CUED.records()
    found = labelled(trials, trace(Glove(lag_s=LAG_S), {3: "frozen"}))
    assert (trials[3].first_sample, trials[3].stop_sample) in found.left_out


def test_each_trials_own_lag_is_taken_out_where_that_is_asked_for() -> None:
    glove = Glove(lag_s=LAG_S, lag_spread_s=0.05, noise=0.001)
    late_s = glove.late_s(6, 1)
    trials = [replace(trial, lag_s=float(lag)) for trial, lag in zip(CUED.records(), late_s, strict=True)]
    starts = np.arange(6) * TRIAL_S + 0.75 + CUED.delay_s + 0.2 * RAMP_S
    assert onsets_s(labelled(trials, trace(glove), by_trial=True)) == pytest.approx(starts, abs=0.02)
    assert onsets_s(labelled(trials, trace(glove))) == pytest.approx(starts + late_s - LAG_S, abs=0.02)


def test_a_recording_that_begins_in_a_trial_is_labelled_from_there() -> None:
    first = round(1.2 * TRIAL_S * RATE_HZ)
    found, whole = labelled(CUED.records(), first=first), labelled(CUED.records())
    assert onsets_s(found, first) == pytest.approx(onsets_s(whole)[1:], abs=0.01)
    assert np.array_equal(found.trial, whole.trial[first:])
    assert found.truth == pytest.approx(whole.truth[first:])


def test_the_truth_is_finite_where_nobody_saw_the_hand() -> None:
    found = labelled(CUED.records(), trace(Glove(lag_s=LAG_S), {1: "lost"}))
    assert np.isfinite(found.truth).all()
    assert not found.known[CUED.records()[1].cue_sample]


def test_a_movement_without_a_posture_is_an_error() -> None:
    with pytest.raises(NervehandError, match="give its posture"):
        label_session(trace(Glove()), CUED.records(), 0.0, {}, ("rest", *NAMES), 0, N)


def test_trials_that_overlap_are_an_error() -> None:
    trials = CUED.records()
    trials[1] = replace(trials[1], first_sample=trials[1].first_sample - 100)
    with pytest.raises(NervehandError, match="begins before"):
        labelled(trials)
