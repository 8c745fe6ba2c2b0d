"""The 14 time-domain features of a window, per channel, computed in a compiled kernel.

Formulas: Table 1 of Luu et al., Frontiers in Neuroscience 2021 (PMC8260935), for a window x_0 .. x_(N-1);
sgn(v) is 1 where v > 0, else 0. Conventions:

- std is that of the window with ddof 0; logarithms are natural, of max(value, LOG_FLOOR = 1e-12 microvolts);
- the first half is x[:N // 2], the second x[N // 2:], the middle half x[N // 4 : N - N // 4];
- v-order 3 takes the signed cube root; mean removal in zero crossings is that of the window's mean.

| name | formula |
|---|---|
| zero_crossings | sum sgn(-(x_(i-1) - mean) (x_i - mean)) |
| slope_sign_changes | sum sgn(-(x_i - x_(i-1)) (x_(i-1) - x_(i-2))) |
| waveform_length | sum abs(x_i - x_(i-1)) |
| willison_amplitude | sum sgn(abs(x_i - x_(i-1)) - std) |
| mean_absolute | mean abs(x_i) |
| mean_square | mean x_i^2 |
| root_mean_square | sqrt(mean x_i^2) |
| v_order_3 | cbrt(mean x_i^3) |
| log_detector | exp(mean log abs(x_i)) |
| difference_absolute_std | sqrt(sum (x_i - x_(i-1))^2 / (N - 1)) |
| maximum_fractal_length | log sqrt(sum (x_i - x_(i-1))^2) |
| myopulse_rate | sum sgn(abs(x_i) - std) |
| mean_absolute_slope | (sum first half abs - sum second half abs) / (N / 2) |
| weighted_mean_absolute | mean w_i abs(x_i); w = 1 in the middle half, 0.5 outside |
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from decoder.features import FeatureSettings
from decoder.features._grid import WindowFeatures
from decoder.features._time_domain_kernel import (
    CLOSED_ROWS,
    FEATURES,
    LOG_FLOOR,
    OPEN_ROWS,
    SLOTS,
    SPLITS,
    WINDOW_ROWS,
    extract,
)
from decoder.kernels import LANES, lane_groups
from firmware_bridge.errors import NervehandError

__all__ = ["FEATURE_NAMES", "LOG_FLOOR", "TimeDomain", "make"]

FEATURE_NAMES = (
    "zero_crossings",
    "slope_sign_changes",
    "waveform_length",
    "willison_amplitude",
    "mean_absolute",
    "mean_square",
    "root_mean_square",
    "v_order_3",
    "log_detector",
    "difference_absolute_std",
    "maximum_fractal_length",
    "myopulse_rate",
    "mean_absolute_slope",
    "weighted_mean_absolute",
)

SHORTEST_WINDOW = 4


def make(settings: FeatureSettings, channel_names: tuple[str, ...]) -> TimeDomain:
    """The extractor for these channels."""
    return TimeDomain(settings, channel_names)


class TimeDomain(WindowFeatures):
    """A FeatureExtractor of the 14 features, or of those that the settings name."""

    def __init__(self, settings: FeatureSettings, channel_names: tuple[str, ...]) -> None:
        if settings.window_samples < SHORTEST_WINDOW:
            raise NervehandError(
                f"the window is {settings.window_samples} samples: these features need {SHORTEST_WINDOW} or more"
            )
        super().__init__(settings, channel_names, FEATURE_NAMES)
        groups = lane_groups(len(channel_names))
        self._plan = _plan(settings.window_samples, settings.hop_samples)
        slots = int(self._plan[SLOTS])
        self._ring = np.zeros(settings.window_samples * groups * LANES, np.float32)
        self._sums = np.zeros((WINDOW_ROWS + FEATURES + groups * (OPEN_ROWS + slots * CLOSED_ROWS)) * LANES)

    @property
    def _memory(self) -> dict[str, NDArray[np.generic]]:
        return {"ring": self._ring, "sums": self._sums}

    def _fill(
        self,
        conditioned: NDArray[np.float32],
        mask: NDArray[np.bool_],
        first_index: int,
        features: NDArray[np.float32],
        masked: NDArray[np.bool_],
    ) -> None:
        extract(
            conditioned, mask, first_index, self._start, self._plan, self._chosen, self._ring, self._sums,
            self._last_masked, features, masked,
        )  # fmt: skip


def _plan(window: int, hop: int) -> NDArray[np.int64]:
    """How a hop is cut into segments, and at which segments, counted back from its end, a window's quarters begin."""
    marks = [-window, -window + window // 4, -window + window // 2, -(window // 4)]
    splits = sorted({0, *(mark % hop for mark in marks)})
    per_hop = len(splits)
    begins = [(mark // hop) * per_hop + splits.index(mark % hop) for mark in marks]
    # A segment counted back: 0 is the first one after the window, which the next hop begins with.
    plan = [window, hop, per_hop, per_hop - begins[0] + 1, *begins, *splits, hop]
    assert len(plan) == SPLITS + per_hop + 1
    return np.array(plan, np.int64)
