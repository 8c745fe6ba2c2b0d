"""What a wearer may adjust while the hand moves: by degree of freedom, and the whole hand's lock."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from firmware_bridge.errors import NervehandError
from firmware_bridge.hand import DOF_NAMES, N_DOF

Six = tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Adjustments:
    """Each (6,) in the order of DOF_NAMES; checked when made.

    `gain` (0 to 4) multiplies a target. Below `dead_band` (0 to under 1) a target is rest, and what is beyond it is
    stretched so that full flexion stays full. `max_speed_per_s` (above 0, math.inf for none) is a limit beside the
    gate's own, whichever is smaller. A `locked` degree of freedom stays where it is; `hand_locked` locks all of them.
    A release and safe actions ignore all of them.
    """

    gain: Six = (1.0,) * N_DOF
    dead_band: Six = (0.0,) * N_DOF
    max_speed_per_s: Six = (math.inf,) * N_DOF
    locked: tuple[bool, ...] = (False,) * N_DOF
    hand_locked: bool = False

    def __post_init__(self) -> None:
        ranges: dict[str, tuple[Callable[[float], bool], str]] = {
            "gain": (lambda v: 0 <= v <= 4, "a number from 0 to 4"),
            "dead_band": (lambda v: 0 <= v < 1, "a number from 0 to below 1"),
            "max_speed_per_s": (lambda v: v > 0, "a speed above 0 /s, inf for no limit"),
            "locked": (lambda v: isinstance(v, bool), "true or false"),
        }
        for name, (is_good, wanted) in ranges.items():
            values = getattr(self, name)
            if len(values) != N_DOF:
                raise NervehandError(
                    f"adjustment {name} has {len(values)} values: give {N_DOF}, one for each of {', '.join(DOF_NAMES)}"
                )
            for i, value in enumerate(values):
                if not is_good(value):
                    raise NervehandError(f"adjustment {name} of {DOF_NAMES[i]} is {value}: give {wanted}")

    def adjusted(self, targets: Six) -> Six:
        """Targets (6,) in -1..1 by gain and dead band; not cut to any limit."""
        return tuple(map(_adjusted, targets, self.gain, self.dead_band))

    def applied(self, targets: Sequence[float], here: Six) -> Six:
        """Where to send the hand for targets (6,) while it is sent `here`: adjusted, and what is locked stays."""
        if (self.gain, self.dead_band, self.locked) == _NOTHING:
            return tuple(targets)
        wanted = self.adjusted(tuple(targets))
        return tuple(
            stays if locked else to for locked, stays, to in zip(self.locked, here, wanted, strict=True)
        )

    def changes_from(self, before: Adjustments) -> tuple[str, ...]:
        """What is other than `before`, in words, one for each change."""
        changes = [
            f"{words} of {dof} {old} -> {new}"
            for name, words in _WORDS.items()
            for dof, old, new in zip(DOF_NAMES, getattr(before, name), getattr(self, name), strict=True)
            if new != old
        ]
        if self.hand_locked != before.hand_locked:
            changes.append("hand locked" if self.hand_locked else "hand unlocked")
        return tuple(changes)


_NOTHING = (Adjustments().gain, Adjustments().dead_band, Adjustments().locked)
_WORDS = {"gain": "gain", "dead_band": "dead band", "max_speed_per_s": "speed limit", "locked": "lock"}


def _adjusted(target: float, gain: float, dead_band: float) -> float:
    beyond = max(abs(target) - dead_band, 0.0) / (1.0 - dead_band)
    return math.copysign(gain * beyond, target)
