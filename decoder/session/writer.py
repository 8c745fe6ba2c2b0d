"""Writing a whole session to a closed NWB file. (A live recording is written by recorder.py.)"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from decoder.intent import Intents
from decoder.session.layout import (
    NOTES_PATH,
    SIGNAL_PATH,
    TRIALS_PATH,
    TRUTH_PATH,
    Header,
    header_of,
    streams,
)
from decoder.session.model import READ_AHEAD_ROWS, Session, Trial, received_spans, trials
from decoder.session.recorded import Event, Note
from decoder.session.skeleton import create
from firmware_bridge.errors import NervehandError

if TYPE_CHECKING:
    import h5py

RESERVE_BYTES = 64 << 20
"""Free space that writing leaves on the disk, since HDF5 loses a file when the disk fills under it."""

Columns = list[NDArray[np.generic]]
Rows = tuple[NDArray[np.int64], Columns]


def write_session(session: Session, path: str | Path) -> None:
    """Write a complete session to `path`, replacing what is there only once the new file is whole.

    Errors: NervehandError where the place cannot be written or is too small; then nothing is left behind.
    """
    path = Path(path)
    header = header_of(session)
    contents = {name: rows for name, rows in stream_rows(session).items() if len(rows[0])}
    rows, width = session.signal.shape
    truth = session.truth
    need = rows * width * session.signal.dtype.itemsize + (0 if truth is None else truth.nbytes)
    with whole_file(path, need) as part:
        create(part, header, tuple(contents), state=session.recorded.state)
        import h5py

        with h5py.File(part, "r+", libver="latest") as file:
            signal = file[f"{SIGNAL_PATH}/data"]
            signal.resize(rows, axis=0)
            for start, stop in received_spans(session):
                for a in range(start, stop, READ_AHEAD_ROWS):
                    b = min(stop, a + READ_AHEAD_ROWS)
                    signal[a:b] = session.signal[slice(a, b)]
            if truth is not None:
                file[f"{TRUTH_PATH}/data"].resize(rows, axis=0)
                file[f"{TRUTH_PATH}/data"][:] = truth
            for name, (index, columns) in contents.items():
                append_rows(file, header, name, index, columns)
                make_regular(file, header, name)
            fill_tables(file, session, session.recorded.notes)


@contextmanager
def whole_file(path: Path, need_bytes: int) -> Iterator[Path]:
    """A name beside `path` to write to; it takes the place of `path` at the end, or vanishes on any error."""
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    if path.is_dir():
        raise NervehandError(f"{path}: is a folder: give a file name")
    check_space(path, need_bytes)
    try:
        yield part
        with part.open("rb") as file:
            os.fsync(file.fileno())
        part.replace(path)
    except OSError as error:
        raise NervehandError(f"{path}: cannot be written ({error}): choose another place") from None
    finally:
        part.unlink(missing_ok=True)
    sync_folder(path)


def check_space(path: Path, need_bytes: int) -> None:
    """Errors: NervehandError where `need_bytes` would not leave RESERVE_BYTES free."""
    if not path.parent.is_dir():
        raise NervehandError(
            f"{path}: the folder {path.parent} does not exist: make it or choose another place"
        )
    free = shutil.disk_usage(path.parent).free
    if free < need_bytes + RESERVE_BYTES:
        raise NervehandError(
            f"{path}: {free >> 20} MiB are free and {(need_bytes + RESERVE_BYTES) >> 20} MiB are needed:"
            " free some space or choose another disk"
        )


def sync_folder(path: Path) -> None:
    """Make the name of `path` itself survive a power cut."""
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def append_rows(
    file: h5py.File, header: Header, name: str, index: NDArray[np.int64], columns: Columns
) -> None:
    """Append k rows, each at an absolute sample index, to a stream of the file."""
    stream = streams(header)[name]
    if stream.table:
        n = int(file[stream.index_path()].shape[0])
        append(file[f"{stream.place}/id"], np.arange(n, n + len(index)))
        append(file[stream.index_path()], index)
    else:
        append(file[stream.index_path()], index / header.info.rate_hz)
    for path, values in zip(stream.data_paths(), columns, strict=True):
        append(file[path], values)


def make_regular(file: h5py.File, header: Header, name: str) -> None:
    """Where a time series came at equal steps, replace its timestamps by a start and a rate, as NWB asks."""
    stream = streams(header)[name]
    if stream.table or stream.root_paths()[0] not in file:
        return
    index = np.rint(file[stream.index_path()][:] * header.info.rate_hz).astype(np.int64)
    steps = np.unique(np.diff(index))
    if len(steps) != 1 or steps[0] < 1:
        return
    for column in stream.columns:
        series = file[f"{stream.place}/{column.name}"]
        del series["timestamps"]
        start = series.create_dataset("starting_time", data=index[0] / header.info.rate_hz)
        start.attrs["rate"] = header.info.rate_hz / float(steps[0])
        start.attrs["unit"] = "seconds"


def append(data: h5py.Dataset, values: NDArray[np.generic]) -> None:
    """Append rows to a data set."""
    n = int(data.shape[0])
    data.resize(n + len(values), axis=0)
    data[n:] = values


def stream_rows(session: Session) -> dict[str, Rows]:
    """The rows of every irregular stream of a session, by the stream's name."""
    recorded = session.recorded
    rows: dict[str, Rows] = {"marks": marks_of(session)}
    starts = np.array([gap.start for gap in session.gaps], np.int64)
    rows["gaps"] = (starts, [np.array([gap.stop - gap.start for gap in session.gaps], np.int64)])
    if recorded.health is not None:
        rows["health"] = (recorded.health.sample_index, [np.packbits(recorded.health.mask, axis=1)])
    if recorded.events:
        rows["events"] = event_rows(recorded.events)
    if recorded.intents is not None:
        rows["intents"] = intent_rows(recorded.intents)
    if recorded.commands is not None:
        c = recorded.commands
        rows["commands"] = (c.sample_index, [c.targets, c.times_ns, c.quality])
    if recorded.sent is not None:
        s = recorded.sent
        rows["sent"] = (s.sample_index, [s.sent_ns, s.positions, s.state])
    if recorded.traces is not None:
        rows["traces"] = (recorded.traces.sample_index, [recorded.traces.times_ns])
    if recorded.states is not None:
        rows["states"] = (recorded.states.sample_index, [recorded.states.positions, recorded.states.times_ns])
    if recorded.sensors is not None:
        r = recorded.sensors
        rows["sensors"] = (r.sample_index, [r.device_s, r.arrival_ns, r.values])
    if session.digital is not None:
        rows["digital"] = (session.digital.sample_index, [session.digital.lines])
    return rows


