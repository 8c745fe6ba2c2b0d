"""What may happen to a daemon, as one list that a seed gives: the same faults in simulated time and in real time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, slots=True)
class Kind:
    """A fault, and for how many seconds it may last: from `least_s` to `most_s`, each order of magnitude as often."""

    name: str
    least_s: float = 0.0
    most_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Fault:
    """One of a list: it begins `after_s` after the one before is over, and lasts `for_s`. `seed` draws what else there
    is to draw. `seed` and `number` of the list give it again."""

    number: int
    kind: str
    after_s: float
    for_s: float
    seed: int

    def __str__(self) -> str:
        return f"fault {self.number} ({self.kind}, {self.for_s:.3f} s, seed {self.seed})"


IN_SIMULATED_TIME = (
    Kind("source silent", 0.02, 3.0),
    Kind("source unplugged", 0.2, 3.0),
    Kind("source back with another counter", 0.2, 2.0),
    Kind("source burst", 0.03, 3.0),
    Kind("decode stopped", 0.02, 3.0),
    Kind("decode behind", 0.05, 4.0),
    Kind("decode overloaded", 10.5, 14.0),
    Kind("decode killed", 0.5, 3.0),
    Kind("guard stopped", 0.02, 3.0),
    Kind("guard killed", 0.5, 2.0),
    Kind("hand disconnects"),
    Kind("hand away", 0.2, 3.0),
    Kind("hand silent", 0.05, 1.5),
    Kind("hand jitter", 0.5, 2.0),
    Kind("recorder stopped", 0.5, 3.0),
    Kind("recorder killed", 0.1, 1.0),
    Kind("another decoder takes over"),
    Kind("the decoder of before comes back"),
    Kind("wall clock an hour on", 0.1, 0.5),
    Kind("wall clock an hour back", 0.1, 0.5),
)
IN_REAL_TIME = (
    Kind("decode stopped for a moment", 0.15, 1.5),
    Kind("decode stopped", 15.0, 16.0),
    Kind("decode stopped for good"),
    Kind("decode killed"),
    Kind("recorder stopped", 1.0, 5.0),
    Kind("recorder killed"),
    Kind("port stopped", 1.0, 5.0),
    Kind("port killed"),
    Kind("metrics killed"),
    Kind("guard stopped", 0.6, 2.0),
    Kind("guard killed"),
    Kind("hand disconnects"),
    Kind("hand silent", 0.5, 1.2),
    Kind("hand away", 0.5, 2.0),
    Kind("source unplugged", 0.5, 2.0),
    Kind("source stalled", 0.3, 3.0),
    Kind("source reset"),
    Kind("another decoder takes over"),
    Kind("the decoder of before comes back"),
    Kind("configuration read again"),
    Kind("wrong configuration read again"),
    Kind("wall clock an hour on", 1.0, 2.0),
    Kind("wall clock an hour back", 1.0, 2.0),
    Kind("disk full", 2.0, 4.0),
)


def planned(n: int, seed: int, kinds: Sequence[Kind]) -> list[Fault]:
    """`n` faults: every kind as often, give or take one, in any order. The first ones do not depend on `n`."""
    found: list[Fault] = []
    random = np.random.default_rng([seed, len(kinds)])
    while len(found) < n:
        for k in random.permutation(len(kinds)).tolist():
            kind = kinds[k]
            for_s = kind.most_s and float(np.exp(random.uniform(np.log(kind.least_s), np.log(kind.most_s))))
            own = int(random.integers(2**31))
            found.append(Fault(len(found), kind.name, float(random.uniform(0.05, 0.6)), for_s, own))
    return found[:n]
