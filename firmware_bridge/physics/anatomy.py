"""The hand's bones and joints as data: lengths, ranges and coupling as published, the rest as chosen; no physics yet.

Frame of the right hand: origin in the wrist, x towards the fingers, y towards the thumb, z out of the back of the hand.
A bone lies along the x axis of its own frame; flexion turns about its +y axis. The left hand is the mirror image.
Metres, radians, kilograms, newton metres.

Sources:
- Lengths of the bones and of the soft tissue at the tips: Buryanov and Kotiuk, Proportions of hand segments, Int. J.
  Morphol. 28(3), 755-758, 2010 (means over 66 adults, from radiographs).
- No joint leaves the normal range of motion: American Academy of Orthopaedic Surgeons, Joint Motion: Method of
  Measuring and Recording, 1965: finger MCP -45 to 90 degrees, PIP 0 to 100, DIP 0 to 90; thumb MCP 0 to 50, IP -20
  to 80; wrist -70 to 80.
- DIP = 2/3 PIP: Rijpkema and Girard, Computer animation of knowledge-based human grasping, SIGGRAPH 1991.
- Density of the hand, 1160 kg/m3: Winter, Biomechanics and Motor Control of Human Movement, 4th ed. 2009, table 4.1.
- Chosen by us: where the metacarpals begin and how they fan out (so that the hand is 0.19 m long), how thick the
  digits are, the axes of the thumb, what is at rest, and the motors' torques: about 10 N at the tip of a straight
  finger, among what hands on the market give (Belter et al., J. Rehabil. Res. Dev. 50(5), 599-618, 2013).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from firmware_bridge.errors import NervehandError
from firmware_bridge.joint_map import Joint, JointMap

Side = Literal["right", "left"]
Vector = tuple[float, float, float]

DENSITY_KG_PER_M3 = 1160.0
DIP_PER_PIP = 2 / 3
THUMB_IP_PER_MCP = 80 / 50
"""The IP joint follows the MCP joint as their ranges are to each other: chosen."""
PALM_HALF_THICKNESS_M = 0.0115


@dataclass(frozen=True, slots=True)
class Actuator:
    """The motor of a joint: its largest torque."""

    joint: str
    dof: str
    torque_nm: float


@dataclass(frozen=True, slots=True)
class Coupling:
    """A joint without a motor, at `ratio` times the angle of another."""

    joint: str
    follows: str
    ratio: float


@dataclass(frozen=True, slots=True, eq=False)
class Bone:
    """One bone: from `origin` (3,) in its parent's frame, turned by `rotation` (3, 3), and by its joint about `axis`.

    `parent` is "" for the palm, which hangs on the forearm; `joint` is "" for a bone that is fixed to its parent.
    `radii_m` at its two ends; `dof` is the degree of freedom that its contacts count for.
    """

    name: str
    parent: str
    origin: NDArray[np.float64]
    rotation: NDArray[np.float64]
    axis: NDArray[np.float64]
    joint: str
    length_m: float
    radii_m: tuple[float, float]
    dof: str


_FINGERS: dict[str, tuple[Vector, float, float, tuple[float, ...], tuple[float, ...]]] = {
    # metacarpal's origin (m), its and the finger's direction (degrees), lengths (mm, the tip's tissue last), radii (mm)
    "index": ((0.031, 0.014, 0.0), 9.0, 3.0, (68.12, 39.78, 22.38, 15.82, 3.84), (10.5, 9.2, 8.3, 7.5, 6.2)),
    "middle": ((0.036, 0.002, 0.0015), 1.0, 0.0, (64.60, 44.63, 26.33, 17.40, 3.95), (10.5, 9.4, 8.5, 7.6, 6.3)),
    "ring": ((0.035, -0.010, 0.0), -8.0, -3.0, (58.00, 41.37, 25.65, 17.30, 3.95), (10.0, 8.9, 8.1, 7.3, 6.0)),
    "little": ((0.033, -0.021, -0.003), -16.0, -7.0, (53.69, 32.74, 18.11, 15.96, 3.73), (9.3, 8.0, 7.2, 6.4, 5.4)),
}  # fmt: skip
_THUMB_MM = (46.22, 31.57, 21.67, 5.67)
_THUMB_RADII_MM = (12.5, 10.4, 9.4, 7.6)
_THUMB_ORIGIN: Vector = (0.022, 0.021, -0.010)
_THUMB_DIRECTION: Vector = (0.16, 0.34, -0.93)
"""Of the first metacarpal with its joint at 0."""
_THUMB_FLEXION: Vector = (-0.42, -0.83, -0.38)
"""About which the thumb's joints flex: from beside the palm to before the bent fingers, or round what they hold."""

_DEGREES: dict[str, tuple[float, float, float]] = {  # rest, flexed, extended
    "thumb cmc": (0.0, 26.0, -15.0),
    "thumb mcp": (12.0, 34.0, 0.0),
    "wrist": (0.0, 80.0, -70.0),
}
_FINGER_MCP = (14.0, 84.0, -30.0)
_FINGER_PIP = (18.0, 95.0, 0.0)

ACTUATORS: tuple[Actuator, ...] = (
    Actuator("thumb cmc", "thumb", 1.2),
    Actuator("thumb mcp", "thumb", 0.7),
    *(
        Actuator(f"{finger} {joint}", finger, torque)
        for finger in _FINGERS
        for joint, torque in (("mcp", 0.9), ("pip", 0.55))
    ),
    Actuator("wrist", "wrist", 6.0),
)
COUPLINGS: tuple[Coupling, ...] = (
    Coupling("thumb ip", "thumb mcp", THUMB_IP_PER_MCP),
    *(Coupling(f"{finger} dip", f"{finger} pip", DIP_PER_PIP) for finger in _FINGERS),
)


