"""What another configuration changes: what a running daemon applies, and what needs a restart."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import get_args, get_origin

from pydantic import BaseModel

from nervehand.config import DaemonConfig
from nervehand.config_errors import dotted, shown

Keys = tuple[str, ...]
RELOADABLE = (("decision",), ("hand", "adjustments"), ("hand", "limits"))
"""The tables of which what is not in AT_OPENING may change while a hand moves."""
AT_OPENING = (("hand", "limits", "link_timeout_s"),)
"""What a hand's link is told when it is opened."""


@dataclass(frozen=True, slots=True)
class Change:
    """What differs, by its dotted name; None where it is not said. A configuration names files of secrets only."""

    name: str
    before: object
    after: object

    def __str__(self) -> str:
        return f"{self.name} ({_value(self.before)} -> {_value(self.after)})"


@dataclass(frozen=True, slots=True)
class Changes:
    """What two configurations differ in: dotted names that may change without a stop, and those that may not."""

    applied: tuple[str, ...] = ()
    needs_restart: tuple[Change, ...] = ()

    @property
    def outcome(self) -> str:
        """What a reload has made of it, for people: all is refused where anything needs a restart."""
        if self.needs_restart:
            verb = "needs" if len(self.needs_restart) == 1 else "need"
            return f"refused: {', '.join(map(str, self.needs_restart))} {verb} a restart"
        return f"applied: {', '.join(self.applied)}" if self.applied else "applied: nothing has changed"


def changes(before: DaemonConfig, after: DaemonConfig) -> Changes:
    """What is other in `after`."""
    old, new = flat(before), flat(after)
    differing = [keys for keys in {**old, **new} if old.get(keys) != new.get(keys)]
    return Changes(
        tuple(dotted(keys) for keys in differing if is_reloadable(keys)),
        tuple(
            Change(dotted(keys), old.get(keys), new.get(keys))
            for keys in differing
            if not is_reloadable(keys)
        ),
    )


def is_reloadable(keys: Keys) -> bool:
    """Whether what is under `keys` may change without a stop."""
    return keys not in AT_OPENING and any(keys[: len(table)] == table for table in RELOADABLE)


def flat(config: BaseModel) -> Mapping[Keys, object]:
    """Every value of a configuration under its keys in a file; None where nothing is said.

    Numbers by degree of freedom are one value.
    """
    values: dict[Keys, object] = {}
    for name, field in type(config).model_fields.items():
        key, value = field.alias or name, getattr(config, name)
        if isinstance(value, BaseModel):
            values |= {(key, *keys): one for keys, one in flat(value).items()}
        elif isinstance(value, dict) and _is_table(field.annotation):
            values |= {(key, *keys): one for keys, one in _flat_table(value).items()}
        else:
            values[key,] = value
    return values


def _flat_table(table: Mapping[object, object]) -> Mapping[Keys, object]:
    values: dict[Keys, object] = {}
    for key, value in table.items():
        name = key.name.lower() if isinstance(key, Enum) else str(key)
        if isinstance(value, BaseModel):
            values |= {(name, *keys): one for keys, one in flat(value).items()}
        else:
            values[name,] = value.value if isinstance(value, Enum) else value
    return values


def _is_table(annotation: object) -> bool:
    """Whether a field is a table with keys of its own, and not numbers by name."""
    return get_origin(annotation) is dict and get_args(annotation)[1] is not float


def _value(value: object) -> str:
    return "not said" if value is None else shown(value)
