"""A wearer's hand, as one TOML file: how it is reached, its joints, limits, safe actions, grips and adjustments.

`HandConfig` is a pydantic model, so that a larger configuration can hold one as a table. Every error names the file,
the line and the remedy. `hand_config_text.py` writes such a file.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    Tag,
    ValidationError,
)
from pydantic_core import ErrorDetails

from firmware_bridge import hands
from firmware_bridge.adjustments import Adjustments
from firmware_bridge.errors import NervehandError
from firmware_bridge.gate_limits import GateLimits
from firmware_bridge.gate_rules import Cause, SafeAction
from firmware_bridge.hand import DOF_NAMES, N_DOF, Hand, HandCapabilities
from firmware_bridge.joint_map import Joint, JointMap
from firmware_bridge.toml_lines import place, read_toml

Keys = tuple[str | int, ...]
"""Where something stands in a file: the key of each table on the way."""
DofName = Literal["thumb", "index", "middle", "ring", "little", "wrist"]
Side = Literal["left", "right", ""]
ACTIONS = {action.value: action for action in SafeAction if action is not SafeAction.RELEASE}
"""The safe actions that a configuration may declare, by their names in it."""
CAUSES = {cause.name.lower(): cause for cause in Cause}
"""The causes, by their names in a configuration."""


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


def _number_or_table(value: object) -> str:
    return "table" if isinstance(value, Mapping) else "number"


PerDof = Annotated[
    Annotated[float, Tag("number")] | Annotated[dict[DofName, float], Tag("table")],
    Discriminator(_number_or_table),
]
"""One number for every degree of freedom, or some by name."""


def _named(kind: str, known: Mapping[str, object]) -> Callable[[object], object]:
    def find(name: object) -> object:
        if name in known.values():
            return name
        if not isinstance(name, str) or name not in known:
            raise ValueError(f"there is no {kind} {name!r}: use one of {', '.join(known)}")
        return known[name]

    return find


CauseName = Annotated[Cause, BeforeValidator(_named("cause", CAUSES))]
ActionName = Annotated[SafeAction, BeforeValidator(_named("safe action", ACTIONS))]


class JointConfig(_Part):
    """One joint in the hand's own `unit`, in place of the one that the hand's own map has (joint_map.Joint)."""

    unit: str
    rest: float
    flexed: float
    extended: float | None = None
    follows: dict[DofName, float]


class LimitsConfig(_Part):
    """What differs from the hand's own limits (gate_limits.GateLimits, whose names and units these are)."""

    lower: PerDof | None = None
    upper: PerDof | None = None
    max_speed_per_s: PerDof | None = None
    max_acceleration_per_s2: PerDof | None = None
    open_positions: PerDof | None = None
    max_current_a: PerDof | None = None
    max_force_n: PerDof | None = None
    overload_s: float | None = None
    max_temperature_c: float | None = None
    min_battery: float | None = None
    battery_after_s: float | None = None
    astray_tolerance: float | None = None
    astray_after_s: float | None = None
    max_command_rate_hz: float | None = None
    silence_after_s: float | None = None
    stale_after_s: float | None = None
    min_confidence: float | None = None
    min_healthy_fraction: float | None = None
    link_timeout_s: float | None = None
    relax_duration_s: float | None = None
    rest_band: float | None = None
    max_step_s: float | None = None
    check_valid_s: float | None = None


class AdjustmentsConfig(_Part):
    """A wearer's adjustments (adjustments.Adjustments): by degree of freedom, and which are locked."""

    gain: PerDof = 1.0
    dead_band: PerDof = 0.0
    max_speed_per_s: PerDof = float("inf")
    locked: Annotated[tuple[DofName, ...], Field(strict=False)] = ()
    hand_locked: bool = False


