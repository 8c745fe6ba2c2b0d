"""The only way to a hand: limits, expiry and quality of each command, and the declared safe action otherwise.

`SafetyGate.step` is called at a steady rate whether or not a command arrived. It has no clock, no thread and
no I/O, and knows nothing of decoding: `gate_rules.RULES`, `GateLimits`, the wearer's adjustments and what the hand
says decide what it may send. docs/safety.md draws its states.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from firmware_bridge.adjustments import Adjustments
from firmware_bridge.arming import laxer_than_usual, refusal_by_check, refusal_by_hand, told, unnamed
from firmware_bridge.gate_limits import GateLimits
from firmware_bridge.gate_rules import GRAVITY, Cause, GateState, Recovery, SafeAction, rules_with
from firmware_bridge.hand import N_DOF, HandCapabilities, HandCommand, HandState, LinkState, WatchdogAction
from firmware_bridge.hand_watch import HandWatch
from firmware_bridge.preuse import PreUseReport
from firmware_bridge.ramp import REST, Positions, Ramp

__all__ = ["Cause", "GateDecision", "GateEvent", "GateLimits", "GateState", "SafeAction", "SafetyGate"]

NS = 1_000_000_000
REST_GESTURE = "rest"
RELEASING = "a release is under way: let it reach rest"


@dataclass(frozen=True, slots=True)
class GateEvent:
    """Something that a person may want to know later.

    `kind` is stable: a request ("arm", "arm refused", "disarm", "disarm refused", "stop", "release", "fault",
    "adjust", "adjust refused", "limits", "limits refused"), "grip" (one was started), "hand" (what it reports is
    against moving it), or the `GateState` that was entered, or stayed in for another cause. `text` is for people;
    `who` asked for it.
    """

    time_ns: int
    kind: str
    text: str
    who: str = "gate"


@dataclass(frozen=True, slots=True)
class GateDecision:
    """One step's outcome: `positions` (6,) float32, finite and inside the limits, go to the hand if `send`.

    After a change of the limits they are on their way inside, and inside what was allowed before.
    Where `grip` names one of the hand's own grips, it is to be started now, and nothing else is sent.
    `cause` is what keeps the gate from following the commands or from sending a release; None if nothing.
    """

    positions: NDArray[np.float32]
    send: bool
    state: GateState
    cause: Cause | None
    events: tuple[GateEvent, ...] = field(default=())
    grip: str = ""


class SafetyGate:
    """Judges every command by `limits` and answers each `Cause` as `RULES` and `limits.actions` say.

    `watchdog_action` is what the hand does by itself when commands stop; where it is UNKNOWN, `arm` needs an
    acknowledgement. Not thread-safe: one owner calls it.
    """

    def __init__(self, limits: GateLimits, watchdog_action: WatchdogAction) -> None:
        self._watchdog_action = watchdog_action
        self._adjustments = Adjustments()
        self._ramp = Ramp(*_of_motion(limits))
        self._watch = HandWatch(limits)
        self._take(limits)
        self._rules = self._declared
        self._aim = REST
        self._mode = GateState.DISARMED
        self._latched: Cause | None = None
        self._command: HandCommand | None = None
        self._command_since_ns = 0
        self._sending = False
        self._sent_ns: int | None = None
        self._moved_ns: int | None = None
        self._grip = ""
        self._news: list[str] = []
        self._overloaded = False
        self._eased: Positions | None = None
        self._link_down_ns: int | None = None
        self._connection: int | None = None
        self._shown: tuple[GateState, Cause | None] = (GateState.DISARMED, None)
        self._who: dict[GateState | Cause | None, str] = {}

    def _take(self, limits: GateLimits) -> None:
        """Go by these limits from the next step on."""
        self._limits = limits
        self._declared = rules_with(limits.actions)
        self._speed = _plain(limits.max_speed_per_s)
        self._follow_speed = tuple(map(min, self._speed, self._adjustments.max_speed_per_s))
        self._relax_speed = tuple(min(speed, 1.0 / limits.relax_duration_s) for speed in self._speed)
        self._open = _plain(limits.open_positions)
        self._rest_band = float(np.float32(limits.rest_band))  # targets are float32, and 0.15 is rest
        self._slot_ns = math.ceil(NS / limits.max_command_rate_hz)
        self._longest_s = max(limits.max_step_s, self._slot_ns / NS)

    @property
    def limits(self) -> GateLimits:
        """What is in force; safe actions that were declared for a cause in force begin after it."""
        return self._limits

    @property
    def aim(self) -> Positions:
        """Where the hand was last sent on its way to (6,), inside the limits."""
        return self._aim

    @property
    def time_to_rest_s(self) -> float:
        """How long a release may take, also from where earlier limits have left the hand."""
        return max(self._limits.time_to_rest_s, self._ramp.time_to_rest_s(self._speed))

    @property
    def adjustments(self) -> Adjustments:
        """The wearer's, as they are now."""
        return self._adjustments

    @property
    def state(self) -> GateState:
        """The state after the last step or request."""
        return self._shown[0]

    @property
    def at_rest(self) -> bool:
        """Whether what was last sent is rest in every DOF."""
        return self._sending and not any(self._ramp.positions)

    @property
    def _is_releasing(self) -> bool:
        """Whether a release has not reached rest, or waits for the link."""
        return self._mode is GateState.RELEASED and not self.at_rest

    @property
    def next_slot_ns(self) -> int:
        """From when on something may be sent again."""
        return 0 if self._sent_ns is None else self._sent_ns + self._slot_ns

    def arm(
        self,
        now_ns: int,
        who: str,
        link: LinkState,
        state: HandState | None,
        report: PreUseReport,
        acknowledgement: str = "",
    ) -> tuple[GateEvent, ...]:
        """Allow motion once the intent has passed rest. Ends a stop, a fault, and a release that has reached rest.

        Refused (state unchanged, an event `arm refused` says why) while a release is under way, the hand is not
        there, has not reported
        since the link came up, or reports what would have to be answered by a fault or by opening it; where `report`
        has neither passed nor been overridden by name, or is older than `check_valid_s`; and for a hand whose
        watchdog is unknown unless `acknowledgement` names the person who accepts that.
        """
        there = self._link_up(now_ns, link, state)
        refusal = (
            ("nobody is named: say who arms" if unnamed(who) else "")
            or (RELEASING if self._is_releasing else "")
            or refusal_by_hand(there, link, state.fault if state else "", self._watch.objection(state))
            or refusal_by_check(now_ns, report, self._limits, self._watchdog_action, acknowledgement)
        )
        if refusal:
            return (GateEvent(now_ns, "arm refused", refusal, who or "nobody"),)
        self._mode = GateState.ARMED
        self._rules = self._declared
        self._latched = Cause.AWAITING_REST
        self._command = None
        self._sending = False
        self._eased = None
        self._watch.forget()
        self._who[Cause.AWAITING_REST] = who
        shown = self._show(now_ns, GateState.HOLDING, Cause.AWAITING_REST)
        return (GateEvent(now_ns, "arm", told(report, acknowledgement, self._limits), who), *shown)

    def disarm(self, now_ns: int, who: str) -> tuple[GateEvent, ...]:
        """Send nothing more. A release that has not reached rest is finished first: ask again after it."""
        if self._is_releasing:
            return (GateEvent(now_ns, "disarm refused", RELEASING, who),)
        self._mode = GateState.DISARMED
        self._who[GateState.DISARMED] = who
        return (
            GateEvent(now_ns, "disarm", "disarm requested", who),
            *self._show(now_ns, GateState.DISARMED, None),
        )

    def stop(self, now_ns: int, who: str) -> tuple[GateEvent, ...]:
        """Stop where the hand is, until armed again. A release goes on: it is the way out of a grip."""
        self._latch(Cause.STOPPED)
        self._who[Cause.STOPPED] = who
        return (GateEvent(now_ns, "stop", "stop requested", who),)

    def report_fault(self, now_ns: int, who: str, what: str) -> tuple[GateEvent, ...]:
        """The decoder, or what drives the gate, has failed: relax, until armed again. Its command is forgotten."""
        self._latch(Cause.DECODE_FAULT)
        self._command = None
        self._who[Cause.DECODE_FAULT] = who
        return (GateEvent(now_ns, "fault", what, who),)

    def release(self, now_ns: int, who: str) -> tuple[GateEvent, ...]:
        """Go to rest within the limits, from any state; kept until the link is up where it is down."""
        self._mode = GateState.RELEASED
        self._who[GateState.RELEASED] = who
        return (GateEvent(now_ns, "release", "release requested", who),)

    def not_sent(self) -> None:
        """What was to be sent last has not gone out: nothing is known of where the hand was sent."""
        self._sending = False

    def adjust(self, now_ns: int, who: str, adjustments: Adjustments) -> tuple[GateEvent, ...]:
        """The wearer's adjustments from now on, in any state; they matter only where commands are followed."""
        if unnamed(who):
            return (GateEvent(now_ns, "adjust refused", "nobody is named: say who adjusts", "nobody"),)
        changes = adjustments.changes_from(self._adjustments)
        if not changes:
            return ()
        self._adjustments = adjustments
        self._follow_speed = tuple(map(min, self._speed, adjustments.max_speed_per_s))
        self._who[Cause.LOCKED] = who
        return (GateEvent(now_ns, "adjust", "; ".join(changes), who),)

    def limit(
        self, now_ns: int, who: str, limits: GateLimits, capabilities: HandCapabilities
    ) -> tuple[GateEvent, ...]:
        """Other limits from the next step on, in any state, which stays what it is. All of them, or none.

        Refused (an event `limits refused` says why) where they are more than a hand of these capabilities can do, and
        where they name other grips. Nothing jumps: a hand outside a narrower range goes inside as it follows, relaxes,
        opens or is released, and what holds stays; what is too fast brakes. Another safe action begins with the next
        cause: what answers a cause in force goes on.
        """
        refusal = (
            ("nobody is named: say who changes the limits" if unnamed(who) else "")
            or (
                "other grips need a new start: end it, and start it anew"
                if limits.grips != self._limits.grips
                else ""
            )
            or limits.beyond(capabilities)
        )
        if refusal:
            return (GateEvent(now_ns, "limits refused", refusal, who or "nobody"),)
        changes = limits.changes_from(self._limits)
        if not changes:
            return ()
        self._take(limits)
        self._ramp.limit(*_of_motion(limits))
        self._watch.limit(limits)
        if self._mode is not GateState.ARMED or self._shown[1] is None:
            self._rules = self._declared
        return (GateEvent(now_ns, "limits", "; ".join(changes) + laxer_than_usual(limits), who),)

    def step(
        self, now_ns: int, command: HandCommand | None, link: LinkState, state: HandState | None
    ) -> GateDecision:
        """What to send at host time `now_ns`; `command` is the newest one, or None where none came since."""
        if command is not None:
            self._command, self._command_since_ns = command, now_ns
        link_up = self._link_up(now_ns, link, state)
        if link is not LinkState.CONNECTED:
            self._link_down_ns = now_ns
        if state is not None:
            # A link that went and came between two steps is seen by the number of its connection.
            link_up = link_up and self._connection in (None, state.connection)
            self._connection = state.connection

        self._news.clear()
        shown, cause, action = self._plan(now_ns, link_up, state)
        events = tuple([GateEvent(now_ns, "hand", text) for text in self._news])
        events += self._show(now_ns, shown, cause, state)
        if cause is Cause.LINK_LOST and self._mode is GateState.ARMED:
            self._mode = GateState.DISARMED
            self._who.pop(GateState.DISARMED, None)
        send, grip = False, ""
        if action is SafeAction.SILENT or (action is None and self._limits.grips):
            self._sending = False
            self._elapsed_s(now_ns)
            if action is None:
                grip = self._next_grip(now_ns)
                events += (GateEvent(now_ns, "grip", f"the hand's own grip {grip!r}"),) if grip else ()
        elif send := self._takes_slot(now_ns):
            self._move(now_ns, action, state)
        if action is not None:
            self._grip = ""
        if action is not SafeAction.HOLD:
            self._eased = None
        positions = np.array(self._ramp.positions, np.float32)
        return GateDecision(positions, send, shown, cause, events, grip)

    def _plan(
        self, now_ns: int, link_up: bool, state: HandState | None
    ) -> tuple[GateState, Cause | None, SafeAction | None]:
        """The state to be in, why, and what to do; no action means to follow the command."""
        if self._mode is GateState.ARMED:
            cause = self._judge(now_ns, link_up, state)
            if cause is None:
                self._rules = self._declared
                return GateState.ARMED, None, None
            return self._rules[cause].state, cause, self._rules[cause].action
        if not link_up:
            return self._mode, Cause.LINK_LOST, SafeAction.SILENT
        released = self._mode is GateState.RELEASED
        return self._mode, None, SafeAction.RELEASE if released else SafeAction.SILENT

    def _link_up(self, now_ns: int, link: LinkState, state: HandState | None) -> bool:
        """Connected, and the hand has reported lately, and since the link was last seen down."""
        if link is not LinkState.CONNECTED or state is None:
            return False
        if self._link_down_ns is not None and state.reported_ns <= self._link_down_ns:
            return False
        return abs(now_ns - state.reported_ns) < self._limits.link_timeout_s * NS

    def _latch(self, cause: Cause) -> None:
        """Keep the graver cause in force. Without effect unless armed, because arming begins anew."""
        if self._latched is None or GRAVITY[cause] < GRAVITY[self._latched]:
            self._latched = cause

    def _judge(self, now_ns: int, link_up: bool, state: HandState | None) -> Cause | None:
        """The gravest cause in force, after latching and unlatching; None to follow the command."""
        present = list(self._present(now_ns, link_up, state))
        for cause in present:
            if self._rules[cause].recovery is not Recovery.AT_ONCE:
                self._latch(cause)
        if (
            not present
            and self._latched is not None
            and self._rules[self._latched].recovery is Recovery.THROUGH_REST
            and self._command is not None
            and self._intends_rest(self._command)
        ):
            self._latched = None
        if self._latched is not None:
            present.append(self._latched)
        return min(present, key=GRAVITY.__getitem__) if present else None

    def _present(self, now_ns: int, link_up: bool, state: HandState | None) -> Iterator[Cause]:
        """Every cause whose condition holds now."""
        if not link_up or state is None:
            yield Cause.LINK_LOST
        else:
            yield from self._watched(state)
            if state.fault:
                yield Cause.HAND_FAULT
        if self._adjustments.hand_locked:
            yield Cause.LOCKED
        command = self._command
        if command is None:
            yield Cause.SILENCE
            return
        silent_ns = now_ns - self._command_since_ns
        if now_ns >= command.expires_ns or silent_ns >= self._limits.silence_after_s * NS:
            yield Cause.SILENCE
        if now_ns - min(command.issued_ns, self._command_since_ns) >= self._limits.stale_after_s * NS:
            yield Cause.STALE
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

    def _watched(self, state: HandState) -> tuple[Cause, ...]:
        """What the hand's report is against, and what of it is news."""
        found = self._watch.look(state, self._ramp.positions if self._sending else None)
        self._news.extend(self._watch.news)
        self._overloaded = Cause.OVERLOADED in found
        return found

    def _intends_rest(self, command: HandCommand) -> bool:
        """Whether a command is rest: every target, also with the wearer's gain, and the gesture where gestures start
        grips."""
        targets = tuple(command.targets.tolist())
        return all(abs(v) <= self._rest_band for v in (*targets, *self._adjustments.adjusted(targets))) and (
            not self._limits.grips or command.gesture == REST_GESTURE
        )

    def _move(self, now_ns: int, action: SafeAction | None, state: HandState | None) -> None:
        """One step of the ramp, in a slot that was taken for it."""
        if not self._sending:
            self._ramp.start(self._where(state))
        self._sending = True
        self._aim, speed = self._course(action, state)
        self._ramp.advance(self._aim, speed, self._elapsed_s(now_ns), self._longest_s)

    def _course(self, action: SafeAction | None, state: HandState | None) -> tuple[Positions, Positions]:
        """Where to go, and how fast (per second), for each DOF."""
        here = self._ramp.positions
        if action is None and self._command is not None:
            targets = self._adjustments.applied(self._command.targets.tolist(), here)
            return self._ramp.within(targets), self._follow_speed
        if action is SafeAction.RELEASE:
            return REST, self._speed
        if action is SafeAction.RELAX:
            return REST, self._relax_speed
        if action is SafeAction.OPEN:
            return self._open, self._speed
        if self._overloaded:
            self._eased = tuple(map(_eased, here, self._where(state)))
        return self._eased or here, self._speed

    def _where(self, state: HandState | None) -> Positions:
        """Where the hand says it is; what was last sent for a DOF that it does not measure."""
        sent = self._ramp.positions
        if state is None or state.positions.shape != (N_DOF,):
            return sent
        reported = zip(state.positions.tolist(), sent, strict=True)
        return tuple(there if math.isfinite(there) else to for there, to in reported)

    def _next_grip(self, now_ns: int) -> str:
        """The grip to start now, if the decided gesture has another one than the last; "" for none."""
        grip = self._limits.grips.get(self._command.gesture, "") if self._command is not None else ""
        if not grip or grip == self._grip or any(self._adjustments.locked) or not self._takes_slot(now_ns):
            return ""
        self._grip = grip
        return grip

    def _takes_slot(self, now_ns: int) -> bool:
        """Whether something may be sent now: never more in any second than the hand takes."""
        if self._sent_ns is not None and 0 <= now_ns - self._sent_ns < self._slot_ns:
            return False
        self._sent_ns = now_ns
        return True

    def _elapsed_s(self, now_ns: int) -> float:
        """Seconds since the last step that moved or had nothing to move; 0 where the clock ran backwards."""
        last_ns = now_ns if self._moved_ns is None else self._moved_ns
        self._moved_ns = max(now_ns, last_ns)
        return max(now_ns - last_ns, 0) / NS

    def _show(
        self, now_ns: int, shown: GateState, cause: Cause | None, state: HandState | None = None
    ) -> tuple[GateEvent, ...]:
        """An event where the state or its cause is another than before: what, why, and the way back."""
        if (shown, cause) == self._shown:
            return ()
        self._shown = (shown, cause)
        if cause is None:
            return (GateEvent(now_ns, shown.value, shown.value, self._who.get(shown, "gate")),)
        text = f"{shown.value}: {cause.value}"
        if cause is Cause.HAND_FAULT and state is not None:
            text += f" {state.fault!r}"
        if self._rules[cause].way_back:
            text += f"; {self._rules[cause].way_back}"
        return (GateEvent(now_ns, shown.value, text, self._who.get(cause, "gate")),)


def _of_motion(limits: GateLimits) -> tuple[Positions, ...]:
    """What a ramp keeps to."""
    return tuple(map(_plain, (limits.lower, limits.upper, limits.max_acceleration_per_s2)))


def _plain(values: NDArray[np.float32]) -> Positions:
    return tuple(values.astype(np.float64).tolist())


def _eased(sent: float, there: float) -> float:
    """Where a hand presses no longer: where it says it is, but never further from rest than it was sent."""
    return min(max(there, min(sent, 0.0)), max(sent, 0.0))
