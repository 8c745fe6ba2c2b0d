"""A calibration under way: blocks and readings in, cues and a view out, everything on the disk as it comes."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace
from datetime import UTC, datetime
from types import TracebackType
from typing import Protocol, Self

import numpy as np
from numpy.typing import NDArray

from calibration.alignment.lag import LATEST_S
from calibration.alignment.review import Readings, Review, review
from calibration.conductor import Conductor, Cue, PlannedTrial
from calibration.folder import CalibrationFolder
from calibration.front_end import default_front_end
from calibration.labelling import joined_features
from calibration.phantom import Phantom
from calibration.posing import Posing
from calibration.postures import Posture
from calibration.records import FitRecord, Reason, TrialRecord, Verdict
from calibration.refitting import Refits
from calibration.report.learning import LearningCurve
from calibration.requirements import require_measured, require_other_side, require_same_stream
from calibration.truth import TruthBlock, TruthInfo
from calibration.truth.hand_calibration import HandCalibration
from calibration.truth.hand_joints import Pose
from calibration.view import CalibrationView, FitView, Phase, TrialView
from decoder.conditioning_design import design
from decoder.front_end import ChainEvent, Features, FrontEnd
from decoder.health import Cause
from decoder.health_settings import default_health
from decoder.session.layout import Header
from decoder.session.model import SessionMeta
from decoder.session.recorded import Event, EventKind, Note
from decoder.session.recorder import SessionWriter
from firmware_bridge.errors import NervehandError
from firmware_bridge.stream import SignalBlock, StreamInfo

MOST_MASKED = 0.35
"""A trial in which more of the features than this were masked teaches little (of a mimic calibration, which has no
able hand to review)."""

REVIEWED_AFTER_S = LATEST_S
"""After a trial's end: an able hand may move so much later than the phantom, and its return belongs to the trial."""
PATIENCE_S = 0.5
"""How much longer readings are waited for that do not come."""

logger = logging.getLogger(__name__)


class Able(Protocol):
    """What measures the able hand, read in its own time."""

    @property
    def info(self) -> TruthInfo: ...

    @property
    def problem(self) -> str: ...

    def take(self) -> TruthBlock | None: ...


class Person(Protocol):
    """Who is asked. A screen shows it to a real one; a simulated one does it."""

    def pose(self, pose: Pose, sample_index: int) -> None: ...

    def cue(self, cue: Cue) -> None: ...

    def follow(self, target: Posture, sample_index: int, label: int) -> None: ...


class Onlooker:
    """A real person, who sees in the view what is asked."""

    def pose(self, pose: Pose, sample_index: int) -> None:
        """The view says it."""

    def cue(self, cue: Cue) -> None:
        """The view says it."""

    def follow(self, target: Posture, sample_index: int, label: int) -> None:
        """The view shows it."""


