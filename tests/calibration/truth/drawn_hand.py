"""A hand drawn by us, for a camera's model to find: our own skeleton in flesh of balls, lit from one side.

The model hand's thumb stands opposed to its palm, as a prosthesis's does; here its whole chain is turned about its
root to lie where a relaxed person's does, beside the palm, and it bends across it as before.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from functools import cache
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from firmware_bridge.physics.anatomy import Side
from firmware_bridge.physics.skeleton import bone_ends, bone_names, bone_radii, joint_angles

WIDTH, HEIGHT = 480, 360
SKIN, BACKGROUND = (226.0, 178.0, 150.0), (70.0, 90.0, 105.0)

Vector = NDArray[np.float64]

_FLESH = 1.12
"""How much thicker than the model hand's digits, which are bare of skin."""
_FOCAL, _DISTANCE_M = 750.0, 0.62
_MIDDLE = np.array([0.085, 0.0, 0.0])
_LIGHT = np.array([0.35, -0.55, -0.75])
_FINGERS = ("index", "middle", "ring", "little")


def _turn(axis: str, degrees: float) -> NDArray[np.float64]:
    c, s = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    i, j = {"x": (1, 2), "y": (2, 0), "z": (0, 1)}[axis]
    turn = np.eye(3)
    turn[i, i] = turn[j, j] = c
    turn[i, j], turn[j, i] = -s, s
    return turn


_THUMB_BESIDE = _turn("z", -20) @ _turn("x", 40)
_TO_CAMERA = np.array([[0.0, 1.0, 0.0], [-1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
"""Fingers up and the palm towards the camera; its frame has x to the right, y down and z away."""
VIEW = _turn("x", 20) @ _turn("y", -30) @ _TO_CAMERA
"""A little from above and from the thumb's side, as a camera on the table's edge sees a hand held up."""


def draw(positions: Sequence[float], side: Side = "right", sway_degrees: float = 0.0) -> Image.Image:
    """The hand at six positions in -1..1 as a picture; `sway_degrees` turns it a little in the picture's plane."""
    balls = _balls(np.array(positions, np.float32), side)
    view = _turn("z", sway_degrees) @ VIEW
    centres = (balls[:, :3] * _mirror(side) - _MIDDLE) @ view.T + [0.0, 0.0, _DISTANCE_M]
    if side == "left":  # a left hand in the same place is the picture's mirror image
        centres[:, 0] *= -1
    scale = _FOCAL / centres[:, 2]
    depth = np.full((HEIGHT, WIDTH), np.inf)
    normal = np.zeros((HEIGHT, WIDTH, 3))
    for u, v, r, z, radius in zip(
        WIDTH / 2 + scale * centres[:, 0], HEIGHT / 2 + scale * centres[:, 1], scale * balls[:, 3], centres[:, 2],
        balls[:, 3], strict=True,
    ):  # fmt: skip
        rows = slice(max(0, int(v - r)), min(HEIGHT, int(v + r) + 2))
        columns = slice(max(0, int(u - r)), min(WIDTH, int(u + r) + 2))
        x = ((np.arange(columns.start, columns.stop) - u) / r)[None, :]
        y = ((np.arange(rows.start, rows.stop) - v) / r)[:, None]
        inside = 1 - x * x - y * y
        bulge = np.sqrt(np.maximum(inside, 0))
        here = z - bulge * radius
        nearer = (inside > 0) & (here < depth[rows, columns])
        depth[rows, columns][nearer] = here[nearer]
        faces = np.stack(np.broadcast_arrays(x, y, -bulge), axis=-1)
        normal[rows, columns][nearer] = faces[nearer]
    lit = 0.5 + 0.5 * np.clip(normal @ (_LIGHT / np.linalg.norm(_LIGHT)), 0, 1)
    lit *= 0.5 + 0.5 * np.clip(-normal[..., 2], 0, 1) ** 0.7  # darker where the surface turns away
    picture = np.where(np.isfinite(depth)[..., None], lit[..., None] * SKIN, BACKGROUND)
    return Image.fromarray(picture.astype(np.uint8)).filter(ImageFilter.GaussianBlur(0.8))


def empty() -> Image.Image:
    """A picture without a hand."""
    return Image.new("RGB", (WIDTH, HEIGHT), tuple(round(one) for one in BACKGROUND))


def _mirror(side: Side) -> Vector:
    return np.array([1.0, -1.0 if side == "left" else 1.0, 1.0])


def _balls(positions: NDArray[np.float32], side: Side) -> Vector:
    """(n, 4): the centres and radii of the balls that the hand is made of, in metres, in the hand's own frame."""
    ends = bone_ends(joint_angles(positions), side) * _mirror(
        side
    )  # drawn as a right one, mirrored by `draw`
    bones = {
        name: (ends[i][0], ends[i][1], *(bone_radii()[i] * _FLESH)) for i, name in enumerate(bone_names())
    }
    root = bones["thumb metacarpal"][0]
    for name in ("thumb metacarpal", "thumb proximal", "thumb distal"):
        begin, end, *radii = bones[name]
        bones[name] = ((begin - root) @ _THUMB_BESIDE.T + root, (end - root) @ _THUMB_BESIDE.T + root, *radii)
    return np.vstack([_along(*piece) for piece in _flesh(bones)]) * [*_mirror(side), 1.0]


Piece = tuple[Vector, Vector, float, float]
"""From where to where, and how thick at either end."""


def _flesh(bones: dict[str, Piece]) -> Iterator[Piece]:
    """The bones themselves, what lies between them in the palm and beside the thumb, and the wrist."""
    yield from (bone for name, bone in bones.items() if name != "palm")
    metacarpals = [bones[f"{finger} metacarpal"] for finger in _FINGERS]
    for one, other in pairwise(metacarpals):
        for part in np.linspace(0, 1, 4)[1:-1]:
            begin, end, first, second = _between(one, other, part)
            yield begin, end, first, 0.97 * second
    for part in np.linspace(0, 1, 7)[1:-1]:  # the web ends half-way between thumb and index finger
        begin, end, first, _ = _between(bones["thumb metacarpal"], metacarpals[0], part)
        yield begin, begin + (0.85 - 0.45 * math.sin(math.pi * part)) * (end - begin), first, 0.009
    for y in np.linspace(-0.015, 0.015, 4):
        wrist = np.array([0.0, y, 0.0])
        yield np.array([-0.13, 1.3 * y, 0.0]), wrist, 0.019, 0.016
        for bone in (*metacarpals, bones["thumb metacarpal"]):
            yield wrist, bone[0], 0.016, bone[2]


def _between(one: Piece, other: Piece, part: float) -> Piece:
    first, second = ((1 - part) * one[k] + part * other[k] for k in (2, 3))
    return (1 - part) * one[0] + part * other[0], (1 - part) * one[1] + part * other[1], first, second


def _along(begin: Vector, end: Vector, first: float, second: float) -> Vector:
    """Balls close enough that their outline is smooth."""
    n = 2 + int(np.linalg.norm(end - begin) / (0.28 * min(first, second)))
    part = _steps(n)
    return np.hstack([begin * (1 - part) + end * part, first * (1 - part) + second * part])


@cache
def _steps(n: int) -> Vector:
    return np.linspace(0, 1, n)[:, None]
