"""What stands before the palm, to be grasped."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from firmware_bridge.errors import NervehandError
from firmware_bridge.physics.anatomy import PALM_HALF_THICKNESS_M

TABLE_Z_M = -0.085
"""The table's height, seen from the wrist."""
_GAP_M = 0.004


@dataclass(frozen=True, slots=True)
class GraspObject:
    """What stands before the palm: `size_m` is a cylinder's radius and height, a ball's radius, a box's three edges."""

    kind: Literal["cylinder", "ball", "box"] = "cylinder"
    size_m: tuple[float, ...] = (0.027, 0.16)
    mass_kg: float = 0.25

    def __post_init__(self) -> None:
        wanted = {"cylinder": 2, "ball": 1, "box": 3}.get(self.kind)
        if wanted is None:
            raise NervehandError(f"there is no {self.kind!r} to grasp: use cylinder, ball or box")
        if len(self.size_m) != wanted or not all(0.005 <= size <= 0.3 for size in self.size_m):
            raise NervehandError(
                f"a {self.kind} of size {self.size_m}: give {wanted} lengths of 0.005 to 0.3 m"
            )
        if not 0.005 <= self.mass_kg <= 3:
            raise NervehandError(f"a {self.kind} of {self.mass_kg} kg: give 0.005 to 3 kg")

    @property
    def half_depth_m(self) -> float:
        """From its middle to the palm."""
        return self.size_m[0] if self.kind != "box" else self.size_m[1] / 2

    @property
    def half_height_m(self) -> float:
        """From its middle to its lowest point."""
        return {"cylinder": self.size_m[-1] / 2, "ball": self.size_m[0], "box": self.size_m[-1] / 2}[
            self.kind
        ]

    @property
    def centre_m(self) -> tuple[float, float, float]:
        """Where it stands before a right hand: 4 mm off the palm; a ball on a post, all else on the table."""
        z = 0.0 if self.kind == "ball" else TABLE_Z_M + self.half_height_m
        return 0.076, PALM_HALF_THICKNESS_M + _GAP_M + self.half_depth_m, z
