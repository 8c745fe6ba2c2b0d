"""After a kill or a power cut: what of a recording can be trusted, as a new session file.

The recording itself, its journal and its tail are only read, never changed, so recovering can be repeated.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from decoder.session.contents import Verified, read_stream
from decoder.session.fold import is_in_place
from decoder.session.journal import journal_of, read_journal, read_lines
from decoder.session.layout import SIGNAL_PATH, TRUTH_PATH, Header
from decoder.session.model import Gap, Session, received_spans
from decoder.session.places import PlacedFile, places_of
from decoder.session.reader import naming, open_file, read_header, read_open, tail_of
from decoder.session.recorder import LANES, stream_crc
from decoder.session.sidecar import FlushRecord, Tail, read_tail
from decoder.session.unclosed import UnclosedFile
from decoder.session.writer import write_session
from firmware_bridge.errors import NervehandError

if TYPE_CHECKING:
    import h5py


MOST_ROWS = 1 << 26
"""Of one flush: many times what a recorder keeps in memory. A tail that says more is damaged."""


@dataclass(frozen=True, slots=True)
class Recovery:
    """What came of a recovery: the new file, samples received before the end, samples whose checksums hold,
    the ranges (absolute indices) that were flushed but no longer match, and damaged journal lines."""

    path: Path
    received: int
    verified: int
    damaged: tuple[Gap, ...]
    damaged_notes: int

    @property
    def lost(self) -> int:
        """Samples received that are not in the new file."""
        return self.received - self.verified

    def __str__(self) -> str:
        parts = [f"{self.path}: {self.verified} of {self.received} samples received, {self.lost} lost"]
        parts += [f"samples {gap.start}..{gap.stop - 1} fail their checksum" for gap in self.damaged]
        if self.damaged_notes:
            parts.append(f"{self.damaged_notes} notes are damaged")
        return "; ".join(parts)


@dataclass(frozen=True, slots=True)
class Salvage:
    """What of a recording can be trusted, while its file is open: the session, the samples received, the spans of
    signal rows whose checksums hold and that fail theirs, and damaged journal lines."""

    session: Session
    received: int
    spans: tuple[tuple[int, int], ...]
    damaged: tuple[tuple[int, int], ...]
    damaged_notes: int


def recover(path: str | Path, out: str | Path | None = None) -> Recovery:
    """Write all rows of an unclosed recording whose checksums hold to `out`, a closed session file.

    `out` is NAME.recovered.nwb beside it unless given, and must not exist. Rows of a flush that fails its
    checksum are left out and show as a gap. Errors: NervehandError where nothing can be verified.
    """
    path = Path(path)
    out = path.with_name(f"{path.stem}.recovered{path.suffix}") if out is None else Path(out)
    if out.exists():
        raise NervehandError(f"{out}: is there already: move it away or name another file")
    with salvage(path) as found:
        write_session(found.session, out)
    first = found.session.first_sample
    return Recovery(
        path=out,
        received=found.received,
        verified=sum(stop - start for start, stop in found.spans),
        damaged=tuple(Gap(first + a, first + b) for a, b in found.damaged),
        damaged_notes=found.damaged_notes,
    )


@contextmanager
def salvage(path: Path) -> Iterator[Salvage]:
    """The rows of an unclosed recording whose checksums hold. Errors: NervehandError where nothing can be verified."""
    if path.exists() and not tail_of(path).exists():
        raise NervehandError(
            f"{tail_of(path)}: is missing, so {path.name} was closed or was copied without it: read it as it is, or"
            " bring the tail along"
        )
    tail = read_tail(tail_of(path), len(LANES))
    with ExitStack() as opened:
        try:
            found = _whole(path, opened) if is_in_place(path) else _salvaged(path, tail, opened)
        except NervehandError as error:
            raise naming(path, error) from None
        except (KeyError, OSError, ValueError, TypeError, IndexError, RuntimeError) as error:
            raise NervehandError(f"{path}: cannot be recovered ({error}): its structure is damaged") from None
        yield found


def _whole(path: Path, opened: ExitStack) -> Salvage:
    """Of one that is a session already, and only its tail was left behind."""
    session = read_open(opened.enter_context(open_file(path)), path)
    spans = tuple(received_spans(session))
    return Salvage(session, sum(stop - start for start, stop in spans), spans, (), 0)


def _salvaged(path: Path, tail: Tail, opened: ExitStack) -> Salvage:
    file, header = _opened(path, opened)
    good = [verify(file, header, tail, i) for i in range(len(tail.records))]
    judged = [(_span(record), ok) for record, ok in zip(tail.records, good, strict=True)]
    judged = [(span, ok) for span, ok in judged if span[0] < span[1]]
    spans = tuple(span for span, ok in judged if ok)
    if not spans:
        raise NervehandError(
            f"none of {tail.received} samples received can be verified: nothing can be recovered"
        )
    notes, damaged_notes = read_journal(journal_of(path))
    part = Verified(spans[-1][1], _gaps(spans, header), _kept(tail, good), notes)
    session = read_open(file, path, verified=part, header=header)
    if session.truth is not None:
        for gap in session.gaps:
            session.truth[gap.start - session.first_sample : gap.stop - session.first_sample] = 0
    damaged = tuple(span for span, ok in judged if not ok)
    return Salvage(session, tail.received + tail.on_its_way, spans, damaged, damaged_notes)


def _opened(path: Path, opened: ExitStack) -> tuple[h5py.File, Header]:
    """The recording's rows by what its journal says of their places, else as HDF5 finds them; and its header."""
    import h5py

    places = places_of(read_lines(journal_of(path))[0])
    by_hdf5: h5py.File | None = None
    try:
        by_hdf5 = opened.enter_context(h5py.File(opened.enter_context(UnclosedFile(path)), "r"))
    except (OSError, RuntimeError, ValueError):
        if places is None:
            raise
    except NervehandError:
        if places is None or not path.exists():
            raise
    if places is None:
        return by_hdf5, read_header(by_hdf5)
    file = PlacedFile(path, places, by_hdf5)
    opened.callback(file.close)
    return file, places.header


