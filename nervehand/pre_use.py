"""What a run may arm its hand by: the check before use, made while it decodes, or somebody who overrides it."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from decoder.bundle import Bundle
from decoder.decision import REST
from decoder.intent import Intents
from decoder.preuse import ChannelComparison
from firmware_bridge.gate import GateEvent
from firmware_bridge.preuse import PreUseReport, overridden
from firmware_bridge.preuse_check import CheckSettings, PreUseCheck
from nervehand.guarding import Guarded

LOOK_S = 0.05
ARM_S = 5.0
CHECK = "pre-use check"

Seen = tuple[NDArray[np.float32], NDArray[np.bool_]]


class PreUse(Protocol):
    """What a run may arm its hand by."""

    def report(self) -> PreUseReport | None:
        """The report to arm by now; None where there is none that would do."""

    def decoded(self, intents: Intents, seen: Seen | None) -> None:
        """Hear of decoded hops, and of the features (`DecodeChain.seen`) that they come from."""


class Overridden:
    """No check: `by` answers for it."""

    def __init__(self, by: str) -> None:
        self._by = by

    def report(self) -> PreUseReport:
        return overridden(self._by, time.monotonic_ns())

    def decoded(self, intents: Intents, seen: Seen | None) -> None:
        """Nothing is looked at."""


class LiveCheck:
    """The check of a run: made by a thread of its own while the run decodes, and then the hand is armed.

    `failure` says, once it is over, why it has not passed or the gate would not arm; "" else.
    """

    def __init__(self, settings: CheckSettings | None = None) -> None:
        self.failure = ""
        self.finished: PreUseReport | None = None
        """What was found, once it is over."""
        self._settings = settings
        self._lock = threading.Lock()
        self._check: PreUseCheck | None = None
        self._comparison: ChannelComparison | None = None

    def report(self) -> PreUseReport | None:
        """What was found, once it has passed."""
        return self.finished if self.finished is not None and self.finished.passed else None

    def decoded(self, intents: Intents, seen: Seen | None) -> None:
        """Called in the decode loop: hops that are not warming are compared with training."""
        if self.finished is not None or self._check is None or self._comparison is None or seen is None:
            return
        there = ~intents.warming
        with self._lock:
            self._check.intents(
                time.monotonic_ns(), intents.positions, intents.gesture == REST, intents.warming
            )
            self._comparison.add(seen[0][there], seen[1][there])

    @contextmanager
    def running(
        self,
        bundle: Bundle,
        guarded: Guarded,
        who: str,
        acknowledgement: str,
        stop: threading.Event,
        is_asked_to_rest: Callable[[], bool],
        on_event: Callable[[GateEvent], None],
        say: Callable[[str], None],
    ) -> Iterator[None]:
        """Check, then arm in the name of `who`, while the block lasts; where that fails, set `stop`.

        Who has asked for rest since the guard was started is not overruled: then the hand waits for somebody to arm it.

        `on_event` gets what was found, an event for each thing; `say` what the wearer should do now.
        """
        self._comparison = ChannelComparison(bundle)
        self._check = PreUseCheck(
            guarded.limits, guarded.capabilities, guarded.side, bundle.manifest.side, bundle.hop_s,
            time.monotonic_ns(), self._settings,
        )  # fmt: skip
        over = threading.Event()

        def watch() -> None:
            said = math.inf
            while not over.wait(LOOK_S):
                left_s = self._look(guarded)
                if left_s is None:
                    self._finish(guarded, who, acknowledgement, over, is_asked_to_rest, on_event, say)
                    if self.failure:
                        stop.set()
                    return
                if max(math.ceil(left_s), 1) != said:  # hops may be there in time, and the clock not yet
                    said = max(math.ceil(left_s), 1)
                    say(f"{CHECK}: rest for {said} s")

        watcher = threading.Thread(target=watch, name=CHECK, daemon=True)
        watcher.start()
        try:
            yield
        finally:
            over.set()
            watcher.join()

    def _look(self, guarded: Guarded) -> float | None:
        """How long the wearer has to rest yet; None once it is over."""
        assert self._check is not None
        assert self._comparison is not None
        with self._lock:
            now_ns = time.monotonic_ns()
            self._check.hand(now_ns, guarded.hand.link, guarded.hand.state)
            self._check.channels(self._comparison.readings())
            self.finished = self._check.step(now_ns)
            return None if self.finished is not None else self._check.left_s

    def _finish(
        self,
        guarded: Guarded,
        who: str,
        acknowledgement: str,
        over: threading.Event,
        is_asked_to_rest: Callable[[], bool],
        on_event: Callable[[GateEvent], None],
        say: Callable[[str], None],
    ) -> None:
        report = self.finished
        assert report is not None
        for item in report.items:
            found = "good" if item.passed else "not good"
            on_event(GateEvent(report.finished_ns, "check", f"{item.name} {found}: {item.text}", CHECK))
        if not report.passed:
            self.failure = described(report)
            return
        deadline = time.monotonic() + ARM_S
        while not guarded.guard.request_arm(who, report, acknowledgement, guarded.asked_ns):
            if is_asked_to_rest():
                say(f"{CHECK} passed, but somebody asked for rest meanwhile: arm the hand when it may move")
                return
            if time.monotonic() > deadline or over.wait(LOOK_S):
                self.failure = f"the {CHECK} has passed, but the gate would not arm within {ARM_S:g} s"
                return
        say(f"{CHECK} passed: armed")


def described(report: PreUseReport) -> str:
    """What a check found wrong, in one line; what was not finished by then is left out."""
    wrong = [f"{one.name}: {one.text}" for one in report.items if not one.passed and ": " in one.text]
    return f"the {CHECK} has not passed: {'; '.join(wrong)}"
