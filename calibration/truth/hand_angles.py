"""From held poses to a calibrated hand: what a source's sensors say in each, and which sensors say too little."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from calibration.truth import TruthInfo
from calibration.truth.hand_calibration import HandCalibration
from calibration.truth.hand_joints import (
    BY_NAME,
    JOINT_NAMES,
    JOINTS,
    MIRROR,
    HandJoint,
    Mirrored,
    Pose,
    ends_of,
)
from firmware_bridge.errors import NervehandError

__all__ = [
    "JOINTS",
    "JOINT_NAMES",
    "MIRROR",
    "HandCalibration",
    "HandJoint",
    "Mirrored",
    "Pose",
    "Poses",
    "poses_of",
]

_FINGER_POSES = (Pose.RELAXED, Pose.OPEN, Pose.FIST)
_WRIST_POSES = (Pose.WRIST_FLEXED, Pose.WRIST_EXTENDED)

MIN_READINGS = 10
"""Of each sensor, in each pose."""
MIN_RANGE_RAD, MIN_RANGE_RAW = math.radians(5.0), 3.0
"""A sensor that moves less between open hand and fist does not move: less than a hand that is told to be still."""
MIN_NOISES = 6.0
"""Likewise, in standard deviations of its noise."""
MOST_UNREST = 0.15
"""A pose is held while the sensor's standard deviation stays below this share of its range, or is its usual noise."""


def poses_of(info: TruthInfo) -> tuple[Pose, ...]:
    """The poses that calibrate this source, in the order to ask for them."""
    return _FINGER_POSES + (_WRIST_POSES if "wrist flexion" in info.joints else ())


class Poses:
    """The poses that a person has held so far. `hold` takes a pose's readings, and takes them anew when it is called
    again; `calibration` makes of them what it needs."""

    def __init__(self, info: TruthInfo) -> None:
        unknown = sorted(set(info.joints) - set(JOINT_NAMES) - {""})
        if unknown:
            raise NervehandError(f"{info.name} names joints that a hand lacks: {', '.join(unknown)}")
        if info.side not in ("left", "right"):
            raise NervehandError(f"{info.name} measures a {info.side!r} hand: say left or right")
        self._info = info
        self._held: dict[Pose, NDArray[np.float64]] = {}

    @property
    def missing(self) -> tuple[Pose, ...]:
        return tuple(pose for pose in poses_of(self._info) if pose not in self._held)

    def hold(self, pose: Pose, values: NDArray[np.float32]) -> None:
        """The readings (k, d) while the pose was held; NervehandError where too few of a sensor are numbers."""
        info = self._info
        if values.ndim != 2 or values.shape[1] != len(info.sensors):
            raise NervehandError(
                f"readings of {info.name} have shape {values.shape}: give (k, {len(info.sensors)})"
            )
        if not np.isfinite(values).any():
            raise NervehandError(
                f"{info.name} did not see the hand in pose {pose.value!r}: bring it into view, and hold the pose again"
            )
        self._held[pose] = values.astype(np.float64)

    def calibration(self, leave_out: Sequence[str] = (), is_tolerant: bool = False) -> HandCalibration:
        """What the poses say of the sensors, without those in `leave_out`.

        Raises NervehandError that names a missing pose, a sensor that said too little, did not move between its two
        ends or was not held still, or a finger whose relaxed place is not on this side of the fist. `is_tolerant`
        leaves such a sensor out where its finger has others: for a camera, whose model guesses what it cannot see.
        """
        if self.missing:
            raise NervehandError(
                f"{self._info.name} is not calibrated: hold the pose {self.missing[0].value!r}"
            )
        unknown = sorted(set(leave_out) - set(self._info.sensors))
        if unknown:
            raise NervehandError(
                f"{self._info.name} has no sensor {unknown[0]!r}: it has {', '.join(self._info.sensors)}"
            )
        faults = {sensor: fault for sensor, fault in self.faults().items() if sensor not in leave_out}
        if is_tolerant:
            left = {self._dof(sensor) for sensor in self._info.sensors if sensor not in (*leave_out, *faults)}
            leave_out = (*leave_out, *(sensor for sensor in faults if self._dof(sensor) in left))
        for sensor, fault in faults.items():
            if sensor not in leave_out:
                raise NervehandError(f"{fault}: take the poses again, check the sensor, or leave it out")
        medians = {
            pose: tuple(self._median(pose, i) for i in range(len(self._info.sensors))) for pose in self._held
        }
        calibration = HandCalibration(
            source=self._info.name,
            side=self._info.side,
            sensors=self._info.sensors,
            units=self._info.units,
            joints=self._info.joints,
            left_out=tuple(leave_out),
            noise=tuple(self._noise(i) for i in range(len(self._info.sensors))),
            relaxed=medians[Pose.RELAXED],
            open=medians[Pose.OPEN],
            fist=medians[Pose.FIST],
            wrist_flexed=medians.get(Pose.WRIST_FLEXED),
            wrist_extended=medians.get(Pose.WRIST_EXTENDED),
        )
        calibration.require_order()
        return calibration

    def faults(self) -> dict[str, str]:
        """What is wrong with sensors, in words, by their names; of the poses that were held."""
        found = {sensor: self._fault(i) for i, sensor in enumerate(self._info.sensors)}
        return {sensor: fault for sensor, fault in found.items() if fault}

    def _fault(self, i: int) -> str:
        name = f"sensor {self._info.sensors[i]!r} of {self._info.name}"
        for pose, held in self._held.items():
            n = int(np.isfinite(held[:, i]).sum())
            if n < MIN_READINGS:
                return f"{name} gave {n} readings in pose {pose.value!r}, and {MIN_READINGS} are needed"
        joint = BY_NAME.get(self._info.joints[i])
        ends = () if joint is None or not joint.dof else ends_of(joint)
        if not ends or not all(pose in self._held for pose in ends):
            return ""
        low, high = (self._median(pose, i) for pose in ends)
        range_, noise = abs(high - low), self._noise(i)
        least = MIN_RANGE_RAD if self._info.units[i] == "rad" else MIN_RANGE_RAW
        unrest, restless = max((_spread(self._held[pose][:, i]), pose.value) for pose in ends)
        if range_ >= least and unrest > max(MOST_UNREST * range_, 2 * noise):
            return f"{name} varied by {unrest:.3g} of {range_:.3g}: the hand moved in pose {restless!r}"
        if range_ < max(least, MIN_NOISES * noise):
            return (
                f"{name} does not move between {ends[0].value} and {ends[1].value} "
                f"({low:.4g} to {high:.4g}, noise {noise:.2g})"
            )
        return ""

    def _dof(self, sensor: str) -> str:
        """The degree of freedom that a sensor tells, "" for none."""
        joint = BY_NAME.get(self._info.joints[self._info.sensors.index(sensor)])
        return "" if joint is None else joint.dof

    def _median(self, pose: Pose, i: int) -> float:
        """Sensor i in that pose; 0 where it said nothing."""
        values = self._held[pose][:, i]
        values = values[np.isfinite(values)]
        return float(np.median(values)) if len(values) else 0.0

    def _noise(self, i: int) -> float:
        """Standard deviation of sensor i within a pose, the median over the poses."""
        return float(np.median([_spread(held[:, i]) for held in self._held.values()]))


def _spread(values: NDArray[np.float64]) -> float:
    """Standard deviation by the median absolute deviation (times 1.4826 for normal noise); 0 without a number."""
    values = values[np.isfinite(values)]
    if not len(values):
        return 0.0
    return float(1.4826 * np.median(np.abs(values - np.median(values))))
