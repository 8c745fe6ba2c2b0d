"""What is known of decoders in shadow: when one may take over, what became of it, and how it does."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Role = Literal["candidate", "previous"]
ShadowEventKind = Literal["push", "drop", "fault", "switch", "rollback", "refused"]

TOO_SLOW = 0.5
"""Of a hop; a decoder that takes so much of it runs beside no other one."""


@dataclass(frozen=True, slots=True)
class ShadowRules:
    """When a decoder may take over. Times are of samples.

    It must have run for `least_s` without a fault, not be warming, and all decoders together must leave a share of each
    hop: at most `most_of_hop` of it may go to computing, in 99 of 100 hops. It happens once both decoders have decided
    rest, all positions within `rest_position`, for `rest_s`; that is waited for `longest_wait_s`. A decoder that
    takes more than `too_slow` of a hop is dropped.
    """

    least_s: float = 10.0
    most_of_hop: float = 0.7
    too_slow: float = TOO_SLOW
    rest_s: float = 0.3
    rest_position: float = 0.15
    longest_wait_s: float = 10.0


DEFAULT_RULES = ShadowRules()


@dataclass(frozen=True, slots=True)
class ShadowEvent:
    """Something that became of a decoder at `sample_index`; `sha256` is its identity, `who` asked for it."""

    sample_index: int
    kind: ShadowEventKind
    text: str
    who: str
    sha256: str


@dataclass(frozen=True, slots=True)
class ShadowState:
    """How a decoder does beside the deployed one.

    `seconds` it has run without warming; `compared` hops that both decided, `gesture_agreement` the share of them with
    the same gesture, `position_difference` the mean absolute difference of the six positions; None before the first.
    `compute_us` are the p50 and p99 of its own computing per hop, `budget_left` the share of a hop that all decoders
    leave (p99). `missing` is what speaks against its taking over now, in words; a moment of rest is not among it.
    """

    sha256: str
    role: Role
    who: str
    subject: str
    seconds: float
    hops: int
    compared: int
    gesture_agreement: float | None
    position_difference: float | None
    compute_us: tuple[float, float] | None
    budget_left: float | None
    is_warming: bool
    is_resting: bool
    missing: tuple[str, ...]
