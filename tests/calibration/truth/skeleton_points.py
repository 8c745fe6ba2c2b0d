"""The 21 points of a hand (MediaPipe's order) from our own skeleton."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from firmware_bridge.physics.anatomy import Side
from firmware_bridge.physics.skeleton import bone_ends, bone_names, joint_angles


def hand_points(positions: Sequence[float], side: Side) -> NDArray[np.float64]:
    """(21, 3) in metres, in the frame of firmware_bridge.physics.anatomy, at six positions."""
    ends = bone_ends(joint_angles(np.array(positions, np.float32)), side)
    by_name = dict(zip(bone_names(), ends, strict=True))
    points = [by_name["palm"][0]]
    for digit in ("thumb", "index", "middle", "ring", "little"):
        names = ("metacarpal", "proximal", "distal") if digit == "thumb" else ("proximal", "middle", "distal")
        bones = [by_name[f"{digit} {name}"] for name in names]
        points += [*(bone[0] for bone in bones), bones[-1][1]]
    return np.array(points)


def elbow() -> NDArray[np.float64]:
    """(3,), in the same frame, which is the forearm's."""
    return np.array([-0.25, 0.0, 0.0])
