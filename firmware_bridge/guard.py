"""Drives the safety gate and a hand at a steady rate, and applies each new command at once."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from firmware_bridge.errors import NervehandError
from firmware_bridge.gate import GateDecision, GateEvent, GateState, SafetyGate
from firmware_bridge.hand import Hand, HandCommand

NS = 1_000_000_000
NO_COMMAND = -1
RESTED = 0.05
"""A joint reported within this of rest has arrived, as far as the end of the loop is concerned."""

logger = logging.getLogger(__name__)

Told = TypeVar("Told", "Sent", GateEvent)


class Sent(NamedTuple):
    """What the hand was told: positions (6,) after its own limits, and when `Hand.send` had returned (host, ns).

    `sample_index` is that of the command being followed, at once or by a later step of the ramp towards it; -1
    where the gate follows none: it holds, relaxes or releases, as `state` says.
    """

    sent_ns: int
    sample_index: int
    positions: NDArray[np.float32]
    state: GateState


@dataclass(slots=True)
class GuardCounters:
    """Counted since the loop was made."""

    steps: int = 0
    commands_applied: int = 0
    commands_late: int = 0
    commands_withheld: int = 0
    late_loops: int = 0
    errors: int = 0


class GuardLoop:
    """Steps `gate` on every command at once, and `rate_hz` times a second where none comes.

    `submit` runs the gate and `Hand.send` in the caller's thread, so that no thread has to wake up between a
    command and the hand; neither blocks on the link. A command that has expired before it is submitted is
    dropped and counted as late. Whatever raises in here is logged, counted, and answered as a fault: the gate
    relaxes.
    `on_event` gets every gate event, in the thread that caused it. `on_sent` gets everything that is handed to the
    hand, in its order, and must return at once: the next step waits for it. `clock` gives host time in ns.

    Used as a context manager it starts its thread, and ends with a release and a disarm.
    """

    def __init__(
        self,
        gate: SafetyGate,
        hand: Hand,
        rate_hz: float = 100.0,
        on_event: Callable[[GateEvent], None] | None = None,
        on_sent: Callable[[Sent], None] | None = None,
        clock: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        if not 0 < rate_hz <= 1000:
            raise NervehandError(f"guard rate is {rate_hz} Hz: give a rate above 0 and up to 1000")
        self.counters = GuardCounters()
        self._gate = gate
        self._hand = hand
        self._period_ns = round(NS / rate_hz)
        self._on_event = on_event
        self._on_sent = on_sent
        self._clock = clock
        self._lock = threading.Lock()
        self._ending = threading.Event()
        self._thread: threading.Thread | None = None
        self._stepped_ns = clock()
        self._decision: GateDecision | None = None
        self._commanded = NO_COMMAND

    @property
    def decision(self) -> GateDecision | None:
        """The newest decision; None before the first step."""
        return self._decision

    @property
    def state(self) -> GateState:
        """The gate's state after the last step or request."""
        return self._gate.state

    def submit(self, command: HandCommand) -> Sent | None:
        """Apply a command now; what the hand was told, or None if the command is not followed."""
        if self._clock() >= command.expires_ns:
            self.counters.commands_late += 1
            return None
        _, sent = self._step(command)
        if sent is None or sent.state is not GateState.ARMED:
            self.counters.commands_withheld += 1
            return None
        self.counters.commands_applied += 1
        return sent

    def tick(self) -> GateDecision | None:
        """One step without a new command; None if it failed."""
        return self._step(None)[0]

    def request_arm(self, who: str, acknowledgement: str = "") -> bool:
        """Ask the gate to arm; whether it did. The events say why not."""
        with self._lock:
            events = self._gate.arm(self._clock(), who, self._hand.link, self._hand.state, acknowledgement)
        self._emit(events)
        return any(event.kind == "arm" for event in events)

    def request_disarm(self, who: str) -> None:
        """Send nothing more; a release under way is finished first."""
        with self._lock:
            events = self._gate.disarm(self._clock(), who)
        self._emit(events)

    def request_stop(self, who: str) -> None:
        """Stop the hand where it is, now, until armed again."""
        with self._lock:
            events = self._gate.stop(self._clock(), who)
        self._emit(events)
        self.tick()

    def request_release(self, who: str) -> None:
        """Send the hand to rest, now or as soon as the link is up."""
        with self._lock:
            events = self._gate.release(self._clock(), who)
        self._emit(events)
        self.tick()

    def report_fault(self, who: str, what: str) -> None:
        """Whoever makes the commands has failed: relax, until armed again."""
        with self._lock:
            events = self._gate.report_fault(self._clock(), who, what)
        self._emit(events)
        self.tick()

    def start(self) -> None:
        """Start stepping by itself."""
        if self._thread is not None:
            raise NervehandError("the guard loop runs already: start it once")
        self._thread = threading.Thread(target=self._run, name="guard", daemon=True)
        self._thread.start()

    def close(self, release_s: float = 2.0) -> None:
        """Release, give the hand up to `release_s` to reach rest, disarm, and end the thread."""
        if self._ending.is_set():
            return
        self.request_release("guard loop")
        deadline_ns = time.monotonic_ns() + round(release_s * NS)
        while self._thread is not None and not self._rested() and time.monotonic_ns() < deadline_ns:
            time.sleep(self._period_ns / NS)
        self._ending.set()
        if self._thread is not None:
            self._thread.join()
        self.request_disarm("guard loop")

    def __enter__(self) -> GuardLoop:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _rested(self) -> bool:
        """Rest was sent and, where the hand measures it, reached."""
        state = self._hand.state
        return self._gate.at_rest and state is not None and not (np.abs(state.positions) > RESTED).any()

    def _run(self) -> None:
        while not self._ending.is_set():
            wait_ns = self._stepped_ns + self._period_ns - self._clock()
            if wait_ns > 0:
                self._ending.wait(wait_ns / NS)
                continue
            self.counters.late_loops += -wait_ns > self._period_ns
            self.tick()

    def _step(self, command: HandCommand | None) -> tuple[GateDecision | None, Sent | None]:
        sent = None
        decision = None
        events: tuple[GateEvent, ...]
        with self._lock:
            now_ns = self._stepped_ns = self._clock()
            self.counters.steps += 1
            try:
                if command is not None:
                    self._commanded = command.sample_index
                decision = self._gate.step(now_ns, command, self._hand.link, self._hand.state)
                events = decision.events
                if decision.send:
                    sent = self._send(decision, now_ns)
                self._decision = decision
            except Exception as error:
                logger.exception("the guard loop failed")
                self.counters.errors += 1
                decision = None
                events = self._gate.report_fault(now_ns, "guard loop", repr(error))
        self._emit(events)
        return decision, sent

    def _send(self, decision: GateDecision, now_ns: int) -> Sent:
        positions = self._hand.send(decision.positions, now_ns).positions
        follows = self._commanded if decision.state is GateState.ARMED else NO_COMMAND
        sent = Sent(self._clock(), follows, positions, decision.state)
        if self._on_sent is not None:
            self._tell(self._on_sent, sent)
        return sent

    def _emit(self, events: tuple[GateEvent, ...]) -> None:
        if self._on_event is not None:
            for event in events:
                self._tell(self._on_event, event)

    def _tell(self, listener: Callable[[Told], None], what: Told) -> None:
        """A listener that fails is counted, and stops nothing."""
        try:
            listener(what)
        except Exception:
            logger.exception("the guard's listener failed at %s", what)
            self.counters.errors += 1
