"""Reading a session file, with plain h5py: it opens in milliseconds, and the signal stays on disk."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from decoder.intent import Intents
from decoder.session.layout import (
    HEADER_PATH,
    NOTES_PATH,
    SIGNAL_PATH,
    TRUTH_PATH,
    Header,
    streams,
)
from decoder.session.model import Gap, Samples, Session
from decoder.session.recorded import Commands, Event, HandStates, HealthChanges, Note, Recorded
from firmware_bridge.errors import NervehandError

if TYPE_CHECKING:
    import h5py


class SignalOnDisk:
    """The (n, c) signal of an open file; rows are read when asked for."""

    def __init__(self, file: h5py.File, name: str, path: Path, n_samples: int | None = None) -> None:
        self._file = file
        self._data: h5py.Dataset = file[name]
        self._path = path
        self._n = int(self._data.shape[0]) if n_samples is None else n_samples

    @property
    def shape(self) -> tuple[int, ...]:
        return (self._n, *self._data.shape[1:])

    @property
    def dtype(self) -> np.dtype[np.float32] | np.dtype[np.int16]:
        return np.dtype(np.int16) if self._data.dtype == np.int16 else np.dtype(np.float32)

    def __getitem__(self, key: slice, /) -> Samples:
        start, stop, step = key.indices(self._n)
        try:
            rows: Samples = self._data[start : max(start, stop) : step]
        except OSError as error:
            raise NervehandError(
                f"{self._path}: samples {start}..{stop} cannot be read ({_short(error)}): restore the file"
            ) from None
        return rows

    def close(self) -> None:
        self._file.close()


def read_session(path: str | Path, *, signal_only: bool = False) -> Session:
    """The session at `path`; its signal is read from disk by slices, all else is in memory.

    `signal_only` leaves out labels, trials, truth and what was recorded live: enough to replay, at no cost
    for a long recording. Errors: NervehandError, one line with file, value and remedy, for anything that is
    not a whole session file.
    """
    path = Path(path)
    if tail_of(path).exists():
        raise NervehandError(
            f"{path}: this recording is still running or was cut off ({tail_of(path).name} lies beside it):"
            " close it, or run `nervehand recover` on it"
        )
    file = open_file(path)
    try:
        session = read_open(file, path, signal_only=signal_only)
    except NervehandError as error:
        file.close()
        raise _naming(path, error) from None
    except (KeyError, OSError, ValueError, TypeError, IndexError, RuntimeError) as error:
        file.close()
        raise NervehandError(f"{path}: is damaged ({_short(error)}): restore it from a copy") from None
    return session


def tail_of(path: Path) -> Path:
    """The recorder's sidecar of a session file: there only until the file is closed."""
    return path.with_name(path.name + ".tail")


def open_file(path: Path, *, swmr: bool = False) -> h5py.File:
    """The file, opened for reading. Errors: NervehandError saying why not."""
    import h5py

    try:
        with path.open("rb") as raw:
            size = path.stat().st_size
            signature = raw.read(8)
    except OSError as error:
        raise NervehandError(f"{path}: cannot be read ({error.strerror}): check the name") from None
    if signature != b"\x89HDF\r\n\x1a\n":
        what = "is empty (0 bytes)" if size == 0 else "is not an NWB file (no HDF5 signature)"
        raise NervehandError(f"{path}: {what}: give a session made by `nervehand import` or a recording")
    try:
        return h5py.File(path, "r", libver="latest" if swmr else None, swmr=swmr)
    except OSError as error:
        if "consistency flags" in str(error) or "already open for" in str(error):
            raise NervehandError(
                f"{path}: was not closed after writing: run `nervehand recover` on it"
            ) from None
        if "truncated" in str(error):
            raise NervehandError(f"{path}: is truncated ({size} bytes are left): copy it again") from None
        raise NervehandError(f"{path}: cannot be opened ({_short(error)}): restore it from a copy") from None


def read_header(file: h5py.File) -> Header:
    """The header of an open file. Errors: NervehandError where nervehand did not write it."""
    import h5py

    if "nwb_version" not in file.attrs:
        raise NervehandError("is an HDF5 file but not NWB: bring the data in with `nervehand import arrays`")
    header = file.get(HEADER_PATH)
    if not isinstance(header, h5py.Dataset):
        raise NervehandError(
            f"is an NWB file that nervehand did not write ({_electrical_series(file)}): save its samples as"
            " an arrays file (.npz) and use `nervehand import arrays`"
        )
    return Header.from_json(header.asstr()[()])


def _electrical_series(file: h5py.File) -> str:
    import h5py

    acquisition = file.get("acquisition")
    if isinstance(acquisition, h5py.Group):
        for name, item in acquisition.items():
            if isinstance(item, h5py.Group) and item.attrs.get("neurodata_type") == "ElectricalSeries":
                return f"it has the ElectricalSeries {name!r} of shape {item['data'].shape}"
    return "it has no ElectricalSeries"


