"""A simulated person's day, with what the phantom really did as its truth."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from calibration.paradigm import FIVE_FINGERS, Movement, Paradigm, Timing
from calibration.performance import performance
from calibration.simulated_wearer import Wearer
from decoder.session.model import Session, trials
from firmware_bridge.hand import DOF_NAMES

WEARER = Wearer(number=2, day=3, rate_hz=4000.0, n_channels=4)
PARADIGM = Paradigm(
    "mimic", 2, (*FIVE_FINGERS[:2], Movement("both", (1, 1, 0, 0, 0, 0))), Timing(rest_s=0.8, hold_s=0.6)
)


@pytest.fixture(scope="module")
def session() -> Session:
    return performance(WEARER, PARADIGM)


def test_every_movement_is_made_in_every_round_in_the_order_of_the_paradigm(session: Session) -> None:
    made = trials(session)
    assert [one.gesture - 1 for one in made] == [*PARADIGM.round_order(1), *PARADIGM.round_order(2)]
    assert [one.repetition for one in made] == [1] * 3 + [2] * 3
    assert session.truth_names == DOF_NAMES


def test_its_truth_is_the_motion_and_its_labels_hold_while_the_hand_is_away_from_rest(
    session: Session,
) -> None:
    assert session.truth is not None
    assert session.labels is not None
    moving = np.abs(session.truth).max(1) > 0
    np.testing.assert_array_equal(session.labels > 0, moving)
    for gesture, movement in enumerate(PARADIGM.movements, start=1):
        held = session.truth[session.labels == gesture]
        away = [i for i, position in enumerate(movement.posture) if position]
        assert (held[:, away].max(0) > 0.69).all()
        assert not np.delete(held, away, axis=1).any()


def test_the_same_day_is_the_same_bits_and_another_seed_another_order(session: Session) -> None:
    again = performance(WEARER, PARADIGM)
    np.testing.assert_array_equal(again.signal[0:5000], session.signal[0:5000])
    assert again.meta == session.meta
    assert replace(PARADIGM, seed=1).round_order(1) != PARADIGM.round_order(1) or replace(
        PARADIGM, seed=2
    ).round_order(1) != PARADIGM.round_order(1)
