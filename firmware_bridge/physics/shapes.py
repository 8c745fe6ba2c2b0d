"""What is seen of a hand: points whose convex hull is a rounded, tapered solid; and numbers as MJCF writes them."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

_GOLDEN_ANGLE = np.pi * (3 - np.sqrt(5))


def sphere_points(n: int) -> NDArray[np.float64]:
    """n directions (n, 3) spread evenly over the unit sphere (a Fibonacci lattice)."""
    z = 1 - (2 * np.arange(n) + 1) / n
    radius, angle = np.sqrt(1 - z**2), _GOLDEN_ANGLE * np.arange(n)
    return np.column_stack([radius * np.cos(angle), radius * np.sin(angle), z])


def hull_of_balls(balls: Iterable[tuple[NDArray[np.float64], float]], n: int = 90) -> NDArray[np.float64]:
    """Points (n per ball, 3) whose convex hull is that of balls given by centre (3,) and radius, in metres."""
    return np.concatenate([centre + radius * sphere_points(n) for centre, radius in balls])


def quaternion(rotation: NDArray[np.float64]) -> NDArray[np.float64]:
    """w, x, y, z of a rotation (3, 3), w not negative."""
    m = rotation
    w = np.sqrt(max(0.0, 1 + m[0, 0] + m[1, 1] + m[2, 2])) / 2
    x = np.sqrt(max(0.0, 1 + m[0, 0] - m[1, 1] - m[2, 2])) / 2
    y = np.sqrt(max(0.0, 1 - m[0, 0] + m[1, 1] - m[2, 2])) / 2
    z = np.sqrt(max(0.0, 1 - m[0, 0] - m[1, 1] + m[2, 2])) / 2
    q = np.array(
        [
            w,
            np.copysign(x, m[2, 1] - m[1, 2]),
            np.copysign(y, m[0, 2] - m[2, 0]),
            np.copysign(z, m[1, 0] - m[0, 1]),
        ]
    )
    return np.asarray(q / np.linalg.norm(q))


def numbers(*values: float) -> str:
    """As MJCF wants them, to a ten-millionth: below every length that matters here."""
    return " ".join(f"{value:.7g}" for value in values)
