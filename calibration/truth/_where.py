"""The part of an address after its name: a place, and options behind a question mark."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import cast

from calibration.truth import Side
from firmware_bridge.errors import NervehandError


def parse_where(address: str, where: str, defaults: Mapping[str, str]) -> tuple[str, dict[str, str]]:
    """`PLACE?key=value&key=value` as the place and every option of `defaults`.

    NervehandError names an option that is not known, or not given as key=value. `address` is the form for people.
    """
    place, mark, said = where.partition("?")
    options = dict(defaults)
    for one in said.split("&") if mark else ():
        key, equals, value = one.partition("=")
        if not equals or key not in defaults:
            known = ", ".join(f"{key}=" for key in defaults) or "none"
            raise NervehandError(f"option {one!r} is not known (there are: {known}): give {address}")
        options[key] = value
    return place, options


def side_of(value: str) -> Side:
    """The able hand; NervehandError where it is neither."""
    if value not in ("left", "right"):
        raise NervehandError(f"side={value}: the able hand is left or right")
    return cast(Side, value)


def rate_of(value: str) -> float:
    """Readings a second; NervehandError where that is no positive number."""
    rate_hz = number_of("rate", value)
    if not 0 < rate_hz <= 1000:
        raise NervehandError(f"rate={value}: give readings a second, above 0 and up to 1000")
    return rate_hz


def number_of(name: str, value: str) -> float:
    try:
        number = float(value)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise NervehandError(f"{name}={value}: give a number")
    return number


def yes_or_no(name: str, value: str) -> bool:
    if value not in ("yes", "no"):
        raise NervehandError(f"{name}={value}: give yes or no")
    return value == "yes"
