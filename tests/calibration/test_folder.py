"""A calibration's folder: what a kill leaves, and how it is taken up again."""

from __future__ import annotations

import itertools
import os
import shutil
from collections import namedtuple
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from calibration.folder import JOURNAL, PLAN, CalibrationFolder, Kept, Plan
from calibration.paradigm import Paradigm
from calibration.records import FitRecord, HandRecord, Reason, TrialRecord, Verdict
from calibration.truth.hand_calibration import HandCalibration
from decoder.session.layout import Header
from decoder.session.model import SessionMeta
from decoder.session.reader import read_session, tail_of
from decoder.session.recorder import SessionWriter
from firmware_bridge.errors import NervehandError
from firmware_bridge.stream import SignalBlock, StreamInfo

PLANNED = Plan("c1", "p07", "left", "cuff 3", "lsl:nerve", "lsl:glove", "2026-01-31T12:00:00+00:00")
RECORD = TrialRecord(
    1,
    1,
    1,
    "fist",
    "part-001.nwb",
    0,
    750,
    2250,
    3300,
    Verdict.BAD,
    (Reason.TRUTH_FROZE,),
    None,
    0.5,
    0.15,
    0.9,
)
FIT = FitRecord(2, 26, {"exact_match": 0.9}, 11.5)
HAND = HandCalibration("g", "right", ("s",), ("raw",), ("index mcp",), (), (0.1,), (1.0,), (0.0,), (9.0,))
INFO = StreamInfo(1000.0, ("a", "b"), "nerve")


def folder(path: Path) -> CalibrationFolder:
    return CalibrationFolder.create(path / "c1", PLANNED)


def record_part(path: Path, n: int, *, is_closed: bool) -> SessionWriter:
    writer = SessionWriter(path, Header(INFO, SessionMeta("part"), dtype="int16", scale_uv=0.2))
    for k in range(n):
        writer.append(SignalBlock(np.full((100, 2), k, np.int16), 100 * k, scale_uv=0.2))
    writer.sync()
    if is_closed:
        writer.close()
    return writer


def test_the_plan_is_read_again_as_it_was_made(tmp_path: Path) -> None:
    made = folder(tmp_path)
    assert CalibrationFolder.reopen(made.path).plan == PLANNED
    assert (made.path.stat().st_mode & 0o777) == 0o700


def test_nothing_is_overwritten_and_nothing_else_is_taken_for_a_calibration(tmp_path: Path) -> None:
    made = folder(tmp_path)
    with pytest.raises(NervehandError, match="is there already: take it up again with --resume"):
        CalibrationFolder.create(made.path, PLANNED)
    with pytest.raises(NervehandError, match="is no calibration"):
        CalibrationFolder.reopen(tmp_path)
    (made.path / PLAN).write_text("{")
    with pytest.raises(NervehandError, match="is damaged"):
        CalibrationFolder.reopen(made.path)
    (made.path / PLAN).write_text('{"format_version": 3}')
    with pytest.raises(NervehandError, match="format 3, this program reads up to 2"):
        CalibrationFolder.reopen(made.path)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"subject": " "}, "no pseudonym"),
        ({"side": ""}, "side is ''"),
        ({"truth": ""}, "needs a ground truth"),
        ({"paradigm": Paradigm(kind="mimic")}, "no able hand is measured"),
    ],
)
def test_a_plan_that_cannot_be_done_is_refused(changed: dict[str, object], said: str) -> None:
    with pytest.raises(NervehandError, match=said):
        replace(PLANNED, **changed)  # type: ignore[arg-type]  # fields by name


def test_the_newest_word_on_a_trial_counts(tmp_path: Path) -> None:
    made = folder(tmp_path)
    hand = HandRecord("part-001.nwb", 70, HAND)
    with made.journal() as append:
        append("trial", RECORD)
        append("hand", hand)
        append("fit", FIT)
    with made.journal() as append:  # taken up again
        append("trial", replace(RECORD, accepted=True))
        append("trial", replace(RECORD, number=2))
    kept = made.kept()
    assert kept.records == {1: replace(RECORD, accepted=True), 2: replace(RECORD, number=2)}
    assert (kept.hands, kept.fits, kept.damaged) == ([hand], {2: FIT}, 0)


