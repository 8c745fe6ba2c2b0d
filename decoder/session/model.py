"""A session: one recording with its ground truth, labels and trials, in memory or read lazily from a file."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from decoder.session.digital import DigitalLines
from decoder.session.recorded import NOTHING_RECORDED, EventKind, Recorded
from firmware_bridge.errors import NervehandError
from firmware_bridge.hand import N_DOF
from firmware_bridge.stream import SignalBlock, StreamInfo

FORMAT_VERSION = 1
SIDES = ("", "left", "right")
READ_AHEAD_ROWS = 1 << 16

Samples = NDArray[np.float32] | NDArray[np.int16]


class StoredSignal(Protocol):
    """An (n, c) array of float32 or int16 that is read by slices of rows, in memory or on disk."""

    @property
    def shape(self) -> tuple[int, ...]: ...

    @property
    def dtype(self) -> np.dtype[np.float32] | np.dtype[np.int16]: ...

    def __getitem__(self, key: slice, /) -> Samples: ...


@dataclass(frozen=True, slots=True)
class SessionMeta:
    """Whose recording this is, and how it was made.

    `subject` is a pseudonym; `side` is the side of the residual limb, '' where unknown; `start_time` is ISO
    8601 with an offset from UTC, '' where unknown; `array` names the electrode array or the armband.
    """

    identifier: str
    subject: str = ""
    side: str = ""
    start_time: str = ""
    description: str = ""
    array: str = ""
    format_version: int = FORMAT_VERSION

    def __post_init__(self) -> None:
        if not self.identifier:
            raise NervehandError("the session has no identifier: give it a unique name")
        if self.side not in SIDES:
            raise NervehandError(f"side is {self.side!r}: use left, right, or nothing where it is unknown")


@dataclass(frozen=True, slots=True)
class Gap:
    """Samples `start` up to and without `stop` (absolute indices) were never received."""

    start: int
    stop: int


@dataclass(frozen=True, slots=True)
class Session:
    """One recording of n samples and c channels; row i of every array is the sample `first_sample + i`.

    `signal` (n, c) is float32 in microvolts, or int16 with `scale_uv` microvolts per count; it may hold
    values that are not finite, which the decoder masks. Rows inside `gaps` are fill and were not received.
    `labels` (n,) int16 index `gesture_names`, whose entry 0 is rest. `trial` (n,) int32 holds unique ids and
    `repetition` (n,) int16 which time a movement was made, both 0 where there is none. `truth` (n, d) float32
    has one column per name and unit. `postures` (n_gestures, 6) float32 gives the six positions (DOF_NAMES,
    -1..1) of each gesture, NaN where unknown. `recorded` is what a live recording holds besides;
    `digital` None: the front-end has no digital lines.
    """

    info: StreamInfo
    meta: SessionMeta
    signal: StoredSignal
    scale_uv: float = 1.0
    first_sample: int = 0
    labels: NDArray[np.int16] | None = None
    gesture_names: tuple[str, ...] = ("rest",)
    trial: NDArray[np.int32] | None = None
    repetition: NDArray[np.int16] | None = None
    truth: NDArray[np.float32] | None = None
    truth_names: tuple[str, ...] = ()
    truth_units: tuple[str, ...] = ()
    postures: NDArray[np.float32] | None = None
    gaps: tuple[Gap, ...] = ()
    recorded: Recorded = NOTHING_RECORDED
    digital: DigitalLines | None = None

    def __post_init__(self) -> None:
        _check_signal(self)
        _check_labels(self)
        _check_truth(self)
        _check_gaps(self)

    @property
    def n_samples(self) -> int:
        return int(self.signal.shape[0])

    @property
    def duration_s(self) -> float:
        return self.n_samples / self.info.rate_hz

    def microvolts(self, start: int = 0, stop: int | None = None) -> NDArray[np.float32]:
        """Rows start..stop (counted from 0) as float32 microvolts, a copy."""
        rows = self.signal[slice(start, self.n_samples if stop is None else stop)]
        if rows.dtype == np.int16:
            return rows.astype(np.float32) * np.float32(self.scale_uv)
        return rows.astype(np.float32)


def _check_signal(session: Session) -> None:
    shape = session.signal.shape
    if len(shape) != 2:
        raise NervehandError(f"signal has shape {shape}: give (samples, channels)")
    if shape[0] == 0:
        raise NervehandError("the session is empty (0 samples): record or import at least one sample")
    if shape[1] != session.info.n_channels:
        raise NervehandError(
            f"signal has {shape[1]} channels, the stream describes {session.info.n_channels}: make them agree"
        )
    if session.signal.dtype not in (np.dtype(np.float32), np.dtype(np.int16)):
        raise NervehandError(
            f"signal is {session.signal.dtype}: use float32 microvolts, or int16 and a scale"
        )
    if not (np.isfinite(session.scale_uv) and session.scale_uv > 0):
        raise NervehandError(f"scale is {session.scale_uv} microvolts per count: give a positive number")
    if session.first_sample < 0:
        raise NervehandError(f"first sample is {session.first_sample}: sample indices start at 0")


def _check_labels(session: Session) -> None:
    names = session.gesture_names
    if not names or len(set(names)) != len(names):
        raise NervehandError(f"gesture names are {names}: give unique names, the first of them rest")
    columns = (("labels", session.labels), ("trial", session.trial), ("repetition", session.repetition))
    for what, column in columns:
        if column is not None and column.shape != (session.n_samples,):
            raise NervehandError(
                f"{what} has shape {column.shape} for {session.n_samples} samples: give one value per sample"
            )
        if column is not None and column.min() < 0:
            raise NervehandError(f"{what} holds {column.min()}: use 0 (none, rest) and positive numbers")
    if session.labels is not None and session.labels.max() >= len(names):
        row = int(np.argmax(session.labels >= len(names)))
        raise NervehandError(
            f"label {session.labels[row]} at sample {session.first_sample + row} is outside the names"
            f" ({', '.join(names)}): name it or correct it"
        )
    postures = session.postures
    if postures is not None:
        if postures.shape != (len(names), N_DOF):
            raise NervehandError(f"postures have shape {postures.shape}: give ({len(names)}, {N_DOF})")
        if bool(np.any(np.abs(postures) > 1.0)) or bool(np.any(np.isinf(postures))):
            raise NervehandError("a posture lies outside -1..1: scale it, or write NaN where it is unknown")


def _check_truth(session: Session) -> None:
    if session.truth is None:
        if session.truth_names or session.truth_units:
            raise NervehandError("truth is named but absent: give its values, or no names")
        return
    shape = session.truth.shape
    if len(shape) != 2 or shape[0] != session.n_samples:
        raise NervehandError(
            f"truth has shape {shape} for {session.n_samples} samples: give (samples, columns)"
        )
    if len(session.truth_names) != shape[1] or len(session.truth_units) != shape[1]:
        raise NervehandError(
            f"truth has {shape[1]} columns, {len(session.truth_names)} names and {len(session.truth_units)}"
            " units: give one name and one unit per column"
        )
    if len(set(session.truth_names)) != shape[1]:
        raise NervehandError(f"truth names repeat: {', '.join(session.truth_names)}: make each one unique")
    bad = ~np.isfinite(session.truth)
    if bool(bad.any()):
        row, column = (int(i[0]) for i in np.nonzero(bad))
        raise NervehandError(
            f"truth column {session.truth_names[column]} is {session.truth[row, column]} at sample"
            f" {session.first_sample + row} ({int(bad.sum())} such values): fill or cut these samples"
        )


def _check_gaps(session: Session) -> None:
    last = session.first_sample
    for gap in session.gaps:
        if not last <= gap.start < gap.stop <= session.first_sample + session.n_samples:
            raise NervehandError(
                f"gap {gap.start}..{gap.stop} is empty, out of order or outside the session: correct it"
            )
        last = gap.stop


def left_out_spans(session: Session) -> list[tuple[int, int]]:
    """Absolute samples (first, stop) of which the recording says that nothing is to be learned or scored."""
    events = (e for e in session.recorded.events if e.kind == EventKind.LEFT_OUT)
    return sorted((e.sample_index, e.sample_index + e.first) for e in events)


def received_spans(session: Session) -> list[tuple[int, int]]:
    """Rows (start, stop) that were received, in order: the whole recording without its gaps."""
    edges = [0]
    for gap in session.gaps:
        edges += [gap.start - session.first_sample, gap.stop - session.first_sample]
    edges.append(session.n_samples)
    return [(a, b) for a, b in zip(edges[::2], edges[1::2], strict=True) if a < b]


def iter_blocks(session: Session, block_samples: int) -> Iterator[SignalBlock]:
    """The recording as blocks of `block_samples` (fewer at a gap and at the end), in recorded order.

    Blocks are read-only views of a buffer of up to READ_AHEAD_ROWS rows that is never written again, so they
    may be kept. A gap shows in the next block's `lost_before`, as it did live; `arrival_ns` is 0.
    """
    if block_samples < 1:
        raise NervehandError(f"block size is {block_samples} samples: give at least 1")
    slab_rows = block_samples * max(1, READ_AHEAD_ROWS // block_samples)
    end_of_last = 0
    for start, stop in received_spans(session):
        for slab_start in range(start, stop, slab_rows):
            slab = session.signal[slice(slab_start, min(stop, slab_start + slab_rows))].view()
            slab.flags.writeable = False
            lines = None
            if session.digital is not None:
                lines = session.digital.at(session.first_sample + slab_start, len(slab))
                lines.flags.writeable = False
            for offset in range(0, len(slab), block_samples):
                samples = slab[offset : offset + block_samples]
                row = slab_start + offset
                yield SignalBlock(
                    samples=samples,
                    first_sample=session.first_sample + row,
                    lost_before=row - end_of_last,
                    scale_uv=session.scale_uv,
                    digital=None if lines is None else lines[offset : offset + block_samples],
                )
                end_of_last = row + len(samples)


@dataclass(frozen=True, slots=True)
class Trial:
    """One movement with half of the rest on either side: rows start..stop (from 0) and its gesture.

    `repetition` says which time the movement was made, 0 where nothing says so.
    """

    id: int
    repetition: int
    start: int
    stop: int
    gesture: int


def trials(session: Session) -> list[Trial]:
    """The session cut into trials, in recorded order.

    Where the session names trials and each holds at most one movement, they are returned as they are. A
    trial that holds several movements, and a session that names none, is cut in the middle of each rest
    between two movements, or at the change from one label to the next where no rest lies between; rests
    before the first and after the last movement go with these. Pieces get new ids, 1 and up, and keep the
    repetition recorded on their movement. Where no repetition is recorded, it counts how often the gesture
    was made so far. Without labels and trials the whole session is one trial.
    """
    spans = _named_spans(session)
    if session.labels is None:
        return [Trial(i, _repetition(session, a, b), a, b, 0) for i, a, b in spans]
    pieces = [(i, _cut_at_rests(session.labels, a, b, whole=session.trial is not None)) for i, a, b in spans]
    if session.trial is not None and all(len(cuts) == 1 for _, cuts in pieces):
        named = [(i, *cuts[0]) for i, cuts in pieces]
    else:
        flat = [cut for _, cuts in pieces for cut in cuts]
        named = [(i, *cut) for i, cut in enumerate(flat, start=1)]
    made: dict[int, int] = {}
    result = []
    for i, start, stop, gesture in named:
        made[gesture] = made.get(gesture, 0) + 1
        moving = np.flatnonzero(session.labels[start:stop]) if gesture else np.arange(stop - start)
        repetition = _repetition(session, start + int(moving[0]), start + int(moving[-1]) + 1)
        if session.repetition is None:
            repetition = made[gesture]
        result.append(Trial(i, repetition, start, stop, gesture))
    return result


def _repetition(session: Session, start: int, stop: int) -> int:
    if session.repetition is None:
        return 0
    return int(np.bincount(session.repetition[start:stop]).argmax())


def _named_spans(session: Session) -> list[tuple[int, int, int]]:
    if session.trial is None:
        return [(1, 0, session.n_samples)]
    spans = [(value, a, b) for value, a, b in runs(session.trial) if value]
    seen: dict[int, int] = {}
    for value, start, _ in spans:
        if value in seen:
            raise NervehandError(
                f"trial {value} starts twice, at samples {session.first_sample + seen[value]} and"
                f" {session.first_sample + start}: give each trial an id of its own"
            )
        seen[value] = start
    return spans


def _cut_at_rests(
    labels: NDArray[np.int16], start: int, stop: int, *, whole: bool
) -> list[tuple[int, int, int]]:
    """(start, stop, gesture) of each movement in labels[start:stop], with its share of the rests.

    With `whole`, a stretch that holds one gesture only is one piece, however often it is interrupted.
    """
    moves = [(value, start + a, start + b) for value, a, b in runs(labels[start:stop]) if value]
    gestures = {gesture for gesture, _, _ in moves}
    if not moves or (whole and len(gestures) == 1):
        return [(start, stop, gestures.pop() if gestures else 0)]
    edges = [start]
    edges += [(left[2] + right[1]) // 2 for left, right in itertools.pairwise(moves)]
    edges.append(stop)
    return [(a, b, move[0]) for a, b, move in zip(edges, edges[1:], moves, strict=False)]


def runs(values: NDArray[np.integer]) -> list[tuple[int, int, int]]:
    """(value, start, stop) of each longest stretch of one value."""
    if len(values) == 0:
        return []
    edges = np.concatenate(([0], np.flatnonzero(values[1:] != values[:-1]) + 1, [len(values)]))
    return [(int(values[a]), int(a), int(b)) for a, b in itertools.pairwise(edges)]
