"""Stop and release: to the guard of the watched run, as `nervehand stop` does, and to its engine's port."""

from __future__ import annotations

import logging
import threading
from typing import Literal

from firmware_bridge.errors import NervehandError
from firmware_bridge.guard_requests import ask_for_rest
from firmware_bridge.guard_sockets import running as guards_running
from nervehand.console.watch import Watch

Rest = Literal["stop", "release"]
PORT_S = 3.0

logger = logging.getLogger(__name__)


def ask_rest(watch: Watch, request: Rest, who: str) -> str:
    """Ask both ways at once, and say how it ended in a guard's or an engine's words. Waits for the answers.

    The guard hears it whatever its decoder does; a calibration has no guard. NervehandError where neither answers.
    """
    told: dict[str, str] = {}
    wrong: dict[str, str] = {}

    def port() -> None:
        try:
            name = (
                "stop" if watch.kind == "calibration" else request
            )  # which moves no hand that could be released
            answer = watch.ask(who, name, {}, timeout_s=PORT_S)
            told["port"] = str(answer.get("gate", ""))
        except NervehandError as error:
            wrong["port"] = str(error)

    asking = threading.Thread(target=port, name=f"console {request}", daemon=True)
    asking.start()
    for name in guards_of(watch):
        try:
            answer = ask_for_rest(name, request, who, logger.warning)
            told[name] = str(answer.get("state", ""))
        except NervehandError as error:
            wrong[name] = str(error)
    asking.join(PORT_S + 1.0)
    if not told:
        raise NervehandError("; ".join(wrong.values()) or "nothing answers")
    return next((state for state in told.values() if state), "")


def guards_of(watch: Watch) -> tuple[str, ...]:
    """The guards that a stop goes to: the watched run's own; where that is not known, every guard of this user.

    To stop one too many harms nobody; to stop none does.
    """
    names = guards_running()
    chosen = watch.chosen
    if watch.kind == "calibration" or not names or watch.is_remote:
        return ()
    if chosen is not None:
        own = str(chosen.about.get("guard", "") or f"run-{chosen.pid}")
        if own in names:
            return (own,)
    return names
