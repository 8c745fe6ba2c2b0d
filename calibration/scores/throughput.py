"""Information throughput of choosing among movements."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from calibration.scores.errors import NotScoredError
from calibration.scores.events import CONFIRM_S, REST, changes, first_held, hops


@dataclass(frozen=True, slots=True)
class Throughput:
    """`n_choices` (N), the share of right selections (P) and the mean seconds that one takes (T)."""

    n_choices: int
    p_right: float
    selection_s: float

    @property
    def bits_per_min(self) -> float:
        return bits_per_selection(self.n_choices, self.p_right) * 60.0 / self.selection_s


def bits_per_selection(n_choices: int, p_right: float) -> float:
    """log2 N + P log2 P + (1 - P) log2((1 - P) / (N - 1)); 0 where P is no better than chance, 1 / N.

    Wolpaw et al., Clinical Neurophysiology 113 (2002) 767-791.
    """
    if n_choices < 2:
        raise NotScoredError("a choice needs two movements")
    if p_right <= 1.0 / n_choices:
        return 0.0
    bits = math.log2(n_choices) + p_right * math.log2(p_right)
    if p_right < 1.0:
        bits += (1.0 - p_right) * math.log2((1.0 - p_right) / (n_choices - 1))
    return bits


def throughput(
    label: NDArray[np.int64],
    gesture: NDArray[np.int64],
    piece: NDArray[np.int64],
    scored: NDArray[np.bool_],
    hop_s: float,
    n_choices: int,
) -> Throughput:
    """Each true onset is one selection: the first gesture other than rest that holds for 100 ms.

    It takes from the onset to the end of these 100 ms; where nothing is selected it is wrong and takes the
    whole movement. The person's own reaction time is not in it.
    """
    if n_choices < 2:
        raise NotScoredError("a choice needs two movements")
    confirm = hops(CONFIRM_S, hop_s)
    right, taken = [], []
    for start, stop in changes(label, piece, scored):
        if label[start] == REST:
            continue
        said = gesture[start:stop]
        starts = [
            (hop, int(g))
            for g in np.unique(said[said > REST])
            if (hop := first_held(said == g, confirm)) is not None
        ]
        if starts:
            hop, chosen = min(starts)
            right.append(chosen == label[start])
            taken.append((hop + confirm) * hop_s)
        else:
            right.append(False)
            taken.append((stop - start) * hop_s)
    if not right:
        raise NotScoredError("no true onset inside a trial")
    return Throughput(n_choices, float(np.mean(right)), float(np.mean(taken)))
