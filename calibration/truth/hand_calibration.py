"""A calibrated hand: from its sensors' values to joint angles, and to six positions of the other hand."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from calibration.postures import BEYOND
from calibration.truth import Side, TruthInfo
from calibration.truth.hand_joints import BY_NAME, MIRROR, Pose, ends_of
from firmware_bridge.errors import NervehandError
from firmware_bridge.hand import DOF_NAMES, N_DOF

MIN_OPENING = 0.04
"""The part of the way from fist to open hand that lies beyond the relaxed one, below which extension is not told."""
_NOISE_FLOOR = 0.02  # of the range: so that a sensor without noise does not speak alone for its finger


_Scale = tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]


@dataclass(frozen=True)
class HandCalibration:
    """What a person's poses made of a source's d sensors: medians by pose, and each sensor's noise. As JSON by `plain`.

    `noise` is a standard deviation, in the sensor's unit. The wrist's poses are None where they were not asked for.
    """

    source: str
    side: str
    sensors: tuple[str, ...]
    units: tuple[str, ...]
    joints: tuple[str, ...]
    left_out: tuple[str, ...]
    noise: tuple[float, ...]
    relaxed: tuple[float, ...]
    open: tuple[float, ...]
    fist: tuple[float, ...]
    wrist_flexed: tuple[float, ...] | None = None
    wrist_extended: tuple[float, ...] | None = None

    def __post_init__(self) -> None:
        d = len(self.sensors)
        numbers = [self.noise, self.relaxed, self.open, self.fist]
        numbers += [one for one in (self.wrist_flexed, self.wrist_extended) if one is not None]
        if d == 0 or {d} != {len(self.units), len(self.joints), *map(len, numbers)}:
            raise NervehandError(
                f"the calibration of {self.source} does not say the same for each of its {d} sensors: "
                "take the poses again"
            )
        if not np.isfinite(numbers).all():
            raise NervehandError(f"the calibration of {self.source} is not all numbers: take the poses again")
        if self.side not in ("left", "right"):
            raise NervehandError(
                f"the calibration of {self.source} is of a {self.side!r} hand: left or right"
            )

    @property
    def other_side(self) -> Side:
        """The hand that the positions are for."""
        return "left" if self.side == "right" else "right"

    @property
    def measured(self) -> tuple[bool, ...]:
        """Which of DOF_NAMES this source measures; the others' positions are NaN."""
        return tuple(bool(self._columns[dof]) for dof in range(N_DOF))

    @property
    def tells_extension(self) -> tuple[bool, ...]:
        """For which of DOF_NAMES the relaxed hand is told from the extended one.

        Where it is not, positions below 0 have the scale of those above: they say that, not how far, it extends.
        """
        return tuple(bool(self._columns[dof]) and self._rest(dof) >= MIN_OPENING for dof in range(N_DOF))

    def median(self, pose: Pose) -> tuple[float, ...]:
        """The sensors' values (d,) in that pose; NervehandError where it was not held."""
        by_pose = {
            Pose.RELAXED: self.relaxed, Pose.OPEN: self.open, Pose.FIST: self.fist,
            Pose.WRIST_FLEXED: self.wrist_flexed, Pose.WRIST_EXTENDED: self.wrist_extended,
        }  # fmt: skip
        values = by_pose[pose]
        if values is None:
            raise NervehandError(f"{self.source} was not calibrated in pose {pose.value!r}: hold it")
        return values

    def require_source(self, info: TruthInfo) -> None:
        """NervehandError unless this is the calibration of that source, by its sensors and side."""
        same = (self.source, self.side, self.sensors, self.units, self.joints)
        if same != (info.name, info.side, info.sensors, info.units, info.joints):
            raise NervehandError(
                f"the calibration is of {self.source} ({self.side}, {len(self.sensors)} sensors), and the source is "
                f"{info.name} ({info.side}, {len(info.sensors)} sensors): hold the poses with this one"
            )

    def require_order(self) -> None:
        """NervehandError where a finger's relaxed place is not on this side of its fist."""
        for dof, name in enumerate(DOF_NAMES):
            if self._columns[dof] and not self._rest(dof) <= 1 - MIN_OPENING:
                raise NervehandError(
                    f"the relaxed hand's {name} is as bent as the fist's: take the poses again, with the hand at ease "
                    "in the first and all fingers bent in the fist"
                )

    def angles_rad(self, values: NDArray[np.float32]) -> dict[str, NDArray[np.float64]]:
        """The measured hand's angles (k,) in radians by joint, from readings (k, d), NaN where there is none.

        A sensor in radians says its joint's angle. Any other goes linearly from `open_rad` in the open hand to
        `flexed_rad` in the fist (the wrist: extended and flexed). Sensors of one joint are averaged. A joint whose
        sensor did not move between these poses, or whose poses were not held, is left out.
        """
        readings = self._readings(values)
        told: dict[str, list[NDArray[np.float64]]] = {}
        for i, name in enumerate(self.joints):
            joint = BY_NAME.get(name)
            if joint is None or self.sensors[i] in self.left_out:
                continue
            column = readings[:, i]
            if self.units[i] != "rad":
                ends = self._ends(i)
                if ends is None or joint.flexed_rad == joint.open_rad:
                    continue
                low, high = ends
                sign = 1.0 if self.side == "right" else MIRROR[joint.kind].sign
                span = joint.flexed_rad - joint.open_rad
                column = sign * (joint.open_rad + (column - low) / (high - low) * span)
            told.setdefault(name, []).append(column)
        return {name: _mean(np.stack(columns)) for name, columns in told.items()}

    def mirrored_rad(self, values: NDArray[np.float32]) -> dict[str, NDArray[np.float64]]:
        """As `angles_rad`, of the other hand, by MIRROR."""
        return {
            name: MIRROR[BY_NAME[name].kind].sign * angle for name, angle in self.angles_rad(values).items()
        }

    def positions(self, values: NDArray[np.float32]) -> NDArray[np.float32]:
        """Positions (k, 6) of the other hand in the order of DOF_NAMES, from readings (k, d): -1 open, 0 relaxed, 1
        fist (the wrist: extended, relaxed, flexed), linear between and a little beyond, cut at BEYOND.

        A finger's sensors count by how well each tells the open hand from the fist. NaN where a DOF is not measured,
        or none of its sensors gave a number.
        """
        readings = self._readings(values)
        out = np.full((len(readings), N_DOF), np.nan, np.float32)
        for dof in range(N_DOF):
            columns = self._columns[dof]
            if not columns:
                continue
            low, high, weight = self._scales[dof]
            bend = (readings[:, columns] - low) / (high - low)
            rest = (np.array(self.relaxed)[list(columns)] - low) / (high - low)
            counts = np.where(np.isfinite(bend), weight, 0.0)
            total = counts.sum(axis=1)
            seen = total > 0
            counts = counts[seen] / total[seen, None]
            bent, rested = (counts * np.nan_to_num(bend[seen])).sum(axis=1), counts @ rest
            above = np.maximum(1 - rested, MIN_OPENING)
            below = np.where(rested >= MIN_OPENING, rested, above)
            way = bent - rested
            position = np.where(way >= 0, way / above, way / below)
            out[seen, dof] = MIRROR["flexion"].sign * np.clip(position, -BEYOND, BEYOND)
        return out

    @cached_property
    def _columns(self) -> tuple[tuple[int, ...], ...]:
        """The sensors that tell each DOF."""
        return tuple(
            tuple(
                i
                for i, joint in enumerate(self.joints)
                if joint and BY_NAME[joint].dof == dof
                and self.sensors[i] not in self.left_out and self._ends(i) is not None
            )
            for dof in DOF_NAMES
        )  # fmt: skip

    def _ends(self, i: int) -> tuple[float, float] | None:
        """Sensor i in the open hand and in the fist (the wrist: extended, flexed); None where these are one, or were
        not held."""
        low, high = (
            {
                Pose.OPEN: self.open, Pose.FIST: self.fist,
                Pose.WRIST_EXTENDED: self.wrist_extended, Pose.WRIST_FLEXED: self.wrist_flexed,
            }[pose]
            for pose in ends_of(BY_NAME[self.joints[i]])
        )  # fmt: skip
        return None if low is None or high is None or low[i] == high[i] else (low[i], high[i])

    @cached_property
    def _scales(self) -> tuple[_Scale, ...]:
        """By DOF: its sensors' two ends, and their weights: inverse variances in parts of the range."""
        scales = []
        for columns in self._columns:
            ends = np.array([self._ends(i) for i in columns], np.float64).reshape(len(columns), 2)
            low, high = ends[:, 0], ends[:, 1]
            noise = np.array(self.noise)[list(columns)] / np.abs(high - low)
            scales.append((low, high, 1.0 / (noise**2 + _NOISE_FLOOR**2)))
        return tuple(scales)

    def _rest(self, dof: int) -> float:
        """Where the relaxed hand lies on the way from open (0) to fist (1)."""
        low, high, weight = self._scales[dof]
        rest = (np.array(self.relaxed)[list(self._columns[dof])] - low) / (high - low)
        return float(weight @ rest / weight.sum())

    def _readings(self, values: NDArray[np.float32]) -> NDArray[np.float64]:
        if values.ndim != 2 or values.shape[1] != len(self.sensors):
            raise NervehandError(
                f"readings of {self.source} have shape {values.shape}: give (k, {len(self.sensors)})"
            )
        return values.astype(np.float64)


def _mean(columns: NDArray[np.float64]) -> NDArray[np.float64]:
    """Over the first axis, of the numbers among them, NaN where there is none."""
    there = np.isfinite(columns)
    n = there.sum(axis=0)
    total = np.where(there, columns, 0.0).sum(axis=0)
    return np.where(n > 0, total / np.maximum(n, 1), np.nan)
