"""The hand as an MJCF model, generated from anatomy.py; also the forearm it hangs on, a table, and what it may grasp.

The forearm lies along the world's x axis with the thumb upwards, as when a glass is grasped: the palm of a right hand
looks towards +y, a left one's towards -y. The world's z axis points up; the wrist is at its origin until it is lifted.

A motor is a position servo with a straight torque-speed line, as a geared direct-current motor has: its torque falls
from its largest at standstill to nothing at its highest speed, so that the joint can never be driven faster. The hand
carries its own weight. Joints without a motor follow theirs by a constraint.
"""

from __future__ import annotations

import math
from xml.etree import ElementTree

import numpy as np
from numpy.typing import NDArray

from firmware_bridge.errors import NervehandError
from firmware_bridge.hand import DOF_NAMES
from firmware_bridge.physics.anatomy import (
    ACTUATORS,
    COUPLINGS,
    DENSITY_KG_PER_M3,
    JOINT_NAMES,
    JOINTS,
    Bone,
    Side,
    bones,
)
from firmware_bridge.physics.objects import TABLE_Z_M, GraspObject
from firmware_bridge.physics.shapes import hull_of_balls, numbers, quaternion

STEP_S = 0.002
SERVO_WINDOW = 0.05
"""A joint this far from where it should be, in full flexions, gets all the torque that its motor has."""
LIFT_FORCE_N = 200.0
_NO_LOAD_SPEED = (
    0.97  # of what the capabilities allow: inertia and couplings add a few hundredths for a moment
)
_SLOWEST_PER_S = 0.01  # of a degree of freedom that the hand lacks: it has nowhere to go

_HAND, _OBJECT, _TABLE = 1, 2, 4  # bits of contact: the hand's parts do not touch each other
_ROTOR_KG_M2 = {"wrist": 4e-3}
_ROTOR_OF_A_DIGIT_KG_M2 = 3e-4  # seen through the gears; it also keeps contact stable at this step
_LOOSE_KG_M2 = 2e-5
_FRICTION = "1.0 0.005 0.0002"  # sliding, torsional (m), rolling (m): a rubber glove on plastic
_SHELL, _JOINT, _RUBBER, _SOCKET = (
    "0.90 0.89 0.86 1",
    "0.17 0.18 0.20 1",
    "0.25 0.26 0.29 1",
    "0.13 0.14 0.16 1",
)


