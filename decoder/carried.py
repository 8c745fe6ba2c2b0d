"""What the stages carry from block to block, by name: taken out, stored, and put back so that they go on from there.

Every stage gives `carried()`, copies of its arrays and numbers, and takes them back with `restore`. A stage that was
restored answers as the one that was asked would have, bit for bit, as long as both are of the same release.
"""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Mapping
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from firmware_bridge.errors import NervehandError

Carried = Mapping[str, NDArray[np.generic]]
Number = int | float | None

MAGIC = b"NHSTATE\x01"
_LENGTH = struct.Struct("<I")
MOST_BYTES = 1 << 28
"""A damaged length must not become an allocation."""


class Stateful(Protocol):
    """A stage with a state that can be stored."""

    def carried(self) -> Carried:
        """Copies of all that it carries."""

    def restore(self, carried: Carried) -> None:
        """Go on from there. NervehandError where it is not of such a stage; then it is reset before more."""


def packed(arrays: Carried, **numbers: Number) -> dict[str, NDArray[np.generic]]:
    """Copies of arrays, and numbers as arrays of one value, or of none for None."""
    found: dict[str, NDArray[np.generic]] = {name: np.array(array) for name, array in arrays.items()}
    for name, value in numbers.items():
        dtype = np.float64 if isinstance(value, float) else np.int64
        found[name] = np.array([] if value is None else [value], dtype)
    return found


def refill(arrays: Mapping[str, NDArray[np.generic]], carried: Carried) -> None:
    """Copy what was carried into arrays of the same names, shapes and types; nothing where one does not fit."""
    for name, array in arrays.items():
        saved = _found(carried, name)
        if saved.shape != array.shape or saved.dtype != array.dtype:
            raise NervehandError(
                f"the carried state's {name} is {saved.dtype} {saved.shape}, this decoder's {array.dtype} "
                f"{array.shape}: it was stored by another release or for another decoder"
            )
    for name, array in arrays.items():
        array[...] = _found(carried, name)


def refill_to_next(arrays: Mapping[str, NDArray[np.generic]], carried: Carried) -> int | None:
    """As `refill`; the index of the sample that comes next, packed beside them as `next`, or None before the first."""
    next_index = whole_or_none(carried, "next")
    refill(arrays, carried)
    return next_index


def whole(carried: Carried, name: str) -> int:
    """A whole number that was packed; NervehandError where there is none."""
    value = whole_or_none(carried, name)
    if value is None:
        raise NervehandError(f"the carried state has no {name}: it was stored by another release")
    return value


def whole_or_none(carried: Carried, name: str) -> int | None:
    """A whole number that was packed, None where None was."""
    saved = _found(carried, name)
    if saved.size > 1 or (saved.size and saved.dtype != np.int64):
        raise NervehandError(
            f"the carried state's {name} is no whole number: it was stored by another release"
        )
    return int(saved[0]) if saved.size else None


def real(carried: Carried, name: str) -> float:
    """A number that was packed as one with a fraction."""
    saved = _found(carried, name)
    if saved.shape != (1,) or saved.dtype != np.float64 or math.isnan(float(saved[0])):
        raise NervehandError(f"the carried state's {name} is no number: it was stored by another release")
    return float(saved[0])


def under(prefix: str, carried: Carried) -> dict[str, NDArray[np.generic]]:
    """The same with a prefix before each name: what a part of a stage carries, among others."""
    return {f"{prefix}.{name}": array for name, array in carried.items()}


def part(prefix: str, carried: Carried) -> dict[str, NDArray[np.generic]]:
    """What `under` put there."""
    return {
        name[len(prefix) + 1 :]: array for name, array in carried.items() if name.startswith(f"{prefix}.")
    }


def to_bytes(carried: Carried) -> bytes:
    """Little-endian: MAGIC, the length of a JSON list of [name, type, shape] as uint32, that list, then the arrays."""
    rows = [np.ascontiguousarray(array, array.dtype.newbyteorder("<")) for array in carried.values()]
    head = json.dumps(
        [[name, row.dtype.str, list(row.shape)] for name, row in zip(carried, rows, strict=True)],
        separators=(",", ":"),
    ).encode()
    return b"".join([MAGIC, _LENGTH.pack(len(head)), head, *(row.tobytes() for row in rows)])


def from_bytes(data: bytes) -> dict[str, NDArray[np.generic]]:
    """What `to_bytes` was given; NervehandError for anything else."""
    try:
        if data[: len(MAGIC)] != MAGIC:
            raise ValueError("it does not begin as one")
        (length,) = _LENGTH.unpack_from(data, len(MAGIC))
        at = len(MAGIC) + _LENGTH.size + length
        found: dict[str, NDArray[np.generic]] = {}
        for name, dtype, shape in json.loads(data[len(MAGIC) + _LENGTH.size : at]):
            kind = np.dtype(dtype)
            if kind.hasobject or kind.kind not in "biuf" or not isinstance(name, str):
                raise ValueError(f"{dtype} is no type of numbers")
            n = math.prod(shape)
            if not 0 <= n * kind.itemsize <= min(len(data) - at, MOST_BYTES):
                raise ValueError(f"{name} is cut short")
            found[name] = np.frombuffer(data, kind, n, at).reshape(shape).astype(kind.newbyteorder("="))
            at += n * kind.itemsize
        if at != len(data):
            raise ValueError("more follows")
    except (ValueError, TypeError, struct.error, RecursionError, OverflowError) as error:
        raise NervehandError(
            f"the stored state is damaged ({error}): what follows it can be replayed from a fresh start only"
        ) from None
    return found


def _found(carried: Carried, name: str) -> NDArray[np.generic]:
    if name not in carried:
        raise NervehandError(f"the carried state has no {name}: it was stored by another release")
    return carried[name]
