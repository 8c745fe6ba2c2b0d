"""What the console knows of engines: which run, what the watched one shows, and requests to it in somebody's name.

One for all pages: however many tabs are open, an engine has one watcher.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar, cast

from calibration.view import CalibrationView, Phase
from firmware_bridge.errors import LinkError, NervehandError
from firmware_bridge.port import Entry, PortClient, running
from nervehand.console.addresses import host_of, is_loopback
from nervehand.console.history import SignalHistory
from nervehand.console.shown import shown
from nervehand.console.views import NOWHERE, LiveView, Six, calibration_view, live_view

LOOK_S = 1.0
FOLLOW_S = 0.03
LOST_S = 5.0
CONNECT_S = 3.0
MOST_NAMES = 8
"""So many people's links to an engine are kept; the one unused for longest makes room."""
MOST_DONE = 200
WATCHER = "console"

V = TypeVar("V")

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Done:
    """A request as it ended: `error` is the engine's word where it refused, else "". `at_s` since the epoch."""

    at_s: float
    who: str
    request: str
    about: str
    error: str


def title_of(entry: Entry) -> str:
    """What an engine says it is, as it can be shown."""
    return shown(str(entry.about.get("title", entry.address)))


def at(address: str) -> tuple[Entry, ...]:
    """The engine at HOST:PORT, on whatever machine, as an entry; none where nothing answers there."""
    client = PortClient(address, who=WATCHER)
    try:
        client.connect(CONNECT_S)
        return (Entry(address, "", client.about, Path(), 0),)
    except LinkError:
        return ()
    finally:
        client.close()