def test_a_hand_as_it_was_said_before_counts_from_the_beginning(tmp_path: Path) -> None:
    made = folder(tmp_path)
    with made.journal() as append:
        append("hand", HAND)
    for part in ("part-001.nwb", "part-002.nwb"):
        (only,) = made.kept().hands_of(part)
        assert only.calibration == HAND


def test_a_recording_of_poses_alone_keeps_its_number(tmp_path: Path) -> None:
    made = folder(tmp_path)
    with made.journal() as append:
        append("hand", HandRecord("part-004.nwb", 70, HAND))
    assert made.new_part().name == "part-005.nwb"


def test_a_recording_is_measured_by_the_poses_before_it_and_by_those_held_in_it() -> None:
    first, again, third = (
        HandRecord(f"part-{part:03d}.nwb", at, replace(HAND, relaxed=(at / 100,)))
        for part, at in ((1, 70), (1, 900), (3, 40))
    )
    kept = Kept(hands=[first, again, third])
    assert kept.hands_of("part-001.nwb") == (first, again)
    assert kept.hands_of("part-002.nwb") == (again,)
    assert kept.hands_of("part-003.nwb") == (again, third)
    assert kept.hand == third.calibration
    assert (Kept().hand, Kept(hands=[third]).hands_of("part-001.nwb")) == (None, ())


@pytest.mark.parametrize("cut", [1, 5, 40])
def test_a_line_that_a_kill_cut_short_costs_no_other(cut: int, tmp_path: Path) -> None:
    made = folder(tmp_path)
    with made.journal() as append:
        append("trial", RECORD)
        append("trial", replace(RECORD, number=2))
    journal = made.path / JOURNAL
    journal.write_bytes(journal.read_bytes()[:-cut])
    with made.journal() as append:
        append("trial", replace(RECORD, number=3))
    kept = made.kept()
    assert (list(kept.records), kept.damaged) == ([1, 2, 3] if cut == 1 else [1, 3], 0 if cut == 1 else 1)


def test_a_recording_that_was_cut_off_is_mended_and_a_whole_one_is_left_alone(tmp_path: Path) -> None:
    made = folder(tmp_path)
    record_part(made.new_part(), 3, is_closed=True)
    whole = made.parts[0].read_bytes()
    record_part(made.new_part(), 5, is_closed=False)
    assert tail_of(made.parts[1]).exists()
    assert made.mend() == ["part-002.nwb: cut off; 500 of 500 samples are whole"]
    assert [part.name for part in made.parts] == ["part-001.nwb", "part-002.nwb"]
    assert made.parts[0].read_bytes() == whole
    assert read_session(made.parts[1]).n_samples == 500
    assert made.mend() == []
    assert made.new_part().name == "part-003.nwb"


def test_a_recording_of_which_nothing_is_whole_is_put_aside(tmp_path: Path) -> None:
    made = folder(tmp_path)
    writer = SessionWriter(made.new_part(), Header(INFO, SessionMeta("part")))
    assert "nothing can be recovered" in made.mend()[0]
    assert made.parts == ()
    assert (made.path / "damaged-part-001.nwb").exists()
    del writer


def cut_off(made: CalibrationFolder) -> Path:
    """A recording that a kill left open, with a trial in it."""
    part = made.new_part()
    record_part(part, 5, is_closed=False)
    with made.journal() as append:
        append("trial", replace(RECORD, recording=part.name))
    return part


def fill_the_disk(patched: pytest.MonkeyPatch) -> None:
    usage = namedtuple("usage", "total used free")
    patched.setattr(shutil, "disk_usage", lambda path: usage(1 << 40, 1 << 40, 1 << 20))


