"""Any glove or tracker that a laboratory offers as a Lab Streaming Layer stream: `lsl:NAME`; needs the extra `lsl`.

A channel whose label is a joint of hand_joints.JOINTS ("index mcp", "Index_MCP", "index-mcp") tells that joint; one
that is called like a degree of freedom ("index", "wrist") tells that finger. Other names come from a map, a TOML file:

    [joints]
    "CH3 idx prox" = "index mcp"

The unit is the channel's own where it says radians or degrees; any other is raw, and the poses give it its scale.
LSL looks for senders as the environment variable LSLAPICFG says (docs/front-ends.md): by default on the whole site.
"""

from __future__ import annotations

import math
import threading
import time
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from calibration.truth import TruthBlock, TruthInfo
from calibration.truth._where import parse_where, rate_of, side_of
from calibration.truth.hand_joints import BY_NAME
from firmware_bridge.errors import LinkError, NervehandError, SourceLostError, StreamMismatchError
from firmware_bridge.hand import DOF_NAMES
from firmware_bridge.sources import Found
from firmware_bridge.sources import lsl as streams

ADDRESS = "lsl:NAME[?side=left|right&map=FILE.toml&unit=rad|deg|raw&rate=HZ]"

_PER_DEGREE = math.pi / 180
UNITS = {
    **dict.fromkeys(("rad", "radian", "radians"), 1.0),
    **dict.fromkeys(("deg", "degree", "degrees"), _PER_DEGREE),
}
"""Spellings of an angle's unit, with its radians."""
_OF_DOF = {
    "thumb": "thumb mcp",
    "wrist": "wrist flexion",
    **{finger: f"{finger} mcp" for finger in DOF_NAMES if finger not in ("thumb", "wrist")},
}
"""A channel that tells a whole finger counts as the joint at its root."""

_PULL_S = 0.05


@dataclass(frozen=True, slots=True)
class Layout:
    """Which columns of a stream are taken, and what each is multiplied by."""

    columns: tuple[int, ...]
    factors: tuple[float, ...]

    def values(self, rows: NDArray[np.generic]) -> NDArray[np.float32]:
        """A copy (k, d)."""
        return np.asarray(rows[:, list(self.columns)].astype(np.float64) * self.factors, np.float32)


def read_map(path: str) -> dict[str, str]:
    """The joints by label; NervehandError where the file, or a joint in it, does not exist."""
    try:
        said = tomllib.loads(Path(path).read_text(encoding="utf-8")).get("joints")
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise NervehandError(f"map {path}: {error}") from error
    if not isinstance(said, dict) or not all(isinstance(joint, str) for joint in said.values()):
        raise NervehandError(f'map {path}: give a table [joints] with lines such as "CH3" = "index mcp"')
    for label, joint in said.items():
        if joint not in BY_NAME:
            raise NervehandError(
                f"map {path}: {label} is given joint {joint!r}: there are {', '.join(BY_NAME)}"
            )
    return said


def joint_of(label: str, given: Mapping[str, str]) -> str:
    """The joint that a channel of this label tells; "" for none."""
    plain = " ".join(label.lower().replace("_", " ").replace("-", " ").split())
    return given.get(label) or (plain if plain in BY_NAME else _OF_DOF.get(plain, ""))


def described(
    stream: streams._Description, given: Mapping[str, str], unit: str, rate: str, side: str
) -> tuple[TruthInfo, Layout]:
    """What a stream is, by its labels and units and what the address says about it.

    NervehandError where no channel names a joint, or an irregular stream is given no rate.
    """
    if stream.dtype == "string":
        raise NervehandError(f"LSL stream {stream.name!r} carries text, no angles: choose a numeric stream")
    if not rate and not stream.sfreq > 0:
        raise NervehandError(
            f"LSL stream {stream.name!r} has an irregular rate: say about how many, as rate=60"
        )
    labels = [label or "" for label in stream.get_channel_names() or ()]
    units = [one or "" for one in stream.get_channel_units() or ()]
    columns, sensors, in_units, joints, factors = [], [], [], [], []
    for column, label in enumerate(labels):
        joint = joint_of(label, given)
        if not joint:
            continue
        of_channel = unit or (units[column] if column < len(units) else "")
        factor = UNITS.get(of_channel.lower())
        columns.append(column)
        sensors.append(label)
        joints.append(joint)
        in_units.append("raw" if factor is None else "rad")
        factors.append(1.0 if factor is None else factor)
    if not columns:
        raise NervehandError(
            f"no channel of LSL stream {stream.name!r} names a joint (it has {', '.join(labels) or 'no labels'}): "
            "map them in a TOML file, map=FILE.toml"
        )
    rate_hz = rate_of(rate) if rate else float(stream.sfreq)
    info = TruthInfo(
        f"LSL {stream.name}", tuple(sensors), tuple(in_units), tuple(joints), rate_hz, side_of(side)
    )
    return info, Layout(tuple(columns), tuple(factors))


