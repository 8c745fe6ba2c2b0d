"""What goes out: what a hand is asked, what it can do, and what it did."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

DOF_NAMES: tuple[str, ...] = ("thumb", "index", "middle", "ring", "little", "wrist")
"""The order of every (6,) array of positions: -1 full extension, 0 relaxed, 1 full flexion."""

N_DOF = len(DOF_NAMES)


class LinkState(Enum):
    """Where the link to a hand stands."""

    DISCONNECTED = "disconnected"
    CONNECTING = "connecting"
    CONNECTED = "connected"
    LOST = "lost"


class Quantity(Enum):
    """What a hand may measure of itself."""

    POSITION = "position"
    SPEED = "speed"
    CURRENT = "current"
    FORCE = "force"
    TOUCH = "touch"
    TEMPERATURE = "temperature"
    BATTERY = "battery"


class WatchdogAction(Enum):
    """What a hand does by itself when commands stop."""

    HOLD = "hold"
    OPEN = "open"
    OWN_MODE = "own mode"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Quality:
    """What the gate may judge a command by; it never sees the intent behind it.

    `confidence` is the probability (0..1) of the decided gesture, `healthy_fraction` the share (0..1) of
    channels that are not masked.
    """

    warming: bool = False
    confidence: float = 1.0
    healthy_fraction: float = 1.0


@dataclass(frozen=True, slots=True)
class HandCommand:
    """Six target positions in -1..1 (DOF_NAMES), good until `expires_ns` on the host's monotonic clock.

    `sample_index` names the last sample that the command rests on, so that each motion can be traced back;
    `issued_ns` is when that sample had arrived: from then on the command ages.
    """

    targets: NDArray[np.float32]
    sample_index: int
    issued_ns: int
    expires_ns: int
    gesture: str = "rest"
    quality: Quality = Quality()


@dataclass(frozen=True, slots=True)
class HandState:
    """What the hand reports: positions (6,) in -1..1, NaN where it measures none; `reported_ns` host time.

    `currents_a` and `forces_n` (6,) are by DOF, the largest of its joints; `temperature_c` is the hottest part's,
    `battery` the share of a full charge, 0..1; each None where the hand does not measure it. `hot` and `stalled` are
    alarms that a hand raises without a number. `fault` is its own word for a fault that it reports, "" for none.
    `connection` counts its connections, so that one that was lost and made anew between two looks is seen.
    """

    positions: NDArray[np.float32]
    reported_ns: int
    watchdog_tripped: bool = False
    fault: str = ""
    hot: bool = False
    stalled: bool = False
    currents_a: NDArray[np.float32] | None = None
    forces_n: NDArray[np.float32] | None = None
    temperature_c: float | None = None
    battery: float | None = None
    connection: int = 0


@dataclass(frozen=True, slots=True)
class HandCapabilities:
    """What a hand can do, known before it is connected.

    `lower` and `upper` are (6,) reachable positions in -1..1 (a hand that cannot extend has lower 0; a DOF
    that it lacks has lower = upper = 0). `max_speed_per_s` is (6,) in full flexions per second. `watchdog_s`
    is None where the hand has no watchdog, or where its time is unknown; `source` says where these facts were read.
    `measures` is what its reports contain. `grips` are its own, by name. More than `max_command_rate_hz` commands
    a second are too many for it.
    """

    name: str
    lower: NDArray[np.float32]
    upper: NDArray[np.float32]
    max_speed_per_s: NDArray[np.float32]
    watchdog_s: float | None
    watchdog_action: WatchdogAction
    source: str
    measures: frozenset[Quantity] = frozenset({Quantity.POSITION})
    grips: tuple[str, ...] = ()
    max_command_rate_hz: float = 1000.0


@dataclass(frozen=True, slots=True)
class AppliedCommand:
    """What was handed to the link: positions (6,) after the hand's own limits, and which DOFs clipped."""

    positions: NDArray[np.float32]
    clipped: NDArray[np.bool_]
    sent_ns: int


class Hand(Protocol):
    """A hand. `send` never blocks on the link: it clips, hands over the newest positions and returns them."""

    @property
    def capabilities(self) -> HandCapabilities: ...

    @property
    def link(self) -> LinkState: ...

    @property
    def state(self) -> HandState | None: ...

    def connect(self, timeout_s: float) -> None: ...

    def send(self, positions: NDArray[np.float32], now_ns: int) -> AppliedCommand: ...

    def grip(self, name: str, speed: float, now_ns: int) -> None:
        """Start one of the hand's own grips at `speed` (0 to 1 of the hand's own); NervehandError if it has none."""

    def close(self) -> None: ...
