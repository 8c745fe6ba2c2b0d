"""Frozen dataclasses as plain JSON values and back, checked: for what crosses from one process to another."""

from __future__ import annotations

import dataclasses
import functools
import types
from collections.abc import Mapping
from enum import Enum
from typing import Any, Literal, TypeVar, Union, cast, get_args, get_origin, get_type_hints

import numpy as np

from firmware_bridge.errors import NervehandError

T = TypeVar("T")

_PLAIN = frozenset({str, int, float, bool, type(None)})


def to_plain(value: object) -> object:
    """Dataclasses and mappings as objects, enums as their values, arrays and tuples as lists."""
    if type(value) in _PLAIN:
        return value
    if isinstance(value, Enum):
        return value.value
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {name: to_plain(getattr(value, name)) for name in _names(type(value))}
    if isinstance(value, Mapping):
        return {str(to_plain(key)): to_plain(one) for key, one in value.items()}
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, frozenset):
        return sorted((to_plain(one) for one in value), key=str)
    if isinstance(value, tuple | list):
        return [one if type(one) in _PLAIN else to_plain(one) for one in value]
    return value


@functools.cache
def _names(kind: Any) -> tuple[str, ...]:
    return tuple(field.name for field in dataclasses.fields(kind))


def from_plain(kind: type[T], value: object, what: str = "value") -> T:
    """The `kind` (a dataclass, or what its fields may be) that `to_plain` made `value` of.

    A field that has a default may be left out. NervehandError names an unknown field, a missing one, or a value of
    another type by its path below `what`.
    """
    return cast(T, _read(kind, value, what))


def _read(kind: Any, value: object, what: str) -> object:
    origin = get_origin(kind)
    if origin is Union or origin is types.UnionType:
        (inner,) = (one for one in get_args(kind) if one is not type(None))
        return None if value is None else _read(inner, value, what)
    if origin is Literal:
        if value not in get_args(kind):
            raise NervehandError(f"{what} is {value!r}: give one of {', '.join(map(str, get_args(kind)))}")
        return value
    if origin is np.ndarray:
        return _array(kind, value, what)
    if origin in (tuple, frozenset):
        (item,) = {one for one in get_args(kind) if one is not Ellipsis}
        return origin(_read(item, one, f"{what}[{i}]") for i, one in enumerate(_list(value, what)))
    if isinstance(origin, type) and issubclass(origin, Mapping):
        of_key, of_value = get_args(kind)
        return {
            _read(of_key, key, what): _read(of_value, one, f"{what}.{key}")
            for key, one in _object(value, what).items()
        }
    if dataclasses.is_dataclass(kind):
        return _dataclass(kind, value, what)
    if issubclass(kind, Enum):
        try:
            return kind(value)
        except ValueError:
            known = ", ".join(str(one.value) for one in kind)
            raise NervehandError(f"{what} is {value!r}: give one of {known}") from None
    return _scalar(kind, value, what)


def _dataclass(kind: Any, value: object, what: str) -> object:
    hints = _hints(kind)
    given = _object(value, what)
    fields = {field.name: field for field in dataclasses.fields(kind) if field.init}
    unknown = sorted(set(given) - set(fields))
    if unknown:
        raise NervehandError(f"{what} has no {', '.join(unknown)}: it has {', '.join(fields)}")
    missing = [
        name
        for name, field in fields.items()
        if name not in given
        and field.default is dataclasses.MISSING
        and field.default_factory is dataclasses.MISSING
    ]
    if missing:
        raise NervehandError(f"{what} lacks {', '.join(missing)}: give a value")
    made: object = kind(**{name: _read(hints[name], one, f"{what}.{name}") for name, one in given.items()})
    return made


@functools.cache
def _hints(kind: Any) -> dict[str, Any]:
    return get_type_hints(kind)


def _scalar(kind: type, value: object, what: str) -> object:
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        raise NervehandError(f"{what} is {value!r}: give a {kind.__name__}")
    return value


def _array(kind: Any, value: object, what: str) -> object:
    dtype = get_args(get_args(kind)[1])[0]
    try:
        return np.array(_list(value, what), dtype=dtype)
    except (TypeError, ValueError):
        raise NervehandError(f"{what} is {value!r}: give a list of numbers") from None


def _list(value: object, what: str) -> list[object]:
    if not isinstance(value, list):
        raise NervehandError(f"{what} is {value!r}: give a list")
    return value


def _object(value: object, what: str) -> dict[str, object]:
    if not isinstance(value, dict):
        raise NervehandError(f"{what} is {value!r}: give an object with named values")
    return value
