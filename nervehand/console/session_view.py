"""A recorded session as a page shows it: its facts, its trials, and what was there at any moment of it.

All of it reads HDF5: pages have it done by the child process of `reading`.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from calibration.postures import postures_of
from decoder.session.model import Session, trials
from decoder.session.reader import read_session
from firmware_bridge.errors import NervehandError
from firmware_bridge.hand import DOF_NAMES, N_DOF
from nervehand.console.texts import say
from nervehand.console.views import NOWHERE, ChannelSeen, Six

COLUMN_S = 0.025
"""A pair of extremes stands for so much of a signal."""
WINDOW_S = 4.0
"""What is seen of the signals at a time."""
CHUNK_S = 10.0
EXPORT_HZ = 50.0
MOST_CHANNELS = 16


@dataclass(frozen=True, slots=True)
class SessionFacts:
    """What a list of sessions says of one; `problem` where it cannot be read, and then nothing else is known."""

    path: Path
    subject: str = ""
    side: str = ""
    start_time: str = ""
    duration_s: float = 0.0
    n_channels: int = 0
    rate_hz: float = 0.0
    kind: str = ""
    problem: str = ""


@dataclass(frozen=True, slots=True)
class TrialRow:
    """A trial in the table; times from the recording's first sample."""

    number: int
    movement: str
    repetition: int
    start_s: float
    duration_s: float


@dataclass(frozen=True, slots=True)
class Moment:
    """What was there at one time of a recording."""

    decoded: Six
    truth: Six
    gesture: str
    confidence: float
    warming: bool
    cue: str
    trial: int
    has_intent: bool = True
    """Whether a decoder had said anything by then."""


@dataclass(frozen=True, slots=True)
class SessionAbout:
    """What does not change while a page goes through a session. `changed_ns` is its file's, since the epoch."""

    changed_ns: int
    subject: str
    side: str
    array: str
    bundle: str
    duration_s: float
    trials: tuple[TrialRow, ...]


def facts_of(path: Path) -> SessionFacts:
    """From the file's header alone."""
    try:
        session = read_session(path, signal_only=True)
    except NervehandError as error:
        return SessionFacts(path, problem=str(error))
    info, meta = session.info, session.meta
    facts = SessionFacts(
        path,
        meta.subject,
        meta.side,
        meta.start_time,
        session.duration_s,
        info.n_channels,
        info.rate_hz,
        info.kind,
    )
    close = getattr(session.signal, "close", None)
    if close is not None:
        close()
    return facts


