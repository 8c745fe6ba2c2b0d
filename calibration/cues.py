"""Labels that are cues: each change is moved to where the signal changes.

A cue runs ahead of the person, who reacts some 0.3 s later, sooner where the next cue can be foreseen. Learning
from such labels teaches a decoder to guess; leaving the time after a cue out teaches it to hesitate. So the moment
of each change is estimated: the one at which the signal before is most likely the old posture, and the signal
after it the new one (the maximum-likelihood change point of two known classes; Hinkley, Biometrika 1970).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from calibration.baselines import fit_lda
from calibration.datasets import FeatureStream, Piece, run_edges

EARLIEST_S, LATEST_S = -0.3, 1.0
"""A reaction is looked for this long after the cue, and at most to the middle of either neighbouring label."""
SETTLED_S = 1.0
"""After this long, or half of a shorter label, the person does what the cue says."""
LEAST_LIKELY = 0.02
"""No single hop counts against a posture more than this probability does."""


@dataclass(frozen=True, slots=True)
class Realigned:
    """Labels (k,) with their changes moved, and by how much each was, in seconds, in the order of the changes."""

    label: NDArray[np.int64]
    reaction_s: NDArray[np.float64]


def realigned(stream: FeatureStream, z: NDArray[np.float32], training: Sequence[Piece]) -> Realigned:
    """The labels of a stream with every change within the training pieces moved to where the signal changes.

    `z` (k, f) are the normalised features. Only hops of the training pieces are looked at, or relabelled. A change
    from or to an unlabelled stretch stays. Needs scikit-learn, as `calibration.baselines` does.
    """
    label = stream.label.copy()
    learned = np.zeros(len(stream), np.int64)
    for piece in training:
        learned[piece.start : piece.stop] = 1
    edges = run_edges(stream.label, stream.segment, learned)
    starts, stops = edges[:-1], edges[1:]
    settled_from = starts + np.minimum(stream.hops(SETTLED_S), (stops - starts) // 2)
    settled = np.arange(len(stream)) >= np.repeat(settled_from, stops - starts)
    taught = np.flatnonzero(settled & (learned == 1) & (stream.label >= 0))
    model = fit_lda(z[taught], stream.label[taught])
    if model is None:
        return Realigned(label, np.zeros(0))
    likely = np.full((len(stream), int(stream.label.max()) + 1), LEAST_LIKELY)
    likely[:, model.classes_] = np.maximum(model.predict_proba(z), LEAST_LIKELY)
    np.log(likely, out=likely)
    earliest, latest = -stream.hops(-EARLIEST_S), stream.hops(LATEST_S)
    reactions = []
    for i in range(1, len(starts)):
        change = int(starts[i])
        old, new = int(stream.label[change - 1]), int(stream.label[change])
        together = learned[change - 1] == learned[change] == 1
        if not together or stream.segment[change - 1] != stream.segment[change] or min(old, new) < 0:
            continue
        first = max(change + earliest, (int(starts[i - 1]) + change) // 2)
        last = min(change + latest, (change + int(stops[i])) // 2)
        gained = likely[first:last, old] - likely[first:last, new]
        moved = first + int(np.argmax(np.concatenate(([0.0], np.cumsum(gained)))))
        label[first:moved], label[moved:last] = old, new
        reactions.append((moved - change) * stream.hop_s)
    return Realigned(label, np.array(reactions))
