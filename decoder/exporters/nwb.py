"""Exporting to NWB: a session file like the one it comes from, whole or cut, that was written in one go."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from decoder.exporters.cut import Columns, Cut, Exported
from decoder.session.layout import (
    SIGNAL_PATH,
    STATE_PATH,
    TRUTH_PATH,
    streams,
)
from decoder.session.skeleton import create
from decoder.session.writer import append_rows, fill_tables_of, make_regular, whole_file

if TYPE_CHECKING:
    import h5py


def export(cut: Cut, out: Path) -> Exported:
    """Write a cut to an NWB file, which is a session as well. Errors: NervehandError where it cannot be written.

    Sample indices, and so times, stay those of the session. A piece of a session has an identifier of its own, since
    NWB asks for a unique one.
    """
    import h5py

    header = replace(cut.header, first_sample=cut.first)
    if not cut.is_whole:
        piece = f"{header.meta.identifier}, samples {cut.first} to {cut.stop - 1}"
        header = replace(header, meta=replace(header.meta, identifier=piece))
    state = b""
    if cut.first == cut.header.first_sample and STATE_PATH in cut.file:
        state = bytes(cut.file[STATE_PATH][:].astype(np.uint8))
    names = tuple(name for name in streams(header) if next(_rows(cut, name), None) is not None)
    width = cut.info.n_channels * np.dtype(header.dtype).itemsize + 4 * len(header.truth_names)
    with whole_file(out, cut.n_samples * width) as part:
        create(part, header, names, state=state)
        with h5py.File(part, "r+", libver="latest") as file:
            _fill_signal(cut, file)
            for name in names:
                for index, columns in _rows(cut, name):
                    append_rows(file, header, name, index, columns)
                make_regular(file, header, name)
            fill_tables_of(file, cut.trials(), cut.notes(), cut.first, cut.info.rate_hz)
    notes = []
    if not cut.is_whole:
        notes.append(
            "trials that the cut goes through are not in its table; their labels are, as far as it reaches"
        )
    if STATE_PATH in cut.file and not state:
        notes.append("what the decoder carried before the session began is not in a piece that begins later")
    return Exported((out,), "NWB 2", 0.0, tuple(notes))


def _fill_signal(cut: Cut, file: h5py.File) -> None:
    signal = file[f"{SIGNAL_PATH}/data"]
    signal.resize(cut.n_samples, axis=0)
    received = cut.received()
    for start, stop in cut.slabs(cut.info.n_channels):
        rows = cut.rows(start, stop)
        for a, b in received:  # what was never received stays fill
            a, b = max(a, start), min(b, stop)
            if a < b:
                signal[a:b] = rows[a - start : b - start]
    if cut.header.truth_names:
        truth = file[f"{TRUTH_PATH}/data"]
        truth.resize(cut.n_samples, axis=0)
        for start, stop in cut.slabs(len(cut.header.truth_names)):
            truth[start:stop] = cut.truth(start, stop)


def _rows(cut: Cut, name: str) -> Iterator[tuple[NDArray[np.int64], Columns]]:
    """The rows of a stream of the cut, by absolute sample index."""
    if name == "gaps":
        if cut.gaps:
            starts = np.array([gap.start for gap in cut.gaps], np.int64)
            yield starts, [np.array([gap.stop - gap.start for gap in cut.gaps], np.int64)]
        return
    for index, _, columns in cut.stream(name):
        yield index, columns
