"""NinaPro recordings: the public .mat files, and .npz files with the same names and scaled integers.

DB1 (Atzori et al., Sci Data 2014, 1:140053): ten rectified and smoothed electrodes at 100 Hz and the 22
sensors of a CyberGlove II, uncalibrated. Labels are `restimulus`, the cue moved to where the movement really
was. In an .npz, `emg` and `glove` are integers with `emg_scale` (volts) and `glove_scale`, and `fs` is in Hz.
Files of the databases with twelve electrodes at 2 kHz, and of DB5 (two armbands, 16 channels at 200 Hz), are
known by their shape.
"""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from decoder.importers.arrays import Array, file_identity, load
from decoder.session.model import Session, SessionMeta, trials
from firmware_bridge.errors import NervehandError
from firmware_bridge.hand import DOF_NAMES, N_DOF
from firmware_bridge.stream import StreamInfo, StreamKind

E1_NAMES = (
    "rest",
    *("index flexion", "index extension", "middle flexion", "middle extension", "ring flexion"),
    *("ring extension", "little flexion", "little extension", "thumb adduction", "thumb abduction"),
    *("thumb flexion", "thumb extension"),
)
"""The twelve movements of exercise 1 of DB1, in the order of its papers."""

TOWARDS_FLEXION = {"flexion": 1.0, "adduction": 1.0, "extension": -1.0, "abduction": -1.0}
"""A hand with one degree of freedom per finger shows the thumb's adduction as closing, abduction as opening."""

GLOVE_SENSORS = (
    *("thumb_tmj", "thumb_mpj", "thumb_ij", "thumb_index_abduction"),
    *("index_mpj", "index_pij", "index_dij"),
    *("middle_mpj", "middle_pij", "middle_dij", "middle_index_abduction"),
    *("ring_mpj", "ring_pij", "ring_dij", "ring_middle_abduction"),
    *("little_mpj", "little_pij", "little_dij", "little_ring_abduction"),
    *("palm_arch", "wrist_flexion", "wrist_abduction"),
)
"""The 22 sensors of a CyberGlove II in the order of its columns."""

KEYS = (
    *("emg", "glove", "stimulus", "restimulus", "repetition", "rerepetition", "subject", "exercise"),
    *("emg_scale", "glove_scale", "fs"),
)
VOLTS = 1e6


@dataclass(frozen=True, slots=True)
class Database:
    """What the number of channels says about a file; `unit_uv` is the unit of `emg` in microvolts."""

    name: str
    rate_hz: float
    kind: StreamKind
    array: str
    unit_uv: float = VOLTS
    full_scale_uv: float | None = None
    remark: str = ""


DATABASES = {
    10: Database("db1", 100.0, "envelope", "ten Otto Bock 13E200", full_scale_uv=5.0 * VOLTS),
    12: Database(
        "db2", 2000.0, "emg", "twelve electrodes", remark=" Read like DB2: 12 channels at 2 kHz, in volts."
    ),
    16: Database(
        "db5",
        200.0,
        "emg",
        "two Myo armbands",
        unit_uv=1.0,
        full_scale_uv=127.0,
        remark=" Its unit is unknown: one count of the armband's converter stands as one microvolt.",
    ),
}


def read(path: str | Path) -> Session:
    """The session in a NinaPro file, in memory, with a trial for every movement and half of its rests.

    Six-position postures follow from the names of exercise 1: flexion of a finger is +1 for that finger and 0
    for the others, extension is -1; the thumb's adduction counts as +1 and its abduction as -1. Movements of
    other exercises are named by number and have no posture (NaN).
    Errors: NervehandError, one line that names file, value and remedy.
    """
    path = Path(path)
    arrays = _load(path)
    try:
        return _session(arrays, path)
    except NervehandError as error:
        raise NervehandError(f"{path}: {error}") from None


