"""Where a calibration lives: one folder that survives a kill at any moment.

`plan.json` says what is done, and never changes. `part-001.nwb`, ... are recordings, one for each time the calibration
was taken up. `journal` holds trials, poses and fits as they come, one checksummed line each (decoder.session.journal);
a trial is in it once its samples are on the disk. Everything else (`round-01.nhb`, `session.nwb`, `decoder.nhb`,
`report.*`) can be made again from these.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from calibration.paradigm import Paradigm
from calibration.records import FitRecord, HandRecord, TrialRecord
from calibration.truth.hand_calibration import HandCalibration
from decoder.session.journal import JournalWriter, journal_of, read_journal
from decoder.session.model import SIDES
from decoder.session.reader import tail_of
from decoder.session.recorded import Note
from decoder.session.recover import salvage
from decoder.session.writer import sync_folder, write_session
from firmware_bridge.errors import NervehandError
from firmware_bridge.plain import from_plain, to_plain

FORMAT_VERSION = 2
"""1 said of the hand only how it was calibrated: once, before the first trial."""
PLAN, JOURNAL = "plan.json", "journal"
SESSION, DECODER = "session.nwb", "decoder.nhb"

PART_NUMBER = re.compile(r"part-(\d{3,})\.nwb")
MENDED = ".mended"

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Plan:
    """What is done, for whom, with what. `side` is the phantom hand's; `source` and `truth` are addresses, `truth` ""
    where nothing measures an able hand; `started` is ISO 8601 with an offset from UTC."""

    identifier: str
    subject: str
    side: str
    array: str
    source: str
    truth: str
    started: str
    paradigm: Paradigm = field(default_factory=Paradigm)
    version: str = ""
    format_version: int = FORMAT_VERSION

    def __post_init__(self) -> None:
        if not self.subject.strip():
            raise NervehandError("the subject has no pseudonym: give one, so that a decoder is known by it")
        if self.side not in SIDES[1:]:
            raise NervehandError(f"the phantom hand's side is {self.side!r}: give left or right")
        if self.paradigm.kind == "mimic" and self.truth:
            raise NervehandError(
                f"in a mimic calibration no able hand is measured, and {self.truth} is given: leave it out"
            )
        if self.paradigm.kind != "mimic" and not self.truth:
            raise NervehandError(
                f"a {self.paradigm.kind} calibration needs a ground truth of the able hand: give one, or choose mimic"
            )


@dataclass(slots=True)
class Kept:
    """What the journal of a calibration holds: the newest word on each trial, the hand as often as it was calibrated,
    and fits."""

    records: dict[int, TrialRecord] = field(default_factory=dict)
    hands: list[HandRecord] = field(default_factory=list)
    fits: dict[int, FitRecord] = field(default_factory=dict)
    damaged: int = 0

    @property
    def hand(self) -> HandCalibration | None:
        """The newest calibration of the hand."""
        return self.hands[-1].calibration if self.hands else None

    def hands_of(self, recording: str) -> tuple[HandRecord, ...]:
        """By which the hand is measured in a recording: the one that it began with, then those that it holds.

        Empty where the hand was never calibrated.
        """
        begun = [one for one in self.hands if one.recording < recording]
        within = [one for one in self.hands if one.recording == recording]
        return (*begun[-1:], *within)


class CalibrationFolder:
    """A calibration on the disk, made by `create` or found by `reopen`."""

    def __init__(self, path: Path, plan: Plan) -> None:
        self.path, self.plan = path, plan

    @staticmethod
    def require_new(path: Path) -> None:
        """NervehandError where something lies there already."""
        if path.exists() and (not path.is_dir() or any(path.iterdir())):
            raise NervehandError(
                f"{path}: is there already: take it up again with --resume, or name another folder"
            )

    @staticmethod
    def create(path: Path, plan: Plan) -> CalibrationFolder:
        """A new one. NervehandError where something lies there already."""
        CalibrationFolder.require_new(path)
        try:
            path.mkdir(parents=True, exist_ok=True, mode=0o700)
            part = path / f".{PLAN}.part"
            with open(part, "w", encoding="utf-8") as file:
                file.write(json.dumps(to_plain(plan), indent=1))
                file.flush()
                os.fsync(file.fileno())
            part.replace(path / PLAN)
        except OSError as error:
            raise NervehandError(f"{path}: cannot be made ({error.strerror}): choose another place") from None
        sync_folder(path / PLAN)
        return CalibrationFolder(path, plan)

    @staticmethod
    def reopen(path: Path) -> CalibrationFolder:
        """One that is there. NervehandError where it is none, or was made by a later release."""
        try:
            given = json.loads((path / PLAN).read_text(encoding="utf-8"))
        except OSError as error:
            raise NervehandError(
                f"{path}: is no calibration ({error.strerror}: {PLAN}): name its folder"
            ) from None
        except (ValueError, RecursionError) as error:
            raise NervehandError(f"{path / PLAN}: is damaged ({error}): restore it from a copy") from None
        version = given.get("format_version") if isinstance(given, dict) else None
        if not isinstance(version, int) or version > FORMAT_VERSION:
            raise NervehandError(
                f"{path}: is a calibration of format {version}, this program reads up to {FORMAT_VERSION}: update it"
            )
        return CalibrationFolder(path, from_plain(Plan, given, str(path / PLAN)))

    @contextmanager
    def held(self) -> Iterator[None]:
        """Nobody else works on it meanwhile; NervehandError where somebody does."""
        with open(self.path / PLAN, "rb") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                raise NervehandError(
                    f"{self.path}: another process works on this calibration: end it first, or look on in the console"
                ) from None
            yield

    @property
    def parts(self) -> tuple[Path, ...]:
        """The recordings, in order."""
        return tuple(sorted(self.path.glob("part-???.nwb")))

    def new_part(self) -> Path:
        """Where the next recording goes: a number that no recording has or had, for trials are found by its name."""
        names = [path.name for path in self.path.iterdir()]
        kept = self.kept()
        names += [one.recording for one in kept.records.values()] + [one.recording for one in kept.hands]
        numbers = [int(found[1]) for name in names if (found := PART_NUMBER.search(name))]
        return self.path / f"part-{max(numbers, default=0) + 1:03d}.nwb"

    def discard(self) -> None:
        """Take back what `create` made, where no recording was begun; what else lies there stays, and its folder."""
        journal = self.path / JOURNAL
        if any(PART_NUMBER.search(path.name) for path in self.path.iterdir()) or (
            journal.exists() and journal.stat().st_size
        ):
            return
        journal.unlink(missing_ok=True)
        (self.path / PLAN).unlink()

    def bundle_of_round(self, number: int) -> Path:
        """Where the decoder of the rounds up to this one goes."""
        return self.path / f"round-{number:02d}.nhb"

    def mend(self) -> list[str]:
        """Close what a kill left open; what was found of each such recording, in words. Held by the caller.

        Until the whole copy is on the disk nothing is changed; then the tail goes, and the copy takes the recording's
        place: at once, or the next time where a kill came between. NervehandError where a copy cannot be made now, or
        nothing of a recording with trials can be verified.
        """
        for left in self.path.glob(".part-*.part"):  # of a recording that was being closed
            left.unlink()
        for left in self.path.glob(f"..part-*{MENDED}.*.part"):  # of a copy
            left.unlink()
        for copy in sorted(self.path.glob(f".part-*{MENDED}")):
            part = self.path / copy.name.removeprefix(".").removesuffix(MENDED)
            if tail_of(part).exists():
                copy.unlink()
            else:
                _take_place(copy, part)
        return [self._mended(part) for part in self.parts if tail_of(part).exists()]

    def _mended(self, part: Path) -> str:
        copy = part.with_name(f".{part.name}{MENDED}")
        with ExitStack() as opened:
            try:
                found = opened.enter_context(salvage(part))
            except NervehandError as error:
                self._put_aside(part, error)
                return f"{part.name}: {error}"
            try:
                write_session(found.session, copy)
            except NervehandError as error:
                raise NervehandError(
                    f"{part.name} was cut off and cannot be mended now; nothing was changed: {error}"
                ) from None
            verified = sum(stop - start for start, stop in found.spans)
        tail_of(part).unlink()  # from here on the copy counts
        sync_folder(part)
        _take_place(copy, part)
        return f"{part.name}: cut off; {verified} of {found.received} samples are whole"

    def _put_aside(self, part: Path, error: NervehandError) -> None:
        """A recording of which nothing is whole: kept under another name, out of the way of what follows."""
        beside = (part, tail_of(part), journal_of(part))
        for name in beside:
            try:
                name.open("rb").close()
            except FileNotFoundError:
                continue
            except OSError as unread:
                raise NervehandError(
                    f"{name}: cannot be read ({unread.strerror}); nothing was changed: see to it that it can"
                ) from None
        if n := sum(record.recording == part.name for record in self.kept().records.values()):
            raise NervehandError(
                f"{error}; {n} trials are in it, and nothing was changed: restore {part.name} with its tail and journal"
                " from a copy, or move the three out of the folder, which gives these trials up"
            )
        for name in beside:
            if name.exists():
                name.replace(name.with_name(f"damaged-{name.name}"))

    def kept(self) -> Kept:
        """What the journal holds; damaged lines are counted, and the rest is kept."""
        notes, damaged = read_journal(self.path / JOURNAL)
        kept = Kept(damaged=damaged)
        for note in notes:
            entry = json.loads(note.text)
            kind, value = entry["kind"], entry["value"]
            if kind == "trial":
                record = from_plain(TrialRecord, value, "trial")
                kept.records[record.number] = record
            elif kind == "hand":
                if "recording" not in value:  # of format 1
                    value = {"recording": "", "sample_index": 0, "calibration": value}
                kept.hands.append(from_plain(HandRecord, value, "hand"))
            elif kind == "fit":
                fit = from_plain(FitRecord, value, "fit")
                kept.fits[fit.after_round] = fit
        return kept

    @contextmanager
    def journal(self) -> Iterator[Callable[[str, object], None]]:
        """What appends a line: its kind ("trial", "hand", "fit", "note") and a value; on the disk when it returns."""
        writer = JournalWriter(self.path / JOURNAL, goes_on=True)

        def append(kind: str, value: object) -> None:
            writer.append(Note(0, json.dumps({"kind": kind, "value": to_plain(value)})))
            writer.sync()

        try:
            yield append
        finally:
            writer.close()


def _take_place(copy: Path, part: Path) -> None:
    """The journal's notes are in the copy."""
    journal_of(part).unlink(missing_ok=True)
    copy.replace(part)
    sync_folder(part)
