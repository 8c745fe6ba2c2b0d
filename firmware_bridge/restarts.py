"""How long to wait before a process that ended by itself is started again, and how its end is said."""

from __future__ import annotations


class Waits:
    """First `first_s`, doubled each time that it dies young, to `longest_s`.

    Who lived for `old_s` did not die of its start.
    """

    def __init__(self, first_s: float, longest_s: float, old_s: float) -> None:
        self._first_s, self._longest_s, self._old_s = first_s, longest_s, old_s
        self._next_s = first_s

    def after(self, lived_s: float) -> float:
        """Before the next start of one that has lived for so long; 0 for one that could not be started."""
        if lived_s >= self._old_s:
            self._next_s = self._first_s
        wait_s = self._next_s
        self._next_s = min(2 * wait_s, self._longest_s)
        return wait_s


def how_ended(status: int) -> str:
    """What `subprocess.Popen.returncode` says, in words."""
    return f"signal {-status}" if status < 0 else f"exit status {status}"
