"""What the safety gate lets through to one hand, as data."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import KW_ONLY, dataclass, field, fields
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from firmware_bridge.errors import NervehandError
from firmware_bridge.gate_rules import RULES, Cause, SafeAction, rules_with
from firmware_bridge.hand import DOF_NAMES, N_DOF, HandCapabilities, Quantity

Six = NDArray[np.float32]


def _six(name: str, values: ArrayLike, least: float = -math.inf) -> Six:
    array = np.array(values, dtype=np.float32)
    if array.shape == ():
        array = np.full(N_DOF, array, np.float32)
    if array.shape != (N_DOF,) or np.isnan(array).any() or not (array > least).all():
        above = "" if least == -math.inf else f" above {least:g}"
        given = np.array(values).tolist()
        raise NervehandError(f"gate limit {name} is {given}: give {N_DOF} numbers{above}, one per DOF")
    array.flags.writeable = False
    return array


@dataclass(frozen=True, slots=True)
class LimitLine:
    """One limit for people: its value with the unit, and whether the hand has a reading that it is held against."""

    name: str
    value: str
    measured: bool = True

    def __str__(self) -> str:
        return f"{self.name}: {self.value}" + ("" if self.measured else " (not measured)")


@dataclass(frozen=True, slots=True, eq=False)
class GateLimits:
    """What the gate lets through; checked when made.

    `lower` and `upper` are (6,) positions, -1 <= lower <= 0 <= upper <= 1, so that rest is always allowed.
    `max_speed_per_s` is (6,) in full flexions per second, above 0; `max_acceleration_per_s2` (6,) likewise,
    math.inf for none. `open_positions` (6,), inside lower and upper, is where OPEN goes. Of these a single
    number stands for six.

    The hand is overloaded when a current is above `max_current_a` or a force above `max_force_n` (by DOF), or when it
    says that it stalls, for `overload_s`; too hot above `max_temperature_c`; its battery is low below `min_battery`
    (0..1) for `battery_after_s`; None is no limit. It is astray when it is further than `astray_tolerance` from where
    lag or an obstacle can have left it, for `astray_after_s`.

    Commands end by their expiry, or when none came for `silence_after_s`; what a command rests on is too old
    `stale_after_s` after it was issued. The intent is at rest where no target is beyond `rest_band`.
    `relax_duration_s` is how long the way from full flexion to rest takes when relaxing (never faster than the speed
    limit). The link is lost when the hand has not reported for `link_timeout_s`. No more than `max_command_rate_hz`
    positions a second are sent. `max_step_s` caps the time that a ramp may make up for in one step, however late the
    step comes. A pre-use check is good for `check_valid_s`.

    `actions` declares other safe actions than RULES, within ALLOWED. `grips` maps decided gestures to the hand's own
    grips; where it is not empty, following means starting those, and gestures it does not name do nothing.
    """

    lower: Six
    upper: Six
    max_speed_per_s: Six
    _: KW_ONLY
    max_acceleration_per_s2: Six = field(default_factory=lambda: np.full(N_DOF, np.inf, np.float32))
    open_positions: Six = field(default_factory=lambda: np.zeros(N_DOF, np.float32))
    max_current_a: Six | None = None
    max_force_n: Six | None = None
    overload_s: float = 0.3
    max_temperature_c: float | None = None
    min_battery: float | None = None
    battery_after_s: float = 2.0
    astray_tolerance: float = 0.3
    astray_after_s: float = 0.3
    max_command_rate_hz: float = 1000.0
    silence_after_s: float = 0.2
    stale_after_s: float = 0.25
    min_confidence: float = 0.0
    min_healthy_fraction: float = 0.75
    link_timeout_s: float = 0.3
    relax_duration_s: float = 1.0
    rest_band: float = 0.15
    max_step_s: float = 0.05
    check_valid_s: float = 8 * 3600.0
    actions: Mapping[Cause, SafeAction] = field(default_factory=dict)
    grips: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in ("lower", "upper", "open_positions"):
            object.__setattr__(self, name, _six(name, getattr(self, name)))
        for name in ("max_speed_per_s", "max_acceleration_per_s2", "max_current_a", "max_force_n"):
            if getattr(self, name) is not None:
                object.__setattr__(self, name, _six(name, getattr(self, name), 0.0))
        if not np.isfinite(self.max_speed_per_s).all():
            raise NervehandError(
                f"gate limit max_speed_per_s is {self.max_speed_per_s.tolist()}: give finite speeds"
            )
        if not ((self.lower >= -1) & (self.lower <= 0) & (self.upper >= 0) & (self.upper <= 1)).all():
            raise NervehandError(
                f"gate limits lower {self.lower.tolist()} and upper {self.upper.tolist()}: "
                "keep -1 <= lower <= 0 <= upper <= 1, so that rest is allowed"
            )
        if not ((self.open_positions >= self.lower) & (self.open_positions <= self.upper)).all():
            raise NervehandError(
                f"gate limit open_positions is {self.open_positions.tolist()}: keep it inside lower and upper"
            )
        for name in _TIMES:
            value = getattr(self, name)
            if not (math.isfinite(value) and value > 0):
                raise NervehandError(f"gate limit {name} is {value} s: give a time above 0")
        for name in ("min_confidence", "min_healthy_fraction", "rest_band", "min_battery"):
            value = getattr(self, name)
            if value is not None and not 0 <= value <= 1:
                raise NervehandError(f"gate limit {name} is {value}: give a number from 0 to 1")
        if not (math.isfinite(self.astray_tolerance) and self.astray_tolerance > 0):
            raise NervehandError(
                f"gate limit astray_tolerance is {self.astray_tolerance}: give a number above 0"
            )
        if not 1 <= self.max_command_rate_hz < math.inf:
            raise NervehandError(
                f"gate limit max_command_rate_hz is {self.max_command_rate_hz}: give a rate of 1 Hz or more"
            )
        if self.max_temperature_c is not None and not math.isfinite(self.max_temperature_c):
            raise NervehandError(
                f"gate limit max_temperature_c is {self.max_temperature_c}: give a temperature, or none"
            )
        rules_with(self.actions)
        object.__setattr__(self, "actions", MappingProxyType(dict(self.actions)))
        object.__setattr__(self, "grips", MappingProxyType(dict(self.grips)))

    def __reduce__(self) -> tuple[Callable[[dict[str, object]], GateLimits], tuple[dict[str, object]]]:
        """Pickled as what it is made with, so that a copy is checked and frozen too."""
        values = {one.name: getattr(self, one.name) for one in fields(self)}
        plain = {name: dict(value) if isinstance(value, Mapping) else value for name, value in values.items()}
        return _made_with, (plain,)

    @property
    def laxer(self) -> tuple[str, ...]:
        """Which times are longer than the defaults, in words: later than usual the gate finds what they are for."""
        usual = {one.name: one.default for one in fields(self)}
        return tuple(
            f"{name} {getattr(self, name):g} s, usually {usual[name]:g} s"
            for name in _FINDING_TIMES
            if getattr(self, name) > usual[name]
        )

    @property
    def time_to_rest_s(self) -> float:
        """How long a release may take, from anywhere and while moving the other way, by speed and acceleration."""
        way = np.maximum(self.upper, -self.lower).astype(np.float64)
        speed = self.max_speed_per_s.astype(np.float64)
        # To turn round: speed / a, and half as much for the way made meanwhile; to speed up and to brake: speed / a.
        return float((way / speed + 2.5 * speed / self.max_acceleration_per_s2).max())

    @classmethod
    def for_hand(cls, capabilities: HandCapabilities) -> GateLimits:
        """The hand's own reach, speed and rate; a DOF that the hand lacks keeps any positive speed."""
        speed = np.where(capabilities.max_speed_per_s > 0, capabilities.max_speed_per_s, np.float32(1))
        return cls(
            capabilities.lower,
            capabilities.upper,
            speed.astype(np.float32),
            max_command_rate_hz=capabilities.max_command_rate_hz,
        )

    def changes_from(self, before: GateLimits) -> tuple[str, ...]:
        """What is other than `before`, in words, one for each limit; grips are none."""
        changes = [
            f"{name} {_value(getattr(before, name), unit)} -> {_value(getattr(self, name), unit)}"
            for name, unit in _UNITS.items()
            if not np.array_equal(getattr(self, name), getattr(before, name))
        ]
        for cause, rule in RULES.items():
            old, new = (limits.actions.get(cause, rule.action) for limits in (before, self))
            if new is not old:
                changes.append(f"action for {cause.value} {old.value} -> {new.value}")
        return tuple(changes)

    def beyond(self, capabilities: HandCapabilities) -> str:
        """Which of them is more than such a hand can do, in words; "" for none."""
        own = GateLimits.for_hand(capabilities)
        for name, is_beyond in (
            ("lower", self.lower < own.lower),
            ("upper", self.upper > own.upper),
            ("max_speed_per_s", self.max_speed_per_s > own.max_speed_per_s),
        ):
            for i in np.flatnonzero(is_beyond):
                most, asked = getattr(own, name)[i], getattr(self, name)[i]
                return f"gate limit {name} of {DOF_NAMES[i]} is {asked:g}: the hand's own is {most:g}"
        if self.max_command_rate_hz > own.max_command_rate_hz:
            return (
                f"gate limit max_command_rate_hz is {self.max_command_rate_hz:g}: "
                f"the hand's own is {own.max_command_rate_hz:g}"
            )
        return ""

    def describe(self, capabilities: HandCapabilities) -> tuple[LimitLine, ...]:
        """A line for every limit, in the order of the fields."""
        reach = "; ".join(
            f"{dof} {low:g} to {high:g}"
            for dof, low, high in zip(DOF_NAMES, self.lower.tolist(), self.upper.tolist(), strict=True)
        )
        lines = [LimitLine("positions", reach)]
        for name, unit, quantity in _DESCRIBED:
            measured = quantity is None or quantity in capabilities.measures
            lines.append(LimitLine(name, _value(getattr(self, name), unit), measured))
        return tuple(lines)


