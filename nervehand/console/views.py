"""What engines show, read from the JSON that their ports deliver."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeVar

from calibration.postures import KNOWN_POSTURES
from calibration.view import CalibrationView
from firmware_bridge.adjustments import Adjustments
from firmware_bridge.errors import NervehandError
from firmware_bridge.hand import N_DOF
from firmware_bridge.plain import from_plain

Side = Literal["left", "right"]
Six = tuple[float, ...]
V = TypeVar("V")
NOWHERE: Six = (math.nan,) * N_DOF


@dataclass(frozen=True, slots=True)
class StageTimes:
    """One row of the latency table, in microseconds; None before the first hop."""

    stage: str
    p50_us: float | None
    p99_us: float | None


@dataclass(frozen=True, slots=True)
class ChannelSeen:
    """A channel: its level, why it is masked ("" where it is not), and its newest extremes, oldest first, in µV."""

    name: str
    level_uv: float
    masked: str
    low_uv: tuple[float, ...] = ()
    high_uv: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class ShadowSeen:
    """A decoder that runs beside the deployed one and moves nothing, or the one before it: `role` is "candidate" or
    "previous". `agreement` is how often both decide the same gesture (0..1); `missing` what speaks against a switch."""

    sha256: str
    role: str
    agreement: float | None = None
    missing: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class LiveView:
    """A run at one moment. Positions are six in -1..1 (DOF_NAMES), NaN where there is none.

    `wanted` is the decoder's, `shown` the hand's, `truth` what was really meant, where anybody knows it.
    """

    title: str
    side: Side
    elapsed_s: float
    channels: tuple[ChannelSeen, ...]
    n_channels: int
    wanted: Six
    shown: Six
    truth: Six
    gesture: str
    confidence: float
    cue: str
    warming: bool
    gate: str
    link: str
    hops: int
    commands_dropped: int
    latency: tuple[StageTimes, ...]
    notice: str
    artefacts: int
    bundle: str = ""
    adjustments: Adjustments | None = None
    shadows: tuple[ShadowSeen, ...] = ()
    sample_index: int = 0

    def shadow(self, role: str) -> ShadowSeen | None:
        """The decoder in that role."""
        return next((one for one in self.shadows if one.role == role), None)


def live_view(plain: Mapping[str, object]) -> LiveView:
    """A run's view; what a later or an earlier engine does not say is empty, and what it says besides is left out."""
    names = _texts(plain.get("channels"))
    levels = _numbers(plain.get("levels_uv"))
    masked = _texts(plain.get("masked"))
    low, high = _rows(plain.get("low_uv")), _rows(plain.get("high_uv"))
    return LiveView(
        title=str(plain.get("title", "")),
        side=_side(plain.get("side")),
        elapsed_s=_number(plain.get("elapsed_s"), 0.0),
        channels=tuple(
            ChannelSeen(name, _at(levels, i, math.nan), _at(masked, i, ""), _at(low, i, ()), _at(high, i, ()))
            for i, name in enumerate(names)
        ),
        n_channels=int(_number(plain.get("n_channels"), len(names))),
        wanted=six(plain.get("wanted")),
        shown=six(plain.get("shown")),
        truth=_meant(plain.get("truth"), str(plain.get("cue", ""))),
        gesture=str(plain.get("gesture", "")),
        confidence=_number(plain.get("probability"), 0.0),
        cue=str(plain.get("cue", "")),
        warming=bool(plain.get("warming", False)),
        gate=str(plain.get("gate", "")),
        link=str(plain.get("link", "")),
        hops=int(_number(plain.get("hops"), 0)),
        commands_dropped=int(_number(plain.get("commands_dropped"), 0)),
        latency=tuple(_stage(row) for row in _list(plain.get("latency"))),
        notice=str(plain.get("notice", "")),
        artefacts=int(_number(plain.get("artefacts"), 0)),
        bundle=str(plain.get("bundle", "")),
        adjustments=_adjustments(plain.get("adjustments")),
        shadows=tuple(_shadow(one) for one in _list(plain.get("shadow")) if isinstance(one, dict)),
        sample_index=int(_number(plain.get("sample_index"), 0)),
    )


def calibration_view(plain: Mapping[str, object]) -> CalibrationView:
    """A calibration's view; NervehandError where it is another release's."""
    return from_plain(CalibrationView, dict(plain), "the calibration's view")


def six(value: object) -> Six:
    """Six positions; NaN for what is not there."""
    numbers = _numbers(value)
    return tuple(numbers) if len(numbers) == N_DOF else NOWHERE


def is_there(positions: Six) -> bool:
    """Whether anything of it is known."""
    return any(math.isfinite(p) for p in positions)


def _meant(truth: object, cue: str) -> Six:
    """What is said to be meant, else the posture that the cue names."""
    known = six(truth)
    posture = KNOWN_POSTURES.get(cue.lower())
    return known if is_there(known) or posture is None else tuple(map(float, posture))


def _adjustments(value: object) -> Adjustments | None:
    """A limit of speed that is no number is no limit: JSON has no infinity."""
    if not isinstance(value, dict):
        return None
    speeds = value.get("max_speed_per_s")
    finite = [math.inf if one is None else one for one in _list(speeds)]
    return from_plain(Adjustments, value | {"max_speed_per_s": finite}, "adjustments")


def _shadow(value: dict[str, object]) -> ShadowSeen:
    return ShadowSeen(
        str(value.get("sha256", "")),
        str(value.get("role", "")),
        _maybe(value.get("gesture_agreement")),
        tuple(_texts(value.get("missing"))),
    )


def _stage(row: object) -> StageTimes:
    if not isinstance(row, dict):
        raise NervehandError(f"a row of the latency table is {row!r}: the engine is of another release")
    return StageTimes(str(row.get("stage", "")), _maybe(row.get("p50_us")), _maybe(row.get("p99_us")))


def _side(value: object) -> Side:
    return "left" if value == "left" else "right"


def _list(value: object) -> list[object]:
    return value if isinstance(value, list) else []


def _texts(value: object) -> list[str]:
    return [str(one) for one in _list(value)]


def _numbers(value: object) -> list[float]:
    return [_number(one, math.nan) for one in _list(value)]


def _rows(value: object) -> list[tuple[float, ...]]:
    return [tuple(_numbers(row)) for row in _list(value)]


def _number(value: object, otherwise: float) -> float:
    return float(value) if isinstance(value, int | float) else otherwise


def _maybe(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) and math.isfinite(value) else None


def _at(values: Sequence[V], i: int, otherwise: V) -> V:
    return values[i] if i < len(values) else otherwise
