"""The only way to a hand: limits, expiry and quality of each command, and the declared safe action otherwise.

`SafetyGate.step` is called at a steady rate whether or not a command arrived. It has no clock, no thread and
no I/O, and knows nothing of decoding: `gate_rules.RULES`, `GateLimits` and the state of the link decide what it
may send. docs/safety.md draws its states.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from firmware_bridge.gate_rules import GRAVITY, RULES, Cause, GateLimits, GateState, Recovery, SafeAction
from firmware_bridge.hand import N_DOF, HandCommand, HandState, LinkState, WatchdogAction

__all__ = ["Cause", "GateDecision", "GateEvent", "GateLimits", "GateState", "SafeAction", "SafetyGate"]

NS = 1_000_000_000


@dataclass(frozen=True, slots=True)
class GateEvent:
    """Something that a person may want to know later.

    `kind` is stable: a request ("arm", "arm refused", "disarm", "disarm refused", "stop", "release", "fault")
    or the `GateState` that was entered, or stayed in for another cause. `text` is for people.
    """

    time_ns: int
    kind: str
    text: str
    who: str = "gate"


@dataclass(frozen=True, slots=True)
class GateDecision:
    """One step's outcome: `positions` (6,) float32, finite and inside the limits, go to the hand if `send`.

    `cause` is what keeps the gate from following the commands or from sending a release; None if nothing.
    """

    positions: NDArray[np.float32]
    send: bool
    state: GateState
    cause: Cause | None
    events: tuple[GateEvent, ...] = field(default=())


Positions = tuple[float, ...]
"""Six positions, or as many speeds: plain numbers, because NumPy takes longer to be called than to add six of them."""

REST: Positions = (0.0,) * N_DOF


def _plain(values: NDArray[np.float32]) -> Positions:
    return tuple(values.astype(np.float64).tolist())


def _towards(start: float, target: float, reach: float, low: float, high: float) -> float:
    """From `start` to `target`, both brought inside `low` to `high`, but no further than `reach`."""
    start = low if start < low else high if start > high else start
    way = (low if target < low else high if target > high else target) - start
    return start + (reach if way > reach else -reach if way < -reach else way)


class SafetyGate:
    """Judges every command by `limits` and answers each `Cause` as `RULES` says.

    `watchdog_action` is what the hand does by itself when commands stop; where it is UNKNOWN, `arm` needs an
    acknowledgement. Not thread-safe: one owner calls it.
    """

    def __init__(self, limits: GateLimits, watchdog_action: WatchdogAction) -> None:
        self._limits = limits
        self._watchdog_action = watchdog_action
        self._mode = GateState.DISARMED
        self._latched: Cause | None = None
        self._command: HandCommand | None = None
        self._command_since_ns = 0
        self._positions = REST
        self._lower, self._upper = _plain(limits.lower), _plain(limits.upper)
        self._speed = _plain(limits.max_speed_per_s)
        self._rest_band = float(np.float32(limits.rest_band))  # targets are float32, and 0.15 is rest
        self._sending = False
        self._step_ns: int | None = None
        self._link_down_ns: int | None = None
        self._shown: tuple[GateState, Cause | None] = (GateState.DISARMED, None)

    @property
    def limits(self) -> GateLimits:
        """What it was made with."""
        return self._limits

    @property
    def state(self) -> GateState:
        """The state after the last step or request."""
        return self._shown[0]

    @property
    def at_rest(self) -> bool:
        """Whether what was last sent is rest in every DOF."""
        return self._sending and not any(self._positions)

    def arm(
        self, now_ns: int, who: str, link: LinkState, state: HandState | None, acknowledgement: str = ""
    ) -> tuple[GateEvent, ...]:
        """Allow motion once the intent has passed rest. Ends a stop, a fault and a release.

        Refused (state unchanged, an event `arm refused` says why) while the hand is not there, has not
        reported since the link came up, or reports a fault; and for a hand whose watchdog is unknown unless
        `acknowledgement` names the person who accepts that.
        """
        refusal = ""
        if not who:
            refusal = "nobody is named: say who arms"
        elif not self._link_up(now_ns, link, state):
            refusal = f"the hand is not there (link {link.value}): connect it and wait for its first report"
        elif state is not None and state.fault:
            refusal = f"the hand reports {state.fault!r}: clear it first"
        elif self._watchdog_action is WatchdogAction.UNKNOWN and not acknowledgement:
            refusal = "what the hand does when commands stop is unknown: name who acknowledges that"
        if refusal:
            return (GateEvent(now_ns, "arm refused", refusal, who or "nobody"),)
        self._mode = GateState.ARMED
        self._latched = Cause.AWAITING_REST
        self._command = None
        self._sending = False
        text = "armed" + (f"; unknown watchdog acknowledged by {acknowledgement}" if acknowledgement else "")
        shown = self._show(now_ns, GateState.HOLDING, Cause.AWAITING_REST)
        return (GateEvent(now_ns, "arm", text, who), *shown)

    def disarm(self, now_ns: int, who: str) -> tuple[GateEvent, ...]:
        """Send nothing more. A release that has not reached rest is finished first: ask again after it."""
        if self._mode is GateState.RELEASED and not self.at_rest:
            return (GateEvent(now_ns, "disarm refused", "a release is under way: let it reach rest", who),)
        self._mode = GateState.DISARMED
        return (
            GateEvent(now_ns, "disarm", "disarm requested", who),
            *self._show(now_ns, GateState.DISARMED, None),
        )

    def stop(self, now_ns: int, who: str) -> tuple[GateEvent, ...]:
        """Stop where the hand is, until armed again. A release goes on: it is the way out of a grip."""
        self._latch(Cause.STOPPED)
        return (GateEvent(now_ns, "stop", "stop requested", who),)

    def report_fault(self, now_ns: int, who: str, what: str) -> tuple[GateEvent, ...]:
        """The decoder, or what drives the gate, has failed: relax, until armed again."""
        self._latch(Cause.DECODE_FAULT)
        return (GateEvent(now_ns, "fault", what, who),)

    def release(self, now_ns: int, who: str) -> tuple[GateEvent, ...]:
        """Go to rest within the speed limit, from any state; kept until the link is up where it is down."""
        self._mode = GateState.RELEASED
        return (GateEvent(now_ns, "release", "release requested", who),)

    def step(
        self, now_ns: int, command: HandCommand | None, link: LinkState, state: HandState | None
    ) -> GateDecision:
        """What to send at host time `now_ns`; `command` is the newest one, or None where none came since."""
        dt_s = self._elapsed_s(now_ns)
        if command is not None:
            self._command, self._command_since_ns = command, now_ns
        link_up = self._link_up(now_ns, link, state)
        if link is not LinkState.CONNECTED:
            self._link_down_ns = now_ns

        shown, cause, action = self._plan(now_ns, link_up, state)
        send = action is not SafeAction.SILENT
        if send:
            if not self._sending:
                self._positions = self._start_from(state)
            target, speed = self._aim(action)
            self._ramp(target, speed, dt_s)
        self._sending = send
        if cause is Cause.LINK_LOST and self._mode is GateState.ARMED:
            self._mode = GateState.DISARMED
        events = self._show(now_ns, shown, cause)
        return GateDecision(np.array(self._positions, np.float32), send, shown, cause, events)

    def _plan(
        self, now_ns: int, link_up: bool, state: HandState | None
    ) -> tuple[GateState, Cause | None, SafeAction | None]:
        """The state to be in, why, and what to do; no action means to follow the command."""
        if self._mode is GateState.ARMED:
            cause = self._judge(now_ns, link_up, state)
            if cause is None:
                return GateState.ARMED, None, None
            return RULES[cause].state, cause, RULES[cause].action
        if not link_up:
            return self._mode, Cause.LINK_LOST, SafeAction.SILENT
        released = self._mode is GateState.RELEASED
        return self._mode, None, SafeAction.RELEASE if released else SafeAction.SILENT

    def _elapsed_s(self, now_ns: int) -> float:
        """Seconds since the last step, never negative and never beyond the cap."""
        last_ns = now_ns if self._step_ns is None else self._step_ns
        self._step_ns = max(now_ns, last_ns)
        return min(max(now_ns - last_ns, 0) / NS, self._limits.max_step_s)

    def _link_up(self, now_ns: int, link: LinkState, state: HandState | None) -> bool:
        """Connected, and the hand has reported lately, and since the link was last seen down."""
        if link is not LinkState.CONNECTED or state is None:
            return False
        if self._link_down_ns is not None and state.reported_ns <= self._link_down_ns:
            return False
        return now_ns - state.reported_ns < self._limits.link_timeout_s * NS

    def _latch(self, cause: Cause) -> None:
        """Keep the graver cause in force. Without effect unless armed, because arming begins anew."""
        if self._latched is None or GRAVITY[cause] < GRAVITY[self._latched]:
            self._latched = cause

    def _judge(self, now_ns: int, link_up: bool, state: HandState | None) -> Cause | None:
        """The gravest cause in force, after latching and unlatching; None to follow the command."""
        present = list(self._present(now_ns, link_up, state))
        for cause in present:
            if RULES[cause].recovery is not Recovery.AT_ONCE:
                self._latch(cause)
        if (
            not present
            and self._latched is not None
            and RULES[self._latched].recovery is Recovery.THROUGH_REST
            and self._command is not None
            and all(abs(v) <= self._rest_band for v in self._command.targets.tolist())
        ):
            self._latched = None
        if self._latched is not None:
            present.append(self._latched)
        return min(present, key=GRAVITY.__getitem__) if present else None

    def _present(self, now_ns: int, link_up: bool, state: HandState | None) -> Iterator[Cause]:
        """Every cause whose condition holds now."""
        if not link_up:
            yield Cause.LINK_LOST
        if state is not None and state.fault:
            yield Cause.HAND_FAULT
        command = self._command
        if command is None:
            yield Cause.SILENCE
            return
        age_ns = now_ns - min(command.issued_ns, self._command_since_ns)
        if now_ns >= command.expires_ns or age_ns >= self._limits.stale_after_s * NS:
            yield Cause.SILENCE
        targets = command.targets.tolist() if command.targets.shape == (N_DOF,) else [math.nan]
        if not all(map(math.isfinite, targets)):
            yield Cause.MALFORMED
        elif max(map(abs, targets)) > 1:
            yield Cause.OUT_OF_RANGE
        if not command.quality.healthy_fraction >= self._limits.min_healthy_fraction:
            yield Cause.UNHEALTHY
        if command.quality.warming:
            yield Cause.WARMING
        if not command.quality.confidence >= self._limits.min_confidence:
            yield Cause.LOW_CONFIDENCE

    def _aim(self, action: SafeAction | None) -> tuple[Positions, Positions]:
        """Where to go, and how fast (per second), for each DOF."""
        if action is None and self._command is not None:
            return tuple(self._command.targets.tolist()), self._speed
        if action is SafeAction.RELEASE:
            return REST, self._speed
        if action is SafeAction.RELAX:
            slow = 1.0 / self._limits.relax_duration_s
            return REST, tuple(min(speed, slow) for speed in self._speed)
        return self._positions, self._speed

    def _start_from(self, state: HandState | None) -> Positions:
        """Where the hand says it is; what was last sent for a DOF that it does not measure."""
        if state is None or state.positions.shape != (N_DOF,):
            return self._positions
        reported = zip(state.positions.tolist(), self._positions, strict=True)
        return tuple(float(there) if math.isfinite(there) else sent for there, sent in reported)

    def _ramp(self, target: Positions, speed: Positions, dt_s: float) -> None:
        """Go towards `target`, as far as `dt_s` allows; rounding to float32 cannot pass a float32 limit."""
        dofs = zip(self._positions, target, speed, self._lower, self._upper, strict=True)
        self._positions = tuple(_towards(at, to, v * dt_s, low, high) for at, to, v, low, high in dofs)

    def _show(self, now_ns: int, state: GateState, cause: Cause | None) -> tuple[GateEvent, ...]:
        if (state, cause) == self._shown:
            return ()
        self._shown = (state, cause)
        why = f": {cause.value}" if cause is not None else ""
        return (GateEvent(now_ns, state.value, f"{state.value}{why}"),)
