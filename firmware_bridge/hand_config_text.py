"""A hand's configuration as the text of its TOML file, every setting with what it means."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping

import numpy as np

from firmware_bridge import hands
from firmware_bridge.gate_rules import RULES
from firmware_bridge.hand import DOF_NAMES, Quantity, WatchdogAction
from firmware_bridge.hand_config import ACTIONS, CAUSES, HandConfig, LimitsConfig

LIMITS: Mapping[str, str] = {
    "lower": "positions, -1 (full extension) to 0: for every degree of freedom, or some by name",
    "upper": "positions, 0 to 1 (full flexion)",
    "max_speed_per_s": "full flexions per second, in every state",
    "max_acceleration_per_s2": "full flexions per second squared; inf for none",
    "open_positions": 'where the action "open" goes',
    "max_current_a": "amperes of a degree of freedom",
    "max_force_n": "newtons of a degree of freedom",
    "overload_s": "so long beyond either, or stalled, is overloaded",
    "max_temperature_c": "degrees Celsius",
    "min_battery": "share of a full charge, 0 to 1",
    "battery_after_s": "below it for so long is low",
    "astray_tolerance": "further than this from where it was sent",
    "astray_after_s": "for so long is astray",
    "max_command_rate_hz": "positions a second",
    "silence_after_s": "no command for so long is silence",
    "stale_after_s": "what a command rests on is too old so long after it was issued",
    "min_confidence": "least probability of the decided gesture",
    "min_healthy_fraction": "least share of channels that are not masked",
    "link_timeout_s": "longest silence of the hand",
    "relax_duration_s": "from full flexion to rest when relaxing",
    "rest_band": "the intent is at rest where no target is beyond it",
    "max_step_s": "time that one step may make up for",
    "check_valid_s": "how old a pre-use check may be when the hand is armed",
}
"""Every limit of a configuration, and what it means."""


def toml_of(config: HandConfig) -> str:
    """The file that holds `config`, with what it leaves to the hand written out."""
    return "\n".join(_lines(config)) + "\n"


def _lines(config: HandConfig) -> Iterator[str]:
    module = hands.load(config.hand_name)
    capabilities = config.open().capabilities
    measures = [one.value for one in Quantity if one in capabilities.measures]
    watchdog = capabilities.watchdog_action.value
    yield f"# {capabilities.name}: {capabilities.source}"
    yield f"# It measures {', '.join(measures) or 'nothing'}. When commands stop: {watchdog}" + (
        "." if capabilities.watchdog_s is None else f", after {capabilities.watchdog_s:g} s."
    )
    yield f"address = {_text(config.address)}"
    yield from _optional(
        "side",
        config.side,
        "left",
        "or right: which the hand is. `nervehand run` needs it, and compares it with the decoder",
    )
    transport = config.transport or ""
    yield from _optional("transport", transport, "usb:0", "Bluetooth by Bumble; else the system's own")
    yield f"bonded = {_text(config.bonded)} # pair and encrypt before anything is written"
    acknowledged = config.watchdog_acknowledged_by
    if capabilities.watchdog_action is WatchdogAction.UNKNOWN or acknowledged:
        meaning = "who accepts that it is unknown what it does without commands"
        yield from _optional("watchdog_acknowledged_by", acknowledged, "NAME", meaning)

    joint_map = config.joint_map or module.JOINTS
    yield "\n# The hand's own joints, in its own units: where each is at position 0, 1 and, where it extends, -1."
    for joint in joint_map.joints:
        extended = "" if joint.extended is None else f"extended = {_text(joint.extended)}\n"
        yield (
            f"[joints.{_key(joint.name)}]\nunit = {_text(joint.unit)}\nrest = {_text(joint.rest)}\n"
            f"flexed = {_text(joint.flexed)}\n{extended}follows = {_table(joint.follows)}\n"
        )

    limits = config.limits(capabilities)
    yield "[limits]"
    for name in LimitsConfig.model_fields:
        value = getattr(limits, name)
        written = "" if value is None else _by_dof(value) if isinstance(value, np.ndarray) else _text(value)
        yield f"{name} = {written} # {LIMITS[name]}" if written else f"# {name} = # {LIMITS[name]}; no limit"

    yield f"\n[actions] # in place of a cause's own: {', '.join(ACTIONS)}"
    for cause_name, cause in CAUSES.items():
        if cause in config.actions:
            yield f"{cause_name} = {_text(config.actions[cause].value)} # {cause.value}"
        elif RULES[cause].action in ACTIONS.values():
            yield f"# {cause_name} = {_text(RULES[cause].action.value)} # {cause.value}"

    yield f"\n[grips] # a decoder's gesture = the hand's own grip: {', '.join(capabilities.grips) or 'it has none'}"
    for gesture, grip in config.grips.items():
        yield f"{_key(gesture)} = {_text(grip)}"

    adjustments = config.adjustments
    locked = [dof for dof, is_locked in zip(DOF_NAMES, adjustments.locked, strict=True) if is_locked]
    yield "\n[adjustments] # the wearer's, by name or one number; `nervehand hand adjust` changes them live"
    yield f"gain = {_by_dof(np.array(adjustments.gain))} # 0 to 4, multiplies"
    yield f"dead_band = {_by_dof(np.array(adjustments.dead_band))} # below it is rest"
    yield f"max_speed_per_s = {_by_dof(np.array(adjustments.max_speed_per_s))} # beside the limit above"
    yield f"locked = [{', '.join(map(_text, locked))}] # these stay where they are"
    yield f"hand_locked = {_text(adjustments.hand_locked)} # the whole hand"


def _optional(key: str, value: str, example: str, meaning: str) -> Iterator[str]:
    """What is not said is an example, behind a comment mark."""
    yield f"{key} = {_text(value)} # {meaning}" if value else f"# {key} = {_text(example)} # {meaning}"


def _by_dof(values: np.ndarray) -> str:
    if (values == values[0]).all():
        return _text(values[0])
    return _table(dict(zip(DOF_NAMES, values, strict=True)))


def _table(values: Mapping[str, object]) -> str:
    return f"{{ {', '.join(f'{_key(key)} = {_text(value)}' for key, value in values.items())} }}"


def _text(value: object) -> str:
    """A value as TOML: the shortest number that reads back as the same."""
    match value:
        case bool():
            return "true" if value else "false"
        case str():
            return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
        case int():
            return str(float(value))
        case _:
            return str(value)


def _key(name: str) -> str:
    return name if re.fullmatch(r"[A-Za-z0-9_-]+", name) else _text(name)
