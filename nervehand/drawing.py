"""A hand drawn in a terminal: five fingers that curl and a wrist that bends, in Braille dots."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_BRAILLE = 0x2800
_DOTS = ((0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80))  # bit of (row, column) in a cell


@dataclass(frozen=True, slots=True)
class _Finger:
    """A finger of the right hand seen on its palm; lengths in palm widths, angles in degrees from straight up."""

    dof: int
    knuckle: tuple[float, float]
    spread_deg: float
    phalanges: tuple[float, float, float]


# Proportions after Buryanov and Kotiuk (Int. J. Morphol. 2010): phalanx lengths by finger, scaled to the palm.
_FINGERS = (
    _Finger(0, (0.06, 0.45), -52.0, (0.36, 0.30, 0.24)),
    _Finger(1, (0.18, 1.02), -8.0, (0.46, 0.26, 0.19)),
    _Finger(2, (0.42, 1.08), -1.0, (0.52, 0.31, 0.20)),
    _Finger(3, (0.66, 1.03), 6.0, (0.48, 0.30, 0.20)),
    _Finger(4, (0.88, 0.92), 15.0, (0.38, 0.21, 0.18)),
)
_FULL_FLEXION_DEG = (75.0, 95.0, 60.0)  # the three joints of a finger at position 1
_FULL_EXTENSION_DEG = (25.0, 5.0, 5.0)
_TILT = 0.35  # how far the view looks from above the fingertips: curled parts show lower
_WRIST_DEG = 40.0


class Canvas:
    """A grid of Braille cells, two dots wide and four high each."""

    def __init__(self, width: int, height: int) -> None:
        self._cells = np.zeros((height, width), np.int32)

    def line(self, start: tuple[float, float], end: tuple[float, float]) -> None:
        """Set the dots from start to end, (x, y) in dots from the upper left; what lies outside is left out."""
        n = int(max(abs(end[0] - start[0]), abs(end[1] - start[1]), 1)) + 1
        for x, y in zip(np.linspace(start[0], end[0], n), np.linspace(start[1], end[1], n), strict=True):
            column, row = round(float(x)), round(float(y))
            if 0 <= row < 4 * self._cells.shape[0] and 0 <= column < 2 * self._cells.shape[1]:
                self._cells[row // 4, column // 2] |= _DOTS[row % 4][column % 2]

    def rows(self) -> list[str]:
        return ["".join(chr(_BRAILLE + int(cell)) for cell in row) for row in self._cells]


def draw_hand(
    positions: NDArray[np.float32], width: int = 30, height: int = 13, side: str = "right"
) -> list[str]:
    """The hand at six positions (DOF_NAMES, -1..1; NaN is drawn as rest): `height` rows of `width` characters."""
    p = np.nan_to_num(np.clip(positions, -1.0, 1.0)).astype(np.float64)
    canvas = Canvas(width, height)
    scale = 4 * height / 2.55
    bend = np.deg2rad(_WRIST_DEG * p[5])
    mirror = -1.0 if side == "left" else 1.0

    def place(x: float, y: float) -> tuple[float, float]:
        """Palm coordinates to dots; the wrist's flexion leans the hand towards the viewer: shorter and lower."""
        lean = y * np.cos(bend) + _TILT * y * np.sin(-bend)
        return width + mirror * (x - 0.45) * scale * 1.05, 4 * height - 3 - (lean + 0.12) * scale

    outline = [(0.15, 0.0), (0.06, 0.45), (0.18, 1.02), (0.42, 1.08), (0.66, 1.03), (0.88, 0.92), (0.85, 0.35),
               (0.72, 0.0), (0.15, 0.0)]  # fmt: skip
    for a, b in itertools.pairwise(outline):
        canvas.line(place(*a), place(*b))
    for x in (0.2, 0.67):
        canvas.line(place(x, 0.0), (place(x, 0.0)[0], 4.0 * height))
    for finger in _FINGERS:
        joints = _joints(finger, float(p[finger.dof]))
        for offset in (-0.035, 0.035):
            for a, b in itertools.pairwise(joints):
                canvas.line(place(a[0] + offset, a[1]), place(b[0] + offset, b[1]))
        tip = joints[-1]
        canvas.line(place(tip[0] - 0.035, tip[1]), place(tip[0] + 0.035, tip[1]))
    return canvas.rows()


def _joints(finger: _Finger, position: float) -> list[tuple[float, float]]:
    """Knuckle to tip in palm coordinates: each phalanx turns out of the plane by its joints' sum."""
    full = _FULL_FLEXION_DEG if position >= 0 else _FULL_EXTENSION_DEG
    x, y = finger.knuckle
    joints, turn_deg = [(x, y)], 0.0
    spread = np.deg2rad(finger.spread_deg)
    for length, angle_deg in zip(finger.phalanges, full, strict=True):
        turn_deg += angle_deg * position
        out = np.deg2rad(turn_deg)
        along = length * (np.cos(out) - _TILT * np.sin(out))
        x, y = x + float(along * np.sin(spread)), y + float(along * np.cos(spread))
        joints.append((x, y))
    return joints
