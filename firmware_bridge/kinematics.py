"""Hands as motion only: speed-limited joints, and six with a watchdog; advanced by the time that is passed in."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from firmware_bridge.errors import NervehandError
from firmware_bridge.hand import N_DOF, HandCapabilities, WatchdogAction

NS = 1_000_000_000


class JointMotion:
    """n joints that each approach their target with time constant `settling_s`, never beyond their speed.

    A joint at distance e moves at min(|e| / settling_s, its speed): straight, then exponentially. `advance`
    is the exact solution, so the motion does not depend on how often it is called. `max_speed_per_s` (n,) is in
    the unit of the positions, whatever that is. Time is the caller's, in ns; it must not run backwards.
    """

    def __init__(
        self,
        positions: NDArray[np.float64],
        max_speed_per_s: NDArray[np.float64],
        now_ns: int,
        settling_s: float = 0.05,
    ) -> None:
        if not settling_s > 0:
            raise NervehandError(f"settling time is {settling_s} s: give a time above 0")
        self.positions = np.array(positions, dtype=np.float64)
        self.targets = self.positions.copy()
        self.now_ns = now_ns
        self._settling_s = settling_s
        self._speed = np.array(max_speed_per_s, dtype=np.float64)

    @property
    def speeds_per_s(self) -> NDArray[np.float64]:
        """How fast each joint moves now (n,), with its sign."""
        error = self.targets - self.positions
        return np.sign(error) * np.minimum(np.abs(error) / self._settling_s, self._speed)

    def advance(self, now_ns: int) -> None:
        """Exact motion of dx/dt = clip((target - x) / settling, -speed, speed) up to `now_ns`."""
        if now_ns < self.now_ns:
            raise NervehandError(f"time runs backwards: {now_ns} ns after {self.now_ns} ns")
        dt = (now_ns - self.now_ns) / NS
        self.now_ns = now_ns
        error = self.targets - self.positions
        distance = np.abs(error)
        bend = self._speed * self._settling_s
        straight_s = np.where(
            distance > bend, (distance - bend) / np.where(self._speed > 0, self._speed, np.inf), 0.0
        )
        straight_s = np.where(self._speed > 0, np.minimum(straight_s, dt), dt)
        left = distance - self._speed * straight_s
        left = left * np.exp(-(dt - straight_s) / self._settling_s)
        self.positions = self.targets - np.sign(error) * left


class KinematicHand:
    """Six joints in motion, within a hand's reach, and its watchdog.

    When no target came for `capabilities.watchdog_s`, the watchdog trips: HOLD stops the joints where they are,
    OPEN sends them to rest; the next target ends it. Time is the caller's, in ns; it must not run backwards.
    """

    def __init__(self, capabilities: HandCapabilities, now_ns: int, settling_s: float = 0.05) -> None:
        if capabilities.watchdog_s is not None and capabilities.watchdog_action not in (
            WatchdogAction.HOLD,
            WatchdogAction.OPEN,
        ):
            raise NervehandError(
                f"the watchdog action of {capabilities.name} is {capabilities.watchdog_action.value!r}: "
                "a kinematic hand can hold or open"
            )
        self.capabilities = capabilities
        self.watchdog_tripped = False
        self._joints = JointMotion(
            np.zeros(N_DOF), capabilities.max_speed_per_s.astype(np.float64), now_ns, settling_s
        )
        self._fed_ns = now_ns

    @property
    def positions(self) -> NDArray[np.float32]:
        """Where the joints are, (6,) in -1..1, at the time of the last `advance` or `command`."""
        return self._joints.positions.astype(np.float32)

    def command(self, targets: NDArray[np.float32], now_ns: int) -> None:
        """New targets (6,), clipped to the hand's reach; feeds the watchdog."""
        if targets.shape != (N_DOF,) or not np.isfinite(targets).all():
            raise NervehandError(f"targets are {targets.tolist()}: give {N_DOF} finite positions")
        self.advance(now_ns)
        self._joints.targets = np.clip(targets, self.capabilities.lower, self.capabilities.upper).astype(
            np.float64
        )
        self._fed_ns = now_ns
        self.watchdog_tripped = False

    def advance(self, now_ns: int) -> None:
        """Move on to `now_ns`, through the moment at which the watchdog trips if it lies between."""
        if now_ns < self._joints.now_ns:
            raise NervehandError(f"time runs backwards: {now_ns} ns after {self._joints.now_ns} ns")
        if self.capabilities.watchdog_s is not None and not self.watchdog_tripped:
            trip_ns = self._fed_ns + round(self.capabilities.watchdog_s * NS)
            if now_ns >= trip_ns:
                self._joints.advance(trip_ns)
                self.watchdog_tripped = True
                hold = self.capabilities.watchdog_action is WatchdogAction.HOLD
                self._joints.targets = self._joints.positions.copy() if hold else np.zeros(N_DOF)
        self._joints.advance(now_ns)