def marks_of(session: Session) -> Rows:
    """The samples at which label, trial or repetition changes, and their values from there on (-1: none)."""
    columns = (session.labels, session.trial, session.repetition)
    if all(column is None for column in columns):
        return np.empty(0, np.int64), []
    changed = np.zeros(session.n_samples, np.bool_)
    changed[0] = True
    for column in columns:
        if column is not None:
            changed[1:] |= column[1:] != column[:-1]
    at = np.flatnonzero(changed)
    values: Columns = [np.full(len(at), -1) if column is None else column[at] for column in columns]
    return (at + session.first_sample).astype(np.int64), values


def event_rows(events: tuple[Event, ...]) -> Rows:
    """Events as the columns of their stream."""
    numbers = np.array([[e.sample_index, e.kind, e.first, e.second] for e in events], np.int64)
    return numbers[:, 0], [numbers[:, 1], numbers[:, 2], numbers[:, 3]]


def intent_rows(intents: Intents) -> Rows:
    """Intents as the columns of their stream."""
    quality = np.stack(
        [intents.probability, intents.warming.astype(np.float32), intents.healthy_fraction], axis=1
    )
    return intents.sample_index, [intents.outputs, intents.positions, intents.gesture, quality]


def fill_tables(file: h5py.File, session: Session, notes: Sequence[Note]) -> None:
    """Write the tables of trials and notes; an empty one is taken out."""
    cut = trials(session) if session.labels is not None or session.trial is not None else []
    fill_tables_of(file, cut, notes, session.first_sample, session.info.rate_hz)


def fill_tables_of(
    file: h5py.File, cut: Sequence[Trial], notes: Sequence[Note], first: int, rate_hz: float
) -> None:
    """Likewise, of trials in the rows of what begins with sample `first`."""
    if cut:
        _fill(file, f"{TRIALS_PATH}/id", np.array([t.id for t in cut], np.int64))
        _fill(file, f"{TRIALS_PATH}/start_time", np.array([(first + t.start) / rate_hz for t in cut]))
        _fill(file, f"{TRIALS_PATH}/stop_time", np.array([(first + t.stop) / rate_hz for t in cut]))
        _fill(file, f"{TRIALS_PATH}/gesture", np.array([t.gesture for t in cut], np.int64))
        _fill(file, f"{TRIALS_PATH}/repetition", np.array([t.repetition for t in cut], np.int64))
    else:
        del file[TRIALS_PATH]
    if notes:
        _fill(file, f"{NOTES_PATH}/id", np.arange(len(notes), dtype=np.int64))
        _fill(file, f"{NOTES_PATH}/sample_index", np.array([n.sample_index for n in notes], np.int64))
        texts = [n.text.encode(errors="replace").decode() for n in notes]  # half a character is in no file
        _fill(file, f"{NOTES_PATH}/text", np.array(texts, object))
    else:
        del file[NOTES_PATH]


def _fill(file: h5py.File, name: str, values: NDArray[np.generic]) -> None:
    data = file[name]
    data.resize(len(values), axis=0)
    data[:] = values