class HandConfig(_Part):
    """A hand and how it is to be used.

    `address` is "hand:where", a known one: nothing is searched for. `side` is the hand's; "" where nobody said.
    `watchdog_acknowledged_by` names who accepts a hand of which it is unknown what it does when commands stop.
    `joints` replaces joints of the hand's own map by name; `grips` names the hand's own grip that a gesture starts.
    """

    address: str
    side: Side = ""
    transport: str | None = None
    bonded: bool = False
    watchdog_acknowledged_by: str = ""
    joints: dict[str, JointConfig] = {}
    limits_table: Annotated[LimitsConfig, Field(alias="limits")] = LimitsConfig()
    actions: dict[CauseName, ActionName] = {}
    grips: dict[str, str] = {}
    adjustments_table: Annotated[AdjustmentsConfig, Field(alias="adjustments")] = AdjustmentsConfig()

    @property
    def adjustments(self) -> Adjustments:
        """NervehandError where one is out of its range."""
        return _adjustments(self.adjustments_table)

    @property
    def joint_map(self) -> JointMap | None:
        """The hand's joints; None where they are the hand's own."""
        if not self.joints:
            return None
        own = hands.load(self.hand_name).JOINTS
        for name in self.joints:
            _joint(self, name)
        return JointMap(
            tuple(_joint(self, joint.name) if joint.name in self.joints else joint for joint in own.joints)
        )

    @property
    def hand_name(self) -> str:
        """Which hand it is: the module of firmware_bridge.hands."""
        return self.address.partition(":")[0]

    @property
    def is_over_bluetooth(self) -> bool:
        """Whether the address is a Bluetooth one; a hand that has both links has addresses of both kinds."""
        if not hands.load(self.hand_name).NAMES:
            return False
        # Here, since it loads Bluetooth's libraries, which a serial hand does without.
        from firmware_bridge.hands._ble_wire import is_address

        return is_address(self.address.partition(":")[2].partition("?")[0])

    @property
    def options(self) -> hands.HandOptions:
        """How the hand is opened; NervehandError where a joint is wrong."""
        options = hands.HandOptions(self.transport, self.bonded, self.joint_map)
        if self.limits_table.link_timeout_s is not None:
            options = replace(options, link_timeout_s=self.limits_table.link_timeout_s)
        return options

    def open(self) -> Hand:
        """The hand, not connected yet; NervehandError where the address or a joint is wrong."""
        return hands.open_hand(self.address, self.options)

    def limits(self, capabilities: HandCapabilities) -> GateLimits:
        """What the gate lets through to a hand of these capabilities; NervehandError where it cannot be.

        One number for a limit by degree of freedom is cut to what the hand can do; by name, more than that is an error.
        """
        own = GateLimits.for_hand(capabilities)
        table = self.limits_table
        changed = {name: _limit(getattr(table, name), name, own) for name in sorted(table.model_fields_set)}
        return _changed(own, **changed, actions=self.actions, grips=_grips(self.grips, capabilities))


def read_hand_config(path: Path) -> HandConfig:
    """The configuration in a file; NervehandError, naming file, line and remedy, where it is wrong."""
    try:
        text = Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is no text"
        raise NervehandError(f"{path}: cannot be read ({why}): give a hand's TOML file") from error
    return hand_config_in(text, str(path))


def hand_config_in(text: str, name: str, table: tuple[str, ...] = ()) -> HandConfig:
    """The configuration in TOML `text` that a person knows as `name`; `table` says where in it, ("hand",) say."""
    found: object = read_toml(text, name)
    for key in table:
        found = found.get(key) if isinstance(found, dict) else None
    if not isinstance(found, dict):
        raise NervehandError(f"{name}: has no table [{'.'.join(table)}]: add one with the hand's address")
    try:
        config = HandConfig.model_validate(found)
    except ValidationError as error:
        # A key that is not known comes first: it may be the one that is missing.
        keys, what = _said(min(error.errors(), key=lambda one: one["type"] != "extra_forbidden"))
        raise NervehandError(f"{place(text, name, (*table, *keys))}: {what}") from error
    for keys, check in _checks(config):
        try:
            check()
        except NervehandError as error:
            raise NervehandError(f"{place(text, name, (*table, *keys))}: {error}") from error
    return config


def hand_config_of(address: str) -> HandConfig:
    """The hand at that address, all else its own; NervehandError where the address is wrong."""
    config = HandConfig(address=address)
    for _, check in _checks(config):
        check()
    return config


def _checks(config: HandConfig) -> Iterator[tuple[Keys, Callable[[], object]]]:
    """What no single value tells, each under the keys that are to blame where it raises."""
    yield ("address",), lambda: hands.load(config.hand_name)
    for joint in config.joints:
        yield ("joints", joint), partial(_joint, config, joint)
    for adjustment in sorted(config.adjustments_table.model_fields_set):
        one = config.adjustments_table.model_copy(
            update={
                name: field.default
                for name, field in AdjustmentsConfig.model_fields.items()
                if name != adjustment
            }
        )
        yield ("adjustments", adjustment), partial(_adjustments, one)
    yield ("address",), config.open
    yield ("transport",), partial(_for_bluetooth, config, config.transport is not None)
    yield ("bonded",), partial(_for_bluetooth, config, config.bonded)
    capabilities = config.open().capabilities
    own = GateLimits.for_hand(capabilities)
    for limit in sorted(config.limits_table.model_fields_set):
        value = getattr(config.limits_table, limit)
        yield ("limits", limit), partial(_with_limit, own, limit, value)
    for cause, action in config.actions.items():
        yield ("actions", cause.name.lower()), partial(_changed, own, actions={cause: action})
    for gesture, grip in config.grips.items():
        yield ("grips", gesture), partial(_grips, {gesture: grip}, capabilities)
    yield ("limits",), partial(config.limits, capabilities)


def _for_bluetooth(config: HandConfig, is_said: bool) -> None:
    """NervehandError for what is said of Bluetooth where the hand is not reached over it."""
    if is_said and not config.is_over_bluetooth:
        raise NervehandError(
            f"transport and bonded are for a hand over Bluetooth, {config.address} is on a serial port: leave them out"
        )


