"""Drives the safety gate and a hand at a steady rate, and applies each new command at once."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from types import TracebackType
from typing import NamedTuple, Protocol, Self, TypeVar

import numpy as np
from numpy.typing import NDArray

from firmware_bridge.adjustments import Adjustments
from firmware_bridge.errors import NervehandError
from firmware_bridge.gate import GateDecision, GateEvent, GateState, SafetyGate
from firmware_bridge.gate_limits import GateLimits
from firmware_bridge.hand import Hand, HandCommand, HandState, LinkState
from firmware_bridge.movement_trace import Moved, MovementTrace
from firmware_bridge.preuse import PreUseReport

NS = 1_000_000_000
NO_COMMAND = -1
LOOK_NS = 1_000_000
"""How often the hand's reports are looked at while one is awaited that says that it moves."""
RESTED = 0.05
"""A joint reported within this of rest has arrived, as far as the end of the loop is concerned."""
RELEASE_MARGIN_S = 2.0
"""What a release may take longer than its limits say: the link, and the hand itself."""

logger = logging.getLogger(__name__)

Told = TypeVar("Told", "Sent", GateEvent, Moved)


class Sent(NamedTuple):
    """What the hand was told: positions (6,) after its own limits, and when `Hand.send` had returned (host, ns).

    `sample_index` is that of the command being followed, at once or by a later step of the ramp towards it; -1
    where the gate follows none: it holds, relaxes or releases, as `state` says. `taken_ns` is when the guard took that
    command, 0 where there is none; `decided_ns` is when the gate had decided on these positions.
    """

    sent_ns: int
    sample_index: int
    positions: NDArray[np.float32]
    state: GateState
    taken_ns: int = 0
    decided_ns: int = 0


@dataclass(slots=True)
class GuardCounters:
    """Counted since the loop was made. Every command that is submitted ends in one of four.

    Applied: the hand was told something for it, or it was followed where the hand has grips, which need telling only
    where they change. Late: it had expired. Withheld: it was not followed. Overtaken: it was to be followed, but a
    newer one, or what is graver, came before the hand's command rate let it through.
    """

    steps: int = 0
    commands_applied: int = 0
    commands_late: int = 0
    commands_withheld: int = 0
    commands_overtaken: int = 0
    late_loops: int = 0
    errors: int = 0


class Guard(Protocol):
    """Whoever brings commands and requests to the safety gate: in this process or in another."""

    counters: GuardCounters

    @property
    def decision(self) -> GateDecision | None:
        """The newest decision; None before the first step."""

    @property
    def state(self) -> GateState:
        """The gate's state after the last step or request."""

    def submit(self, command: HandCommand) -> Sent | None:
        """Apply a command now; what the hand was told, or None where nothing was sent for it."""

    def request_arm(
        self, who: str, report: PreUseReport, acknowledgement: str = "", asked_ns: int = 0
    ) -> bool:
        """Ask the gate to arm; whether it did. The events say why not.

        `asked_ns` is when that was decided (host, `time.monotonic_ns`), 0 for now: who asked for rest since then is
        not overruled.
        """

    def request_disarm(self, who: str) -> None:
        """Send nothing more; a release under way is finished first."""

    def request_stop(self, who: str) -> None:
        """Stop the hand where it is, now, until armed again."""

    def request_release(self, who: str) -> None:
        """Send the hand to rest, now or as soon as the link is up."""

    def report_fault(self, who: str, what: str) -> None:
        """Whoever makes the commands has failed: relax, until armed again."""

    @property
    def adjustments(self) -> Adjustments:
        """The wearer's, as they are now."""

    def adjust(self, who: str, adjustments: Adjustments) -> None:
        """The wearer's adjustments from now on."""

    @property
    def limits(self) -> GateLimits:
        """The gate's, as they are now."""

    def limit(self, who: str, limits: GateLimits) -> GateLimits:
        """Other limits for the gate, from its next step on, without a stop; those in force then.

        NervehandError says why they are refused, all of them: more than the hand can do, or other grips.
        """

    def start(self) -> None:
        """Start stepping by itself."""

    def close(self, release_s: float | None = None) -> None:
        """Release, give the hand up to `release_s` to reach rest, disarm, and end.

        None: as long as its limits let it take, and a while more. Where that was not enough, an event says so.
        """

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