def read_open(file: h5py.File, path: Path, *, signal_only: bool = False) -> Session:
    """The session in an open file (see read_session)."""
    header = read_header(file)
    if header.content != "session":
        raise NervehandError(
            f"holds {header.content}, not a session: give the session that they were made from"
        )
    signal = SignalOnDisk(file, f"{SIGNAL_PATH}/data", path)
    if str(signal.dtype) != header.dtype or signal.shape[1:] != (header.info.n_channels,):
        raise NervehandError(
            f"the signal is {signal.dtype} {signal.shape} and the header describes {header.dtype} with"
            f" {header.info.n_channels} channels: restore the file from a copy"
        )
    session = Session(
        info=header.info,
        meta=header.meta,
        signal=signal,
        scale_uv=header.scale_uv,
        first_sample=header.first_sample,
        gesture_names=header.gesture_names,
        postures=header.postures_array(),
        gaps=read_gaps(file, header),
    )
    if signal_only:
        return session
    labels, trial, repetition = read_marks(file, header, session.n_samples)
    truth = file[f"{TRUTH_PATH}/data"][:] if TRUTH_PATH in file else None
    return Session(
        info=header.info,
        meta=header.meta,
        signal=signal,
        scale_uv=header.scale_uv,
        first_sample=header.first_sample,
        labels=labels,
        gesture_names=header.gesture_names,
        trial=trial,
        repetition=repetition,
        truth=truth,
        truth_names=header.truth_names if truth is not None else (),
        truth_units=header.truth_units if truth is not None else (),
        postures=session.postures,
        gaps=session.gaps,
        recorded=read_recorded(file, header),
    )


def read_stream(
    file: h5py.File, header: Header, name: str
) -> tuple[NDArray[np.int64], list[NDArray[np.generic]]]:
    """Absolute sample index (k,) and the columns of one stream; k = 0 where the file does not have it."""
    stream = streams(header)[name]
    if stream.root_path() not in file:
        shapes = [((0, c.width) if c.width else (0,), c.dtype) for c in stream.columns]
        return np.empty(0, np.int64), [np.empty(shape, dtype) for shape, dtype in shapes]
    data = [np.asarray(file[path][:]) for path in stream.data_paths()]
    rate = header.info.rate_hz
    if stream.table:
        index = np.asarray(file[stream.index_path()][:], np.int64)
    elif stream.index_path() in file:
        index = np.rint(file[stream.index_path()][:] * rate).astype(np.int64)
    else:
        start = file[f"{stream.root_path()}/starting_time"]
        step = round(rate / float(start.attrs["rate"]))
        index = round(float(start[()]) * rate) + step * np.arange(len(data[0]), dtype=np.int64)
    if any(len(values) != len(index) for values in data):
        raise NervehandError(f"stream {name} has columns of unequal length: restore the file from a copy")
    return index, data


def read_gaps(file: h5py.File, header: Header) -> tuple[Gap, ...]:
    index, (lost,) = read_stream(file, header, "gaps")
    return tuple(Gap(int(i), int(i + n)) for i, n in zip(index, lost.astype(np.int64), strict=True))


def read_marks(
    file: h5py.File, header: Header, n_samples: int
) -> tuple[NDArray[np.int16] | None, NDArray[np.int32] | None, NDArray[np.int16] | None]:
    """Labels, trial and repetition per sample from the marks, which say from where on each value holds."""
    index, marks = read_stream(file, header, "marks")
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


def read_intents(file: h5py.File, header: Header) -> Intents | None:
    index, (outputs, positions, gesture, quality) = read_stream(file, header, "intents")
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


def read_recorded(file: h5py.File, header: Header) -> Recorded:
    """What the file holds beside signal, labels and truth."""
    commands_at, (targets, times, quality) = read_stream(file, header, "commands")
    states_at, (positions, reports) = read_stream(file, header, "states")
    health_at, (packed,) = read_stream(file, header, "health")
    events_at, (kind, first, second) = read_stream(file, header, "events")
    mask = np.unpackbits(packed.astype(np.uint8), axis=1, count=header.info.n_channels).astype(np.bool_)
    commands = Commands(
        commands_at, targets.astype(np.float32), times.astype(np.int64), quality.astype(np.float32)
    )
    events = tuple(
        Event(int(i), int(k), int(a), int(b))
        for i, k, a, b in zip(events_at.tolist(), kind.tolist(), first.tolist(), second.tolist(), strict=True)
    )
    notes: tuple[Note, ...] = ()
    if NOTES_PATH in file:
        at, text = file[f"{NOTES_PATH}/sample_index"][:], file[f"{NOTES_PATH}/text"].asstr()[:]
        notes = tuple(Note(int(i), str(words)) for i, words in zip(at, text, strict=True))
    return Recorded(
        intents=read_intents(file, header),
        output_names=header.output_names,
        bundle=header.bundle,
        commands=commands if len(commands_at) else None,
        states=HandStates(states_at, positions.astype(np.float32), reports.astype(np.int64))
        if len(states_at)
        else None,
        health=HealthChanges(health_at, mask) if len(health_at) else None,
        events=events,
        notes=notes,
    )


def _short(error: Exception) -> str:
    return " ".join(str(error).split())[:120] or type(error).__name__


def _naming(path: Path, error: NervehandError) -> NervehandError:
    text = str(error)
    return error if text.startswith(str(path)) else NervehandError(f"{path}: {text}")
