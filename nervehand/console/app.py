"""What all pages of one console share: engines, people, and where files are."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from nicegui import app

from firmware_bridge.port import Entry
from nervehand.console.launching import Engines
from nervehand.console.reading import Reader
from nervehand.console.session_list import SessionList
from nervehand.console.texts import say
from nervehand.console.watch import Watch

MOST_NAME = 40


@dataclass(slots=True)
class Console:
    """One for the process. `folder` is where sessions and decoders are browsed, and where results go."""

    watch: Watch
    folder: Path
    engines: Engines = field(default_factory=Engines)
    steps: int | None = None
    """Of training in calibrations that begin here, None as many as the data ask for."""
    dismissed: Entry | None = None
    """A calibration that is over and has been looked at: the page is ready for the next."""
    resting: ThreadPoolExecutor = field(default_factory=partial(ThreadPoolExecutor, 8, "console rest"))
    """Stops and releases have threads of their own: no search or transfer keeps them waiting."""
    listing: Reader = field(default_factory=Reader)
    """Reads what lists show; a damaged file there keeps no replay waiting."""
    replaying: Reader = field(default_factory=Reader)
    sessions: SessionList = field(init=False)
    _drawn: dict[str, tuple[object, str]] = field(default_factory=dict)
    _names: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.sessions = SessionList(self.listing)

    def close(self) -> None:
        """End what reads for pages, and the watch; engines run on."""
        for reader in (self.listing, self.replaying):
            reader.close()
        self.watch.close()

    def drawn(self, name: str, of: object, make: Callable[[], str]) -> str:
        """A picture of something: made once for all pages that show it."""
        kept = self._drawn.get(name)
        if kept is None or kept[0] != of:
            kept = self._drawn[name] = of, make()
        return kept[1]

    def who(self) -> str:
        """The name that this browser's commands go by."""
        return self.typed_name() or say("operator.default")

    def typed_name(self) -> str:
        """The operator's name, "" where nobody has typed one in this browser."""
        return self._names.get(_browser(), "")

    def call_me(self, name: str) -> None:
        """This browser's commands go by that name from now on."""
        clean = "".join(letter for letter in name.strip() if letter.isprintable())[:MOST_NAME]
        if clean:
            self._names[_browser()] = clean


def _browser() -> str:
    return str(app.storage.browser["id"])
