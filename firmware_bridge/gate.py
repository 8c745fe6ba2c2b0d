"""The only way to a hand: limits, expiry and quality of each command, and the declared safe action otherwise.

`SafetyGate.step` is called at a steady rate whether or not a command arrived. It has no clock, no thread and
no I/O, and knows nothing of decoding: the table `RULES`, `GateLimits` and the state of the link decide what
it may send. docs/safety.md draws its states.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import Enum
from types import MappingProxyType

import numpy as np
from numpy.typing import ArrayLike, NDArray

from firmware_bridge.errors import NervehandError
from firmware_bridge.hand import N_DOF, HandCapabilities, HandCommand, HandState, LinkState, WatchdogAction

NS = 1_000_000_000


class GateState(Enum):
    """What the hand can expect of the gate."""

    DISARMED = "disarmed"
    """Sends nothing."""
    ARMED = "armed"
    """Follows the commands."""
    HOLDING = "holding"
    """Sends the last position again."""
    RELAXING = "relaxing"
    """Goes to rest, slowly."""
    RELEASED = "released"
    """Goes to rest within the speed limit and stays there, until armed again."""
    FAULTED = "faulted"
    """As the fault's action says, until armed again."""


class SafeAction(Enum):
    """What is sent instead of a command."""

    HOLD = "hold"
    RELAX = "relax"
    SILENT = "send nothing"


class Recovery(Enum):
    """What ends a cause, once its condition is gone."""

    AT_ONCE = "at once"
    THROUGH_REST = "once the intent has passed rest"
    BY_ARMING = "by arming"


class Cause(Enum):
    """Why a command is not followed."""

    LINK_LOST = "link lost"
    HAND_FAULT = "hand fault"
    STOPPED = "stop requested"
    DECODE_FAULT = "decode fault"
    AWAITING_REST = "waiting for the intent to pass rest"
    SILENCE = "no command in time"
    MALFORMED = "command not finite"
    OUT_OF_RANGE = "command out of range"
    UNHEALTHY = "signal unhealthy"
    WARMING = "decoder warming"
    LOW_CONFIDENCE = "low confidence"


@dataclass(frozen=True, slots=True)
class Rule:
    """The declared answer to a cause."""

    action: SafeAction
    state: GateState
    recovery: Recovery


RULES: Mapping[Cause, Rule] = MappingProxyType(
    {
        Cause.LINK_LOST: Rule(SafeAction.SILENT, GateState.DISARMED, Recovery.BY_ARMING),
        Cause.HAND_FAULT: Rule(SafeAction.SILENT, GateState.FAULTED, Recovery.BY_ARMING),
        Cause.STOPPED: Rule(SafeAction.HOLD, GateState.HOLDING, Recovery.BY_ARMING),
        Cause.DECODE_FAULT: Rule(SafeAction.RELAX, GateState.FAULTED, Recovery.BY_ARMING),
        Cause.AWAITING_REST: Rule(SafeAction.HOLD, GateState.HOLDING, Recovery.THROUGH_REST),
        Cause.MALFORMED: Rule(SafeAction.RELAX, GateState.RELAXING, Recovery.THROUGH_REST),
        Cause.UNHEALTHY: Rule(SafeAction.RELAX, GateState.RELAXING, Recovery.THROUGH_REST),
        Cause.SILENCE: Rule(SafeAction.RELAX, GateState.RELAXING, Recovery.AT_ONCE),
        Cause.OUT_OF_RANGE: Rule(SafeAction.HOLD, GateState.HOLDING, Recovery.AT_ONCE),
        Cause.WARMING: Rule(SafeAction.HOLD, GateState.HOLDING, Recovery.AT_ONCE),
        Cause.LOW_CONFIDENCE: Rule(SafeAction.HOLD, GateState.HOLDING, Recovery.AT_ONCE),
    }
)
"""Every cause and its answer, the gravest first: of several at once, the first one here is answered."""

_GRAVITY: Mapping[Cause, int] = MappingProxyType({cause: order for order, cause in enumerate(RULES)})


def _limit(name: str, values: ArrayLike) -> NDArray[np.float32]:
    array = np.array(values, dtype=np.float32)
    if array.shape != (N_DOF,) or not np.isfinite(array).all():
        raise NervehandError(f"gate limit {name} is {values!r}: give {N_DOF} finite numbers, one per DOF")
    array.flags.writeable = False
    return array


