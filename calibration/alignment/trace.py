"""What the able hand did at any instant of the nerve's clock, and where nobody knows."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from firmware_bridge.errors import NervehandError
from firmware_bridge.hand import N_DOF

LONGEST_BRIDGE_S = 0.1
"""Between two readings: three frames of a camera. A finger does not move there and back within less."""


@dataclass(frozen=True, slots=True)
class AbleTrace:
    """m readings at ascending instants `at` (m,), absolute sample indices that need not be whole, and positions (m, 6).

    `measured` (6,): a column that no reading ever told is 0 throughout, and counts for nothing.
    """

    at: NDArray[np.float64]
    positions: NDArray[np.float64]
    measured: NDArray[np.bool_]
    rate_hz: float

    def __len__(self) -> int:
        return len(self.at)

    def on(self, samples: NDArray[np.floating]) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        """Positions (n, 6) at instants (n,), interpolated or held, never NaN, and whether each is known (n,): whether
        readings lie on both sides, LONGEST_BRIDGE_S apart at most."""
        if not len(self):
            return np.zeros((len(samples), N_DOF)), np.zeros(len(samples), np.bool_)
        positions = np.stack([np.interp(samples, self.at, column) for column in self.positions.T], axis=1)
        after = np.searchsorted(self.at, samples)
        before, after = np.maximum(after - 1, 0), np.minimum(after, len(self) - 1)
        apart = self.at[after] - self.at[before]
        inside = (samples >= self.at[0]) & (samples <= self.at[-1])
        return positions, inside & (apart <= LONGEST_BRIDGE_S * self.rate_hz)


def able_trace(at: NDArray[np.floating], positions: NDArray[np.floating], rate_hz: float) -> AbleTrace:
    """The trace of readings at instants (m,) in samples; positions (m, 6), NaN where not measured.

    A reading that misses a degree of freedom which others told is left out; so is one at an instant that is not after
    the one before it, as where a device's clock began anew. Raises NervehandError for arrays that do not fit together.
    """
    if positions.ndim != 2 or positions.shape != (len(at), N_DOF):
        raise NervehandError(
            f"{len(at)} instants and positions of shape {positions.shape} do not belong together: "
            f"give ({len(at)}, {N_DOF})"
        )
    there = np.isfinite(positions)
    measured = there.any(0)
    rows = np.flatnonzero((there | ~measured).all(1) & measured.any() & np.isfinite(at))
    if len(rows):
        latest = np.maximum.accumulate(at[rows])
        rows = rows[np.concatenate([[True], at[rows][1:] > latest[:-1]])]
    kept = np.where(measured, positions[rows], 0.0)
    return AbleTrace(np.asarray(at[rows], np.float64), kept.astype(np.float64), measured, rate_hz)
