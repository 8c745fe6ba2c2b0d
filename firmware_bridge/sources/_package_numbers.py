"""Package numbers that wrap: which samples follow one another, which are missing, which came again."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray


class PackageCounter:
    """A counter in each sample that goes on by `step` and begins again at `period`.

    A number up to an eighth of a turn back is a sample that came again; any other one that is not next stands
    after a loss, of less than a turn.
    """

    def __init__(self, period: int, step: int = 1) -> None:
        self._turn, self._step = period // step, step
        self._last: int | None = None

    def runs(
        self, numbers: NDArray[np.float64], waited: float | None = None
    ) -> Iterator[tuple[int, int, int]]:
        """(begin, end, lost before it) of the rows that follow one another; rows between them came again.

        `waited`, in samples by the clock, says that some may have been thrown away before the first row: then the
        whole turns that fit that time best are lost, too, and none is taken to have come again.
        """
        if not numbers.size:
            return
        places = (np.floor(numbers / self._step) % self._turn).astype(np.int64)
        if self._last is None:
            self._last, waited = int(places[0]) - 1, None
        uneven = np.flatnonzero(np.diff(places) % self._turn != 1) + 1
        for begin, end in zip([0, *uneven.tolist()], [*uneven.tolist(), places.size], strict=True):
            ahead = (int(places[begin]) - self._last) % self._turn
            if begin == 0 and waited is not None:
                ahead = ahead or self._turn
                ahead += self._turn * max(0, round((waited - ahead) / self._turn))
            elif ahead == 0 or ahead > self._turn - self._turn // 8:
                # A run that begins before the last number and goes beyond it is new from there on.
                begin += 1 + (self._turn - ahead) % self._turn
                ahead = 1
                if begin >= end:
                    continue
            yield begin, end, ahead - 1
            self._last = int(places[end - 1])