def mjcf(side: Side, thing: GraspObject | None) -> str:
    """The model as XML, complete in itself."""
    root = ElementTree.Element("mujoco", model=f"nervehand {side} hand")
    _add(root, "compiler", angle="radian", autolimits="true")
    option = _add(
        root,
        "option",
        timestep=numbers(STEP_S),
        integrator="implicitfast",
        cone="elliptic",
        impratio="10",
        iterations="30",
        tolerance="1e-9",
    )
    _add(option, "flag", autoreset="disable")
    _add(root, "statistic", extent="0.5", center="0.05 0 0")  # what the shadows cover
    visual = _add(root, "visual")
    _add(visual, "global", offwidth="1920", offheight="1080", fovy="32")
    _add(visual, "headlight", ambient="0.40 0.40 0.42", diffuse="0.22 0.22 0.22", specular="0.05 0.05 0.05")
    _add(visual, "map", znear="0.02", zfar="60", shadowclip="0.9", shadowscale="0.9", haze="0.2")
    _add(visual, "rgba", haze="0.86 0.88 0.91 1")
    _add(visual, "quality", shadowsize="2048", offsamples="4")
    asset = _add(root, "asset")
    sky = {"rgb1": "0.96 0.97 0.98", "rgb2": "0.80 0.83 0.87", "width": "64", "height": "384"}
    _add(asset, "texture", type="skybox", builtin="gradient", **sky)
    _add(asset, "material", name="shell", rgba=_SHELL, specular="0.35", shininess="0.5")
    _add(asset, "material", name="joint", rgba=_JOINT, specular="0.3", shininess="0.4")
    _add(asset, "material", name="rubber", rgba=_RUBBER, specular="0.1", shininess="0.1")
    _add(asset, "material", name="socket", rgba=_SOCKET, specular="0.4", shininess="0.6")
    _add(asset, "material", name="accent", rgba="0.10 0.55 0.60 1", specular="0.4", shininess="0.6")
    _add(asset, "material", name="thing", rgba="0.93 0.45 0.18 1", specular="0.4", shininess="0.6")
    _add(asset, "material", name="table", rgba="0.74 0.77 0.80 1", specular="0", reflectance="0")

    world = _add(root, "worldbody")
    away = 1.0 if side == "right" else -1.0
    _add(
        world,
        "light",
        type="directional",
        pos=numbers(0.25, 0.35 * away, 1),
        dir=numbers(-0.25, -0.35 * away, -1),
        diffuse="0.50 0.49 0.47",
        specular="0.25 0.25 0.25",
        castshadow="true",
    )
    _add(
        world,
        "light",
        type="directional",
        pos=numbers(0, 0, 1),
        dir=numbers(0.6, -0.8 * away, -0.2),
        diffuse="0.20 0.21 0.24",
        specular="0 0 0",
        castshadow="false",
    )
    _add(
        world,
        "geom",
        name="table",
        type="plane",
        pos=numbers(0, 0, TABLE_Z_M),
        size="0 0 0.1",
        material="table",
        contype=str(_TABLE),
        conaffinity=str(_HAND | _OBJECT),
        friction=_FRICTION,
    )
    _hand(world, asset, side)
    if thing is not None:
        _thing(world, thing, away)
    _motors(root)
    return ElementTree.tostring(root, encoding="unicode")


def _hand(world: ElementTree.Element, asset: ElementTree.Element, side: Side) -> None:
    upright = np.array([[1.0, 0, 0], [0, 0, -1.0], [0, 1.0, 0]])  # the right hand's axes in the world's
    if side == "left":
        upright = np.array([[1.0, 0, 0], [0, 0, 1.0], [0, -1.0, 0]])
    arm = _add(world, "body", name="arm", quat=numbers(*quaternion(upright)), gravcomp="1")
    up = upright.T @ np.array([0.0, 0.0, 1.0])
    _add(arm, "joint", name="lift", type="slide", axis=numbers(*up), damping="120", armature="1")
    _seen(arm, "capsule", "socket", fromto=numbers(-0.030, 0, 0, -0.30, 0, 0), size="0.031", mass="1.0")
    _seen(arm, "cylinder", "accent", fromto=numbers(-0.038, 0, 0, -0.046, 0, 0), size="0.0318")
    _seen(arm, "sphere", "joint", pos="0 0 0", size="0.0235")
    _seen(arm, "capsule", "socket", fromto=numbers(-0.03, 0, 0, -0.012, 0, 0), size="0.024")

    bodies = {"": arm}
    everything = bones(side)
    thicker = {bone.parent: bone for bone in everything if bone.joint}
    for bone in everything:
        body = _add(
            bodies[bone.parent],
            "body",
            name=bone.name,
            pos=numbers(*bone.origin),
            quat=numbers(*quaternion(bone.rotation)),
            gravcomp="1",
        )
        bodies[bone.name] = body
        if bone.joint:
            _joint(body, bone)
        if bone.name == "palm":
            _palm(body, asset, everything)
        else:
            _touched(
                body,
                bone.name,
                "capsule",
                fromto=numbers(0, 0, 0, bone.length_m, 0, 0),
                size=numbers(min(bone.radii_m) * 0.5 + max(bone.radii_m) * 0.5),
            )
            if bone.dof != "wrist":
                _shell(body, asset, bone, is_tip=bone.name not in thicker)