def _joint(name: str, dof: str, degrees: tuple[float, float, float], ratio: float = 1.0) -> Joint:
    rest, flexed, extended = (math.radians(ratio * angle) for angle in degrees)
    return Joint(name, "rad", rest, flexed, extended, {dof: 1.0})


def _joints() -> JointMap:
    thumb_mcp = _DEGREES["thumb mcp"]
    joints = [
        _joint("thumb cmc", "thumb", _DEGREES["thumb cmc"]),
        _joint("thumb mcp", "thumb", thumb_mcp),
        _joint("thumb ip", "thumb", thumb_mcp, THUMB_IP_PER_MCP),
    ]
    for finger in _FINGERS:
        joints.append(_joint(f"{finger} mcp", finger, _FINGER_MCP))
        joints.append(_joint(f"{finger} pip", finger, _FINGER_PIP))
        joints.append(_joint(f"{finger} dip", finger, _FINGER_PIP, DIP_PER_PIP))
    joints.append(_joint("wrist", "wrist", _DEGREES["wrist"]))
    return JointMap(tuple(joints))


JOINTS: JointMap = _joints()
"""The joints in radians, driven by the six degrees of freedom: also their limits, reached at positions -1 and 1."""
JOINT_NAMES: tuple[str, ...] = tuple(joint.name for joint in JOINTS.joints)


def about_z(degrees: float) -> NDArray[np.float64]:
    """The rotation (3, 3) about z."""
    c, s = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    return np.array([[c, -s, 0.0], [s, c, 0.0], [0.0, 0.0, 1.0]])


def _frame(direction: Vector, flexion: Vector) -> NDArray[np.float64]:
    """The frame (3, 3) whose x is the direction and whose y is as near to the axis of flexion as it can be."""
    x = np.array(direction) / np.linalg.norm(direction)
    y = np.array(flexion) - x * (x @ np.array(flexion))
    y /= np.linalg.norm(y)
    return np.column_stack([x, y, np.cross(x, y)])


def _right() -> tuple[Bone, ...]:
    flexes, straight = np.array([0.0, 1.0, 0.0]), np.eye(3)
    bones = [Bone("palm", "", np.zeros(3), straight, flexes, "wrist", 0.036, (0.017, 0.012), "wrist")]

    def add(
        name: str, parent: str, origin: NDArray[np.float64], rotation: NDArray[np.float64], joint: str,
        length_m: float, radii_mm: tuple[float, float], dof: str,
    ) -> None:  # fmt: skip
        radii_m = (radii_mm[0] / 1e3, radii_mm[1] / 1e3)
        bones.append(Bone(name, parent, origin, rotation, flexes, joint, length_m, radii_m, dof))

    def chain(
        digit: str, parent: str, parent_m: float, names: tuple[str, ...], joints: tuple[str, ...],
        lengths_mm: tuple[float, ...], radii_mm: tuple[float, ...], turn: NDArray[np.float64],
    ) -> None:  # fmt: skip
        for i, (name, joint) in enumerate(zip(names, joints, strict=True)):
            length_m = lengths_mm[i] / 1e3
            if i == len(names) - 1:  # the capsule's round end is the tissue beyond the bone
                length_m += lengths_mm[-1] / 1e3 - radii_mm[i + 1] / 1e3
            add(
                f"{digit} {name}", parent, np.array([parent_m, 0.0, 0.0]), turn if i == 0 else straight,
                f"{digit} {joint}", length_m, (radii_mm[i], radii_mm[i + 1]), digit,
            )  # fmt: skip
            parent, parent_m = f"{digit} {name}", length_m

    add(
        "thumb metacarpal", "palm", np.array(_THUMB_ORIGIN), _frame(_THUMB_DIRECTION, _THUMB_FLEXION),
        "thumb cmc", _THUMB_MM[0] / 1e3, (_THUMB_RADII_MM[0], _THUMB_RADII_MM[1]), "thumb",
    )  # fmt: skip
    chain(
        "thumb", "thumb metacarpal", _THUMB_MM[0] / 1e3, ("proximal", "distal"), ("mcp", "ip"),
        _THUMB_MM[1:], _THUMB_RADII_MM[1:], straight,
    )  # fmt: skip
    for finger, (origin, metacarpal, direction, lengths, radii) in _FINGERS.items():
        add(
            f"{finger} metacarpal", "palm", np.array(origin), about_z(metacarpal), "",
            lengths[0] / 1e3, (radii[0], radii[0]), "wrist",
        )  # fmt: skip
        chain(
            finger, f"{finger} metacarpal", lengths[0] / 1e3, ("proximal", "middle", "distal"),
            ("mcp", "pip", "dip"), lengths[1:], radii[1:], about_z(direction - metacarpal),
        )  # fmt: skip
    return tuple(bones)


_MIRROR = np.array([1.0, -1.0, 1.0])


def mirrored(bone: Bone) -> Bone:
    """The bone of the other hand: places change their y, axes of rotation everything but."""
    return replace(
        bone,
        origin=bone.origin * _MIRROR,
        rotation=bone.rotation * np.outer(_MIRROR, _MIRROR),
        axis=-bone.axis * _MIRROR,
    )


def bones(side: Side) -> tuple[Bone, ...]:
    """The hand of this side, every parent before its children."""
    if side not in ("right", "left"):
        raise NervehandError(f"there is no {side!r} hand: use right or left")
    right = _right()
    return right if side == "right" else tuple(mirrored(bone) for bone in right)
