"""Times of another process, maybe on another machine, by this host's clock."""

from __future__ import annotations

PART_NS = 5_000_000_000


class HostClock:
    """Maps times of another clock to ours by what took least time to come, of the last one or two parts of 5 s.

    What comes late, in one go after a link was cut, so keeps the time at which it was made. Both clocks are steady, in
    ns; that they drift against each other by some parts in a million is followed. The least time on the way, which
    nobody can know, is counted as none.
    """

    def __init__(self) -> None:
        self._before: int | None = None
        self._now: int | None = None
        self._began_ns = 0

    def ours(self, theirs_ns: int, received_ns: int) -> int:
        """When it was, by our clock, what was received at `received_ns`; never later than that."""
        ahead = received_ns - theirs_ns
        if self._now is None or received_ns - self._began_ns > PART_NS:
            self._before, self._now, self._began_ns = self._now, ahead, received_ns
        self._now = min(self._now, ahead)
        least = self._now if self._before is None else min(self._before, self._now)
        return theirs_ns + least
