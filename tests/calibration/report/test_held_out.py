"""Scores of a cross-validation: only of trials that the decoder has not seen, and only of those that count."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
import pytest

from calibration.records import Reason, TrialRecord, Verdict
from calibration.report.held_out import HeldOut, HeldOutResult, recalls, score_held_out
from decoder.session.model import Session, trials
from firmware_bridge.errors import NervehandError
from tests.calibration.report import person


def records(session: Session, left_out: Sequence[int] = ()) -> tuple[TrialRecord, ...]:
    return tuple(
        TrialRecord(
            trial.id, trial.repetition, trial.repetition, session.gesture_names[trial.gesture], "one.nwb",
            trial.start, trial.start, trial.stop, trial.stop,
            Verdict.BAD if trial.id in left_out else Verdict.GOOD,
            (Reason.WRONG_MOVEMENT,) if trial.id in left_out else (),
        )
        for trial in trials(session)
    )  # fmt: skip


def scored(session: Session, parts: Sequence[HeldOut], left_out: Sequence[int] = ()) -> HeldOutResult:
    found = score_held_out(session, records(session, left_out), parts)
    assert found is not None
    return found


def part(*repetitions: int, deaf_to: tuple[int, ...] = ()) -> HeldOut:
    learned = tuple(r for r in (1, 2, 3) if r not in repetitions)
    return HeldOut(person.bundle(learned, deaf_to), repetitions)


def exact(result: HeldOutResult) -> float:
    value = result.scores.mean["decided_steady_exact_match"]
    assert value is not None
    return value


def test_a_decoder_that_understands_is_right_and_what_is_done_is_what_is_decoded() -> None:
    found = scored(person.session(), [part(1), part(2), part(3)])
    assert exact(found) > 0.99
    assert (found.scores.n_trials, found.scores.n_parts) == (21, 3)
    assert found.confusion is not None
    assert found.confusion.names == person.NAMES
    assert all(value is not None and value > 0.99 for value in recalls(found.confusion))
    assert found.scores.per_dof["wrist"] == pytest.approx(1.0)
    assert found.scores.chance["per_dof_balanced_accuracy"] == pytest.approx(0.5)


def test_a_decoder_is_never_scored_on_what_it_has_learned_from() -> None:
    for bundle in (person.bundle((1, 2)), person.bundle(None)):
        with pytest.raises(NervehandError, match="has learned from repetition 2"):
            score_held_out(
                person.session(),
                (),
                [HeldOut(bundle, (2, 3) if bundle.manifest.training.sessions[0].repetitions else (2,))],
            )


def test_a_movement_that_the_decoder_does_not_hear_is_seen_in_the_confusion_and_in_its_part_of_the_hand() -> (
    None
):
    found = scored(person.session(), [part(1, deaf_to=(2,)), part(2, 3, deaf_to=(2,))])
    assert found.confusion is not None
    middle = np.array(found.confusion.counts[3])
    assert middle.argmax() == 0  # taken for rest
    assert recalls(found.confusion)[3] == pytest.approx(0.0)
    per_dof = found.scores.per_dof
    assert min(per_dof, key=lambda name: per_dof[name] or 0.0) == "middle"


def test_a_trial_that_does_not_count_is_not_scored() -> None:
    session = person.swapped(person.session(), trial=10)
    parts = [part(1), part(2), part(3)]
    with_it, without = scored(session, parts), scored(session, parts, left_out=[10])
    assert exact(with_it) < exact(without)
    assert exact(without) > 0.99
    assert without.scores.n_trials == with_it.scores.n_trials - 1 == 20


def test_a_persons_word_counts_more_than_the_programs() -> None:
    session = person.session()
    made = [dataclasses.replace(record, accepted=True) for record in records(session, left_out=[1, 2])]
    found = score_held_out(session, made, [part(1)])
    assert found is not None
    assert found.scores.n_trials == 7


def test_parts_weigh_by_their_trials_and_events_are_added() -> None:
    session = person.session()
    deaf, good = part(1, deaf_to=(0, 1)), part(2, 3)
    alone = [scored(session, [one]) for one in (deaf, good)]
    both = scored(session, [deaf, good])
    assert exact(both) == pytest.approx((7 * exact(alone[0]) + 14 * exact(alone[1])) / 21)
    for name in ("rest_hours", "hold_hours", "unintended_releases"):
        each = [one.scores.mean[name] for one in alone]
        assert both.scores.mean[name] == pytest.approx(sum(value or 0.0 for value in each))
    upper, hours = (both.scores.mean[n] for n in ("unintended_activations_upper_95_per_hour", "rest_hours"))
    assert upper is not None
    assert hours is not None
    assert upper * hours == pytest.approx(2.9957, abs=1e-3)  # -log(0.05): none was seen
    assert both.scores.spread["decided_steady_exact_match"] == pytest.approx(
        abs(exact(alone[0]) - exact(alone[1])) / 2**0.5
    )


def test_traces_are_of_held_out_trials_in_the_order_in_which_they_were_made() -> None:
    session = person.session()
    traces = scored(session, [part(2), part(1, 3)]).traces
    assert traces is not None
    assert traces.movements == tuple(session.gesture_names[t.gesture] for t in trials(session)[7:14])
    assert traces.begins_s == pytest.approx([4.5 * i for i in range(7)], abs=0.1)
    assert traces.true is not None
    assert len(traces.true) == len(traces.decoded) == 6
    assert np.corrcoef(np.ravel(traces.true), np.ravel(traces.decoded))[0, 1] > 0.9


def test_a_decoder_of_gestures_alone_is_scored_by_their_postures() -> None:
    session = person.session(truth=False)
    bundle = person.bundle((2, 3), outputs=False)
    found = scored(session, [HeldOut(bundle, (1,))])
    assert exact(found) > 0.99
    assert "joint_r2" in found.scores.not_scored


def test_without_parts_or_without_a_good_trial_nothing_is_scored() -> None:
    session = person.session()
    assert score_held_out(session, (), []) is None
    first = [trial.id for trial in trials(session)[:7]]
    assert score_held_out(session, records(session, first), [part(1)]) is None
    assert scored(session, [part(1), part(2)], first).scores.n_trials == 7


def test_decoders_of_other_movements_do_not_belong_together() -> None:
    other = person.bundle()
    manifest = other.manifest.model_copy(update={"gestures": ("rest", *(f"m{i}" for i in range(7)))})
    with pytest.raises(NervehandError, match="different movements"):
        score_held_out(
            person.session(), (), [part(1), HeldOut(dataclasses.replace(other, manifest=manifest), (2,))]
        )
