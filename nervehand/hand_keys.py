"""Keys that stop, release, arm and lock the hand of a run, whatever the decoder does."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace

from firmware_bridge.errors import NervehandError
from firmware_bridge.guard import Guard
from firmware_bridge.preuse import PreUseReport

HAND_KEYS = "space stop  r release  a arm again  l lock/unlock"
"""For the screen."""

logger = logging.getLogger(__name__)


class HandKeys:
    """Called with each key that is pressed; `who` presses them, and `check` gives the report to arm by.

    `acknowledgement` names who accepts that it is unknown what the hand does without commands.
    """

    def __init__(
        self,
        guard: Guard,
        who: str,
        check: Callable[[], PreUseReport],
        acknowledgement: str = "",
    ) -> None:
        self._guard, self._who, self._check = guard, who, check
        self._acknowledgement = acknowledgement

    def __call__(self, key: str) -> None:
        """Do what the key asks for; others ask for nothing. What fails is logged: the next key must be heard."""
        try:
            match key:
                case " ":
                    self._guard.request_stop(self._who)
                case "r":
                    self._guard.request_release(self._who)
                case "a":
                    self._guard.request_arm(self._who, self._check(), self._acknowledgement)
                case "l":
                    now = self._guard.adjustments
                    self._guard.adjust(self._who, replace(now, hand_locked=not now.hand_locked))
        except NervehandError as error:
            logger.error("the key %r did nothing: %s", key, error)
