"""Hands, one module each, found by name: `virtual`, `ability_hand`, ... An address is "name:where".

Modules that begin with `_` are their command sets, pure, and what they share; `virtual_*` is the hand at the other end.
"""

from __future__ import annotations

import importlib
import pkgutil
from dataclasses import dataclass
from typing import Protocol, cast

from firmware_bridge.errors import NervehandError
from firmware_bridge.hand import Hand, HandCapabilities
from firmware_bridge.joint_map import JointMap


@dataclass(frozen=True, slots=True)
class HandOptions:
    """How a hand is opened, beside its address.

    `transport` is a Bumble moniker (`usb:0`, `hci-socket:0`, `tcp-client:127.0.0.1:6402`), None for the system's own
    Bluetooth. `is_bonded`: pair, and encrypt the link, before anything is written. `joint_map` None is the hand's own.
    """

    transport: str | None = None
    is_bonded: bool = False
    joint_map: JointMap | None = None
    link_timeout_s: float = 0.3


class HandModule(Protocol):
    """What a module of this package offers."""

    ADDRESS: str
    CAPABILITIES: HandCapabilities
    """Known before connecting; of the hand's own joint map."""
    JOINTS: JointMap
    NAMES: tuple[str, ...]
    """How the Bluetooth names of such hands begin; empty for a hand without Bluetooth."""
    SERVICES: tuple[str, ...]
    """UUIDs of services by which they are known, in lower case, as they advertise them; none that others have too."""

    def open_hand(self, where: str, options: HandOptions) -> Hand:
        """The hand at `where` (the address without its name), not connected; NervehandError where that is malformed."""


def names() -> tuple[str, ...]:
    """The names of the hands here."""
    found = (m.name for m in pkgutil.iter_modules(__path__))
    return tuple(sorted(n for n in found if not n.startswith(("_", "virtual_"))))


def load(name: str) -> HandModule:
    """The module of that name; raises NervehandError where there is none."""
    if name not in names():
        raise NervehandError(f"hand {name!r} is not known: use one of {', '.join(names())}")
    return cast(HandModule, importlib.import_module(f"{__name__}.{name}"))


def open_hand(address: str, options: HandOptions | None = None) -> Hand:
    """The hand at "name:where", not connected yet; NervehandError where the address is malformed."""
    name, _, where = address.partition(":")
    return load(name).open_hand(where, options or HandOptions())