class LslTruth:
    """A `TruthSource` over the stream `name` (or of that source id). Its clock is the sender's.

    `stall_s` without a reading is a lost source. As for front-ends, liblsl mends no connection by itself.
    """

    def __init__(self, where: str, options: Mapping[str, str], stall_s: float = 1.0) -> None:
        self._where, self._options, self._stall_s = where, dict(options), stall_s
        self._given = read_map(self._options["map"]) if self._options["map"] else {}
        self._inlet: streams._Inlet | None = None
        self._layout = Layout((), ())
        self._using = threading.Lock()  # around every use of the inlet
        self._ending = threading.Event()  # so that a reader leaves the lock to whoever closes
        inlet, self.info, _ = self._opened()
        inlet.close_stream()

    def connect(self) -> None:
        self.close()
        inlet, info, layout = self._opened()
        if info != self.info:
            inlet.close_stream()
            raise StreamMismatchError(
                f"LSL stream {self._where!r} has other channels than before ({', '.join(info.sensors)}): start anew"
            )
        inlet.flush()
        with self._using:
            self._inlet, self._layout = inlet, layout
            self._ending.clear()

    def blocks(self) -> Iterator[TruthBlock]:
        inlet, silent_s = self._inlet, 0.0
        most = max(1, round(self.info.rate_hz * _PULL_S))
        while inlet is not None and not self._ending.is_set():
            with self._using:
                if self._inlet is not inlet:
                    return
                try:
                    rows, stamps = inlet.pull_chunk(_PULL_S, most)
                except RuntimeError as error:  # mne_lsl's for a lost stream
                    lost = error
                    break
                # Copies: what was pulled is the inlet's own memory.
                values, device_s = self._layout.values(rows), stamps.astype(np.float64, copy=True)
            if len(device_s):
                yield TruthBlock(values, device_s, np.full(len(device_s), time.monotonic_ns(), np.int64))
                silent_s = 0.0
            elif (silent_s := silent_s + _PULL_S) >= self._stall_s:
                self.close()
                raise SourceLostError(
                    f"{self.info.name} is silent for {self._stall_s:g} s: is its sender running?"
                )
        else:
            return
        self.close()
        raise SourceLostError(f"{self.info.name} is lost: {lost}") from lost

    def close(self) -> None:
        self._ending.set()
        with self._using:
            inlet, self._inlet = self._inlet, None
            if inlet is not None:
                inlet.close_stream()

    def _opened(self) -> tuple[streams._Inlet, TruthInfo, Layout]:
        library = streams._library()
        there = library.resolve_streams(streams._RESOLVE_S)
        named = [s for s in there if s.name == self._where] or [
            s for s in there if s.source_id == self._where
        ]
        if not named:
            names = ", ".join(sorted({repr(s.name) for s in there})) or "none"
            raise LinkError(f"no LSL stream is called {self._where!r} (there now: {names}): start its sender")
        inlet, stream = streams._opened(library, max(named, key=lambda one: one.created_at))
        said = self._options
        try:
            info, layout = described(stream, self._given, said["unit"], said["rate"], said["side"])
        except NervehandError:
            inlet.close_stream()
            raise
        return inlet, info, layout


def find() -> tuple[Found, ...]:
    """The numeric streams that answer within a second."""
    return tuple(Found(one.address, one.description) for one in streams.find())


def open_truth(where: str) -> LslTruth:
    """The stream of that name or source id."""
    defaults = {"side": "right", "map": "", "unit": "", "rate": ""}
    name, options = parse_where(ADDRESS, where, defaults)
    if not name:
        raise NervehandError(f"an LSL address needs the stream's name: {ADDRESS}")
    if options["unit"] not in ("", "rad", "deg", "raw"):
        raise NervehandError(f"unit={options['unit']}: give rad, deg or raw")
    return LslTruth(name, options)
