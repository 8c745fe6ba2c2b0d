"""`paper`: 1-D convolutions and a GRU, 1.6 M parameters for 224 features, as published for the nerve interface."""

from __future__ import annotations

from calibration.networks._conv_gru import StepModule
from calibration.shapes import PAPER

DROPOUT = 0.5


def make(n_features: int, n_outputs: int, n_gestures: int) -> StepModule:
    """A new network with random weights, drawn from torch's generator."""
    return StepModule(PAPER, n_features, n_outputs, n_gestures, DROPOUT)