def names_in(path: Path) -> list[str]:
    return sorted(one.name for one in path.iterdir())


def test_a_full_disk_puts_no_good_recording_aside(tmp_path: Path) -> None:
    made = folder(tmp_path)
    part = cut_off(made)
    before = names_in(made.path)
    with pytest.MonkeyPatch.context() as patched:
        fill_the_disk(patched)
        with pytest.raises(
            NervehandError, match=r"cannot be mended now; nothing was changed: .*free some space"
        ):
            made.mend()
    assert names_in(made.path) == before
    assert made.mend() == ["part-001.nwb: cut off; 500 of 500 samples are whole"]
    assert read_session(part).n_samples == 500


def test_a_recording_with_trials_is_never_put_aside_without_a_word_of_a_person(tmp_path: Path) -> None:
    made = folder(tmp_path)
    part = cut_off(made)
    tail_of(part).write_bytes(b"")
    before = names_in(made.path)
    with pytest.raises(NervehandError, match="1 trials are in it, and nothing was changed"):
        made.mend()
    assert names_in(made.path) == before


def test_a_new_recording_has_a_number_that_none_has_or_had(tmp_path: Path) -> None:
    made = folder(tmp_path)
    assert made.new_part().name == "part-001.nwb"
    record_part(made.new_part(), 0, is_closed=False)
    made.mend()
    assert names_in(made.path)[0] == "damaged-part-001.nwb"
    assert made.new_part().name == "part-002.nwb"
    (made.path / "part-002.nwb.tail").touch()  # a kill before its recording was there
    assert made.new_part().name == "part-003.nwb"
    with made.journal() as append:
        append("trial", replace(RECORD, recording="part-007.nwb"))  # it was moved away
    assert made.new_part().name == "part-008.nwb"


class Killed(BaseException):
    """No program cleans up after this."""


def killed_at(step: int, patched: pytest.MonkeyPatch) -> None:
    """What changes names on the disk, or waits for it, ends the process at that step; nothing is done after it."""
    steps = itertools.count(1)

    def dying(real: Callable[..., object]) -> Callable[..., object]:
        def call(*arguments: object, **options: object) -> object:
            if next(steps) >= step:
                raise Killed
            return real(*arguments, **options)

        return call

    for name in ("unlink", "rename", "replace", "fsync"):
        patched.setattr(os, name, dying(getattr(os, name)))


def test_a_kill_at_any_moment_of_the_mending_costs_nothing(tmp_path: Path) -> None:
    expected = ["journal", "part-001.nwb", "plan.json"]
    n_killed = 0
    for step in itertools.count(1):
        made = folder(tmp_path / str(step))
        part = cut_off(made)
        with pytest.MonkeyPatch.context() as patched:
            killed_at(step, patched)
            try:
                made.mend()
            except Killed:
                n_killed += 1
        assert made.new_part().name == "part-002.nwb"
        made.mend()
        assert names_in(made.path) == expected
        assert read_session(part).n_samples == 500
        assert made.mend() == []
        if n_killed < step:
            break
    assert n_killed >= 6


def test_one_process_at_a_time_works_on_it(tmp_path: Path) -> None:
    made = folder(tmp_path)
    with made.held():
        again = CalibrationFolder.reopen(made.path)
        with pytest.raises(NervehandError, match="another process works on this calibration"), again.held():
            pass
    with made.held():
        pass


def test_what_was_made_for_a_start_that_failed_is_taken_back_and_no_more(tmp_path: Path) -> None:
    made = folder(tmp_path)
    with made.journal():
        pass
    (made.path / "mine.txt").touch()
    made.discard()
    assert names_in(made.path) == ["mine.txt"]
    begun = folder(tmp_path / "begun")
    record_part(begun.new_part(), 1, is_closed=True)
    begun.discard()
    assert names_in(begun.path) == ["part-001.nwb", "plan.json"]
