"""What emulated hands with position-controlled motors have in common: motion, and what may be wrong with it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from firmware_bridge.kinematics import JointMotion


class Motors:
    """n motors that go to their targets, in the hand's own units; time is the caller's, in ns.

    `is_stuck`: none moves, and all that are not at their target push. `is_dead`: none moves, none pushes. `strays_to`:
    they go there (n,), whatever their targets are. Targets are kept meanwhile, and gone to afterwards.
    """

    def __init__(
        self, positions: NDArray[np.float64], speeds_per_s: NDArray[np.float64], now_ns: int
    ) -> None:
        self.targets = positions.copy()
        self.is_stuck = self.is_dead = False
        self.strays_to: NDArray[np.float64] | None = None
        self._motion = JointMotion(positions, speeds_per_s, now_ns)

    @property
    def positions(self) -> NDArray[np.float64]:
        return self._motion.positions

    @property
    def ways(self) -> NDArray[np.float64]:
        """How far each motor has to go yet (n,), with its sign; 0 where it does not try to."""
        return np.zeros_like(self.targets) if self.is_dead else self._aims() - self.positions

    def set_speeds(self, speeds_per_s: NDArray[np.float64]) -> None:
        """From now on (the time of the last `advance`)."""
        self._motion = JointMotion(self.positions, speeds_per_s, self._motion.now_ns)

    def advance(self, now_ns: int) -> None:
        is_held = self.is_stuck or self.is_dead
        self._motion.targets = self.positions.copy() if is_held else self._aims()
        self._motion.advance(now_ns)

    def _aims(self) -> NDArray[np.float64]:
        return self.targets.copy() if self.strays_to is None else self.strays_to.copy()
