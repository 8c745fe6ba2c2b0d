"""The digital lines of a front-end, as a session keeps them: the samples at which they change."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from firmware_bridge.errors import NervehandError


@dataclass(frozen=True, slots=True)
class DigitalLines:
    """`lines` (k,) uint32, a bit per line, hold from each `sample_index` (k,) int64 on; before it none is high."""

    sample_index: NDArray[np.int64]
    lines: NDArray[np.uint32]

    def __post_init__(self) -> None:
        if self.sample_index.shape != self.lines.shape or self.lines.ndim != 1:
            raise NervehandError(
                f"digital lines change at {self.sample_index.shape} samples to {self.lines.shape} values: give one each"
            )
        if bool(np.any(np.diff(self.sample_index) <= 0)):
            raise NervehandError("digital lines change at samples that are out of order: sort them")

    def at(self, first_sample: int, n: int) -> NDArray[np.uint32]:
        """The lines (n,) of samples first_sample up to and without first_sample + n."""
        starts = np.searchsorted(self.sample_index, [first_sample, first_sample + n], "right")
        before, after = int(starts[0]), int(starts[1])
        held = np.zeros(1, np.uint32) if before == 0 else self.lines[before - 1 : before]
        edges = np.concatenate(([0], self.sample_index[before:after] - first_sample, [n]))
        return np.repeat(np.concatenate((held, self.lines[before:after])), np.diff(edges)).astype(np.uint32)


def changes(
    digital: NDArray[np.uint32], first_sample: int, before: int | None
) -> tuple[NDArray[np.int64], NDArray[np.uint32]]:
    """Where the lines (n,) of consecutive samples change, and to what; `before`: what they last were, None unknown."""
    changed = np.ones(len(digital), np.bool_)
    changed[1:] = digital[1:] != digital[:-1]
    if len(digital) and before is not None:
        changed[0] = int(digital[0]) != before
    rows = np.flatnonzero(changed)
    return rows.astype(np.int64) + first_sample, digital[rows]
