"""Views as engines show them, to try pages and words with."""

from __future__ import annotations

from dataclasses import replace

from calibration.view import CalibrationView, FitView, Phase, TrialView

CALIBRATION = CalibrationView(
    phase=Phase.MOVE, kind="mirrored", subject="S001", side="left", trial=3, n_trials=16, round_number=1, n_rounds=2,
    movement="index", pose="", left_s=0.5, phase_s=1.0, target=(0, 1, 0, 0, 0, 0), able=None, phantom=None, gesture="",
    has_poses=False,
    confidence=0.0, masked=(), trials=(), fits=(), advice="", gain=None, gain_of="", lag_ms=None,
    lag_confidence=None, notice="", problem="", files={},
)  # fmt: skip


def calibration(phase: Phase, states: tuple[str, ...] = (), **changes: object) -> CalibrationView:
    """A calibration in that phase, with trials in these states."""
    trials = tuple(TrialView(i, 1, "index", state) for i, state in enumerate(states, start=1))
    return replace(CALIBRATION, phase=phase, trials=trials, **changes)  # type: ignore[arg-type]


__all__ = ["CALIBRATION", "FitView", "calibration"]
