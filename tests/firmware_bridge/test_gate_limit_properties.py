"""What no sequence of commands, requests, losses and changes of the limits may make the gate send.

The oracle knows the limits in force and those before, what was sent, and mechanics: how far a way is on which something
that fast can stop.
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from firmware_bridge.adjustments import Adjustments
from firmware_bridge.gate import Cause, GateLimits, GateState, SafeAction, SafetyGate
from firmware_bridge.hand import HandCommand, HandState, LinkState, WatchdogAction
from firmware_bridge.hands.virtual_protocol import VIRTUAL_HAND
from firmware_bridge.preuse import overridden

MS = 1_000_000
HAND = replace(VIRTUAL_HAND, max_speed_per_s=np.full(6, 8, np.float32), max_command_rate_hz=1e9)
ROUNDING = 2e-6
BRAKING = 1.02
"""Steps are not infinitely short: what can stop by this much more than the limit has stopped soon."""

Six = np.ndarray


def each(values: list[float]) -> st.SearchStrategy[list[float]]:
    return st.lists(st.sampled_from(values), min_size=6, max_size=6)


limits_of_motion = st.builds(
    lambda lower, upper, speed, acceleration: GateLimits(
        np.array(lower),
        np.array(upper),
        np.array(speed),
        max_acceleration_per_s2=np.array(acceleration),
        max_step_s=0.04,
        astray_tolerance=9.0,
    ),
    each([-1.0, -0.6, -0.1, 0.0]),
    each([1.0, 0.7, 0.2, 0.0]),
    each([8.0, 2.0, 0.3]),
    st.one_of(each([math.inf]), each([math.inf, 100.0, 20.0, 3.0])),
)
others = st.fixed_dictionaries(
    {
        "silence_after_s": st.sampled_from([0.2, 0.05, 1.0]),
        "relax_duration_s": st.sampled_from([1.0, 0.2, 5.0]),
        "min_confidence": st.sampled_from([0.0, 1.0]),
        "actions": st.sampled_from(
            [
                {},
                {Cause.SILENCE: SafeAction.HOLD, Cause.STOPPED: SafeAction.RELAX},
                {Cause.SILENCE: SafeAction.OPEN},
            ]
        ),
    }
)
six = st.lists(st.floats(-1, 1, width=32), min_size=6, max_size=6)


class LimitMachine(RuleBasedStateMachine):
    @initialize(limits=limits_of_motion)
    def begin(self, limits: GateLimits) -> None:
        self.gate = SafetyGate(limits, WatchdogAction.HOLD)
        self.now = 5_000 * MS
        self.link = LinkState.CONNECTED
        self.there = np.zeros(6, np.float32)
        self.sent: Six | None = None
        self.sent_at = 0
        self.speed = np.zeros(6)
        self.state = GateState.DISARMED
        self.forget()
        self.arm()
        self.commands([0.0] * 6, 1, 10)

    # The oracle.

    def forget(self) -> None:
        """Only what is in force now holds."""
        limits = self.gate.limits
        self.low, self.high = limits.lower.astype(float), limits.upper.astype(float)
        self.braking = limits.max_acceleration_per_s2.astype(float)

    def step(self, command: HandCommand | None = None) -> None:
        state = HandState(self.there, self.now)
        decision = self.gate.step(self.now, command, self.link, state)
        self.state = decision.state
        if not decision.send:
            self.sent_at = self.now  # what is silent has nothing to make up for
            if decision.state is GateState.DISARMED or self.link is not LinkState.CONNECTED:
                self.sent = None
            return
        positions = decision.positions.astype(float)
        self.judge(positions, decision.state)
        self.sent, self.sent_at = positions, self.now
        self.there = decision.positions

    def judge(self, positions: Six, state: GateState) -> None:
        limits = self.gate.limits
        assert (positions >= self.low - ROUNDING).all()
        assert (positions <= self.high + ROUNDING).all()
        if self.sent is None:
            self.sent, self.speed = np.clip(self.there.astype(float), self.low, self.high), np.zeros(6)
        real_s = (self.now - self.sent_at) / 1e9
        if real_s <= 0:
            return
        dt = min(real_s, 0.04)
        moved = positions - self.sent
        pace, before = np.abs(moved) / dt, np.abs(self.speed)
        top, gain = limits.max_speed_per_s.astype(float), limits.max_acceleration_per_s2.astype(float)
        if state is GateState.HOLDING:
            top = np.zeros(6)
        elif state is GateState.RELAXING:
            top = np.minimum(top, 1 / limits.relax_duration_s)
        rounding = ROUNDING / dt
        slowed = np.maximum(before - gain * dt, 0)
        assert (pace <= np.maximum(top, slowed) + rounding).all(), "too fast"
        turned = moved * self.speed < 0
        assert (pace <= np.where(turned, gain * dt, before + gain * dt) + rounding).all(), "sped up too hard"
        least = before - self.braking * dt - rounding
        assert (np.where(turned, 0.0, pace) >= least).all(), "braked too hard"
        outside = np.maximum(limits.lower - positions, positions - limits.upper)
        was_outside = np.maximum(limits.lower - self.sent, self.sent - limits.upper)
        is_braking = (pace <= before - np.minimum(gain * dt, before) + rounding) & ~turned
        leaves = (outside > ROUNDING) & (outside > was_outside + ROUNDING)
        assert (~leaves | is_braking).all(), "left the range"
        self.speed = moved / real_s
        self.relax_oracle(positions)

    def relax_oracle(self, positions: Six) -> None:
        """What has come inside, and could stop there, has to stay there."""
        limits = self.gate.limits
        gain = limits.max_acceleration_per_s2.astype(float)
        way = self.speed**2 / (2 * gain)
        lower, upper = limits.lower.astype(float), limits.upper.astype(float)
        stops_at = positions + np.sign(self.speed) * way * BRAKING
        # From outside, inwards at any speed: the far bound has to be far enough.
        inside = (stops_at >= lower - ROUNDING) & (stops_at <= upper + ROUNDING)
        inside &= (positions >= lower - ROUNDING) & (positions <= upper + ROUNDING)
        stands = np.abs(self.speed) <= ROUNDING
        self.low = np.where(inside, lower, self.low)
        self.high = np.where(inside, upper, self.high)
        self.braking = np.where(stands, gain, self.braking)

    # What may happen.

    @rule(aims=six, repeats=st.integers(1, 40), step_ms=st.sampled_from([10, 10, 3, 30, 300]))
    def commands(self, aims: list[float], repeats: int, step_ms: int = 10) -> None:
        for _ in range(repeats):
            self.now += step_ms * MS
            targets = np.array(aims, np.float32)
            self.step(HandCommand(targets, 0, self.now, self.now + 10_000 * MS))

    @rule(end=st.sampled_from([-1.0, 1.0]), repeats=st.integers(1, 20))
    def far(self, end: float, repeats: int) -> None:
        self.commands([end] * 6, repeats)

    @rule()
    def rest(self) -> None:
        self.commands([0.0] * 6, 2)

    @rule(repeats=st.integers(1, 40))
    def silence(self, repeats: int, step_ms: int = 10) -> None:
        for _ in range(repeats):
            self.now += step_ms * MS
            self.step()

    @rule(motion=limits_of_motion, more=others)
    def the_limits_change(self, motion: GateLimits, more: dict[str, object]) -> None:
        limits = replace(motion, **more)  # type: ignore[arg-type]
        before = self.gate.state
        events = self.gate.limit(self.now, "Ann", limits, HAND)
        assert {event.kind for event in events} <= {"limits"}
        assert self.gate.state is before
        self.low = np.minimum(self.low, limits.lower)
        self.high = np.maximum(self.high, limits.upper)
        self.braking = np.maximum(self.braking, limits.max_acceleration_per_s2)

    @rule(motion=limits_of_motion, more=others, end=st.sampled_from([-1.0, 1.0]))
    def the_limits_change_on_the_way(self, motion: GateLimits, more: dict[str, object], end: float) -> None:
        self.arm_and_rest()
        self.commands([end] * 6, 12)
        self.the_limits_change(motion, more)
        self.commands([end] * 6, 12)

    @rule(motion=limits_of_motion, more=others, end=st.sampled_from([-1.0, 1.0]))
    def the_limits_change_while_it_holds(
        self, motion: GateLimits, more: dict[str, object], end: float
    ) -> None:
        self.arm_and_rest()
        self.commands([end] * 6, 30)
        self.stop()
        self.the_limits_change(motion, more)
        self.silence(10)

    @rule()
    def arm_and_rest(self) -> None:
        self.link = LinkState.CONNECTED
        self.silence(2)
        self.arm()
        self.commands([0.0] * 6, 1)

    @rule()
    def arm(self) -> None:
        check = overridden("Ann", self.now)
        events = self.gate.arm(self.now, "Ann", self.link, HandState(self.there, self.now), check)
        if any(event.kind == "arm" for event in events):
            self.sent = None

    @rule()
    def stop(self) -> None:
        self.gate.stop(self.now, "Ann")
        self.silence(3)

    @rule(repeats=st.integers(1, 60))
    def release(self, repeats: int) -> None:
        self.gate.release(self.now, "Ann")
        self.silence(repeats)

    @rule()
    def a_release_reaches_rest_in_the_time_it_says(self) -> None:
        self.link = LinkState.CONNECTED
        self.gate.release(self.now, "Ann")
        self.silence(1)
        self.silence(math.ceil(self.gate.time_to_rest_s * 25) + 3, 40)
        assert self.gate.at_rest

    @rule()
    def disarm(self) -> None:
        self.gate.disarm(self.now, "Ann")
        self.silence(1)

    @rule()
    def not_sent(self) -> None:
        self.gate.not_sent()
        self.sent = None

    @rule(locked=st.lists(st.booleans(), min_size=6, max_size=6), speed=st.sampled_from([0.2, math.inf]))
    def adjust(self, locked: list[bool], speed: float) -> None:
        adjustments = Adjustments(max_speed_per_s=(speed,) * 6, locked=tuple(locked))
        self.gate.adjust(self.now, "Ann", adjustments)

    @rule(link=st.sampled_from(LinkState))
    def the_link_changes(self, link: LinkState) -> None:
        self.link = link
        self.silence(2)

    @rule(aims=six)
    def who_is_followed_arrives_inside(self, aims: list[float]) -> None:
        self.gate.adjust(self.now, "Ann", Adjustments())
        self.a_release_reaches_rest_in_the_time_it_says()
        self.arm_and_rest()
        limits = self.gate.limits
        self.commands(aims, math.ceil(50 * limits.time_to_rest_s) + 10, 40)
        expected = np.clip(np.array(aims, np.float32), limits.lower, limits.upper)
        np.testing.assert_allclose(self.there, expected, atol=ROUNDING)

    @invariant()
    def limits_are_those_of_the_hand_at_most(self) -> None:
        limits = getattr(self, "gate", None) and self.gate.limits
        assert not limits or limits.beyond(HAND) == ""


TestLimitMachine = LimitMachine.TestCase
TestLimitMachine.settings = settings(max_examples=25, stateful_step_count=12, deadline=None)