class Runner:
    """Leads one calibration from where its folder stands. One thread calls it, with every block of the source.

    A context: it opens a new recording and ends it whole. `able` is None in a mimic calibration. With `is_live` trials
    are reviewed beside the stream, and rounds refitted; else at once, and only at the end. Raises NervehandError where
    the recording cannot go on, for nothing that is not on the disk counts.
    """

    def __init__(
        self,
        folder: CalibrationFolder,
        info: StreamInfo,
        first: SignalBlock,
        able: Able | None,
        *,
        person: Person | None = None,
        is_live: bool = True,
        say: Callable[[str], None] = lambda text: None,
    ) -> None:
        plan = folder.plan
        self._folder, self._info, self._able = folder, info, able
        self._person: Person = Onlooker() if person is None else person
        self._is_live, self._say = is_live, say
        kept = folder.kept()
        self.conductor = Conductor(plan.paradigm, info.rate_hz, kept.records.values())
        self._fits = kept.fits
        self._known_lag_s = _median_lag_s(kept.records.values())
        self._hand: HandCalibration | None = kept.hand
        self._posing: Posing | None = None
        require_same_stream(folder, info)
        if able is not None:
            require_other_side(able.info, plan)
            require_measured(able.info, plan.paradigm)
            if self._hand is None:
                self._posing = Posing(able.info, info.rate_hz)
            else:
                self._hand.require_source(able.info)
        self._choice = default_front_end(info)
        self._front_end = FrontEnd(
            info,
            design(self._choice.conditioning, info),
            self._choice.feature_set,
            self._choice.settings,
            default_health(info.kind),
            self._on_chain_event,
        )
        self._features: list[Features] = []
        self._readings: list[Readings] = []
        self._able_now: NDArray[np.float32] | None = None
        self._waiting: list[TruthBlock] = []  # readings that arrived after the newest block
        self._arrived = first.first_sample  # the sample that was received as the newest reading arrived
        self._gaps: list[tuple[int, int]] = []
        self._at = first.first_sample
        self._followed = 0
        self._review: Review | None = None
        self._reviewing: Future[Review] | None = None
        self._review_from: int | None = None  # the end of the newest trial that is not reviewed yet
        self._review_problem = self._refit_problem = ""
        self._notice = self._failure = ""
        self._files: dict[str, str] = {}
        self._phase: Phase | None = None  # where it is not the conductor's
        self._part = folder.new_part()
        self._opened = ExitStack()
        self._first = first

    def __enter__(self) -> Self:
        plan, info, first = self._folder.plan, self._info, self._first
        is_int16 = first.samples.dtype == np.int16
        sensors = () if self._able is None else self._able.info.sensors
        header = Header(
            info=info,
            meta=SessionMeta(
                identifier=f"{plan.identifier}-{self._part.stem}",
                subject=plan.subject,
                side=plan.side,
                start_time=datetime.now(UTC).isoformat(timespec="seconds"),
                description=f"Calibration, {plan.paradigm.kind}",
                array=plan.array,
            ),
            dtype="int16" if is_int16 else "float32",
            scale_uv=first.scale_uv if is_int16 else 1.0,
            first_sample=first.first_sample,
            gesture_names=plan.paradigm.gesture_names,
            postures=tuple(tuple(float(v) for v in row) for row in plan.paradigm.postures),
            sensor_names=sensors,
            sensor_units=() if self._able is None else self._able.info.units,
        )
        with ExitStack() as opened:
            self._append = opened.enter_context(self._folder.journal())
            self._writer = SessionWriter(self._part, header)
            self._phantom = opened.enter_context(Phantom(info, self._say))
            self._refits = opened.enter_context(Refits(self._folder.path))
            self._pool = opened.enter_context(ThreadPoolExecutor(1, "review"))
            self._opened = opened.pop_all()
        self._writer.mark(first.first_sample, label=0, trial=0, repetition=0)
        last = max(self._fits, default=0)
        if last and self._folder.bundle_of_round(last).exists():
            self._phantom.load(self._folder.bundle_of_round(last))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self._writer.close(failing=error is not None)
        finally:
            self._opened.close()

    @property
    def phase(self) -> Phase:
        """Where it stands."""
        if self._phase is not None:
            return self._phase
        return Phase.POSES if self._posing is not None else self.conductor.phase

    @property
    def is_over(self) -> bool:
        """Whether no more samples are needed."""
        return self.conductor.phase is Phase.FINISHING

    def block(self, block: SignalBlock) -> None:
        """A block of the nerve, as it was received; what the able hand did meanwhile is taken too."""
        self._writer.append(block)
        if block.lost_before:
            self._gaps.append((block.first_sample - block.lost_before, block.first_sample))
        self._at = block.first_sample + block.n_samples
        features, _ = self._front_end.process(block)
        if len(features.sample_index):
            self._features.append(features)
        self._writer.health(self._at - 1, self._front_end.masked_now)
        self._phantom.block(block)
        if self._able is not None:
            if (taken := self._able.take()) is not None:
                self._waiting.append(taken)
            self._take(block.arrival_ns)
        self._cued(self.conductor.advance(self._at))  # before the poses are done it only learns the time
        if self._posing is not None:
            self._pose()
        self._track()
        self._look_after()

    def ask(self, name: str, arguments: Mapping[str, object], who: str) -> dict[str, object]:
        """What a person asks (view.COMMANDS). NervehandError where it cannot be done now, or is not known."""
        if name == "pose":
            if self._posing is None:
                raise NervehandError("no pose is waited for: the hand is calibrated, or nothing measures it")
            self._posing.take(self._at)
            self._person.pose(self._asked_pose(), self._at)
        elif self._posing is not None and name not in ("finish", "stop"):
            raise NervehandError("first the poses: the able hand's sensors are not calibrated yet")
        elif name in ("start", "next", "resume"):
            steps = {
                "start": self.conductor.start,
                "next": self.conductor.next,
                "resume": self.conductor.resume,
            }
            self._cued(steps[name]())
        elif name == "pause" or (name == "stop" and not self.conductor.is_done):
            self._cued(self.conductor.pause())
        elif name == "finish":
            self._cued(self.conductor.finish())
        elif name in ("redo", "accept", "leave_out"):
            change = {
                "redo": self.conductor.redo,
                "accept": self.conductor.accept,
                "leave_out": self.conductor.leave_out,
            }[name]
            self._append("trial", change(_trial_number(arguments)))
        elif name != "stop":
            raise NervehandError(f"a calibration knows no {name!r}")
        about = f" trial {arguments['trial']}" if "trial" in arguments else ""
        self._writer.note(Note(self._writer.present_sample, f"{name}{about} ({who})"))
        if name in ("redo", "accept", "leave_out", "finish", "pause", "stop"):
            self._notice = f"{name.replace('_', ' ')}{about}: {who}"
        return {"phase": self.phase.value}

    @property
    def is_measuring(self) -> bool:
        """Whether a pose is being held, or the hand comes back from the last."""
        return self._posing is not None and (self._posing.is_measuring or self._posing.asked is None)

    @property
    def pose_problem(self) -> str:
        """Why the last pose did not do; "" where it did."""
        return "" if self._posing is None else self._posing.problem

    def show_phase(
        self, phase: Phase, files: Mapping[str, str] | None = None, failure: str = "", notice: str = ""
    ) -> None:
        """What comes after the samples: the last fit, its files, or why it failed."""
        self._phase, self._failure, self._notice = phase, failure, notice
        self._files |= dict(files or {})

    def view(self) -> CalibrationView:
        """What a person sees now."""
        conductor, paradigm = self.conductor, self._folder.plan.paradigm
        trial = conductor.trial
        left_s, phase_s = conductor.left_s(self._at)
        pose = ""
        if self._posing is not None:
            left_s, phase_s = self._posing.left_s(self._at), None
            pose = "" if self._posing.asked is None else self._posing.asked.value
        curve = LearningCurve.of(tuple(self._fits.values()))
        gain = curve.gain_of_another_round()
        names, causes = self._info.channel_names, self._front_end.causes_now
        masked = tuple(
            f"{names[c]}: {Cause(int(causes[c])).label if causes[c] else 'artefact'}"
            for c in np.flatnonzero(self._front_end.masked_now)
        )
        alignment = None if self._review is None else self._review.alignment
        return CalibrationView(
            phase=self.phase,
            kind=paradigm.kind,
            subject=self._folder.plan.subject,
            side=self._folder.plan.side,
            trial=0 if trial is None else trial.number,
            n_trials=conductor.n_planned,
            round_number=conductor.round_number,
            n_rounds=conductor.n_rounds,
            movement="" if trial is None else paradigm.movements[trial.movement].name,
            pose=pose,
            left_s=left_s,
            phase_s=phase_s,
            target=conductor.target(self._at),
            able=None if self._able_now is None else _positions(self._able_now),
            phantom=self._phantom.positions,
            gesture=self._phantom.gesture,
            confidence=self._phantom.confidence,
            masked=masked,
            trials=self._trial_views(trial),
            fits=self._fit_views(),
            advice=curve.advice(),
            gain=None if gain is None else gain.expected,
            gain_of=curve.score,
            lag_ms=None if alignment is None else 1e3 * alignment.lag_s,
            lag_confidence=None if alignment is None else alignment.lag_confidence,
            notice=self._notice,
            problem=self._problem(),
            files=dict(self._files),
        )

    def _problem(self) -> str:
        if self._failure:
            return self._failure
        if self._able is not None and self._able.problem:
            return self._able.problem
        return self.pose_problem or self._review_problem

    def _asked_pose(self) -> Pose:
        assert self._posing is not None
        assert self._posing.asked is not None  # `take` has refused otherwise
        return self._posing.asked

    def _take(self, arrival_ns: int) -> None:
        """The readings that arrived by then, the time at which the newest block did; 0 where nobody knows it."""
        waiting, self._waiting = self._waiting, []
        for block in waiting:
            n = len(block) if not arrival_ns else int(np.searchsorted(block.arrival_ns, arrival_ns, "right"))
            if n < len(block):
                self._waiting.append(_rows(block, slice(n, None)))
            if n:
                self._took(_rows(block, slice(0, n)), arrival_ns)

    def _took(self, block: TruthBlock, arrival_ns: int) -> None:
        at = np.full(len(block), self._at - 1, np.int64)
        if (
            arrival_ns
        ):  # blocks may be long: a reading lies as much before the newest sample as it arrived earlier
            at -= np.round((arrival_ns - block.arrival_ns) / 1e9 * self._info.rate_hz).astype(np.int64)
        at = np.maximum.accumulate(np.maximum(at, self._arrived))
        self._arrived = int(at[-1])
        self._writer.sensors(block.device_s, block.arrival_ns, block.values, at)
        if self._posing is not None:
            self._posing.readings(block, self._at)
        if self._hand is None:
            return
        positions = self._hand.positions(block.values)
        self._able_now = positions[-1]
        self._readings.append(Readings(block.device_s, at, positions, block.values))

    def _pose(self) -> None:
        assert self._posing is not None
        if self._posing.advance(self._at):
            self._person.pose(Pose.RELAXED, self._at)
            if self._posing.calibration is not None:
                self._hand = self._posing.calibration
                self._append("hand", self._hand)
                if self._hand.left_out:
                    self._notice = f"without {', '.join(self._hand.left_out)}: too little was seen of it"
        if self._posing.is_over(self._at):
            self._posing = None

    def _track(self) -> None:
        """In a tracking trial the target is told over and over."""
        trial = self.conductor.trial
        if self._folder.plan.paradigm.kind != "tracking" or trial is None:
            return
        if self._at - self._followed < 0.1 * self._info.rate_hz or not (
            trial.cue_sample <= self._at < trial.release_sample
        ):
            return
        self._followed = self._at
        self._person.follow(self.conductor.target(self._at), self._at, trial.movement + 1)

    def _cued(self, cues: list[Cue]) -> None:
        for cue in cues:
            self._person.cue(cue)
            trial = cue.trial
            if trial is not None:
                self._mark(cue, trial)
            if cue.kind == "end" and trial is not None:
                self._made(trial)
            elif cue.kind == "round" and self._is_live:
                self._refits.want(self._round_of(cue))

    def _round_of(self, cue: Cue) -> int:
        # The conductor may be in the next round already when it says that one is complete.
        is_last = self.conductor.phase is Phase.ROUND_DONE
        return self.conductor.round_number - (0 if is_last else 1)

    def _mark(self, cue: Cue, trial: PlannedTrial) -> None:
        at = min(cue.sample_index, self._at)
        is_moving, is_in = cue.kind == "move", cue.kind in ("begin", "move", "release")
        self._writer.mark(
            at,
            label=trial.movement + 1 if is_moving else 0,
            trial=trial.number if is_in else 0,
            repetition=trial.repetition if is_in else 0,
        )

    def _made(self, trial: PlannedTrial) -> None:
        """A trial is over, and on the disk: `mark` has waited for it."""
        record = TrialRecord(
            number=trial.number,
            round_number=trial.round_number,
            repetition=trial.repetition,
            movement=self._folder.plan.paradigm.movements[trial.movement].name,
            recording=self._part.name,
            first_sample=trial.first_sample,
            cue_sample=trial.cue_sample,
            release_sample=trial.release_sample,
            stop_sample=trial.stop_sample,
            instead_of=trial.instead_of,
        )
        if any(begin < trial.stop_sample and end > trial.first_sample for begin, end in self._gaps):
            record = replace(record, verdict=Verdict.BAD, reasons=(Reason.SAMPLES_LOST,))
        if self._able is None:
            record = self._judge_nerve(record)
        self.conductor.judged(record)
        self._append("trial", self.conductor.records[record.number])
        if self._able is not None:
            self._review_from = trial.stop_sample

    def _judge_nerve(self, record: TrialRecord) -> TrialRecord:
        """Without an able hand only the signal can be judged."""
        share = [
            features.masked[(features.sample_index >= record.cue_sample)].mean(1)
            for features in self._features[-round(1 + self._folder.plan.paradigm.trial_s * 600) :]
        ]
        masked = float(np.concatenate(share).mean()) if share and sum(map(len, share)) else 0.0
        record = replace(record, masked_share=masked)
        if masked <= MOST_MASKED:
            return record
        return replace(record, verdict=Verdict.BAD, reasons=(*record.reasons, Reason.NERVE_BAD))

    def _look_after(self) -> None:
        """What was computed beside the stream, and what is to be."""
        if self._reviewing is not None and self._reviewing.done():
            done, self._reviewing = self._reviewing, None
            self._take_review(done.result)
        if self._review_from is not None and self._is_known(self._review_from) and self._reviewing is None:
            self._review_from = None
            if self._is_live:
                self._reviewing = self._pool.submit(self._make_review())
            else:
                self._take_review(self._make_review())
        for fit in self._refits.take():
            self._fits[fit.after_round] = fit
            self._append("fit", fit)
            if not fit.scores:  # it is new
                self._phantom.load(self._folder.bundle_of_round(fit.after_round))
        if self._refits.problem != self._refit_problem:
            self._refit_problem = self._refits.problem
            self._notice = self._refit_problem or self._notice

    def _is_known(self, stop_sample: int) -> bool:
        """Whether all is there that belongs to a trial which ended then, also where the able hand is late; or it
        does not come."""
        until = stop_sample + REVIEWED_AFTER_S * self._info.rate_hz
        return self._arrived >= until or self._at >= until + PATIENCE_S * self._info.rate_hz

    def _take_review(self, make: Callable[[], Review]) -> None:
        """Trials that cannot be reviewed stay as they are, and it is said."""
        try:
            self._reviewed(make())
            self._review_problem = ""
        except (NervehandError, np.linalg.LinAlgError) as error:
            self._review_problem = f"the last trials are not reviewed: {error}"

    def _make_review(self) -> Callable[[], Review]:
        """A review of this recording's trials, of arrays that nobody changes any more."""
        mine = [
            one
            for one in self.conductor.records.values()
            if one.recording == self._part.name and self._is_known(one.stop_sample)
        ]
        features, readings = tuple(self._features), tuple(self._readings)
        paradigm, choice = self._folder.plan.paradigm, self._choice
        postures = {movement.name: movement.posture for movement in paradigm.movements}
        names = self._front_end.feature_names
        compress = choice.compress(names)
        hop = choice.settings.hop_samples * choice.conditioning.decimation

        def make() -> Review:
            return review(
                mine, joined_readings(readings), joined_features(features), compress, postures,
                self._info.rate_hz, hop, feature_names=names, known_lag_s=self._known_lag_s,
            )  # fmt: skip

        return make

    def _reviewed(self, found: Review) -> None:
        self._review = found
        for record in found.trials:
            before = self.conductor.records[record.number]
            if Reason.SAMPLES_LOST in before.reasons and Reason.SAMPLES_LOST not in record.reasons:
                record = replace(record, verdict=Verdict.BAD, reasons=(*record.reasons, Reason.SAMPLES_LOST))
            self.conductor.judged(record)
            after = self.conductor.records[record.number]
            if after != before:
                self._append("trial", after)

    def _on_chain_event(self, event: ChainEvent) -> None:
        kinds = {
            "gap": EventKind.GAP,
            "filled": EventKind.FILLED,
            "masked": EventKind.MASKED,
            "unmasked": EventKind.UNMASKED,
            "artefact": EventKind.ARTEFACT,
        }
        if event.kind in kinds:
            self._writer.event(Event(event.sample_index, kinds[event.kind], event.first, event.second))

    def _trial_views(self, now: PlannedTrial | None) -> tuple[TrialView, ...]:
        paradigm, records = self._folder.plan.paradigm, self.conductor.records
        shown = [
            TrialView(
                number=one.number,
                round_number=one.round_number,
                movement=one.movement,
                state=_state_of(one),
                reasons=tuple(reason.value for reason in one.reasons),
                agreement=one.agreement,
                lag_ms=None if one.lag_s is None else 1e3 * one.lag_s,
            )
            for _, one in sorted(records.items())
        ]
        if now is not None:
            name = paradigm.movements[now.movement].name
            shown.append(TrialView(now.number, now.round_number, name, "now"))
        next_number = max([*records, 0 if now is None else now.number], default=0) + 1
        shown += [
            TrialView(next_number + i, self.conductor.round_number, paradigm.movements[m].name, "planned")
            for i, m in enumerate(self.conductor.coming)
        ]
        return tuple(shown)

    def _fit_views(self) -> tuple[FitView, ...]:
        done = [FitView(fit.after_round, 1.0, dict(fit.scores)) for _, fit in sorted(self._fits.items())]
        under_way = self._refits.under_way
        if under_way is not None and under_way[0] not in self._fits:
            done.append(FitView(under_way[0], under_way[1], {}))
        return tuple(done)


