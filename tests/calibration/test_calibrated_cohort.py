"""One simulated person calibrated as a whole, and scored on a day and movements that the decoder never saw."""

from __future__ import annotations

from dataclasses import replace

import pytest

from calibration.calibrated_cohort import (
    MODELS,
    NEW_ORDER,
    SCORES,
    UNTRAINED,
    Case,
    means,
    score_person,
)
from calibration.paradigm import BASIC_MOVEMENTS, COMBINED_MOVEMENTS, FIVE_FINGERS, Paradigm, Timing
from calibration.simulated_wearer import Wearer
from calibration.truth.simulated import Imperfections

WEARER = Wearer(glove=Imperfections(lag_s=0.15, drift_ppm=20.0, jitter_s=0.01))
PARADIGM = Paradigm("mirrored", 4, (FIVE_FINGERS[0], FIVE_FINGERS[3]), Timing(rest_s=1.0, hold_s=0.8))


@pytest.mark.slow
def test_a_person_is_scored_with_what_alignment_found_and_without() -> None:
    cases = [Case("lda", 4), Case("lda", 4, is_aligned=False), Case("lda", 2)]
    found = list(score_person(WEARER, PARADIGM, 1, cases))
    assert [one.case for one in found] == cases
    aligned, as_it_came, few = (one.trained for one in found)
    for one in found:
        assert set(one.trained) == set(one.untrained) == set(SCORES)
        assert one.lag_s == pytest.approx(0.15, abs=0.025)  # from eight trials
    names = ("per_dof_balanced_accuracy", "steady_per_dof_balanced_accuracy")
    assert all((value := aligned[name]) is not None and value > 0.7 for name in names)
    for_all_hops = aligned["per_dof_accuracy"], as_it_came["per_dof_accuracy"]
    assert None not in for_all_hops
    assert for_all_hops[0] > for_all_hops[1]  # type: ignore[operator]  # 150 ms of every movement are labelled late
    assert few != aligned


def test_no_default_paradigm_holds_a_combination_that_is_said_to_be_untrained() -> None:
    trained = {one.posture for one in (*BASIC_MOVEMENTS, *COMBINED_MOVEMENTS)}
    assert not trained & {one.posture for one in UNTRAINED}
    assert all(sum(position != 0 for position in one.posture) > 1 for one in UNTRAINED)


def test_the_test_day_has_an_order_of_its_own() -> None:
    new = replace(PARADIGM, movements=BASIC_MOVEMENTS, seed=PARADIGM.seed + NEW_ORDER)
    assert new.round_order(1) != replace(PARADIGM, movements=BASIC_MOVEMENTS).round_order(1)


def test_means_leave_out_who_has_no_score() -> None:
    tables: list[dict[str, float | None]] = [{"a": 0.5, "b": None}, {"a": 0.7, "b": None}]
    assert means(tables, "a") == pytest.approx((0.6, 0.5))
    assert means(tables, "b") == (None, None)
    assert set(MODELS) == {"lda", "windowed", "compact"}
