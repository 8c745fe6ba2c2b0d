"""What pydantic finds wrong in a daemon's configuration, as one line for a person: what, which value, what to write."""

from __future__ import annotations

import datetime
import difflib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from nervehand.config_units import UNIT_WORDS, converted, in_other_unit, unit_of, written

Keys = tuple[str | int, ...]
"""Where something stands in a file: the key of each table on the way."""
_TAGS = ("number", "table", "[key]")
"""What pydantic puts into a place that no file has."""
_WANTED = {
    "bool_type": "give true or false",
    "string_type": "give a text in quotes",
    "finite_number": "give a finite number",
}
_MOST_SHOWN = 60
_MEANT: Mapping[str, tuple[str, ...]] = {"listen": ("port", "address", "host", "bind", "url", "socket")}
"""Keys by what else people call them."""
_MOST_PORT = 65535


def found(error: ValidationError, table: Mapping[str, object]) -> tuple[tuple[Keys, ErrorDetails], ...]:
    """Each thing that is wrong, under its keys in `table`."""
    return tuple((_keys(one["loc"], table), one) for one in error.errors())


def said(keys: Keys, error: ErrorDetails, root: type[BaseModel]) -> str:
    """What is wrong under `keys` of a table of the kind `root`, and what to do."""
    value, key = error["input"], str(keys[-1]) if keys else ""
    start = f"{dotted(keys)} is {shown(value)}"
    match error["type"]:
        case "extra_forbidden":
            return unknown(keys, value, root)
        case "missing":
            return f"{dotted(keys)} is missing: add it"
        case "model_type" | "model_attributes_type" | "dict_type":
            return f"{start}: make it a table, [{dotted(keys)}]"
        case "tuple_type":
            return f"{start}: give a list such as {_list(keys, value, root)}"
        case "float_type" if "number" in error["loc"]:
            return f"{start}: give one number, or numbers by name, {{ index = 0.5 }}{_instead(key, value)}"
        case "float_type" | "int_type" as kind:
            of = f" of {UNIT_WORDS[unit_of(key)]}" if unit_of(key) else ""
            return f"{start}: give a {'whole ' if kind == 'int_type' else ''}number{of}{_instead(key, value)}"
        case "literal_error":
            return f"{start}: give {error['ctx']['expected']}"
        case "value_error":
            what = error["msg"].removeprefix("Value error, ")
            return what if keys[0] == "hand" else f"{start}: {what}"
        case _:
            wanted = error["msg"].replace("Input should be ", "give ")
            return f"{start}: {_WANTED.get(error['type'], wanted)}"


def unknown(keys: Keys, value: object, root: type[BaseModel]) -> str:
    """What to write instead of a key that is not known."""
    *way, key = map(str, keys)
    model = model_at(root, tuple(way))
    known = list(_fields(model)) if model is not None else []
    is_table = isinstance(value, Mapping)
    what = f"table [{dotted(keys)}]" if is_table else f"key {key!r}" + (f" in [{dotted(way)}]" if way else "")
    if other := in_other_unit(key, value, known):
        return f"there is no {what}: {other}"
    if meant := next((one for one in known if key.lower() in _MEANT.get(one, ())), ""):
        is_port = type(value) is int and 0 <= value <= _MOST_PORT
        return f"there is no {what}: " + (
            f'write {meant} = "127.0.0.1:{value}"' if is_port else f"use {meant}, HOST:PORT in quotes"
        )
    # No key is told to be a table.
    places = [(table, name) for table, name, is_one in _places(root) if is_table or not is_one]
    if is_table and ("", key) in places:
        return f"there is no {what}: use [{key}]"
    if elsewhere := [table for table, name in places if name == key]:
        tables = " or ".join(f"[{table}]" if table else "the top, before any table" for table in elsewhere)
        return f"there is no {what}: {key} belongs in {tables}"
    if near := difflib.get_close_matches(key.lower(), known, n=1):
        return f"there is no {what}: use {_key(dotted((*way, near[0])) if is_table else near[0], is_table)}"
    if near := difflib.get_close_matches(key.lower(), [name for _, name in places], n=1):
        table = next(table for table, name in places if name == near[0])
        return (
            f"there is no {what}: use {near[0]} in {f'[{table}]' if table else 'the top, before any table'}"
        )
    return f"there is no {what}: use one of {', '.join(known)}"


def model_at(root: type[BaseModel], keys: Sequence[str]) -> type[BaseModel] | None:
    """The model of the table under `keys`; None where that is none with keys of its own."""
    model: type[BaseModel] | None = root
    way = list(keys)
    while way and model is not None:
        kind = _fields(model).get(way.pop(0))
        if get_origin(kind) is dict:
            kind = get_args(kind)[1]
            way = way[1:]
        model = kind if isinstance(kind, type) and issubclass(kind, BaseModel) else None
    return model


def dotted(keys: Sequence[str | int]) -> str:
    """As TOML writes it: decision.hysteresis, guard.stop_lines[0]."""
    text = ""
    for key in keys:
        text += f"[{key}]" if isinstance(key, int) else f".{bare(key)}" if text else bare(key)
    return text


def bare(key: str) -> str:
    """A key as it stands in a file, in quotes where it needs them."""
    return key if re.fullmatch(r"[A-Za-z0-9_-]+", key) else quoted(key)


def quoted(text: str) -> str:
    """A text as TOML writes it."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def shown(value: object) -> str:
    """A value in a line for people."""
    match value:
        case bool():
            return "true" if value else "false"
        case dict():
            return "a table"
        case datetime.date() | datetime.time():
            return value.isoformat()
        case _:
            text = repr(value)
            return text if len(text) <= _MOST_SHOWN else f"{text[:_MOST_SHOWN]}..."


def _list(keys: Keys, value: object, root: type[BaseModel]) -> str:
    """The list that a single value was meant to be, else one of that kind."""
    *way, key = map(str, keys)
    model = model_at(root, tuple(way))
    is_of_numbers = model is not None and int in get_args(_fields(model).get(key))
    text = str(value).strip()
    if is_of_numbers:
        return f"[{text}]" if text.isascii() and text.isdecimal() else "[2, 3]"
    return f"[{quoted(value)}]" if isinstance(value, str) and len(value) <= _MOST_SHOWN else '["..."]'


def _instead(key: str, value: object) -> str:
    """The line that a text with a unit was meant to be."""
    unit = unit_of(key)
    amount = converted(value, unit) if unit else None
    return "" if amount is None else f", {key} = {written(amount, unit)}"


def _keys(location: Keys, table: object) -> Keys:
    """Where in `table` that is."""
    keys: list[str | int] = []
    for key in location:
        inside = dict(enumerate(table)) if isinstance(table, list) else table
        is_there = isinstance(inside, Mapping) and key in inside
        if is_there or key not in _TAGS:
            keys.append(key)
            table = inside[key] if is_there and isinstance(inside, Mapping) else None
    return tuple(keys)


def _fields(model: type[BaseModel]) -> dict[str, object]:
    """What a table holds, by the names in a file."""
    return {field.alias or name: field.annotation for name, field in model.model_fields.items()}


def _places(root: type[BaseModel], table: str = "") -> Iterator[tuple[str, str, bool]]:
    """Of each key the table that it is in, its name, and whether it is a table itself."""
    for name, kind in _fields(root).items():
        is_model = isinstance(kind, type) and issubclass(kind, BaseModel)
        yield table, name, is_model or get_origin(kind) is dict
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            yield from _places(kind, f"{table}.{name}".lstrip("."))


def _key(name: str, is_table: bool) -> str:
    return f"[{name}]" if is_table else name
