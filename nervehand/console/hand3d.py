"""A hand in a 3-D scene: bones as nested groups, so that a moved joint is one rotation and a frame is one message."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from nicegui import ui
from nicegui.elements.scene.scene import Scene
from nicegui.elements.scene.scene_object3d import Object3D

from firmware_bridge.hand import DOF_NAMES, N_DOF
from firmware_bridge.physics.anatomy import JOINT_NAMES, JOINTS, Bone, Side, about_z, bones
from firmware_bridge.physics.skeleton import about, joint_angles
from nervehand.console.style import FOREARM

Call = list[object]
Rotation = tuple[tuple[float, float, float], ...]

SCALE = 10.0
"""The scene's unit is a decimetre: the camera's nearest plane is 0.1 of them."""
STEPS = 50
"""Of a full flexion: what moves less than one of them sends nothing."""
_SIDES = 14
"""Of a cylinder: enough to look round at the size that a hand has on a screen."""
_FOREARM_M = 0.06
_TURN_DEG = 26.0
_PALM_WIDER = 1.55
"""A wrist is wider than it is thick."""
_TO_X: Rotation = ((0.0, 1.0, 0.0), (-1.0, 0.0, 0.0), (0.0, 0.0, 1.0))
"""A cylinder of the scene lies along y; a bone along x."""


@lru_cache(maxsize=4)
def hand_bones(side: Side) -> tuple[Bone, ...]:
    """The bones of that side, every parent before its children."""
    return bones(side)


@lru_cache(maxsize=2)
def bone_dofs(side: Side) -> tuple[int, ...]:
    """For every bone the degree of freedom (DOF_NAMES) that turns it; -1 where none does."""
    drives = {joint.name: next(iter(joint.follows)) for joint in JOINTS.joints}
    return tuple(DOF_NAMES.index(drives[bone.joint]) if bone.joint else -1 for bone in hand_bones(side))


@lru_cache(maxsize=2 * (2 * STEPS + 1))
def bone_turns(side: Side, step: int) -> tuple[Rotation, ...]:
    """For every bone its turn (3, 3) in its parent's frame, where its degree of freedom is at `step` of STEPS.

    Every open page shows the same hand: what one has worked out serves all.
    """
    angles = joint_angles(np.full(N_DOF, step / STEPS, np.float32))
    by_joint = dict(zip(JOINT_NAMES, angles.tolist(), strict=True))
    return tuple(
        _plain(bone.rotation @ about(bone.axis, by_joint[bone.joint]) if bone.joint else bone.rotation)
        for bone in hand_bones(side)
    )


def in_steps(positions: Sequence[float]) -> tuple[int, ...]:
    """Six positions in -1..1 in whole steps; what is not finite counts as rest."""
    if len(positions) != N_DOF:
        raise ValueError(f"{len(positions)} positions: give {N_DOF}")
    return tuple(round(min(max(p, -1.0), 1.0) * STEPS) if math.isfinite(p) else 0 for p in positions)


class HandModel:
    """One hand in a scene. Made within `with scene:`; `to` gives the calls that bring it to new positions."""

    def __init__(self, scene: Scene, side: Side, colour: str, at: Sequence[float]) -> None:
        self._side, self._colour = side, colour
        self._skin: list[Object3D] = []
        self._groups: list[Object3D] = []
        self._steps = (0,) * N_DOF
        self.is_visible = True
        self._root = scene.group().move(*at).rotate_R(_standing(side))
        with self._root:
            self._forearm(scene)
            self._bones(scene)

    def to(self, positions: Sequence[float]) -> list[Call]:
        """The calls of `run_methods` that show these six positions; none where nothing moved enough to be seen."""
        steps = in_steps(positions)
        if steps == self._steps:
            return []
        calls: list[Call] = []
        for i, dof in enumerate(bone_dofs(self._side)):
            if dof < 0 or steps[dof] == self._steps[dof]:
                continue
            group = self._groups[i]
            group.R = [
                list(row) for row in bone_turns(self._side, steps[dof])[i]
            ]  # for a scene that is loaded anew
            calls.append(["rotate", group.id, group.R])
        self._steps = steps
        return calls

    def paint(self, colour: str) -> list[Call]:
        """The calls that give it this colour."""
        if colour == self._colour:
            return []
        self._colour = colour
        calls: list[Call] = []
        for part in self._skin:
            part.color = colour
            calls.append(["material", part.id, colour, 1.0, "front"])
        return calls

    def reveal(self, is_visible: bool) -> list[Call]:
        """The calls that show or hide it."""
        if is_visible == self.is_visible:
            return []
        self.is_visible = self._root.visible_ = is_visible
        return [["visible", self._root.id, is_visible]]

    def remove(self) -> None:
        """Take it out of the scene."""
        self._root.delete()

    def _forearm(self, scene: Scene) -> None:
        """A stub behind the wrist, so that a bent wrist is seen to be bent."""
        wide, narrow, length = 0.31, 0.26, _FOREARM_M * SCALE
        stub = scene.cylinder(narrow, wide, length, 24)
        stub.move(-length / 2 - 0.02, 0, 0).rotate_R([list(row) for row in _TO_X]).scale(1.0, 1.0, 0.72)
        stub.material(FOREARM)

    def _bones(self, scene: Scene) -> None:
        groups: dict[str, Object3D] = {}
        children = {bone.parent for bone in hand_bones(self._side)}
        for bone, turn in zip(hand_bones(self._side), bone_turns(self._side, 0), strict=True):
            with groups.get(bone.parent, self._root):
                group = scene.group().move(*(float(v) * SCALE for v in bone.origin))
                group.rotate_R([list(row) for row in turn])
            groups[bone.name] = group
            self._groups.append(group)
            with group:
                near, far = (radius * SCALE for radius in bone.radii_m)
                length = bone.length_m * SCALE
                wide = _PALM_WIDER if bone.name == "palm" else 1.0
                self._part(scene.sphere(near, 16, 12).scale(1.0, wide, 1.0))
                shaft = scene.cylinder(far, near, length, _SIDES).move(length / 2, 0, 0).scale(wide, 1.0, 1.0)
                self._part(shaft.rotate_R([list(row) for row in _TO_X]))
                if bone.name not in children:
                    self._part(scene.sphere(far, 16, 12).move(length, 0, 0))

    def _part(self, part: Object3D) -> None:
        part.material(self._colour)
        self._skin.append(part)


def hand_scene(look_from: tuple[float, float, float], look_at: tuple[float, float, float]) -> Scene:
    """An empty scene without a floor, seen from a place, that people may turn by hand."""
    scene = ui.scene(
        grid=False,
        background_color="#ffffff",
        fps=20,
        click_events=[],
        camera=ui.scene.perspective_camera(fov=12, near=1.0, far=60),
    )
    with scene:
        scene.spot_light("#ffffff", 1.4, 0.0, 0.6, 0.5, 0.0).move(12.0, 5.0, 7.0)
    x, y, z = look_from
    to_x, to_y, to_z = look_at
    scene.move_camera(x, y, z, to_x, to_y, to_z, 0, 0, 1, duration=0)
    return scene


def send(scene: Scene, calls: list[Call]) -> None:
    """One message for all of them."""
    if calls:
        scene.run_method("run_methods", calls)


def _standing(side: Side) -> list[list[float]]:
    """The turn (3, 3) that puts a hand upright, its palm towards +x and half to the thumb's side, as its owner sees it.

    Bent fingers then come towards whoever looks, and are seen from the side as well.
    """
    upright = np.array([[0.0, 0.0, -1.0], [0.0, 1.0, 0.0], [1.0, 0.0, 0.0]])
    return [list(row) for row in _plain(about_z(-_TURN_DEG if side == "right" else _TURN_DEG) @ upright)]


def _plain(turn: np.ndarray) -> Rotation:
    return tuple(tuple(round(float(v), 4) for v in row) for row in turn)  # type: ignore[misc]
