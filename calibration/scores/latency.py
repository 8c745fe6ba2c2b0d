"""Algorithmic latency: a step of intent through the whole chain."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from calibration.scores.errors import NotScoredError

Respond = Callable[[NDArray[np.float32]], tuple[NDArray[np.int64], NDArray[np.float32]]]
"""Raw samples (n, channels) from index 0 on -> raw indices (k,) and commanded positions (k, d) of hops."""

LEAST_STEP = 0.25


def algorithmic_latency_ms(
    respond: Respond,
    rest: NDArray[np.float32],
    movement: NDArray[np.float32],
    rate_hz: float,
    delay_s: float = 0.0,
) -> float:
    """From a step of intent to half of the commanded position: window, filters and smoothing included.

    The step is `rest` (n, channels) followed without a pause by a held `movement` (m, channels). The commanded
    position starts at its mean over the second half of the rest; its goal is its mean over the second half of
    the movement. A hop's command exists `delay_s` after its last raw sample has arrived: the delay line.
    """
    step = len(rest)
    index, positions = respond(np.concatenate([rest, movement]))
    before = positions[(index >= step // 2) & (index < step)].astype(np.float64)
    after = positions[index >= step].astype(np.float64)
    if len(before) == 0 or len(after) == 0:
        raise NotScoredError("the step is too short for the chain to answer")
    start = before.mean(0)
    goal = after[len(after) // 2 :].mean(0) - start
    if np.abs(goal).max() <= LEAST_STEP:
        raise NotScoredError(f"no commanded position moves by more than {LEAST_STEP}")
    progress = (after - start) @ goal / (goal @ goal)
    hop = index[index >= step][np.argmax(progress >= 0.5)]
    return float(hop + 1 - step) * 1000.0 / rate_hz + round(delay_s * rate_hz) * 1000.0 / rate_hz


def held(samples: NDArray[np.float32], n_samples: int) -> NDArray[np.float32]:
    """`n_samples` of a steady state out of a short stretch of it (n, channels): to and fro, without a jump."""
    there_and_back = np.concatenate([samples, samples[::-1]])
    return np.resize(there_and_back, (n_samples, samples.shape[1]))