class Watch:
    """Finds engines, keeps a link to one of them, and remembers what people asked of it."""

    def __init__(
        self,
        look: Callable[[], tuple[Entry, ...]] = running,
        link: Callable[[str, str], PortClient] = lambda address, who: PortClient(address, who=who),
    ) -> None:
        self._look, self._link = look, link
        self._lock = threading.RLock()
        self._parsing = threading.Lock()
        self._over = threading.Event()
        self._entries: tuple[Entry, ...] = ()
        self._chosen: Entry | None = None
        self._client: PortClient | None = None
        self._there_s = 0.0
        self._asking: dict[str, PortClient] = {}
        self._parsed: dict[str, tuple[int, object]] = {}
        self._done: deque[Done] = deque(maxlen=MOST_DONE)
        self._history = SignalHistory()
        self.intended: Six = NOWHERE
        """What this console last asked a steered person to mean."""
        self._threads = [
            threading.Thread(target=self._every, args=(LOOK_S, self.look), name="console look", daemon=True),
            threading.Thread(
                target=self._every, args=(FOLLOW_S, self.follow), name="console follow", daemon=True
            ),
        ]

    def start(self) -> None:
        """Begin to look for engines."""
        for thread in self._threads:
            thread.start()

    def close(self) -> None:
        """End; the engines run on."""
        self._over.set()
        for thread in self._threads:
            if thread.is_alive():
                thread.join()
        with self._lock:
            links = self._unlinked()
        for one in links:
            one.close()

    @property
    def entries(self) -> tuple[Entry, ...]:
        """The engines that answered when they were last looked for."""
        return self._entries

    @property
    def chosen(self) -> Entry | None:
        """The engine that is watched; it stays that one when its link is lost, until another is chosen or found."""
        return self._chosen

    @property
    def kind(self) -> str:
        """ "run", "calibration", or "" where nothing is watched."""
        return "" if self._chosen is None else str(self._chosen.about.get("kind", ""))

    @property
    def is_connected(self) -> bool:
        return self._client is not None and self._client.is_connected

    @property
    def done(self) -> tuple[Done, ...]:
        """What people asked of engines through this console, the newest last."""
        return tuple(self._done)

    def choose(self, address: str) -> None:
        """Watch the engine at that address from now on; NervehandError where none is known there."""
        found = next((entry for entry in self._entries if entry.address == address), None)
        if found is None:
            raise NervehandError(f"no engine answers at {address}: look for engines again")
        self._watch(found)

    @property
    def is_remote(self) -> bool:
        """Whether the watched engine runs on another machine, whose guards cannot be reached from here.

        One at a loopback address runs here, also where its process is not known; a tunnel's end is taken for one.
        """
        chosen = self._chosen
        return chosen is not None and not chosen.pid and not is_loopback(host_of(chosen.address))

    @property
    def is_steered(self) -> bool:
        """Whether the watched run's person is a simulated one whose intent can be moved."""
        return self._chosen is not None and bool(self._chosen.about.get("steered", False))

    @property
    def has_ended(self) -> bool:
        """Whether the process of the watched engine is there no more; of another machine's that is not known."""
        if self._chosen is None or not self._chosen.pid:
            return False
        try:
            stat = Path(f"/proc/{self._chosen.pid}/stat").read_text()
        except OSError:
            return True
        return stat.rpartition(")")[2].split()[0] == "Z"

    def live(self) -> tuple[int, LiveView] | None:
        """What a run shows, with the last seconds of its signals, and its serial number."""
        return self._seen("live", self._with_history)

    @property
    def is_complete(self) -> bool:
        """Whether what is watched is a calibration that came to its end, and so has nothing more to say."""
        seen = self.calibration() if self.kind == "calibration" else None
        return seen is not None and seen[1].phase in (Phase.DONE, Phase.FAILED)

    def hand(self) -> tuple[str, str] | None:
        """What a run's gate is doing and why, and the state of its link: told also while no samples come."""
        client = self._client
        newest = None if client is None or self.kind != "run" else client.newest("hand")
        if newest is None:
            return None
        gate, cause, link = (newest[1].get(name) or "" for name in ("gate", "cause", "link"))
        return f"{gate} ({cause})" if cause else str(gate), str(link)

    def follow(self) -> None:
        """Take what a run shows into the history of its signals; to be called oftener than it shows something."""
        if self.kind == "run":
            self.live()

    def calibration(self) -> tuple[int, CalibrationView] | None:
        """What a calibration shows, and its serial number."""
        return self._seen("calibration", calibration_view)

    def ask(
        self,
        who: str,
        request: str,
        arguments: Mapping[str, object],
        about: str = "",
        timeout_s: float = 5.0,
        blob: bytes = b"",
    ) -> dict[str, object]:
        """What the watched engine answers to `who`; it is remembered, refused or not. Waits for the answer."""
        try:
            answer = self._asking_as(who).request(request, dict(arguments), blob, timeout_s)
        except NervehandError as error:
            self.remember(who, request, about, str(error))
            raise
        self.remember(who, request, about, "")
        return answer

    def remember(self, who: str, request: str, about: str, error: str) -> None:
        """Keep what somebody asked for, for every page to show."""
        self._done.append(Done(time.time(), who, request, about, error))

    def look(self) -> None:
        """Look for engines once, and watch one where none is watched.

        One whose link is lost is still the one that is watched, until its process has ended or LOST_S are over.
        """
        self._entries = entries = self._look()
        again = next((entry for entry in entries if self._is_chosen(entry)), None)
        if again is not None and self._client is None:
            self._watch(again)
        if again is not None or self.is_connected:
            self._there_s = time.monotonic()
        elif entries and (self.chosen is None or self.has_ended or time.monotonic() > self._there_s + LOST_S):
            self._watch(max(entries, key=lambda entry: entry.pid))

    def _is_chosen(self, entry: Entry) -> bool:
        chosen = self._chosen
        return chosen is not None and (entry.address, entry.pid) == (chosen.address, chosen.pid)

    def _watch(self, entry: Entry) -> None:
        client = self._linked(entry.address, WATCHER)  # which may take a while: nobody waits for it
        with self._lock:
            before = self._unlinked()
            self._chosen, self._client = entry, client
        for one in before:
            one.close()

    def _linked(self, address: str, who: str) -> PortClient | None:
        """A link, or None where the engine has ended between being found and being asked."""
        client = self._link(address, who)
        try:
            client.connect(CONNECT_S)
        except LinkError as error:
            logger.info("no link to %s: %s", address, error)
            client.close()
            return None
        return client

    def _asking_as(self, who: str) -> PortClient:
        """Somebody's own link to the watched engine. It is made without the lock, so that a stop waits for nobody."""
        with self._lock:
            chosen = self._chosen
            client = self._asking.pop(who, None)
            if client is not None:
                self._asking[who] = client  # the last one is the newest used
                return client
        if chosen is None:
            raise LinkError("no engine runs: start one on the page Device or Calibrate")
        client = self._linked(chosen.address, who)
        if client is None:
            raise LinkError(f"the engine at {chosen.address} does not answer: it may have ended")
        with self._lock:
            unused = [self._asking.pop(who)] if who in self._asking else []
            self._asking[who] = client
            if len(self._asking) > MOST_NAMES:
                unused.append(self._asking.pop(next(iter(self._asking))))
        for one in unused:
            one.close()
        return client

    def _seen(self, topic: str, parse: Callable[[Mapping[str, object]], V]) -> tuple[int, V] | None:
        client = self._client
        newest = None if client is None else client.newest(topic)
        if newest is None:
            return None
        with self._parsing:
            kept = self._parsed.get(topic)
            if kept is None or kept[0] != newest[0]:
                kept = newest[0], parse(newest[1])
                self._parsed[topic] = kept
        return kept[0], cast(V, kept[1])

    def _with_history(self, plain: Mapping[str, object]) -> LiveView:
        view = live_view(plain)
        self._history.add(
            view.sample_index, [one.low_uv for one in view.channels], [one.high_uv for one in view.channels]
        )
        low, high = self._history.columns()
        channels = tuple(
            replace(one, low_uv=low[i], high_uv=high[i]) if i < len(low) else one
            for i, one in enumerate(view.channels)
        )
        truth = self.intended if self.is_steered else view.truth
        return replace(view, channels=channels, truth=truth)

    def _unlinked(self) -> list[PortClient]:
        """Forget what is watched; the links to it, to be closed."""
        links = [client for client in (self._client, *self._asking.values()) if client is not None]
        self._client = None
        self._asking.clear()
        self._parsed.clear()
        self._history, self.intended = SignalHistory(), NOWHERE
        return links

    def _every(self, seconds: float, action: Callable[[], None]) -> None:
        while not self._over.wait(seconds):
            try:
                action()
            except (NervehandError, OSError):
                logger.warning("watching the engines failed", exc_info=True)
