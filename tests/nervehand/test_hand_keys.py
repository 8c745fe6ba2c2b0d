"""Keys that stop, release, arm and lock a hand."""

from __future__ import annotations

import pytest

from firmware_bridge.adjustments import Adjustments
from firmware_bridge.errors import LinkError
from firmware_bridge.preuse import PreUseReport, overridden
from nervehand.hand_keys import HandKeys


class Asked:
    """A guard that remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[object, ...]] = []
        self.fails = False
        self.adjustments = Adjustments()

    def request_stop(self, who: str) -> None:
        if self.fails:
            raise LinkError("no guard")
        self.asked.append(("stop", who))

    def request_release(self, who: str) -> None:
        self.asked.append(("release", who))

    def request_arm(self, who: str, report: PreUseReport, acknowledgement: str = "") -> bool:
        self.asked.append(("arm", who, report.overridden_by))
        return True

    def adjust(self, who: str, adjustments: Adjustments) -> None:
        self.asked.append(("adjust", who, adjustments))
        self.adjustments = adjustments


def test_each_key_asks_for_its_own_and_others_for_nothing() -> None:
    guard = Asked()
    half = guard.adjustments = Adjustments(gain=(0.5,) * 6)
    press = HandKeys(guard, "Ann", lambda: overridden("Ann", 1))  # type: ignore[arg-type]
    for key in " ra\nx\x1bl l":
        press(key)
    locked = Adjustments(gain=(0.5,) * 6, hand_locked=True)
    assert guard.asked == [
        ("stop", "Ann"),
        ("release", "Ann"),
        ("arm", "Ann", "Ann"),
        ("adjust", "Ann", locked),
        ("stop", "Ann"),
        ("adjust", "Ann", half),
    ]


def test_a_request_that_fails_is_logged_and_the_next_key_is_heard(caplog: pytest.LogCaptureFixture) -> None:
    guard = Asked()
    press = HandKeys(guard, "Ann", lambda: overridden("Ann", 1))  # type: ignore[arg-type]
    guard.fails = True
    press(" ")
    assert "no guard" in caplog.text
    guard.fails = False
    press("r")
    assert guard.asked == [("release", "Ann")]
