"""Scores that look at hops one by one: worked by hand, and what must hold for any data."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray
from sklearn.metrics import balanced_accuracy_score, f1_score, r2_score

from calibration.scores.classification import (
    balanced_accuracy,
    best_gesture,
    best_movement,
    gesture_accuracy,
    macro_f1,
    movement_accuracy,
    recalls,
    trial_vote_accuracy,
)
from calibration.scores.dof import dof_scores, states
from calibration.scores.errors import NotScoredError
from calibration.scores.regression import column_r, column_r2, joint_r, joint_r2


def ints(*values: int) -> NDArray[np.int64]:
    return np.array(values, np.int64)


LABEL = ints(0, 0, 0, 0, 1, 1, 2, 2)
SAID = ints(0, 0, 1, 2, 1, 0, 2, 1)


def test_movement_accuracy_asks_only_which_movement() -> None:
    probabilities = np.array([[0.9, 0.1, 0.0], [0.9, 0.0, 0.1], [0.5, 0.2, 0.3], [0.1, 0.8, 0.1]])
    movement = best_movement(probabilities)
    assert movement.tolist() == [1, 2, 2, 1]
    assert best_gesture(probabilities).tolist() == [0, 0, 0, 1]
    assert movement_accuracy(ints(1, 1, 2, 0), movement) == pytest.approx(2 / 3)


def test_gesture_accuracy_counts_rest_too() -> None:
    assert gesture_accuracy(LABEL, SAID) == pytest.approx(4 / 8)


def test_a_rejection_counts_as_rest() -> None:
    assert gesture_accuracy(ints(0, 1), ints(-1, -1)) == 0.5


def test_unlabelled_hops_are_left_out() -> None:
    assert gesture_accuracy(ints(-1, 1, 1), ints(0, 1, 0)) == 0.5


def test_balanced_accuracy_is_the_mean_recall() -> None:
    assert recalls(LABEL, SAID) == {0: 0.5, 1: 0.5, 2: 0.5}
    assert balanced_accuracy(ints(0, 0, 0, 1), ints(0, 0, 0, 0)) == 0.5


def test_macro_f1_by_hand() -> None:
    # rest: 2 of 4 found among 3 said; 1: 1 of 2 among 3; 2: 1 of 2 among 2.
    assert macro_f1(LABEL, SAID) == pytest.approx((4 / 7 + 2 / 5 + 2 / 4) / 3)


def test_a_trial_votes_over_its_movement_and_a_tie_is_a_miss() -> None:
    label = ints(0, 1, 1, 1, 0, 2, 2, 0, 1, 1)
    said = ints(2, 1, 1, 2, 2, 2, 2, 1, 1, 2)
    trial = ints(0, 0, 0, 0, 1, 1, 1, 1, 2, 2)
    assert trial_vote_accuracy(label, said, trial) == pytest.approx(2 / 3)


@pytest.mark.parametrize("score", [balanced_accuracy, macro_f1])
def test_one_class_alone_is_not_scored(score: object) -> None:
    assert callable(score)
    with pytest.raises(NotScoredError, match="one class only"):
        score(ints(1, 1), ints(1, 0))


def test_without_movement_or_labels_there_is_no_score() -> None:
    with pytest.raises(NotScoredError, match="no hop of movement"):
        movement_accuracy(ints(0, 0), ints(1, 1))
    with pytest.raises(NotScoredError, match="no hop of movement"):
        trial_vote_accuracy(ints(), ints(), ints())
    with pytest.raises(NotScoredError, match="no labelled hop"):
        gesture_accuracy(ints(-1), ints(0))


classes = hnp.arrays(np.int64, st.integers(2, 60), elements=st.integers(0, 4))


@given(classes)
def test_a_perfect_decoder_scores_one_and_order_does_not_matter(label: NDArray[np.int64]) -> None:
    label = np.concatenate([label, ints(0, 1)])
    for score in (gesture_accuracy, movement_accuracy, balanced_accuracy, macro_f1):
        assert score(label, label) == 1.0
    said = np.roll(label, 1)
    shuffle = np.random.default_rng(0).permutation(len(label))
    for score in (gesture_accuracy, movement_accuracy, balanced_accuracy, macro_f1):
        assert score(label[shuffle], said[shuffle]) == pytest.approx(score(label, said))


@given(classes)
def test_balanced_accuracy_and_f1_agree_with_scikit_learn(label: NDArray[np.int64]) -> None:
    label = np.concatenate([label, ints(0, 1)])
    said = np.roll(label, 2)
    assert balanced_accuracy(label, said) == pytest.approx(balanced_accuracy_score(label, said))
    assert macro_f1(label, said) == pytest.approx(f1_score(label, said, average="macro", zero_division=0.0))


def test_a_finger_is_active_beyond_a_half_with_its_sign() -> None:
    assert states(np.array([[0.5, 0.51, -0.51, -0.5, 1.0, -1.0]])).tolist() == [[0, 1, -1, 0, 1, -1]]


def test_dof_scores_by_hand() -> None:
    true = np.array([[1.0, 0.0], [1.0, 0.0], [0.0, 0.0], [0.0, 0.0], [-1.0, 0.0], [0.0, 0.0]])
    said = np.array([[1.0, 1.0], [0.0, 0.0], [0.0, 0.0], [0.0, 0.0], [1.0, 0.0], [0.0, 0.0]])
    found = dof_scores(true, said)
    assert found.not_scored == (1,)
    assert found.mean_accuracy == pytest.approx(4 / 6)
    assert found.mean_balanced == pytest.approx((1 / 3 + 1.0) / 2)
    assert found.exact_match == pytest.approx(4 / 6)
    assert np.isnan(found.accuracy[1])


def test_a_dof_needs_two_percent_of_both_states() -> None:
    true = np.zeros((100, 2))
    true[:2, 0], true[:1, 1] = 1.0, 1.0
    assert dof_scores(true, true).not_scored == (1,)
    with pytest.raises(NotScoredError, match="2 %"):
        dof_scores(np.zeros((10, 6)), np.zeros((10, 6)))


def test_exact_match_wants_all_scored_dofs_at_once() -> None:
    true = np.array([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0], [0.0, 0.0]])
    said = np.array([[1.0, 0.0], [0.0, 0.0], [0.0, 1.0], [0.0, 0.0]])
    found = dof_scores(true, said)
    assert found.exact_match == 0.5
    assert found.mean_accuracy == 0.75


def test_hops_without_a_true_position_are_left_out() -> None:
    true = np.array([[1.0], [0.0], [np.nan]])
    assert dof_scores(true, np.array([[1.0], [0.0], [1.0]])).mean_accuracy == 1.0


def test_joint_scores_by_hand() -> None:
    truth = np.array([[0.0, 0.0], [1.0, 2.0], [2.0, 4.0], [3.0, 6.0]])
    said = np.array([[0.0, 3.0], [1.0, 3.0], [2.0, 3.0], [2.0, 3.0]])
    assert column_r2(truth, said).tolist() == pytest.approx([1 - 1 / 5, 0.0])
    assert joint_r2(truth, said) == pytest.approx(0.4)
    assert column_r(truth, said)[1] == 0.0
    assert column_r(truth, said)[0] == pytest.approx(np.corrcoef(truth[:, 0], said[:, 0])[0, 1])


def test_a_column_that_does_not_move_is_not_scored() -> None:
    truth = np.array([[0.0, 5.0], [1.0, 5.0]])
    assert np.isnan(column_r2(truth, truth)[1])
    assert joint_r2(truth, truth) == 1.0
    with pytest.raises(NotScoredError, match="does not move"):
        joint_r(np.ones((3, 1)), np.zeros((3, 1)))
    with pytest.raises(NotScoredError, match="no hop with ground truth"):
        joint_r2(np.zeros((0, 2)), np.zeros((0, 2)))


@given(
    hnp.arrays(np.float64, (20, 3), elements=st.floats(-100, 100, width=16)),
    st.floats(0.5, 20),
    st.floats(-50, 50),
)
def test_r2_is_scikit_learns_and_does_not_depend_on_the_unit(
    noise: NDArray[np.float64], gain: float, offset: float
) -> None:
    truth = np.random.default_rng(0).normal(size=(20, 3))
    said = truth + noise
    expected = r2_score(truth, said, multioutput="raw_values")
    np.testing.assert_allclose(column_r2(truth, said), expected, rtol=1e-9)
    np.testing.assert_allclose(column_r2(gain * truth + offset, gain * said + offset), expected, rtol=1e-6)
    np.testing.assert_allclose(
        column_r(gain * truth + offset, said), column_r(truth, said), rtol=1e-6, atol=1e-9
    )