def joined_readings(parts: tuple[Readings, ...]) -> Readings:
    """Readings of successive blocks as one."""
    if not parts:
        raise NervehandError("the able hand's sensors have said nothing so far: check them")
    return Readings(
        np.concatenate([part.device_s for part in parts]),
        np.concatenate([part.sample_index for part in parts]),
        np.concatenate([part.positions for part in parts]),
        np.concatenate([part.values for part in parts]),
    )


def _rows(block: TruthBlock, rows: slice) -> TruthBlock:
    return TruthBlock(block.values[rows], block.device_s[rows], block.arrival_ns[rows])


def _median_lag_s(records: Iterable[TrialRecord]) -> float | None:
    """Of earlier recordings, for one that has too few trials of its own."""
    lags_s = [one.lag_s for one in records if one.lag_s is not None]
    return float(np.median(lags_s)) if lags_s else None


def _state_of(record: TrialRecord) -> str:
    if record.is_redone:
        return "redone"
    if record.verdict is Verdict.GOOD:
        return "left out" if record.accepted is False else "good"
    return "accepted" if record.accepted else "bad"


def _trial_number(arguments: Mapping[str, object]) -> int:
    number = arguments.get("trial")
    if not isinstance(number, int) or isinstance(number, bool):
        raise NervehandError(f"trial is {number!r}: give the number of a trial")
    return number


def _positions(values: NDArray[np.float32]) -> tuple[float, ...]:
    return tuple(float(v) for v in np.clip(np.nan_to_num(values), -1, 1))


__all__ = ["Able", "FitRecord", "Onlooker", "Person", "Runner"]
