"""The Ability Hand without its links: six joints that move, meet things and grow hot, and what they measure."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from firmware_bridge.emulators.hands.device import Trace
from firmware_bridge.errors import NervehandError
from firmware_bridge.kinematics import JointMotion

ORDERS = ("fault", "hot", "stall", "stray", "clear")
OPENED_DEG = np.zeros(6)
FLEXED_DEG = np.array([100.0, 100.0, 100.0, 100.0, 100.0, -100.0])
"""Index, middle, ring, little finger, thumb flexor, thumb rotator."""

FASTEST_DEG_PER_S = 462.0
STRAY_DEG = FLEXED_DEG / 2
"""Where a hand that moves by itself goes."""

FINGERS = slice(0, 5)
"""The joints that halt where they meet something; the thumb rotator does not (ICD 3.2.1)."""

IDLE_A, MOVING_A, PUSHING_A = 0.02, 0.2, 0.9
UNTOUCHED, TOUCHED = 40, 1500
NOTICED_DEG = 0.5

POSTURES_DEG = {
    "open": OPENED_DEG,
    "power": np.array([95.0, 95.0, 95.0, 95.0, 60.0, -80.0]),
    "key": np.array([90.0, 90.0, 90.0, 90.0, 50.0, -10.0]),
    "pinch": np.array([55.0, 0.0, 0.0, 0.0, 50.0, -75.0]),
    "point": np.array([0.0, 95.0, 95.0, 95.0, 60.0, -80.0]),
    "hook": np.array([70.0, 70.0, 70.0, 70.0, 0.0, 0.0]),
}
"""Where some grips take the joints, and RELAXED_DEG the others: our own numbers, the hand's are nowhere published."""

_LOWEST_DEG, _HIGHEST_DEG = np.minimum(OPENED_DEG, FLEXED_DEG), np.maximum(OPENED_DEG, FLEXED_DEG)

RELAXED_DEG = np.array([20.0, 20.0, 20.0, 20.0, 15.0, -15.0])


class AbilityBody:
    """Positions are degrees; time is the caller's, in ns. `is_faulty`: the hand says and does nothing any more."""

    def __init__(self, now_ns: int, trace: Trace) -> None:
        self.is_faulty = False
        self._trace = trace
        self._motion = JointMotion(OPENED_DEG, np.full(6, FASTEST_DEG_PER_S), now_ns)
        self._wanted = OPENED_DEG.copy()
        self._is_hot = self._strays = False
        self._met_at: NDArray[np.float64] | None = None
        self._has_met = np.zeros(6, dtype=bool)

    @property
    def positions_deg(self) -> NDArray[np.float64]:
        return self._motion.positions

    @property
    def speeds_deg_per_s(self) -> NDArray[np.float64]:
        return self._motion.speeds_per_s

    @property
    def currents_a(self) -> NDArray[np.float64]:
        moving = np.minimum(np.abs(self.speeds_deg_per_s) / FASTEST_DEG_PER_S, 1.0)
        return np.where(self._has_met, PUSHING_A, IDLE_A + moving * MOVING_A)

    @property
    def touch(self) -> NDArray[np.int64]:
        """30 readings of 12 bits, six on each finger."""
        return np.repeat(np.where(self._has_met[FINGERS], TOUCHED, UNTOUCHED), 6)

    @property
    def limited(self) -> int:
        """Bit by joint: it does not do what it is told (ICD 3.4.7)."""
        if self._is_hot:
            return 0b111111
        return sum(1 << i for i, has_met in enumerate(self._has_met.tolist()) if has_met)

    def go(
        self, wanted_deg: NDArray[np.float64], now_ns: int, speeds: NDArray[np.float64] | None = None
    ) -> None:
        """To these positions, cut to the travel, at full speed or at `speeds` (6,) in degrees per second."""
        self.advance(now_ns)
        self._wanted = np.minimum(np.maximum(wanted_deg, _LOWEST_DEG), _HIGHEST_DEG)
        self._aim(now_ns, np.full(6, FASTEST_DEG_PER_S) if speeds is None else speeds)

    def drive(self, speeds_deg_per_s: NDArray[np.float64], now_ns: int) -> None:
        """To the end of the travel on that side, at these speeds with their sign."""
        ends = np.where(speeds_deg_per_s * np.sign(FLEXED_DEG) > 0, FLEXED_DEG, OPENED_DEG)
        wanted = np.where(speeds_deg_per_s == 0, self.positions_deg, ends)
        self.go(wanted, now_ns, np.minimum(np.abs(speeds_deg_per_s), FASTEST_DEG_PER_S))

    def grip(self, name: str, period_s: float, now_ns: int) -> None:
        """Do that grip in that time, never under 0.2 s."""
        self._trace.add(now_ns, "grip", text=name)
        self.advance(now_ns)
        wanted = POSTURES_DEG.get(name, RELAXED_DEG)
        speeds = np.abs(wanted - self.positions_deg) / max(period_s, 0.2)
        self.go(wanted, now_ns, np.minimum(speeds, FASTEST_DEG_PER_S))

    def stop(self, now_ns: int) -> None:
        self.advance(now_ns)
        self.go(self.positions_deg.copy(), now_ns)

    def advance(self, now_ns: int) -> None:
        if now_ns > self._motion.now_ns:
            self._motion.advance(now_ns)
            self._trace.add(now_ns, "position", tuple(self.positions_deg.tolist()))

    def obey(self, order: str, now_ns: int) -> None:
        self.advance(now_ns)
        match order:
            case "fault":
                self.is_faulty = True
            case "hot":
                self._is_hot = True
            case "stall":
                self._met_at = self.positions_deg.copy()
            case "stray":
                self._strays = True
            case "clear":
                self.is_faulty = self._is_hot = self._strays = False
                self._met_at = None
                self._has_met[:] = False
            case _:
                raise NervehandError(f"order {order!r} is unknown: use {', '.join(ORDERS)}")
        self._trace.add(now_ns, "ordered", text=order)
        self._aim(now_ns, np.full(6, FASTEST_DEG_PER_S))

    def _aim(self, now_ns: int, speeds: NDArray[np.float64]) -> None:
        """Set the joints in motion to what is wanted, as far as they can."""
        positions = self.positions_deg
        self._motion = JointMotion(positions, speeds, now_ns)
        targets = self._wanted
        if self._met_at is not None:
            # Halted until told to go back (ICD 3.2.1).
            self._has_met[FINGERS] |= (self._wanted > self._met_at + NOTICED_DEG)[FINGERS]
            self._has_met &= ~(self._wanted < positions - NOTICED_DEG)
            targets = np.where(self._has_met, np.minimum(self._wanted, self._met_at), targets)
        if self._is_hot or self.is_faulty:
            targets = positions
        self._motion.targets = np.array(STRAY_DEG if self._strays else targets)
