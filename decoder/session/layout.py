"""What a session file looks like inside: its header and its data sets.

An NWB 2 file (docs/session-format.md). Everything that grows is numeric, of fixed row size and present from
the start, because nothing else can be appended in HDF5's single-writer-multiple-reader mode.
"""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass, replace
from functools import cache

import numpy as np
from numpy.typing import NDArray
from pydantic import TypeAdapter, ValidationError

from decoder.session.model import FORMAT_VERSION, Session, SessionMeta
from decoder.session.recorded import TRACE_TIMES
from firmware_bridge.errors import NervehandError
from firmware_bridge.gate_rules import GateState
from firmware_bridge.hand import N_DOF
from firmware_bridge.stream import StreamInfo

HEADER_PATH = "scratch/nervehand"
STATE_PATH = "scratch/nervehand_state"
SIGNAL_PATH = "acquisition/signal"
TRUTH_PATH = "acquisition/truth"
TRIALS_PATH = "intervals/trials"
NOTES_PATH = "analysis/notes"
GATE_STATES = tuple(state.value for state in GateState)


@dataclass(frozen=True, slots=True)
class Column:
    """One data set of a stream: `width` values per row (0: the row is one value)."""

    name: str
    dtype: str
    width: int
    description: str


@dataclass(frozen=True, slots=True)
class Stream:
    """Rows that come at irregular sample indices, in order.

    A table (NWB DynamicTable `place`) has the columns id and sample_index beside its own. Otherwise each
    column is an NWB TimeSeries `place/name`, and all share the timestamps of the first: sample index over
    sampling rate.
    """

    place: str
    table: bool
    columns: tuple[Column, ...]

    def data_paths(self) -> list[str]:
        """The data sets that hold the columns."""
        return [f"{self.place}/{column.name}" + ("" if self.table else "/data") for column in self.columns]

    def index_path(self) -> str:
        """The data set that says at which sample a row holds."""
        return (
            f"{self.place}/sample_index" if self.table else f"{self.place}/{self.columns[0].name}/timestamps"
        )

    def root_paths(self) -> list[str]:
        """The groups that make up this stream, where the file has it."""
        return [self.place] if self.table else [f"{self.place}/{column.name}" for column in self.columns]


@dataclass(frozen=True, slots=True)
class Header:
    """All that is known before the first sample, stored as JSON in the file.

    `decision` are the fields of decoder.decision.DecisionSettings by which the intents were decided, where these were
    not the bundle's own.
    """

    info: StreamInfo
    meta: SessionMeta
    dtype: str = "float32"
    scale_uv: float = 1.0
    first_sample: int = 0
    gesture_names: tuple[str, ...] = ("rest",)
    truth_names: tuple[str, ...] = ()
    truth_units: tuple[str, ...] = ()
    postures: tuple[tuple[float | None, ...], ...] | None = None
    output_names: tuple[str, ...] = ()
    bundle: str = ""
    gate_states: tuple[str, ...] = GATE_STATES
    sensor_names: tuple[str, ...] = ()
    sensor_units: tuple[str, ...] = ()
    content: str = "session"
    decision: dict[str, float] | None = None

    def to_json(self) -> str:
        return json.dumps({"format": "nervehand", "version": FORMAT_VERSION, **asdict(self)}, allow_nan=False)

    @staticmethod
    def from_json(text: str) -> Header:
        """Errors: NervehandError for text that is not a header of this or an earlier version."""
        try:
            fields = json.loads(text, parse_float=_finite, parse_constant=_finite)
            version, name = fields.pop("version"), fields.pop("format")
        except (ValueError, KeyError, AttributeError, TypeError, RecursionError) as error:
            raise NervehandError(f"the session header is damaged ({error}): restore the file") from None
        if name != "nervehand" or not isinstance(version, int) or version > FORMAT_VERSION:
            raise NervehandError(
                f"format is {name} {version}, this program reads nervehand up to {FORMAT_VERSION}: update it"
            )
        try:
            return _adapter().validate_python(fields)
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(str(part) for part in first["loc"])
            raise NervehandError(
                f"the session header is damaged ({where}: {first['msg']}): restore the file from a copy"
            ) from None

    def postures_array(self) -> NDArray[np.float32] | None:
        if self.postures is None:
            return None
        if any(len(row) != N_DOF for row in self.postures):
            raise NervehandError(
                f"the session header is damaged (a posture has not {N_DOF} positions): restore the file from a copy"
            )
        return np.array([[np.nan if v is None else v for v in row] for row in self.postures], np.float32)


