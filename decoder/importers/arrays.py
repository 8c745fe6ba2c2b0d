"""Arrays files: an .npz with a lab's own recording, as NumPy's `savez` writes it.

Needed: `signal` (n, channels) in microvolts, `rate` in Hz, `kind` nerve, emg (raw means emg) or envelope.
Optional: `labels` (n,) that index `names` (0 is rest), `trial` (n,) unique ids, `repetition` (n,), `truth`
(n, d) with `truth_names` and `truth_units`; and `channel_names`, `electrodes`, `subject`, `side`, `array`,
`full_scale_uv`, `mains_hz`. Nothing in the file can execute: object arrays are refused.
"""

from __future__ import annotations

import hashlib
import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from decoder.npy import read_npy
from decoder.session.model import Session, SessionMeta, runs
from decoder.session.recorded import Note, Recorded
from firmware_bridge.errors import NervehandError
from firmware_bridge.stream import STREAM_KINDS, StreamInfo, StreamKind

Array = NDArray[np.generic]

NEEDED = ("signal", "rate", "kind")
OPTIONAL = (
    *("labels", "names", "trial", "repetition", "truth", "truth_names", "truth_units"),
    *("channel_names", "electrodes", "subject", "side", "array", "full_scale_uv", "mains_hz"),
)


def read(path: str | Path) -> Session:
    """The session in an arrays file, in memory. Signal values that are not finite stay, and a note counts them.

    In `trial`, 0 means that a sample belongs to none, unless the samples marked 0 are one unbroken stretch:
    then 0 is an id like the others, and all ids are moved up by one.
    Errors: NervehandError, one line that names file, value and remedy.
    """
    path = Path(path)
    arrays = load(path)
    try:
        return _session(arrays, path)
    except NervehandError as error:
        raise NervehandError(f"{path}: {error}") from None


def load(path: Path) -> dict[str, Array]:
    """All arrays of an .npz. Errors: NervehandError for anything else, and for arrays of objects."""
    try:
        with path.open("rb") as file:
            if file.read(2) != b"PK":
                raise NervehandError(f"{path}: is not an .npz file: write it with numpy.savez")
        with zipfile.ZipFile(path) as archive:
            return {info.filename.removesuffix(".npy"): _array(archive, info) for info in archive.infolist()}
    except OSError as error:
        raise NervehandError(f"{path}: cannot be read ({error.strerror or error}): check the name") from None
    except NervehandError:
        raise
    except Exception as error:  # what zipfile and its decompressors raise has no common base
        if "Object arrays" in str(error):
            raise NervehandError(f"{path}: holds an array of objects: save numbers and text only") from error
        raise NervehandError(f"{path}: is truncated or damaged ({error}): copy or save it again") from error


