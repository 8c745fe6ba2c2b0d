"""How long the link waits before it tries again."""

from __future__ import annotations

FIRST_S = 0.05
CAP_S = 0.5
PATIENT_S = 60.0
LATER_S = 5.0


class Backoff:
    """Pauses of 0.05 s doubling to 0.5 s while the hand has been away for less than a minute, 5 s afterwards."""

    def __init__(self, now_s: float) -> None:
        self.reset(now_s)

    def reset(self, now_s: float) -> None:
        """The hand was there until now."""
        self._since_s = now_s
        self._next_s = FIRST_S

    def pause_s(self, now_s: float) -> float:
        """The pause before the next attempt."""
        if now_s - self._since_s >= PATIENT_S:
            return LATER_S
        pause_s, self._next_s = self._next_s, min(2 * self._next_s, CAP_S)
        return pause_s
