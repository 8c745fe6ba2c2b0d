"""Stop and release: to the guard of the watched run, as `nervehand stop` does, and to its engine's port."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from functools import partial
from typing import Literal

from firmware_bridge.errors import LinkError, NervehandError
from firmware_bridge.guard_requests import ask_for_rest
from firmware_bridge.guard_sockets import running as guards_running
from nervehand.console.watch import Watch

Rest = Literal["stop", "release"]
PORT_S = 3.0
ALL_S = 6.0
"""What has not answered by then is not waited for any more."""

logger = logging.getLogger(__name__)


def ask_rest(watch: Watch, request: Rest, who: str) -> str:
    """Ask all ways at once, and say how it ended in a guard's or an engine's words. Waits for the answers.

    The guard hears it whatever its decoder does; a calibration has no guard. NervehandError where nobody answers.
    """

    def port() -> str:
        # a calibration moves no hand that could be released
        name = "stop" if watch.kind == "calibration" else request
        return str(watch.ask(who, name, {}, timeout_s=PORT_S).get("gate", ""))

    def guard(name: str) -> str:
        return str(ask_for_rest(name, request, who, logger.warning).get("state", ""))

    asked = [_Asking(f"guard {name}", partial(guard, name)) for name in guards_of(watch)]
    asked.append(_Asking("port", port))
    deadline_s = time.monotonic() + ALL_S
    for one in asked:
        one.wait_until(deadline_s)
    told = [one.told for one in asked if one.error is None]
    if not told:
        raise NervehandError("; ".join(str(one.error) for one in asked))
    return next((state for state in told if state), "")


class _Asking:
    """One of those that are asked, in a thread of its own: who hangs keeps nobody else waiting."""

    def __init__(self, name: str, ask: Callable[[], str]) -> None:
        self.told = ""
        self.error: NervehandError | None = LinkError(f"{name} has not answered within {ALL_S:g} s")
        self._ask = ask
        self._thread = threading.Thread(target=self._run, name=f"console rest {name}", daemon=True)
        self._thread.start()

    def wait_until(self, deadline_s: float) -> None:
        self._thread.join(max(0.0, deadline_s - time.monotonic()))

    def _run(self) -> None:
        try:
            self.told = self._ask()
        except NervehandError as error:
            self.error = error
        else:
            self.error = None


def guards_of(watch: Watch) -> tuple[str, ...]:
    """The guards that a stop goes to: the watched run's own; where that is not known, every guard of this user.

    So it is for a calibration, too, whether it goes on or has ended: a run may move a hand beside it that nobody
    watches. To stop one too many harms nobody; to stop none does.
    """
    names = guards_running()
    chosen = watch.chosen
    if watch.is_remote:
        return ()
    if chosen is not None and watch.kind != "calibration":
        own = str(chosen.about.get("guard", "") or f"run-{chosen.pid}")
        if own in names:
            return (own,)
    return names