class GuardLoop:
    """Steps `gate` on every command at once, and `rate_hz` times a second where none comes.

    What the hand's command rate does not let through yet goes out in the next slot.

    `submit` runs the gate and `Hand.send` in the caller's thread, so that no thread has to wake up between a
    command and the hand; neither blocks on the link. A command that has expired before it is submitted is
    dropped and counted as late. Whatever raises in here is logged, counted, and answered as a fault: the gate
    relaxes.
    `on_event` gets every gate event, in the thread that caused it. `on_sent` gets everything that is handed to the
    hand, in its order, and must return at once: the next step waits for it; `on_moved` likewise what the hand says of
    the beginning of a movement. `clock` gives host time in ns.

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
        on_moved: Callable[[Moved], None] | None = None,
    ) -> None:
        if not 0 < rate_hz <= 1000:
            raise NervehandError(f"guard rate is {rate_hz} Hz: give a rate above 0 and up to 1000")
        unknown = sorted(set(gate.limits.grips.values()) - set(hand.capabilities.grips))
        if unknown:
            known = ", ".join(hand.capabilities.grips) or "none"
            raise NervehandError(f"the hand has no grip {', '.join(unknown)}: choose among its own ({known})")
        self.counters = GuardCounters()
        self._gate = gate
        self._hand = hand
        self._period_ns = round(NS / rate_hz)
        self._on_event = on_event
        self._on_sent = on_sent
        self._on_moved = on_moved
        self._movement = MovementTrace()
        self._has_lost_trace = False
        self._clock = clock
        self._lock = threading.Lock()
        self._ending = threading.Event()
        self._woken = threading.Event()
        self._thread: threading.Thread | None = None
        self._due_ns = clock() + self._period_ns
        self._decision: GateDecision | None = None
        self._commanded = NO_COMMAND
        self._taken_ns = 0
        self._waits = False
        self._rest_asked_ns = 0
        self._is_closing = False
        self._failure = ""

    @property
    def decision(self) -> GateDecision | None:
        """The newest decision; None before the first step."""
        return self._decision

    @property
    def state(self) -> GateState:
        """The gate's state after the last step or request."""
        return self._gate.state

    @property
    def due_ns(self) -> int:
        """When it steps next, by itself."""
        return self._due_ns

    def submit(self, command: HandCommand) -> Sent | None:
        """Apply a command now; what the hand was told, or None where nothing was sent for it.

        That is so where it is not followed, where it starts a grip, and where it waits for its slot.
        """
        taken_ns = self._clock()
        if taken_ns >= command.expires_ns:
            self.counters.commands_late += 1
            return None
        decision, sent = self._step(command, taken_ns)
        return sent if decision is not None and decision.state is GateState.ARMED else None

    def withdraw(self, command: HandCommand) -> None:
        """Take the newest command back, now: it counts as expired, and the gate answers its silence."""
        self._step(replace(command, expires_ns=min(command.expires_ns, self._clock())))

    def tick(self) -> GateDecision | None:
        """One step without a new command; None if it failed."""
        return self._step(None)[0]

    def request_arm(
        self, who: str, report: PreUseReport, acknowledgement: str = "", asked_ns: int = 0
    ) -> bool:
        """Ask the gate to arm; whether it did. The events say why not.

        `asked_ns` is when that was decided (host, `time.monotonic_ns`), 0 for now: who asked for rest since then is
        not overruled.
        """
        with self._lock:
            now_ns = self._clock()
            refusal = ""
            if self._is_closing:
                refusal = "the guard is about to end: start another one, then arm"
            elif 0 < asked_ns <= self._rest_asked_ns:
                refusal = "somebody has asked for rest since: ask again, then arm"
            elif asked_ns > now_ns:
                refusal = "it was asked for in the future: ask again, then arm"
            if refusal:
                events: tuple[GateEvent, ...] = (GateEvent(now_ns, "arm refused", refusal, who or "nobody"),)
            else:
                link, state = self._hand.link, self._hand.state
                events = self._gate.arm(now_ns, who, link, state, report, acknowledgement)
        self._emit(events)
        return any(event.kind == "arm" for event in events)

    def request_disarm(self, who: str) -> None:
        """Send nothing more; a release under way is finished first."""
        with self._lock:
            self._rest_asked_ns = now_ns = self._clock()
            events = self._gate.disarm(now_ns, who)
        self._emit(events)

    def request_stop(self, who: str) -> None:
        """Stop the hand where it is, now, until armed again."""
        with self._lock:
            self._rest_asked_ns = now_ns = self._clock()
            events = self._gate.stop(now_ns, who)
        self._emit(events)
        self.tick()

    def request_release(self, who: str) -> None:
        """Send the hand to rest, now or as soon as the link is up."""
        with self._lock:
            self._rest_asked_ns = now_ns = self._clock()
            events = self._gate.release(now_ns, who)
        self._emit(events)
        self.tick()

    def report_fault(self, who: str, what: str) -> None:
        """Whoever makes the commands has failed: relax, until armed again."""
        with self._lock:
            events = self._gate.report_fault(self._clock(), who, what)
        self._emit(events)
        self.tick()

    @property
    def adjustments(self) -> Adjustments:
        """The wearer's, as they are now."""
        return self._gate.adjustments

    def adjust(self, who: str, adjustments: Adjustments) -> None:
        """The wearer's adjustments from now on."""
        with self._lock:
            events = self._gate.adjust(self._clock(), who, adjustments)
        self._emit(events)

    @property
    def limits(self) -> GateLimits:
        """The gate's, as they are now."""
        return self._gate.limits

    @property
    def time_to_rest_s(self) -> float:
        """How long a release may take by the limits, from where it may begin now."""
        return self._gate.time_to_rest_s

    def limit(self, who: str, limits: GateLimits) -> GateLimits:
        """Other limits for the gate, from its next step on, without a stop; those in force then.

        NervehandError says why they are refused, all of them: more than the hand can do, or other grips.
        """
        with self._lock:
            events = self._gate.limit(self._clock(), who, limits, self._hand.capabilities)
            now = self._gate.limits
        self._emit(events)
        for event in events:
            if event.kind == "limits refused":
                raise NervehandError(event.text)
        return now

    def start(self) -> None:
        """Start stepping by itself."""
        if self._thread is not None:
            raise NervehandError("the guard loop runs already: start it once")
        self._thread = threading.Thread(target=self._run, name="guard", daemon=True)
        self._thread.start()

    def close(self, release_s: float | None = None) -> None:
        """Release, give the hand up to `release_s` to reach rest, disarm, and end the thread.

        None: as long as its limits let it take, and RELEASE_MARGIN_S more. Where that was not enough, an event says so.
        """
        if self._ending.is_set():
            return
        if release_s is None:
            release_s = self._gate.time_to_rest_s + RELEASE_MARGIN_S
        with self._lock:
            self._is_closing = True
        self.request_release("guard loop")
        left_s = {True: release_s, False: min(release_s, RELEASE_MARGIN_S)}  # by whether the link is up
        while self._thread is not None and not self._rested() and min(left_s.values()) > 0:
            time.sleep(self._period_ns / NS)
            left_s[self._hand.link is LinkState.CONNECTED] -= self._period_ns / NS
        if self._thread is not None and not self._rested():
            waited_s = release_s if left_s[True] <= 0 else min(release_s, RELEASE_MARGIN_S)
            text = f"the hand has not told that it is at rest within {waited_s:.1f} s: look at it before it is touched"
            self._emit((GateEvent(self._clock(), "release given up", text, "guard loop"),))
        self._ending.set()
        self._woken.set()
        if self._thread is not None:
            self._thread.join()
        self.request_disarm("guard loop")

    def __enter__(self) -> Self:
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
            wait_ns = self._due_ns - self._clock()
            if wait_ns > 0:
                if self._movement.is_awaiting:
                    self._look()
                    wait_ns = min(wait_ns, LOOK_NS)
                self._woken.wait(wait_ns / NS)
                self._woken.clear()
                continue
            self.counters.late_loops += -wait_ns > self._period_ns
            self.tick()

    def _look(self) -> None:
        """Only whether the hand moves, without a step."""
        with self._lock:
            self._hear(self._hand.state)

    def _hear(self, state: HandState | None) -> None:
        moved = None if state is None else self._movement.reported(state)
        if moved is not None and self._on_moved is not None:
            self._tell(self._on_moved, moved)

    def _trace(self, decision: GateDecision, sent: Sent | None, state: HandState | None) -> None:
        """What this step was for the movement of the hand; what fails here is counted, and stops nothing."""
        try:
            self._hear(state)
            if sent is not None and sent.state is GateState.ARMED:
                was_awaiting = self._movement.is_awaiting
                self._movement.sent(sent.sample_index, sent.sent_ns, self._gate.aim)
                if self._movement.is_awaiting and not was_awaiting:
                    self._woken.set()  # to look more often from now on
            elif decision.state is not GateState.ARMED:
                self._movement.stopped(() if sent is None else sent.positions.tolist())
        except Exception:
            if not self._has_lost_trace:
                logger.exception("the trace of movements failed")
            self._has_lost_trace = True
            self.counters.errors += 1

    def _step(
        self, command: HandCommand | None, taken_ns: int = 0
    ) -> tuple[GateDecision | None, Sent | None]:
        """`taken_ns` is when a new command was taken; 0 for an older one, or none."""
        sent = None
        decision = None
        events: tuple[GateEvent, ...]
        with self._lock:
            now_ns = self._clock()
            self._due_ns = now_ns + self._period_ns
            self.counters.steps += 1
            try:
                if command is not None:
                    self._commanded = command.sample_index
                    self._taken_ns = taken_ns or self._taken_ns
                link, state = self._hand.link, self._hand.state
                decision = self._gate.step(now_ns, command, link, state)
                events = decision.events
                if decision.send:
                    sent = self._send(decision, now_ns)
                elif decision.grip:
                    self._hand.grip(decision.grip, self._grip_speed(), now_ns)
                elif (
                    now_ns < self._gate.next_slot_ns < self._due_ns
                ):  # what waits for its slot goes out in it
                    self._due_ns = self._gate.next_slot_ns
                    self._woken.set()
                self._decision, self._failure = decision, ""
                if self._on_moved is not None:
                    self._trace(decision, sent, state)
            except Exception as error:
                self.counters.errors += 1
                decision = None
                events = self._gate.report_fault(now_ns, "guard loop", repr(error))
                self._gate.not_sent()
                if repr(error) == self._failure:  # said already
                    events = ()
                else:
                    logger.exception("the guard loop failed")
                self._failure = repr(error)
            self._count(decision, taken_ns > 0)
        self._emit(events)
        return decision, sent

    def _count(self, decision: GateDecision | None, is_new: bool) -> None:
        """What has become of the newest command, where it is new or has waited for its slot until now."""
        followed = decision if decision is not None and decision.state is GateState.ARMED else None
        if self._waits and (is_new or followed is None):
            self.counters.commands_overtaken += 1
            self._waits = False
        if followed is None:
            self.counters.commands_withheld += is_new
        elif is_new or self._waits:
            self._waits = not (followed.send or self._gate.limits.grips)
            self.counters.commands_applied += not self._waits

    def _grip_speed(self) -> float:
        """The share of the hand's own speed that keeps every degree of freedom within its limit."""
        own = self._hand.capabilities.max_speed_per_s.tolist()
        limits = map(min, self._gate.limits.max_speed_per_s.tolist(), self._gate.adjustments.max_speed_per_s)
        shares: list[float] = [limit / speed for limit, speed in zip(limits, own, strict=True) if speed > 0]
        return min(1.0, *shares)

    def _send(self, decision: GateDecision, now_ns: int) -> Sent:
        decided_ns = self._clock()
        positions = self._hand.send(decision.positions, now_ns).positions
        follows, taken_ns = NO_COMMAND, 0
        if decision.state is GateState.ARMED:
            follows, taken_ns = self._commanded, self._taken_ns
        sent = Sent(self._clock(), follows, positions, decision.state, taken_ns, decided_ns)
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
