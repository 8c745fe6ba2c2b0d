"""Which channel speaks for which part of the hand."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from calibration.datasets import FeatureStream, Piece, in_order
from calibration.report.findings import TuningMap
from calibration.running import reference_of
from calibration.scores.dof import states
from calibration.scores.events import steady
from decoder import features
from decoder.bundle import Bundle
from decoder.conditioning import conditioned_names
from firmware_bridge.hand import DOF_NAMES

SPEAKS = 0.5
"""From here on a channel speaks clearly: it is louder in three of four pairs of a moment of the motion and another."""

_LEVELS = ("root_mean_square", "mean_absolute", "waveform_length", "root", "mean")
_MOST_HOPS = 6000


def tuning_map(bundle: Bundle, stream: FeatureStream, used: list[Piece]) -> TuningMap | None:
    """The map over the steady hops of the pieces in `used`; None where no motion or no level is known.

    Each movement without the motion, and rest, weighs the same, however long it was held.
    """
    columns, channels = _level_columns(bundle)
    if not columns or not used:
        return None
    order = in_order(used, 0)
    reference = reference_of(stream, order, np.zeros_like(order.piece), bundle.position_map)
    if reference.positions is None:
        return None
    keep = steady(reference.label, reference.stretch, reference.hop_s)
    keep &= np.isfinite(reference.positions).all(1)
    rows = np.flatnonzero(keep)
    rows = rows[:: max(1, -(-len(rows) // _MOST_HOPS))]
    if not len(rows):
        return None
    level = stream.features[order.rows[rows]][:, columns]
    masked = stream.masked[order.rows[rows]][:, columns]
    state, label = states(reference.positions[rows]), reference.label[rows]
    names, signs, values = [], [], []
    for dof, name in enumerate(DOF_NAMES):
        for sign in (1, -1):
            motion, other = state[:, dof] == sign, state[:, dof] == 0
            if not motion.any() or not other.any():
                continue
            names.append(name)
            signs.append(sign)
            values.append(
                tuple(
                    _contrast(level[:, c], ~masked[:, c], motion, other, label) for c in range(len(channels))
                )
            )
    return TuningMap(tuple(names), tuple(signs), channels, tuple(values)) if names else None


def best_channels(tuning: TuningMap, row: int, most: int = 2) -> tuple[str, ...]:
    """The channels that speak clearly for a row, louder or quieter, the clearest first."""
    known = [
        (abs(value), name)
        for name, value in zip(tuning.channels, tuning.values[row], strict=True)
        if value is not None and abs(value) >= SPEAKS
    ]
    return tuple(name for _, name in sorted(known, key=lambda one: -one[0])[:most])


def _level_columns(bundle: Bundle) -> tuple[list[int], tuple[str, ...]]:
    """For each channel that the decoder sees, the column of its level."""
    m = bundle.manifest
    seen = conditioned_names(m.stream.channel_names, m.conditioning.rereference)
    names = features.load(m.features.set).make(m.features.settings, seen).names
    kinds = [name.rsplit("/", 1)[1] for name in names]
    level = next((kind for kind in _LEVELS if kind in kinds), None)
    if level is None:
        return [], ()
    return [i for i, kind in enumerate(kinds) if kind == level], seen


def _contrast(
    level: NDArray[np.floating],
    there: NDArray[np.bool_],
    motion: NDArray[np.bool_],
    other: NDArray[np.bool_],
    label: NDArray[np.int64],
) -> float | None:
    """2 AUC - 1 of `motion` against `other`, each label's hops weighing as much as each other's; ties count half."""
    motion, other = motion & there, other & there
    if not motion.any() or not other.any():
        return None
    _, place = np.unique(level, return_inverse=True)
    with_motion = np.bincount(place, _weights(motion, label))
    without = np.bincount(place, _weights(other, label))
    below = np.cumsum(without) - without / 2.0
    return float(np.clip(2.0 * (with_motion @ below) - 1.0, -1.0, 1.0))


def _weights(chosen: NDArray[np.bool_], label: NDArray[np.int64]) -> NDArray[np.float64]:
    """(n,) summing to 1, 0 where not chosen, equal sums for each label that is."""
    kinds, kind = np.unique(label, return_inverse=True)
    count = np.bincount(kind[chosen], minlength=len(kinds))
    weights = np.where(chosen, 1.0 / np.maximum(count, 1)[kind], 0.0)
    normal: NDArray[np.float64] = weights / weights.sum()
    return normal