def verify(file: h5py.File, header: Header, tail: Tail, position: int) -> bool:
    """Whether the rows that one flush added are in the file as they were written."""
    try:
        return _holds(file, header, tail, position)
    except (OSError, RuntimeError, NervehandError):  # a part of the file that cannot be read
        return False


def _holds(file: h5py.File, header: Header, tail: Tail, position: int) -> bool:
    record = tail.records[position]
    before = tail.records[position - 1].ends if position else (0,) * len(LANES)
    crc = 0
    if any(b - a > MOST_ROWS for a, b in zip((record.start, *before[1:]), record.ends, strict=True)):
        return False
    start, stop = _span(record)
    if start < stop:
        rows = file[f"{SIGNAL_PATH}/data"][start:stop]
        if len(rows) != stop - start:
            return False
        crc = zlib.crc32(np.ascontiguousarray(rows).tobytes(), crc)
        if header.truth_names:
            crc = zlib.crc32(np.ascontiguousarray(file[f"{TRUTH_PATH}/data"][start:stop]).tobytes(), crc)
    for name, a, b in zip(LANES[1:], before[1:], record.ends[1:], strict=True):
        if a < b:
            index, columns = read_stream(file, header, name, slice(a, b))
            if len(index) != b - a:
                return False
            crc = stream_crc(index, columns, crc)
    return crc == record.crc


def _span(record: FlushRecord) -> tuple[int, int]:
    return record.start, record.ends[0]


def _kept(tail: Tail, good: list[bool]) -> dict[str, NDArray[np.int64]]:
    """For each stream, the rows that verified flushes added."""
    kept: dict[str, list[NDArray[np.int64]]] = {name: [] for name in LANES[1:]}
    before = (0,) * len(LANES)
    for record, ok in zip(tail.records, good, strict=True):
        for name, a, b in zip(LANES[1:], before[1:], record.ends[1:], strict=True):
            if ok:
                kept[name].append(np.arange(a, b))
        before = record.ends
    return {name: np.concatenate([np.empty(0, np.int64), *rows]) for name, rows in kept.items()}


def _gaps(spans: Sequence[tuple[int, int]], header: Header) -> tuple[Gap, ...]:
    """All that lies between verified spans, and before the first."""
    gaps, last = [], 0
    for start, stop in spans:
        if start > last:
            gaps.append(Gap(header.first_sample + last, header.first_sample + start))
        last = stop
    return tuple(gaps)
