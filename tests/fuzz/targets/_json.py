"""JSON that stays JSON while its values are changed: what random bytes hardly ever reach."""

from __future__ import annotations

import json
from collections.abc import Iterator

_VALUES: tuple[object, ...] = (
    *(None, True, False, 0, 1, -1, 2, 3, 5000, 2**31, 2**63, -(2**63), 10**40, 0.5, -0.0, 1e-320, 1e308),
    *(float("nan"), float("inf"), "", "x", "nerve", "int16", "float32", "left", "a\0b", "\ud800", "é" * 300),
    *([], [0], ["a", "a"], [None] * 9, [[0.0] * 6] * 2, [[]], {}, {"a": 1}, ["a"] * 2000),
)


def edited(text: str | bytes, edits: bytes) -> str:
    """The JSON object with up to 16 edits of three bytes: which value, what becomes of it, and what with."""
    whole: dict[str, object] = json.loads(text)
    for k in range(0, min(len(edits) - 2, 48), 3):
        which, what, value = edits[k : k + 3]
        places = list(_places(whole))
        if not places:
            break
        container, key = places[which % len(places)]
        if what % 4 == 0:
            del container[key]  # type: ignore[arg-type]  # a list's key is a number, an object's a text
        elif what % 4 == 1 and isinstance(container, list):
            container.append(_copy(_VALUES[value % len(_VALUES)]))
        else:
            container[key] = _copy(_VALUES[value % len(_VALUES)])  # type: ignore[index]  # as above
    return json.dumps(whole)


def _places(value: object) -> Iterator[tuple[dict[str, object] | list[object], str | int]]:
    if isinstance(value, dict):
        for key in list(value):
            yield value, key
            yield from _places(value[key])
    elif isinstance(value, list):
        for i in range(min(len(value), 20)):
            yield value, i
            yield from _places(value[i])


def _copy(value: object) -> object:
    return json.loads(json.dumps(value))
