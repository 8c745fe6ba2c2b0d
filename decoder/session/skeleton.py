"""Making a session file that is whole, valid NWB and still at 0 rows. The only place that needs pynwb."""

from __future__ import annotations

import os
import warnings
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from decoder.session.layout import (
    HEADER_PATH,
    SIGNAL_PATH,
    STATE_PATH,
    TRUTH_PATH,
    Column,
    Header,
    Stream,
    streams,
)
from decoder.session.model import SessionMeta
from firmware_bridge.errors import NervehandError

if TYPE_CHECKING:
    import pynwb
    from pynwb.core import DynamicTable

SIGNAL_CHUNK_BYTES = 1 << 16
OTHER_CHUNK_BYTES = 1 << 13
UNKNOWN_START = datetime(1970, 1, 1, tzinfo=UTC)


def create_private(path: Path) -> None:
    """Make an empty file that only its owner may read. Errors: NervehandError where that fails."""
    try:
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
    except OSError as error:
        raise NervehandError(f"{path}: cannot be created ({error.strerror}): choose another name") from None


def create(
    path: Path, header: Header, names: tuple[str, ...], *, signal: bool = True, state: bytes = b""
) -> None:
    """Make an NWB file at `path` (which must not exist), with the named streams, at 0 rows; or none, on any error.

    `state` is what the decoder carries before the first sample.
    """
    create_private(path)
    try:
        _write(path, header, names, signal, state)
    except BaseException:
        path.unlink()
        raise


def fill_in(path: Path, header: Header, state: bytes) -> None:
    """Give a file at 0 rows, made by `create` for a header of the same form, this header and state.

    Of the same form is what differs in identifier, start, first sample, bundle and decision, and has a state as it has.
    """
    import h5py

    start = start_of(header.meta).isoformat()
    with h5py.File(path, "r+", libver="latest") as file:
        file[HEADER_PATH][()] = header.to_json()
        file["identifier"][()] = header.meta.identifier
        for name in ("session_start_time", "timestamps_reference_time"):
            file[name][()] = start
        for series in (SIGNAL_PATH, TRUTH_PATH):
            if series in file:
                file[f"{series}/starting_time"][()] = header.first_sample / header.info.rate_hz
        if state:
            attributes = dict(file[STATE_PATH].attrs)
            del file[STATE_PATH]
            file.create_dataset(STATE_PATH, data=np.frombuffer(state, np.uint8)).attrs.update(attributes)


def _write(path: Path, header: Header, names: tuple[str, ...], signal: bool, state: bytes) -> None:
    import h5py
    import pynwb

    with warnings.catch_warnings():
        warnings.simplefilter(
            "ignore"
        )  # pynwb warns of its own internals and of data sets that are still empty
        nwb = _describe(header)
        if signal:
            _add_signal(nwb, header)
        for name in names:
            _add_stream(nwb, streams(header)[name])
        if signal:
            _add_tables(nwb)
        if state:
            nwb.add_scratch(
                np.frombuffer(state, np.uint8), name="nervehand_state",
                description="What the decoder carried before the first sample.",
            )  # fmt: skip
        with h5py.File(path, "w", libver="latest") as file, pynwb.NWBHDF5IO(file=file, mode="w") as io:
            io.write(nwb)


def start_of(meta: SessionMeta) -> datetime:
    """The start as a time with an offset; UNKNOWN_START where none is known."""
    if not meta.start_time:
        return UNKNOWN_START
    try:
        start = datetime.fromisoformat(meta.start_time)
    except ValueError:
        raise NervehandError(
            f"start time is {meta.start_time!r}: write ISO 8601, such as 2026-01-31T12:00:00+00:00"
        ) from None
    return start if start.tzinfo else start.replace(tzinfo=UTC)


def _describe(header: Header) -> pynwb.NWBFile:
    import pynwb

    info, meta = header.info, header.meta
    nwb = pynwb.NWBFile(
        session_description=meta.description or "Recorded for a prosthetic hand with nervehand.",
        identifier=meta.identifier,
        session_start_time=start_of(meta),
        source_script="nervehand",
        source_script_file_name="nervehand",
    )
    nwb.subject = pynwb.file.Subject(
        subject_id=meta.subject or "unknown",
        species="Homo sapiens",
        sex="U",
        age="P0D/",  # unknown: at least 0 days
        description=f"side: {meta.side or 'unknown'}",
    )
    nwb.add_scratch(header.to_json(), name="nervehand", description="Header of the session, JSON.")
    device = nwb.create_device(
        name="front-end", description=f"{info.n_channels} channels at {info.rate_hz:g} Hz"
    )
    group = nwb.create_electrode_group(
        name="array",
        description=meta.array or "electrode array",
        location=info.nerve or "unknown",
        device=device,
    )
    nwb.add_electrode_column(name="channel_name", description="name of the channel")
    nwb.add_electrode_column(name="contact", description="physical contact that the channel reads")
    for i, name in enumerate(info.channel_names):
        contact = info.electrodes[i] if info.electrodes else name
        nwb.add_electrode(location=info.nerve or "unknown", group=group, channel_name=name, contact=contact)
    return nwb