@dataclass(frozen=True, slots=True, eq=False)
class GateLimits:
    """What the gate lets through; checked when made.

    `lower` and `upper` are (6,) positions, -1 <= lower <= 0 <= upper <= 1, so that rest is always allowed.
    `max_speed_per_s` is (6,) in full flexions per second, above 0. A command is silence from its expiry on,
    and in any case `stale_after_s` after it was issued. `relax_duration_s` is how long the way from full
    flexion to rest takes when relaxing (never faster than the speed limit). The intent is at rest where no
    target is beyond `rest_band`. The link is lost when the hand has not reported for `link_timeout_s`.
    `max_step_s` caps the time that a ramp may make up for in one step, however late the step comes.
    """

    lower: NDArray[np.float32]
    upper: NDArray[np.float32]
    max_speed_per_s: NDArray[np.float32]
    stale_after_s: float = 0.25
    min_confidence: float = 0.0
    min_healthy_fraction: float = 0.75
    link_timeout_s: float = 0.3
    relax_duration_s: float = 1.0
    rest_band: float = 0.15
    max_step_s: float = 0.05

    def __post_init__(self) -> None:
        for name in ("lower", "upper", "max_speed_per_s"):
            object.__setattr__(self, name, _limit(name, getattr(self, name)))
        if not ((self.lower >= -1) & (self.lower <= 0) & (self.upper >= 0) & (self.upper <= 1)).all():
            raise NervehandError(
                f"gate limits lower {self.lower.tolist()} and upper {self.upper.tolist()}: "
                "keep -1 <= lower <= 0 <= upper <= 1, so that rest is allowed"
            )
        if not (self.max_speed_per_s > 0).all():
            raise NervehandError(
                f"gate limit max_speed_per_s is {self.max_speed_per_s.tolist()}: give speeds above 0"
            )
        for name in ("stale_after_s", "link_timeout_s", "relax_duration_s", "max_step_s"):
            value = getattr(self, name)
            if not (np.isfinite(value) and value > 0):
                raise NervehandError(f"gate limit {name} is {value} s: give a time above 0")
        for name in ("min_confidence", "min_healthy_fraction", "rest_band"):
            value = getattr(self, name)
            if not 0 <= value <= 1:
                raise NervehandError(f"gate limit {name} is {value}: give a number from 0 to 1")

    @classmethod
    def for_hand(cls, capabilities: HandCapabilities) -> GateLimits:
        """The hand's own reach and speed; a DOF that the hand lacks keeps any positive speed."""
        speed = np.where(capabilities.max_speed_per_s > 0, capabilities.max_speed_per_s, np.float32(1))
        return cls(capabilities.lower, capabilities.upper, speed.astype(np.float32))


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


