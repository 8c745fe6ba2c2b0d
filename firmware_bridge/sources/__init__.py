"""Front-ends, one module each, found by name: `serial`, `intan`, `lsl`, ... An address is "name:where".

Every module here has `ADDRESS`, its form for people; `find()`, what is there now; and `open_device(where)`,
which asks the device what it streams, hence knows its StreamInfo before anything is started.
"""

from __future__ import annotations

import importlib
import pkgutil
from dataclasses import dataclass
from typing import Protocol, cast

from firmware_bridge.errors import NervehandError
from firmware_bridge.stream import Device


@dataclass(frozen=True, slots=True)
class Found:
    """A front-end that is there: the address that opens it, and what it is."""

    address: str
    description: str


class SourceModule(Protocol):
    """What a module of this package offers."""

    ADDRESS: str

    def find(self) -> tuple[Found, ...]:
        """What is there now, in about a second at most; empty where nothing is, or the extra is not installed."""

    def open_device(self, where: str) -> Device:
        """The device at `where` (the address without its scheme), described but not started.

        Raises NervehandError where the address is malformed or the extra is not installed, LinkError where
        nothing answers there.
        """


def schemes() -> tuple[str, ...]:
    """The names of the modules here."""
    return tuple(sorted(m.name for m in pkgutil.iter_modules(__path__) if not m.name.startswith("_")))


def load(scheme: str) -> SourceModule:
    """The module of that name; raises NervehandError where there is none."""
    if scheme not in schemes():
        raise NervehandError(f"source {scheme!r} is not known: use one of {', '.join(schemes())}")
    return cast(SourceModule, importlib.import_module(f"{__name__}.{scheme}"))
