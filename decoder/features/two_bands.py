"""Nerve and muscle of one contact: the 14 time-domain features of the spikes' band, and the power below it.

An intrafascicular contact hears axons above some 500 Hz and the muscles around the nerve below; the radial nerve, which
no contact may be in, is heard through the muscles that it moves only. Both come from one conditioned stream, whose band
begins low:

- the *low band* is the mean of each `low_samples` samples, on the absolute grid: its value minus the one
  `mains_samples` of these means earlier, a whole number of periods of the mains, over sqrt(2). The mains and all of
  its harmonics are equal then and vanish, whatever their phases, without a filter that rings; what is random keeps its
  power;
- the *high band* is a sample minus the mean of the `low_samples // 4` samples on either side and itself, so much
  later: 1 minus a sinc, 3 dB down at 0.75 of the rate over 2 (low_samples // 4) + 1 (680 Hz at 10 kHz and 20 samples).

| name | value over the window |
|---|---|
| the names of `decoder.features.time_domain` | as there, of the high band |
| low_square | mean square of the low band's values that end in the window |
| low_common | the same of the mean over the channels of the group that are not masked |

Noise is each contact's own and a muscle is heard by all contacts of a nerve, so their mean hears it best.

A channel is masked as far back as the window, the mean and the mains' periods reach.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from decoder.carried import Carried, part, under
from decoder.features import FeatureSettings, time_domain
from decoder.features._grid import WindowFeatures
from decoder.kernels import LANES, compiled
from firmware_bridge.errors import NervehandError

__all__ = ["FEATURE_NAMES", "TwoBands", "make"]

HALF_POWER = 0.5**0.5
"""A difference of two values of one variance has twice that."""
LOW, COMMON = "low_square", "low_common"
FEATURE_NAMES = (*time_domain.FEATURE_NAMES, LOW, COMMON)


def make(settings: FeatureSettings, channel_names: tuple[str, ...]) -> TwoBands:
    """The extractor for these channels."""
    return TwoBands(settings, channel_names)


class TwoBands(WindowFeatures):
    """A FeatureExtractor of the 14 features of the high band and the low band's power, or of those that are named."""

    def __init__(self, settings: FeatureSettings, channel_names: tuple[str, ...]) -> None:
        super().__init__(settings, channel_names, FEATURE_NAMES)
        low, periods = settings.low_samples, settings.mains_samples
        if low < 1:
            raise NervehandError("features of two bands need low_samples: give 1 or more")
        if settings.window_samples < (periods + 2) * low:
            raise NervehandError(
                f"the window is {settings.window_samples} samples: with {low} samples to a value of the low band and "
                f"{periods} values of it to the mains, give {(periods + 2) * low} or more"
            )
        n_channels, side = len(channel_names), max(1, low // 4)
        self._high_columns = np.flatnonzero(self._chosen < len(time_domain.FEATURE_NAMES))
        self._low_columns = np.array(
            [
                np.append(np.flatnonzero(self._chosen == FEATURE_NAMES.index(name)), -1)[0]
                for name in (LOW, COMMON)
            ]
        )
        high_names = tuple(FEATURE_NAMES[i] for i in self._chosen[self._high_columns])
        # Named none it would make all: what is not asked for is made nevertheless, and left out.
        self._high = time_domain.make(
            FeatureSettings(settings.window_samples, settings.hop_samples, high_names), channel_names
        )
        self._reach = settings.window_samples + max(2 * side, (periods + 1) * low)
        self._past = np.zeros((2 * side, n_channels), np.float32)
        self._sum = np.zeros(n_channels)
        self._means = np.zeros((max(periods, 1), n_channels))
        groups = np.array(settings.groups or (0,) * n_channels, np.int64)
        if len(groups) != n_channels:
            raise NervehandError(f"{len(groups)} groups for {n_channels} channels: give one each, or none")
        self._groups = np.unique(groups, return_inverse=True)[1].astype(np.int64)
        values = settings.window_samples // low + 2
        self._squares = np.zeros((values, n_channels))
        self._common = np.zeros((values, int(self._groups.max()) + 1))

    def reset(self) -> None:
        """Forget the past: the next block may begin at any index, and the first window begins with it or later."""
        super().reset()
        self._high.reset()
        self._past[:] = 0.0

    def carried(self) -> Carried:
        """Copies of all that it carries from block to block."""
        return {**super().carried(), **under("high", self._high.carried())}

    def restore(self, carried: Carried) -> None:
        """Go on from there."""
        self._high.restore(part("high", carried))
        super().restore(carried)

    @property
    def _memory(self) -> dict[str, NDArray[np.generic]]:
        return {
            "past": self._past, "sum": self._sum, "means": self._means, "squares": self._squares,
            "common": self._common,
        }  # fmt: skip

    def _fill(
        self,
        conditioned: NDArray[np.float32],
        mask: NDArray[np.bool_],
        first_index: int,
        features: NDArray[np.float32],
        masked: NDArray[np.bool_],
    ) -> None:
        n, side = len(conditioned), len(self._past) // 2
        joined = np.concatenate([self._past, conditioned])
        self._past[:] = joined[n:]
        high = np.empty_like(conditioned)
        _high_band(joined, 2 * side + 1, high)
        found = self._high.process(high, mask, first_index).features
        _low_band(
            conditioned, mask, first_index, self._start, self.settings.low_samples, self.settings.mains_samples,
            self.settings.window_samples, self.settings.hop_samples, self._reach, self._low_columns,
            self._high_columns, found, self._groups, self._sum, self._means, self._squares, self._common,
            self._last_masked, features, masked,
        )  # fmt: skip


@compiled
def _high_band(joined: NDArray[np.float32], width: int, high: NDArray[np.float32]) -> None:
    """Each sample of `joined` (width - 1 + n, c) minus the mean of the `width` about it, to `high` (n, c)."""
    n, n_channels = high.shape
    middle, part = width // 2, np.float32(1.0 / width)
    total = np.zeros(LANES, np.float32)
    for first in range(0, n_channels, LANES):
        lanes = min(LANES, n_channels - first)
        for t in range(n):
            if lanes == LANES:
                oldest = joined[t, first : first + LANES]
                for c in range(LANES):
                    total[c] = oldest[c]
                for k in range(1, width):
                    row = joined[t + k, first : first + LANES]
                    for c in range(LANES):
                        total[c] += row[c]
            else:
                for c in range(lanes):
                    total[c] = joined[t, first + c]
                for k in range(1, width):
                    for c in range(lanes):
                        total[c] += joined[t + k, first + c]
            for c in range(lanes):
                high[t, first + c] = joined[t + middle, first + c] - total[c] * part


@compiled
def _low_band(
    conditioned: NDArray[np.float32],
    mask: NDArray[np.bool_],
    first_index: int,
    start: int,
    low: int,
    periods: int,
    window: int,
    hop: int,
    reach: int,
    columns: NDArray[np.int64],
    high_columns: NDArray[np.int64],
    of_high: NDArray[np.float32],
    groups: NDArray[np.int64],
    sums: NDArray[np.float64],
    means: NDArray[np.float64],
    squares: NDArray[np.float64],
    common: NDArray[np.float64],
    last_masked: NDArray[np.int64],
    features: NDArray[np.float32],
    masked: NDArray[np.bool_],
) -> None:
    """Fill the `columns` of each channel that are of the low band (-1: not asked for), those that are `of_high`, and
    every column's mask.

    `sums` (c,) hold the value under way; `means` the last `periods` values, `squares` and `common` (groups) the last
    squares, each in the row of its number. Of the values that begin before `start` there is none, and no square of one
    without a partner.
    """
    n, n_channels = conditioned.shape
    n_groups = common.shape[1]
    first_value = -(-start // low)
    own_column, common_column = columns[0], columns[1]
    n_high, width = len(high_columns), features.shape[1] // n_channels
    n_made = of_high.shape[1] // n_channels  # more than n_high where none is asked for
    total, heard, power = np.zeros(n_groups), np.zeros(n_groups), np.zeros(max(n_channels, n_groups))
    emitted = 0
    for t in range(n):
        index = first_index + t
        row = conditioned[t]
        if index % low == 0:
            for c in range(n_channels):
                sums[c] = row[c]
        else:
            for c in range(n_channels):
                sums[c] += row[c]
        any_masked = False
        for c in range(n_channels):
            any_masked |= mask[t, c]
        if any_masked:
            for c in range(n_channels):
                if mask[t, c]:
                    last_masked[c] = index
        if (index + 1) % low == 0:
            value = index // low
            own, square = means[value % len(means)], squares[value % len(squares)]
            for g in range(n_groups):
                total[g] = heard[g] = 0.0
            for c in range(n_channels):
                mean = sums[c] / low
                apart = mean
                if periods > 0:
                    apart = (mean - own[c]) * HALF_POWER
                    own[c] = mean
                square[c] = apart * apart
                if last_masked[c] <= index - (periods + 1) * low:
                    total[groups[c]] += apart
                    heard[groups[c]] += 1.0
            for g in range(n_groups):
                mean = total[g] / max(heard[g], 1.0)
                common[value % len(common), g] = mean * mean
        if (index + 1) % hop != 0 or index + 1 - start < window:
            continue
        # The values that lie within the window whole.
        oldest = max(-(-(index + 1 - window) // low), first_value + periods)
        newest = (index + 1) // low
        for c in range(n_channels):
            gone = last_masked[c] > index - reach
            for k in range(width):
                masked[emitted, c * width + k] = gone
            for k in range(n_high):
                features[emitted, c * width + high_columns[k]] = of_high[emitted, c * n_made + k]
        if own_column >= 0:
            power[:] = 0.0
            for value in range(oldest, newest):
                square = squares[value % len(squares)]
                for c in range(n_channels):
                    power[c] += square[c]
            for c in range(n_channels):
                features[emitted, c * width + own_column] = power[c] / (newest - oldest)
        if common_column >= 0:
            power[:] = 0.0
            for value in range(oldest, newest):
                square = common[value % len(common)]
                for g in range(n_groups):
                    power[g] += square[g]
            for c in range(n_channels):
                features[emitted, c * width + common_column] = power[groups[c]] / (newest - oldest)
        emitted += 1