class SafetyGate:
    """Judges every command by `limits` and answers each `Cause` as `RULES` says.

    `watchdog_action` is what the hand does by itself when commands stop; where it is UNKNOWN, `arm` needs an
    acknowledgement. Not thread-safe: one owner calls it.
    """

    def __init__(self, limits: GateLimits, watchdog_action: WatchdogAction) -> None:
        self.limits = limits
        self._watchdog_action = watchdog_action
        self._mode = GateState.DISARMED
        self._latched: Cause | None = None
        self._command: HandCommand | None = None
        self._command_since_ns = 0
        self._positions = np.zeros(N_DOF)
        self._sending = False
        self._step_ns: int | None = None
        self._link_down_ns: int | None = None
        self._shown: tuple[GateState, Cause | None] = (GateState.DISARMED, None)

    @property
    def state(self) -> GateState:
        """The state after the last step or request."""
        return self._shown[0]

    @property
    def at_rest(self) -> bool:
        """Whether what was last sent is rest in every DOF."""
        return self._sending and not self._positions.any()

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

        if self._mode is GateState.RELEASED:
            cause = None if link_up else Cause.LINK_LOST
            shown = GateState.RELEASED
            action: SafeAction | None = None if link_up else SafeAction.SILENT
            target, speed = np.zeros(N_DOF), self._speed()
        elif self._mode is GateState.ARMED:
            cause = self._judge(now_ns, link_up, state)
            shown = RULES[cause].state if cause is not None else GateState.ARMED
            action = RULES[cause].action if cause is not None else None
            target, speed = self._target(action)
        else:
            cause, shown, action = None, GateState.DISARMED, SafeAction.SILENT
            target, speed = self._positions, self._speed()

        send = action is not SafeAction.SILENT
        if send:
            if not self._sending:
                self._positions = self._start_from(state)
                target = self._positions if action is SafeAction.HOLD else target
            self._ramp(target, speed * dt_s)
        self._sending = send
        if cause is Cause.LINK_LOST and self._mode is GateState.ARMED:
            self._mode = GateState.DISARMED
        return GateDecision(self._output(), send, shown, cause, self._show(now_ns, shown, cause))

    def _elapsed_s(self, now_ns: int) -> float:
        """Seconds since the last step, never negative and never beyond the cap."""
        last_ns = now_ns if self._step_ns is None else self._step_ns
        self._step_ns = max(now_ns, last_ns)
        return min(max(now_ns - last_ns, 0) / NS, self.limits.max_step_s)

    def _link_up(self, now_ns: int, link: LinkState, state: HandState | None) -> bool:
        """Connected, and the hand has reported lately, and since the link was last seen down."""
        if link is not LinkState.CONNECTED or state is None:
            return False
        if self._link_down_ns is not None and state.reported_ns <= self._link_down_ns:
            return False
        return now_ns - state.reported_ns < self.limits.link_timeout_s * NS

    def _latch(self, cause: Cause) -> None:
        if self._mode is GateState.ARMED and (
            self._latched is None or _GRAVITY[cause] < _GRAVITY[self._latched]
        ):
            self._latched = cause

    def _judge(self, now_ns: int, link_up: bool, state: HandState | None) -> Cause | None:
        """The gravest cause in force, after latching and unlatching; None to follow the command."""
        present = sorted(self._present(now_ns, link_up, state), key=_GRAVITY.__getitem__)
        for cause in present:
            if RULES[cause].recovery is not Recovery.AT_ONCE:
                self._latch(cause)
        if (
            not present
            and self._latched is not None
            and RULES[self._latched].recovery is Recovery.THROUGH_REST
            and self._command is not None
            and (np.abs(self._command.targets) <= self.limits.rest_band).all()
        ):
            self._latched = None
        in_force = present[:1] + ([] if self._latched is None else [self._latched])
        return min(in_force, key=_GRAVITY.__getitem__, default=None)

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
        if now_ns >= command.expires_ns or age_ns >= self.limits.stale_after_s * NS:
            yield Cause.SILENCE
        targets = np.asarray(command.targets)
        if targets.shape != (N_DOF,) or not np.isfinite(targets).all():
            yield Cause.MALFORMED
        elif (np.abs(targets) > 1).any():
            yield Cause.OUT_OF_RANGE
        if not command.quality.healthy_fraction >= self.limits.min_healthy_fraction:
            yield Cause.UNHEALTHY
        if command.quality.warming:
            yield Cause.WARMING
        if not command.quality.confidence >= self.limits.min_confidence:
            yield Cause.LOW_CONFIDENCE

    def _speed(self) -> NDArray[np.float64]:
        return self.limits.max_speed_per_s.astype(np.float64)

    def _target(self, action: SafeAction | None) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Where to go (6,) and how fast (6,) per second."""
        if action is None and self._command is not None:
            return self._command.targets.astype(np.float64), self._speed()
        if action is SafeAction.RELAX:
            return np.zeros(N_DOF), np.minimum(self._speed(), 1.0 / self.limits.relax_duration_s)
        return self._positions, self._speed()

    def _start_from(self, state: HandState | None) -> NDArray[np.float64]:
        """Where the hand says it is; what was last sent for a DOF that it does not measure."""
        if state is None:
            return self._positions
        reported = np.asarray(state.positions, dtype=np.float64)
        return np.where(np.isfinite(reported), reported, self._positions)

    def _ramp(self, target: NDArray[np.float64], reach: NDArray[np.float64]) -> None:
        inside = np.clip(self._positions, self.limits.lower, self.limits.upper)
        wanted = np.clip(target, self.limits.lower, self.limits.upper)
        self._positions = inside + np.clip(wanted - inside, -reach, reach)

    def _output(self) -> NDArray[np.float32]:
        return np.clip(self._positions.astype(np.float32), self.limits.lower, self.limits.upper)

    def _show(self, now_ns: int, state: GateState, cause: Cause | None) -> tuple[GateEvent, ...]:
        if (state, cause) == self._shown:
            return ()
        self._shown = (state, cause)
        why = f": {cause.value}" if cause is not None else ""
        return (GateEvent(now_ns, state.value, f"{state.value}{why}"),)
