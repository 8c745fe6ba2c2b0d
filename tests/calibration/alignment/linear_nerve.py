"""A nerve in a few lines: features that are linear in what the phantom does, without simulating an axon."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from calibration.alignment.lag import LEAD_S
from calibration.front_end import WINDOW_S
from decoder.front_end import Features
from firmware_bridge.hand import N_DOF
from tests.calibration.alignment.two_hands import HOP_SAMPLES, RATE_HZ, TRIAL_S, Cued

N_FEATURES = 30


def nerve(cued: Cued, seed: int = 0, noise: float = 0.5, tells: bool = True) -> Features:
    """Features (k, 30) of a window's mean of the phantom's flexions and extensions LEAD_S later, and noise; of noise
    alone where it does not tell."""
    rng = np.random.default_rng([seed, 5])
    k = round(len(cued.asked) * TRIAL_S * RATE_HZ) // HOP_SAMPLES
    index = HOP_SAMPLES * (np.arange(k) + 1) - 1
    back_s = np.arange(20) / 20 * WINDOW_S
    late = np.zeros(len(cued.asked))
    mean: NDArray[np.float64] = np.mean(
        [cued.positions(cued.phantom, index / RATE_HZ + LEAD_S - s, late) for s in back_s], axis=0
    )
    drive = np.concatenate([mean.clip(min=0), (-mean).clip(min=0)], axis=1)
    mixing = np.random.default_rng(8).normal(size=(2 * N_DOF, N_FEATURES))
    values = (drive @ mixing if tells else 0) + noise * rng.normal(size=(k, N_FEATURES))
    return Features(
        values.astype(np.float32), np.zeros(values.shape, np.bool_), index, np.ones(k, np.float32)
    )


COMPRESS = ("none",) * N_FEATURES
