"""A calibration from its first sample to its last, paused, killed and taken up again."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from calibration.datasets import LEFT_OUT
from calibration.evaluation import bundle_stream
from calibration.finishing import FinishOptions, finish
from calibration.folder import CalibrationFolder, Plan
from calibration.labelling import joined, labelled
from calibration.paradigm import BASIC_MOVEMENTS, Paradigm
from calibration.records import Reason
from calibration.runner import KEPT_POSES, Able, Runner
from calibration.view import Phase
from decoder.bundle import read_bundle
from decoder.session.model import left_out_spans
from decoder.session.reader import read_session, tail_of
from firmware_bridge.errors import NervehandError
from tests.calibration.toy_person import GLOVE, INFO, PARADIGM, RATE_HZ, ToyPerson


def new_folder(path: Path, paradigm: Paradigm = PARADIGM) -> CalibrationFolder:
    truth = "" if paradigm.kind == "mimic" else "toy"
    plan = Plan("c1", "p07", "right", "cuff", "toy", truth, "2026-01-31T12:00:00+00:00", paradigm)
    return CalibrationFolder.create(path / "c1", plan)


def lead(
    folder: CalibrationFolder, person: ToyPerson, until: Phase | int, *, seconds: float = 60.0
) -> Runner:
    """Lead until a phase, or until so many trials are recorded, answering whatever waits for a word.

    The runner is left open.
    """
    first = person.block()
    able: Able | None = person if folder.plan.truth else None
    runner = Runner(folder, INFO, first, able, person=person, is_live=False)
    runner.__enter__()
    runner.block(first)
    go_on(runner, person, until, seconds)
    return runner


def go_on(runner: Runner, person: ToyPerson, until: Phase | int, seconds: float = 60.0) -> None:
    for _ in range(round(seconds * RATE_HZ / 400)):
        if until in (runner.phase, len(runner.conductor.records)):
            return
        if runner.phase is Phase.POSES and not runner.is_measuring:
            runner.ask("pose", {}, "test")
        elif runner.phase is Phase.READY:
            runner.ask("start", {}, "test")
        runner.block(person.block())
    raise AssertionError(f"{until} was not reached: {runner.phase}, {len(runner.conductor.records)} trials")


def close(runner: Runner) -> None:
    runner.__exit__(None, None, None)


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> tuple[CalibrationFolder, ToyPerson]:
    """A whole calibration of six good trials and one in which nothing moved. Read only."""
    folder = new_folder(tmp_path_factory.mktemp("done"))
    person = ToyPerson(nothing_moves=(2,))
    runner = lead(folder, person, Phase.ROUND_DONE)
    close(runner)
    return folder, person


def test_the_hand_is_calibrated_first_and_every_movement_is_made_in_every_round(
    done: tuple[CalibrationFolder, ToyPerson],
) -> None:
    folder, person = done
    assert person.asked[:6] == ["relaxed", "relaxed", "open", "relaxed", "fist", "relaxed"]
    kept = folder.kept()
    assert kept.hand is not None
    made = {(one.round_number, one.movement) for one in kept.records.values() if one.is_used}
    assert made == {(r, movement.name) for r in (1, 2) for movement in PARADIGM.movements}


def test_a_trial_in_which_nothing_moved_is_found_and_made_again(
    done: tuple[CalibrationFolder, ToyPerson],
) -> None:
    records = done[0].kept().records
    assert len(records) == 7
    assert [number for number, one in records.items() if not one.is_used] == [2]
    assert Reason.NOTHING_MOVED in records[2].reasons
    again = [one for one in records.values() if one.movement == records[2].movement and one.round_number == 1]
    assert [one.is_used for one in again] == [False, True]


def test_the_recording_holds_signal_sensors_and_cues_as_they_came(
    done: tuple[CalibrationFolder, ToyPerson],
) -> None:
    folder = done[0]
    session = read_session(folder.parts[0])
    record = folder.kept().records[1]
    assert session.labels is not None
    assert session.trial is not None
    cued = session.labels[record.cue_sample : record.release_sample]
    assert set(cued.tolist()) == {PARADIGM.gesture_names.index(record.movement)}
    assert set(session.trial[record.first_sample : record.stop_sample].tolist()) == {1}
    sensors = session.recorded.sensors
    assert sensors is not None
    assert sensors.names == GLOVE.sensors
    assert len(sensors.device_s) == pytest.approx(session.duration_s * GLOVE.rate_hz, rel=0.01)
    assert any("pose (test)" in note.text for note in session.recorded.notes)


def test_labels_are_the_able_hands_motion_and_what_cannot_teach_is_left_out(
    done: tuple[CalibrationFolder, ToyPerson],
) -> None:
    folder, person = done
    with labelled(folder) as (part,):
        session = part.session
    assert session.truth is not None
    assert session.labels is not None
    at = np.arange(session.n_samples)
    used = [one for one in part.trials if one.is_used]
    rows = np.concatenate([np.arange(one.first_sample, one.stop_sample) for one in used])
    assert np.abs(session.truth[rows, :5] - person._able.at(at)[rows, :5]).mean() < 0.03
    for one in used:
        begins = one.cue_sample + int(np.argmax(session.labels[one.cue_sample : one.stop_sample] > 0))
        assert begins == pytest.approx(one.cue_sample + 0.29 * RATE_HZ, abs=0.06 * RATE_HZ)
    out = left_out_spans(session)
    bad = folder.kept().records[2]
    assert out[0] == (0, folder.kept().records[1].first_sample)  # the poses
    assert any(a <= bad.first_sample and b >= bad.stop_sample for a, b in out)
    assert not any(a < one.stop_sample and b > one.first_sample for a, b in out for one in used)


def test_all_that_is_left_of_it_is_a_session_a_decoder_and_a_report(
    done: tuple[CalibrationFolder, ToyPerson], tmp_path: Path
) -> None:
    folder = CalibrationFolder(tmp_path / "copy", done[0].plan)
    shutil.copytree(done[0].path, folder.path)
    said: list[str] = []
    found = finish(
        folder, FinishOptions(n_parts=0, steps=40), lambda text, part: said.append(text.split(" ")[0])
    )
    assert (found.n_used, found.n_trials) == (6, 7)
    assert list(dict.fromkeys(said))[:2] == ["aligning", "fitting"]
    session, bundle = read_session(found.session), read_bundle(found.decoder)
    assert bundle.sha256 == found.decoder_sha256
    bundle.require_wearer("p07", "right", "cuff")
    assert bundle.manifest.training.sessions[0].identifier == session.meta.identifier == "c1"
    stream = bundle_stream(bundle, session)
    assert (stream.trial == LEFT_OUT).any()
    assert found.report.html.read_text().startswith("<!DOCTYPE html>")
    assert "session.nwb" in {Path(path).name for path in found.files().values()}


def test_a_calibration_that_was_killed_goes_on_at_the_next_trial_and_keeps_the_finished_ones(
    tmp_path: Path,
) -> None:
    folder = new_folder(tmp_path)
    person = ToyPerson()
    runner = lead(folder, person, 2)
    for _ in range(7):  # in the middle of the third
        runner.block(person.block())
    killed = CalibrationFolder(tmp_path / "killed", folder.plan)
    shutil.copytree(folder.path, killed.path)  # what a disk holds when the power goes
    close(runner)
    assert tail_of(killed.parts[0]).exists()
    before = killed.kept().records
    assert list(before) == [1, 2]
    (said,) = killed.mend()
    assert "cut off" in said
    again = ToyPerson(first_sample=2000)  # the amplifier counts from elsewhere now
    resumed = lead(killed, again, Phase.ROUND_DONE)
    close(resumed)
    assert "open" not in again.asked  # the hand stays calibrated
    records = killed.kept().records
    assert {n: records[n] for n in (1, 2)} == before
    assert [one.recording for one in records.values()] == ["part-001.nwb"] * 2 + ["part-002.nwb"] * 4
    with labelled(killed) as parts:
        whole = joined(parts, killed.plan)
        assert [len(part.trials) for part in parts] == [2, 4]
        session = whole.session
        assert session.trial is not None
        assert session.truth is not None
        second = parts[1].session
        for one in whole.trials:
            assert set(session.trial[one.first_sample - session.first_sample :][:100].tolist()) == {
                one.number
            }
        np.testing.assert_array_equal(session.truth[-second.n_samples :], second.truth)
        (gap,) = session.gaps
        assert gap.stop - gap.start == RATE_HZ


def test_a_pause_breaks_a_trial_off_and_its_samples_teach_nothing(tmp_path: Path) -> None:
    folder = new_folder(tmp_path)
    person = ToyPerson()
    runner = lead(folder, person, 1)
    for _ in range(8):
        runner.block(person.block())
    broken = runner.conductor.trial
    assert broken is not None
    runner.ask("pause", {}, "Ann")
    assert runner.view().notice == "pause: Ann"
    for _ in range(30):
        runner.block(person.block())
    assert runner.phase is Phase.PAUSED
    runner.ask("resume", {}, "Ann")
    go_on(runner, person, 3)
    runner.ask("finish", {}, "Ann")
    assert runner.is_over
    close(runner)
    with labelled(folder) as (part,):
        out = left_out_spans(part.session)
    middle = (broken.first_sample + broken.cue_sample) // 2
    assert any(a <= middle and broken.cue_sample < b for a, b in out)


def test_what_was_said_while_it_waited_is_not_said_while_it_goes_on(tmp_path: Path) -> None:
    person = ToyPerson()
    runner = lead(new_folder(tmp_path), person, 1)
    runner.ask("pause", {}, "Ann")
    runner.ask("resume", {}, "Bob")
    assert runner.view().notice == ""
    close(runner)


class _Fitting:
    """Refits of which one is under way."""

    under_way = (1, 0.02)


def test_a_round_that_is_still_being_learned_at_the_end_is_not_shown_as_under_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runner = lead(new_folder(tmp_path), ToyPerson(), Phase.ROUND_DONE)
    runner.ask("finish", {}, "Ann")
    close(runner)
    monkeypatch.setattr(runner, "_refits", _Fitting())
    assert [fit.progress for fit in runner.view().fits] == [0.02]
    runner.show_phase(Phase.FINISHING)
    assert runner.view().fits == ()


def test_what_a_person_says_of_a_trial_is_kept(tmp_path: Path) -> None:
    folder = new_folder(tmp_path)
    person = ToyPerson(nothing_moves=(1,))
    runner = lead(folder, person, 2)
    states = {trial.number: trial.state for trial in runner.view().trials}
    assert (states[1], states[2]) == ("bad", "good")
    runner.ask("accept", {"trial": 1}, "Ann")
    runner.ask("leave_out", {"trial": 2}, "Ann")
    states = {trial.number: trial.state for trial in runner.view().trials}
    assert (states[1], states[2]) == ("accepted", "left out")
    runner.ask("redo", {"trial": 1}, "Ann")
    close(runner)
    kept = folder.kept().records
    assert (kept[1].accepted, kept[2].accepted) == (False, False)


def test_lost_samples_spoil_the_trial_in_which_they_were_lost(tmp_path: Path) -> None:
    folder = new_folder(tmp_path)
    person = ToyPerson()
    runner = lead(folder, person, 1)
    person.block()
    lost = person.block()
    runner.block(replace(lost, lost_before=400))
    go_on(runner, person, 2)
    close(runner)
    assert Reason.SAMPLES_LOST in folder.kept().records[2].reasons
    with labelled(folder) as (part,):
        assert [one.is_used for one in part.trials][:2] == [True, False]


def test_an_outage_spoils_every_trial_that_it_touches_also_one_of_which_nothing_was_received(
    tmp_path: Path,
) -> None:
    folder = new_folder(tmp_path, replace(PARADIGM, kind="mimic"))
    person = ToyPerson()
    runner = lead(folder, person, 1)
    lost = round(2.5 * PARADIGM.trial_s * RATE_HZ)
    person._at += lost
    runner.block(replace(person.block(), lost_before=lost))
    go_on(runner, person, 5)
    close(runner)
    spoilt = {n: Reason.SAMPLES_LOST in one.reasons for n, one in folder.kept().records.items()}
    assert spoilt == {1: False, 2: True, 3: True, 4: True, 5: False}


def test_a_hand_that_is_late_is_waited_for_before_its_trial_is_judged(tmp_path: Path) -> None:
    folder = new_folder(tmp_path)
    runner = lead(folder, ToyPerson(lag_s=0.4), Phase.ROUND_DONE)
    close(runner)
    records = folder.kept().records
    assert len(records) == 6
    assert all(one.is_used for one in records.values())


def test_readings_lie_at_the_sample_that_was_received_as_they_arrived(tmp_path: Path) -> None:
    folder = new_folder(tmp_path)
    close(lead(folder, ToyPerson(latency_s=0.03), 1))
    sensors = read_session(folder.parts[0]).recorded.sensors
    assert sensors is not None
    late_s = sensors.sample_index / RATE_HZ - sensors.device_s
    np.testing.assert_allclose(late_s, 0.03, atol=1.5 / RATE_HZ)  # whole blocks are 0.1 s


def test_a_recording_too_short_to_tell_the_lag_has_that_of_the_others(tmp_path: Path) -> None:
    folder = new_folder(tmp_path)
    close(lead(folder, ToyPerson(lag_s=0.2), 5))
    close(lead(folder, ToyPerson(lag_s=0.2, first_sample=4000), Phase.ROUND_DONE))
    with labelled(folder) as parts:
        first, second = (part.alignment for part in parts)
        assert [len(part.trials) for part in parts] == [5, 1]
    assert first is not None
    assert second is not None
    assert first.lag_s == pytest.approx(0.2, abs=0.02)
    assert (second.lag_s, second.lag_confidence) == (first.lag_s, 0.0)


def put_on_otherwise(person: ToyPerson) -> None:
    """The glove was taken off, and says something else now."""
    person.glove_gain, person.glove_offset = -40.0, 300.0


def true_positions_are_labels(folder: CalibrationFolder, person: ToyPerson, part: int = 0) -> None:
    with labelled(folder) as parts:
        session, trials = parts[part].session, parts[part].trials
    assert session.truth is not None
    assert all(one.is_used for one in trials)
    for one in trials:
        at = np.arange(one.first_sample, one.stop_sample)
        seen = session.truth[at - session.first_sample, :5]
        assert np.abs(seen - person._able.at(at)[:, :5]).mean() < 0.03


def test_a_glove_that_has_slipped_is_measured_by_poses_held_again(tmp_path: Path) -> None:
    folder = new_folder(tmp_path)
    person = ToyPerson()
    runner = lead(folder, person, 3)
    with pytest.raises(NervehandError, match="pause it, then hold the poses again"):
        runner.ask("poses", {}, "Ann")
    runner.ask("pause", {}, "Ann")
    put_on_otherwise(person)
    runner.ask("poses", {}, "Ann")
    view = runner.view()
    assert (runner.phase, view.pose, view.has_poses, view.notice) == (Phase.POSES, "relaxed", True, "")
    go_on(runner, person, Phase.PAUSED)
    runner.ask("resume", {}, "Ann")
    go_on(runner, person, Phase.ROUND_DONE)
    close(runner)
    assert [one.is_used for one in folder.kept().records.values()] == [True] * 6
    true_positions_are_labels(folder, person)


def test_a_glove_that_was_taken_off_between_two_recordings_is_measured_by_poses_held_again(
    tmp_path: Path,
) -> None:
    folder = new_folder(tmp_path)
    first = ToyPerson()
    close(lead(folder, first, 3))
    again = ToyPerson(first_sample=4000)
    put_on_otherwise(again)
    runner = Runner(folder, INFO, again.block(), again, person=again, is_live=False)
    with runner:
        assert runner.view().notice == KEPT_POSES
        runner.ask("poses", {}, "Ann")
        go_on(runner, again, Phase.READY)
        go_on(runner, again, Phase.ROUND_DONE)
    assert [one.is_used for one in folder.kept().records.values()] == [True] * 6
    true_positions_are_labels(folder, first, 0)
    true_positions_are_labels(folder, again, 1)


@pytest.mark.parametrize("word", ["poses", "resume"])
def test_poses_that_are_held_again_may_be_left_and_those_of_before_count(word: str, tmp_path: Path) -> None:
    folder = new_folder(tmp_path)
    person = ToyPerson()
    runner = lead(folder, person, 3)
    runner.ask("pause", {}, "Ann")
    runner.ask("poses", {}, "Ann")
    runner.ask("pose", {}, "Ann")
    for _ in range(10):
        runner.block(person.block())
    assert runner.phase is Phase.POSES
    runner.ask("redo", {"trial": 2}, "Ann")
    heard = len(person.asked)
    runner.ask(word, {}, "Ann")
    assert person.asked[heard] == "relaxed"  # a simulated hand is not left in the pose
    assert runner.phase is (Phase.PAUSED if word == "poses" else Phase.COUNTDOWN)
    close(runner)
    kept = folder.kept()
    assert (len(kept.hands), kept.records[2].is_redone) == (1, True)


def test_a_calibration_is_finished_while_poses_are_held_again(tmp_path: Path) -> None:
    folder = new_folder(tmp_path)
    person = ToyPerson()
    runner = lead(folder, person, Phase.ROUND_DONE)
    runner.ask("poses", {}, "Ann")
    person.take = lambda: None  # type: ignore[method-assign]  # the glove is dead
    runner.ask("pose", {}, "Ann")
    for _ in range(40):
        runner.block(person.block())
    assert "said nothing" in runner.view().problem
    assert runner.ask("finish", {}, "Ann") == {"phase": "finishing"}
    view = runner.view()
    assert (view.phase, view.pose, view.left_s, view.problem) == (Phase.FINISHING, "", None, "")
    close(runner)


def test_that_the_poses_of_before_count_is_said_until_it_goes_on(tmp_path: Path) -> None:
    folder = new_folder(tmp_path)
    close(lead(folder, ToyPerson(), 2))
    again = ToyPerson(first_sample=4000)
    with Runner(folder, INFO, again.block(), again, person=again, is_live=False) as runner:
        assert runner.view().notice == KEPT_POSES
        runner.ask("start", {}, "Ann")
        runner.block(again.block())
        assert runner.view().notice == ""


def test_a_hand_that_is_known_only_since_its_first_trials_is_lost(tmp_path: Path) -> None:
    folder = new_folder(tmp_path)
    person = ToyPerson()
    runner = lead(folder, person, 3)
    runner.ask("pause", {}, "Ann")
    runner.ask("poses", {}, "Ann")
    go_on(runner, person, Phase.PAUSED)
    close(runner)
    journal = folder.path / "journal"
    lines = journal.read_bytes().splitlines(keepends=True)
    first = next(i for i, line in enumerate(lines) if b"relaxed" in line)
    lines[first] = lines[first].replace(b"relaxed", b"relaxes")
    journal.write_bytes(b"".join(lines))
    assert len(folder.kept().hands) == 1
    with pytest.raises(NervehandError, match="hand is missing"), labelled(folder):
        pass


def test_poses_held_between_two_trials_are_no_rest(tmp_path: Path) -> None:
    folder = new_folder(tmp_path)
    person = ToyPerson()
    runner = lead(folder, person, 3)
    while runner.phase is not Phase.REST or runner.conductor.trial is not None:  # until the round is over
        runner.block(person.block())
    runner.ask("pause", {}, "Ann")
    runner.ask("poses", {}, "Ann")
    begun = runner._at
    go_on(runner, person, Phase.PAUSED)
    ended = runner._at
    runner.ask("resume", {}, "Ann")
    go_on(runner, person, 6)
    close(runner)
    records = folder.kept().records
    assert records[3].stop_sample <= begun < ended <= records[4].first_sample
    with labelled(folder) as (part,):
        out = left_out_spans(part.session)
    assert any(a <= begun and ended <= b for a, b in out)


def test_a_calibration_whose_hand_is_lost_is_not_labelled_by_cues(
    done: tuple[CalibrationFolder, ToyPerson], tmp_path: Path
) -> None:
    shutil.copytree(done[0].path, tmp_path / "c1")
    folder = CalibrationFolder.reopen(tmp_path / "c1")
    journal = folder.path / "journal"
    lines = journal.read_bytes().splitlines(keepends=True)
    damaged = [line.replace(b"relaxed", b"relaxes") for line in lines]
    assert damaged != lines
    journal.write_bytes(b"".join(damaged))
    with (
        pytest.raises(NervehandError, match=r"hand is missing .* of which 1 lines are damaged"),
        labelled(folder),
    ):
        pass


def test_a_trial_that_a_person_accepts_teaches_only_what_can_be_seen_in_it(
    done: tuple[CalibrationFolder, ToyPerson], tmp_path: Path
) -> None:
    shutil.copytree(done[0].path, tmp_path / "c1")
    folder = CalibrationFolder.reopen(tmp_path / "c1")
    with folder.journal() as append:
        append("trial", replace(folder.kept().records[2], accepted=True))
    with labelled(folder) as (part,):
        assert 2 in {one.number for one in part.used}
        assert {one.number for one in part.taught} == {1, 3, 4, 5, 6, 7}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"side": "left"}, "measures the left hand, which is the phantom one: .*side=right"),
        (
            {"paradigm": replace(PARADIGM, movements=BASIC_MOVEMENTS)},
            "tells nothing of wrist flexion, wrist extension: .* --movements thumb,index,middle,ring,little,fist$",
        ),
    ],
)
def test_what_the_able_hand_cannot_tell_is_said_before_anything_is_recorded(
    change: dict[str, Any], said: str, tmp_path: Path
) -> None:
    folder = new_folder(tmp_path)
    folder = CalibrationFolder(folder.path, replace(folder.plan, **change))
    person = ToyPerson()
    with pytest.raises(NervehandError, match=said):
        Runner(folder, INFO, person.block(), person, person=person)
    assert folder.parts == ()


def test_it_goes_on_with_the_stream_that_it_began_with_only(
    done: tuple[CalibrationFolder, ToyPerson],
) -> None:
    person = ToyPerson()
    other = replace(INFO, mains_hz=60.0, rate_hz=5000.0)
    with pytest.raises(NervehandError, match=r"begun with 6 nerve channels at 4000 Hz.* at 5000 Hz"):
        Runner(done[0], other, person.block(), person, person=person)


def test_without_an_able_hand_the_labels_are_the_cues(tmp_path: Path) -> None:
    folder = new_folder(tmp_path, replace(PARADIGM, kind="mimic"))
    person = ToyPerson()
    runner = lead(folder, person, Phase.ROUND_DONE)
    view = runner.view()
    close(runner)
    assert (view.able, view.kind, view.lag_ms) == (None, "mimic", None)
    with labelled(folder) as (part,):
        session = part.session
    assert session.truth is None
    assert session.labels is not None
    one = part.trials[0]
    gesture = PARADIGM.gesture_names.index(one.movement)
    assert set(session.labels[one.cue_sample : one.release_sample].tolist()) == {gesture}


def test_a_moving_target_is_followed_and_its_motion_is_the_truth(tmp_path: Path) -> None:
    tracking = replace(PARADIGM, kind="tracking", repetitions=1)
    folder = new_folder(tmp_path, replace(tracking, timing=replace(PARADIGM.timing, track_s=4.0)))
    person = ToyPerson()
    close(lead(folder, person, Phase.ROUND_DONE))
    with labelled(folder) as (part,):
        session = part.session
    one = part.trials[0]
    assert session.truth is not None
    dof = PARADIGM.gesture_names.index(one.movement) - 1
    column = session.truth[one.cue_sample : one.release_sample, dof]
    assert 0.3 < np.ptp(column) <= 1.05
    assert len(np.unique(np.round(column, 1))) > 4


@pytest.mark.parametrize(
    ("name", "arguments", "said"),
    [
        ("resume", {}, "not paused"),
        ("redo", {"trial": 9}, "there is no trial 9"),
        ("redo", {"trial": "x"}, "trial is 'x': give the number"),
        ("redo", {}, "trial is None"),
        ("pose", {}, "no pose is waited for"),
        ("dance", {}, "a calibration knows no 'dance'"),
    ],
)
def test_what_cannot_be_done_is_refused_and_changes_nothing(
    name: str, arguments: dict[str, object], said: str, tmp_path: Path
) -> None:
    folder = new_folder(tmp_path)
    person = ToyPerson()
    runner = lead(folder, person, Phase.READY)
    with pytest.raises(NervehandError, match=said):
        runner.ask(name, arguments, "Ann")
    assert runner.phase is Phase.READY
    close(runner)


def test_before_the_poses_no_trial_begins(tmp_path: Path) -> None:
    folder = new_folder(tmp_path)
    person = ToyPerson()
    runner = lead(folder, person, Phase.POSES)
    with pytest.raises(NervehandError, match="first the poses"):
        runner.ask("start", {}, "Ann")
    assert runner.view().pose == "relaxed"
    close(runner)
