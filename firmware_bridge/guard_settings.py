"""What a guard process is told when it starts, and what it says of itself: plain data, as JSON between the two."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from firmware_bridge.adjustments import Adjustments
from firmware_bridge.errors import NervehandError
from firmware_bridge.gate_limits import GateLimits
from firmware_bridge.hand import HandCapabilities
from firmware_bridge.hands import HandOptions
from firmware_bridge.realtime import Policy, RealTime
from firmware_bridge.stop_lines import StopLine, contact

HEARTBEAT_LIMIT_S = 0.07
"""With the guard looking every 10 ms, a decode that stands still is found in less than 100 ms."""


@dataclass(frozen=True, slots=True)
class RealTimeSettings:
    """What the guard's process is to have of real time, as `realtime.make_real_time` takes it; priority 0 is "off"."""

    policy: Policy = "off"
    priority: int = 50
    cpus: tuple[int, ...] = ()
    lock_memory: bool = True

    @property
    def is_off(self) -> bool:
        """Whether nothing is asked for."""
        return self.policy == "off" or self.priority == 0


@dataclass(frozen=True, slots=True)
class GuardSettings:
    """Which hand, within which limits; `limits` None are those of the hand itself.

    `name` is how other programs find the guard (letters, digits, "-" and "_"), "" for one with its process number.
    `connect_s` is how long the hand may take to be found. The guard relaxes when decode's heartbeat is older than
    `heartbeat_limit_s`. At its end it gives the hand `release_s` to reach rest, None for as long as the limits let it
    take. Where decode has ended without a word a link that is down has `orphaned_link_s` before that to come back.
    """

    hand: str
    options: HandOptions = field(default_factory=HandOptions)
    limits: GateLimits | None = None
    adjustments: Adjustments = field(default_factory=Adjustments)
    stop_lines: tuple[StopLine, ...] = ()
    name: str = ""
    rate_hz: float = 100.0
    connect_s: float = 10.0
    heartbeat_limit_s: float = HEARTBEAT_LIMIT_S
    release_s: float | None = None
    orphaned_link_s: float = 30.0
    real_time: RealTimeSettings = field(default_factory=RealTimeSettings)

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[A-Za-z0-9_-]{0,40}", self.name):
            raise NervehandError(
                f'a guard cannot be called {self.name!r}: use letters, digits, "-" and "_", at most 40'
            )
        for name in ("connect_s", "heartbeat_limit_s", "release_s", "orphaned_link_s"):
            value = getattr(self, name)
            if value is not None and not 0 < value < float("inf"):
                raise NervehandError(f"the guard's {name} is {value} s: give a time above 0")
        for line in self.stop_lines:
            contact(line.address)


@dataclass(frozen=True, slots=True)
class GuardReady:
    """The first thing that a guard process says: it runs, and the hand is connected; or why not.

    `real_time` is what it had of that, None where it was not asked for.
    """

    capabilities: HandCapabilities | None = None
    name: str = ""
    socket: str = ""
    error: str = ""
    real_time: RealTime | None = None
