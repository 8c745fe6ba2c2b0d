"""The six degrees of freedom as a hand's own joints, and back: a named map, as data."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from firmware_bridge.errors import NervehandError
from firmware_bridge.hand import DOF_NAMES, N_DOF


@dataclass(frozen=True, slots=True)
class Joint:
    """One joint of a hand, in its own `unit`: its value at rest, flexed (position 1) and extended (position -1).

    `follows` says which degrees of freedom drive it, and by how much: {"index": 1.0}, or several for coupled joints;
    their weighted sum, cut to -1..1, is its drive. `extended` None: it cannot extend, and stays at rest.
    """

    name: str
    unit: str
    rest: float
    flexed: float
    extended: float | None
    follows: Mapping[str, float]

    def __post_init__(self) -> None:
        unknown = sorted(set(self.follows) - set(DOF_NAMES))
        if unknown:
            raise NervehandError(
                f"joint {self.name} follows {', '.join(unknown)}: name some of {', '.join(DOF_NAMES)}"
            )
        numbers = (self.rest, self.flexed, *self.follows.values())
        if not all(map(math.isfinite, numbers)) or self.flexed == self.rest:
            raise NervehandError(
                f"joint {self.name} goes from {self.rest:g} (rest) to {self.flexed:g} (flexed), and follows"
                f" {dict(self.follows)}: give finite numbers, and two places that differ"
            )
        if (
            self.extended is not None
            and not -math.inf < (self.extended - self.rest) * (self.flexed - self.rest) < 0
        ):
            raise NervehandError(
                f"joint {self.name} extends to {self.extended:g} and flexes to {self.flexed:g}, from"
                f" {self.rest:g}: give ends on either side of rest, or no extension"
            )


@dataclass(frozen=True, slots=True)
class JointMap:
    """A hand's joints in the order of its protocol."""

    joints: tuple[Joint, ...]

    def __post_init__(self) -> None:
        names = [joint.name for joint in self.joints]
        if not names or len(set(names)) < len(names):
            raise NervehandError(f"joints are named {', '.join(names) or 'nothing'}: give each its own name")

    @property
    def lower(self) -> NDArray[np.float32]:
        """The lowest position (6,) that some joint can follow: -1 or 0."""
        return 0 - self._reached(
            lambda joint, weight: weight < 0 or (weight > 0 and joint.extended is not None)
        )

    @property
    def upper(self) -> NDArray[np.float32]:
        """The highest position (6,) that some joint can follow: 1, or 0 for a degree of freedom that the hand lacks."""
        return self._reached(lambda joint, weight: weight > 0 or (weight < 0 and joint.extended is not None))

    def to_joints(self, positions: NDArray[np.float32]) -> NDArray[np.float64]:
        """Positions (6,) in -1..1 as joint values (n_joints,), each in its own unit."""
        by_name = dict(zip(DOF_NAMES, positions.tolist(), strict=True))
        values = np.empty(len(self.joints))
        for i, joint in enumerate(self.joints):
            drive = sum(weight * by_name[dof] for dof, weight in joint.follows.items())
            drive = min(max(drive, -1.0), 1.0)
            end = joint.flexed if drive >= 0 else joint.rest if joint.extended is None else joint.extended
            values[i] = joint.rest + abs(drive) * (end - joint.rest)
        return values

    def to_positions(self, values: NDArray[np.float64]) -> NDArray[np.float32]:
        """Joint values (n_joints,) as positions (6,), not cut to -1..1; NaN for what no joint tells.

        A degree of freedom is told by the mean of the joints that follow it alone.
        """
        told: list[list[float]] = [[] for _ in range(N_DOF)]
        for joint, value in zip(self.joints, values.tolist(), strict=True):
            weights = {dof: weight for dof, weight in joint.follows.items() if weight}
            if len(weights) == 1:
                ((dof, weight),) = weights.items()
                way = (value - joint.rest) / (joint.flexed - joint.rest)
                if way < 0 and joint.extended is not None:
                    way = -(value - joint.rest) / (joint.extended - joint.rest)
                told[DOF_NAMES.index(dof)].append(way / weight)
        return np.array([sum(one) / len(one) if one else math.nan for one in told], dtype=np.float32)

    def by_dof(self, values: NDArray[np.float64]) -> NDArray[np.float32]:
        """The largest magnitude (6,) of what is measured by joint (n_joints,), a current say; NaN without a joint."""
        largest = [math.nan] * N_DOF
        for joint, value in zip(self.joints, values.tolist(), strict=True):
            for dof in joint.follows:
                i = DOF_NAMES.index(dof)
                if math.isnan(largest[i]) or abs(value) > largest[i]:
                    largest[i] = abs(value)
        return np.array(largest, dtype=np.float32)

    def _reached(self, counts: Callable[[Joint, float], bool]) -> NDArray[np.float32]:
        reached = {
            dof for joint in self.joints for dof, weight in joint.follows.items() if counts(joint, weight)
        }
        return np.array([dof in reached for dof in DOF_NAMES], dtype=np.float32)
