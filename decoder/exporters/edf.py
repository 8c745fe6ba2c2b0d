"""Exporting to EDF+ (16 bits) or BDF+ (24 bits), after the name's ending.

The library edfio builds a whole recording in memory, so records are written here as they are read; edfio and
MNE-Python read them back in the tests.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from decoder.exporters.annotations import (
    Annotation,
    Extent,
    annotations_of,
    extent,
    left_out,
    plain_names,
    renamed,
)
from decoder.exporters.cut import Cut, Exported
from decoder.exporters.edf_layout import (
    FileHeader,
    Records,
    SignalHeader,
    Width,
    annotation_bytes,
    count_range,
    header_bytes,
    packed,
    physical_range,
    records,
)
from decoder.session.skeleton import create_private, start_of
from decoder.session.writer import whole_file
from firmware_bridge.errors import NervehandError

WIDTHS = {".edf": Width(16), ".bdf": Width(24)}
STATUS = "Status"
"""The label by which BioSemi's files, and so readers, know the digital lines."""

_MONTHS = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")


@dataclass(frozen=True, slots=True)
class _Scales:
    """Signals (k,) by column: physical value = (digital - `zero`) x `gain`."""

    headers: tuple[SignalHeader, ...]
    gain: NDArray[np.float64]
    zero: NDArray[np.float64]


