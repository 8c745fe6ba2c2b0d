"""The recordings of a calibration as labelled sessions: aligned truth, labels, trials, and what teaches nothing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from calibration.alignment.review import Readings, Review, review
from calibration.folder import CalibrationFolder, Plan
from calibration.front_end import default_front_end
from calibration.paradigm import Paradigm
from calibration.records import AlignmentRecord, Reason, TrialRecord, Verdict
from calibration.truth.hand_calibration import HandCalibration
from decoder.conditioning_design import design
from decoder.front_end import Features, FrontEnd
from decoder.health_settings import default_health
from decoder.session.model import Gap, Session, SessionMeta, iter_blocks
from decoder.session.reader import read_session, tail_of
from decoder.session.recorded import Event, EventKind, Recorded, SensorReadings
from decoder.session.recover import salvage
from firmware_bridge.errors import NervehandError
from firmware_bridge.hand import DOF_NAMES

MOVING = 0.1
"""A hand is on its way from this part of a movement's peak on: where minimum-jerk motion is after 0.2 of its time."""
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


@contextmanager
def labelled(folder: CalibrationFolder, up_to_round: int | None = None) -> Iterator[list[Labelled]]:
    """Each recording of a calibration with its trials, the one that still grows included, while its files are open.

    `up_to_round` leaves later rounds out. Recordings without a trial are left out. Raises NervehandError where none
    has one.
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
            is_open = tail_of(path).exists()
            session = opened.enter_context(salvage(path)).session if is_open else read_session(path)
            found.append(label(session, mine, folder.plan.paradigm, kept.hand))
        if not found:
            raise NervehandError(f"{folder.path}: no trial was finished: there is nothing to learn from")
        yield found


def label(
    session: Session, records: Sequence[TrialRecord], paradigm: Paradigm, hand: HandCalibration | None
) -> Labelled:
    """One recording, reviewed as a whole and labelled. `hand` None: nothing was measured, and the labels are cues."""
    features, compress, hop = _features(session)
    truth = known = alignment = None
    reviewed = tuple(records)
    if hand is not None:
        found = _reviewed(session, records, paradigm, hand, features, compress, hop)
        reviewed = tuple(
            _with_losses(after, before) for after, before in zip(found.trials, records, strict=True)
        )
        alignment = found.alignment
        at = np.arange(session.first_sample, session.first_sample + session.n_samples)
        truth = np.stack(
            [np.interp(at, features.sample_index, column) for column in found.positions.T], axis=1
        ).astype(np.float32)
        known = found.known
    labels, trial, repetition = _columns(session, reviewed, paradigm, truth)
    out = _left_out(session, reviewed, features, known)
    events = tuple(event for event in session.recorded.events if event.kind != EventKind.LEFT_OUT)
    return Labelled(
        replace(
            session,
            labels=labels,
            gesture_names=paradigm.gesture_names,
            trial=trial,
            repetition=repetition,
            truth=truth,
            truth_names=() if truth is None else DOF_NAMES,
            truth_units=() if truth is None else (TRUTH_UNIT,) * len(DOF_NAMES),
            postures=paradigm.postures,
            recorded=replace(
                session.recorded,
                events=tuple(
                    sorted(
                        (*events, *(Event(a, EventKind.LEFT_OUT, b - a) for a, b in out)),
                        key=lambda event: event.sample_index,
                    )
                ),
            ),
        ),
        reviewed,
        alignment,
    )


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


def _features(session: Session) -> tuple[Features, tuple[object, ...], int]:
    choice = default_front_end(session.info)
    front_end = FrontEnd(
        session.info,
        design(choice.conditioning, session.info),
        choice.feature_set,
        choice.settings,
        default_health(session.info.kind),
    )
    block = max(1, round(session.info.rate_hz))
    parts = [front_end.process(one)[0] for one in iter_blocks(session, block)]
    features = Features(
        np.concatenate([part.values for part in parts]),
        np.concatenate([part.masked for part in parts]),
        np.concatenate([part.sample_index for part in parts]),
        np.concatenate([part.healthy_fraction for part in parts]),
    )
    hop = choice.settings.hop_samples * choice.conditioning.decimation
    return features, choice.compress(front_end.feature_names), hop


def _reviewed(
    session: Session,
    records: Sequence[TrialRecord],
    paradigm: Paradigm,
    hand: HandCalibration,
    features: Features,
    compress: tuple[object, ...],
    hop: int,
) -> Review:
    sensors = session.recorded.sensors
    if sensors is None:
        raise NervehandError(
            f"{session.meta.identifier} holds no reading of the able hand: check what measures it"
        )
    readings = Readings(
        sensors.device_s, sensors.sample_index, hand.positions(sensors.values), sensors.values
    )
    postures = {movement.name: movement.posture for movement in paradigm.movements}
    return review(records, readings, features, compress, postures, session.info.rate_hz, hop)  # type: ignore[arg-type]


def _with_losses(after: TrialRecord, before: TrialRecord) -> TrialRecord:
    """That samples were lost is known only where they were received."""
    if Reason.SAMPLES_LOST not in before.reasons or Reason.SAMPLES_LOST in after.reasons:
        return after
    return replace(after, verdict=Verdict.BAD, reasons=(*after.reasons, Reason.SAMPLES_LOST))


def _columns(
    session: Session,
    records: Sequence[TrialRecord],
    paradigm: Paradigm,
    truth: NDArray[np.float32] | None,
) -> tuple[NDArray[np.int16], NDArray[np.int32], NDArray[np.int16]]:
    n, first = session.n_samples, session.first_sample
    labels, trial, repetition = np.zeros(n, np.int16), np.zeros(n, np.int32), np.zeros(n, np.int16)
    names = paradigm.gesture_names
    for record in records:
        rows = slice(max(0, record.first_sample - first), min(n, record.stop_sample - first))
        trial[rows], repetition[rows] = record.number, record.repetition
        gesture = names.index(record.movement)
        if truth is None:
            labels[record.cue_sample - first : record.release_sample - first] = gesture
            continue
        begin, end = _moving(truth, record, first, paradigm.postures[gesture], n)
        labels[begin:end] = gesture
    return labels, trial, repetition


def _moving(
    truth: NDArray[np.float32], record: TrialRecord, first: int, posture: NDArray[np.float32], n: int
) -> tuple[int, int]:
    """Rows from which and up to which the hand is on its way, there or back; those of the cues where it never is."""
    rows = slice(max(0, record.cue_sample - first), min(n, record.stop_sample - first))
    along = truth[rows] @ posture / float(posture @ posture)
    peak = float(along.max(initial=0.0))
    moving = np.flatnonzero(along > MOVING * peak) if peak > MOVING else np.zeros(0, np.int64)
    if not len(moving):
        return max(0, record.cue_sample - first), max(0, record.release_sample - first)
    return rows.start + int(moving[0]), rows.start + int(moving[-1]) + 1


def _left_out(
    session: Session, records: Sequence[TrialRecord], features: Features, known: NDArray[np.bool_] | None
) -> list[tuple[int, int]]:
    """Absolute ranges of which nothing is to be learned: all but the used trials with the rests between them, and where
    the able hand is unknown."""
    n, first = session.n_samples, session.first_sample
    out = np.ones(n, np.bool_)
    for record in records:
        if record.is_used:
            out[max(0, record.first_sample - first) : max(0, record.stop_sample - first)] = False
    longest = round(LONGEST_REST_S * session.info.rate_hz)
    for one, other in pairwise(record for record in records if record.is_used):
        # A number that is missing between them was broken off, and its movement lies there.
        if other.number == one.number + 1 and 0 <= other.first_sample - one.stop_sample <= longest:
            out[max(0, one.stop_sample - first) : max(0, other.first_sample - first)] = False
    if known is not None:
        hop = int(np.median(np.diff(features.sample_index))) if len(features.sample_index) > 1 else 1
        for index in features.sample_index[~known].tolist():
            out[max(0, index - first - hop + 1) : max(0, index - first + 1)] = True
    edges = np.flatnonzero(np.diff(np.concatenate(([False], out, [False])).astype(np.int8)))
    return [(first + int(a), first + int(b)) for a, b in zip(edges[::2], edges[1::2], strict=True)]


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
