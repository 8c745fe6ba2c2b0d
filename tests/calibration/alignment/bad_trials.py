"""Ten trials of a hundred that must not teach: which, and how they go wrong."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from firmware_bridge.nerve.subject import SCALE_UV
from tests.calibration.alignment.two_hands import RATE_HZ, TRIAL_S, Cued

KINDS = (
    "wrong finger", "wrong finger", "wrong finger",
    "phantom still", "phantom still", "both still",
    "glove frozen", "glove frozen",
    "channels railed", "channels noisy",
)  # fmt: skip
OTHER_KINDS = ("channels flat", "channels quiet")
"""Instead of the last two, every other time."""
FINGERS = ("thumb", "index", "middle", "ring", "little")


@dataclass(frozen=True, slots=True)
class Planted:
    """A plan with bad trials, by number from 0."""

    cued: Cued
    kinds: Mapping[int, str]

    @property
    def frozen(self) -> dict[int, str]:
        return {i: "frozen" for i, kind in self.kinds.items() if kind == "glove frozen"}


def planted(cued: Cued, seed: int) -> Planted:
    """Ten bad trials anywhere but in the first repetition, in which nobody can know yet; wrong fingers are fingers."""
    rng = np.random.default_rng([seed, 3])
    kinds = KINDS if seed % 2 == 0 else (*KINDS[:-2], *OTHER_KINDS)
    n = len(cued.asked)
    free = set(range(len(set(cued.asked)), n))
    phantom, able, found = list(cued.phantom), list(cued.able), {}
    for kind in kinds:
        fits = [i for i in sorted(free) if kind != "wrong finger" or cued.asked[i] in FINGERS]
        i = int(rng.choice(fits))
        free.remove(i)
        found[i] = kind
        if kind == "wrong finger":
            phantom[i] = str(rng.choice([name for name in FINGERS if name != cued.asked[i]]))
        if kind in ("phantom still", "both still"):
            phantom[i] = None
        if kind == "both still":
            able[i] = None
    return Planted(replace(cued, phantom=tuple(phantom), able=tuple(able)), found)


def spoilt(counts: NDArray[np.int16], bad: Planted, seed: int) -> NDArray[np.int16]:
    """A copy in which half of the channels fail for the length of the trials that say so."""
    rng = np.random.default_rng([seed, 4])
    counts = counts.copy()
    for trial, kind in sorted(bad.kinds.items()):
        if not kind.startswith("channels"):
            continue
        rows = slice(round(trial * TRIAL_S * RATE_HZ), round((trial + 1) * TRIAL_S * RATE_HZ))
        n = rows.stop - rows.start
        for channel in rng.permutation(counts.shape[1])[: counts.shape[1] // 2]:
            match kind:
                case "channels railed":
                    own = np.full(n, 32767)
                case "channels flat":
                    own = np.full(n, counts[rows.start, channel])
                case "channels noisy":  # 200 microvolts, ten times the nerve
                    own = rng.normal(0, 200 / SCALE_UV, n)
                case _:  # a contact that broke off: the amplifier's own 4 microvolts
                    own = rng.normal(0, 4 / SCALE_UV, n)
            counts[rows, channel] = np.clip(np.rint(own), -32768, 32767)
    return counts
