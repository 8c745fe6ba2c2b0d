"""A hand that is held in one posture, and the poses of a calibration as a simulated glove reads them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from calibration.truth import Side
from calibration.truth.hand_angles import HandCalibration, Pose, Poses
from calibration.truth.simulated import IMPERFECT, Imperfections, SimulatedTruth
from firmware_bridge.hand import N_DOF
from firmware_bridge.nerve.motion import Truth

POSTURES: dict[Pose, tuple[float, ...]] = {
    Pose.RELAXED: (0, 0, 0, 0, 0, 0),
    Pose.OPEN: (-1, -1, -1, -1, -1, 0),
    Pose.FIST: (1, 1, 1, 1, 1, 0),
    Pose.WRIST_FLEXED: (0, 0, 0, 0, 0, 1),
    Pose.WRIST_EXTENDED: (0, 0, 0, 0, 0, -1),
}
"""Every pose in six positions."""


class Held:
    """A `Motion` that stays at six positions."""

    def __init__(self, positions: Sequence[float]) -> None:
        self._positions = np.array(positions, np.float64)

    def positions(self, index: NDArray[np.int64]) -> NDArray[np.float64]:
        return np.tile(self._positions, (len(index), 1))

    def truth(self, index: NDArray[np.int64]) -> Truth:
        zero = np.zeros(len(index), np.int16)
        return Truth(self.positions(index).astype(np.float32), zero, zero.astype(np.int32), zero, zero)


class Ramp:
    """A `Motion` whose six positions go from -1 to 1 over `n_samples`, and stay there."""

    def __init__(self, n_samples: int) -> None:
        self._n_samples = n_samples

    def positions(self, index: NDArray[np.int64]) -> NDArray[np.float64]:
        return np.repeat(np.clip(2 * index / self._n_samples - 1, -1, 1)[:, None], N_DOF, axis=1)

    def truth(self, index: NDArray[np.int64]) -> Truth:
        raise NotImplementedError


def readings(
    positions: Sequence[float], side: Side = "right", imperfections: Imperfections = IMPERFECT, seed: int = 0
) -> NDArray[np.float32]:
    """A second of readings (100, d) of a simulated glove on a hand held so."""
    glove = SimulatedTruth(Held(positions), side=side, imperfections=imperfections, seed=seed)
    return glove.readings_until(10_000, 0).values[:100]


def posed(side: Side = "right", imperfections: Imperfections = IMPERFECT) -> Poses:
    """Every pose held with the simulated glove."""
    poses = Poses(SimulatedTruth(Held(POSTURES[Pose.RELAXED]), side=side).info)
    for pose, posture in POSTURES.items():
        poses.hold(pose, readings(posture, side, imperfections))
    return poses


def calibrated(side: Side = "right") -> HandCalibration:
    return posed(side).calibration()
