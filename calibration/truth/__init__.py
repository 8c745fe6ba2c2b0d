"""What the able hand does, one module for each way of measuring it, found by name. An address is "name:where".

Every module here has `ADDRESS`, its form for people; `find()`, what is there now; and `open_truth(where)`. What a
source says is its sensors' own values; `calibration.truth.hand_angles` makes joint angles and positions of them.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, Protocol, cast

import numpy as np
from numpy.typing import NDArray

from firmware_bridge.errors import NervehandError
from firmware_bridge.sources import Found

Side = Literal["left", "right"]


@dataclass(frozen=True, slots=True)
class TruthInfo:
    """A ground truth, known before it starts.

    `sensors` names its columns, and `units` says what each is in ("rad", "raw"); `joints` names, for each column, the
    joint of the hand that bends it, as `hand_angles.JOINTS` has them, "" where it tells nothing about a joint that is
    used. `rate_hz` is nominal. `side` is the hand that is measured.
    """

    name: str
    sensors: tuple[str, ...]
    units: tuple[str, ...]
    joints: tuple[str, ...]
    rate_hz: float
    side: Side

    def __post_init__(self) -> None:
        if not len(self.sensors) == len(self.units) == len(self.joints) > 0:
            raise NervehandError(
                f"{self.name} has {len(self.sensors)} sensors, {len(self.units)} units and {len(self.joints)} joints: "
                "give one of each for every sensor"
            )


@dataclass(frozen=True, slots=True)
class TruthBlock:
    """k consecutive readings of d sensors, as they arrived.

    `values` (k, d) float32, NaN where a sensor said nothing (a hand that the camera does not see); `device_s` (k,)
    float64, the device's own clock, seconds from anywhere, or the host's where it has none; `arrival_ns` (k,) int64,
    the host's monotonic time.
    """

    values: NDArray[np.float32]
    device_s: NDArray[np.float64]
    arrival_ns: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.device_s)


class TruthSource(Protocol):
    """A measured hand: described before it is connected, then blocks until it is closed.

    `connect` raises LinkError where it is not there. `blocks` ends when it is exhausted or closed, and raises
    SourceLostError when the link is lost or silent; `connect` and `blocks` then work again once it is back. `close` may
    come from another thread, and more than once; a waiting iteration ends promptly.
    """

    @property
    def info(self) -> TruthInfo: ...

    def connect(self) -> None: ...

    def blocks(self) -> Iterator[TruthBlock]: ...

    def close(self) -> None: ...


class TruthModule(Protocol):
    """What a module of this package offers."""

    ADDRESS: str

    def find(self) -> tuple[Found, ...]:
        """What is there now, in about a second at most; empty where nothing is, or the extra is not installed."""

    def open_truth(self, where: str) -> TruthSource:
        """The truth at `where` (the address without its name), described but not started."""


NOT_TRUTHS = ("hand_angles", "hand_calibration", "hand_joints", "reader")


def names() -> tuple[str, ...]:
    """The names of the ways to measure a hand."""
    found = (module.name for module in pkgutil.iter_modules(__path__))
    return tuple(sorted(name for name in found if not name.startswith("_") and name not in NOT_TRUTHS))


def load(name: str) -> TruthModule:
    """The module of that name; raises NervehandError where there is none."""
    if name not in names():
        raise NervehandError(f"ground truth {name!r} is not known: use one of {', '.join(names())}")
    return cast(TruthModule, importlib.import_module(f"{__name__}.{name}"))


def open_able(address: str, phantom_side: Side) -> TruthSource:
    """The truth at "name:where" that measures the hand which is not the phantom one: where the address names no side,
    that side. NervehandError where it names the phantom's, or where there is no such truth."""
    name, _, where = address.partition(":")
    module = load(name)
    able: Side = "left" if phantom_side == "right" else "right"
    _, mark, said = where.partition("?")
    sides = [one.removeprefix("side=") for one in said.split("&") if one.startswith("side=")]
    if phantom_side in sides:
        raise NervehandError(
            f"{address} measures the {phantom_side} hand, and the phantom hand is the {phantom_side} one: "
            f"say side={able}, or leave it out"
        )
    if not sides:
        where += f"{'&' if said else '' if mark else '?'}side={able}"
    return module.open_truth(where)
