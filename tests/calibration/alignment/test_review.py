"""Everything that is looked at after a round, at once."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from calibration.alignment.review import Readings, Review, review
from calibration.records import Reason, Verdict
from firmware_bridge.errors import NervehandError
from tests.calibration.alignment.linear_nerve import COMPRESS, nerve
from tests.calibration.alignment.two_hands import HOP_SAMPLES, MOVEMENTS, RATE_HZ, Cued, Glove, plan

NAMES = ("thumb", "index", "middle", "wrist extension")
GLOVE = Glove(lag_s=0.15, drift_ppm=20)


def reviewed(cued: Cued, readings: Readings, noise: float = 0.3) -> Review:
    return review(
        cued.records(), readings, nerve(cued, noise=noise), COMPRESS, MOVEMENTS, RATE_HZ, HOP_SAMPLES
    )


def test_good_trials_are_good_and_carry_what_was_found() -> None:
    cued = plan(5, 1, NAMES)
    found = reviewed(cued, GLOVE.readings(cued, 1))
    assert all(trial.verdict is Verdict.GOOD for trial in found.trials)
    assert found.alignment.lag_s == pytest.approx(0.15, abs=0.005)
    assert found.alignment.drift_ppm == pytest.approx(20, abs=3)
    for trial in found.trials:
        assert trial.lag_s == pytest.approx(0.15, abs=0.02)
        assert trial.agreement is not None
        assert trial.agreement > 0.7


def test_positions_at_the_hops_are_the_phantoms() -> None:
    cued = plan(5, 1, NAMES)
    found = reviewed(cued, GLOVE.readings(cued, 1))
    index = nerve(cued).sample_index
    phantom = cued.positions(cued.phantom, index / RATE_HZ, np.zeros(len(cued.asked)))
    assert np.abs(found.positions - phantom)[found.known].max() < 0.12
    assert found.known.mean() > 0.99
    assert np.isfinite(found.positions).all()


def test_bad_trials_of_every_kind_are_found_and_no_other() -> None:
    cued = plan(6, 2, NAMES)
    phantom, able = list(cued.phantom), list(cued.able)
    other = next(i for i in range(8, 24) if cued.asked[i] == "index")
    phantom[other] = "thumb"
    still, nothing, frozen = (i for i in (13, 17, 21))
    assert other not in (still, nothing, frozen)
    phantom[still] = phantom[nothing] = able[nothing] = None
    cued = replace(cued, phantom=tuple(phantom), able=tuple(able))
    found = reviewed(cued, GLOVE.readings(cued, 2, {frozen: "frozen"}))
    reasons = {i: trial.reasons for i, trial in enumerate(found.trials) if trial.reasons}
    assert reasons == {
        other: (Reason.HANDS_DISAGREE,),
        still: (Reason.HANDS_DISAGREE, Reason.NOTHING_MOVED),
        nothing: (Reason.NOTHING_MOVED,),
        frozen: (Reason.TRUTH_FROZE,),
    }
    assert found.lag.lag_s == pytest.approx(0.15, abs=0.005)


def test_in_the_first_round_only_the_able_hand_is_judged() -> None:
    cued = plan(1, 3, NAMES)
    cued = replace(cued, phantom=("thumb",) * 4)
    found = reviewed(cued, GLOVE.readings(cued, 3))
    assert not any(trial.reasons for trial in found.trials)


def test_a_persons_word_stays() -> None:
    cued = plan(3, 1, NAMES)
    trials = [replace(trial, accepted=i == 0) for i, trial in enumerate(cued.records())]
    found = review(trials, GLOVE.readings(cued, 1), nerve(cued), COMPRESS, MOVEMENTS, RATE_HZ, HOP_SAMPLES)
    assert [trial.accepted for trial in found.trials] == [trial.accepted for trial in trials]


def test_a_glove_that_said_nothing_yet_loses_every_trials_truth() -> None:
    cued = plan(1, 1, NAMES)
    nothing = Readings(
        np.zeros(0), np.zeros(0, np.int64), np.zeros((0, 6), np.float32), np.zeros((0, 9), np.float32)
    )
    found = reviewed(cued, nothing)
    assert {trial.reasons for trial in found.trials} == {(Reason.TRUTH_LOST,)}
    assert found.lag.confidence == 0
    assert not found.known.any()


def test_without_trials_there_is_nothing_to_review() -> None:
    cued = plan(1, 1, NAMES)
    with pytest.raises(NervehandError, match="nothing to review"):
        review([], GLOVE.readings(cued, 1), nerve(cued), COMPRESS, MOVEMENTS, RATE_HZ, HOP_SAMPLES)


def test_readings_that_do_not_belong_together_are_an_error() -> None:
    with pytest.raises(NervehandError, match="one of each per reading"):
        Readings(
            np.zeros(3), np.zeros(3, np.int64), np.zeros((2, 6), np.float32), np.zeros((3, 6), np.float32)
        )
