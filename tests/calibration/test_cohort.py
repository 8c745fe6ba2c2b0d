"""Decoders trained on some days of a subject and scored on another, by the definitions of every report."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from calibration import front_end, training, windowed
from calibration.candidates import candidate, side_by_side
from calibration.cohort import (
    Key,
    Plan,
    Row,
    chosen_models,
    fingerprints,
    fit_dof_lda,
    planned,
    score_subject,
    second_half,
)
from calibration.scores.dof import dof_scores
from calibration.shapes import Convolution, NetworkShape
from decoder.normalisation import fit_normalisation
from decoder.session.model import Session
from firmware_bridge.errors import NervehandError
from tests.calibration.subjects import session


class Person:
    """A subject whose days differ in noise and order; counts the whole sessions that were asked for."""

    def __init__(self, loudness: float = 3.0) -> None:
        self.loudness, self.asked = loudness, list[tuple[int, bool]]()

    def __call__(self, day: int, crosstalk: bool, seconds: float | None) -> Session:
        if seconds is None:
            self.asked.append((day, crosstalk))
        return session(3, seed=day, seconds=seconds, loudness=self.loudness)


def rows(person: Person, plan: Plan) -> dict[Key, Row]:
    return {row.key: row for row in score_subject(person, plan, planned(plan))}


@pytest.fixture
def small_windowed(monkeypatch: pytest.MonkeyPatch) -> None:
    quick = windowed.WindowedSettings(
        epochs=6, stride=4, shape=NetworkShape((Convolution(32, 3),), n_hidden=32), dropout=0.0, rate=5e-3
    )
    monkeypatch.setattr(windowed, "WindowedSettings", lambda: quick)


def test_lda_scores_agree_with_the_definitions_by_hand() -> None:
    plan = Plan(1, models=("lda",), losses=False)
    (row,) = rows(Person(), plan).values()
    parts = candidate("default", session(1).info)
    training, compress = side_by_side(session(3, seed=0), parts)
    test, _ = side_by_side(session(3, seed=1), parts)
    assert training.truth is not None
    assert test.truth is not None
    normalisation = fit_normalisation(training.features, training.masked, compress)
    decoder = fit_dof_lda(normalisation.apply(training.features, training.masked), training.truth)
    said, _ = decoder.process(normalisation.apply(test.features, test.masked))
    scores = dof_scores(test.truth, said)
    # The first window of each trial is unscored, so the two agree but for a few hops of rest.
    assert row.scores["per_dof_balanced_accuracy"] == pytest.approx(scores.mean_balanced, abs=0.01)
    assert row.scores["exact_match"] == pytest.approx(scores.exact_match, abs=0.02)
    assert row.scores["per_dof_balanced_accuracy"] > 0.85
    assert len(row.each["per_dof_accuracy"]) == 6


def test_a_subject_whose_channels_say_nothing_scores_as_chance() -> None:
    (row,) = rows(Person(loudness=0.0), Plan(1, models=("lda",), losses=False)).values()
    balanced = row.scores["per_dof_balanced_accuracy"]
    assert balanced is not None
    assert 0.4 < balanced < 0.6


def test_the_windowed_network_learns_a_subject(small_windowed: None) -> None:
    (row,) = rows(Person(), Plan(1, models=("windowed",), losses=False)).values()
    balanced = row.scores["per_dof_balanced_accuracy"]
    assert balanced is not None
    assert balanced > 0.7


def test_the_product_is_scored_as_exported_raw_and_decided(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training, "FEWEST_STEPS", 12)
    monkeypatch.setattr(training, "MOST_STEPS", 12)
    (row,) = rows(Person(), Plan(1, models=("compact",), losses=False)).values()
    balanced = row.scores["per_dof_balanced_accuracy"]
    assert balanced is not None
    assert balanced > 0.5
    assert row.scores["decided_per_dof_balanced_accuracy"] != balanced
    assert row.scores["joint_r2"] is not None


def test_days_are_trained_on_and_tested_as_planned() -> None:
    person = Person()
    plan = Plan(1, train_days=(0, 2), test_day=5, crosstalk=False, models=("lda",), losses=False)
    rows(person, plan)
    assert person.asked == [(0, False), (2, False), (5, False)]


def test_nothing_is_simulated_where_nothing_is_wanted() -> None:
    person = Person()
    assert list(score_subject(person, Plan(1), [])) == []
    assert person.asked == []


def test_the_second_half_begins_with_the_loss() -> None:
    stream, _ = side_by_side(session(3), candidate("default", session(1).info))
    found, from_sample = second_half(stream)
    first = found[0].start
    assert first >= len(stream) / 2
    assert stream.sample_index[first - 1] == from_sample - 1
    assert found[-1].stop == len(stream)
    assert all(a.stop == b.start for a, b in pairwise(found))


def test_lost_channels_cost_and_intact_is_the_same_trials() -> None:
    found = rows(Person(), Plan(1, models=("lda",)))
    balanced = {key.case: row.scores["per_dof_balanced_accuracy"] for key, row in found.items()}
    assert list(balanced) == ["whole", "intact", "masked", "unmasked"]
    intact, masked, unmasked = (balanced[case] or 0.0 for case in ("intact", "masked", "unmasked"))
    assert max(masked, unmasked) < intact - 0.05  # four of seven channels carried a finger each
    assert masked != unmasked
    assert balanced["intact"] == pytest.approx(balanced["whole"], abs=0.05)


def test_rows_come_in_the_planned_order_and_losses_belong_to_the_first_front_end() -> None:
    plan = Plan(1, models=("lda", "windowed", "compact"), front_ends=("25-600", "both"))
    assert planned(plan) == [
        Key("25-600", "lda", "whole"),
        *(Key("25-600", "lda", case) for case in ("intact", "masked", "unmasked")),
        Key("25-600", "windowed", "whole"),
        Key("25-600", "compact", "whole"),
        *(Key("25-600", "compact", case) for case in ("intact", "masked", "unmasked")),
        Key("both", "lda", "whole"),
        Key("both", "windowed", "whole"),
    ]
    assert list(rows(Person(), Plan(1, models=("lda",), front_ends=("25-600", "both")))) == [
        key for key in planned(plan) if key.model == "lda"
    ]


def test_a_degree_of_freedom_that_never_moves_keeps_still() -> None:
    z = np.random.default_rng(0).standard_normal((200, 4)).astype(np.float32)
    positions = np.zeros((200, 2), np.float32)
    positions[:, 1] = z[:, 0] > 0
    said, probabilities = fit_dof_lda(z, positions).process(z)
    assert not said[:, 0].any()
    assert (said[:, 1] == positions[:, 1]).mean() > 0.9
    assert probabilities.shape == (200, 0)


def test_another_simulation_or_front_end_has_another_fingerprint(monkeypatch: pytest.MonkeyPatch) -> None:
    plan = Plan(1, front_ends=("default", "both"))
    found = fingerprints(Person(), plan)
    assert list(found) == ["default", "both"]
    assert found == fingerprints(Person(), plan)
    assert found["default"] == fingerprints(Person(), Plan(1))["default"]
    assert not set(found.values()) & set(fingerprints(Person(loudness=3.1), plan).values())
    monkeypatch.setattr(front_end, "WINDOW_S", 0.2)
    assert found["default"] != fingerprints(Person(), plan)["default"]


def test_plans_that_make_no_sense_are_refused() -> None:
    with pytest.raises(NervehandError, match="day 1 is trained on"):
        Plan(1, train_days=(0, 1))
    with pytest.raises(NervehandError, match="no day to train on"):
        Plan(1, train_days=())
    with pytest.raises(NervehandError, match="no front end 'telepathic'"):
        Plan(1, front_ends=("telepathic",))
    with pytest.raises(NervehandError, match="no model 'svm': use lda, windowed, compact"):
        chosen_models(["svm"])


def test_a_session_without_positions_as_truth_is_refused() -> None:
    def angles(day: int, crosstalk: bool, seconds: float | None) -> Session:
        return replace(session(2), truth_names=tuple("abcdef"))

    with pytest.raises(NervehandError, match="no positions of the six degrees of freedom"):
        list(score_subject(angles, Plan(1), planned(Plan(1))))