def _load(path: Path) -> Mapping[str, Array]:
    try:
        with path.open("rb") as file:
            start = file.read(8)
    except OSError as error:
        raise NervehandError(f"{path}: cannot be read ({error.strerror}): check the name") from None
    if start[:2] == b"PK":
        return load(path)
    if start == b"\x89HDF\r\n\x1a\n" or not start.startswith(b"MATLAB"):
        raise NervehandError(
            f"{path}: is neither a MATLAB 5 .mat file nor an .npz: give a file as NinaPro publishes it"
        )
    from scipy.io import loadmat
    from scipy.io.matlab import MatReadError

    damaged = (OSError, ValueError, TypeError, KeyError, IndexError, EOFError, NotImplementedError)
    try:
        content = loadmat(path, variable_names=KEYS)
    except (*damaged, MatReadError, zlib.error, struct.error) as error:
        if "7.3" in str(error):
            raise NervehandError(f"{path}: is a MATLAB 7.3 file: save it with -v7") from None
        raise NervehandError(f"{path}: is truncated or damaged ({error}): copy it again") from None
    return {key: np.asarray(value) for key, value in content.items() if not key.startswith("__")}


def _session(arrays: Mapping[str, Array], path: Path) -> Session:
    emg = _numbers(arrays, "emg")
    if emg.ndim != 2 or emg.shape[0] == 0:
        raise NervehandError(f"emg has shape {emg.shape}: give (samples, channels) and at least one sample")
    n, channels = emg.shape
    database = _database(emg)
    prefix = "re" if "restimulus" in arrays else ""
    labels = _column(arrays, f"{prefix}stimulus", n)
    repetition = _column(arrays, f"{prefix}repetition", n)
    names = _names(arrays, database, int(labels.max()))
    truth = _glove(arrays)
    signal, scale_uv = _signal(arrays, emg, database)
    sensors = 0 if truth is None else truth.shape[1]
    session = Session(
        info=StreamInfo(
            rate_hz=_scalar(arrays, "fs", database.rate_hz),
            channel_names=tuple(f"emg{i + 1}" for i in range(channels)),
            kind=database.kind,
            full_scale_uv=database.full_scale_uv,
        ),
        meta=SessionMeta(
            identifier=file_identity(path),
            subject=f"ninapro-{database.name}-{_subject(arrays, path)}",
            description=f"Imported from the NinaPro file {path.name}.{database.remark}",
            array=database.array,
        ),
        signal=signal,
        scale_uv=scale_uv,
        labels=labels,
        gesture_names=names,
        repetition=repetition,
        truth=truth,
        truth_names=GLOVE_SENSORS if sensors == 22 else tuple(f"glove_{i + 1}" for i in range(sensors)),
        truth_units=("raw glove units",) * sensors,
        postures=postures(names),
    )
    return _with_trials(session)


def postures(names: tuple[str, ...]) -> NDArray[np.float32]:
    """(n_gestures, 6) positions of each named gesture: "index flexion" is index +1, all others 0; NaN rows
    where the name is not a finger of DOF_NAMES and a direction of TOWARDS_FLEXION."""
    rows = np.full((len(names), N_DOF), np.nan, np.float32)
    for row, name in zip(rows, names, strict=True):
        finger, _, direction = name.partition(" ")
        if name == "rest":
            row[:] = 0.0
        elif finger in DOF_NAMES and direction in TOWARDS_FLEXION:
            row[:] = 0.0
            row[DOF_NAMES.index(finger)] = TOWARDS_FLEXION[direction]
    return rows


def _with_trials(session: Session) -> Session:
    """The session with its movements as trials: each trial's samples carry its id and its repetition."""
    trial = np.zeros(session.n_samples, np.int32)
    repetition = np.zeros(session.n_samples, np.int16)
    for piece in trials(session):
        trial[piece.start : piece.stop] = piece.id
        repetition[piece.start : piece.stop] = piece.repetition
    return replace(session, trial=trial, repetition=repetition)


