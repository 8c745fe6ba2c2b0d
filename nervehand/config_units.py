"""What was written in another unit, as a configuration wants it: `rotate = "1h"` and `rotate_min = 60` for 3600 s."""

from __future__ import annotations

import datetime
import math
import re
from collections.abc import Iterable, Mapping

_TIMES: Mapping[float, str] = {
    1e-9: "ns nanoseconds",
    1e-6: "us µs microseconds",
    1e-3: "ms msec millis milliseconds",
    1.0: "s sec secs second seconds",
    60.0: "min mins minute minutes",
    3600.0: "h hr hrs hour hours",
    86400.0: "d day days",
}
_SIZES: Mapping[float, str] = {
    2.0**-20: "b byte bytes",
    1e3 / 2**20: "kb kilobytes",
    2.0**-10: "kib",
    1e6 / 2**20: "mb megabytes",
    1.0: "mib",
    1e9 / 2**20: "gb gigabytes",
    2.0**10: "gib",
    1e12 / 2**20: "tb terabytes",
    2.0**20: "tib",
}
UNITS: Mapping[str, Mapping[str, float]] = {
    unit: {name: share for share, names in of.items() for name in names.split()}
    for unit, of in {
        "s": _TIMES,
        "mib": _SIZES,
        "hz": {1e-3: "mhz", 1.0: "hz hertz", 1e3: "khz"},
        "a": {1e-3: "ma milliamperes", 1.0: "a amperes"},
        "n": {1e-3: "mn", 1.0: "n newtons", 1e3: "kn"},
    }.items()
}
"""The units that a key of a configuration ends in, and how much of each is one of another by its name in a key."""
UNIT_WORDS: Mapping[str, str] = {"s": "seconds", "mib": "MiB", "hz": "Hz", "a": "amperes", "n": "newtons"}


def unit_of(key: str) -> str:
    """The unit that `key` ends in; "" for none that is known here, and for what is something per second."""
    unit = key.rpartition("_")[2] if "_per_" not in key else ""
    return unit if unit in UNITS else ""


def converted(value: object, unit: str, given: str = "") -> float | None:
    """`value` in `unit`: a number in the unit called `given`, or a text with its own; None where it is neither."""
    match value:
        case bool():
            return None
        case int() | float():
            number, name = value, given
        case str():
            found = re.fullmatch(r"\s*([0-9]+\.?[0-9]*|\.[0-9]+)\s*([A-Za-zµ]*)\s*", value)
            if found is None:
                return None
            number, name = float(found[1]), found[2].lower() or given
        case datetime.time():
            number = datetime.timedelta(
                hours=value.hour, minutes=value.minute, seconds=value.second
            ).total_seconds()
            name = "s"
        case _:
            return None
    share = UNITS[unit].get(name or unit)
    try:
        amount = math.nan if share is None else float(number) * share
    except OverflowError:
        return None
    return amount if math.isfinite(amount) else None


def written(amount: float, unit: str) -> str:
    """The number as it is written in a file: sizes are whole."""
    return str(max(1, round(amount))) if unit == "mib" else repr(float(f"{amount:.9g}"))


def in_other_unit(key: str, value: object, known: Iterable[str]) -> str:
    """What to write instead of `key = value`, where `key` is one of `known` with another unit, or none; "" if not."""
    said = _snake(key)
    meant = [one for one in known if unit_of(one) and _unit_in(said, one) is not None]
    sure = {one: amount for one in meant if (amount := _amount(said, value, one)) is not None}
    if len(sure) == 1 or (sure and len(meant) == 1):
        one, amount = next(iter(sure.items()))
        return f"write {one} = {written(amount, unit_of(one))} ({UNIT_WORDS[unit_of(one)]})"
    choice = " or ".join(f"{one} (a number of {UNIT_WORDS[unit_of(one)]})" for one in meant)
    return f"{'use' if len(meant) == 1 else 'say which,'} {choice}" if meant else ""


def _amount(said: str, value: object, one: str) -> float | None:
    return converted(value, unit_of(one), _unit_in(said, one) or "")


def _unit_in(said: str, one: str) -> str | None:
    """The unit that `said` ends in, where it is the key `one` with another; "" where it has none, None if it is not."""
    base, unit = one.rpartition("_")[::2]
    if said == base:
        return ""
    rest = said.removeprefix(f"{base}_")
    return rest if rest != said and rest in UNITS[unit] else None


def _snake(key: str) -> str:
    """rotateMin, rotate-min and Rotate_Min as rotate_min."""
    return re.sub(r"[-. ]+", "_", re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", key)).lower()
