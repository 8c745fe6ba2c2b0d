"""Lost samples from a sender's time stamps: what is jitter and what is loss.

A stamp that comes later than the nominal rate says may be late (jitter: those after it catch up) or may stand
after samples that never came (loss: those after it stay behind). The rule, with time counted in samples:

- While every step between stamps in the last second was a whole number of periods (to a twentieth of one), the
  sender counts its samples. A step of k + 1 periods is then k lost samples, at their place, at once.
- Otherwise, and in the first second, a step is taken for jitter until it is shown to stay: when the least
  lateness over a second (and over 32 stamps) has risen by at least one period and by more than half of the
  jitter seen in that time, and is not falling (a sender that catches up), the rise is lost samples, counted
  from there on. A shorter loss cannot be told from jitter. The least lateness follows a clock that drifts by
  up to a thousandth.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from firmware_bridge.errors import SourceLostError

_WHOLE = 0.05  # of a period: so near to a whole number is one
_WHOLE_OF_STEP = 2e-4  # and this much of the step more, for a clock that drifts
_CALM_S = 1.0  # how long steps must have been whole, and how long a lateness must have stayed
_LEAST_STAMPS = 32  # in the jitter's window, so that the least of them is near the least possible
_WINDOW_S = 10.0  # the window's end where so many stamps do not come
_DRIFT = 1e-3  # of a clock against nominal, beyond any quartz
_PIECE_S = 0.02  # what is judged at a time, however much has been read
_CLOCK_STEP_S = 10.0  # further away, in either direction, is another clock


@dataclass(frozen=True, slots=True)
class Run:
    """The next `n_samples` follow one another, after `lost` that never came.

    Where `again` is not 0 all of them were stamped before: the first has the stamp of the sample that many places
    before the next one due.
    """

    n_samples: int
    lost: int = 0
    again: int = 0


class StampClock:
    """Places samples by their stamps (seconds, the sender's clock), against the nominal rate."""

    def __init__(self, rate_hz: float) -> None:
        self._rate_hz = rate_hz
        self._last: float | None = None
        self._counts_samples = False
        self._calm = 0  # samples since the last step that was not whole
        self._late = (
            0.0  # of the last sample, in periods, against the first sample; losses taken for lateness
        )
        self._least = 0.0  # the lateness that belongs to the sender's clock and to what is lost already
        self._window: deque[tuple[int, int, float, float]] = deque()  # samples, stamps, least, most lateness

    def take(self, stamps: NDArray[np.float64]) -> Run:
        """How the first of these stamps (n,), n > 0, stand to those before; to be asked again for the rest.

        Where it answers with `again`, none of the stamps is taken yet: either drop those samples, or call
        `distrust` and ask again. Raises SourceLostError where the stamps belong to another clock.
        """
        if self._last is None:
            self._last = float(stamps[0]) - 1.0 / self._rate_hz
        before = np.concatenate(([self._last], stamps[:-1]))
        with np.errstate(invalid="ignore", over="ignore"):
            steps = (stamps - before) * self._rate_hz - 1.0
        if not np.all(np.abs(steps) < _CLOCK_STEP_S * self._rate_hz):
            raise SourceLostError(
                f"the sender's time stamps jump by more than {_CLOCK_STEP_S:g} s or are not finite: its clock was "
                "set; connect again"
            )
        return (
            self._take_counted(stamps, steps) if self._counts_samples else self._take_jittered(stamps, steps)
        )

    def distrust(self) -> None:
        """The sender does not count its samples after all: its steps are jitter until they are whole again."""
        self._counts_samples = False
        self._calm = 0
        self._window.clear()

    def _take_counted(self, stamps: NDArray[np.float64], steps: NDArray[np.float64]) -> Run:
        uneven = np.flatnonzero(np.abs(steps) > _WHOLE)
        if uneven.size and uneven[0] == 0:
            whole = round(steps[0])
            if not _is_whole(steps[:1])[0]:
                self.distrust()
                return self._take_jittered(stamps, steps)
            n = int(uneven[1]) if uneven.size > 1 else stamps.size
            if whole < 0:
                return Run(min(n, -whole), again=-whole)
            self._least += whole
            self._advance(stamps[:n], steps[:n])
            return Run(n, lost=whole)
        n = int(uneven[0]) if uneven.size else stamps.size
        self._advance(stamps[:n], steps[:n])
        self._least = self._late
        return Run(n)

    def _take_jittered(self, stamps: NDArray[np.float64], steps: NDArray[np.float64]) -> Run:
        piece = max(1, round(_PIECE_S * self._rate_hz))
        n = min(stamps.size, piece)
        stamps, steps = stamps[:n], steps[:n]
        late = self._late + np.cumsum(steps)
        n_stamps = int(np.count_nonzero(np.abs(steps) > 1e-3))  # a step of nought may be liblsl's own
        entry = (n, n_stamps, float(late.min()), float(late.max()))
        if self._window and self._window[-1][0] + n <= piece:
            last = self._window.pop()
            entry = (last[0] + n, last[1] + n_stamps, min(last[2], entry[2]), max(last[3], entry[3]))
        self._window.append(entry)
        self._advance(stamps, steps)
        wrong = np.flatnonzero(~_is_whole(steps) | (np.round(steps) < 0))
        self._calm = n - 1 - int(wrong[-1]) if wrong.size else self._calm + n
        if self._calm >= _CALM_S * self._rate_hz:
            return Run(n, lost=self._begin_to_count())
        return Run(n, lost=self._lost_in_window(n))

    def _advance(self, stamps: NDArray[np.float64], steps: NDArray[np.float64]) -> None:
        self._last = float(stamps[-1])
        self._late += float(steps.sum())

    def _begin_to_count(self) -> int:
        lost = max(0, round(self._late - self._least))
        self._counts_samples = True
        self._least = self._late
        return lost

    def _lost_in_window(self, n: int) -> int:
        """Slides the window, of which the last `n` samples are new; how many are found lost before them."""
        n_samples = sum(entry[0] for entry in self._window)
        n_stamps = sum(entry[1] for entry in self._window)
        calm, most = _CALM_S * self._rate_hz, _WINDOW_S * self._rate_hz
        while n_samples - self._window[0][0] >= calm and (
            n_stamps - self._window[0][1] >= _LEAST_STAMPS or n_samples - self._window[0][0] >= most
        ):
            n_samples -= self._window[0][0]
            n_stamps -= self._window[0][1]
            self._window.popleft()
        entries = list(self._window)
        least = min(entry[2] for entry in entries)
        jitter = max(entry[3] for entry in entries) - least
        older, newer = entries[: len(entries) // 2] or entries, entries[len(entries) // 2 :]
        falling = min(entry[2] for entry in older) - min(entry[2] for entry in newer) > jitter / 4 + _WHOLE
        rise = least - self._least
        if n_samples >= calm and rise > max(1.0 - _WHOLE, jitter / 2) and not falling:
            self._least = least
            return round(rise)
        self._least = min(least, self._least + _DRIFT * n)
        return 0


def _is_whole(steps: NDArray[np.float64]) -> NDArray[np.bool_]:
    return np.asarray(np.abs(steps - np.round(steps)) <= _WHOLE + _WHOLE_OF_STEP * np.abs(steps))
