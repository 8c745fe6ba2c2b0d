"""What a recording says of stretches of samples, as text: for formats that know annotations or markers."""

from __future__ import annotations

import itertools
import unicodedata
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from decoder.exporters.cut import Cut
from decoder.session.recorded import EventKind
from firmware_bridge.errors import NervehandError

GAP = "BAD_gap"
LEFT_OUT = "BAD_left_out"
NOT_FINITE = "BAD_not_finite"
MASKED = "masked"

_MERGED_S = 0.1
"""Stretches that are not finite are one where they lie closer than this, so that their number stays bounded."""


@dataclass(frozen=True, slots=True, order=True)
class Annotation:
    """`n` samples from a row of the cut on (0: a moment), about one channel or, where None, all."""

    row: int
    n: int
    text: str
    channel: int | None = None


def annotations_of(cut: Cut) -> list[Annotation]:
    """Gaps, trials, labels other than rest, masks, events and notes, by row."""
    found = [Annotation(gap.start - cut.first, gap.stop - gap.start, GAP) for gap in cut.gaps]
    names = cut.header.gesture_names
    for trial in cut.trials():
        text = f"trial/{_gesture(cut, trial.gesture)}/{trial.repetition}"
        found.append(Annotation(trial.start, trial.stop - trial.start, text))
    for start, stop, label in _labels(cut):
        found.append(Annotation(start, stop - start, f"label/{names[label]}"))
    for channel, start, stop in masked_spans(cut):
        found.append(Annotation(start, stop - start, MASKED, channel))
    found += _events(cut)
    for note in cut.notes():
        row = min(max(note.sample_index - cut.first, 0), cut.n_samples - 1)
        found.append(Annotation(row, 0, f"note: {note.text.encode(errors='replace').decode()}"))
    return sorted(found, key=lambda a: (a.row, -a.n))


def masked_spans(cut: Cut) -> list[tuple[int, int, int]]:
    """(channel, start, stop) in rows of the cut wherever channel health had masked a channel."""
    spans = []
    for _, rows, (packed,) in cut.stream("health"):
        mask = np.unpackbits(packed.astype(np.uint8), axis=1, count=cut.info.n_channels)
        ends = np.append(rows, cut.n_samples)
        edges = np.diff(np.pad(mask.astype(np.int8), ((1, 1), (0, 0))), axis=0)
        for channel in range(cut.info.n_channels):
            begins, stops = (np.flatnonzero(edges[:, channel] == way) for way in (1, -1))
            pairs = zip(begins.tolist(), stops.tolist(), strict=True)
            spans += [(channel, int(ends[a]), int(ends[b])) for a, b in pairs]
    return spans


def masked_share(cut: Cut) -> NDArray[np.float64]:
    """For what part of the samples each channel (c,) was masked."""
    share = np.zeros(cut.info.n_channels)
    for channel, start, stop in masked_spans(cut):
        share[channel] += (stop - start) / cut.n_samples
    return share


def _labels(cut: Cut) -> list[tuple[int, int, int]]:
    """(start, stop, label) of each stretch with a label other than rest."""
    spans: list[tuple[int, int, int]] = []
    for _, rows, (labels, _, _) in cut.stream("marks"):
        ends = np.append(rows, cut.n_samples).tolist()
        for label, (start, stop) in zip(labels.tolist(), itertools.pairwise(ends), strict=True):
            if spans and spans[-1][1:] == (start, label):
                spans[-1] = (spans[-1][0], stop, label)
            else:
                _gesture(cut, label)
                spans.append((start, stop, label))
    return [span for span in spans if span[2] > 0 and span[0] < span[1]]


def _gesture(cut: Cut, label: int) -> str:
    if label >= len(cut.header.gesture_names):
        raise NervehandError(
            f"{cut.path}: label {label} is outside its names ({', '.join(cut.header.gesture_names)}): restore the file"
        )
    return cut.header.gesture_names[max(label, 0)]


def _events(cut: Cut) -> list[Annotation]:
    found = []
    kinds = {int(kind): kind.name.lower() for kind in EventKind}
    for _, rows, columns in cut.stream("events"):
        for row, kind, first, second in zip(rows.tolist(), *(c.tolist() for c in columns), strict=True):
            if kind == EventKind.LEFT_OUT:
                found.append(Annotation(row, min(first, cut.n_samples - row), LEFT_OUT))
            else:
                found.append(Annotation(row, 0, f"event/{kinds.get(kind, kind)}/{first}/{second}"))
    return found


@dataclass(frozen=True, slots=True)
class Extent:
    """The least and greatest finite sample of each channel (c,) in microvolts, 0 among them, and the stretches in
    which a sample was received that is not finite."""

    low_uv: NDArray[np.float64]
    high_uv: NDArray[np.float64]
    not_finite: tuple[Annotation, ...]


def extent(cut: Cut) -> Extent:
    """Read all samples of a cut once."""
    c = cut.info.n_channels
    low, high = np.zeros(c), np.zeros(c)
    spans: list[list[int]] = []
    apart = max(1, round(_MERGED_S * cut.info.rate_hz))
    for start, stop in cut.slabs(c):
        rows = cut.rows(start, stop).astype(np.float64)
        if cut.is_integer:
            rows *= cut.header.scale_uv
        finite = np.isfinite(rows)
        rows[~finite] = 0.0
        low, high = np.minimum(low, rows.min(0)), np.maximum(high, rows.max(0))
        at = np.flatnonzero(~finite.all(1)) + start
        for piece in np.split(at, np.flatnonzero(np.diff(at) > apart) + 1) if len(at) else []:
            if spans and int(piece[0]) - spans[-1][1] <= apart:
                spans[-1][1] = int(piece[-1]) + 1
            else:
                spans.append([int(piece[0]), int(piece[-1]) + 1])
    return Extent(low, high, tuple(Annotation(a, b - a, NOT_FINITE) for a, b in spans))


def left_out(cut: Cut) -> list[str]:
    """What a session has beside signal, truth and digital lines that annotations do not tell, as one line or none."""
    names = {
        "intents": "intents",
        "commands": "commands",
        "sent": "what was sent to the hand",
        "traces": "how long commands took",
        "states": "hand states",
        "sensors": "the able hand's sensors",
    }
    lost = [words for name, words in names.items() if next(cut.stream(name), None) is not None]
    return [f"not in it: {', '.join(lost)}; nwb and xdf hold them"] if lost else []


def plain_names(names: tuple[str, ...], most: int) -> tuple[str, ...]:
    """Names in printable ASCII, at most `most` characters, each one unique: where a format knows no others."""
    plain: list[str] = []
    for name in names:
        ascii_name = unicodedata.normalize("NFKD", name.replace("µ", "u").replace("μ", "u"))
        text = "".join(c for c in ascii_name if not unicodedata.combining(c))
        text = "".join(c if " " <= c <= "~" else "_" for c in text).strip()[:most].strip() or "channel"
        count = itertools.count(2)
        unique = text
        while unique in plain:
            ending = f"~{next(count)}"
            unique = text[: most - len(ending)] + ending
        plain.append(unique)
    return tuple(plain)


def renamed(names: tuple[str, ...], plain: tuple[str, ...]) -> list[Annotation]:
    """What channels are really called, where a format could not hold it."""
    return [Annotation(0, 0, f"name of {b}: {a}") for a, b in zip(names, plain, strict=True) if a != b]
