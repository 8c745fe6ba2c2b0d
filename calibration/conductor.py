"""Leads a person through a paradigm: which trial comes when, in samples; pure, so that any clock can drive it."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Literal

from calibration.paradigm import Paradigm
from calibration.postures import Posture
from calibration.records import TrialRecord
from calibration.view import Phase
from firmware_bridge.errors import NervehandError

CueKind = Literal["begin", "move", "release", "end", "abandon", "round", "done"]
RESTING: Posture = (0.0, 0.0, 0.0, 0.0, 0.0, 0.0)


@dataclass(frozen=True, slots=True)
class PlannedTrial:
    """A trial under way: its number (from 1 over all), its round, which movement, and its samples.

    The cue to move comes at `cue_sample`, the one to return at `release_sample`; half of the rest lies on either side.
    `instead_of` is the number of the trial that it repeats, 0 of none.
    """

    number: int
    round_number: int
    repetition: int
    movement: int
    first_sample: int
    cue_sample: int
    release_sample: int
    stop_sample: int
    instead_of: int = 0


@dataclass(frozen=True, slots=True)
class _Wanted:
    """A trial to come: which movement, and instead of which trial (0: of none)."""

    movement: int
    instead_of: int = 0


@dataclass(frozen=True, slots=True)
class Cue:
    """Something that happens at a sample.

    "begin", "move", "release" and "end" of a trial; "abandon": it is broken off and comes again; "round": a round is
    complete; "done": the last one is.
    """

    sample_index: int
    kind: CueKind
    trial: PlannedTrial | None = None


class Conductor:
    """Plans trials as samples come, and does what a person asks. All times are absolute sample indices.

    `records` are the trials of before, where a calibration is taken up again: it goes on with what their last round
    still lacks, and with trials that a person wanted made again. A bad trial is asked for again at the end of the round
    under way, `paradigm.most_redone` of them in a round; one that proves good before its repetition comes is not.
    """

    def __init__(self, paradigm: Paradigm, rate_hz: float, records: Iterable[TrialRecord] = ()) -> None:
        self.paradigm = paradigm
        self.n_rounds = paradigm.repetitions
        self.records: dict[int, TrialRecord] = {record.number: record for record in records}
        self._rate_hz = rate_hz
        self._number = max(self.records, default=0)
        self.round_number = max((record.round_number for record in self.records.values()), default=1)
        self._now: PlannedTrial | None = None
        self._waiting: deque[_Wanted] = deque()
        self._waiting.extend(self._missing())
        self._said: set[CueKind] = set()
        self._at = 0
        self._pause_ends: int | None = None  # of the pause between two rounds
        self.phase = Phase.READY
        if not self._waiting and self.round_number >= self.n_rounds:
            self.phase = Phase.ROUND_DONE

    @property
    def trial(self) -> PlannedTrial | None:
        """The one under way."""
        return self._now

    @property
    def is_done(self) -> bool:
        """Whether nothing more is planned."""
        return self.phase in (Phase.ROUND_DONE, Phase.FINISHING, Phase.DONE)

    @property
    def n_planned(self) -> int:
        """How many trials there will be as it stands, those made included."""
        later = max(0, self.n_rounds - self.round_number) * len(self.paradigm.movements)
        return len(self.records) + len(self._waiting) + (self._now is not None) + later

    @property
    def coming(self) -> tuple[int, ...]:
        """The movements that the round still holds, in their order, the one under way left out."""
        return tuple(one.movement for one in self._waiting)

    def target(self, sample_index: int) -> Posture:
        """The posture of the hand to imitate."""
        if self._now is None:
            return RESTING
        return self.paradigm.target(self._now.movement, (sample_index - self._now.cue_sample) / self._rate_hz)

    def left_s(self, sample_index: int) -> tuple[float | None, float | None]:
        """How long the phase still lasts and how long it is in all, in seconds; None where a person decides."""
        if self._pause_ends is not None and self.phase is Phase.REST:
            whole = self.paradigm.timing.round_rest_s
            return max(0.0, (self._pause_ends - sample_index) / self._rate_hz), whole
        if self._now is None:
            return None, None
        edges = self._edges(self._now)
        for (start, _), (stop, _) in pairwise(edges):
            if start <= sample_index < stop:
                return (stop - sample_index) / self._rate_hz, (stop - start) / self._rate_hz
        return 0.0, None

    def start(self) -> list[Cue]:
        """Begin, or after the last round make another one."""
        if self.phase is Phase.ROUND_DONE:
            self.n_rounds = max(self.n_rounds, self.round_number) + 1
            self._next_round()
        elif self.phase is not Phase.READY or self._now is not None:
            raise NervehandError(f"it is under way ({self.phase.value}): pause or finish it")
        return self._go()

    def next(self) -> list[Cue]:
        """The subject is ready for the next trial."""
        if self.phase is not Phase.READY or self._now is not None:
            raise NervehandError(f"no trial waits for that word: the calibration is at {self.phase.value!r}")
        return self._go()

    def pause(self) -> list[Cue]:
        """Wait; the trial under way is broken off and comes again."""
        if self.phase in (Phase.FINISHING, Phase.DONE, Phase.ROUND_DONE):
            raise NervehandError("there is nothing to pause: nothing is under way")
        cues = self._abandon()
        self._pause_ends = None
        self.phase = Phase.PAUSED
        return cues

    def resume(self) -> list[Cue]:
        """Go on after a pause."""
        if self.phase is not Phase.PAUSED:
            raise NervehandError("it is not paused: there is nothing to resume")
        return self._go()

    def redo(self, number: int) -> TrialRecord:
        """The trial is left out, and its movement asked for again in this round."""
        record = self._record(number)
        again = next((one.number for one in self.records.values() if one.instead_of == number), None)
        if again is not None:
            raise NervehandError(f"trial {number} was made again as trial {again}: redo that one")
        record = replace(record, accepted=False, is_redone=True)
        self.records[number] = record
        if not self._is_wanted(number):
            self._waiting.append(_Wanted(self._movement(record), number))
        if self.phase is Phase.ROUND_DONE:
            self.phase = Phase.READY
        return record

    def accept(self, number: int) -> TrialRecord:
        """The trial counts, whatever was found of it; where it was to be made again, it is not."""
        record = replace(self._record(number), accepted=True, is_redone=False)
        self.records[number] = record
        self._not_again(number)
        return record

    def leave_out(self, number: int) -> TrialRecord:
        """The trial does not count, and is not made again."""
        record = replace(self._record(number), accepted=False, is_redone=False)
        self.records[number] = record
        self._not_again(number)
        return record

    def finish(self) -> list[Cue]:
        """End here, and keep what there is."""
        if self.phase in (Phase.FINISHING, Phase.DONE):
            raise NervehandError("it is finished already")
        cues = self._abandon()
        self._waiting.clear()
        self.phase = Phase.FINISHING
        return cues

    def judged(self, record: TrialRecord) -> None:
        """What was found of a trial, or is found now; a bad one is asked for again, once."""
        before = self.records.get(record.number)
        if before is not None:
            record = replace(record, accepted=before.accepted, is_redone=before.is_redone)
        self.records[record.number] = record
        if record.accepted is not None or self.is_done:
            return
        if record.is_used:
            self._not_again(record.number)
        elif not self._is_repeated(record.number) and self._n_repeated() < self.paradigm.most_redone:
            self._waiting.append(_Wanted(self._movement(record), record.number))

    def _is_wanted(self, number: int) -> bool:
        """Whether the repetition of a trial is still to come."""
        now = self._now is not None and self._now.instead_of == number
        return now or any(one.instead_of == number for one in self._waiting)

    def _is_repeated(self, number: int) -> bool:
        """Whether a trial was made again, or is to be."""
        return self._is_wanted(number) or any(one.instead_of == number for one in self.records.values())

    def _n_repeated(self) -> int:
        """Trials of this round that stand for others, those to come included; not those that a person asked for."""
        asked = {one.number for one in self.records.values() if one.is_redone}
        instead = [one.instead_of for one in self.records.values() if one.round_number == self.round_number]
        instead += [one.instead_of for one in self._waiting]
        if self._now is not None:
            instead.append(self._now.instead_of)
        return sum(number > 0 and number not in asked for number in instead)

    def _not_again(self, number: int) -> None:
        """The repetition of a trial is not needed, where it has not begun."""
        self._waiting = deque(one for one in self._waiting if one.instead_of != number)

    def advance(self, sample_index: int) -> list[Cue]:
        """What happens up to and including this sample, in order."""
        self._at = max(self._at, sample_index)
        cues: list[Cue] = []
        while True:
            if self._now is not None:
                cues += self._step()
            elif self._pause_ends is not None and self._at >= self._pause_ends:
                cues += self._turn(self._pause_ends)
            else:
                return cues
            if self._now is not None and self._at < self._now.stop_sample and not self._is_due():
                return cues

    def _step(self) -> list[Cue]:
        """The cues of the trial under way that are due; the next trial, where it ends."""
        trial = self._now
        if trial is None:
            return []
        cues = []
        for at, kind in _moments(trial):
            if at <= self._at and kind not in self._said:
                self._said.add(kind)
                cues.append(Cue(at, kind, trial))
        if "end" in self._said:
            self._now = None
            self._after(trial.stop_sample)
            return cues
        for start, phase in self._edges(trial):
            if start <= self._at:
                self.phase = phase
        return cues

    def _is_due(self) -> bool:
        """Whether a cue of the trial under way is still to be said."""
        return any(at <= self._at and kind not in self._said for at, kind in _moments(self._now))

    def _after(self, sample_index: int) -> None:
        """What follows a trial: the next, or, after a moment in which the last may be found bad, the next round."""
        if not self._waiting:
            self.phase = Phase.REST
            self._pause_ends = sample_index + round(self.paradigm.timing.round_rest_s * self._rate_hz)
        elif self.paradigm.is_self_paced:
            self.phase = Phase.READY
        else:
            self._begin_at(sample_index)

    def _go(self) -> list[Cue]:
        """The next trial, whether or not trials wait for a word; where the round holds none, what follows the round."""
        if not self._waiting:
            cues = self._turn(self._at)
            if not self._waiting or self._now is not None:
                return cues
        else:
            cues = []
        self._begin_at(self._at)
        return cues

    def _turn(self, sample_index: int) -> list[Cue]:
        """The end of a pause between rounds."""
        self._pause_ends = None
        if self._waiting:
            self._after(sample_index)
            return []
        cues = [Cue(sample_index, "round")]
        if self.round_number >= self.n_rounds:
            self.phase = Phase.ROUND_DONE
            return [*cues, Cue(sample_index, "done")]
        self._next_round()
        self._after(sample_index)
        return cues

    def _begin_at(self, sample_index: int) -> None:
        """Begin the next trial of the round."""
        self._pause_ends = None
        wanted = self._waiting.popleft()
        self._number += 1
        t = self.paradigm.timing

        def after(seconds: float) -> int:
            return sample_index + round(seconds * self._rate_hz)

        self._now = PlannedTrial(
            number=self._number,
            round_number=self.round_number,
            repetition=self.round_number,
            movement=wanted.movement,
            first_sample=sample_index,
            cue_sample=after(t.rest_s / 2),
            release_sample=after(t.rest_s / 2 + self.paradigm.way_s),
            stop_sample=after(self.paradigm.trial_s),
            instead_of=wanted.instead_of,
        )
        self._said = set()
        self.phase = Phase.COUNTDOWN

    def _edges(self, trial: PlannedTrial) -> tuple[tuple[int, Phase], ...]:
        """When each phase of a trial begins; the end is the last."""
        move = round(self.paradigm.timing.move_s * self._rate_hz)
        is_tracking = self.paradigm.kind == "tracking"
        held = () if is_tracking else ((trial.cue_sample + move, Phase.HOLD),)
        return (
            (trial.first_sample, Phase.COUNTDOWN),
            (trial.cue_sample, Phase.MOVE),
            *held,
            (trial.release_sample, Phase.RETURN),
            (trial.release_sample + move, Phase.REST),
            (trial.stop_sample, Phase.REST),
        )

    def _abandon(self) -> list[Cue]:
        if self._now is None:
            return []
        trial, self._now = self._now, None
        self._waiting.appendleft(_Wanted(trial.movement, trial.instead_of))
        return [Cue(self._at, "abandon", trial)]

    def _next_round(self) -> None:
        self.round_number += 1
        self._waiting = deque(map(_Wanted, self.paradigm.round_order(self.round_number)))

    def _missing(self) -> list[_Wanted]:
        """What the current round lacks by its records: movements not made, and trials to be made again."""
        here = [one for one in self.records.values() if one.round_number == self.round_number]
        made = {self._movement(one) for one in here}
        wanted = [_Wanted(m) for m in self.paradigm.round_order(self.round_number) if m not in made]
        repeated = {one.instead_of for one in self.records.values()}
        left = self.paradigm.most_redone - self._n_repeated()
        for number, one in sorted(self.records.items()):
            if one.is_used or number in repeated:
                continue
            if one.is_redone:
                wanted.append(_Wanted(self._movement(one), number))
            elif one.accepted is None and one.round_number == self.round_number and left > 0:
                wanted.append(_Wanted(self._movement(one), number))
                left -= 1
        return wanted

    def _record(self, number: int) -> TrialRecord:
        if number not in self.records:
            made = f"1 to {max(self.records)}" if self.records else "none yet"
            raise NervehandError(f"there is no trial {number}: made so far are {made}")
        return self.records[number]

    def _movement(self, record: TrialRecord) -> int:
        names = [movement.name for movement in self.paradigm.movements]
        if record.movement not in names:
            raise NervehandError(
                f"trial {record.number} is a {record.movement!r}, which the paradigm does not have: "
                f"it has {', '.join(names)}"
            )
        return names.index(record.movement)


def _moments(trial: PlannedTrial | None) -> tuple[tuple[int, CueKind], ...]:
    if trial is None:
        return ()
    return (
        (trial.first_sample, "begin"),
        (trial.cue_sample, "move"),
        (trial.release_sample, "release"),
        (trial.stop_sample, "end"),
    )
