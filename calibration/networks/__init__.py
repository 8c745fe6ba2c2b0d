"""Networks by name, one module each: trained over sequences with the state carried, deployed as one causal step.

A module here has `make(n_features, n_outputs, n_gestures) -> StepModule`. The function that it computes over a
sequence is the one that its step network computes step by step.
"""

from __future__ import annotations

import importlib
import pkgutil
from typing import Protocol, cast

from calibration.networks._conv_gru import StepModule
from firmware_bridge.errors import NervehandError

__all__ = ["NetworkModule", "StepModule", "available", "load"]


class NetworkModule(Protocol):
    """What a module of this package offers."""

    def make(self, n_features: int, n_outputs: int, n_gestures: int) -> StepModule: ...


def available() -> tuple[str, ...]:
    """The names of the networks."""
    return tuple(sorted(m.name for m in pkgutil.iter_modules(__path__) if not m.name.startswith("_")))


def load(name: str) -> NetworkModule:
    """A network by the name of its module; raises NervehandError for a name that is none of them."""
    if name not in available():
        raise NervehandError(f"there is no network {name!r}: use one of {', '.join(available())}")
    return cast(NetworkModule, importlib.import_module(f"{__name__}.{name}"))
