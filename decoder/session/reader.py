"""Reading a session file, with plain h5py: it opens in milliseconds, and the signal stays on disk."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from decoder.session.contents import EVERYTHING, Verified, read_digital, read_gaps, read_marks, read_recorded
from decoder.session.layout import (
    HEADER_PATH,
    SIGNAL_PATH,
    TRUTH_PATH,
    Header,
)
from decoder.session.model import Samples, Session
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
    if path.is_dir():
        raise NervehandError(f"{path}: cannot be read (Is a directory): give the session file within it")
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
        raise naming(path, error) from None
    except (KeyError, OSError, ValueError, TypeError, IndexError, RuntimeError) as error:
        file.close()
        raise NervehandError(f"{path}: is damaged ({_short(error)}): restore it from a copy") from None
    return session


def tail_of(path: Path) -> Path:
    """The recorder's sidecar of a session file: there only until the file is closed."""
    return path.with_name(path.name + ".tail")


def open_file(path: Path) -> h5py.File:
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
        return h5py.File(path, "r")
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


def read_open(
    file: h5py.File,
    path: Path,
    *,
    signal_only: bool = False,
    verified: Verified = EVERYTHING,
    header: Header | None = None,
) -> Session:
    """The session in an open file (see read_session), or only what of it was verified."""
    header = header or read_header(file)
    if header.content != "session":
        raise NervehandError(f"holds {header.content}, not a session: give the session that they rest on")
    signal = SignalOnDisk(file, f"{SIGNAL_PATH}/data", path, verified.n_samples)
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
        gaps=read_gaps(file, header) if verified.gaps is None else verified.gaps,
        digital=read_digital(file, header, verified),
    )
    if signal_only:
        return session
    labels, trial, repetition = read_marks(file, header, session.n_samples, verified)
    truth = file[f"{TRUTH_PATH}/data"][: session.n_samples] if header.truth_names else None
    return replace(
        session,
        labels=labels,
        trial=trial,
        repetition=repetition,
        truth=truth,
        truth_names=header.truth_names,
        truth_units=header.truth_units,
        recorded=read_recorded(file, header, verified),
    )


def _short(error: Exception) -> str:
    return " ".join(str(error).split())[:120] or type(error).__name__


def naming(path: Path, error: NervehandError) -> NervehandError:
    """The error, with the file's name in front where it has none."""
    text = str(error)
    return error if text.startswith(str(path)) else NervehandError(f"{path}: {text}")
