"""`nervehand config show`: every value that holds, and where it comes from."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from firmware_bridge.gate_limits import GateLimits
from firmware_bridge.hand import DOF_NAMES
from nervehand.config_changes import flat
from nervehand.config_checks import capabilities_of
from nervehand.config_errors import dotted
from nervehand.config_file import ConfigFile, lines_of
from nervehand.config_text import written
from nervehand.output import print_json

OF_THE_HAND = ("lower", "upper", "max_speed_per_s", "max_command_rate_hz")
"""The limits that follow from the hand's own reach, speed and rate (GateLimits.for_hand)."""


@dataclass(frozen=True, slots=True)
class Shown:
    """One value, by its dotted name, and where it comes from; `line` of the file, None where it is not from there."""

    name: str
    value: object
    origin: str
    line: int | None = None


def run_show(file: ConfigFile, *, as_json: bool) -> None:
    """Print them, as lines or as one object."""
    values = tuple(effective(file))
    if as_json:
        by_name = {
            one.name: {"value": _plain(one.value), "from": one.origin, "line": one.line} for one in values
        }
        path = None if file.path is None else str(file.path)
        print_json({"file": path, "sha256": file.sha256, "values": by_name})
        return
    left = [f"{one.name} = {'-' if one.value is None else written(one.value)}" for one in values]
    width = min(60, max(map(len, left)))
    for text, one in zip(left, values, strict=True):
        print(f"{text:<{width}}  # {one.origin}")


def effective(file: ConfigFile) -> Iterator[Shown]:
    """Each value that holds: the file's, else the decoder's or the hand's own, else the default.

    NervehandError where the decoder cannot be read.
    """
    lines = lines_of(file.text)
    config = file.config
    decision, hand = config.decision_for(file.check_files(here=False)), config.hand
    limits = hand.limits(capabilities_of(hand))
    for keys, said in flat(config).items():
        # What a file says of a limit is cut to what the hand can do.
        value = _limit(limits, keys[2]) if keys[:2] == ("hand", "limits") else said
        origin, line = "default", None
        if keys in lines:
            line = lines[keys]
            origin = f"line {line}"
        elif keys[0] == "decision":
            value, origin = getattr(decision, keys[1]), "the decoder"
        elif keys[:2] == ("hand", "limits") and keys[2] in OF_THE_HAND:
            origin = "the hand"
        elif keys == ("arming", "check"):
            value = config.is_checked
        yield Shown(dotted(keys), value, origin, line)


def _limit(limits: GateLimits, name: str) -> object:
    value = getattr(limits, name)
    if not isinstance(value, np.ndarray):
        return value
    numbers = [float(str(one)) for one in value]
    return numbers[0] if len(set(numbers)) == 1 else dict(zip(DOF_NAMES, numbers, strict=True))


def _plain(value: object) -> object:
    """The same with None for what is infinite, which JSON has no word for and is no limit here."""
    match value:
        case dict():
            return {key: _plain(one) for key, one in value.items()}
        case float() if math.isinf(value):
            return None
        case _:
            return value
