"""What a file holds beside the signal, read with plain h5py: gaps, marks, and what was recorded live."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from decoder.intent import Intents
from decoder.session.digital import DigitalLines
from decoder.session.layout import NOTES_PATH, STATE_PATH, Header, streams
from decoder.session.model import Gap
from decoder.session.recorded import (
    Commands,
    Event,
    HandStates,
    HealthChanges,
    Note,
    Recorded,
    SensorReadings,
    SentPositions,
    Traces,
)
from firmware_bridge.errors import NervehandError

if TYPE_CHECKING:
    import h5py


@dataclass(frozen=True, slots=True)
class Verified:
    """Which part of a file may be shown: the first `n_samples` rows without `gaps`, of each stream the rows
    in `kept`, and these notes. None: all that the file has."""

    n_samples: int | None = None
    gaps: tuple[Gap, ...] | None = None
    kept: dict[str, NDArray[np.int64]] | None = None
    notes: tuple[Note, ...] | None = None

    def rows(self, name: str) -> slice | NDArray[np.int64]:
        return slice(None) if self.kept is None else self.kept[name]


EVERYTHING = Verified()


def read_stream(
    file: h5py.File, header: Header, name: str, rows: slice | NDArray[np.int64] = slice(None)
) -> tuple[NDArray[np.int64], list[NDArray[np.generic]]]:
    """Absolute sample index (k,) and the columns of one stream; k = 0 where the file does not have it."""
    stream = streams(header)[name]
    if stream.root_paths()[0] not in file:
        shapes = [((0, c.width) if c.width else (0,), c.dtype) for c in stream.columns]
        return np.empty(0, np.int64), [np.empty(shape, dtype) for shape, dtype in shapes]
    data = [_rows(file[path], rows) for path in stream.data_paths()]
    rate = header.info.rate_hz
    if stream.table:
        index = _rows(file[stream.index_path()], rows).astype(np.int64)
    elif stream.index_path() in file:
        index = np.rint(_rows(file[stream.index_path()], rows).astype(np.float64) * rate).astype(np.int64)
    else:
        start = file[f"{stream.root_paths()[0]}/starting_time"]
        step = round(rate / float(start.attrs["rate"]))
        at = np.arange(len(file[stream.data_paths()[0]]), dtype=np.int64)[rows]
        index = round(float(start[()]) * rate) + step * at
    if any(len(values) != len(index) for values in data):
        raise NervehandError(f"stream {name} has columns of unequal length: restore the file from a copy")
    return index, data


def _rows(data: h5py.Dataset, rows: slice | NDArray[np.int64]) -> NDArray[np.generic]:
    if isinstance(rows, slice):
        return np.asarray(data[rows])
    return np.asarray(data[: int(rows.max(initial=-1)) + 1])[rows]


def read_digital(file: h5py.File, header: Header, verified: Verified = EVERYTHING) -> DigitalLines | None:
    """The digital lines; None where the front-end has none, or the recording is from before they were kept."""
    index, (lines,) = read_stream(file, header, "digital", verified.rows("digital"))
    return DigitalLines(index, lines.astype(np.uint32, copy=False)) if len(index) else None


def read_gaps(file: h5py.File, header: Header) -> tuple[Gap, ...]:
    index, (lost,) = read_stream(file, header, "gaps")
    return tuple(Gap(int(i), int(i + n)) for i, n in zip(index, lost.astype(np.int64), strict=True))


def read_marks(
    file: h5py.File, header: Header, n_samples: int, verified: Verified = EVERYTHING
) -> tuple[NDArray[np.int16] | None, NDArray[np.int32] | None, NDArray[np.int16] | None]:
    """Labels, trial and repetition per sample from the marks, which say from where on each value holds."""
    index, marks = read_stream(file, header, "marks", verified.rows("marks"))
    rows = np.clip(index - header.first_sample, 0, n_samples)
    if len(rows) == 0 or bool(np.any(np.diff(rows) < 0)):
        if len(rows):
            raise NervehandError("its marks are out of order: restore the file from a copy")
        return None, None, None
    lengths = np.diff(np.append(rows, n_samples))

    def spread(column: int, dtype: type[np.int16] | type[np.int32]) -> NDArray[np.integer] | None:
        values = marks[column].astype(np.int64)
        if bool(np.all(values < 0)):
            return None
        held = np.repeat(np.maximum(values, 0), lengths)
        return np.concatenate((np.zeros(int(rows[0]), np.int64), held)).astype(dtype)

    labels, trial, repetition = spread(0, np.int16), spread(1, np.int32), spread(2, np.int16)
    return (
        None if labels is None else labels.astype(np.int16, copy=False),
        None if trial is None else trial.astype(np.int32, copy=False),
        None if repetition is None else repetition.astype(np.int16, copy=False),
    )


def read_intents(file: h5py.File, header: Header, verified: Verified = EVERYTHING) -> Intents | None:
    index, (outputs, positions, gesture, quality) = read_stream(
        file, header, "intents", verified.rows("intents")
    )
    if len(index) == 0:
        return None
    return Intents(
        sample_index=index,
        outputs=outputs.astype(np.float32, copy=False),
        positions=positions.astype(np.float32, copy=False),
        gesture=gesture.astype(np.int16, copy=False),
        probability=quality[:, 0].astype(np.float32),
        warming=quality[:, 1].astype(np.bool_),
        healthy_fraction=quality[:, 2].astype(np.float32),
    )


def read_recorded(file: h5py.File, header: Header, verified: Verified = EVERYTHING) -> Recorded:
    """What the file holds beside signal, labels and truth."""
    commands_at, (targets, times, quality) = read_stream(file, header, "commands", verified.rows("commands"))
    sent_at, (sent_ns, sent, state) = read_stream(file, header, "sent", verified.rows("sent"))
    states_at, (positions, reports) = read_stream(file, header, "states", verified.rows("states"))
    sensors_at, (device_s, arrival_ns, values) = read_stream(
        file, header, "sensors", verified.rows("sensors")
    )
    health_at, (packed,) = read_stream(file, header, "health", verified.rows("health"))
    traces_at, (times_ns,) = read_stream(file, header, "traces", verified.rows("traces"))
    events_at, (kind, first, second) = read_stream(file, header, "events", verified.rows("events"))
    mask = np.unpackbits(packed.astype(np.uint8), axis=1, count=header.info.n_channels).astype(np.bool_)
    commands = Commands(
        commands_at, targets.astype(np.float32), times.astype(np.int64), quality.astype(np.float32)
    )
    events = tuple(
        Event(int(i), int(k), int(a), int(b))
        for i, k, a, b in zip(events_at.tolist(), kind.tolist(), first.tolist(), second.tolist(), strict=True)
    )
    notes: tuple[Note, ...] = ()
    if verified.notes is not None:
        notes = verified.notes
    elif NOTES_PATH in file:
        at, text = file[f"{NOTES_PATH}/sample_index"][:], file[f"{NOTES_PATH}/text"].asstr()[:]
        notes = tuple(Note(int(i), str(words)) for i, words in zip(at, text, strict=True))
    return Recorded(
        intents=read_intents(file, header, verified),
        output_names=header.output_names,
        bundle=header.bundle,
        commands=commands if len(commands_at) else None,
        sent=SentPositions(
            sent_at,
            sent_ns.astype(np.int64),
            sent.astype(np.float32),
            state.astype(np.int16),
            header.gate_states,
        )
        if len(sent_at)
        else None,
        states=HandStates(states_at, positions.astype(np.float32), reports.astype(np.int64))
        if len(states_at)
        else None,
        health=HealthChanges(health_at, mask) if len(health_at) else None,
        sensors=SensorReadings(
            sensors_at,
            device_s.astype(np.float64),
            arrival_ns.astype(np.int64),
            values.astype(np.float32),
            header.sensor_names,
            header.sensor_units,
        )
        if len(sensors_at)
        else None,
        events=events,
        notes=notes,
        traces=Traces(traces_at, times_ns.astype(np.int64)) if len(traces_at) else None,
        decision=header.decision,
        state=bytes(file[STATE_PATH][:].astype(np.uint8)) if STATE_PATH in file else b"",
    )
