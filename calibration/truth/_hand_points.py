"""21 points of a hand in space as joint angles: what a camera's model and a motion-capture glove have in common.

The order is MediaPipe's (https://ai.google.dev/edge/mediapipe/solutions/vision/hand_landmarker): the wrist, then by
digit from the thumb on: thumb CMC, MCP, IP, tip; finger MCP, PIP, DIP, tip.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from calibration.truth import Side

N_POINTS = 21
FINGERS = ("index", "middle", "ring", "little")
JOINTS: tuple[str, ...] = (
    "thumb cmc",
    "thumb mcp",
    "thumb ip",
    *(f"{finger} {joint}" for finger in FINGERS for joint in ("mcp", "pip", "dip")),
    *(f"{finger} abduction" for finger in FINGERS),
)
"""What `joint_angles` gives, in its order: names of hand_joints.JOINTS. Without a forearm there is no wrist."""

_WRIST, _INDEX, _MIDDLE, _LITTLE = 0, 5, 9, 17
_MIRROR = np.array([1.0, -1.0, 1.0])
_THUMB_REST = np.array([0.16, 0.34, -0.93])
"""Where the first metacarpal of a right hand points with its joint at 0."""
_THUMB_AXIS = np.array([-0.42, -0.83, -0.38])
"""About which the joints of a right thumb flex. Both as firmware_bridge.physics.anatomy has them, in the palm's frame:
the places of a person's own thumb come from the poses, so it is the way it bends that counts here."""

Points = NDArray[np.float64]


def joint_angles(points: Points, side: Side) -> NDArray[np.float64]:
    """(k, 21, 3) in a right-handed frame of any place, turn and scale as angles (k, 19) in rad, NaN where a point is.

    The palm's frame has x from the wrist to the middle finger's knuckle and y in the plane of the knuckles, to the
    left; signs are those of hand_joints. A finger's MCP flexion is against its own metacarpal in the plane of the palm.
    """
    is_left = side == "left"
    palm = _palm(points, is_left)
    own = np.einsum("kij,knj->kni", palm, points - points[:, :1])  # the palm's frame: rows are its axes
    columns = [*_thumb(own, is_left)]
    abductions = []
    for i in range(len(FINGERS)):
        mcp = own[:, _INDEX + 4 * i]
        bones = np.diff(own[:, _INDEX + 4 * i : _INDEX + 4 * i + 4], axis=1)
        along = mcp * [1.0, 1.0, 0.0]  # the metacarpal, in the plane of the palm
        across = np.cross([0.0, 0.0, 1.0], _unit(along))  # about which the finger flexes
        first = bones[:, 0]
        columns.append(np.arctan2(-first[:, 2], (first * _unit(along)).sum(1)))
        columns += [_bend(bones[:, j], bones[:, j + 1], across) for j in (0, 1)]
        abductions.append(np.arcsin(np.clip(_unit(first)[:, 1], -1, 1)))
    return np.stack(columns + abductions, axis=1)


def wrist_angles(points: Points, elbow: Points, side: Side) -> NDArray[np.float64]:
    """Flexion and deviation (k, 2) in rad of a hand (k, 21, 3) against the forearm that comes from `elbow` (k, 3)."""
    forearm = np.einsum("kij,kj->ki", _palm(points, side == "left"), points[:, 0] - elbow)
    flexion = np.arctan2(forearm[:, 2], forearm[:, 0])
    return np.stack([flexion, np.arctan2(-forearm[:, 1], np.hypot(forearm[:, 0], forearm[:, 2]))], axis=1)


def _palm(points: Points, is_left: bool) -> Points:
    """(k, 3, 3): its axes as rows."""
    x = _unit(points[:, _MIDDLE] - points[:, _WRIST])
    to_left = (
        points[:, _INDEX] - points[:, _LITTLE] if not is_left else points[:, _LITTLE] - points[:, _INDEX]
    )
    z = _unit(np.cross(x, to_left))
    return np.stack([x, np.cross(z, x), z], axis=1)


def _thumb(own: Points, is_left: bool) -> tuple[NDArray[np.float64], ...]:
    # An axis of turning is mirrored as hand_joints.MIRROR says, a direction as the mirror does it.
    axis = _unit(-_THUMB_AXIS * _MIRROR if is_left else _THUMB_AXIS)
    rest = _unit(_THUMB_REST * _MIRROR if is_left else _THUMB_REST)
    bones = np.diff(own[:, 1:5], axis=1)
    flat = bones[:, 0] - (bones[:, 0] @ axis)[:, None] * axis
    reference = np.broadcast_to(rest - (rest @ axis) * axis, flat.shape)
    axes = np.broadcast_to(axis, flat.shape)
    return (
        _bend(reference, flat, axes),
        _bend(bones[:, 0], bones[:, 1], axes),
        _bend(bones[:, 1], bones[:, 2], axes),
    )


def _bend(first: Points, second: Points, axis: Points) -> NDArray[np.float64]:
    """The angle (k,) from one direction to the next, positive about the axis."""
    return np.asarray(np.arctan2((np.cross(first, second) * axis).sum(1), (first * second).sum(1)))


def _unit(vectors: Points) -> Points:
    length = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return np.asarray(vectors / np.where(length > 0, length, np.nan))
