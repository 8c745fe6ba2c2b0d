"""What a live run shows of itself: what its samples look like, and the view that its port offers (docs/port.md)."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from decoder.bundle import Bundle
from decoder.shadow import ShadowState
from firmware_bridge.adjustments import Adjustments
from firmware_bridge.hand import DOF_NAMES
from firmware_bridge.plain import to_plain
from firmware_bridge.stream import SignalBlock, StreamInfo
from nervehand.screen import MOST_CHANNELS, Snapshot

BINS = 16
"""Into so many parts a look is cut, each with its least and its greatest sample."""
_HISTORY = 24


class RecentSamples:
    """The samples since the last look, and the levels of those before."""

    def __init__(self, info: StreamInfo) -> None:
        self.low_uv = self.high_uv = np.zeros((0, min(info.n_channels, MOST_CHANNELS)))
        """Least and greatest of each part of the last look, (parts, channels), oldest first."""
        self._is_envelope = info.kind == "envelope"
        self._levels: deque[NDArray[np.float64]] = deque(maxlen=_HISTORY)
        self._blocks: list[NDArray[np.generic]] = []

    def __len__(self) -> int:
        """How many looks there were, of those that are remembered."""
        return len(self._levels)

    def add(self, block: SignalBlock) -> None:
        """A block that has come."""
        self._blocks.append(block.samples)

    def look(self, scale_uv: float) -> None:
        """At what has come since the last time, which must be something."""
        recent = np.concatenate(self._blocks).astype(np.float64) * scale_uv
        self._blocks.clear()
        self._levels.append(recent.mean(0) if self._is_envelope else recent.std(0))
        shown = recent[:, :MOST_CHANNELS]
        starts = np.unique(np.arange(BINS) * len(shown) // BINS)
        self.low_uv = np.minimum.reduceat(shown, starts)
        self.high_uv = np.maximum.reduceat(shown, starts)

    @property
    def levels_uv(self) -> NDArray[np.float64]:
        """R.m.s. (of an envelope, the mean) of each look and shown channel, oldest first; 0 where there is none."""
        return np.nan_to_num(np.array(self._levels)[:, :MOST_CHANNELS])


def view_of(
    snapshot: Snapshot,
    recent: RecentSamples,
    sample_index: int,
    info: StreamInfo,
    bundle: Bundle,
    probabilities: Sequence[float],
    adjustments: Adjustments | None,
    shadows: Sequence[ShadowState],
) -> dict[str, object]:
    """All that the snapshot has, and more: plain JSON, None where something is not measured."""
    plain = to_plain(snapshot)
    assert isinstance(plain, dict)
    return plain | {
        "shown": [_finite(position, 4) for position in snapshot.shown],
        "wanted": [_finite(position, 4) for position in snapshot.wanted],
        "probability": _finite(snapshot.probability, 4),
        "dof_names": list(DOF_NAMES),
        "sample_index": sample_index,
        "rate_hz": info.rate_hz,
        "low_uv": _columns(recent.low_uv),
        "high_uv": _columns(recent.high_uv),
        "gestures": list(bundle.manifest.gestures),
        "probabilities": [_finite(probability, 4) for probability in probabilities],
        "bundle": bundle.sha256,
        "adjustments": None if adjustments is None else without_infinity(to_plain(adjustments)),
        "shadow": to_plain(list(shadows)),
    }


def _columns(parts: NDArray[np.float64]) -> list[list[float]]:
    """One list for each channel, to a tenth of a microvolt."""
    columns: list[list[float]] = np.round(np.nan_to_num(parts.T), 1).tolist()
    return columns


def _finite(value: float, digits: int) -> float | None:
    return round(float(value), digits) if np.isfinite(value) else None


def without_infinity(plain: object) -> object:
    """Plain values as JSON has them: an adjustment that limits nothing is infinite, which it does not have: None."""
    if isinstance(plain, dict):
        return {name: without_infinity(one) for name, one in plain.items()}
    if isinstance(plain, list):
        return [without_infinity(one) for one in plain]
    return None if isinstance(plain, float) and not np.isfinite(plain) else plain
