"""From a finished calibration to all that its report says."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

import nervehand
from calibration.records import AlignmentRecord, FitRecord, Reason, TrialRecord, Verdict
from calibration.report.content import Calibrated, Content, content_of
from calibration.report.held_out import HeldOut
from calibration.report.rules import Readiness
from calibration.report.tuning import best_channels
from decoder.bundle import read_bundle
from decoder.session.model import Session, trials
from firmware_bridge.errors import NervehandError, StreamMismatchError
from nervehand.simulate import simulated_session
from tests.calibration.report import person
from tests.calibration.report.test_held_out import records


def calibrated(session: Session, left_out: tuple[int, ...] = ()) -> Calibrated:
    return Calibrated(
        session,
        person.bundle(None),
        records(session, left_out),
        held_out=tuple(
            HeldOut(person.bundle(tuple({1, 2, 3} - {repetition})), (repetition,)) for repetition in (1, 2, 3)
        ),
    )


@pytest.fixture(scope="module")
def content() -> Content:
    return content_of(calibrated(person.session(), left_out=(5,)))


def test_what_was_done_is_there(content: Content) -> None:
    occasion = content.findings.occasion
    assert (occasion.subject, occasion.side, occasion.session) == ("p1", "left", "session-1")
    assert (
        occasion.made_at == "2026-03-01T10:00:00+00:00"
    )  # the session's start, for nobody said another time
    assert occasion.minutes == pytest.approx(21 * 4.5 / 60)
    assert (occasion.n_channels, occasion.rate_hz, occasion.source) == (7, 100.0, "armband")
    assert [m.name for m in content.findings.movements] == list(person.NAMES[1:])
    assert sum(m.made for m in content.findings.movements) == 21
    assert sum(m.used for m in content.findings.movements) == 20


def test_what_was_found_is_there(content: Content) -> None:
    found = content.findings
    assert content.verdict is Readiness.READY
    assert len(found.channels) == 7
    assert found.tuning is not None
    assert [best_channels(found.tuning, row)[0] for row in range(7)] == [f"e{i}" for i in range(1, 8)]
    assert found.scores is not None
    assert found.scores.n_trials == 20
    assert all(m.recognised is not None and m.recognised > 0.99 for m in found.movements)
    assert found.algorithmic_latency_ms is not None
    assert 0 < found.algorithmic_latency_ms < 300


def test_a_report_on_the_same_calibration_sees_nothing_new(content: Content) -> None:
    before = json.loads(json.dumps(content.to_json()))
    again = content_of(dataclasses.replace(calibrated(person.session(), left_out=(5,)), previous=before))
    assert again.comparison is not None
    assert {change.direction.value for change in again.comparison.scores} == {"same"}
    assert again.comparison.lost == ()


def test_without_records_the_session_says_how_often_each_movement_was_made() -> None:
    found = content_of(Calibrated(person.session(), person.bundle())).findings
    assert {(m.made, m.used) for m in found.movements} == {(3, 3)}


def test_one_round_alone_is_reported_and_not_scored() -> None:
    made = content_of(Calibrated(person.session(1, truth=False), person.bundle(outputs=False)))
    assert made.verdict is Readiness.NOT_SCORED
    assert made.findings.scores is None
    assert made.findings.traces is None


def test_a_decoder_of_somebody_else_is_refused() -> None:
    session = person.session()
    other = dataclasses.replace(session, meta=dataclasses.replace(session.meta, subject="p2"))
    with pytest.raises(StreamMismatchError, match="p2"):
        content_of(Calibrated(other, person.bundle()))


def test_the_previous_report_of_somebody_else_is_refused(content: Content) -> None:
    previous = json.loads(json.dumps(content.to_json()))
    previous["findings"]["occasion"]["subject"] = "p2"
    with pytest.raises(NervehandError, match="p2"):
        content_of(dataclasses.replace(calibrated(person.session()), previous=previous))


@pytest.mark.slow
def test_the_simulated_subject_with_a_bad_trial_is_reported_whole() -> None:
    """Three repetitions that the demo's decoder has not seen, one trial of them with another movement's label."""
    bundle = read_bundle(Path(nervehand.__file__).parent / "bundles" / "demo.nhb")
    session = simulated_session(1, 3, from_repetition=11)
    assert session.labels is not None
    assert session.trial is not None
    wrong = next(trial for trial in trials(session) if trial.gesture == 2 and trial.repetition == 12)
    labels = session.labels.copy()
    labels[(session.trial == wrong.id) & (labels > 0)] = 4
    session = dataclasses.replace(session, labels=labels)
    made: list[TrialRecord] = [
        dataclasses.replace(one, verdict=Verdict.BAD, reasons=(Reason.WRONG_MOVEMENT,))
        if one.number == wrong.id
        else one
        for one in records(session)
    ]
    content = content_of(
        Calibrated(
            session,
            bundle,
            tuple(made),
            AlignmentRecord(20.0, 0.002, 0.15, 0.9, 0.01),
            (FitRecord(1, 8, {"exact_match": 0.8}, 20.0), FitRecord(2, 16, {"exact_match": 0.85}, 20.0)),
            tuple(HeldOut(bundle, (repetition,)) for repetition in (11, 12, 13)),
            latency_ms={"decode": (0.4, 1.2)},
        )
    )
    found = content.findings
    assert found.scores is not None
    assert found.scores.n_trials == 23
    exact, per_dof = found.headline("exact_match"), found.headline("per_dof_accuracy")
    assert exact is not None
    assert per_dof is not None
    assert exact > 0.85
    assert per_dof > 0.97
    assert found.tuning is not None
    assert all(best_channels(found.tuning, row) for row in range(len(found.tuning.rows)))
    noise = [channel.noise_uv or 0.0 for channel in found.channels]
    assert 1 < min(noise) <= max(noise) < 20
    assert not np.isnan(noise).any()
    json.dumps(content.to_json(), allow_nan=False)
