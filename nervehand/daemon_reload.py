"""A running daemon reads its configuration again: what may change without a stop does, or nothing does."""

from __future__ import annotations

import logging
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from queue import SimpleQueue
from types import FrameType

from decoder.bundle import Bundle
from decoder.decision import DecisionSettings
from firmware_bridge.errors import LinkError, NervehandError
from nervehand.config import DaemonConfig
from nervehand.config_changes import changes
from nervehand.config_file import ConfigFile, read_config
from nervehand.config_kept import keep
from nervehand.daemon_requests import leave_answer, taken_request
from nervehand.daemon_status import DaemonStatus
from nervehand.driving import Driven

WHO = "configuration"
DECIDED_WITHIN_S = 2.0
"""A decision's settings hold from the next block on; where none comes, the outcome says so."""

_OVER = 0
"""No signal has this number."""
Handler = Callable[[int, FrameType | None], object] | int | None

logger = logging.getLogger(__name__)


class Reloads:
    """SIGUSR1 reads the configuration again, SIGUSR2 has recordings kept; both are answered by a thread."""

    def __init__(self, file: ConfigFile, status: DaemonStatus) -> None:
        self._file, self._status = file, status
        self._config = file.config
        self._wanted: SimpleQueue[int] = SimpleQueue()  # its put may interrupt itself: handlers do
        self._handlers: dict[int, Handler] = {}  # of before
        self._is_unsure = False  # whether the guard has taken what it was asked the last time

    def decide(self, bundle: Bundle) -> DecisionSettings:
        """By which settings a bundle decides, as the configuration is now."""
        return self._config.decision_for(bundle)

    def begin(self) -> None:
        """From now on SIGUSR1 is kept until `answering`. From the main thread.

        SIGUSR2 is not kept: who asks for a hand to be armed does not mean some minutes later.
        """
        if self._file.problem:
            outcome = f"refused: {self._file.problem}"
            self._status.config = replace(self._status.config, outcome=outcome, refused=True)
            self._status.write_soon()
            logger.warning("configuration: %s", outcome)
        self._take(signal.SIGUSR1)

    def _take(self, number: signal.Signals) -> None:
        if number not in self._handlers and threading.current_thread() is threading.main_thread():
            self._handlers[number] = signal.signal(number, self._signalled)

    @contextmanager
    def answering(self, driven: Driven) -> Iterator[None]:
        """While this lasts, from the main thread. What the run began with has proven itself: it is kept."""
        if not self._file.problem:
            keep(self._file)
        thread = threading.Thread(target=self._run, args=(driven,), name="reload", daemon=True)
        for number in (signal.SIGUSR1, signal.SIGUSR2):
            self._take(number)
        thread.start()
        try:
            yield
        finally:
            self._wanted.put(_OVER)
            thread.join()
            while self._handlers:
                signal.signal(*self._handlers.popitem())

    def _signalled(self, number: int, frame: FrameType | None) -> None:
        self._wanted.put(number)

    def _run(self, driven: Driven) -> None:
        while (number := self._wanted.get()) != _OVER:
            try:
                if number == signal.SIGUSR1:
                    self.reload(driven)
                else:
                    self._answer(driven)
            except NervehandError as error:
                logger.error("%s", error)
            except Exception:  # whatever it was, the daemon goes on as it is
                logger.exception("a signal could not be answered")

    def _answer(self, driven: Driven) -> None:
        """Do what a request asks for, and say what came of it."""
        problem = ""
        try:
            asked = taken_request(self._status.path)
            if asked.arm:
                problem = driven.arm(asked.who, asked.asked_ns)
            else:
                driven.live.pin(asked.who, asked.why, asked.seconds)
        except NervehandError as error:
            problem = str(error)
        leave_answer(self._status.path, problem)

    def reload(self, driven: Driven) -> None:
        """Read the file again, and apply it whole or not at all; the outcome is in the status document."""
        before = self._status.config
        refused = True
        outcome, sha256 = "", before.sha256
        try:
            file = read_config(self._file.path)
            found = changes(self._config, file.config)
            outcome = found.outcome
            if not found.needs_restart:
                outcome = self._apply(driven, file.config, outcome)
                sha256, refused = file.sha256, False
                keep(file)
        except LinkError as error:
            # What it was asked may be done yet: the next reload asks for all of it again.
            self._is_unsure = True
            outcome = (
                f"refused: the guard did not answer, and may have taken part of it: {error}; reload again"
            )
        except NervehandError as error:
            outcome = f"refused: {error}"
        generation = before.generation + 1
        self._status.config = replace(
            before, generation=generation, outcome=outcome, sha256=sha256, refused=refused
        )
        self._status.write_soon()
        logger.log(logging.WARNING if refused else logging.INFO, "configuration: %s", outcome)
        if driven.recorder is not None:
            driven.live.note(f"configuration read again: {outcome}", generation)

    def _apply(self, driven: Driven, config: DaemonConfig, outcome: str) -> str:
        before = self._config
        guard, capabilities = driven.guarded.guard, driven.guarded.capabilities
        # What may be refused comes first, so that all of it is applied or nothing.
        if self._is_unsure or config.hand.limits_table != before.hand.limits_table:
            guard.limit(WHO, config.hand.limits(capabilities))
        if self._is_unsure or config.hand.adjustments_table != before.hand.adjustments_table:
            guard.adjust(WHO, config.hand.adjustments)
            if guard.adjustments != config.hand.adjustments:  # LinkError where it is silent
                raise LinkError("the guard has other adjustments than the configuration now")
        self._config, self._is_unsure = config, False
        if config.decision != before.decision:
            holds = threading.Event()
            driven.live.decide_by(self.decide, holds.set)
            if not holds.wait(DECIDED_WITHIN_S):
                return f"{outcome} (the decision's settings with the next samples)"
        return outcome
