"""Which streams of a session an XDF file has, and their samples."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from decoder.exporters.annotations import annotations_of
from decoder.exporters.cut import Columns, Cut
from decoder.session.recorded import TRACE_TIMES
from firmware_bridge.hand import DOF_NAMES

KINDS = {"nerve": "ENG", "emg": "EMG", "envelope": "EMG"}
"""Content types by what a stream is of; ENG: electroneurogram."""

MOST_CHUNK_ROWS = 1 << 15


@dataclass(frozen=True, slots=True)
class StreamHeader:
    """A stream's name, content type, channel format, sampling rate (0: irregular), its channels as (label, unit),
    a name for its source, and further fields of its description."""

    name: str
    kind: str
    form: str
    rate_hz: float
    channels: tuple[tuple[str, str], ...]
    source: str
    more: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Block:
    """Samples at rows of the cut (k,), in order: values (k, c), or k strings."""

    rows: NDArray[np.int64]
    values: NDArray[np.generic] | list[str]


def regular_streams(cut: Cut) -> list[StreamHeader]:
    """Those with a sample at every row: the signal, and the ground truth where there is one."""
    header, info = cut.header, cut.info
    more = {
        "scale_uv": repr(header.scale_uv),
        "stored_as": header.dtype,
        "kind": info.kind,
        "nerve": info.nerve,
        "electrodes": ", ".join(info.electrodes),
        "array": header.meta.array,
        "subject": header.meta.subject,
        "side": header.meta.side,
        "session": header.meta.identifier,
        "description": header.meta.description,
    }
    source = f"nervehand {header.meta.identifier}"
    channels = tuple((name, "microvolts") for name in info.channel_names)
    found = [
        StreamHeader("signal", KINDS[info.kind], "float32", info.rate_hz, channels, f"{source} signal", more)
    ]
    if header.truth_names:
        names = tuple(zip(header.truth_names, header.truth_units, strict=True))
        found.append(StreamHeader("truth", "MoCap", "float32", info.rate_hz, names, f"{source} truth"))
    return found


@dataclass(frozen=True, slots=True)
class _Table:
    """How a stream of a session becomes one of XDF's."""

    name: str
    kind: str
    form: str
    channels: tuple[tuple[str, str], ...]
    convert: Callable[[NDArray[np.int64], Columns], NDArray[np.generic]]
    more: dict[str, str] = field(default_factory=dict)


def table_streams(cut: Cut) -> Iterator[tuple[StreamHeader, Iterator[Block]]]:
    """Those with samples now and then, also where the session has none of them."""
    for stream, table in _tables(cut).items():
        source = f"nervehand {cut.header.meta.identifier} {table.name}"
        header = StreamHeader(table.name, table.kind, table.form, 0.0, table.channels, source, table.more)
        yield header, _blocks(cut, stream, table)


def _blocks(cut: Cut, stream: str, table: _Table) -> Iterator[Block]:
    for index, rows, columns in cut.stream(stream):
        yield Block(rows, table.convert(index, columns))


def marker_blocks(cut: Cut) -> tuple[StreamHeader, Iterator[Block]]:
    """Gaps, trials, labels, masks, events and notes; a stretch has a marker where it begins and one where it ends."""
    names = cut.info.channel_names
    found: list[tuple[int, int, str]] = []
    for span in annotations_of(cut):
        text = span.text if span.channel is None else f"{span.text} {names[span.channel]}"
        if span.n == 0:
            found.append((span.row, 1, text))
        else:
            found += [(span.row, 1, f"begin {text}"), (span.row + span.n, 0, f"end {text}")]
    found.sort(key=lambda marker: marker[:2])
    header = StreamHeader(
        "markers",
        "Markers",
        "string",
        0.0,
        (("marker", ""),),
        f"nervehand {cut.header.meta.identifier} markers",
    )
    rows = np.array([row for row, _, _ in found], np.int64)
    texts = [text for _, _, text in found]
    parts = range(0, len(texts), MOST_CHUNK_ROWS)
    return header, (Block(rows[a : a + MOST_CHUNK_ROWS], texts[a : a + MOST_CHUNK_ROWS]) for a in parts)


def _tables(cut: Cut) -> dict[str, _Table]:
    header = cut.header
    outputs = tuple((f"output {name}", "") for name in header.output_names)
    positions = tuple((f"position {name}", "-1..1") for name in DOF_NAMES)
    gestures = {f"gesture_{i}": name for i, name in enumerate(header.gesture_names)}
    quality = (("warming", "0/1"), ("confidence", "0..1"), ("healthy fraction", "0..1"))
    return {
        "digital": _Table(
            "digital", "Digital", "int64", (("lines", "a bit per line"),), lambda _, c: c[0][:, None]
        ),
        "sensors": _Table(
            "able_hand",
            "MoCap",
            "double64",
            (
                ("device time", "seconds"),
                ("arrival", "seconds"),
                *zip(header.sensor_names, header.sensor_units, strict=True),
            ),
            lambda _, c: _joined(c[0], _seconds(c[1]), c[2]),
        ),
        "intents": _Table(
            "intents",
            "Intents",
            "float32",
            (
                *outputs,
                *positions,
                ("gesture", "index"),
                ("probability", "0..1"),
                ("warming", "0/1"),
                ("healthy fraction", "0..1"),
            ),
            lambda _, c: _joined(*c),
            {"bundle": header.bundle} | gestures,
        ),
        "commands": _Table(
            "commands",
            "Commands",
            "double64",
            (*positions, ("issued", "seconds"), ("expires", "seconds"), ("gesture", "index"), *quality),
            lambda _, c: _joined(c[0], _seconds(c[1]), c[2]),
            gestures,
        ),
        "sent": _Table(
            "sent",
            "Commands",
            "double64",
            (("followed sample", "index"), ("sent", "seconds"), *positions, ("gate state", "index")),
            lambda index, c: _joined(index, _seconds(c[0]), c[1], c[2]),
            {f"gate_state_{i}": name for i, name in enumerate(header.gate_states)},
        ),
        "traces": _Table(
            "traces",
            "Commands",
            "double64",
            tuple((name, "seconds, 0: unknown") for name in TRACE_TIMES),
            lambda _, c: _seconds(c[0]),
        ),
        "states": _Table(
            "hand_states",
            "MoCap",
            "double64",
            (*positions, ("reported", "seconds"), ("watchdog", "0/1")),
            lambda _, c: _joined(c[0], _seconds(c[1][:, :1]), c[1][:, 1:]),
        ),
        "health": _Table(
            "masked",
            "Quality",
            "int8",
            tuple((name, "0/1") for name in cut.info.channel_names),
            lambda _, c: np.unpackbits(c[0].astype(np.uint8), axis=1, count=cut.info.n_channels),
        ),
    }


def _joined(*columns: NDArray[np.generic]) -> NDArray[np.generic]:
    flat = [column.reshape(len(column), -1).astype(np.float64) for column in columns]
    return np.concatenate(flat, axis=1)


def _seconds(host_ns: NDArray[np.generic]) -> NDArray[np.float64]:
    """The host's monotonic clock in seconds, for a century to better than a microsecond."""
    return host_ns.astype(np.float64) * 1e-9
