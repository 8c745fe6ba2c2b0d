"""How well decoded outputs follow the ground truth, column by column."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from calibration.scores.errors import NotScoredError


def column_r2(truth: NDArray[np.floating], outputs: NDArray[np.floating]) -> NDArray[np.float64]:
    """1 - SSE / SST per column of (n, d), against its own mean; NaN where the truth does not move."""
    true, said = _columns(truth, outputs)
    error = np.square(true - said).sum(0)
    total = np.square(true - true.mean(0)).sum(0)
    moving = _moving(true)
    return np.where(moving, 1.0 - error / np.where(moving, total, 1.0), np.nan)


def column_r(truth: NDArray[np.floating], outputs: NDArray[np.floating]) -> NDArray[np.float64]:
    """Pearson's r per column of (n, d); 0 for a constant output, NaN where the truth does not move."""
    true, said = _columns(truth, outputs)
    a, b = true - true.mean(0), said - said.mean(0)
    moving, answering = _moving(true), _moving(said)
    norm = np.sqrt(np.square(a).sum(0) * np.square(b).sum(0))
    r = np.where(answering, (a * b).sum(0) / np.where(moving & answering, norm, 1.0), 0.0)
    return np.where(moving, r, np.nan)


def joint_r2(truth: NDArray[np.floating], outputs: NDArray[np.floating]) -> float:
    """Unweighted mean over the columns of `column_r2`."""
    return _mean(column_r2(truth, outputs))


def joint_r(truth: NDArray[np.floating], outputs: NDArray[np.floating]) -> float:
    """Unweighted mean over the columns of `column_r`."""
    return _mean(column_r(truth, outputs))


def _columns(
    truth: NDArray[np.floating], outputs: NDArray[np.floating]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    known = np.isfinite(truth).all(1)
    if not known.any():
        raise NotScoredError("no hop with ground truth")
    return truth[known].astype(np.float64), outputs[known].astype(np.float64)


def _moving(columns: NDArray[np.float64]) -> NDArray[np.bool_]:
    moving: NDArray[np.bool_] = columns.max(0) > columns.min(0)
    return moving


def _mean(by_column: NDArray[np.float64]) -> float:
    if np.isnan(by_column).all():
        raise NotScoredError("the ground truth does not move")
    return float(np.nanmean(by_column))
