"""Where in a TOML file something stands, so that an error can say it; the file's reader is Python's own."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence

from firmware_bridge.errors import NervehandError


def read_toml(text: str, name: str) -> dict[str, object]:
    """The tables in `text`; NervehandError, naming `name` and the line, where it is no TOML."""
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise NervehandError(f"{name}: {error}: correct it there") from error
    except (ValueError, RecursionError) as error:  # a number of thousands of digits, thousands of brackets
        raise NervehandError(f"{name}: cannot be read ({str(error)[:80]}): is it the right file?") from error


def line_of(text: str, keys: Sequence[object]) -> int | None:
    """The line (from 1) on which the value under `keys` begins, or the innermost table around it that is there; None
    for the whole file. `text` must be TOML.

    A value begins on the line after the last line up to which `text` can be read without it.
    """
    table = tomllib.loads(text)
    while keys and not _holds(table, keys):
        keys = keys[:-1]
    if not keys:
        return None
    lines = text.splitlines()
    without = 0
    for n in range(1, len(lines) + 1):
        try:
            part = tomllib.loads("\n".join(lines[:n]))
        except tomllib.TOMLDecodeError:
            continue  # in the middle of a value
        if _holds(part, keys):
            break
        without = n
    return without + 1


def place(text: str, name: str, keys: Sequence[object]) -> str:
    """The file and the line of `keys`, for the beginning of an error."""
    line = line_of(text, keys)
    return name if line is None else f"{name}, line {line}"


def _holds(table: object, keys: Sequence[object]) -> bool:
    for key in keys:
        if isinstance(table, list):
            table = dict(enumerate(table))
        if not isinstance(table, Mapping) or key not in table:
            return False
        table = table[key]
    return True