class SessionView:
    """One session, opened; its signal stays on the disk."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self.side = session.meta.side or "right"
        self._rate_hz = session.info.rate_hz
        self._postures = np.nan_to_num(postures_of(session.gesture_names, session.postures))
        self._has_dofs = bool(set(DOF_NAMES) & set(session.truth_names))
        self._chunk = lru_cache(maxsize=16)(self._read_chunk)
        self.trials = tuple(
            TrialRow(
                one.id, session.gesture_names[one.gesture], one.repetition, one.start / self._rate_hz,
                (one.stop - one.start) / self._rate_hz,
            )
            for one in trials(session)
        )  # fmt: skip

    @property
    def duration_s(self) -> float:
        return self.session.duration_s

    def truth_at(self, row: int) -> Six:
        """The able hand's six positions, where its columns are named so; else the posture that the labels mean."""
        session = self.session
        if self._has_dofs and session.truth is not None:
            names = session.truth_names
            return tuple(
                float(session.truth[row, names.index(dof)]) if dof in names else 0.0 for dof in DOF_NAMES
            )
        if session.labels is not None:
            return tuple(self._postures[int(session.labels[row])].tolist())
        return NOWHERE

    def at(self, time_s: float) -> Moment:
        """What was there at that time; the newest intent before it."""
        session = self.session
        row = min(max(int(time_s * self._rate_hz), 0), session.n_samples - 1)
        cue = "" if session.labels is None else session.gesture_names[int(session.labels[row])]
        trial = 0 if session.trial is None else int(session.trial[row])
        intents = session.recorded.intents
        hop = -1
        if intents is not None:
            hop = int(np.searchsorted(intents.sample_index, session.first_sample + row, side="right")) - 1
        if intents is None or hop < 0:
            return Moment(NOWHERE, self.truth_at(row), "", 0.0, False, cue, trial, has_intent=False)
        names = session.gesture_names
        gesture = int(intents.gesture[hop])
        return Moment(
            decoded=tuple(intents.positions[hop].tolist()),
            truth=self.truth_at(row),
            gesture=names[gesture] if gesture < len(names) else str(gesture),
            confidence=float(intents.probability[hop]),
            warming=bool(intents.warming[hop]),
            cue=cue,
            trial=trial,
        )

    def channels_at(self, time_s: float) -> tuple[ChannelSeen, ...]:
        """The signals of the WINDOW_S before that time, as lowest and highest of every COLUMN_S."""
        n_columns = round(WINDOW_S / COLUMN_S)
        stop = max(int(time_s / COLUMN_S), 1)
        per_chunk = round(CHUNK_S / COLUMN_S)
        first = max(stop - n_columns, 0)
        parts = [self._chunk(i) for i in range(first // per_chunk, (stop - 1) // per_chunk + 1)]
        low = np.concatenate([part[0] for part in parts])
        high = np.concatenate([part[1] for part in parts])
        offset = first - first // per_chunk * per_chunk
        low, high = low[offset : offset + stop - first], high[offset : offset + stop - first]
        masked = self._masked_at(time_s)
        return tuple(
            ChannelSeen(name, float("nan"), masked[i], tuple(low[:, i].tolist()), tuple(high[:, i].tolist()))
            for i, name in enumerate(self.session.info.channel_names[:MOST_CHANNELS])
        )

    def positions_npz(self) -> bytes:
        """At EXPORT_HZ: `time_s` (k,), `decoded` and `truth` (k, 6) in -1..1, NaN where there is none, and `dofs`."""
        times = np.arange(0.0, self.duration_s, 1 / EXPORT_HZ)
        decoded = np.full((len(times), N_DOF), np.nan, np.float32)
        truth = np.full((len(times), N_DOF), np.nan, np.float32)
        for i, time_s in enumerate(times.tolist()):
            moment = self.at(time_s)
            decoded[i], truth[i] = moment.decoded, moment.truth
        out = io.BytesIO()
        np.savez_compressed(out, time_s=times, decoded=decoded, truth=truth, dofs=np.array(DOF_NAMES))
        return out.getvalue()

    def _read_chunk(self, number: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Lowest and highest (columns, channels) in µV of the CHUNK_S of that number."""
        per_column = max(1, round(COLUMN_S * self._rate_hz))
        per_chunk = round(CHUNK_S / COLUMN_S) * per_column
        rows = self.session.microvolts(
            number * per_chunk, min((number + 1) * per_chunk, self.session.n_samples)
        )
        rows = rows[:, :MOST_CHANNELS]
        rows = np.nan_to_num(rows - np.nanmedian(rows, axis=0)) if len(rows) else rows
        n_columns = -(-len(rows) // per_column)
        padded = np.pad(rows, ((0, n_columns * per_column - len(rows)), (0, 0)), mode="edge")
        columns = padded.reshape(n_columns, per_column, rows.shape[1])
        return columns.min(1), columns.max(1)

    def _masked_at(self, time_s: float) -> list[str]:
        health = self.session.recorded.health
        names = self.session.info.channel_names[:MOST_CHANNELS]
        if health is None:
            return [""] * len(names)
        at = self.session.first_sample + int(time_s * self._rate_hz)
        i = int(np.searchsorted(health.sample_index, at, side="right")) - 1
        return [say("channel.masked") if i >= 0 and health.mask[i, c] else "" for c in range(len(names))]


def table_csv(trials: Iterable[TrialRow]) -> str:
    """The trials as CSV."""
    out = io.StringIO()
    table = csv.writer(out)
    table.writerow(["trial", "movement", "repetition", "start_s", "duration_s"])
    for row in trials:
        table.writerow(
            [row.number, row.movement, row.repetition, f"{row.start_s:.4f}", f"{row.duration_s:.4f}"]
        )
    return out.getvalue()


@lru_cache(maxsize=4)
def _opened(path: Path, changed_ns: int) -> SessionView:
    return SessionView(read_session(path))


def open_session(path: Path) -> SessionView:
    """The session at a path, opened once until its file changes; NervehandError where it is none."""
    return _opened(path, _changed_ns(path))


def about_of(path: Path) -> SessionAbout:
    """Open it, and say what it is; NervehandError where it is none."""
    changed_ns = _changed_ns(path)
    view = _opened(path, changed_ns)
    session = view.session
    return SessionAbout(
        changed_ns, session.meta.subject, view.side, session.meta.array, session.recorded.bundle, view.duration_s,
        view.trials,
    )  # fmt: skip


def seen_at(
    path: Path, changed_ns: int, time_s: float, has_signals: bool
) -> tuple[Moment, tuple[ChannelSeen, ...]]:
    """What a page shows of one time; no channels without `has_signals`. A file that grows is not opened again."""
    view = _opened(path, changed_ns)
    return view.at(time_s), view.channels_at(time_s) if has_signals else ()


def positions_of(path: Path) -> bytes:
    """`SessionView.positions_npz` of the session there."""
    return open_session(path).positions_npz()


def _changed_ns(path: Path) -> int:
    try:
        return path.stat().st_mtime_ns
    except OSError as error:
        raise NervehandError(f"{path}: cannot be read ({error.strerror}): look for sessions again") from None