def _finite(number: str) -> float:
    value = float(number)
    if not math.isfinite(value):
        raise ValueError(f"{number[:20]} is not a finite number")
    return value


@cache
def _adapter() -> TypeAdapter[Header]:
    return TypeAdapter(Header)  # takes milliseconds to make


def header_of(session: Session) -> Header:
    postures = None
    if session.postures is not None:
        rows = session.postures.tolist()
        postures = tuple(tuple(None if np.isnan(v) else float(v) for v in row) for row in rows)
    return Header(
        info=session.info,
        meta=replace(session.meta, format_version=FORMAT_VERSION),
        dtype=str(session.signal.dtype),
        scale_uv=session.scale_uv,
        first_sample=session.first_sample,
        gesture_names=session.gesture_names,
        truth_names=session.truth_names,
        truth_units=session.truth_units,
        postures=postures,
        output_names=session.recorded.output_names,
        bundle=session.recorded.bundle,
        gate_states=GATE_STATES if session.recorded.sent is None else session.recorded.sent.state_names,
        sensor_names=() if session.recorded.sensors is None else session.recorded.sensors.names,
        sensor_units=() if session.recorded.sensors is None else session.recorded.sensors.units,
        decision=session.recorded.decision,
    )


def streams(header: Header) -> dict[str, Stream]:
    """The streams that a file may have beside signal and truth, by name."""
    mask_bytes = (header.info.n_channels + 7) // 8
    return {
        "marks": Stream(
            "stimulus/presentation/marks",
            True,
            (
                Column("label", "int16", 0, "index into the gesture names, from this sample on; -1: none"),
                Column("trial", "int32", 0, "unique id, from this sample on; 0: no trial, -1: none named"),
                Column("repetition", "int16", 0, "which time, from this sample on; 0: none, -1: none named"),
            ),
        ),
        "health": Stream(
            "acquisition/health",
            True,
            (
                Column(
                    "mask", "uint8", mask_bytes, "masked from this sample on: a bit per channel, high first"
                ),
            ),
        ),
        "gaps": Stream(
            "acquisition/gaps", True, (Column("lost", "int64", 0, "samples lost from this one on"),)
        ),
        "events": Stream(
            "acquisition/events",
            True,
            (
                Column("kind", "int16", 0, "what happened: a number of the format"),
                Column("first", "int64", 0, "first number of the event"),
                Column("second", "int64", 0, "second number of the event"),
            ),
        ),
        "intents": Stream(
            "processing/behavior",
            False,
            (
                Column("intent_outputs", "float32", len(header.output_names), ", ".join(header.output_names)),
                Column("intent_positions", "float32", N_DOF, "six positions, -1..1"),
                Column("intent_gesture", "int16", 0, "index into the gesture names"),
                Column("intent_quality", "float32", 3, "gesture probability, warming, healthy fraction"),
            ),
        ),
        "commands": Stream(
            "processing/behavior/commands",
            True,
            (
                Column("targets", "float32", N_DOF, "six commanded positions, -1..1"),
                Column("times", "int64", 2, "issued and expires, host monotonic ns"),
                Column("quality", "float32", 4, "gesture, warming, confidence, healthy fraction"),
            ),
        ),
        "sent": Stream(
            "processing/behavior/sent",
            True,
            (
                Column("time", "int64", 0, "handed to the hand, host monotonic ns"),
                Column("positions", "float32", N_DOF, "six positions after the hand's own limits, -1..1"),
                Column("state", "int16", 0, f"of the gate: {', '.join(header.gate_states)}"),
            ),
        ),
        "traces": Stream(
            "processing/behavior/traces",
            True,
            (
                Column(
                    "times",
                    "int64",
                    len(TRACE_TIMES),
                    f"{', '.join(TRACE_TIMES)}: host monotonic ns, 0 where unknown",
                ),
            ),
        ),
        "states": Stream(
            "processing/behavior/hand_states",
            True,
            (
                Column("positions", "float32", N_DOF, "six reported positions, -1..1, NaN unknown"),
                Column("reports", "int64", 2, "reported host monotonic ns, watchdog tripped"),
            ),
        ),
        "sensors": Stream(
            "acquisition/able_hand",
            True,
            (
                Column("device_time", "float64", 0, "the device's own clock, s"),
                Column("arrival", "int64", 0, "host monotonic ns"),
                Column("values", "float32", len(header.sensor_names), ", ".join(header.sensor_names)),
            ),
        ),
        "digital": Stream(
            "acquisition/digital",
            True,
            (
                Column(
                    "lines", "uint32", 0, "digital lines from this sample on: a bit per line, line 0 lowest"
                ),
            ),
        ),
    }
