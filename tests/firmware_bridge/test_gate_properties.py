"""What no sequence of commands, requests, losses and clock jumps may make the safety gate do.

The oracle below knows none of the gate's states or causes. It keeps only what the world saw: what was requested,
what the link and the hand reported, and what was sent.
"""

from __future__ import annotations

import math

import numpy as np
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from firmware_bridge.gate import GateDecision, GateLimits, SafetyGate
from firmware_bridge.hand import HandCommand, HandState, LinkState, Quality, WatchdogAction

MS = 1_000_000
LOWER = np.array([-0.5, -1, 0, -0.2, -1, -0.3])
UPPER = np.array([1, 0.25, 1, 0.8, 0, 0.3])
SPEED = np.array([0.5, 1, 2, 4, 8, 1])
STALE, LINK, RELAX, CAP, BAND = 0.2, 0.15, 0.8, 0.04, 0.1
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


class GateMachine(RuleBasedStateMachine):
    @initialize(reported=six, armed=st.booleans())
    def begin(self, reported: list[float], armed: bool) -> None:
        limits = GateLimits(LOWER, UPPER, SPEED, STALE, 0.5, 0.5, LINK, RELAX, BAND, CAP)
        self.gate = SafetyGate(limits, WatchdogAction.HOLD)
        self.now = 5_000 * MS
        self.link = LinkState.CONNECTED
        self.reports = True
        self.fault = ""
        self.reported = HandState(np.array(reported, dtype=np.float32), self.now)
        self.down_at: int | None = None
        self.allowed = False
        self.passed_rest = False
        self.halted = False
        self.releasing = False
        self.command: HandCommand | None = None
        self.arrived = 0
        self.sent: np.ndarray | None = None
        self.last_sent = np.zeros(6)
        self.stepped: int | None = None
        if armed:
            self.arm()
            self.good_commands([0.0] * 6, 1)

    # The oracle's own notions.

    def hand_is_there(self) -> bool:
        after_the_loss = self.down_at is None or self.reported.reported_ns > self.down_at
        recent = (self.now - self.reported.reported_ns) / 1e9 < LINK
        return self.link is LinkState.CONNECTED and after_the_loss and recent

    def command_is_good(self) -> bool:
        command = self.command
        return (
            command is not None
            and self.now < command.expires_ns
            and (self.now - command.issued_ns) / 1e9 < STALE
            and (self.now - self.arrived) / 1e9 < STALE
            and all(math.isfinite(value) and -1 <= value <= 1 for value in command.targets.tolist())
            and not command.quality.warming
            and command.quality.confidence >= 0.5
            and command.quality.healthy_fraction >= 0.5
        )

    def step(self, command: HandCommand | None) -> GateDecision:
        if command is not None:
            self.command, self.arrived = command, self.now
        reported = self.reported.positions
        was = self.sent
        if was is None:
            was = np.where(np.isfinite(reported), reported, self.last_sent).astype(np.float64)
        was = np.minimum(np.maximum(was, LOWER), UPPER)
        dt = 0.0 if self.stepped is None else min(max((self.now - self.stepped) / 1e9, 0), CAP)
        self.stepped = self.now if self.stepped is None else max(self.stepped, self.now)
        there = self.hand_is_there()
        if self.link is not LinkState.CONNECTED:
            self.down_at = self.now
        if (not there or self.fault) and not self.releasing:
            self.halted = self.halted or bool(self.fault and there)
            self.allowed = self.allowed and there
        good = self.command_is_good()
        if good and self.allowed and there and not self.fault:
            assert self.command is not None
            if (np.abs(self.command.targets) <= np.float32(BAND)).all():
                self.passed_rest = True

        decision = self.gate.step(self.now, command, self.link, self.reported)

        now = decision.positions
        assert now.shape == (6,)
        assert now.dtype == np.float32
        assert np.isfinite(now).all()
        assert (now >= LOWER.astype(np.float32)).all()
        assert (now <= UPPER.astype(np.float32)).all()
        if decision.send:
            assert there
            assert self.allowed or self.releasing
            moved = now - was
            assert (np.abs(moved) <= SPEED * dt + ROUNDING).all()
            if self.releasing:
                assert (np.abs(now) <= np.maximum(np.abs(was) - SPEED * dt, 0) + ROUNDING).all()
            elif not self.passed_rest and not self.halted:
                assert (np.abs(moved) <= ROUNDING).all()
            elif not good or self.halted:
                assert (np.abs(now) <= np.abs(was) + ROUNDING).all()
                assert (np.abs(moved) <= dt / RELAX + ROUNDING).all()
        else:
            assert not (self.releasing and there)
        self.sent = now.astype(np.float64) if decision.send else None
        self.last_sent = now.astype(np.float64)
        return decision

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
        self.fault = fault
        self.silence(10 * MS, 1)

    @rule(values=st.lists(st.one_of(good_values, st.just(math.nan)), min_size=6, max_size=6))
    def the_hand_is_moved(self, values: list[float]) -> None:
        self.reported = HandState(np.array(values, np.float32), self.reported.reported_ns, fault=self.fault)

    @rule()
    def arm(self) -> None:
        events = self.gate.arm(self.now, "Ann", self.link, self.reported)
        armed = any(event.kind == "arm" for event in events)
        assert armed == (self.hand_is_there() and not self.reported.fault)
        if armed:
            self.allowed, self.passed_rest, self.halted, self.releasing = True, False, False, False
            self.command, self.sent = None, None

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
        self.link, self.reports, self.fault = LinkState.CONNECTED, True, ""
        self.silence(40 * MS, 60)
        assert not self.last_sent.any()

    @rule(aims=six)
    def a_person_who_arms_and_rests_is_followed(self, aims: list[float]) -> None:
        self.link, self.reports, self.fault = LinkState.CONNECTED, True, ""
        self.advance(10 * MS)
        self.step(None)
        self.advance(10 * MS)
        self.arm()
        self.good_commands([0.0] * 6, 1)
        self.good_commands(aims, 80, 40 * MS)
        expected = np.minimum(np.maximum(np.array(aims), LOWER), UPPER)
        np.testing.assert_allclose(self.last_sent, expected, atol=ROUNDING)

    def advance(self, dt: int) -> None:
        self.now += dt
        if self.reports:
            where = self.reported.positions if self.sent is None else self.sent.astype(np.float32)
            self.reported = HandState(where, self.now, fault=self.fault)


TestGateMachine = GateMachine.TestCase
TestGateMachine.settings = settings(max_examples=80, stateful_step_count=25, deadline=None)
