"""Exporting to MNE-Python's FIF files: a Raw in volts with Annotations."""

from __future__ import annotations

import os
import shutil
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, timedelta
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from decoder.exporters.annotations import (
    Annotation,
    Extent,
    annotations_of,
    extent,
    left_out,
    masked_share,
    plain_names,
    renamed,
)
from decoder.exporters.cut import Cut, Exported
from decoder.session.skeleton import start_of
from decoder.session.writer import check_space, sync_folder
from firmware_bridge.errors import NervehandError

if TYPE_CHECKING:
    import mne

CHANNEL_TYPES = {"nerve": "seeg", "emg": "emg", "envelope": "emg"}
"""MNE-Python has no type for electrodes in a peripheral nerve. 'seeg' (electrodes within tissue) is the one whose
channels are in volts, are filtered and plotted without being asked for, and are referenced to nothing by themselves;
'misc' channels have no unit and are left out of all that."""

BAD_SHARE = 0.5
"""A channel that was masked for longer than this is among the bad ones."""

SPLIT_BYTES = 2_000_000_000
"""A FIF file is not to be longer, since it counts its bytes with 31 bits; the next one goes on."""

_ROOM_BYTES = 64 << 20
_BUFFER_VALUES = 1 << 19


@dataclass(frozen=True, slots=True)
class _Storage:
    """How samples are stored: FIF's format, volts per stored number, and what that costs."""

    form: str
    volts: float
    largest_error_uv: float


