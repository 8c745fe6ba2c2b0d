"""What a person is asked to do."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from calibration.paradigm import (
    COMBINED_MOVEMENTS,
    FIVE_FINGERS,
    Kind,
    Movement,
    Paradigm,
    Timing,
    chosen_movements,
    paradigm_text,
    read_paradigm,
)
from firmware_bridge.errors import NervehandError


@given(seed=st.integers(0, 50), n=st.integers(2, 13))
def test_every_round_holds_every_movement_once_and_none_twice_in_a_row(seed: int, n: int) -> None:
    paradigm = Paradigm(movements=COMBINED_MOVEMENTS[:n], seed=seed)
    orders = [paradigm.round_order(number) for number in range(1, 6)]
    assert all(sorted(order) == list(range(n)) for order in orders)
    assert all(a[-1] != b[0] for a, b in pairwise(orders))


def test_orders_differ_from_round_to_round_and_from_seed_to_seed() -> None:
    paradigm = Paradigm()
    assert len({paradigm.round_order(number) for number in range(1, 11)}) == 10
    assert paradigm.round_order(1) != replace(paradigm, seed=1).round_order(1)


@pytest.mark.parametrize("kind", ["mirrored", "mimic", "tracking"])
@pytest.mark.parametrize("movement", [0, 7])
def test_the_hand_to_imitate_begins_and_ends_at_rest_and_never_jumps(kind: Kind, movement: int) -> None:
    paradigm = Paradigm(kind=kind)
    times = np.arange(-0.5, paradigm.trial_s, 0.01)
    path = np.array([paradigm.target(movement, float(t)) for t in times])
    assert not path[times <= 0].any()
    assert not path[times >= paradigm.way_s + paradigm.timing.move_s].any()
    assert np.abs(np.diff(path, axis=0)).max() < 0.01 * 2 / paradigm.timing.move_s
    assert np.abs(path).max() <= 1


def test_a_cued_movement_is_held_where_its_posture_is() -> None:
    paradigm = Paradigm()
    assert paradigm.target(5, 1.0) == paradigm.movements[5].posture


def test_a_target_to_follow_is_another_for_each_movement_and_goes_most_of_the_way() -> None:
    paradigm = Paradigm(kind="tracking")
    times = np.arange(0, 12, 0.02)
    thumb = [paradigm.target(0, float(t))[0] for t in times]
    index = [paradigm.target(1, float(t))[1] for t in times]
    assert max(thumb) > 0.75 > min(thumb) + 0.5
    assert np.abs(np.corrcoef(thumb, index)[0, 1]) < 0.9


def test_its_duration_is_that_of_its_trials() -> None:
    paradigm = Paradigm(repetitions=3, movements=FIVE_FINGERS)
    assert paradigm.trial_s == pytest.approx(3.3)
    assert paradigm.duration_s == pytest.approx(3 * 5 * 3.3 + 2 * 3.0)


def test_a_paradigm_written_as_a_file_is_read_again(tmp_path: Path) -> None:
    paradigm = Paradigm("tracking", 3, (*FIVE_FINGERS, Movement('Griff "a"', (0, 0.5, 0, 0, 0, -1))), seed=4)
    path = tmp_path / "p.toml"
    path.write_text(paradigm_text(paradigm))
    assert read_paradigm(path) == paradigm


def test_a_file_may_say_only_what_differs(tmp_path: Path) -> None:
    path = tmp_path / "p.toml"
    path.write_text("repetitions = 3\n[timing]\nhold_s = 2\n")
    assert read_paradigm(path) == Paradigm(repetitions=3, timing=Timing(hold_s=2.0))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("repetitions = 0", "0 repetitions of 8 movements"),
        ("kind = 'mirror'", "paradigm.kind is 'mirror': give one of mirrored, mimic, tracking"),
        ("[timing]\nhold_s = 0.1", r"timing.hold_s is 0.1 s: give 0.3 to 60"),
        ("speed = 1", "paradigm has no speed"),
        ("[[movements]]\nname = 'rest'\nposture = [1, 0, 0, 0, 0, 0]", "a movement is called 'rest'"),
        ("[[movements]]\nname = 'a'\nposture = [2, 0, 0, 0, 0, 0]", "the movement a has the posture"),
        ("[[movements]]\nname = 'a'\nposture = [0, 0, 0, 0, 0, 0]", "the movement a moves nothing"),
        ("[[movements]]\nname = 'a'\nposture = [1, 0, 0, 0, 0, 0]", "1 movements: give at least two"),
        ("repetitions =", "is no TOML file"),
    ],
)
def test_what_cannot_be_asked_of_a_person_is_refused_with_the_file(
    text: str, said: str, tmp_path: Path
) -> None:
    path = tmp_path / "p.toml"
    path.write_text(text)
    with pytest.raises(NervehandError, match=said) as error:
        read_paradigm(path)
    assert str(path) in str(error.value)


def test_some_of_the_movements_can_be_chosen_by_name() -> None:
    few = chosen_movements(["fist", "thumb"], Paradigm())
    assert few.gesture_names == ("rest", "fist", "thumb")
    np.testing.assert_array_equal(few.postures[1], [1, 1, 1, 1, 1, 0])
    with pytest.raises(NervehandError, match="no movement 'paw': use thumb"):
        chosen_movements(["paw"], Paradigm())
