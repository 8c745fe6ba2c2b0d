"""Which trials can teach: the able hand against the cue, its sensor, and the nerve's health."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from calibration.nerve_opinion import CONTRADICTS_BY, FEWEST_TRIALS, Opinion, opinions
from calibration.records import Reason, TrialRecord, Verdict
from calibration.trial_quality import FROZEN_S, MASKED_SHARE, Hops, Judgement, froze, judge
from firmware_bridge.errors import NervehandError
from tests.calibration.alignment.linear_nerve import nerve
from tests.calibration.alignment.two_hands import HOP_SAMPLES, MOVEMENTS, RATE_HZ, Cued, plan

NAMES = ("thumb", "index", "ring", "pinch")
CUED = plan(1, 0, NAMES)


def hops(cued: Cued = CUED, noise: float = 0.0, seed: int = 0, nerve_noise: float = 0.3) -> Hops:
    features = nerve(cued, seed, noise=nerve_noise)
    index = features.sample_index
    positions = cued.positions(cued.able, index / RATE_HZ, np.zeros(len(cued.asked)))
    positions = positions + noise * np.random.default_rng(0).normal(size=positions.shape)
    everywhere = np.ones(len(index), np.bool_)
    z = (features.values - features.values.mean(0)) / features.values.std(0)
    return Hops(index, z, features.masked, positions, everywhere, np.ones(6, np.bool_), HOP_SAMPLES)


def judged(
    of: Hops, cued: Cued = CUED, frozen: list[bool] | None = None, *, ask_nerve: bool = False
) -> list[Judgement]:
    frozen = [False] * len(cued.asked) if frozen is None else frozen
    return judge(cued.records(), of, MOVEMENTS, frozen, ask_nerve=ask_nerve)


def reasons(of: Hops, cued: Cued = CUED, **more: bool) -> list[tuple[Reason, ...]]:
    return [one.reasons for one in judged(of, cued, **more)]


def rows_of(trial: TrialRecord, of: Hops) -> slice:
    return of.rows(trial.first_sample, trial.stop_sample)


def with_able(**made: str | None) -> Cued:
    return replace(CUED, able=tuple(made.get(name, name) for name in CUED.asked))


def test_a_hand_that_does_what_was_asked_is_good() -> None:
    assert reasons(hops(noise=0.02)) == [()] * 4
    assert all(one.verdict is Verdict.GOOD for one in judged(hops()))


def test_a_hand_that_does_not_move_is_found() -> None:
    cued = with_able(ring=None)
    assert reasons(hops(cued, noise=0.02), cued)[CUED.asked.index("ring")] == (Reason.NOTHING_MOVED,)


@pytest.mark.parametrize(("share", "moved"), [(0.25, False), (0.4, True)])
def test_a_twitch_is_not_the_movement(share: float, moved: bool) -> None:
    of = hops()
    found = reasons(replace(of, positions=share / 0.95 * of.positions))
    assert all((one == ()) is moved for one in found)


def test_another_finger_than_asked_for_is_found() -> None:
    cued = with_able(index="ring")
    assert reasons(hops(cued), cued)[CUED.asked.index("index")] == (Reason.WRONG_MOVEMENT,)


def test_a_neighbour_that_comes_along_is_no_other_movement() -> None:
    of = hops()
    along = of.positions.copy()
    along[:, 2] += 0.3 * of.positions[:, 1] + 0.3 * of.positions[:, 3]
    along[:, 4] += 0.3 * of.positions[:, 3]
    assert reasons(replace(of, positions=along)) == [()] * 4


@pytest.mark.parametrize("rest", [0.6, -0.6])
def test_a_hand_that_does_not_rest_at_zero_is_judged_by_how_it_moves(rest: float) -> None:
    of = hops()
    assert reasons(replace(of, positions=of.positions + rest)) == [()] * 4


def test_a_movement_that_the_sensor_does_not_see_is_not_held_against_it() -> None:
    cued = plan(1, 0, ("wrist flexion", "thumb"))
    of = hops(cued)
    of = replace(of, positions=of.positions * (np.arange(6) < 5), measured=np.arange(6) < 5)
    assert reasons(of, cued) == [(), ()]


@pytest.mark.parametrize(("share", "lost"), [(0.05, False), (0.2, True)])
def test_a_hand_that_was_not_seen_for_a_tenth_of_the_time_is_lost(share: float, lost: bool) -> None:
    of = hops()
    trial = CUED.records()[1]
    rows = of.rows(trial.cue_sample, trial.stop_sample)
    known = of.known.copy()
    known[rows.start : rows.start + round(share * (rows.stop - rows.start))] = False
    assert reasons(replace(of, known=known))[1] == ((Reason.TRUTH_LOST,) if lost else ())


@pytest.mark.parametrize(("share", "bad"), [(MASKED_SHARE - 0.1, False), (MASKED_SHARE + 0.1, True)])
def test_a_trial_that_a_quarter_of_the_channels_missed_is_bad(share: float, bad: bool) -> None:
    of = hops()
    masked = of.masked.copy()
    masked[rows_of(CUED.records()[2], of), : round(share * masked.shape[1])] = True
    found = judged(replace(of, masked=masked))[2]
    assert found.reasons == ((Reason.NERVE_BAD,) if bad else ())
    assert found.masked_share == pytest.approx(share, abs=0.02)


def test_channels_that_are_gone_for_good_are_no_trials_fault() -> None:
    of = hops()
    masked = of.masked.copy()
    masked[:, :12] = True
    assert reasons(replace(of, masked=masked)) == [()] * 4


def test_hops_that_are_missing_are_samples_that_were_lost() -> None:
    of = hops()
    trial = CUED.records()[1]
    kept = np.ones(len(of.sample_index), np.bool_)
    middle = (trial.cue_sample + trial.release_sample) // 2
    kept[of.rows(middle, middle + round(0.2 * RATE_HZ))] = False
    cut = Hops(
        of.sample_index[kept], of.z[kept], of.masked[kept], of.positions[kept], of.known[kept], of.measured, HOP_SAMPLES
    )  # fmt: skip
    assert reasons(cut) == [(), (Reason.SAMPLES_LOST,), (), ()]


def glove(seconds: float, step: float = 0.001) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    at = np.arange(round(seconds * 100)) * RATE_HZ / 100
    values = np.random.default_rng(0).normal(size=(len(at), 5))
    return at, np.round(values * 0.01 / step) * step


def test_a_sensor_with_noise_that_repeats_itself_froze() -> None:
    at, values = glove(4 * 3.3)
    for seconds, expected in ((FROZEN_S - 0.1, False), (FROZEN_S + 0.1, True)):
        begins = round(1.5 * 3.3 * 100)
        frozen = values.copy()
        frozen[begins : begins + round(100 * seconds)] = frozen[begins]
        assert froze(CUED.records(), at, frozen, RATE_HZ) == [False, expected, False, False]


def test_a_trial_after_one_that_was_frozen_to_its_end_is_not_frozen() -> None:
    at, values = glove(4 * 3.3)
    values[330:663] = values[330]
    assert froze(CUED.records(), at, values, RATE_HZ) == [False, True, False, False]


def test_a_coarse_sensor_that_always_repeats_itself_is_not_said_to_freeze() -> None:
    at, values = glove(4 * 3.3, step=1.0)
    assert not values.any()
    assert froze(CUED.records(), at, values, RATE_HZ) == [False] * 4


def asked(cued: Cued, seed: int = 0, nerve_noise: float = 0.3) -> list[Opinion]:
    of = hops(cued, seed=seed, nerve_noise=nerve_noise)
    return opinions(of.z, of.positions, [rows_of(trial, of) for trial in cued.records()], cued.asked)


def test_the_nerve_agrees_with_good_trials() -> None:
    found = asked(plan(6, 1, NAMES))
    assert [one.said for one in found] == list(plan(6, 1, NAMES).asked)
    assert not any(one.contradicts for one in found)


def test_the_nerve_names_the_movement_that_the_phantom_made_instead() -> None:
    cued = plan(6, 1, NAMES)
    phantom = list(cued.phantom)
    phantom[10] = "thumb" if cued.asked[10] != "thumb" else "ring"
    phantom[14] = None
    found = asked(replace(cued, phantom=tuple(phantom)))
    assert [i for i, one in enumerate(found) if one.contradicts] == [10, 14]
    assert found[10].said == phantom[10]
    assert found[14].said == "rest"
    assert found[10].log_odds < -CONTRADICTS_BY


@pytest.mark.parametrize("seed", range(4))
def test_a_trial_is_no_witness_of_its_own(seed: int) -> None:
    """Where it taught its movement, a phantom at rest among four trials would make the movement look like rest."""
    cued = plan(4, seed, NAMES)
    phantom = list(cued.phantom)
    phantom[7] = None
    found = asked(replace(cued, phantom=tuple(phantom)), seed, nerve_noise=2.0)
    assert [i for i, one in enumerate(found) if one.contradicts] == [7]


def test_a_movement_made_once_is_not_judged_by_the_nerve() -> None:
    cued = plan(6, 1, NAMES)
    changed = ["index" if name == "ring" else name for name in cued.asked]
    changed[5] = "ring"
    cued = replace(cued, asked=tuple(changed), able=tuple(changed), phantom=tuple(changed))
    assert asked(cued)[5].said == ""


def test_few_trials_are_not_judged_by_the_nerve() -> None:
    cued = plan(2, 1, NAMES)
    assert len(cued.asked) < FEWEST_TRIALS
    assert {one.said for one in asked(cued)} == {""}


def test_channels_that_went_quiet_at_rest_make_the_nerve_bad() -> None:
    cued = plan(6, 1, NAMES)
    of = hops(cued)
    z = of.z.copy()
    z[rows_of(cued.records()[9], of), :10] -= 2.0
    found = judge(cued.records(), replace(of, z=z), MOVEMENTS, [False] * 24)
    assert [i for i, one in enumerate(found) if one.reasons] == [9]
    assert found[9].reasons == (Reason.NERVE_BAD,)


def test_a_movement_without_a_posture_is_an_error() -> None:
    with pytest.raises(NervehandError, match="has no posture"):
        judge(CUED.records(), hops(), {"thumb": MOVEMENTS["thumb"]}, [False] * 4)


def test_every_trial_needs_a_word_on_its_sensor() -> None:
    with pytest.raises(NervehandError, match="one of each"):
        judge(CUED.records(), hops(), MOVEMENTS, [False])


def test_hops_that_do_not_belong_together_are_an_error() -> None:
    of = hops()
    with pytest.raises(NervehandError, match="known has shape"):
        replace(of, known=of.known[:-1])
