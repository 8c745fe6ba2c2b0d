"""The first look at a sample: is the channel alive?

Judged on raw samples, before a filter hides a railed or drifting channel and before re-referencing spreads it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from decoder.kernels import LANES, compiled, lane_groups
from firmware_bridge.errors import NervehandError, StreamMismatchError
from firmware_bridge.stream import SignalBlock, StreamInfo, StreamKind

INT16_LIMIT = 32767.0
MOST_SAMPLES = 1 << 24
"""Counters are float32 beside the last value; they are exact up to here and stop there."""


@dataclass(frozen=True, slots=True)
class HealthSettings:
    """When a channel is masked, and for how long.

    - not finite: the sample is masked at once;
    - railed: abs(sample) >= `rail_fraction` of the ADC's full scale, an int16 at either limit, or
      abs(sample) >= `implausible_uv` (no biopotential amplifier delivers it): masked at once;
    - flat: exactly the same value for `flat_s` seconds and at least `flat_samples` samples: masked from the
      sample that completes that time until the value changes. `flat_s` None: not judged;
    - any of these keeps the channel masked until it has been clean for `clean_s` seconds on end.
    """

    rail_fraction: float = 0.999
    implausible_uv: float = 1e7
    flat_s: float | None = 0.25
    flat_samples: int = 64
    clean_s: float = 0.05

    def __post_init__(self) -> None:
        if not 0 < self.rail_fraction <= 1:
            raise NervehandError(
                f"rail_fraction is {self.rail_fraction}: give a fraction of full scale in (0, 1]"
            )
        if not self.implausible_uv > 0:
            raise NervehandError(f"implausible_uv is {self.implausible_uv}: give microvolts above 0")
        if self.flat_s is not None and not self.flat_s > 0:
            raise NervehandError(f"flat_s is {self.flat_s}: give seconds above 0, or None to not judge it")
        if self.flat_samples < 2:
            raise NervehandError(f"flat_samples is {self.flat_samples}: give at least 2")
        if not self.clean_s >= 0:
            raise NervehandError(f"clean_s is {self.clean_s}: give seconds, 0 or more")


def default_health(kind: StreamKind) -> HealthSettings:
    """The settings for a kind of stream: a quiet envelope may rightly stay constant, so flatness is not judged."""
    return HealthSettings(flat_s=None) if kind == "envelope" else HealthSettings()


@dataclass(frozen=True, slots=True)
class HealthyBlock:
    """Judged samples: `samples` (n, c) float32 in microvolts, 0 where masked; `mask` (n, c) bool, True = masked."""

    samples: NDArray[np.float32]
    mask: NDArray[np.bool_]
    first_sample: int


class ChannelHealth:
    """Judges every sample of every channel, causally; the answer does not depend on how blocks are cut.

    `settings` None takes `default_health(info.kind)`. The arrays that come back are new at each call.
    """

    def __init__(self, info: StreamInfo, settings: HealthSettings | None = None) -> None:
        self.settings = default_health(info.kind) if settings is None else settings
        self._n_channels = info.n_channels
        limit = self.settings.implausible_uv
        if info.full_scale_uv is not None:
            limit = min(limit, self.settings.rail_fraction * info.full_scale_uv)
        self._limit = np.float32(limit)
        flat_s = self.settings.flat_s
        flat = np.inf if flat_s is None else max(self.settings.flat_samples, round(flat_s * info.rate_hz))
        clean = round(self.settings.clean_s * info.rate_hz)
        if (np.isfinite(flat) and flat > MOST_SAMPLES) or clean > MOST_SAMPLES:
            raise NervehandError(
                f"flat_s {flat_s} or clean_s {self.settings.clean_s} at {info.rate_hz} Hz is more than"
                f" {MOST_SAMPLES} samples: shorten it"
            )
        self._flat_repeats = np.float32(flat - 1)
        self._hold = np.float32(clean + 1)
        self._state = np.empty(lane_groups(self._n_channels) * STATE_ROWS * LANES, np.float32)
        self.reset()

    def reset(self) -> None:
        """Forget the past: every channel begins unmasked."""
        state = self._state.reshape(-1, STATE_ROWS, LANES)
        state[:] = 0.0
        state[:, LAST] = np.nan

    def process(self, block: SignalBlock) -> HealthyBlock:
        """Judge a block; raises where it has another channel count, sample type or shape than the stream's."""
        raw: NDArray[np.float32] | NDArray[np.float64] | NDArray[np.int16] = block.samples
        if raw.ndim != 2 or raw.shape[1] != self._n_channels:
            raise StreamMismatchError(
                f"a block of shape {raw.shape} came from a stream of {self._n_channels} channels:"
                f" blocks are (samples, {self._n_channels})"
            )
        if not raw.flags.c_contiguous:
            raw = raw.copy()
        scale, limit = np.float32(1.0), self._limit
        if raw.dtype == np.int16:
            scale = np.float32(block.scale_uv)
            if not (np.isfinite(scale) and scale > 0):
                raise NervehandError(f"scale_uv is {block.scale_uv}: give microvolts per count above 0")
            limit = min(limit, np.float32(INT16_LIMIT) * scale)
        elif raw.dtype != np.float32 and raw.dtype != np.float64:
            raise NervehandError(f"samples are {raw.dtype}: give float32, float64 or int16")
        samples = np.empty(raw.shape, np.float32)
        mask = np.empty(raw.shape, np.bool_)
        _judge(raw, scale, limit, self._flat_repeats, self._hold, self._state, samples, mask)
        return HealthyBlock(samples, mask, block.first_sample)


