"""What no sequence of commands, requests, losses, reports and clock jumps may make the safety gate do.

The oracle below knows none of the gate's states or causes. It keeps only what the world saw: what was requested,
what the link and the hand reported, and what was sent.
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from firmware_bridge.adjustments import Adjustments
from firmware_bridge.gate import GateDecision, GateLimits, SafetyGate
from firmware_bridge.hand import HandCommand, HandState, LinkState, Quality, WatchdogAction
from firmware_bridge.preuse import overridden

MS = 1_000_000
LOWER = np.array([-0.5, -1, 0, -0.2, -1, -0.3])
UPPER = np.array([1, 0.25, 1, 0.8, 0, 0.3])
SPEED = np.array([0.5, 1, 2, 4, 8, 1])
STALE, LINK, RELAX, CAP, BAND, OVERLOAD = 0.2, 0.15, 0.8, 0.04, 0.1, 0.1
ROUNDING = 1e-6

good_values = st.floats(-1, 1, width=32)
bad_values = st.sampled_from([math.nan, math.inf, -math.inf, 1.5, -1.0001, 3e38])
six = st.lists(good_values, min_size=6, max_size=6)
one_bad = st.tuples(six, bad_values, st.integers(0, 5)).map(
    lambda t: [*t[0][: t[2]], t[1], *t[0][t[2] + 1 :]]
)
fractions = st.sampled_from([1.0, 1.0, 1.0, 0.51, 0.5, 0.49, 0.0, math.nan])
steps_ns = st.sampled_from(
    [0, 1, 9 * MS, 10 * MS, 10 * MS, 11 * MS, 40 * MS, 149 * MS, 150 * MS, 10_000 * MS]
)
adjusted = st.builds(
    Adjustments,
    gain=st.tuples(*[st.sampled_from([0.0, 0.5, 1.0, 4.0])] * 6),
    dead_band=st.tuples(*[st.sampled_from([0.0, 0.3])] * 6),
    max_speed_per_s=st.tuples(*[st.sampled_from([0.2, 1.0, math.inf])] * 6),
    locked=st.tuples(*[st.sampled_from([False, False, True])] * 6),
    hand_locked=st.sampled_from([False, False, True]),
)


class GateMachine(RuleBasedStateMachine):
    @initialize(
        reported=six,
        armed=st.booleans(),
        acceleration=st.sampled_from([math.inf, math.inf, 40.0, 5.0]),
        rate_hz=st.sampled_from([1e9, 1000.0, 60.0]),
    )
    def begin(self, reported: list[float], armed: bool, acceleration: float, rate_hz: float) -> None:
        limits = GateLimits(
            LOWER,
            UPPER,
            SPEED,
            max_acceleration_per_s2=acceleration,
            max_command_rate_hz=rate_hz,
            max_current_a=1.0,
            max_temperature_c=60.0,
            min_battery=0.1,
            overload_s=OVERLOAD,
            silence_after_s=STALE,
            stale_after_s=STALE,
            min_confidence=0.5,
            min_healthy_fraction=0.5,
            link_timeout_s=LINK,
            relax_duration_s=RELAX,
            rest_band=BAND,
            max_step_s=CAP,
        )
        self.gate = SafetyGate(limits, WatchdogAction.HOLD)
        self.acceleration, self.slot = acceleration, 1e9 / rate_hz
        self.now = 5_000 * MS
        self.link = LinkState.CONNECTED
        self.reports = True
        self.reported = HandState(np.array(reported, dtype=np.float32), self.now)
        self.adjustments = Adjustments()
        self.down_at: int | None = None
        self.allowed = False
        self.passed_rest = False
        self.must_rest = False
        self.halted = self.silenced = self.releasing = False
        self.may_relax = self.was_overloaded = False
        self.overloaded_since: int | None = None
        self.command: HandCommand | None = None
        self.arrived = 0
        self.sent: np.ndarray | None = None
        self.last_sent = np.zeros(6)
        self.speed, self.speed_dt = np.zeros(6), 1.0
        self.sent_at: int | None = None
        self.stepped: int | None = None
        if armed:
            self.arm()
            self.good_commands([0.0] * 6, 1)

    # The oracle's own notions.

    def hand_is_there(self) -> bool:
        after_the_loss = self.down_at is None or self.reported.reported_ns > self.down_at
        recent = abs(self.now - self.reported.reported_ns) / 1e9 < LINK
        return self.link is LinkState.CONNECTED and after_the_loss and recent

    def hand_is_hot(self) -> bool:
        state = self.reported
        return state.hot or (state.temperature_c is not None and not state.temperature_c <= 60)

    def battery_is_low(self) -> bool:
        return self.reported.battery is not None and not self.reported.battery >= 0.1

    def hand_is_loaded(self) -> bool:
        currents = self.reported.currents_a
        return self.reported.stalled or (currents is not None and bool((np.abs(currents) > 1).any()))

    def signal_is_good(self) -> bool:
        command = self.command
        return (
            command is not None
            and all(math.isfinite(value) for value in command.targets.tolist())
            and command.quality.healthy_fraction >= 0.5
        )

    def command_is_good(self) -> bool:
        command = self.command
        return (
            command is not None
            and self.signal_is_good()
            and self.now < command.expires_ns
            and (self.now - command.issued_ns) / 1e9 < STALE
            and (self.now - self.arrived) / 1e9 < STALE
            and all(-1 <= value <= 1 for value in command.targets.tolist())
            and not command.quality.warming
            and command.quality.confidence >= 0.5
        )

    def step(self, command: HandCommand | None) -> GateDecision:
        if command is not None:
            self.command, self.arrived = command, self.now
        there = self.hand_is_there()
        if self.link is not LinkState.CONNECTED:
            self.down_at = self.now
        may_follow = False
        if self.allowed and not self.releasing:
            self.allowed = there
            self.silenced = self.silenced or bool(self.reported.fault)
            overloaded = self.is_overloaded(there)
            bad_signal = self.command is not None and not self.signal_is_good()
            trouble = bad_signal or self.hand_is_hot() or self.adjustments.hand_locked or overloaded
            self.must_rest = self.must_rest or trouble
            self.may_relax = self.may_relax or trouble or self.battery_is_low()
            self.was_overloaded = self.was_overloaded or overloaded
            if there and not trouble and self.command_is_good():
                assert self.command is not None
                if (np.abs(self.command.targets) <= np.float32(BAND)).all():
                    self.passed_rest, self.must_rest = True, False
                may_follow = not self.must_rest

        decision = self.gate.step(self.now, command, self.link, self.reported)

        self.judge(decision, there, may_follow and not self.halted)
        return decision

    def is_overloaded(self, there: bool) -> bool:
        """Whether it must have been noticed just now: a load in every report for so long."""
        if not (there and self.hand_is_loaded()):
            self.overloaded_since = None
            return False
        if self.overloaded_since is None:
            self.overloaded_since = self.reported.reported_ns
        if self.reported.reported_ns - self.overloaded_since < OVERLOAD * 1e9:
            return False
        self.overloaded_since = self.reported.reported_ns
        return True

    def judge(self, decision: GateDecision, there: bool, may_follow: bool) -> None:
        now = decision.positions
        assert now.shape == (6,)
        assert now.dtype == np.float32
        assert np.isfinite(now).all()
        assert (now >= LOWER.astype(np.float32)).all()
        assert (now <= UPPER.astype(np.float32)).all()
        wants_to_send = there and (self.releasing or (self.allowed and not self.silenced))
        waits = self.sent_at is not None and 0 <= self.now - self.sent_at < self.slot
        assert decision.send == (wants_to_send and not waits)
        stepped = self.stepped
        if decision.send or not wants_to_send:  # what waits for its slot makes up for it
            self.stepped = self.now if stepped is None else max(self.now, stepped)
        if decision.send:
            self.sent_at = self.now
            self.judge_motion(now, stepped, may_follow)
        elif not wants_to_send:
            self.sent = None

    def judge_motion(self, now: np.ndarray, stepped: int | None, may_follow: bool) -> None:
        reported = self.reported.positions
        was, before = self.sent, self.speed
        if was is None:
            was = np.where(np.isfinite(reported), reported, self.last_sent).astype(np.float64)
            before = self.speed = np.zeros(6)
            self.speed_dt = math.inf
        was = np.minimum(np.maximum(was, LOWER), UPPER)
        real = 0.0 if stepped is None else max((self.now - stepped) / 1e9, 0)
        dt = min(real, max(CAP, self.slot / 1e9))
        moved = now - was
        rounding = ROUNDING * (1 + dt / self.speed_dt)
        brakes = np.zeros(6, dtype=bool)
        assert (np.abs(moved) <= SPEED * dt + ROUNDING).all()
        if math.isfinite(self.acceleration):
            assert (np.abs(moved - before * dt) <= self.acceleration * dt * dt + rounding).all()
            brakes = np.abs(moved) <= np.abs(before) * dt + rounding
        inwards = (np.abs(now) <= np.abs(was) + rounding) | brakes
        slow = (np.abs(moved) <= dt / RELAX + rounding) | brakes
        if self.releasing:
            assert inwards.all()
            if math.isinf(self.acceleration):
                assert (np.abs(now) <= np.maximum(np.abs(was) - SPEED * dt, 0) + ROUNDING).all()
        elif may_follow and self.passed_rest:
            top = np.minimum(SPEED, self.adjustments.max_speed_per_s)
            assert ((np.abs(moved) <= top * dt + rounding) | brakes | self.may_relax).all()
            assert (
                (np.abs(moved) <= rounding) | brakes | ~np.array(self.adjustments.locked) | self.may_relax
            ).all()
        elif not self.passed_rest and not self.halted and not self.may_relax:
            assert ((np.abs(moved) <= rounding) | brakes).all()
        else:
            assert inwards.all()
            assert (slow | self.was_overloaded).all()
        if real > 0:
            self.speed, self.speed_dt = moved / real, real
        self.sent = now.astype(np.float64)
        self.last_sent = now.astype(np.float64)

    # What may happen.

    @rule(
        dt=steps_ns,
        aims=st.one_of(six, six, six, one_bad),
        life=st.sampled_from([100_000 * MS, 50 * MS, 0, -1]),
        dated=st.sampled_from([-200 * MS, -10 * MS, 0, 0, 0, 10_000 * MS]),
        confidence=fractions,
        healthy=fractions,
        warming=st.sampled_from([False, False, False, True]),
    )
    def any_command(
        self,
        dt: int,
        aims: list[float],
        life: int,
        dated: int,
        confidence: float,
        healthy: float,
        warming: bool,
    ) -> None:
        self.advance(dt)
        values = np.array(aims, dtype=np.float32)
        quality = Quality(warming, confidence, healthy)
        self.step(HandCommand(values, 0, self.now + dated, self.now + life, quality=quality))

    @rule(aims=six, repeats=st.integers(1, 15))
    def good_commands(self, aims: list[float], repeats: int, dt: int = 10 * MS) -> None:
        for _ in range(repeats):
            self.advance(dt)
            values = np.array(aims, dtype=np.float32)
            self.step(HandCommand(values, 0, self.now, self.now + 100 * MS))

    @rule()
    def rest_commands(self) -> None:
        self.good_commands([0.0] * 6, 1)

    @rule(dt=steps_ns, repeats=st.integers(1, 15))
    def silence(self, dt: int, repeats: int) -> None:
        for _ in range(repeats):
            self.advance(dt)
            self.step(None)

    @rule(back=st.integers(1, 10_000 * MS))
    def the_clock_runs_backwards(self, back: int) -> None:
        self.now -= back
        self.step(None)
        self.now += back

    @rule(link=st.sampled_from(LinkState))
    def the_link_changes(self, link: LinkState) -> None:
        self.link = link
        self.silence(10 * MS, 1)

    @rule(reports=st.booleans())
    def the_hand_reports_or_not(self, reports: bool) -> None:
        self.reports = reports

    @rule(fault=st.sampled_from(["", "motor 2 hot"]))
    def the_hand_has_a_fault_or_not(self, fault: str) -> None:
        self.reported = replace(self.reported, fault=fault)
        self.silence(10 * MS, 1)

    @rule(
        hot=st.sampled_from([False, False, True]),
        temperature_c=st.sampled_from([None, 60.0, 60.1, math.nan]),
        stalled=st.sampled_from([False, False, True]),
        amperes=st.sampled_from([None, 1.0, -1.001, math.nan]),
        battery=st.sampled_from([None, 0.1, 0.5, 0.099, math.nan]),
    )
    def the_hand_says_how_it_is(
        self,
        hot: bool,
        temperature_c: float | None,
        stalled: bool,
        amperes: float | None,
        battery: float | None,
    ) -> None:
        currents_a = None if amperes is None else np.full(6, amperes, np.float32)
        self.reported = replace(
            self.reported,
            hot=hot,
            stalled=stalled,
            temperature_c=temperature_c,
            currents_a=currents_a,
            battery=battery,
        )
        self.silence(10 * MS, 1)

    @rule(values=st.lists(st.one_of(good_values, st.just(math.nan)), min_size=6, max_size=6))
    def the_hand_is_moved(self, values: list[float]) -> None:
        self.reported = replace(self.reported, positions=np.array(values, np.float32))
        self.may_relax = True  # it is astray, or may be

    @rule(adjustments=adjusted)
    def the_wearer_adjusts(self, adjustments: Adjustments) -> None:
        changes = adjustments != self.adjustments
        assert bool(self.gate.adjust(self.now, "Ann", adjustments)) == changes
        self.adjustments = adjustments

    @rule(age=st.sampled_from([0, 0, 0, -1, 8 * 3600 * 1000 * MS, 8 * 3600 * 1000 * MS + 1]))
    def arm(self, age: int = 0) -> None:
        check = overridden("Ann", self.now - age)
        events = self.gate.arm(self.now, "Ann", self.link, self.reported, check)
        armed = any(event.kind == "arm" for event in events)
        is_fit = not self.reported.fault and not self.hand_is_hot() and not self.battery_is_low()
        rests = not self.releasing or (self.sent is not None and not self.sent.any())
        assert armed == (self.hand_is_there() and is_fit and rests and 0 <= age <= 8 * 3600 * 1000 * MS)
        if armed:
            self.allowed, self.passed_rest, self.must_rest, self.may_relax = True, False, False, False
            self.halted, self.silenced, self.was_overloaded, self.releasing = False, False, False, False
            self.command, self.sent, self.overloaded_since = None, None, None

    @rule()
    def disarm(self) -> None:
        events = self.gate.disarm(self.now, "Ann")
        if any(event.kind == "disarm" for event in events):
            assert not self.releasing or (self.sent is not None and not self.sent.any())
            self.allowed, self.releasing = False, False

    @rule()
    def release(self) -> None:
        self.gate.release(self.now, "Ann")
        self.releasing = True

    @precondition(lambda self: not self.releasing)
    @rule()
    def stop(self) -> None:
        self.gate.stop(self.now, "Ann")
        if self.allowed:
            self.halted = True

    @precondition(lambda self: not self.releasing)
    @rule()
    def decode_fails(self) -> None:
        self.gate.report_fault(self.now, "decode", "crashed")
        if self.allowed:
            self.halted = True

    @rule()
    def a_release_arrives_once_the_link_is_back(self) -> None:
        self.release()
        self.link, self.reports = LinkState.CONNECTED, True
        self.silence(40 * MS, 75)
        assert not self.last_sent.any()

    @rule(aims=six)
    def a_person_who_arms_and_rests_is_followed(self, aims: list[float]) -> None:
        self.link, self.reports = LinkState.CONNECTED, True
        self.reported = HandState(self.reported.positions, self.reported.reported_ns)
        self.the_wearer_adjusts(Adjustments())
        if self.releasing:
            self.silence(40 * MS, 75)
        self.advance(10 * MS)
        self.step(None)
        self.advance(10 * MS)
        self.arm()
        self.good_commands([0.0] * 6, 1)
        self.good_commands(aims, 80, 40 * MS)
        expected = np.minimum(np.maximum(np.array(aims), LOWER), UPPER)
        np.testing.assert_allclose(self.last_sent, expected, atol=2 * ROUNDING)

    def advance(self, dt: int) -> None:
        self.now += dt
        if self.reports:
            where = self.reported.positions if self.sent is None else self.sent.astype(np.float32)
            self.reported = replace(self.reported, positions=where, reported_ns=self.now)


TestGateMachine = GateMachine.TestCase
TestGateMachine.settings = settings(max_examples=80, stateful_step_count=25, deadline=None)
