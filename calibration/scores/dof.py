"""Fingers as three states, and the accuracy of each degree of freedom."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from calibration.scores.errors import NotScoredError

ACTIVE_ABOVE = 0.5
LEAST_SHARE = 0.02


@dataclass(frozen=True, slots=True)
class DofScores:
    """State accuracies.

    `accuracy` and `balanced` (d,) per degree of freedom, NaN where it is not scored; `exact_match`, the share
    of hops at which all scored ones are right; `not_scored`, the indices of the degrees of freedom that are
    active, or inactive, for less than 2 % of the hops.
    """

    accuracy: NDArray[np.float64]
    balanced: NDArray[np.float64]
    exact_match: float
    not_scored: tuple[int, ...]

    @property
    def mean_accuracy(self) -> float:
        return float(np.nanmean(self.accuracy))

    @property
    def mean_balanced(self) -> float:
        return float(np.nanmean(self.balanced))


def states(positions: NDArray[np.floating]) -> NDArray[np.int8]:
    """Positions (n, d) in -1..1 as -1, 0 or 1: active, with its sign, where abs(position) > 0.5."""
    active = np.abs(positions) > ACTIVE_ABOVE
    return np.where(active, np.sign(positions), 0.0).astype(np.int8)


def dof_scores(true_positions: NDArray[np.floating], positions: NDArray[np.floating]) -> DofScores:
    """State accuracy of each degree of freedom, from positions (n, d) in -1..1, NaN where not known.

    Balanced accuracy is the mean of two recalls, that of the active hops (the sign must be right) and that of
    the inactive ones.
    """
    known = np.isfinite(true_positions).all(1)
    true_positions, positions = true_positions[known], positions[known]
    if len(true_positions) == 0:
        raise NotScoredError("no hop with a true position")
    true, said = states(true_positions), states(positions)
    active = true != 0
    share = active.mean(0)
    scored = np.minimum(share, 1.0 - share) >= LEAST_SHARE
    if not scored.any():
        raise NotScoredError("no degree of freedom is both active and inactive for 2 % of the hops")
    right = true == said
    accuracy = np.full(true.shape[1], np.nan)
    balanced = np.full(true.shape[1], np.nan)
    for d in np.flatnonzero(scored):
        accuracy[d] = right[:, d].mean()
        balanced[d] = (right[active[:, d], d].mean() + right[~active[:, d], d].mean()) / 2.0
    return DofScores(
        accuracy=accuracy,
        balanced=balanced,
        exact_match=float(right[:, scored].all(1).mean()),
        not_scored=tuple(int(d) for d in np.flatnonzero(~scored)),
    )
