"""What the person does: late after a cue, not quite where asked, and the same for every asking."""

from __future__ import annotations

import numpy as np
import pytest

from firmware_bridge.errors import NervehandError
from firmware_bridge.nerve.motion import GESTURES, POSTURES, CuedMotion, Schedule, SteeredMotion, Truth
from firmware_bridge.nerve.physiology import DEFAULT

RATE_HZ = 1000.0
FIST = 6


def cued(day: int = 0, subject: int = 1) -> CuedMotion:
    return CuedMotion(DEFAULT, subject, day, RATE_HZ, Schedule(repetitions=2))


def whole(motion: CuedMotion) -> Truth:
    return motion.truth(np.arange(motion.n_samples))


def test_every_gesture_is_made_once_in_each_repetition() -> None:
    truth = whole(cued())
    assert set(np.unique(truth.trial)) == set(range(1, 2 * (len(GESTURES) - 1) + 1))
    for repetition in (1, 2):
        assert set(truth.gesture[truth.repetition == repetition]) == set(range(len(GESTURES)))
    for trial in np.unique(truth.trial):
        assert len(np.unique(truth.gesture[truth.trial == trial])) == 2  # rest and one movement


def test_each_day_and_each_subject_has_its_own_order() -> None:
    orders = [tuple(whole(motion).gesture[1000::3300]) for motion in (cued(), cued(day=1), cued(subject=2))]
    assert len(set(orders)) == 3


def test_a_movement_follows_its_cue_by_a_reaction_time() -> None:
    truth = whole(cued())
    asked = np.flatnonzero((truth.cue[1:] > 0) & (truth.cue[:-1] == 0))
    made = np.flatnonzero((truth.gesture[1:] > 0) & (truth.gesture[:-1] == 0))
    delay_s = (made - asked) / RATE_HZ
    assert 0.15 < delay_s.min() < delay_s.max() < 0.35  # Welford 1980: 0.18 to 0.3 s
    assert delay_s.std() > 0.02


def test_a_posture_is_met_roughly_and_rest_exactly() -> None:
    truth = whole(cued())
    assert (truth.positions[truth.gesture == 0] == 0).all()
    levels = []
    for gesture in range(1, len(GESTURES)):
        reached = np.abs(truth.positions[truth.gesture == gesture]).max(0)
        np.testing.assert_array_equal(reached > 0, POSTURES[gesture] != 0)
        levels.append(reached.max())
    assert 0.7 <= min(levels) < max(levels) <= 1.0


def test_positions_change_smoothly() -> None:
    motion = cued()
    steps = np.abs(np.diff(motion.positions(np.arange(motion.n_samples)), axis=0))
    assert steps.max() < 1.9 / (0.3 * RATE_HZ)  # the peak speed of a minimum-jerk ramp of 0.3 s


def test_a_steered_person_rests_until_asked_and_then_goes_there_late() -> None:
    motion = SteeredMotion(DEFAULT, 1, 0, RATE_HZ)
    assert not motion.positions(np.arange(100)).any()
    motion.ask(1000, FIST)
    path = motion.positions(np.arange(3000))
    assert not path[:1150].any()
    assert (np.abs(path[1700] - POSTURES[FIST]) <= 0.3).all()
    np.testing.assert_array_equal(path[1700], path[2999])


def test_what_is_asked_for_later_never_changes_the_past() -> None:
    motion = SteeredMotion(DEFAULT, 1, 0, RATE_HZ)
    motion.ask(1000, FIST)
    index = np.arange(2150)
    before = motion.positions(index)
    motion.ask(2000, 0)
    np.testing.assert_array_equal(motion.positions(index), before)
    assert np.abs(motion.positions(np.array([3000]))).max() == 0


def test_a_change_of_mind_goes_on_from_where_the_hand_is() -> None:
    motion = SteeredMotion(DEFAULT, 1, 0, RATE_HZ)
    motion.ask(1000, FIST)
    motion.ask(1100, 2)  # while the fist is still closing
    steps = np.abs(np.diff(motion.positions(np.arange(3000)), axis=0))
    assert steps.max() < 1.9 / (0.3 * RATE_HZ)
    truth = motion.truth(np.array([0, 1050, 2500]))
    assert list(truth.cue) == [0, FIST, 2]
    assert list(truth.gesture) == [0, 0, 2]


@pytest.mark.parametrize(
    ("make", "said"),
    [(lambda: Schedule(repetitions=0), "0 repetitions"), (lambda: Schedule(rest_s=0.0), "rest_s is 0")],
)
def test_senseless_schedules_are_refused_with_the_value(make: object, said: str) -> None:
    with pytest.raises(NervehandError, match=said):
        make()  # type: ignore[operator]
