"""Which of the hands in view is the wanted one: by what the model calls it, then by where it is."""

from __future__ import annotations

from calibration.truth._camera_process import FORGET_S, STEP, TRUST_FIRST, TRUST_MOST, Followed, Hand


def hand(label: str, x: float, score: float = 0.9) -> Hand:
    return Hand(label, score, (x, 0.5))


def test_the_hand_of_that_name_is_taken_and_another_is_not() -> None:
    followed = Followed("Left")
    assert followed.chosen(0.0, []) is None
    assert followed.chosen(0.1, [hand("Right", 0.7)]) is None
    assert followed.chosen(0.2, [hand("Right", 0.7), hand("Left", 0.3)]) == 1


def test_of_two_that_have_the_name_the_model_is_surer_of_the_first_time() -> None:
    assert Followed("Left").chosen(0.0, [hand("Left", 0.2, 0.6), hand("Left", 0.8, 0.8)]) == 1


def test_a_hand_that_is_called_wrongly_for_a_moment_is_still_the_one_in_its_place() -> None:
    followed = Followed("Left")
    assert followed.chosen(0.0, [hand("Left", 0.3)]) == 0
    for k in range(1, TRUST_FIRST):
        assert followed.chosen(k / 30, [hand("Left", 0.8), hand("Right", 0.3 + 0.01 * k)]) == 1


def test_a_hand_that_is_called_wrongly_for_longer_was_the_wrong_one() -> None:
    followed = Followed("Left")
    followed.chosen(0.0, [hand("Left", 0.3)])
    found = [
        followed.chosen(k / 30, [hand("Right", 0.3), hand("Left", 0.8)]) for k in range(1, TRUST_FIRST + 2)
    ]
    assert found == [0] * (TRUST_FIRST - 1) + [1, 1]


def test_trust_grows_with_the_time_that_the_name_was_right_but_not_for_ever() -> None:
    followed = Followed("Left")
    for k in range(1000):
        assert followed.chosen(k / 30, [hand("Left", 0.3)]) == 0
    found = [followed.chosen((1000 + k) / 30, [hand("Right", 0.3)]) for k in range(TRUST_MOST + 5)]
    assert found.count(0) == TRUST_MOST - 1
    assert found[-1] is None


def test_a_hand_does_not_jump() -> None:
    followed = Followed("Left")
    followed.chosen(0.0, [hand("Left", 0.3)])
    assert followed.chosen(0.03, [hand("Right", 0.3 + 1.5 * STEP)]) is None
    assert followed.chosen(0.06, [hand("Left", 0.3 + 1.5 * STEP)]) is None
    assert followed.chosen(0.09, [hand("Left", 0.3 + 0.5 * STEP)]) == 0


def test_a_hand_that_was_away_is_looked_for_by_its_name_again() -> None:
    followed = Followed("Left")
    followed.chosen(0.0, [hand("Left", 0.3)])
    later_s = FORGET_S + 0.1
    assert followed.chosen(later_s, [hand("Right", 0.3)]) is None
    assert followed.chosen(later_s, [hand("Left", 0.9)]) == 0
