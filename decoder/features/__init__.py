"""Feature sets, one module each: a window of conditioned samples in, one vector per hop out."""

from __future__ import annotations

import importlib
import pkgutil
from dataclasses import dataclass
from typing import NamedTuple, Protocol, cast

import numpy as np
from numpy.typing import NDArray

from decoder.carried import Carried
from firmware_bridge.errors import NervehandError


@dataclass(frozen=True, slots=True)
class FeatureSettings:
    """Which numbers are made from a window, and when.

    A window is the last `window_samples` conditioned samples; one is taken at each conditioned index j with
    (j + 1) % hop_samples == 0. `features` names the columns of a channel, in their order; empty means all that
    the set has, in the set's order. `low_samples` and `mains_samples` belong to sets with a low band: how many samples
    make one value of it, and how many values a whole number of mains periods (0: the mains are left in); `groups` says
    of each channel with which others it is averaged there (channels of one number together; empty: all).
    """

    window_samples: int
    hop_samples: int
    features: tuple[str, ...] = ()
    low_samples: int = 0
    mains_samples: int = 0
    groups: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if self.hop_samples < 1:
            raise NervehandError(f"the hop is {self.hop_samples} samples: give 1 or more")
        if self.window_samples < self.hop_samples:
            raise NervehandError(
                f"the window of {self.window_samples} samples is shorter than the hop of {self.hop_samples}:"
                " samples between windows would be lost; lengthen the window or shorten the hop"
            )
        if self.low_samples < 0 or self.mains_samples < 0:
            raise NervehandError(
                f"low_samples is {self.low_samples} and mains_samples {self.mains_samples}: give 0 or more of each"
            )
        if len(set(self.features)) != len(self.features):
            raise NervehandError(f"features repeat: {', '.join(self.features)}: name each one once")


class FeatureBlock(NamedTuple):
    """k feature vectors, one per hop.

    `features` (k, f) float32, channel-major: channel 0's columns, then channel 1's; always finite.
    `masked` (k, f) bool: the channel was masked somewhere in the window. `conditioned_index` (k,) int64:
    the window's last sample on the conditioned grid.
    """

    features: NDArray[np.float32]
    masked: NDArray[np.bool_]
    conditioned_index: NDArray[np.int64]


class FeatureExtractor(Protocol):
    """Consecutive conditioned blocks in, feature vectors out; a window that reaches before the reset is not emitted."""

    @property
    def names(self) -> tuple[str, ...]:
        """One per column: 'channel/feature'."""
        ...

    @property
    def n_features(self) -> int: ...

    def process(
        self, conditioned: NDArray[np.float32], mask: NDArray[np.bool_], first_index: int
    ) -> FeatureBlock: ...

    def reset(self) -> None: ...

    def carried(self) -> Carried: ...

    def restore(self, carried: Carried) -> None: ...


class FeatureSet(Protocol):
    """What a module of this package offers."""

    FEATURE_NAMES: tuple[str, ...]

    def make(self, settings: FeatureSettings, channel_names: tuple[str, ...]) -> FeatureExtractor: ...


def available() -> tuple[str, ...]:
    """The names of the feature sets."""
    return tuple(
        sorted(module.name for module in pkgutil.iter_modules(__path__) if not module.name.startswith("_"))
    )


def load(name: str) -> FeatureSet:
    """A feature set by the name of its module; raises NervehandError for a name that is none of them."""
    if name not in available():
        raise NervehandError(f"there is no feature set {name!r}: use one of {', '.join(available())}")
    return cast(FeatureSet, importlib.import_module(f"{__name__}.{name}"))


def selected(settings: FeatureSettings, offered: tuple[str, ...]) -> tuple[str, ...]:
    """The columns of a channel that the settings ask for; raises where the set has no such feature."""
    unknown = [name for name in settings.features if name not in offered]
    if unknown:
        raise NervehandError(f"there is no feature {unknown[0]!r}: use some of {', '.join(offered)}")
    return settings.features or offered


def column_names(channel_names: tuple[str, ...], features: tuple[str, ...]) -> tuple[str, ...]:
    """'channel/feature', channel-major."""
    return tuple(f"{channel}/{feature}" for channel in channel_names for feature in features)