def export(cut: Cut, out: Path) -> Exported:
    """Write a cut to OUT.edf or OUT.bdf. Errors: NervehandError for another ending, or where it cannot be written."""
    if out.suffix.lower() not in WIDTHS:
        raise NervehandError(f"{out}: name it .edf (16 bits a sample) or .bdf (24 bits)")
    width = WIDTHS[out.suffix.lower()]
    n_signals = cut.info.n_channels + len(cut.header.truth_names) + (cut.digital is not None)
    layout = records(cut.info.rate_hz, cut.n_samples, n_signals, width)
    found = extent(cut)
    labels = _labels(cut, width)[: cut.info.n_channels]
    scales = _scales(cut, labels, found, layout, width)
    n_records = -(-cut.n_samples // layout.n)
    date, offset = _start(cut)
    texts = _texts(cut, labels, found, layout, offset)
    stamps, size = packed(texts, n_records, layout.duration, offset)
    size += -size % width.bytes
    note = SignalHeader(
        f"{width.form} Annotations", "", ("-1", "1"), (width.least, width.greatest), size // width.bytes
    )
    header = FileHeader(
        patient=f"{_word(cut.header.meta.subject)} X X X",
        recording=f"Startdate {'X' if date is None else _long(date)} X X nervehand",
        date="01.01.85" if date is None else f"{date:%d.%m.%y}",
        time="00.00.00" if date is None else f"{date:%H.%M.%S}",
        n_records=n_records,
        duration=layout.duration,
    )
    start = header_bytes(header, [*scales.headers, note], width)
    need = len(start) + n_records * (layout.n * n_signals * width.bytes + size)
    with whole_file(out, need) as part:
        create_private(part)
        with part.open("r+b") as file:
            file.write(start)
            at = 0
            for samples in _records(cut, scales, layout.n, width):
                stamped = b"".join(text.ljust(size, b"\0") for text in stamps[at : at + len(samples)])
                ending = np.frombuffer(stamped, np.uint8)
                file.write(np.concatenate([samples, ending.reshape(len(samples), size)], axis=1).tobytes())
                at += len(samples)
    error = _largest_error(cut, scales)
    return Exported(
        (out,), f"{width.form}+, {width.bits} bits", error, tuple(_notes(cut, layout, found, width))
    )


def _labels(cut: Cut, width: Width) -> tuple[str, ...]:
    """What channels and truth are called: never what has a meaning of its own to readers."""
    meant = (STATUS, "Trigger", f"{width.form} Annotations")
    reserved = (*meant, *(word.lower() for word in meant), *(word.upper() for word in meant))
    return plain_names((*reserved, *cut.info.channel_names, *cut.header.truth_names), 16)[len(reserved) :]


def _scales(cut: Cut, labels: tuple[str, ...], found: Extent, layout: Records, width: Width) -> _Scales:
    info, headers = cut.info, []
    band = info.hardware_band_hz
    filters = "" if band is None else f"HP:{band[0]:g}Hz LP:{band[1]:g}Hz"
    scale_uv = cut.header.scale_uv
    if cut.is_integer:
        least, greatest = round(found.low_uv.min() / scale_uv), round(found.high_uv.max() / scale_uv)
        counts = count_range(scale_uv, least, greatest)
    for i, label in enumerate(labels):
        contact = info.electrodes[i] if info.electrodes else ""
        if cut.is_integer:
            physical, digital = counts
        else:
            physical = physical_range(float(found.low_uv[i]), float(found.high_uv[i]))
            digital = (width.least, width.greatest)
        if physical[0] == physical[1]:
            raise NervehandError(
                f"channel {info.channel_names[i]} has steps too small for {width.form}'s header, in microvolts with"
                " eight characters: export to nwb, xdf or mne"
            )
        kind = " ".join(word for word in (info.kind, info.nerve, contact, cut.header.meta.array) if word)
        headers.append(SignalHeader(label, "uV", physical, digital, layout.n, kind, filters))
    low, high = _truth_range(cut)
    for name, unit, a, b in zip(
        _labels(cut, width)[len(labels) :], cut.header.truth_units, low, high, strict=True
    ):
        limits = physical_range(float(a), float(b))
        headers.append(
            SignalHeader(name, unit, limits, (width.least, width.greatest), layout.n, "ground truth")
        )
    if cut.digital is not None:
        limit = (str(width.least), str(width.greatest))
        headers.append(
            SignalHeader(STATUS, "Boolean", limit, (width.least, width.greatest), layout.n, "digital lines")
        )
    physical_ = np.array([[float(text) for text in h.physical] for h in headers])
    digital_ = np.array([h.digital for h in headers], np.float64)
    gain = (physical_[:, 1] - physical_[:, 0]) / (digital_[:, 1] - digital_[:, 0])
    return _Scales(tuple(headers), gain, digital_[:, 0] - physical_[:, 0] / gain)


def _truth_range(cut: Cut) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    d = len(cut.header.truth_names)
    low, high = np.full(d, np.inf), np.full(d, -np.inf)
    for start, stop in cut.slabs(d) if d else ():
        rows = cut.truth(start, stop)
        low, high = np.minimum(low, rows.min(0)), np.maximum(high, rows.max(0))
    return np.minimum(low, 0.0), np.maximum(high, 0.0)


def _records(cut: Cut, scales: _Scales, n: int, width: Width) -> Iterator[NDArray[np.uint8]]:
    """Data records without their annotations, some at a time: (records, bytes)."""
    c, d = cut.info.n_channels, len(cut.header.truth_names)
    least, greatest = np.array([h.digital for h in scales.headers], np.float64).T
    for start, stop in cut.slabs(len(scales.headers), n):
        k = -(-(stop - start) // n)
        digital = np.zeros((k * n, len(scales.headers)), np.int32)
        rows = cut.rows(start, stop)
        values = np.zeros((k * n, c + d))
        if not cut.is_integer:
            values[: stop - start, :c] = np.where(np.isfinite(rows), rows, 0.0)
        values[: stop - start, c:] = cut.truth(start, stop)
        scaled = np.rint(values / scales.gain[: c + d] + scales.zero[: c + d])
        digital[:, : c + d] = np.clip(scaled, least[: c + d], greatest[: c + d])
        if cut.is_integer:
            digital[: stop - start, :c] = rows
            digital[stop - start :, :c] = 0
        if cut.digital is not None:
            digital[: stop - start, c + d] = cut.lines(start, stop) & np.uint32(greatest[c + d])
        by_signal = np.ascontiguousarray(digital.reshape(k, n, -1).transpose(0, 2, 1), "<i4")
        yield by_signal.view(np.uint8).reshape(k, -1, 4)[:, :, : width.bytes].reshape(k, -1)


def _texts(
    cut: Cut, labels: tuple[str, ...], found: Extent, layout: Records, offset: Decimal
) -> list[tuple[int, bytes]]:
    """Annotations by the record in which they begin."""
    spans = sorted([*annotations_of(cut), *found.not_finite, *renamed(cut.info.channel_names, labels)])
    padding = -cut.n_samples % layout.n
    if padding:
        spans.append(Annotation(cut.n_samples, padding, "BAD_padding"))
    texts = []
    for span in spans:
        # Readers such as MNE-Python know by @@ which channel is meant.
        text = span.text.replace("@@", "@ @")
        if span.channel is not None:
            text += f"@@{labels[span.channel]}"
        onset_s = float(offset) + span.row / layout.rate_hz
        pieces = annotation_bytes(onset_s, span.n / layout.rate_hz, text)
        texts += [(span.row // layout.n, piece) for piece in pieces]
    return texts


def _start(cut: Cut) -> tuple[datetime | None, Decimal]:
    """When the first sample was taken, on the clock of the place, and its fraction of a second; None: unknown."""
    if not cut.header.meta.start_time:
        return None, Decimal(0)
    start = start_of(cut.header.meta) + timedelta(seconds=cut.first / cut.info.rate_hz)
    if not 1985 <= start.year <= 2084:  # two digits of a year
        return None, Decimal(0)
    return start, Decimal(start.microsecond) / 1_000_000


def _long(date: datetime) -> str:
    return f"{date.day:02d}-{_MONTHS[date.month - 1]}-{date.year}"


def _word(text: str) -> str:
    """One word of a header field: spaces part them."""
    return text.replace(" ", "_")[:60] or "X"


def _largest_error(cut: Cut, scales: _Scales) -> float:
    c = cut.info.n_channels
    if not cut.is_integer:
        return float(scales.gain[:c].max()) / 2
    ends = np.array([h.digital for h in scales.headers[:c]], np.float64).T
    read = (ends - scales.zero[:c]) * scales.gain[:c]
    return float(np.abs(read - ends * cut.header.scale_uv).max())


def _notes(cut: Cut, layout: Records, found: Extent, width: Width) -> Iterator[str]:
    rate_hz = cut.info.rate_hz
    if not cut.is_integer and width.bits == 16:
        yield "the recording has 32-bit samples, stored with 16 bits: name the file .bdf for 24"
    if layout.rate_hz != rate_hz:
        apart = abs(layout.rate_hz / rate_hz - 1)
        yield (
            f"the sampling rate is {layout.rate_hz!r} Hz in it, {rate_hz!r} Hz in the session:"
            f" {apart * cut.n_samples:.2g} samples apart at the end"
        )
    if cut.gaps:
        yield "samples that were never received are 0 in it, and named BAD_gap"
    if found.not_finite:
        yield "samples that are not finite are 0 in it, and named BAD_not_finite"
    if -cut.n_samples % layout.n:
        yield f"its last {-cut.n_samples % layout.n} samples fill up a record: they are 0, and named BAD_padding"
    if cut.digital is not None and bool(np.any(cut.digital.lines > width.greatest)):
        yield f"digital lines from {width.bits - 1} on are not in it"
    yield from left_out(cut)
