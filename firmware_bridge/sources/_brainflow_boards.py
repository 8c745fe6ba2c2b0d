"""BrainFlow's boards as data: addresses, the rows of their arrays, how their packages are numbered; recordings."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qsl

import numpy as np

from firmware_bridge.errors import LinkError, NervehandError, StreamMismatchError
from firmware_bridge.stream import STREAM_KINDS, StreamInfo, StreamKind

ADDRESS = "brainflow:synthetic | brainflow:playback/FILE[@BOARD_ID] | brainflow:BOARD_ID?serial_port=PORT"

SYNTHETIC, STREAMING, PLAYBACK = -1, -2, -3
COUNTERS: Mapping[int, tuple[int, int]] = {
    # One byte, one more with each sample: synthetic, Cyton, Ganglion and Cyton over wifi, FreeEEG32 and 128, NTL,
    # AAVAA, Knight, IronBCI, Knight IMU. The Daisy's two halves are numbered in turn; the first one's number is kept.
    **dict.fromkeys((SYNTHETIC, 0, 4, 5, 17, 50, 52, 53, 57, 65, 66), (256, 1)),
    2: (256, 2),
}
"""How a board's package numbers count: period and step, read in its driver (BrainFlow 5.23, src/board_controller).
Of other boards, which number bursts, or in a way that is not known, no loss is seen on the way to the computer."""

PAUSE_S = 5.0
"""Of a recording, at most: BrainFlow's playback board sleeps through a pause and cannot be stopped meanwhile."""

_NUMBER = re.compile("-?[0-9]{1,9}")


@dataclass(frozen=True, slots=True)
class Board:
    """A board as BrainFlow is asked for it. `like` is the board whose layout its samples have."""

    board_id: int
    like: int
    parameters: tuple[tuple[str, str | int], ...] = ()

    @property
    def file(self) -> Path | None:
        """What a playback board plays."""
        return next((Path(str(value)) for name, value in self.parameters if name == "file"), None)

    def __str__(self) -> str:
        where = ", ".join(f"{name}={value}" for name, value in self.parameters if name != "master_board")
        return f"BrainFlow board {self.board_id}" + (f" ({where})" if where else "")


@dataclass(frozen=True, slots=True)
class Layout:
    """The rows of BrainFlow's arrays: one per channel of the stream, the package number's, the time stamp's."""

    rows: int
    channels: tuple[int, ...]
    package: int | None
    stamp: int


def parsed(where: str, parameter_types: Mapping[str, type]) -> tuple[Board, StreamKind]:
    """The board that an address asks for, and its kind of stream: "emg" unless it says `kind=nerve`."""
    target, _, query = where.partition("?")
    options = dict(parse_qsl(query, keep_blank_values=True))
    kind = next((kind for kind in STREAM_KINDS if kind == options.get("kind", "emg")), None)
    if kind is None:
        raise NervehandError(f"stream kind is {options['kind']!r}: use one of {', '.join(STREAM_KINDS)}")
    options.pop("kind", None)
    if target.startswith("playback/"):
        file, at, board = target.removeprefix("playback/").rpartition("@")
        if not (at and _NUMBER.fullmatch(board)):
            file, board = target.removeprefix("playback/"), str(SYNTHETIC)
        if not file:
            raise NervehandError(f"a playback board needs a file: {ADDRESS}")
        if int(board) in (STREAMING, PLAYBACK):
            raise NervehandError(
                f"board {board} records nothing: give the board that {file} was recorded from"
            )
        if options:
            raise NervehandError(f"a playback board takes no parameter {', '.join(options)}: {ADDRESS}")
        return Board(PLAYBACK, int(board), (("file", file), ("master_board", int(board)))), kind
    if target != "synthetic" and not _NUMBER.fullmatch(target):
        raise NervehandError(f"{target!r} is no BrainFlow board: {ADDRESS}")
    board_id = SYNTHETIC if target == "synthetic" else int(target)
    if board_id == STREAMING:
        raise NervehandError(
            "BrainFlow's streaming board (-2) multicasts on the network and is never used: connect to the board itself"
        )
    if board_id == PLAYBACK:
        raise NervehandError(f"a playback board needs a file: {ADDRESS}")
    parameters: list[tuple[str, str | int]] = []
    for name, value in options.items():
        expected = parameter_types.get(name)
        if expected is None or name in ("file", "master_board"):
            known = ", ".join(sorted(set(parameter_types) - {"file", "master_board"}))
            raise NervehandError(f"BrainFlow has no parameter {name!r}: use {known}")
        if expected is int and not _NUMBER.fullmatch(value):
            raise NervehandError(f"BrainFlow's {name} is {value!r}: give a whole number")
        parameters.append((name, int(value) if expected is int else value))
    return Board(board_id, board_id, tuple(parameters)), kind