def _joint(body: ElementTree.Element, bone: Bone) -> None:
    known = JOINTS.joints[JOINT_NAMES.index(bone.joint)]
    assert known.extended is not None
    has_motor = any(motor.joint == bone.joint for motor in ACTUATORS)
    rotor = _ROTOR_KG_M2.get(bone.joint, _ROTOR_OF_A_DIGIT_KG_M2) if has_motor else _LOOSE_KG_M2
    _add(
        body,
        "joint",
        name=bone.joint,
        axis=numbers(*bone.axis),
        range=numbers(known.extended, known.flexed),
        ref="0",
        armature=numbers(rotor),
        damping="0.001",
        solreflimit="0.006 1",
        solimplimit="0.98 0.999 0.001",
    )


def _shell(body: ElementTree.Element, asset: ElementTree.Element, bone: Bone, is_tip: bool) -> None:
    """What is seen of a digit's bone: a dark joint, a light tapered shell, and rubber on the tip."""
    near, far = bone.radii_m
    start = np.array([0.45 * near, 0, 0])
    end = np.array([bone.length_m - (0.0 if is_tip else 0.55 * far), 0, 0])
    if bone.name == "thumb metacarpal":
        start = np.array([0.012, 0, 0])
    _mesh(body, asset, bone.name, "shell", hull_of_balls([(start, near * 0.93), (end, far * 0.97)]))
    half = near * 0.86
    _seen(body, "cylinder", "joint", fromto=numbers(0, -half, 0, 0, half, 0), size=numbers(near * 0.90))
    if is_tip:
        middle = np.array([0.45 * bone.length_m, 0, 0])
        pad = [(middle - [0, 0, 0.20 * near], near * 0.80), (end - [0, 0, 0.10 * far], far * 1.0)]
        _mesh(body, asset, f"{bone.name} pad", "rubber", hull_of_balls(pad))


def _palm(palm: ElementTree.Element, asset: ElementTree.Element, everything: tuple[Bone, ...]) -> None:
    """The flesh between the metacarpals, and the two pads of the palm; the metacarpals have their own capsules."""
    metacarpals = [bone for bone in everything if bone.name.endswith(" metacarpal") and bone.dof == "wrist"]
    across = 1.0 if metacarpals[0].origin[1] > 0 else -1.0
    pads = {"thenar": (0.044, 0.016 * across, -0.006), "hypothenar": (0.044, -0.021 * across, -0.004)}
    for name, place in pads.items():
        _touched(palm, name, "ellipsoid", pos=numbers(*place), size="0.026 0.015 0.012")
    _touched(palm, "palm", "box", pos=numbers(0.058, -0.004 * across, 0), size="0.036 0.028 0.0095")
    ends: list[tuple[NDArray[np.float64], float]] = []
    for bone in metacarpals:
        ends.append((bone.origin, 0.0115))
        ends.append((bone.origin + bone.rotation[:, 0] * (bone.length_m - 0.004), bone.radii_m[1]))
    wrist = [(np.array([0.004, y, 0.0]), 0.0135) for y in (-0.013, 0.013)]
    _mesh(palm, asset, "palm", "shell", hull_of_balls([*ends, *wrist], 60))
    for name, place in pads.items():
        _seen(
            palm, "ellipsoid", "rubber", name=f"{name} pad", pos=numbers(*place), size="0.0250 0.0145 0.0116"
        )


def _thing(world: ElementTree.Element, thing: GraspObject, away: float) -> None:
    x, y, z = thing.centre_m
    if thing.kind == "ball":
        top = z - thing.half_height_m
        _add(
            world,
            "geom",
            name="post",
            type="cylinder",
            fromto=numbers(x, y * away, TABLE_Z_M, x, y * away, top),
            size="0.012",
            material="joint",
            contype=str(_TABLE),
            conaffinity=str(_OBJECT),
            friction=_FRICTION,
        )
    body = _add(world, "body", name="object", pos=numbers(x, y * away, z))
    _add(body, "freejoint", name="object")
    half = {"cylinder": (thing.size_m[0], thing.half_height_m), "ball": thing.size_m}.get(
        thing.kind, tuple(edge / 2 for edge in thing.size_m)
    )
    _add(
        body,
        "geom",
        name="object",
        type={"ball": "sphere"}.get(thing.kind, thing.kind),
        size=numbers(*half),
        mass=numbers(thing.mass_kg),
        material="thing",
        contype=str(_OBJECT),
        conaffinity=str(_HAND | _TABLE),
        condim="6",
        friction=_FRICTION,
        solref="0.008 1",
    )
    if thing.kind == "cylinder":
        for height in (-0.72, 0.72):
            ring = height * thing.half_height_m
            _seen(
                body,
                "cylinder",
                "shell",
                fromto=numbers(0, 0, ring - 0.004, 0, 0, ring + 0.004),
                size=numbers(thing.size_m[0] + 0.0004),
            )


