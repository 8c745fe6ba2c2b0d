"""The check before a hand may be armed, as what it found (preuse_check.py makes it)."""

from __future__ import annotations

from dataclasses import dataclass

CHECKED = ("side", "link", "hand", "temperature", "battery", "position", "rest", "channels")
"""What a check looks at, in the order of its report."""


@dataclass(frozen=True, slots=True)
class CheckItem:
    """One thing that was checked, and what was found, for people."""

    name: str
    passed: bool
    text: str


@dataclass(frozen=True, slots=True)
class PreUseReport:
    """A finished check, at host time `finished_ns`; `overridden_by` names who takes it on themselves instead."""

    finished_ns: int
    items: tuple[CheckItem, ...]
    overridden_by: str = ""

    @property
    def passed(self) -> bool:
        """Whether everything of CHECKED was checked, and everything found good."""
        good = {item.name for item in self.items if item.passed}
        return good >= set(CHECKED) and all(item.passed for item in self.items)


def overridden(who: str, now_ns: int) -> PreUseReport:
    """No check: `who` answers for it."""
    return PreUseReport(now_ns, (), who)
