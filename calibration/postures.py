"""Which six positions a gesture means, and how positions follow from what a decoder was trained to say."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from firmware_bridge.errors import NervehandError
from firmware_bridge.hand import DOF_NAMES, N_DOF

Posture = tuple[float, float, float, float, float, float]

KNOWN_POSTURES: dict[str, Posture] = {
    "rest": (0, 0, 0, 0, 0, 0),
    "fist": (1, 1, 1, 1, 1, 0),
    "hand close": (1, 1, 1, 1, 1, 0),
    "open": (-1, -1, -1, -1, -1, 0),
    "hand open": (-1, -1, -1, -1, -1, 0),
    "pinch": (0.7, 0.7, 0, 0, 0, 0),
    "point": (1, 0, 1, 1, 1, 0),
    "thumb": (1, 0, 0, 0, 0, 0),
    "index": (0, 1, 0, 0, 0, 0),
    "middle": (0, 0, 1, 0, 0, 0),
    "ring": (0, 0, 0, 1, 0, 0),
    "little": (0, 0, 0, 0, 1, 0),
    "wrist flexion": (0, 0, 0, 0, 0, 1),
    "wrist extension": (0, 0, 0, 0, 0, -1),
    "lower": (0, 0, 0, 0, 0, 1),
    "raise": (0, 0, 0, 0, 0, -1),
}
"""Postures of common gesture names (in lower case), in the order of DOF_NAMES."""

BEYOND = 1.25
"""Positions measured on a hand may pass their calibrated ends by this much, in 98 % of the hops."""
_RIDGE = 1e-3  # of the truth columns' variance: enough to tame sensors that move together


def postures_of(names: Sequence[str], given: NDArray[np.float32] | None) -> NDArray[np.float32]:
    """(n_gestures, 6): a session's own postures first, then KNOWN_POSTURES by name, NaN where neither knows."""
    found = np.full((len(names), N_DOF), np.nan, np.float32)
    for row, name in enumerate(names):
        if given is not None and np.isfinite(given[row]).all():
            found[row] = given[row]
        elif name.lower() in KNOWN_POSTURES:
            found[row] = KNOWN_POSTURES[name.lower()]
    return found


def map_to_positions(
    truth: NDArray[np.float32],
    truth_names: Sequence[str],
    label: NDArray[np.int64],
    postures: NDArray[np.float32],
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Matrix (6, d) and offset (6,) from truth columns to positions.

    Columns named like the degrees of freedom are positions already; NervehandError where they leave -1..1, as
    angles would: the hand would only jump from end to end. Otherwise a ridge regression from the
    truth (k, d) to the labelled gesture's posture, over the hops whose posture is known; where none is, the
    map is zero and only gestures can move the hand.
    """
    matrix = np.zeros((N_DOF, len(truth_names)), np.float32)
    offset = np.zeros(N_DOF, np.float32)
    if set(DOF_NAMES) & set(truth_names):
        for dof, name in enumerate(DOF_NAMES):
            if name in truth_names:
                _require_positions(name, truth[:, list(truth_names).index(name)])
                matrix[dof, list(truth_names).index(name)] = 1.0
        return matrix, offset
    known: NDArray[np.bool_] = np.asarray(np.isfinite(postures).all(axis=1))
    usable = (label >= 0) & known[np.maximum(label, 0)]
    if len(np.unique(label[usable])) < 2:
        return matrix, offset
    x, target = truth[usable].astype(np.float64), postures[label[usable]].astype(np.float64)
    mean, spread = x.mean(0), x.std(0)
    scale = np.where(spread > 0, spread, 1.0)
    z = (x - mean) / scale
    gram = z.T @ z / len(z) + _RIDGE * np.eye(z.shape[1])
    weights = np.linalg.solve(gram, z.T @ (target - target.mean(0)) / len(z))  # (d, 6)
    # Movements take part of the time; stretched so that the mean over a movement's hops reaches its posture.
    fitted = z @ weights + target.mean(0)
    for dof in range(N_DOF):
        reach = _reach(fitted[:, dof], target[:, dof])
        rest = fitted[target[:, dof] == 0, dof].mean() if (target[:, dof] == 0).any() else 0.0
        matrix[dof] = weights[:, dof] / scale * reach
        offset[dof] = (target[:, dof].mean() - rest - (weights[:, dof] / scale) @ mean) * reach
    return matrix, offset


def _require_positions(name: str, column: NDArray[np.float32]) -> None:
    low, high = np.percentile(column, (1, 99))
    if low < -BEYOND or high > BEYOND:
        raise NervehandError(
            f"truth column {name} goes from {low:.4g} to {high:.4g}, and a column of that name is a position in "
            "-1..1: scale it, or name it otherwise"
        )


def _reach(fitted: NDArray[np.float64], target: NDArray[np.float64]) -> float:
    """The factor that brings the strongly active hops of a fitted position to their target."""
    active = target != 0
    if not active.any():
        return 0.0
    rest = fitted[~active].mean() if (~active).any() else 0.0
    along = (fitted[active] - rest) * np.sign(target[active])
    strong = float(np.percentile(along, 75))
    return float(np.abs(target[active]).mean() / strong) if strong > 1e-6 else 0.0