def _motors(root: ElementTree.Element) -> None:
    equality, actuator = _add(root, "equality"), _add(root, "actuator")
    for coupling in COUPLINGS:
        _add(
            equality,
            "joint",
            joint1=coupling.joint,
            joint2=coupling.follows,
            polycoef=numbers(0, coupling.ratio, 0, 0, 0),
            solref="0.004 1",
            solimp="0.99 0.999 0.001",
        )
    for motor in ACTUATORS:
        known = JOINTS.joints[JOINT_NAMES.index(motor.joint)]
        window = SERVO_WINDOW * (known.flexed - known.rest)
        _add(
            actuator,
            "position",
            name=motor.joint,
            joint=motor.joint,
            kp=numbers(motor.torque_nm / window),
            forcerange=numbers(-motor.torque_nm, motor.torque_nm),
        )
    _add(
        actuator,
        "position",
        name="lift",
        joint="lift",
        kp="4000",
        forcerange=numbers(-LIFT_FORCE_N, LIFT_FORCE_N),
    )


def motor_damping(max_speed_per_s: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Damping (n_motors,) in N m s/rad, on the flexed and the extended side of rest, for speeds (6,) per DOF.

    At full torque a motor then reaches the speed of its DOF, in full flexions per second, and no more (_NO_LOAD_SPEED).
    """
    flexed, extended = [], []
    for motor in ACTUATORS:
        joint = JOINTS.joints[JOINT_NAMES.index(motor.joint)]
        assert joint.extended is not None  # every joint of this hand can extend
        speed = float(max_speed_per_s[DOF_NAMES.index(motor.dof)])
        if not math.isfinite(speed):
            raise NervehandError(
                f"the {motor.dof} may move at {speed} flexions per second: give a hand with mass a finite speed"
            )
        speed = max(speed, _SLOWEST_PER_S) * _NO_LOAD_SPEED
        flexed.append(motor.torque_nm / (speed * (joint.flexed - joint.rest)))
        extended.append(motor.torque_nm / (speed * (joint.rest - joint.extended)))
    return np.array(flexed), np.array(extended)


def _touched(body: ElementTree.Element, name: str, kind: str, **attributes: str) -> None:
    """A part that takes part in contact and has mass, and is not drawn."""
    _add(
        body,
        "geom",
        name=name,
        type=kind,
        group="3",
        density=numbers(DENSITY_KG_PER_M3),
        contype=str(_HAND),
        conaffinity=str(_OBJECT | _TABLE),
        condim="4",
        friction=_FRICTION,
        solref="0.008 1",
        **attributes,
    )


def _seen(body: ElementTree.Element, kind: str, material: str, **attributes: str) -> None:
    """A part that is drawn and nothing else."""
    attributes = {"mass": "0"} | attributes
    _add(body, "geom", type=kind, material=material, group="2", contype="0", conaffinity="0", **attributes)


def _mesh(
    body: ElementTree.Element,
    asset: ElementTree.Element,
    name: str,
    material: str,
    points: NDArray[np.float64],
) -> None:
    _add(asset, "mesh", name=name, vertex=numbers(*points.ravel()), smoothnormal="true", inertia="convex")
    _seen(body, "mesh", material, name=f"{name} shell", mesh=name)


def _add(parent: ElementTree.Element, tag: str, **attributes: str) -> ElementTree.Element:
    return ElementTree.SubElement(parent, tag, attributes)
