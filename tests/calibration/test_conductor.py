"""Which trial comes when, what a person may ask, and how a calibration is taken up again."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from calibration.conductor import Conductor, Cue
from calibration.paradigm import FIVE_FINGERS, Paradigm, Timing
from calibration.records import Reason, TrialRecord, Verdict
from calibration.view import Phase
from firmware_bridge.errors import NervehandError

RATE_HZ = 1000.0
PARADIGM = Paradigm(repetitions=2, movements=FIVE_FINGERS[:3], timing=Timing(round_rest_s=2.0))
TRIAL = 3300


def record_of(cue: Cue, verdict: Verdict = Verdict.GOOD) -> TrialRecord:
    trial = cue.trial
    assert trial is not None
    return TrialRecord(
        number=trial.number,
        round_number=trial.round_number,
        repetition=trial.repetition,
        movement=PARADIGM.movements[trial.movement].name,
        recording="part-001.nwb",
        first_sample=trial.first_sample,
        cue_sample=trial.cue_sample,
        release_sample=trial.release_sample,
        stop_sample=trial.stop_sample,
        instead_of=trial.instead_of,
        verdict=verdict,
        reasons=() if verdict is Verdict.GOOD else (Reason.NOTHING_MOVED,),
    )


def led(conductor: Conductor, until: int, step: int = 50, bad: tuple[int, ...] = ()) -> list[Cue]:
    """All cues up to a sample, each trial judged as soon as it ends; those numbered `bad` are."""
    cues = []
    for at in range(conductor._at, until, step):
        for cue in conductor.advance(at):
            cues.append(cue)
            if cue.kind == "end":
                found = record_of(cue)
                conductor.judged(
                    replace(found, verdict=Verdict.BAD, reasons=(Reason.NOTHING_MOVED,))
                    if found.number in bad
                    else found
                )
    return cues


def kinds(cues: list[Cue]) -> list[str]:
    return [cue.kind for cue in cues]


def test_nothing_begins_before_somebody_says_so() -> None:
    conductor = Conductor(PARADIGM, RATE_HZ)
    assert led(conductor, 10_000) == []
    assert conductor.phase is Phase.READY


def test_a_trial_is_rest_a_way_there_a_hold_a_way_back_and_rest() -> None:
    conductor = Conductor(PARADIGM, RATE_HZ)
    conductor.advance(1000)
    conductor.start()
    phases = {}
    for at in range(1000, 1000 + TRIAL, 50):
        conductor.advance(at)
        phases.setdefault(conductor.phase, at)
    assert phases == {
        Phase.COUNTDOWN: 1000, Phase.MOVE: 1750, Phase.HOLD: 2050, Phase.RETURN: 3250, Phase.REST: 3550,
    }  # fmt: skip
    assert conductor.left_s(4250) == (pytest.approx(0.05), pytest.approx(0.75))


def test_two_rounds_hold_every_movement_twice_with_a_pause_between() -> None:
    conductor = Conductor(PARADIGM, RATE_HZ)
    conductor.start()
    cues = led(conductor, 40_000)
    assert kinds(cues) == ["begin", "move", "release", "end"] * 3 + ["round"] + [
        "begin", "move", "release", "end",
    ] * 3 + ["round", "done"]  # fmt: skip
    begun = [cue.trial for cue in cues if cue.kind == "begin"]
    assert [trial.number for trial in begun if trial] == [1, 2, 3, 4, 5, 6]
    assert [trial.movement for trial in begun if trial] == [
        *PARADIGM.round_order(1), *PARADIGM.round_order(2),
    ]  # fmt: skip
    assert [trial.first_sample for trial in begun if trial] == [
        0, TRIAL, 2 * TRIAL, 3 * TRIAL + 2000, 4 * TRIAL + 2000, 5 * TRIAL + 2000,
    ]  # fmt: skip
    assert conductor.phase is Phase.ROUND_DONE


@given(steps=st.lists(st.integers(1, 9000), min_size=8, max_size=60))
@settings(max_examples=50, deadline=None)
def test_how_samples_are_cut_into_blocks_changes_no_cue(steps: list[int]) -> None:
    whole = Conductor(PARADIGM, RATE_HZ)
    whole.start()
    expected = led(whole, 60_000, step=1)
    cut = Conductor(PARADIGM, RATE_HZ)
    cut.start()
    found = []
    for at in [*np.cumsum(steps).tolist(), 60_000 + sum(steps)]:
        found += cut.advance(at)
    assert found == expected


@pytest.mark.parametrize("bad", [(1,), (3,), (6,), (1, 3, 6)])
def test_a_bad_trial_is_asked_for_again_before_its_round_ends(bad: tuple[int, ...]) -> None:
    conductor = Conductor(PARADIGM, RATE_HZ)
    conductor.start()
    led(conductor, 80_000, bad=bad)
    assert conductor.phase is Phase.ROUND_DONE
    used = [one for one in conductor.records.values() if one.is_used]
    assert len(used) == 6
    assert {(one.round_number, one.movement) for one in used} == {
        (r, m.name) for r in (1, 2) for m in PARADIGM.movements
    }


def test_who_cannot_do_better_is_not_asked_for_ever() -> None:
    conductor = Conductor(replace(PARADIGM, most_redone=2), RATE_HZ)
    conductor.start()
    led(conductor, 120_000, bad=tuple(range(1, 100)))
    assert conductor.phase is Phase.ROUND_DONE
    assert len(conductor.records) == 2 * (3 + 2)


def test_a_word_against_the_verdict_counts_more() -> None:
    conductor = Conductor(PARADIGM, RATE_HZ)
    conductor.start()
    led(conductor, TRIAL + 50, bad=(1,))
    assert len(conductor.coming) == 2
    assert conductor.accept(1).is_used
    assert len(conductor.coming) == 1  # it is not made again
    conductor.judged(replace(conductor.records[1], accepted=None))  # found bad once more, with all trials
    assert conductor.records[1].is_used
    conductor.redo(1)
    assert not conductor.records[1].is_used
    assert len(conductor.coming) == 2
    conductor.leave_out(1)
    assert len(conductor.coming) == 1  # nor made again


def test_a_trial_that_proves_good_before_its_repetition_comes_is_not_repeated() -> None:
    conductor = Conductor(PARADIGM, RATE_HZ)
    conductor.start()
    for number in (1, 2, 3, 4, 5, 6):  # each newest trial looks bad until the next has been made
        led(conductor, number * TRIAL + 2000 * (number > 3) + 50, bad=(number,))
        conductor.judged(replace(conductor.records[number], verdict=Verdict.GOOD, reasons=()))
    assert conductor.coming == ()
    led(conductor, 60_000)
    assert (len(conductor.records), conductor.phase) == (6, Phase.ROUND_DONE)


def test_verdicts_that_come_and_go_repeat_no_more_than_a_round_may() -> None:
    conductor = Conductor(PARADIGM, RATE_HZ)
    conductor.start()
    for at in range(0, 40 * TRIAL, TRIAL):
        led(conductor, at, bad=tuple(range(1, 100)))
        for record in tuple(conductor.records.values()):
            conductor.judged(replace(record, verdict=Verdict.GOOD, reasons=()))
            conductor.judged(replace(record, verdict=Verdict.BAD, reasons=(Reason.NOTHING_MOVED,)))
    assert conductor.phase is Phase.ROUND_DONE
    assert len(conductor.records) <= 2 * (3 + PARADIGM.most_redone)


def test_a_trial_is_made_again_once_however_often_it_is_asked_for() -> None:
    conductor = Conductor(PARADIGM, RATE_HZ)
    conductor.start()
    led(conductor, TRIAL + 50, bad=(1,))
    conductor.redo(1)
    conductor.redo(1)
    assert len(conductor.coming) == 2
    led(conductor, 60_000)
    assert len(conductor.records) == 7
    with pytest.raises(NervehandError, match="trial 1 was made again as trial 4: redo that one"):
        conductor.redo(1)


def test_what_a_person_wants_made_again_or_left_out_survives_a_kill() -> None:
    before = Conductor(PARADIGM, RATE_HZ)
    before.start()
    led(before, 4 * TRIAL + 2100)
    before.redo(2)  # of the first round
    before.leave_out(4)  # of the second, under way
    after = Conductor(PARADIGM, RATE_HZ, before.records.values())
    names = [movement.name for movement in PARADIGM.movements]
    left = [m for m in PARADIGM.round_order(2) if names[m] != before.records[4].movement]
    assert list(after.coming) == [*left, names.index(before.records[2].movement)]


def test_a_pause_breaks_the_trial_off_and_it_comes_again() -> None:
    conductor = Conductor(PARADIGM, RATE_HZ)
    conductor.start()
    led(conductor, 2000)
    (cue,) = conductor.pause()
    assert (cue.kind, cue.sample_index, cue.trial and cue.trial.number) == ("abandon", 1950, 1)
    assert led(conductor, 9000) == []
    assert conductor.target(5000) == (0.0,) * 6
    conductor.resume()
    cues = led(conductor, 60_000)
    first = cues[0].trial
    assert first is not None
    assert (first.movement, first.first_sample) == (PARADIGM.round_order(1)[0], 8950)
    assert kinds(cues).count("end") == 6


def test_a_pause_between_two_rounds_keeps_the_round() -> None:
    conductor = Conductor(PARADIGM, RATE_HZ)
    conductor.start()
    led(conductor, 3 * TRIAL + 100)
    conductor.pause()
    led(conductor, 20_000)
    cues = conductor.resume()
    assert kinds(cues) == ["round"]
    assert kinds(led(conductor, 60_000)).count("end") == 3


def test_at_the_subjects_own_pace_every_trial_waits_for_a_word() -> None:
    conductor = Conductor(replace(PARADIGM, is_self_paced=True), RATE_HZ)
    conductor.start()
    assert kinds(led(conductor, 50_000)) == ["begin", "move", "release", "end"]
    assert conductor.phase is Phase.READY
    conductor.next()
    led(conductor, 60_000)
    conductor.next()
    assert kinds(led(conductor, 90_000))[-1] == "round"
    assert conductor.phase is Phase.READY
    with pytest.raises(NervehandError, match="nothing to resume"):
        conductor.resume()


def test_after_the_last_round_another_may_be_made() -> None:
    conductor = Conductor(PARADIGM, RATE_HZ)
    conductor.start()
    led(conductor, 40_000)
    conductor.start()
    assert kinds(led(conductor, 60_000)).count("end") == 3
    assert max(one.round_number for one in conductor.records.values()) == 3
    assert (conductor.phase, conductor.n_rounds) == (Phase.ROUND_DONE, 3)


def test_who_ends_early_keeps_what_there_is() -> None:
    conductor = Conductor(PARADIGM, RATE_HZ)
    conductor.start()
    led(conductor, 2 * TRIAL + 500)
    assert kinds(conductor.finish()) == ["abandon"]
    assert (conductor.phase, len(conductor.records)) == (Phase.FINISHING, 2)
    assert led(conductor, 50_000) == []
    with pytest.raises(NervehandError, match="finished already"):
        conductor.finish()


@pytest.mark.parametrize("made", [0, 1, 2, 3, 4, 5, 6])
def test_a_calibration_that_was_killed_goes_on_with_the_next_trial(made: int) -> None:
    before = Conductor(PARADIGM, RATE_HZ)
    before.start()
    led(before, 60_000)
    kept = [record for number, record in before.records.items() if number <= made]
    after = Conductor(PARADIGM, RATE_HZ, kept)
    if made < 6:
        after.start()
    cues = led(after, 60_000)
    numbers = [cue.trial.number for cue in cues if cue.kind == "end" and cue.trial]
    assert numbers == list(range(made + 1, 7))
    assert after.phase is Phase.ROUND_DONE
    assert {(one.round_number, one.movement) for one in after.records.values()} == {
        (r, m.name) for r in (1, 2) for m in PARADIGM.movements
    }


def test_what_cannot_be_done_now_is_said() -> None:
    conductor = Conductor(PARADIGM, RATE_HZ)
    with pytest.raises(NervehandError, match="there is no trial 1: made so far are none yet"):
        conductor.redo(1)
    conductor.start()
    with pytest.raises(NervehandError, match="it is under way"):
        conductor.start()
    with pytest.raises(NervehandError, match="no trial waits"):
        conductor.next()


def test_how_many_trials_are_planned_follows_what_is_redone() -> None:
    conductor = Conductor(PARADIGM, RATE_HZ)
    assert conductor.n_planned == 6
    conductor.start()
    assert conductor.n_planned == 6
    led(conductor, TRIAL + 50, bad=(1,))
    assert conductor.n_planned == 7
