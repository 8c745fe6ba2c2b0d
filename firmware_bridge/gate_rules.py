"""What the safety gate goes by, as data: its states, its safe actions, and the declared answer to every cause.

docs/safety.md says why each answer was chosen.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import Enum
from types import MappingProxyType

from firmware_bridge.errors import NervehandError


class GateState(Enum):
    """What the hand can expect of the gate."""

    DISARMED = "disarmed"
    """Sends nothing."""
    ARMED = "armed"
    """Follows the commands."""
    HOLDING = "holding"
    """Stops, and sends the last position again; where the hand says it is after an overload."""
    RELAXING = "relaxing"
    """Goes to rest, slowly."""
    RELEASED = "released"
    """Goes to rest within the speed limit and stays there, until armed again."""
    FAULTED = "faulted"
    """As the fault's action says, until armed again."""
    OPENING = "opening"
    """Goes to the open position within the speed limit."""


class SafeAction(Enum):
    """What is sent instead of a command."""

    HOLD = "hold"
    """Send the last position again, which also keeps the hand's own watchdog quiet."""
    RELAX = "relax"
    """Go to rest, in `relax_duration_s` from full flexion."""
    RELEASE = "release"
    """Go to rest as fast as the speed limit allows: the answer to a request only."""
    SILENT = "send nothing"
    OPEN = "open"
    """Go to `open_positions` as fast as the speed limit allows."""


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
    OVERHEATED = "hand too hot"
    ASTRAY = "hand where it was not sent"
    LOW_BATTERY = "hand battery low"
    AWAITING_REST = "waiting for the intent to pass rest"
    MALFORMED = "command not finite"
    UNHEALTHY = "signal unhealthy"
    SILENCE = "no command in time"
    STALE = "command too old"
    OVERLOADED = "hand overloaded"
    OUT_OF_RANGE = "command out of range"
    WARMING = "decoder warming"
    LOW_CONFIDENCE = "low confidence"
    LOCKED = "hand locked"


@dataclass(frozen=True, slots=True)
class Rule:
    """The declared answer to a cause; `way_back` tells a person what to do, "" where it ends by itself."""

    action: SafeAction
    state: GateState
    recovery: Recovery
    way_back: str = ""


RULES: Mapping[Cause, Rule] = MappingProxyType(
    {
        Cause.LINK_LOST: Rule(
            SafeAction.SILENT,
            GateState.DISARMED,
            Recovery.BY_ARMING,
            "bring the hand back into reach, then arm again",
        ),
        Cause.HAND_FAULT: Rule(
            SafeAction.SILENT,
            GateState.FAULTED,
            Recovery.BY_ARMING,
            "clear the fault at the hand, then arm again",
        ),
        Cause.STOPPED: Rule(SafeAction.HOLD, GateState.HOLDING, Recovery.BY_ARMING, "arm again, or release"),
        Cause.DECODE_FAULT: Rule(
            SafeAction.RELAX,
            GateState.FAULTED,
            Recovery.BY_ARMING,
            "see why the decoder failed, then arm again",
        ),
        Cause.OVERHEATED: Rule(
            SafeAction.RELAX,
            GateState.RELAXING,
            Recovery.THROUGH_REST,
            "let the hand cool, and think of rest once",
        ),
        Cause.ASTRAY: Rule(
            SafeAction.RELAX,
            GateState.FAULTED,
            Recovery.BY_ARMING,
            "look at the hand and at what moved it, then arm again",
        ),
        Cause.LOW_BATTERY: Rule(
            SafeAction.RELAX, GateState.FAULTED, Recovery.BY_ARMING, "charge the hand, then arm again"
        ),
        Cause.AWAITING_REST: Rule(
            SafeAction.HOLD, GateState.HOLDING, Recovery.THROUGH_REST, "think of rest once"
        ),
        Cause.MALFORMED: Rule(
            SafeAction.RELAX, GateState.RELAXING, Recovery.THROUGH_REST, "think of rest once"
        ),
        Cause.UNHEALTHY: Rule(
            SafeAction.RELAX,
            GateState.RELAXING,
            Recovery.THROUGH_REST,
            "see to the electrodes, and think of rest once",
        ),
        Cause.SILENCE: Rule(SafeAction.RELAX, GateState.RELAXING, Recovery.AT_ONCE),
        Cause.STALE: Rule(SafeAction.RELAX, GateState.RELAXING, Recovery.AT_ONCE),
        Cause.OVERLOADED: Rule(
            SafeAction.HOLD, GateState.HOLDING, Recovery.THROUGH_REST, "think of rest once: the hand opens"
        ),
        Cause.OUT_OF_RANGE: Rule(SafeAction.HOLD, GateState.HOLDING, Recovery.AT_ONCE),
        Cause.WARMING: Rule(SafeAction.HOLD, GateState.HOLDING, Recovery.AT_ONCE),
        Cause.LOW_CONFIDENCE: Rule(SafeAction.HOLD, GateState.HOLDING, Recovery.AT_ONCE),
        Cause.LOCKED: Rule(
            SafeAction.HOLD,
            GateState.HOLDING,
            Recovery.THROUGH_REST,
            "unlock the hand, and think of rest once",
        ),
    }
)
"""Every cause and its answer, the gravest first: of several at once, the first one here is answered."""

GRAVITY: Mapping[Cause, int] = MappingProxyType({cause: order for order, cause in enumerate(RULES)})
"""Smaller is graver."""

_MOVING = frozenset({SafeAction.HOLD, SafeAction.RELAX, SafeAction.OPEN})
_SPECIAL = {
    Cause.LINK_LOST: frozenset({SafeAction.SILENT}),  # nothing would arrive, or it would arrive late
    Cause.HAND_FAULT: _MOVING | {SafeAction.SILENT},
    Cause.ASTRAY: _MOVING | {SafeAction.SILENT},
    Cause.AWAITING_REST: frozenset({SafeAction.HOLD}),  # nothing moves before the intent has passed rest
    Cause.LOCKED: frozenset({SafeAction.HOLD}),  # that is what a lock is
}

ALLOWED: Mapping[Cause, frozenset[SafeAction]] = MappingProxyType(
    {cause: _SPECIAL.get(cause, _MOVING) for cause in RULES}
)
"""What a hand's limits may declare instead; never to follow, and never RELEASE, which only a person asks for."""

_STATES = {
    SafeAction.HOLD: GateState.HOLDING,
    SafeAction.RELAX: GateState.RELAXING,
    SafeAction.OPEN: GateState.OPENING,
}


def rules_with(actions: Mapping[Cause, SafeAction]) -> Mapping[Cause, Rule]:
    """RULES with other actions declared for some causes; NervehandError for one that is not in ALLOWED."""
    rules = dict(RULES)
    for cause, action in actions.items():
        if action not in ALLOWED[cause]:
            choice = ", ".join(sorted(one.value for one in ALLOWED[cause]))
            raise NervehandError(f"the action for {cause.value!r} is {action.value!r}: choose among {choice}")
        rule = RULES[cause]
        keeps = rule.state in (GateState.DISARMED, GateState.FAULTED)
        rules[cause] = replace(rule, action=action, state=rule.state if keeps else _STATES[action])
    return MappingProxyType(rules)
