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

from calibration.able_hand import Able, AbleHand, joined_readings
from calibration.alignment.lag import LATEST_S
from calibration.alignment.review import Review, review
from calibration.conductor import Conductor, Cue, PlannedTrial
from calibration.folder import CalibrationFolder
from calibration.front_end import default_front_end
from calibration.labelling import joined_features
from calibration.phantom import Phantom
from calibration.postures import Posture
from calibration.records import HandRecord, Reason, TrialRecord, Verdict
from calibration.refitting import Refits
from calibration.report.learning import LearningCurve
from calibration.requirements import require_measured, require_other_side, require_same_stream
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

KEPT_POSES = (
    "the poses of before still count: hold them again if the able hand's sensors were taken off since"
)

logger = logging.getLogger(__name__)


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
        self._folder, self._info = folder, info
        self._person: Person = Onlooker() if person is None else person
        self._is_live, self._say = is_live, say
        kept = folder.kept()
        self.conductor = Conductor(plan.paradigm, info.rate_hz, kept.records.values())
        self._fits = kept.fits
        self._known_lag_s = _median_lag_s(kept.records.values())
        require_same_stream(folder, info)
        self._hand: AbleHand | None = None
        self._sensors: tuple[tuple[str, ...], tuple[str, ...]] = ((), ())
        if able is not None:
            require_other_side(able.info, plan)
            require_measured(able.info, plan.paradigm)
            self._hand = AbleHand(able, info.rate_hz, first.first_sample, kept.hand)
            self._sensors = able.info.sensors, able.info.units
        is_kept = self._hand is not None and not self._hand.is_posing
        self._notice = KEPT_POSES if is_kept else ""
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
        self._gaps: list[tuple[int, int]] = []
        self._at = first.first_sample
        self._followed = 0
        self._review: Review | None = None
        self._reviewing: Future[Review] | None = None
        self._review_from: int | None = None  # the end of the newest trial that is not reviewed yet
        self._review_problem = self._refit_problem = ""
        self._failure = ""
        self._files: dict[str, str] = {}
        self._phase: Phase | None = None  # where it is not the conductor's
        self._part = folder.new_part()
        self._opened = ExitStack()
        self._first = first

    def __enter__(self) -> Self:
        plan, info, first = self._folder.plan, self._info, self._first
        is_int16 = first.samples.dtype == np.int16
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
            sensor_names=self._sensors[0],
            sensor_units=self._sensors[1],
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
        return Phase.POSES if self._is_posing else self.conductor.phase

    @property
    def _is_posing(self) -> bool:
        return self._hand is not None and self._hand.is_posing and not self.is_over

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
        if self._hand is not None:
            for taken, at in self._hand.take(self._at, block.arrival_ns):
                self._writer.sensors(taken.device_s, taken.arrival_ns, taken.values, at)
        self._cued(self.conductor.advance(self._at))  # while poses are held it only learns the time
        if self._hand is not None:
            self._pose(self._hand)
        self._track()
        self._look_after()

    def ask(self, name: str, arguments: Mapping[str, object], who: str) -> dict[str, object]:
        """What a person asks (view.COMMANDS). NervehandError where it cannot be done now, or is not known."""
        if name in ("pose", "poses"):
            if self._hand is None:
                raise NervehandError("there are no poses: nothing measures an able hand")
            if name == "pose":
                self._person.pose(self._hand.take_pose(self._at), self._at)
            else:
                self._pose_again(self._hand)
            self._notice = ""
            self._note(f"{name} ({who})")
            return {"phase": self.phase.value}
        if self._hand is not None and self._hand.is_posing:
            may_wait = name in ("finish", "stop") or self._hand.is_calibrated
            if name in ("start", "next", "resume") or not may_wait:
                self._leave_poses(self._hand)
        if name in ("start", "next", "resume"):
            steps = {
                "start": self.conductor.start,
                "next": self.conductor.next,
                "resume": self.conductor.resume,
            }
            self._cued(steps[name]())
            self._notice = ""  # it goes on: what was to be heard while it waited has been
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
        self._note(f"{name}{about} ({who})")
        if name in ("redo", "accept", "leave_out", "finish", "pause", "stop"):
            self._notice = f"{name.replace('_', ' ')}{about}: {who}"
        return {"phase": self.phase.value}

    def _note(self, text: str) -> None:
        self._writer.note(Note(self._writer.present_sample, text))

    @property
    def is_measuring(self) -> bool:
        """Whether a pose is being held, or the hand comes back from the last."""
        return self._hand is not None and self._hand.is_measuring

    @property
    def pose_problem(self) -> str:
        """Why the last pose did not do; "" where it did."""
        return "" if self._hand is None else self._hand.pose_problem

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
        able, pose = None, ""
        if self._hand is not None:
            able = self._hand.positions
            if self.phase is Phase.POSES:
                left_s, phase_s = self._hand.left_s(self._at), None
                pose = "" if self._hand.asked is None else self._hand.asked.value
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
            has_poses=self._hand is not None and self._hand.is_calibrated,
            left_s=left_s,
            phase_s=phase_s,
            target=conductor.target(self._at),
            able=None if able is None else _positions(able),
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
        if self._hand is not None and self._hand.problem:
            return self._hand.problem
        return (self.pose_problem if self.phase is Phase.POSES else "") or self._review_problem

    def _pose_again(self, hand: AbleHand) -> None:
        """Only where nothing is under way: a trial is measured by one calibration from its beginning to its end. Asked
        for once more, the calibration of before counts on."""
        if hand.is_posing:
            self._leave_poses(hand)
            return
        if self.conductor.phase not in (Phase.READY, Phase.PAUSED, Phase.ROUND_DONE):
            raise NervehandError("a round is under way: pause it, then hold the poses again")
        hand.pose_again()

    def _leave_poses(self, hand: AbleHand) -> None:
        hand.leave_poses()
        self._person.pose(Pose.RELAXED, self._at)

    def _pose(self, hand: AbleHand) -> None:
        is_completed, made = hand.advance(self._at)
        if is_completed:
            self._person.pose(Pose.RELAXED, self._at)
        if made is not None:
            self._append("hand", HandRecord(self._part.name, self._at, made))
            if made.left_out:
                self._notice = f"without {', '.join(made.left_out)}: too little was seen of it"

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
        if self._hand is None:
            record = self._judge_nerve(record)
        self.conductor.judged(record)
        self._append("trial", self.conductor.records[record.number])
        if self._hand is not None:
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
        is_there = self._hand is not None and self._hand.arrived >= until
        return is_there or self._at >= until + PATIENCE_S * self._info.rate_hz

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
        features, readings = tuple(self._features), () if self._hand is None else tuple(self._hand.readings)
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
        if self._phase is None and under_way is not None and under_way[0] not in self._fits:
            done.append(FitView(under_way[0], under_way[1], {}))
        return tuple(done)


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


__all__ = ["Able", "Onlooker", "Person", "Runner"]
