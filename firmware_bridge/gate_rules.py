"""What the safety gate goes by, as data: its limits, and the declared safe action for every cause."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from types import MappingProxyType

import numpy as np
from numpy.typing import ArrayLike, NDArray

from firmware_bridge.errors import NervehandError
from firmware_bridge.hand import N_DOF, HandCapabilities


class GateState(Enum):
    """What the hand can expect of the gate."""

    DISARMED = "disarmed"
    """Sends nothing."""
    ARMED = "armed"
    """Follows the commands."""
    HOLDING = "holding"
    """Sends the last position again."""
    RELAXING = "relaxing"
    """Goes to rest, slowly."""
    RELEASED = "released"
    """Goes to rest within the speed limit and stays there, until armed again."""
    FAULTED = "faulted"
    """As the fault's action says, until armed again."""


class SafeAction(Enum):
    """What is sent instead of a command."""

    HOLD = "hold"
    """Send the last position again, which also keeps the hand's own watchdog quiet."""
    RELAX = "relax"
    """Go to rest, in `relax_duration_s` from full flexion."""
    RELEASE = "release"
    """Go to rest as fast as the speed limit allows: the answer to a request only."""
    SILENT = "send nothing"


class Recovery(Enum):
    """What ends a cause, once its condition is gone."""

    AT_ONCE = "at once"
    THROUGH_REST = "once the intent has passed rest"
    BY_ARMING = "by arming"


class Cause(Enum):
    """Why a command is not followed."""

    LINK_LOST = "no link to the hand"
    HAND_FAULT = "hand fault"
    STOPPED = "stop requested"
    DECODE_FAULT = "decode fault"
    AWAITING_REST = "waiting for the intent to pass rest"
    SILENCE = "no command in time"
    MALFORMED = "command not finite"
    OUT_OF_RANGE = "command out of range"
    UNHEALTHY = "signal unhealthy"
    WARMING = "decoder warming"
    LOW_CONFIDENCE = "low confidence"


@dataclass(frozen=True, slots=True)
class Rule:
    """The declared answer to a cause."""

    action: SafeAction
    state: GateState
    recovery: Recovery


RULES: Mapping[Cause, Rule] = MappingProxyType(
    {
        Cause.LINK_LOST: Rule(SafeAction.SILENT, GateState.DISARMED, Recovery.BY_ARMING),
        Cause.HAND_FAULT: Rule(SafeAction.SILENT, GateState.FAULTED, Recovery.BY_ARMING),
        Cause.STOPPED: Rule(SafeAction.HOLD, GateState.HOLDING, Recovery.BY_ARMING),
        Cause.DECODE_FAULT: Rule(SafeAction.RELAX, GateState.FAULTED, Recovery.BY_ARMING),
        Cause.AWAITING_REST: Rule(SafeAction.HOLD, GateState.HOLDING, Recovery.THROUGH_REST),
        Cause.MALFORMED: Rule(SafeAction.RELAX, GateState.RELAXING, Recovery.THROUGH_REST),
        Cause.UNHEALTHY: Rule(SafeAction.RELAX, GateState.RELAXING, Recovery.THROUGH_REST),
        Cause.SILENCE: Rule(SafeAction.RELAX, GateState.RELAXING, Recovery.AT_ONCE),
        Cause.OUT_OF_RANGE: Rule(SafeAction.HOLD, GateState.HOLDING, Recovery.AT_ONCE),
        Cause.WARMING: Rule(SafeAction.HOLD, GateState.HOLDING, Recovery.AT_ONCE),
        Cause.LOW_CONFIDENCE: Rule(SafeAction.HOLD, GateState.HOLDING, Recovery.AT_ONCE),
    }
)
"""Every cause and its answer, the gravest first: of several at once, the first one here is answered."""

GRAVITY: Mapping[Cause, int] = MappingProxyType({cause: order for order, cause in enumerate(RULES)})
"""Smaller is graver."""


def _limit(name: str, values: ArrayLike) -> NDArray[np.float32]:
    array = np.array(values, dtype=np.float32)
    if array.shape != (N_DOF,) or not np.isfinite(array).all():
        raise NervehandError(f"gate limit {name} is {values!r}: give {N_DOF} finite numbers, one per DOF")
    array.flags.writeable = False
    return array


@dataclass(frozen=True, slots=True, eq=False)
class GateLimits:
    """What the gate lets through; checked when made.

    `lower` and `upper` are (6,) positions, -1 <= lower <= 0 <= upper <= 1, so that rest is always allowed.
    `max_speed_per_s` is (6,) in full flexions per second, above 0. A command is silence from its expiry on,
    and in any case `stale_after_s` after it was issued. `relax_duration_s` is how long the way from full
    flexion to rest takes when relaxing (never faster than the speed limit). The intent is at rest where no
    target is beyond `rest_band`. The link is lost when the hand has not reported for `link_timeout_s`.
    `max_step_s` caps the time that a ramp may make up for in one step, however late the step comes.
    """

    lower: NDArray[np.float32]
    upper: NDArray[np.float32]
    max_speed_per_s: NDArray[np.float32]
    stale_after_s: float = 0.25
    min_confidence: float = 0.0
    min_healthy_fraction: float = 0.75
    link_timeout_s: float = 0.3
    relax_duration_s: float = 1.0
    rest_band: float = 0.15
    max_step_s: float = 0.05

    def __post_init__(self) -> None:
        for name in ("lower", "upper", "max_speed_per_s"):
            object.__setattr__(self, name, _limit(name, getattr(self, name)))
        if not ((self.lower >= -1) & (self.lower <= 0) & (self.upper >= 0) & (self.upper <= 1)).all():
            raise NervehandError(
                f"gate limits lower {self.lower.tolist()} and upper {self.upper.tolist()}: "
                "keep -1 <= lower <= 0 <= upper <= 1, so that rest is allowed"
            )
        if not (self.max_speed_per_s > 0).all():
            raise NervehandError(
                f"gate limit max_speed_per_s is {self.max_speed_per_s.tolist()}: give speeds above 0"
            )
        for name in ("stale_after_s", "link_timeout_s", "relax_duration_s", "max_step_s"):
            value = getattr(self, name)
            if not (np.isfinite(value) and value > 0):
                raise NervehandError(f"gate limit {name} is {value} s: give a time above 0")
        for name in ("min_confidence", "min_healthy_fraction", "rest_band"):
            value = getattr(self, name)
            if not 0 <= value <= 1:
                raise NervehandError(f"gate limit {name} is {value}: give a number from 0 to 1")

    @classmethod
    def for_hand(cls, capabilities: HandCapabilities) -> GateLimits:
        """The hand's own reach and speed; a DOF that the hand lacks keeps any positive speed."""
        speed = np.where(capabilities.max_speed_per_s > 0, capabilities.max_speed_per_s, np.float32(1))
        return cls(capabilities.lower, capabilities.upper, speed.astype(np.float32))