def _joint(config: HandConfig, name: str) -> Joint:
    """The joint as configured; NervehandError where the hand has none of that name, or it is beyond the hand's own."""
    asked = config.joints[name]
    own = {joint.name: joint for joint in hands.load(config.hand_name).JOINTS.joints}.get(name)
    if own is None:
        known = ", ".join(joint.name for joint in hands.load(config.hand_name).JOINTS.joints)
        raise NervehandError(f"{config.hand_name} has no joint {name!r}: name some of {known}")
    if asked.unit != own.unit:
        raise NervehandError(f"joint {name} is in {asked.unit!r}: give unit = {own.unit!r}, the hand's own")
    ends = [end for end in (own.rest, own.flexed, own.extended) if end is not None]
    for value in (asked.rest, asked.flexed, asked.extended):
        if value is not None and not min(ends) <= value <= max(ends):
            raise NervehandError(
                f"joint {name} at {value:g} {own.unit}: stay within {min(ends):g} to {max(ends):g}, the hand's own"
            )
    return Joint(
        name,
        own.unit,
        asked.rest,
        asked.flexed,
        asked.extended,
        {str(dof): weight for dof, weight in asked.follows.items()},
    )


_changed: Callable[..., GateLimits] = replace  # what is changed is named by a file, and checked by GateLimits


def _with_limit(own: GateLimits, name: str, value: object) -> GateLimits:
    return _changed(own, **{name: _limit(value, name, own)})


def _limit(value: object, name: str, own: GateLimits) -> object:
    """One limit as the gate wants it: (6,) where it is by degree of freedom."""
    least, most = _reach(name, own)
    if not isinstance(value, Mapping):
        return value if least is None else np.clip(np.full(N_DOF, value, np.float32), least, most)
    limit = np.full(N_DOF, np.inf, np.float32) if getattr(own, name) is None else getattr(own, name).copy()
    for dof, number in value.items():
        i = DOF_NAMES.index(dof)
        if least is not None and not least[i] <= np.float32(number) <= most[i]:
            raise NervehandError(
                f"gate limit {name} of {dof} is {number:g}: {_within(least[i], most[i])}, the hand's own"
            )
        limit[i] = number
    return limit


def _within(least: float, most: float) -> str:
    return f"stay within {least:g} to {most:g}" if math.isfinite(least) else f"give at most {most:g}"


def _reach(name: str, own: GateLimits) -> tuple[NDArray[np.float32] | None, NDArray[np.float32]]:
    """The least and the most (6,) that a limit by degree of freedom may be, as far as the hand goes; None for none."""
    if name in ("lower", "upper", "open_positions"):
        return own.lower, own.upper
    if name == "max_speed_per_s":
        return np.full(N_DOF, -np.inf, np.float32), own.max_speed_per_s
    return None, own.upper


def _grips(grips: Mapping[str, str], capabilities: HandCapabilities) -> Mapping[str, str]:
    """The grips by gesture; NervehandError where the hand has none of that name."""
    for gesture, grip in grips.items():
        if grip not in capabilities.grips:
            known = f"use one of {', '.join(capabilities.grips)}" if capabilities.grips else "leave it out"
            raise NervehandError(f"{capabilities.name} has no grip {grip!r} for {gesture!r}: {known}")
    return grips


def _adjustments(table: AdjustmentsConfig) -> Adjustments:
    return Adjustments(
        gain=_six(table.gain, 1.0),
        dead_band=_six(table.dead_band, 0.0),
        max_speed_per_s=_six(table.max_speed_per_s, math.inf),
        locked=tuple(dof in table.locked for dof in DOF_NAMES),
        hand_locked=table.hand_locked,
    )


def _six(value: float | Mapping[DofName, float], otherwise: float) -> tuple[float, ...]:
    if isinstance(value, Mapping):
        by_name: Mapping[str, float] = {str(dof): number for dof, number in value.items()}
        return tuple(by_name.get(dof, otherwise) for dof in DOF_NAMES)
    return (value,) * N_DOF


_TABLES: Mapping[str, type[_Part]] = {
    "limits": LimitsConfig,
    "adjustments": AdjustmentsConfig,
    "joints": JointConfig,
}
_WANTED = {
    "dict_type": "a table",
    "model_type": "a table",
    "tuple_type": 'a list of names, ["wrist"] say',
    "bool_type": "true or false",
    "float_type": "a number",
    "string_type": "a text in quotes",
}
_TAGS = ("number", "table", "[key]")


def _said(error: ErrorDetails) -> tuple[Keys, str]:
    """Where pydantic found something wrong, and in our words what and what to do."""
    keys = tuple(key for key in error["loc"] if key not in _TAGS)
    name, given = ".".join(map(str, keys)), error["input"]
    match error["type"]:
        case "extra_forbidden":
            model: type[_Part] = HandConfig if len(keys) == 1 else _TABLES[str(keys[0])]
            known = (field.alias or key for key, field in model.model_fields.items())
            return keys, f"there is no key {keys[-1]!r}: use {', '.join(known)}"
        case "missing":
            return keys, f"{name} is missing: add it"
        case "value_error":
            return keys, error["msg"].removeprefix("Value error, ")
        case "float_type" if "number" in error["loc"]:
            return keys, f"{name} is {given!r}: give one number, or numbers by name, {{ index = 0.5 }} say"
        case _:
            wanted = error["msg"].removeprefix("Input should be ")
            return keys, f"{name} is {given!r}: give {_WANTED.get(error['type'], wanted)}"
