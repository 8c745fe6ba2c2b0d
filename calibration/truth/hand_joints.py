"""The joints of the human hand, the poses that calibrate their sensors, and one hand as the mirror of the other.

Frame of the measured hand, as in firmware_bridge.physics.anatomy: x towards the fingers, z out of the back of the
hand, y to the left of both (towards the thumb of a right hand, away from it of a left one). An angle is a rotation
about one of these axes by the right-hand rule: flexion about y, abduction and deviation about z, rotation about x.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from types import MappingProxyType
from typing import Literal

Kind = Literal["flexion", "abduction", "rotation", "deviation"]

_AAOS = "American Academy of Orthopaedic Surgeons, Joint Motion: Method of Measuring and Recording, 1965"
_CHOSEN = "chosen: no norm is published"


@dataclass(frozen=True, slots=True)
class HandJoint:
    """A joint of the human hand. `flexed_rad` is its angle in a fist (the wrist: flexed), `open_rad` in a flat open
    hand with its fingers spread (the wrist: extended), both of a right hand.

    `dof` is the degree of freedom that its flexion tells, "" where it tells none. `source` is where `flexed_rad` is
    from; what an open hand is, is a convention: fingers straight.
    """

    name: str
    dof: str
    kind: Kind
    flexed_rad: float
    open_rad: float
    source: str


def _joint(
    name: str, dof: str, kind: Kind, flexed_deg: float, open_deg: float, source: str = _AAOS
) -> HandJoint:
    return HandJoint(name, dof, kind, math.radians(flexed_deg), math.radians(open_deg), source)


JOINTS: tuple[HandJoint, ...] = (
    _joint("thumb cmc", "thumb", "flexion", 15, 0),
    _joint("thumb mcp", "thumb", "flexion", 50, 0),
    _joint("thumb ip", "thumb", "flexion", 80, 0),
    *(
        _joint(f"{finger} {joint}", finger, "flexion", flexed, 0)
        for finger in ("index", "middle", "ring", "little")
        for joint, flexed in (("mcp", 90), ("pip", 100), ("dip", 90))
    ),
    _joint("wrist flexion", "wrist", "flexion", 80, -70),
    _joint("thumb abduction", "", "abduction", 0, 70),
    _joint("thumb rotation", "", "rotation", 45, 0, _CHOSEN),
    _joint("index abduction", "", "abduction", 0, 20, _CHOSEN),
    _joint("middle abduction", "", "abduction", 0, 0, _CHOSEN),
    _joint("ring abduction", "", "abduction", 0, -20, _CHOSEN),
    _joint("little abduction", "", "abduction", 0, -20, _CHOSEN),
    _joint("wrist deviation", "", "deviation", 20, -30),
)
"""Fingers spread away from the middle one: towards the thumb (positive in a right hand) the index finger, away from it
ring and little finger. The wrist's deviation goes from 30 degrees ulnar to 20 radial; no pose asks for it."""
JOINT_NAMES: tuple[str, ...] = tuple(joint.name for joint in JOINTS)
BY_NAME: Mapping[str, HandJoint] = MappingProxyType({joint.name: joint for joint in JOINTS})


@dataclass(frozen=True, slots=True)
class Mirrored:
    """What an angle of one hand is multiplied by to be that of the other, and why."""

    sign: float
    reason: str


MIRROR: Mapping[Kind, Mirrored] = MappingProxyType(
    {
        "flexion": Mirrored(
            1.0, "about y, across the mirror's plane: turning about it looks the same in the mirror"
        ),
        "abduction": Mirrored(
            -1.0,
            "about z, in the mirror's plane: to the thumb's side is left on one hand, right on the other",
        ),
        "rotation": Mirrored(
            -1.0, "about x, in the mirror's plane: a right-handed turn becomes a left-handed one"
        ),
        "deviation": Mirrored(-1.0, "about z, as abduction: radial is left on one hand, right on the other"),
    }
)
"""Left to right and back: a mirror in the plane of x and z, which keeps turns across it and reverses turns in it."""


class Pose(Enum):
    """What a person is asked to hold."""

    RELAXED = "relaxed"
    OPEN = "open"
    FIST = "fist"
    WRIST_FLEXED = "wrist flexed"
    WRIST_EXTENDED = "wrist extended"


def ends_of(joint: HandJoint) -> tuple[Pose, Pose]:
    """The poses in which the joint is at `open_rad` and at `flexed_rad`."""
    if joint.dof == "wrist":
        return Pose.WRIST_EXTENDED, Pose.WRIST_FLEXED
    return Pose.OPEN, Pose.FIST