def _array(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> Array:
    with archive.open(info) as member:
        return read_npy(member, info.file_size)


def file_identity(path: Path) -> str:
    """A name for the content of a file: the first 32 hex digits of its SHA-256."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:32]


def _session(arrays: Mapping[str, Array], path: Path) -> Session:
    missing = [key for key in NEEDED if key not in arrays]
    if missing:
        raise NervehandError(
            f"lacks {', '.join(missing)} (it has {', '.join(arrays) or 'nothing'}): save signal, rate and kind"
        )
    signal = _signal(arrays["signal"])
    n, channels = signal.shape
    info = _info(arrays, channels)
    names, labels = _labels(arrays, n)
    truth = _truth(arrays)
    columns = 0 if truth is None else truth.shape[1] if truth.ndim == 2 else 1
    truth_names = _texts(arrays, "truth_names") or tuple(f"truth_{i + 1}" for i in range(columns))
    return Session(
        info=info,
        meta=SessionMeta(
            identifier=file_identity(path),
            subject=_text(arrays, "subject"),
            side=_text(arrays, "side"),
            array=_text(arrays, "array"),
            description=f"Imported from the arrays file {path.name}.",
        ),
        signal=signal,
        labels=labels,
        gesture_names=names,
        trial=_trial(arrays, n),
        repetition=_small(arrays, "repetition", n),
        truth=truth,
        truth_names=truth_names,
        truth_units=_texts(arrays, "truth_units") or ("unknown",) * len(truth_names),
        recorded=Recorded(notes=_notes(arrays, signal)),
    )


def _signal(signal: Array) -> NDArray[np.float32] | NDArray[np.int16]:
    if signal.ndim != 2:
        raise NervehandError(f"signal has shape {signal.shape}: give (samples, channels)")
    if len(signal) == 0:
        raise NervehandError("the session is empty (0 samples): save at least one sample")
    if signal.dtype == np.int16:
        return np.ascontiguousarray(signal, np.int16)
    if signal.dtype.kind not in "iuf":
        raise NervehandError(f"signal is {signal.dtype}: give numbers, in microvolts")
    with np.errstate(over="ignore"):
        return np.ascontiguousarray(signal, np.float32)


def _info(arrays: Mapping[str, Array], channels: int) -> StreamInfo:
    kind = _text(arrays, "kind")
    kinds: dict[str, StreamKind] = {"raw": "emg", **{name: name for name in STREAM_KINDS}}
    if kind not in kinds:
        raise NervehandError(f"kind is {kind!r}: use nerve, emg, raw (the same as emg) or envelope")
    return StreamInfo(
        rate_hz=_number(arrays, "rate"),
        channel_names=_texts(arrays, "channel_names") or tuple(f"ch{i + 1}" for i in range(channels)),
        kind=kinds[kind],
        electrodes=_texts(arrays, "electrodes"),
        full_scale_uv=_number(arrays, "full_scale_uv") if "full_scale_uv" in arrays else None,
        mains_hz=_number(arrays, "mains_hz") if "mains_hz" in arrays else 50.0,
    )


def _labels(arrays: Mapping[str, Array], n: int) -> tuple[tuple[str, ...], NDArray[np.int16] | None]:
    names = _texts(arrays, "names")
    values = _whole_numbers(arrays, "labels", n)
    if values is None:
        return names or ("rest",), None
    if not names:
        if values.max(initial=0) > np.iinfo(np.int16).max:
            raise NervehandError(f"label {values.max()} is too large: number gestures 0 (rest), 1, 2, 3, ...")
        names = ("rest", *(f"gesture {i}" for i in range(1, int(values.max(initial=0)) + 1)))
    outside = (values < 0) | (values >= len(names))
    if bool(outside.any()):
        row = int(np.argmax(outside))
        raise NervehandError(
            f"label {values[row]} at sample {row} is outside the {len(names)} names ({', '.join(names)}):"
            " name it or correct it"
        )
    return names, values.astype(np.int16)


def _truth(arrays: Mapping[str, Array]) -> NDArray[np.float32] | None:
    truth = arrays.get("truth")
    if truth is None:
        return None
    if truth.dtype.kind not in "iufb":
        raise NervehandError(f"truth is {truth.dtype}: give numbers")
    with np.errstate(over="ignore"):
        return np.ascontiguousarray(truth, np.float32)


def _trial(arrays: Mapping[str, Array], n: int) -> NDArray[np.int32] | None:
    values = _whole_numbers(arrays, "trial", n)
    if values is None:
        return None
    values = np.maximum(values, 0)
    if sum(value == 0 for value, _, _ in runs(values)) == 1:
        values = values + 1
    if values.max(initial=0) > np.iinfo(np.int32).max:
        raise NervehandError(f"trial id {values.max()} is too large: number the trials from 1")
    return values.astype(np.int32)


def _small(arrays: Mapping[str, Array], key: str, n: int) -> NDArray[np.int16] | None:
    values = _whole_numbers(arrays, key, n)
    if values is None:
        return None
    if values.min(initial=0) < 0 or values.max(initial=0) > np.iinfo(np.int16).max:
        raise NervehandError(f"{key} holds {values.min()}..{values.max()}: use 0 (none) and 1, 2, 3, ...")
    return values.astype(np.int16)


def _whole_numbers(arrays: Mapping[str, Array], key: str, n: int) -> NDArray[np.int64] | None:
    values = arrays.get(key)
    if values is None:
        return None
    if values.shape != (n,):
        raise NervehandError(f"{key} has shape {values.shape} for {n} samples: give one value per sample")
    if values.dtype.kind not in "iufb":
        raise NervehandError(f"{key} is {values.dtype}: give whole numbers")
    numbers = values.astype(np.float64)
    broken = ~(np.isfinite(numbers) & (numbers == np.rint(numbers)))
    if bool(broken.any()):
        row = int(np.argmax(broken))
        raise NervehandError(f"{key} is {values[row]} at sample {row}: give whole numbers")
    return values.astype(np.int64)


def _number(arrays: Mapping[str, Array], key: str) -> float:
    value = arrays[key]
    if value.size != 1 or value.dtype.kind not in "iuf":
        raise NervehandError(f"{key} is {value.dtype} of shape {value.shape}: give one number")
    return float(value.reshape(()).astype(np.float64))


def _text(arrays: Mapping[str, Array], key: str) -> str:
    texts = _texts(arrays, key)
    if len(texts) > 1:
        raise NervehandError(f"{key} has {len(texts)} entries: give one")
    return texts[0] if texts else ""


def _texts(arrays: Mapping[str, Array], key: str) -> tuple[str, ...]:
    if key not in arrays:
        return ()
    values = arrays[key].ravel()
    if values.dtype.kind == "S":
        return tuple(bytes(value).decode("utf-8", "replace") for value in values.tolist())
    if values.dtype.kind != "U":
        raise NervehandError(f"{key} is {values.dtype}: give text")
    return tuple(str(value) for value in values.tolist())


def _notes(arrays: Mapping[str, Array], signal: NDArray[np.float32] | NDArray[np.int16]) -> tuple[Note, ...]:
    notes = []
    bad = ~np.isfinite(signal)
    if bool(bad.any()):
        first = int(np.argmax(bad.any(axis=1)))
        channels = int(bad.any(axis=0).sum())
        notes.append(
            Note(
                first, f"{int(bad.sum())} signal values in {channels} channels are not finite: masked in use"
            )
        )
    unknown = [key for key in arrays if key not in NEEDED + OPTIONAL]
    if unknown:
        notes.append(Note(0, f"keys not used: {', '.join(unknown)}"))
    return tuple(notes)