def _made_with(values: dict[str, Any]) -> GateLimits:
    return GateLimits(**values)


_TIMES = (
    "overload_s",
    "battery_after_s",
    "astray_after_s",
    "silence_after_s",
    "stale_after_s",
    "link_timeout_s",
    "relax_duration_s",
    "max_step_s",
    "check_valid_s",
)

_FINDING_TIMES = tuple(name for name in _TIMES if name != "relax_duration_s")

_DESCRIBED: tuple[tuple[str, str, Quantity | None], ...] = (
    ("max_speed_per_s", "/s", None),
    ("max_acceleration_per_s2", "/s²", None),
    ("open_positions", "", None),
    ("max_current_a", "A", Quantity.CURRENT),
    ("max_force_n", "N", Quantity.FORCE),
    ("overload_s", "s", None),
    ("max_temperature_c", "°C", Quantity.TEMPERATURE),
    ("min_battery", "of full", Quantity.BATTERY),
    ("battery_after_s", "s", None),
    ("astray_tolerance", "", Quantity.POSITION),
    ("astray_after_s", "s", Quantity.POSITION),
    ("max_command_rate_hz", "Hz", None),
    ("silence_after_s", "s", None),
    ("stale_after_s", "s", None),
    ("min_confidence", "", None),
    ("min_healthy_fraction", "", None),
    ("link_timeout_s", "s", None),
    ("relax_duration_s", "s", None),
    ("rest_band", "", None),
    ("max_step_s", "s", None),
    ("check_valid_s", "s", None),
)

_UNITS = {"lower": "", "upper": ""} | {name: unit for name, unit, _ in _DESCRIBED}


def _value(value: float | Six | None, unit: str) -> str:
    if value is None or np.isinf(value).all():
        return "no limit"
    if isinstance(value, float | int):
        return f"{value:g} {unit}".strip()
    values = [f"{one:g}" for one in value.tolist()]
    if len(set(values)) == 1:
        return f"{values[0]} {unit}".strip()
    return ", ".join(f"{dof} {one}" for dof, one in zip(DOF_NAMES, values, strict=True)) + f" {unit}".rstrip()