def described(descriptor: Mapping[str, object], kind: StreamKind) -> tuple[StreamInfo, Layout]:
    """What a board streams, from BrainFlow's descriptor of it, in microvolts.

    Its EMG channels; where it has none its EEG channels, by their names; or its ECG channels. Raises
    NervehandError where it has none of them, or no rate.
    """
    name = str(descriptor.get("name", ""))
    label, channels = next(
        ((label, found) for label in ("emg", "eeg", "ecg") if (found := _rows(descriptor, label))), ("", ())
    )
    rate_hz = _number(descriptor, "sampling_rate")
    stamp, rows = _number(descriptor, "timestamp_channel"), _number(descriptor, "num_rows")
    if not channels or not rate_hz or stamp is None or not rows:
        raise NervehandError(f"BrainFlow's board {name!r} has no EMG, EEG or ECG channel: choose another one")
    names = tuple(f"{label}{i:02d}" for i in range(1, len(channels) + 1))
    said = str(descriptor.get("eeg_names", "")).split(",")
    if label == "eeg" and len(said) == len(channels):
        names = tuple(said)
    return StreamInfo(float(rate_hz), names, kind), Layout(
        rows, channels, _number(descriptor, "package_num_channel"), stamp
    )


def _rows(descriptor: Mapping[str, object], label: str) -> tuple[int, ...]:
    rows = descriptor.get(f"{label}_channels", ())
    return tuple(row for row in rows if isinstance(row, int)) if isinstance(rows, (list, tuple)) else ()


def _number(descriptor: Mapping[str, object], name: str) -> int | None:
    value = descriptor.get(name)
    return value if isinstance(value, int) else None


def lines_of(file: Path, layout: Layout) -> int:
    """How many lines of a recording BrainFlow will play: those with so many values, between tabs or commas.

    Raises LinkError where the file cannot be read, StreamMismatchError where no line fits, NervehandError where it
    has a pause so long that a board that plays it could not be closed.
    """
    lines = fitting = 0
    last_s = np.inf
    try:
        with file.open("rb") as opened:
            for line in opened:
                lines += 1
                values = [value for value in line.split(b"\t" if b"\t" in line else b",") if value != b"\n"]
                if len(values) != layout.rows:
                    continue
                fitting += 1
                stamp_s = _stamp_s(values[layout.stamp])
                if stamp_s - last_s > PAUSE_S:
                    raise NervehandError(
                        f"line {lines} of {file} comes {stamp_s - last_s:g} s after the one before, a time in which "
                        "BrainFlow cannot be stopped: split the file there"
                    )
                last_s = stamp_s
    except OSError as error:
        raise LinkError(f"{file} cannot be played: {error.strerror}") from error
    if not fitting:
        raise StreamMismatchError(
            f"none of the {lines} lines of {file} has the {layout.rows} values of its board: say which board it was "
            "recorded from (brainflow:playback/FILE@BOARD_ID)"
        )
    return fitting


def _stamp_s(value: bytes) -> float:
    """The time stamp, or infinity for what is none: BrainFlow then does not wait."""
    try:
        stamp_s = float(value)
    except ValueError:
        return np.inf
    return stamp_s if np.isfinite(stamp_s) else np.inf
