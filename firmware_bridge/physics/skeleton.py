"""Where the bones are: forward kinematics in plain NumPy, for drawing a hand anywhere; needs no physics."""

from __future__ import annotations

import math
from functools import cache

import numpy as np
from numpy.typing import NDArray

from firmware_bridge.errors import NervehandError
from firmware_bridge.hand import N_DOF
from firmware_bridge.physics.anatomy import JOINT_NAMES, JOINTS, Bone, Side, bones


@cache
def _bones(side: Side) -> tuple[Bone, ...]:
    return bones(side)


def bone_names() -> tuple[str, ...]:
    """In the order of `bone_ends`; "index distal" is the index finger's last bone."""
    return tuple(bone.name for bone in _bones("right"))


def bone_radii() -> NDArray[np.float64]:
    """How thick the bones with their flesh are at either end, (n_bones, 2) in metres."""
    return np.array([bone.radii_m for bone in _bones("right")])


def joint_angles(positions: NDArray[np.float32]) -> NDArray[np.float64]:
    """The joints' angles (n_joints,) in radians, in the order of JOINT_NAMES, at six positions in -1..1.

    Positions that are not finite count as rest: a hand that does not measure a DOF is drawn relaxed there.
    """
    if positions.shape != (N_DOF,):
        raise NervehandError(f"positions have shape {positions.shape}: give {N_DOF}")
    return JOINTS.to_joints(np.clip(np.nan_to_num(positions), -1, 1).astype(np.float32))


def bone_ends(angles: NDArray[np.float64], side: Side = "right") -> NDArray[np.float64]:
    """Both ends of every bone, (n_bones, 2, 3) in metres, at joint angles (n_joints,) in radians.

    The frame is the forearm's: origin in the wrist, x towards the fingers, z out of the back of the hand, y towards
    the thumb of a right hand and away from it of a left one.
    """
    by_joint = dict(zip(JOINT_NAMES, angles.tolist(), strict=True))
    frames: dict[str, tuple[NDArray[np.float64], NDArray[np.float64]]] = {"": (np.zeros(3), np.eye(3))}
    ends = np.empty((len(_bones(side)), 2, 3))
    for i, bone in enumerate(_bones(side)):
        place, turn = frames[bone.parent]
        start = place + turn @ bone.origin
        own = turn @ bone.rotation
        if bone.joint:
            own = own @ about(bone.axis, by_joint[bone.joint])
        frames[bone.name] = start, own
        ends[i] = start, start + own[:, 0] * bone.length_m
    return ends


def about(axis: NDArray[np.float64], angle: float) -> NDArray[np.float64]:
    """The rotation (3, 3) by an angle about a unit axis (Rodrigues)."""
    x, y, z = axis.tolist()
    cross = np.array([[0.0, -z, y], [z, 0.0, -x], [-y, x, 0.0]])
    return np.asarray(np.eye(3) + math.sin(angle) * cross + (1 - math.cos(angle)) * (cross @ cross))
