"""The recordings of a calibration as labelled sessions: aligned truth, labels, trials, and what teaches nothing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from calibration.alignment.labels import aligned_truth, label_session
from calibration.alignment.review import Readings, Review, review
from calibration.folder import CalibrationFolder, Plan
from calibration.front_end import default_front_end
from calibration.paradigm import Paradigm
from calibration.records import AlignmentRecord, HandRecord, Reason, TrialRecord, Verdict
from decoder.conditioning_design import design
from decoder.front_end import Features, FrontEnd
from decoder.health_settings import default_health
from decoder.session.model import Gap, Session, SessionMeta, iter_blocks
from decoder.session.reader import read_session, tail_of
from decoder.session.recorded import Event, EventKind, Recorded, SensorReadings
from decoder.session.recover import salvage
from firmware_bridge.errors import NervehandError
from firmware_bridge.hand import DOF_NAMES

BETWEEN_S = 1.0
"""Between two recordings of one calibration, put after each other; how long it really was, nobody knows."""
LONGEST_REST_S = 10.0
"""Between two trials: who is not asked for anything for longer may do anything."""
TRUTH_UNIT = "position"


@dataclass(frozen=True)
class Labelled:
    """A recording with labels, truth and trials; the trials made in it, reviewed; and how it was aligned."""

    session: Session
    trials: tuple[TrialRecord, ...]
    alignment: AlignmentRecord | None

    @property
    def used(self) -> tuple[TrialRecord, ...]:
        """The trials to learn from."""
        return tuple(trial for trial in self.trials if trial.is_used)

    @property
    def taught(self) -> tuple[TrialRecord, ...]:
        """Of these, the trials in which the movement can be seen: the others kept no label."""
        assert self.session.trial is not None
        assert self.session.labels is not None  # `label` gives both
        seen = set(np.unique(self.session.trial[self.session.labels > 0]).tolist())
        return tuple(trial for trial in self.used if trial.number in seen)


@contextmanager
def labelled(folder: CalibrationFolder, up_to_round: int | None = None) -> Iterator[list[Labelled]]:
    """Each recording of a calibration with its trials, the one that still grows included, while its files are open.

    `up_to_round` leaves later rounds out. Recordings without a trial are left out. A recording that is too short to
    tell how late the able hand is has the lag of the one that tells it best. NervehandError where none has a trial, and
    where the able hand was measured but its calibration is lost.
    """
    kept = folder.kept()
    with ExitStack() as opened:
        found = []
        for path in folder.parts:
            mine = [one for _, one in sorted(kept.records.items()) if one.recording == path.name]
            if up_to_round is not None:
                mine = [one for one in mine if one.round_number <= up_to_round]
            if not mine:
                continue
            hands = kept.hands_of(path.name)
            if folder.plan.truth and not _covered(hands, path.name, mine):
                raise NervehandError(
                    f"{folder.path}: the calibration of the able hand is missing from its journal"
                    f"{f', of which {kept.damaged} lines are damaged' if kept.damaged else ''}: restore it from a "
                    "copy, or begin another calibration"
                )
            is_open = tail_of(path).exists()
            session = opened.enter_context(salvage(path)).session if is_open else read_session(path)
            found.append((session, mine, hands))
        if not found:
            raise NervehandError(f"{folder.path}: no trial was finished: there is nothing to learn from")
        paradigm = folder.plan.paradigm
        made = [label(session, mine, paradigm, hands) for session, mine, hands in found]
        told = [one.alignment for one in made if one.alignment is not None and one.alignment.lag_confidence]
        if told:
            lag_s = max(told, key=lambda one: one.lag_confidence).lag_s
            for i, one in enumerate(made):
                if one.alignment is not None and not one.alignment.lag_confidence:
                    session, mine, hands = found[i]
                    made[i] = label(session, mine, paradigm, hands, lag_s)
        yield made


def label(
    session: Session,
    records: Sequence[TrialRecord],
    paradigm: Paradigm,
    hands: Sequence[HandRecord],
    known_lag_s: float | None = None,
) -> Labelled:
    """One recording, reviewed as a whole and labelled. Without `hands` nothing was measured, and the labels are cues.

    `hands` are what `Kept.hands_of` says of it; `known_lag_s` is taken where its own trials are too few to tell the
    lag.
    """
    if not hands:
        return _by_cues(session, records, paradigm)
    found = _reviewed(session, records, paradigm, hands, known_lag_s)
    reviewed = tuple(_with_losses(after, before) for after, before in zip(found.trials, records, strict=True))
    lag_s = found.alignment.lag_s
    made = label_session(
        found.trace,
        reviewed,
        lag_s,
        {movement.name: movement.posture for movement in paradigm.movements},
        paradigm.gesture_names,
        session.first_sample,
        session.n_samples,
        by_trial=True,
    )
    truth, known = made.truth.copy(), made.known.copy()
    for first, stop in _rests(session, reviewed):
        if any(one.recording == reviewed[0].recording and first <= one.sample_index < stop for one in hands):
            continue  # poses were held
        rows = slice(first - session.first_sample, stop - session.first_sample)
        truth[rows], known[rows] = aligned_truth(found.trace, lag_s, first, stop)
    columns = _Columns(made.labels, made.trial, made.repetition, truth, ~known)
    return Labelled(_with(session, columns, paradigm), reviewed, found.alignment)


def joined(parts: Sequence[Labelled], plan: Plan) -> Labelled:
    """All recordings as one session, a second of nothing between two of them; trials keep their numbers."""
    if len(parts) == 1:
        session = replace(parts[0].session, meta=_meta(parts[0].session.meta, plan))
        return replace(parts[0], session=session)
    first = parts[0].session
    between = round(BETWEEN_S * first.info.rate_hz)
    moved, start = [], first.first_sample
    for part in parts:
        moved.append(_moved(part, start - part.session.first_sample))
        start += part.session.n_samples + between
    sessions = [part.session for part in moved]
    for other in sessions[1:]:
        if other.info != first.info or other.scale_uv != first.scale_uv:
            raise NervehandError(
                f"{other.meta.identifier} was recorded with another stream than {first.meta.identifier}: "
                "they make no one session"
            )
    gaps = [gap for one in sessions for gap in one.gaps]
    gaps += [
        Gap(one.first_sample + one.n_samples, one.first_sample + one.n_samples + between)
        for one in sessions[:-1]
    ]
    blank = {
        "signal": np.zeros((between, first.info.n_channels), first.signal.dtype),
        "labels": np.zeros(between, np.int16),
        "trial": np.zeros(between, np.int32),
        "repetition": np.zeros(between, np.int16),
    }

    def stacked(name: str) -> NDArray[np.generic]:
        pieces = []
        for one in sessions:
            values = one.signal[slice(None)] if name == "signal" else getattr(one, name)
            pieces += [np.asarray(values), blank[name]]
        return np.concatenate(pieces[:-1])

    truth = None
    if all(one.truth is not None for one in sessions):
        held = [np.asarray(one.truth) for one in sessions]
        truth = np.concatenate(
            [row for one in held for row in (one, np.repeat(one[-1:], between, axis=0))][:-1]
        ).astype(np.float32)
    session = replace(
        first,
        meta=_meta(first.meta, plan),
        signal=stacked("signal"),  # type: ignore[arg-type]  # of the sessions' own type
        labels=stacked("labels").astype(np.int16),
        trial=stacked("trial").astype(np.int32),
        repetition=stacked("repetition").astype(np.int16),
        truth=truth,
        truth_names=first.truth_names if truth is not None else (),
        truth_units=first.truth_units if truth is not None else (),
        gaps=tuple(sorted(gaps, key=lambda gap: gap.start)),
        recorded=_joined_recorded([one.recorded for one in sessions]),
        digital=None,
    )
    trials = tuple(trial for part in moved for trial in part.trials)
    longest = max(parts, key=lambda part: len(part.trials))
    return Labelled(session, trials, longest.alignment)


@dataclass(frozen=True)
class _Columns:
    """What a recording is labelled with, a value per sample; `out` where nothing is to be learned."""

    labels: NDArray[np.int16]
    trial: NDArray[np.int32]
    repetition: NDArray[np.int16]
    truth: NDArray[np.float32] | None
    out: NDArray[np.bool_]


def _by_cues(session: Session, records: Sequence[TrialRecord], paradigm: Paradigm) -> Labelled:
    n, first = session.n_samples, session.first_sample
    labels, trial, repetition = np.zeros(n, np.int16), np.zeros(n, np.int32), np.zeros(n, np.int16)
    out = np.ones(n, np.bool_)
    for one in (record for record in records if record.is_used):
        rows = slice(one.first_sample - first, one.stop_sample - first)
        trial[rows], repetition[rows], out[rows] = one.number, one.repetition, False
        gesture = paradigm.gesture_names.index(one.movement)
        labels[one.cue_sample - first : one.release_sample - first] = gesture
    for begin, end in _rests(session, records):
        out[begin - first : end - first] = False
    columns = _Columns(labels, trial, repetition, None, out)
    return Labelled(_with(session, columns, paradigm), tuple(records), None)


def _with(session: Session, columns: _Columns, paradigm: Paradigm) -> Session:
    edges = np.flatnonzero(np.diff(np.concatenate(([False], columns.out, [False])).astype(np.int8)))
    spans = (edges + session.first_sample).reshape(-1, 2).tolist()
    events = [event for event in session.recorded.events if event.kind != EventKind.LEFT_OUT]
    events += [Event(first, EventKind.LEFT_OUT, stop - first) for first, stop in spans]
    truth = columns.truth
    return replace(
        session,
        labels=columns.labels,
        gesture_names=paradigm.gesture_names,
        trial=columns.trial,
        repetition=columns.repetition,
        truth=truth,
        truth_names=() if truth is None else DOF_NAMES,
        truth_units=() if truth is None else (TRUTH_UNIT,) * len(DOF_NAMES),
        postures=paradigm.postures,
        recorded=replace(
            session.recorded, events=tuple(sorted(events, key=lambda event: event.sample_index))
        ),
    )


def _rests(session: Session, records: Sequence[TrialRecord]) -> Iterator[tuple[int, int]]:
    """Absolute ranges between two used trials in which the person just rested.

    A number that is missing between them was broken off, and its movement lies there.
    """
    longest = round(LONGEST_REST_S * session.info.rate_hz)
    for one, other in pairwise(records):
        is_near = 0 < other.first_sample - one.stop_sample <= longest
        if one.is_used and other.is_used and other.number == one.number + 1 and is_near:
            yield one.stop_sample, other.first_sample


def _reviewed(
    session: Session,
    records: Sequence[TrialRecord],
    paradigm: Paradigm,
    hands: Sequence[HandRecord],
    known_lag_s: float | None,
) -> Review:
    sensors = session.recorded.sensors
    if sensors is None:
        raise NervehandError(
            f"{session.meta.identifier} holds no reading of the able hand: check what measures it"
        )
    choice = default_front_end(session.info)
    front_end = FrontEnd(
        session.info,
        design(choice.conditioning, session.info),
        choice.feature_set,
        choice.settings,
        default_health(session.info.kind),
    )
    block = max(1, round(session.info.rate_hz))
    features = joined_features([front_end.process(one)[0] for one in iter_blocks(session, block)])
    positions = _positions(sensors, hands, records[0].recording)
    readings = Readings(sensors.device_s, sensors.sample_index, positions, sensors.values)
    return review(
        records,
        readings,
        features,
        choice.compress(front_end.feature_names),
        {movement.name: movement.posture for movement in paradigm.movements},
        session.info.rate_hz,
        choice.settings.hop_samples * choice.conditioning.decimation,
        feature_names=front_end.feature_names,
        known_lag_s=known_lag_s,
    )


def _covered(hands: Sequence[HandRecord], recording: str, records: Sequence[TrialRecord]) -> bool:
    """Whether the first of the trials, and so each, was measured by a calibrated hand."""
    first = min(one.first_sample for one in records)
    return any(one.recording != recording or one.sample_index <= first for one in hands)


def _positions(sensors: SensorReadings, hands: Sequence[HandRecord], recording: str) -> NDArray[np.float32]:
    """What the sensors said, each reading by the calibration that it was made under; before the first one by that."""
    positions = hands[0].calibration.positions(sensors.values)
    for one in hands:
        if one.recording == recording:
            after = sensors.sample_index >= one.sample_index
            positions[after] = one.calibration.positions(sensors.values[after])
    return positions


def joined_features(parts: Sequence[Features]) -> Features:
    """Features of successive blocks as one."""
    return Features(
        np.concatenate([part.values for part in parts]),
        np.concatenate([part.masked for part in parts]),
        np.concatenate([part.sample_index for part in parts]),
        np.concatenate([part.healthy_fraction for part in parts]),
    )


def _with_losses(after: TrialRecord, before: TrialRecord) -> TrialRecord:
    """That samples were lost is known only where they were received."""
    if Reason.SAMPLES_LOST not in before.reasons or Reason.SAMPLES_LOST in after.reasons:
        return after
    return replace(after, verdict=Verdict.BAD, reasons=(*after.reasons, Reason.SAMPLES_LOST))


def _meta(meta: SessionMeta, plan: Plan) -> SessionMeta:
    return replace(meta, identifier=plan.identifier, start_time=plan.started)


def _moved(part: Labelled, by: int) -> Labelled:
    """A recording whose first sample is `by` later."""
    session, recorded = part.session, part.session.recorded
    sensors = recorded.sensors
    if sensors is not None:
        sensors = replace(sensors, sample_index=sensors.sample_index + by)
    health = recorded.health
    if health is not None:
        health = replace(health, sample_index=health.sample_index + by)
    return Labelled(
        replace(
            session,
            first_sample=session.first_sample + by,
            gaps=tuple(Gap(gap.start + by, gap.stop + by) for gap in session.gaps),
            recorded=replace(
                recorded,
                sensors=sensors,
                health=health,
                events=tuple(replace(e, sample_index=e.sample_index + by) for e in recorded.events),
                notes=tuple(replace(note, sample_index=note.sample_index + by) for note in recorded.notes),
            ),
        ),
        tuple(
            replace(
                trial,
                first_sample=trial.first_sample + by,
                cue_sample=trial.cue_sample + by,
                release_sample=trial.release_sample + by,
                stop_sample=trial.stop_sample + by,
            )
            for trial in part.trials
        ),
        part.alignment,
    )


def _joined_recorded(parts: Sequence[Recorded]) -> Recorded:
    first = parts[0]
    sensors = [part.sensors for part in parts if part.sensors is not None]
    health = [part.health for part in parts if part.health is not None]
    return replace(
        first,
        sensors=None
        if not sensors
        else SensorReadings(
            np.concatenate([one.sample_index for one in sensors]),
            np.concatenate([one.device_s for one in sensors]),
            np.concatenate([one.arrival_ns for one in sensors]),
            np.concatenate([one.values for one in sensors]),
            sensors[0].names,
            sensors[0].units,
        ),
        health=None
        if not health
        else replace(
            health[0],
            sample_index=np.concatenate([one.sample_index for one in health]),
            mask=np.concatenate([one.mask for one in health]),
        ),
        events=tuple(event for part in parts for event in part.events),
        notes=tuple(note for part in parts for note in part.notes),
    )
