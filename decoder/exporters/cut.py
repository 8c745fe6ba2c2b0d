"""What of a session is exported, read a slab at a time: an hour of it never lies in memory."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from decoder.session.contents import read_stream
from decoder.session.digital import DigitalLines
from decoder.session.layout import NOTES_PATH, TRIALS_PATH, TRUTH_PATH, Header, streams
from decoder.session.model import Gap, Samples, Session, Trial
from decoder.session.reader import SignalOnDisk, open_file, read_header, read_session
from decoder.session.recorded import EventKind, Note
from firmware_bridge.errors import NervehandError
from firmware_bridge.stream import StreamInfo

if TYPE_CHECKING:
    import h5py

SLAB_BYTES = 8 << 20
"""Samples in memory at a time, as float64."""

STREAM_ROWS = 1 << 15

HOLDING = frozenset({"marks", "health", "digital"})
"""Streams whose rows hold until the next one."""

_DAMAGE = (KeyError, OSError, ValueError, TypeError, IndexError, RuntimeError)

Columns = list[NDArray[np.generic]]


@dataclass(frozen=True, slots=True)
class Exported:
    """What came of an export: the files (the first is the one to open), the format in words, the largest difference
    of a sample in microvolts, and what differs or is lost, a line each."""

    files: tuple[Path, ...]
    form: str
    largest_error_uv: float
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Cut:
    """The samples `first` up to and without `stop` (absolute) of the session in an open file; its rows count from 0.

    `header`, `signal` and `digital` are those of the whole session; `gaps` lie inside the cut.
    """

    path: Path
    file: h5py.File
    header: Header
    signal: SignalOnDisk
    digital: DigitalLines | None
    gaps: tuple[Gap, ...]
    first: int
    stop: int

    @property
    def info(self) -> StreamInfo:
        return self.header.info

    @property
    def n_samples(self) -> int:
        return self.stop - self.first

    @property
    def is_integer(self) -> bool:
        return self.header.dtype == "int16"

    @property
    def is_whole(self) -> bool:
        return self.first == self.header.first_sample and self.reaches_end

    @property
    def reaches_end(self) -> bool:
        return self.stop == self.header.first_sample + self.signal.shape[0]

    def slabs(self, width: int, multiple: int = 1) -> Iterator[tuple[int, int]]:
        """Rows (start, stop), in order, few enough for `width` values a row; multiples of `multiple` but the last."""
        rows = max(1, SLAB_BYTES // (8 * width * multiple)) * multiple
        for start in range(0, self.n_samples, rows):
            yield start, min(self.n_samples, start + rows)

    def rows(self, start: int, stop: int) -> Samples:
        """Samples as received, 0 in gaps: (stop - start, c) int16 or float32."""
        at = self.first - self.header.first_sample
        rows = self.signal[slice(at + start, at + stop)]
        for a, b in self._gap_rows(start, stop):
            rows[a:b] = 0
        return rows

    def microvolts(self, start: int, stop: int) -> NDArray[np.float32]:
        """Samples in microvolts, NaN in gaps: (stop - start, c)."""
        rows = self.rows(start, stop)
        scaled = rows.astype(np.float32)
        if self.is_integer:
            scaled = (rows * self.header.scale_uv).astype(np.float32)
        for a, b in self._gap_rows(start, stop):
            scaled[a:b] = np.nan
        return scaled

    def received(self) -> list[tuple[int, int]]:
        """Rows (start, stop) outside gaps, in order."""
        edges = [self.first, *(edge for gap in self.gaps for edge in (gap.start, gap.stop)), self.stop]
        pairs = zip(edges[::2], edges[1::2], strict=True)
        return [(a - self.first, b - self.first) for a, b in pairs if a < b]

    def truth(self, start: int, stop: int) -> NDArray[np.float32]:
        """Ground truth (stop - start, d); d = 0 where there is none."""
        if not self.header.truth_names:
            return np.empty((stop - start, 0), np.float32)
        at = self.first - self.header.first_sample
        with self._reading():
            rows = np.asarray(self.file[f"{TRUTH_PATH}/data"][at + start : at + stop], np.float32)
        if len(rows) != stop - start:
            raise NervehandError(f"{self.path}: its ground truth ends early: restore the file from a copy")
        return rows

    def lines(self, start: int, stop: int) -> NDArray[np.uint32]:
        """Digital lines (stop - start,), a bit each."""
        if self.digital is None:
            return np.zeros(stop - start, np.uint32)
        return self.digital.at(self.first + start, stop - start)

    def stream(self, name: str) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64], Columns]]:
        """Rows of a stream that belong to the cut, some at a time: sample index as stored, the row of the cut at which
        they happened, and the columns.

        A row that names no sample (-1) happened when the one before it did. Of a stream whose rows hold, the first is
        what held when the cut begins. Gaps are not read this way: see `gaps`.
        """
        if name in HOLDING:
            yield from self._held(name)
            return
        place = streams(self.header)[name]
        if place.root_paths()[0] not in self.file:
            return
        with self._reading():
            n = len(self.file[place.data_paths()[0]])
        latest = self.header.first_sample
        for a in range(0, n, STREAM_ROWS):
            with self._reading():
                index, columns = read_stream(self.file, self.header, name, slice(a, min(n, a + STREAM_ROWS)))
            happened = np.maximum.accumulate(np.maximum(index, latest))
            latest = int(happened[-1])
            if name == "events":  # in the order in which they were found, which is not that of samples
                index, columns = self._reaching_in(index, columns)
                happened = np.maximum(index, self.header.first_sample)
            chosen = self._in_cut(happened)
            if bool(chosen.any()):
                row = np.minimum(happened[chosen], self.stop - 1) - self.first
                yield index[chosen], row, [column[chosen] for column in columns]

    def _reaching_in(self, index: NDArray[np.int64], columns: Columns) -> tuple[NDArray[np.int64], Columns]:
        """Events, of which a stretch that was left out and goes on into the cut begins with the cut."""
        kind, first, second = columns
        length = first.astype(np.int64)
        cut_off = (kind == EventKind.LEFT_OUT) & (index < self.first) & (index + length > self.first)
        length = np.where(cut_off, length - (self.first - index), length)
        return np.where(cut_off, self.first, index), [kind, length, second]

    def _held(self, name: str) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64], Columns]]:
        with self._reading():
            index, columns = read_stream(self.file, self.header, name)
        before, end = np.searchsorted(index, [self.first, self.stop], side="right").tolist()
        end = int(np.searchsorted(index, self.stop, side="left"))
        rows = slice(max(0, before - 1), end)
        at = np.maximum(index[rows], self.first)
        if len(at):
            yield at, at - self.first, [column[rows] for column in columns]

    def _in_cut(self, index: NDArray[np.int64]) -> NDArray[np.bool_]:
        """A session's own ends keep what was noted before its first sample and after its last one."""
        chosen = np.ones(len(index), np.bool_) if self.reaches_end else index < self.stop
        return chosen if self.first == self.header.first_sample else chosen & (index >= self.first)

    def notes(self) -> tuple[Note, ...]:
        """Free text, with absolute sample indices."""
        if NOTES_PATH not in self.file:
            return ()
        with self._reading():
            index = self.file[f"{NOTES_PATH}/sample_index"][:].astype(np.int64)
            texts = self.file[f"{NOTES_PATH}/text"].asstr()[:]
        chosen = self._in_cut(index)
        return tuple(
            Note(int(i), str(text)) for i, text, is_in in zip(index, texts, chosen, strict=True) if is_in
        )

    def trials(self) -> tuple[Trial, ...]:
        """Trials that lie wholly inside the cut, in its rows."""
        if TRIALS_PATH not in self.file:
            return ()
        names = ("id", "repetition", "start_time", "stop_time", "gesture")
        with self._reading():
            columns = [self.file[f"{TRIALS_PATH}/{name}"][:] for name in names]
        found = []
        for i, repetition, start_s, stop_s, gesture in zip(*columns, strict=True):
            start, stop = (round(float(s) * self.info.rate_hz) - self.first for s in (start_s, stop_s))
            if start >= 0 and stop <= self.n_samples:
                found.append(Trial(int(i), int(repetition), start, stop, int(gesture)))
        return tuple(found)

    def _gap_rows(self, start: int, stop: int) -> Iterator[tuple[int, int]]:
        for gap in self.gaps:
            a, b = max(gap.start - self.first, start), min(gap.stop - self.first, stop)
            if a < b:
                yield a - start, b - start

    @contextmanager
    def _reading(self) -> Iterator[None]:
        try:
            yield
        except _DAMAGE as error:
            raise NervehandError(f"{self.path}: is damaged ({error}): restore it from a copy") from None