def _database(emg: Array) -> Database:
    channels = emg.shape[1]
    database = DATABASES.get(channels)
    if database is None:
        raise NervehandError(
            f"emg has {channels} channels; known are 10 (DB1), 12 (DB2, DB3, DB4, DB7) and 16 (DB5): save the data"
            " as an arrays file and use `nervehand import arrays`"
        )
    if database.name == "db5" and float(np.nanmax(np.abs(emg.astype(np.float64)))) <= 1.0:
        raise NervehandError(
            "emg has 16 channels of less than 1 unit, so it is not DB5 (counts of -128..127): save the data as"
            " an arrays file and use `nervehand import arrays`"
        )
    return database


def _names(arrays: Mapping[str, Array], database: Database, largest: int) -> tuple[str, ...]:
    exercise = round(_scalar(arrays, "exercise", 1.0))
    if database.name == "db1" and exercise == 1 and largest < len(E1_NAMES):
        return E1_NAMES
    numbers = range(1, largest + 1)
    if "exercise" in arrays:
        return ("rest", *(f"exercise {exercise} movement {i}" for i in numbers))
    return ("rest", *(f"movement {i}" for i in numbers))


def _signal(
    arrays: Mapping[str, Array], emg: Array, database: Database
) -> tuple[NDArray[np.float32] | NDArray[np.int16], float]:
    """Samples and microvolts per count: integers stay as they are, volts become float32 microvolts."""
    scale = _scalar(arrays, "emg_scale", 1.0) * database.unit_uv
    if emg.dtype == np.int16:
        return np.ascontiguousarray(emg, np.int16), scale
    return np.ascontiguousarray(emg.astype(np.float64) * scale, np.float32), 1.0


def _glove(arrays: Mapping[str, Array]) -> NDArray[np.float32] | None:
    if "glove" not in arrays or arrays["glove"].size == 0:
        return None
    glove = _numbers(arrays, "glove").astype(np.float64) * _scalar(arrays, "glove_scale", 1.0)
    if glove.ndim != 2:
        raise NervehandError(f"glove has shape {glove.shape}: give (samples, sensors)")
    return np.ascontiguousarray(glove, np.float32)


def _numbers(arrays: Mapping[str, Array], key: str) -> Array:
    if key not in arrays:
        raise NervehandError(
            f"lacks {key} (it has {', '.join(arrays) or 'none of the names of NinaPro'}): give a NinaPro file"
        )
    if arrays[key].dtype.kind not in "iuf":
        raise NervehandError(f"{key} is {arrays[key].dtype}: give numbers")
    return arrays[key]


def _column(arrays: Mapping[str, Array], key: str, n: int) -> NDArray[np.int16]:
    values = _numbers(arrays, key).ravel().astype(np.float64)
    if len(values) != n:
        raise NervehandError(f"{key} has {len(values)} values for {n} samples: copy the file again")
    whole = np.isfinite(values) & (values == np.rint(values)) & (values >= 0) & (values < 1000)
    if not bool(whole.all()):
        row = int(np.argmin(whole))
        raise NervehandError(f"{key} is {values[row]:g} at sample {row}: labels are 0 (rest), 1, 2, 3, ...")
    return values.astype(np.int16)


def _scalar(arrays: Mapping[str, Array], key: str, otherwise: float) -> float:
    if key not in arrays:
        return otherwise
    value = _numbers(arrays, key)
    if value.size != 1 or not bool(np.isfinite(value).all()):
        raise NervehandError(f"{key} has shape {value.shape}: give one number")
    return float(value.ravel().astype(np.float64)[0])


def _subject(arrays: Mapping[str, Array], path: Path) -> str:
    if "subject" in arrays:
        return f"s{round(_scalar(arrays, 'subject', 0.0)):02d}"
    found = re.match(r"[sS](\d+)", path.stem)
    return f"s{int(found.group(1)):02d}" if found else path.stem.lower()