LAST, REPEATS, HOLD, STATE_ROWS = 0, 1, 2, 3


@compiled
def _judge(
    raw: NDArray[np.float32] | NDArray[np.float64] | NDArray[np.int16],
    scale: np.float32,
    limit: np.float32,
    flat_repeats: np.float32,
    hold: np.float32,
    state: NDArray[np.float32],
    samples: NDArray[np.float32],
    mask: NDArray[np.bool_],
) -> None:
    """State per group of LANES: the last value, how often it came again, samples for which the mask still holds."""
    one, zero = np.float32(1.0), np.float32(0.0)
    n, n_channels = raw.shape
    for t in range(n):
        for first in range(0, n_channels, LANES):
            own = state[first * STATE_ROWS : (first + LANES) * STATE_ROWS]
            row, clean, masked = raw[t, first:], samples[t, first:], mask[t, first:]
            # The same twice: over a constant number of channels the loop becomes vector instructions.
            if first + LANES <= n_channels:
                for c in range(LANES):
                    value = np.float32(row[c]) * scale
                    same = value == own[LAST * LANES + c]
                    repeats = min(own[REPEATS * LANES + c] + one, flat_repeats) if same else zero
                    alive = abs(value) < limit and repeats < flat_repeats
                    holding = max(own[HOLD * LANES + c] - one, zero) if alive else hold
                    own[LAST * LANES + c] = value
                    own[REPEATS * LANES + c] = repeats
                    own[HOLD * LANES + c] = holding
                    masked[c] = holding > zero
                    clean[c] = zero if holding > zero else value
            else:
                for c in range(n_channels - first):
                    value = np.float32(row[c]) * scale
                    same = value == own[LAST * LANES + c]
                    repeats = min(own[REPEATS * LANES + c] + one, flat_repeats) if same else zero
                    alive = abs(value) < limit and repeats < flat_repeats
                    holding = max(own[HOLD * LANES + c] - one, zero) if alive else hold
                    own[LAST * LANES + c] = value
                    own[REPEATS * LANES + c] = repeats
                    own[HOLD * LANES + c] = holding
                    masked[c] = holding > zero
                    clean[c] = zero if holding > zero else value