def export(cut: Cut, out: Path, split_bytes: int = SPLIT_BYTES) -> Exported:
    """Write a cut to a FIF file, and where it is too long for one to OUT-1.fif and so on.

    Errors: NervehandError for another ending, without MNE-Python, or where it cannot be written.
    """
    if out.suffix != ".fif":
        raise NervehandError(f"{out}: name it .fif, best ..._raw.fif, as MNE-Python expects")
    if find_spec("mne") is None:
        raise NervehandError("exporting to mne needs MNE-Python: install nervehand[export]")
    extent_ = extent(cut)
    storage, found = _storage(cut, extent_), extent_.not_finite
    names = plain_names((*cut.info.channel_names, *cut.header.truth_names, "digital"), 60)
    spans = [*annotations_of(cut), *found, *renamed(cut.info.channel_names, names[: cut.info.n_channels])]
    raw = _raw(cut, storage, names, spans)
    width = len(raw.ch_names) * {"short": 2, "single": 4, "double": 8}[storage.form]
    seconds = max(1, _BUFFER_VALUES // len(raw.ch_names)) / raw.info["sfreq"]
    with _whole_folder(out, cut.n_samples * width) as part, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of a name that MNE-Python would not choose
        raw.save(
            part / out.name,
            fmt=storage.form,
            buffer_size_sec=seconds,
            split_size=split_bytes,
            verbose="error",
        )
        files = tuple(out.with_name(file.name) for file in sorted(part.iterdir(), key=_part_number))
    return Exported(
        files, f"FIF, {storage.form}, {CHANNEL_TYPES[cut.info.kind]}", storage.largest_error_uv,
        tuple(_notes(cut, raw, bool(found))),
    )  # fmt: skip


def _storage(cut: Cut, found: Extent) -> _Storage:
    highest = 0 if cut.digital is None else int(cut.digital.lines.max(initial=0))
    if cut.is_integer and not cut.header.truth_names and highest < 1 << 15:
        scale_uv = cut.header.scale_uv
        volts = float(np.float32(scale_uv * 1e-6))  # as FIF stores it
        return _Storage("short", volts, abs(volts * 1e6 - scale_uv) * 32768)
    if highest >= 1 << 24:
        return _Storage("double", 1.0, 0.0)
    top = max(float(found.high_uv.max()), -float(found.low_uv.min()))
    return _Storage("single", 1.0, float(np.spacing(np.float32(top * 1e-6))) * 1e6 / 2)


def _raw(cut: Cut, storage: _Storage, names: tuple[str, ...], spans: list[Annotation]) -> mne.io.BaseRaw:
    import mne

    class CutRaw(mne.io.BaseRaw):  # type: ignore[misc]
        """Reads a session as MNE-Python saves it."""

        @property
        def times(self) -> range:
            """Saving asks only how many there are; as an array, an hour of them is 0.3 GB."""
            return range(self.n_times)

        def _read_segment_file(
            self,
            data: NDArray[np.float64],
            idx: slice | NDArray[np.int64],
            fi: int,
            start: int,
            stop: int,
            cals: NDArray[np.float64],
            mult: None,
        ) -> None:
            data[:] = _values(cut, storage, start, stop)[idx]

    c, d = cut.info.n_channels, len(cut.header.truth_names)
    kinds = [CHANNEL_TYPES[cut.info.kind]] * c + ["misc"] * d + ["stim"] * (cut.digital is not None)
    info = mne.create_info(
        list(names[: len(kinds)]), float(np.float32(cut.info.rate_hz)), kinds, verbose="error"
    )
    with info._unlock():
        for channel in info["chs"]:
            channel["cal"] = storage.volts if channel["logno"] <= c else 1.0
        info["subject_info"] = {"his_id": cut.header.meta.subject} if cut.header.meta.subject else None
        info["description"] = cut.header.meta.description or None
        info["line_freq"] = None if cut.info.kind == "envelope" else cut.info.mains_hz
        if cut.info.hardware_band_hz is not None:
            low, high = cut.info.hardware_band_hz
            info["highpass"], info["lowpass"] = low, min(high, info["sfreq"] / 2)
        if cut.header.meta.start_time:
            since = timedelta(seconds=cut.first / cut.info.rate_hz)
            info["meas_date"] = start_of(cut.header.meta).astimezone(UTC) + since
        share = masked_share(cut)
        info["bads"] = [names[i] for i in np.flatnonzero(share > BAD_SHARE)]
    raw = CutRaw(info, last_samps=[cut.n_samples - 1], verbose="error")
    raw.set_annotations(_annotations(spans, names, info["sfreq"]), verbose="error")
    return raw


def _values(cut: Cut, storage: _Storage, start: int, stop: int) -> NDArray[np.float64]:
    """All channels (k, rows) in volts, the truth's own units, and the digital lines as a number."""
    rows = cut.rows(start, stop).astype(np.float64).T
    if storage.form == "short":
        # Divided by it again and cut off towards 0 when saved: exact, for a count and a float32 have 40 bits together.
        rows = rows * storage.volts
    else:
        rows = np.where(np.isfinite(rows), rows, 0.0) * (
            (cut.header.scale_uv if cut.is_integer else 1.0) * 1e-6
        )
    rest = [cut.truth(start, stop).T.astype(np.float64)]
    if cut.digital is not None:
        rest.append(cut.lines(start, stop)[None].astype(np.float64))
    return np.concatenate([rows, *rest])


def _annotations(spans: list[Annotation], names: tuple[str, ...], rate_hz: float) -> mne.Annotations:
    import mne

    return mne.Annotations(
        onset=[span.row / rate_hz for span in spans],
        duration=[span.n / rate_hz for span in spans],
        description=[_latin1(span.text) for span in spans],
        ch_names=[() if span.channel is None else (names[span.channel],) for span in spans],
        extras=[{"first_sample": span.row, "samples": span.n} for span in spans],
    )


def _latin1(text: str) -> str:
    """A text as FIF's strings can hold it; {COLON} is MNE-Python's own word for a colon.

    MNE-Python writes other letters as `&#956;`, and turns them back only where one of the texts has such a number of
    six digits: so write six digits, and the sign that begins them likewise.
    """
    clean = "".join(c if c >= " " or c == "\n" else " " for c in text.replace("{COLON}", ":"))
    return "".join(f"&#{ord(c):06d};" if c == "&" or ord(c) > 255 else c for c in clean)


@contextmanager
def _whole_folder(out: Path, need_bytes: int) -> Iterator[Path]:
    """A private folder beside `out` to write files to, which at the end take their places, `out` last."""
    if out.is_dir():
        raise NervehandError(f"{out}: is a folder: give a file name")
    check_space(out, need_bytes)
    part = out.with_name(f".{out.name}.{os.getpid()}.part")
    try:
        part.mkdir(mode=0o700)
        yield part
        for file in sorted(part.iterdir(), key=_part_number, reverse=True):
            file.chmod(0o600)
            with file.open("rb") as raw:
                os.fsync(raw.fileno())
            file.replace(out.with_name(file.name))
    except OSError as error:
        raise NervehandError(f"{out}: cannot be written ({error}): choose another place") from None
    finally:
        shutil.rmtree(part, ignore_errors=True)
    sync_folder(out)


def _part_number(file: Path) -> tuple[int, str]:
    """NAME.fif before NAME-1.fif, NAME-2.fif and so on."""
    return len(file.name), file.name


def _notes(cut: Cut, raw: mne.io.BaseRaw, is_not_finite: bool) -> Iterator[str]:
    stored_hz, rate_hz = raw.info["sfreq"], cut.info.rate_hz
    if stored_hz != rate_hz:
        apart = abs(stored_hz / rate_hz - 1)
        yield (
            f"the sampling rate is {stored_hz!r} Hz in it, {rate_hz!r} Hz in the session:"
            f" {apart * cut.n_samples:.2g} samples apart at the end"
        )
    off = float(np.spacing(np.float32(cut.n_samples / stored_hz))) / 2 * stored_hz
    if len(raw.annotations) and off >= 0.5:
        yield (
            f"onsets of annotations are up to {off:.1f} samples off, since FIF keeps them as 32-bit seconds:"
            " their extras hold first_sample and samples"
        )
    if cut.gaps:
        yield "samples that were never received are 0 in it, and named BAD_gap"
    if is_not_finite:
        yield "samples that are not finite are 0 in it, and named BAD_not_finite"
    yield from left_out(cut)