def _empty(
    width: int, dtype: str, *, fill: float | None = None, chunk_bytes: int = OTHER_CHUNK_BYTES
) -> object:
    from hdmf.backends.hdf5.h5_utils import H5DataIO

    row = (width,) if width else ()
    chunk_rows = max(64, chunk_bytes // (max(1, width) * np.dtype(dtype).itemsize))
    return H5DataIO(
        data=np.empty((0, *row), dtype), maxshape=(None, *row), chunks=(chunk_rows, *row), fillvalue=fill
    )


def _add_signal(nwb: pynwb.NWBFile, header: Header) -> None:
    import pynwb

    info = header.info
    fill = float("nan") if header.dtype == "float32" else None
    electrodes = nwb.create_electrode_table_region(list(range(info.n_channels)), "all channels, in order")
    nwb.add_acquisition(
        pynwb.ecephys.ElectricalSeries(
            name="signal",
            description=f"{info.kind}; samples as received, before any filter",
            data=_empty(info.n_channels, header.dtype, fill=fill, chunk_bytes=SIGNAL_CHUNK_BYTES),
            electrodes=electrodes,
            rate=info.rate_hz,
            starting_time=header.first_sample / info.rate_hz,
            conversion=header.scale_uv * 1e-6,
            filtering=f"hardware {info.hardware_band_hz} Hz" if info.hardware_band_hz else "unknown",
        )
    )
    if header.truth_names:
        nwb.add_acquisition(
            pynwb.TimeSeries(
                name="truth",
                description=", ".join(header.truth_names),
                data=_empty(len(header.truth_names), "float32"),
                unit=", ".join(sorted(set(header.truth_units))) or "unknown",
                rate=info.rate_hz,
                starting_time=header.first_sample / info.rate_hz,
            )
        )


def _add_stream(nwb: pynwb.NWBFile, stream: Stream) -> None:
    import pynwb

    if stream.place.startswith("processing") and "behavior" not in nwb.processing:
        nwb.create_processing_module(
            name="behavior", description="intents, commands and the hand, as they went"
        )
    if stream.table:
        place, name = stream.place.rsplit("/", 1)
        add = {"acquisition": nwb.add_acquisition, "stimulus/presentation": nwb.add_stimulus}
        add.get(place, lambda table: nwb.processing["behavior"].add(table))(
            _table(name, "rows by sample", stream.columns)
        )
        return
    first = None
    for column in stream.columns:
        series = pynwb.TimeSeries(
            name=column.name,
            description=column.description or "none",
            data=_empty(column.width, column.dtype),
            unit="n/a",
            timestamps=_empty(0, "float64") if first is None else first,
        )
        first = first or series
        nwb.processing["behavior"].add(series)


def _table(name: str, description: str, columns: tuple[Column, ...]) -> DynamicTable:
    from pynwb.core import DynamicTable, ElementIdentifiers, VectorData

    index = Column("sample_index", "int64", 0, "absolute sample index")
    return DynamicTable(
        name=name,
        description=description,
        id=ElementIdentifiers(name="id", data=_empty(0, "int64")),
        columns=[
            VectorData(
                name=column.name,
                description=column.description,
                data=_empty_text() if column.dtype == "text" else _empty(column.width, column.dtype),
            )
            for column in (index, *columns)
        ],
    )


def _add_tables(nwb: pynwb.NWBFile) -> None:
    """Tables that are filled when the file is closed: the trials (derived from the marks) and the notes."""
    from pynwb.core import ElementIdentifiers, VectorData
    from pynwb.epoch import TimeIntervals

    def ids() -> object:
        return ElementIdentifiers(name="id", data=_empty(0, "int64"))

    def column(name: str, dtype: str, description: str) -> object:
        return VectorData(name=name, description=description, data=_empty(0, dtype))

    nwb.trials = TimeIntervals(
        name="trials",
        description="one movement with half of the rest on either side",
        id=ids(),
        columns=[
            column("start_time", "float64", "start, s"),
            column("stop_time", "float64", "stop, s"),
            column("gesture", "int64", "index into the gesture names of the header"),
            column("repetition", "int64", "which time this movement was made"),
        ],
    )
    nwb.add_analysis(_table("notes", "free text by sample", (Column("text", "text", 0, "free text"),)))


def _empty_text() -> object:
    import h5py
    from hdmf.backends.hdf5.h5_utils import H5DataIO

    return H5DataIO(data=np.empty((0,), h5py.string_dtype()), maxshape=(None,), chunks=(64,))


def main() -> int:
    """Make the file that standard input describes: 4 bytes of length, little-endian, JSON (path, header, names), the
    carried state. Its own process, as pynwb takes more memory than who records."""
    import json
    import sys

    given = sys.stdin.buffer.read()
    end = 4 + int.from_bytes(given[:4], "little")
    asked = json.loads(given[4:end])
    try:
        create(
            Path(asked["path"]), Header.from_json(asked["header"]), tuple(asked["names"]), state=given[end:]
        )
    except (NervehandError, OSError) as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
