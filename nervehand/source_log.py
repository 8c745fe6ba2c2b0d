"""What happened to a source while it ran: logged, remembered, and passed on to whoever listens."""

from __future__ import annotations

import logging
from collections.abc import Callable

from firmware_bridge.supervised import SourceEvent

MOST_REMEMBERED = 1000

logger = logging.getLogger(__name__)


class SourceLog:
    """Takes the events of a supervised source. `said` holds the first MOST_REMEMBERED; `count` counts all.

    `has_screen`: they are shown elsewhere, and a line on the terminal would spoil the picture.
    """

    def __init__(self, has_screen: bool = False) -> None:
        self._level = logging.INFO if has_screen else logging.WARNING
        self.said: list[SourceEvent] = []
        self.count = 0
        self._listeners: list[Callable[[SourceEvent], None]] = []

    def listen(self, listener: Callable[[SourceEvent], None]) -> None:
        """From now on it hears of every event, in the thread that takes the blocks."""
        self._listeners.append(listener)

    def __call__(self, event: SourceEvent) -> None:
        self.count += 1
        if len(self.said) < MOST_REMEMBERED:
            self.said.append(event)
        logger.log(self._level, "source %s at sample %d: %s", event.kind, event.sample_index, event.text)
        for listener in self._listeners:
            listener(event)

    def to_json(self) -> list[dict[str, object]]:
        """Every event that is remembered."""
        return [{"sample_index": e.sample_index, "kind": e.kind, "text": e.text} for e in self.said]

    def describe(self) -> list[str]:
        """A line per event for a person."""
        lines = [f"source {event.kind}: {event.text}" for event in self.said]
        more = self.count - len(self.said)
        return [*lines, f"and {more} more events of the source"] if more else lines
