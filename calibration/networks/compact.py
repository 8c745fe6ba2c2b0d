"""`compact`: at most 0.45 M weights for any number of features, which stay in a core's cache from hop to hop."""

from __future__ import annotations

from calibration.networks._conv_gru import StepModule
from calibration.shapes import COMPACT

DROPOUT = 0.35


def make(n_features: int, n_outputs: int, n_gestures: int) -> StepModule:
    """A new network with random weights, drawn from torch's generator."""
    return StepModule(COMPACT, n_features, n_outputs, n_gestures, DROPOUT)