@contextmanager
def open_cut(path: Path, start_s: float = 0.0, seconds: float | None = None) -> Iterator[Cut]:
    """`seconds` of a session from `start_s` after its first sample on; all that follows where None.

    Errors: NervehandError for what is no closed session, or where nothing was received in that time.
    """
    session = read_session(path, signal_only=True)
    signal = session.signal
    if not isinstance(signal, SignalOnDisk):
        raise TypeError(f"the signal of {path} is a {type(signal).__name__}")
    try:
        first, stop = _span(path, session, start_s, seconds)
        with open_file(path) as file:
            gaps = tuple(
                Gap(max(gap.start, first), min(gap.stop, stop))
                for gap in session.gaps
                if gap.start < stop and gap.stop > first
            )
            if sum(gap.stop - gap.start for gap in gaps) == stop - first:
                raise NervehandError(
                    f"{path}: nothing was received in samples {first}..{stop - 1}: choose another stretch"
                )
            yield Cut(path, file, read_header(file), signal, session.digital, gaps, first, stop)
    finally:
        signal.close()


def _span(path: Path, session: Session, start_s: float, seconds: float | None) -> tuple[int, int]:
    if not (math.isfinite(start_s) and 0 <= start_s < session.duration_s):
        raise NervehandError(
            f"{path}: start is {start_s:g} s and the session has {session.duration_s:g} s: choose a time within it"
        )
    if seconds is not None and not (math.isfinite(seconds) and seconds > 0):
        raise NervehandError(f"{path}: {seconds:g} seconds are asked for: give a positive number")
    rate_hz, end = session.info.rate_hz, session.first_sample + session.n_samples
    first = min(session.first_sample + round(start_s * rate_hz), end - 1)
    return first, end if seconds is None else min(end, first + max(1, round(seconds * rate_hz)))
