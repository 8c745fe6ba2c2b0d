"""The guard loop, with a clock of its own and a hand that is the kinematic one, in this process."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from firmware_bridge.adjustments import Adjustments
from firmware_bridge.errors import NervehandError
from firmware_bridge.gate import Cause, GateEvent, GateLimits, GateState, SafetyGate
from firmware_bridge.guard import Guard, GuardLoop, Sent
from firmware_bridge.hand import (
    AppliedCommand,
    HandCapabilities,
    HandCommand,
    HandState,
    LinkState,
    WatchdogAction,
)
from firmware_bridge.hands.virtual_protocol import VIRTUAL_HAND
from firmware_bridge.kinematics import KinematicHand
from firmware_bridge.movement_trace import Moved, MovementTrace
from firmware_bridge.preuse import overridden

MS = 1_000_000
NS = 1_000_000_000


class Clock:
    def __init__(self) -> None:
        self.now_ns = NS

    def __call__(self) -> int:
        return self.now_ns


class WiredHand:
    """A hand at the end of a wire: the kinematic hand, reporting whenever it is asked."""

    capabilities: HandCapabilities = VIRTUAL_HAND

    def __init__(self, clock: Clock | None = None) -> None:
        self.clock = clock or time.monotonic_ns
        self.kinematic = KinematicHand(VIRTUAL_HAND, self.clock())
        self.link = LinkState.CONNECTED
        self.sent: list[np.ndarray] = []
        self.broken = False
        self.flexed = threading.Event()
        self._lock = threading.Lock()  # one moves it at a time, and reads the clock meanwhile

    @property
    def state(self) -> HandState:
        with self._lock:
            now_ns = self.clock()
            self.kinematic.advance(now_ns)
            return HandState(self.kinematic.positions, now_ns, self.kinematic.watchdog_tripped)

    def connect(self, timeout_s: float) -> None:
        self.link = LinkState.CONNECTED

    def send(self, positions: np.ndarray, now_ns: int) -> AppliedCommand:
        if self.broken:
            raise OSError("the wire is cut")
        with self._lock:
            self.kinematic.command(positions, self.clock())
        self.sent.append(positions)
        if self.kinematic.positions[0] > 0.3:
            self.flexed.set()
        return AppliedCommand(positions, np.zeros(6, dtype=bool), now_ns)

    def close(self) -> None:
        self.link = LinkState.DISCONNECTED


class Rig:
    def __init__(
        self, make_hand: Callable[[Clock], WiredHand] = WiredHand, limits: GateLimits | None = None
    ) -> None:
        self.clock = Clock()
        self.hand = make_hand(self.clock)
        self.events: list[GateEvent] = []
        gate = SafetyGate(limits or GateLimits.for_hand(VIRTUAL_HAND), VIRTUAL_HAND.watchdog_action)
        self.told: list[Sent] = []
        self.moved: list[Moved] = []
        self.guard = GuardLoop(
            gate,
            self.hand,
            on_event=self.events.append,
            on_sent=self.told.append,
            clock=self.clock,
            on_moved=self.moved.append,
        )

    def command(self, target: float, sample_index: int = 0, life_ns: int = NS) -> HandCommand:
        now_ns = self.clock.now_ns
        return HandCommand(np.full(6, target, np.float32), sample_index, now_ns, now_ns + life_ns)

    def armed(self) -> Rig:
        assert self.guard.request_arm("Ann", overridden("Ann", self.clock.now_ns))
        self.guard.submit(self.command(0.0))
        return self

    def run(self, seconds: float) -> None:
        for _ in range(round(seconds * 100)):
            self.clock.now_ns += 10 * MS
            self.guard.tick()


def test_a_command_reaches_the_hand_before_submit_returns() -> None:
    rig = Rig().armed()
    rig.clock.now_ns += 10 * MS
    sent = rig.guard.submit(rig.command(0.5, sample_index=4321))
    assert sent is not None
    assert (sent.sent_ns, sent.sample_index, sent.state) == (rig.clock.now_ns, 4321, GateState.ARMED)
    np.testing.assert_allclose(sent.positions, 0.04, atol=1e-6)
    np.testing.assert_array_equal(rig.hand.sent[-1], sent.positions)
    assert rig.guard.counters.commands_applied == 2


def test_between_commands_the_ramp_goes_on_and_silence_is_answered() -> None:
    rig = Rig().armed()
    rig.guard.submit(rig.command(0.5))
    rig.run(0.19)
    np.testing.assert_allclose(rig.hand.sent[-1], 0.5, atol=1e-6)
    rig.run(0.1)
    assert rig.guard.decision is not None
    assert rig.guard.decision.cause is Cause.SILENCE


def test_a_command_that_comes_too_late_is_dropped_counted_and_leaves_the_last_one_in_force() -> None:
    rig = Rig().armed()
    late = rig.command(-1.0, life_ns=20 * MS)
    rig.clock.now_ns += 20 * MS
    rig.guard.submit(rig.command(0.5))
    assert rig.guard.submit(late) is None
    assert rig.guard.counters.commands_late == 1
    rig.run(0.19)
    np.testing.assert_allclose(rig.hand.sent[-1], 0.5, atol=1e-6)


def test_a_command_that_is_withdrawn_is_silence_at_once_and_counts_as_none_of_its_own() -> None:
    rig = Rig().armed()
    command = rig.command(0.5, sample_index=7)
    rig.guard.submit(command)
    rig.run(0.05)
    before = replace(rig.guard.counters)
    rig.guard.withdraw(command)
    assert rig.guard.decision is not None
    assert rig.guard.decision.cause is Cause.SILENCE
    assert replace(rig.guard.counters, steps=before.steps) == before
    rig.guard.withdraw(replace(command, expires_ns=command.issued_ns))
    assert rig.guard.decision.cause is Cause.SILENCE
    rig.guard.submit(rig.command(0.5, sample_index=8))
    assert rig.guard.decision.cause is None


def test_a_command_that_is_not_followed_is_withheld_not_applied() -> None:
    rig = Rig().armed()
    assert rig.guard.submit(rig.command(np.nan)) is None
    assert (rig.guard.counters.commands_applied, rig.guard.counters.commands_withheld) == (1, 1)


def test_a_command_during_a_release_is_withheld_not_applied() -> None:
    rig = Rig().armed()
    rig.guard.request_release("Ann")
    assert rig.guard.submit(rig.command(0.5)) is None
    np.testing.assert_array_equal(rig.hand.sent[-1], 0)
    assert (rig.guard.counters.commands_applied, rig.guard.counters.commands_withheld) == (1, 1)


def test_nothing_is_sent_unarmed_and_a_refusal_says_why() -> None:
    rig = Rig()
    rig.hand.link = LinkState.LOST
    assert not rig.guard.request_arm("Ann", overridden("Ann", rig.clock.now_ns))
    assert rig.events[-1].kind == "arm refused"
    rig.guard.submit(rig.command(0.5))
    assert rig.hand.sent == []


def test_stop_holds_and_release_lets_go() -> None:
    rig = Rig().armed()
    rig.guard.submit(rig.command(0.5))
    rig.run(0.05)
    rig.guard.request_stop("Ann")
    here = rig.hand.sent[-1]
    rig.run(0.2)
    np.testing.assert_array_equal(rig.hand.sent[-1], here)
    rig.guard.request_release("Ann")
    rig.run(0.2)
    np.testing.assert_array_equal(rig.hand.sent[-1], 0)
    rig.guard.request_disarm("Ann")
    assert [event.who for event in rig.events if event.kind in ("stop", "release", "disarm")] == ["Ann"] * 3


def test_a_fault_of_whoever_commands_relaxes_the_hand() -> None:
    rig = Rig().armed()
    rig.guard.submit(rig.command(0.2))
    rig.run(0.1)
    rig.guard.report_fault("decode", "process 4242 ended")
    rig.run(0.5)
    np.testing.assert_array_equal(rig.hand.sent[-1], 0)
    assert "process 4242 ended" in [event.text for event in rig.events]


def test_all_that_is_sent_is_told_in_order_with_the_command_that_it_follows() -> None:
    rig = Rig().armed()
    rig.guard.submit(rig.command(0.5, sample_index=7))
    rig.run(0.3)
    rig.guard.request_release("Ann")
    rig.run(0.1)
    assert [one.positions.tolist() for one in rig.told] == [sent.tolist() for sent in rig.hand.sent]
    assert [one.sent_ns for one in rig.told] == sorted(one.sent_ns for one in rig.told)
    kinds = list(dict.fromkeys((one.state, one.sample_index) for one in rig.told))
    assert kinds == [
        (GateState.ARMED, 0),
        (GateState.ARMED, 7),
        (GateState.RELAXING, -1),
        (GateState.RELEASED, -1),
    ]
    assert sum(one.sample_index == 7 for one in rig.told) == 19  # every 10 ms until the silence is too long


def test_what_is_told_is_what_the_hand_made_of_it() -> None:
    class CannotExtend(WiredHand):
        def send(self, positions: np.ndarray, now_ns: int) -> AppliedCommand:
            clipped = np.maximum(positions, np.float32(0))
            return replace(super().send(clipped, now_ns), clipped=clipped != positions)

    rig = Rig(CannotExtend).armed()
    rig.guard.submit(rig.command(-0.5))
    rig.run(0.1)
    assert rig.guard.decision is not None
    assert (rig.guard.decision.positions < 0).all()
    np.testing.assert_array_equal(rig.told[-1].positions, 0)


def test_a_hand_that_raises_is_a_fault_and_the_loop_lives_on(caplog: pytest.LogCaptureFixture) -> None:
    rig = Rig().armed()
    rig.guard.submit(rig.command(0.2))
    rig.run(0.1)
    rig.hand.broken = True
    rig.clock.now_ns += 10 * MS
    assert rig.guard.submit(rig.command(0.4)) is None
    assert rig.guard.counters.errors == 1
    assert "the wire is cut" in caplog.text
    rig.hand.broken = False
    rig.run(0.5)
    assert rig.guard.decision is not None
    assert rig.guard.decision.state is GateState.FAULTED
    np.testing.assert_array_equal(rig.hand.sent[-1], 0)


def test_a_listener_that_raises_does_not_stop_the_hand(caplog: pytest.LogCaptureFixture) -> None:
    clock = Clock()
    hand = WiredHand(clock)

    def listener(what: GateEvent | Sent) -> None:
        raise RuntimeError("screen gone")

    gate = SafetyGate(GateLimits.for_hand(VIRTUAL_HAND), VIRTUAL_HAND.watchdog_action)
    guard = GuardLoop(gate, hand, on_event=listener, on_sent=listener, clock=clock)
    assert guard.request_arm("Ann", overridden("Ann", clock.now_ns))
    events_failed = guard.counters.errors
    assert events_failed >= 1
    assert guard.submit(HandCommand(np.zeros(6, np.float32), 0, clock(), clock() + NS)) is not None
    assert guard.counters.errors == events_failed + 2  # the gate is armed, and something was sent
    assert "screen gone" in caplog.text
    assert len(hand.sent) == 1


@pytest.mark.parametrize("rate_hz", [0.0, -1.0, float("nan"), 1001.0])
def test_an_impossible_rate_is_refused(rate_hz: float) -> None:
    gate = SafetyGate(GateLimits.for_hand(VIRTUAL_HAND), VIRTUAL_HAND.watchdog_action)
    with pytest.raises(NervehandError, match="guard rate"):
        GuardLoop(gate, WiredHand(), rate_hz=rate_hz)


def test_its_thread_keeps_time_by_itself_and_ends_with_a_release_and_a_disarm(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # How long the release may take: a machine may stand still meanwhile.
    monkeypatch.setattr(GuardLoop.close, "__defaults__", (60.0,))
    hand = WiredHand()
    gate = SafetyGate(GateLimits.for_hand(VIRTUAL_HAND), VIRTUAL_HAND.watchdog_action)
    events: list[GateEvent] = []
    with GuardLoop(gate, hand, rate_hz=500, on_event=events.append) as guard:
        guard.request_arm("Ann", overridden("Ann", time.monotonic_ns()))
        for _ in range(1000):  # again and again: a machine that stands still lets any command grow stale
            now_ns = time.monotonic_ns()
            target = 0.0 if guard.counters.commands_applied == 0 else 0.6
            guard.submit(HandCommand(np.full(6, target, np.float32), 0, now_ns, now_ns + NS))
            if hand.flexed.wait(0.02):
                break
        assert hand.flexed.is_set()
        with pytest.raises(NervehandError, match="runs already"):
            guard.start()
    assert np.abs(hand.state.positions).max() <= 0.05
    assert [event.kind for event in events[-2:]] == ["disarm", "disarmed"]
    sent = len(hand.sent)
    guard.close()
    assert len(hand.sent) == sent


class GripHand(WiredHand):
    capabilities = replace(VIRTUAL_HAND, grips=("power", "relax"), max_speed_per_s=np.full(6, 4, np.float32))

    def __init__(self, clock: Clock | None = None) -> None:
        super().__init__(clock)
        self.grips: list[tuple[str, float, int]] = []

    def grip(self, name: str, speed: float, now_ns: int) -> None:
        self.grips.append((name, speed, now_ns))


def grip_rig(**limits: object) -> Rig:
    changed = replace(GateLimits.for_hand(GripHand.capabilities), grips={"rest": "relax"}, **limits)
    return Rig(GripHand, changed)


def test_a_grip_is_started_at_the_share_of_the_hands_speed_that_keeps_every_limit() -> None:
    for speed, wearers, share in (
        (4.0, math.inf, 1.0),
        (1.0, math.inf, 0.25),
        (9.0, math.inf, 1.0),
        (2.0, 1.0, 0.25),
    ):
        rig = grip_rig(max_speed_per_s=[9, 9, 9, speed, 9, 9])
        rig.guard.adjust("Bo", Adjustments(max_speed_per_s=(*(math.inf,) * 3, wearers, *(math.inf,) * 2)))
        rig.armed()
        assert rig.hand.grips == [("relax", share, rig.clock.now_ns)]
        assert rig.hand.sent == []
        assert rig.guard.counters.commands_applied == 1
        assert "grip" in [event.kind for event in rig.events]


def test_a_joint_that_the_hand_lacks_does_not_slow_its_grips() -> None:
    lacks = replace(GripHand.capabilities, max_speed_per_s=np.array([4, 4, 4, 4, 4, 0], np.float32))
    hand = GripHand()
    hand.capabilities = lacks
    limits = replace(GateLimits.for_hand(lacks), grips={"rest": "relax"})
    with GuardLoop(SafetyGate(limits, WatchdogAction.HOLD), hand) as guard:
        guard.request_arm("Ann", overridden("Ann", time.monotonic_ns()))
        now_ns = time.monotonic_ns()
        guard.submit(HandCommand(np.zeros(6, np.float32), 0, now_ns, now_ns + NS))
    assert [speed for _, speed, _ in hand.grips] == [1.0]


def test_a_grip_that_the_hand_does_not_have_is_refused_at_once() -> None:
    limits = replace(GateLimits.for_hand(VIRTUAL_HAND), grips={"fist": "power"})
    for hand, known in ((WiredHand(), "none"), (GripHand(), "power, relax")):
        wrong = replace(limits, grips={"fist": "crush"})
        with pytest.raises(NervehandError) as refused:
            GuardLoop(SafetyGate(wrong, WatchdogAction.HOLD), hand)
        assert str(refused.value) == f"the hand has no grip crush: choose among its own ({known})"


def test_what_waits_for_its_slot_is_sent_as_soon_as_it_may_be() -> None:
    limits = replace(GateLimits.for_hand(VIRTUAL_HAND), max_command_rate_hz=200.0)
    rig = Rig(limits=limits).armed()
    sent = len(rig.hand.sent)
    rig.clock.now_ns += 1 * MS
    assert rig.guard.submit(rig.command(0.5)) is None
    assert rig.guard.counters.commands_applied == 1
    assert rig.guard.due_ns == rig.clock.now_ns + 4 * MS
    rig.clock.now_ns = rig.guard.due_ns
    rig.guard.tick()
    assert rig.guard.counters.commands_applied == 2
    assert len(rig.hand.sent) == sent + 1
    assert rig.guard.due_ns == rig.clock.now_ns + 10 * MS


def waiting_rig() -> Rig:
    """Armed, with one command told and a second one that waits for its slot."""
    rig = Rig(limits=replace(GateLimits.for_hand(VIRTUAL_HAND), max_command_rate_hz=200.0)).armed()
    rig.clock.now_ns += 1 * MS
    rig.guard.submit(rig.command(0.5))
    return rig


def counted(rig: Rig) -> tuple[int, int, int, int]:
    counters = rig.guard.counters
    return (
        counters.commands_applied,
        counters.commands_overtaken,
        counters.commands_withheld,
        counters.commands_late,
    )


def test_a_command_that_waits_for_its_slot_is_applied_once_it_was_told() -> None:
    rig = waiting_rig()
    assert counted(rig) == (1, 0, 0, 0)
    rig.clock.now_ns += 1 * MS
    rig.guard.tick()
    assert counted(rig) == (1, 0, 0, 0)
    rig.run(0.03)
    assert counted(rig) == (2, 0, 0, 0)


def test_a_command_is_overtaken_by_a_newer_one_that_comes_before_its_slot() -> None:
    rig = waiting_rig()
    rig.clock.now_ns += 1 * MS
    rig.guard.submit(rig.command(0.4))
    assert counted(rig) == (1, 1, 0, 0)
    rig.run(0.03)
    assert counted(rig) == (2, 1, 0, 0)


def test_a_command_is_overtaken_by_a_stop_a_withdrawal_or_a_bad_command_that_comes_before_its_slot() -> None:
    rig = waiting_rig()
    rig.guard.request_stop("Ann")
    rig.run(0.03)
    assert counted(rig) == (1, 1, 0, 0)
    rig = waiting_rig()
    rig.guard.withdraw(rig.command(0.5))
    assert counted(rig) == (1, 1, 0, 0)
    rig = waiting_rig()
    rig.guard.submit(rig.command(np.nan))
    assert counted(rig) == (1, 1, 1, 0)


def test_a_command_that_could_not_be_sent_is_withheld_and_one_that_waited_overtaken(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rig = waiting_rig()

    def fail(*_: object) -> None:
        raise RuntimeError("no such hand")

    rig.clock.now_ns += 10 * MS
    monkeypatch.setattr(rig.hand, "send", fail)
    rig.guard.tick()
    assert counted(rig) == (1, 1, 0, 0)
    rig.guard.submit(rig.command(0.5))
    assert counted(rig) == (1, 1, 1, 0)


def test_a_stop_that_waits_for_its_slot_is_sent_by_the_loop_itself() -> None:
    limits = replace(GateLimits.for_hand(VIRTUAL_HAND), max_command_rate_hz=50.0, link_timeout_s=600.0)
    hand = WiredHand()
    with GuardLoop(SafetyGate(limits, VIRTUAL_HAND.watchdog_action), hand, rate_hz=0.001) as guard:
        guard.request_arm("Ann", overridden("Ann", time.monotonic_ns()))
        guard.request_stop("Ann")
        guard.request_stop("Ann")  # in the same slot, as far as the machine does not stand still
        deadline = time.monotonic() + 60
        while len(hand.sent) < 2 and time.monotonic() < deadline:
            time.sleep(0.005)
        assert len(hand.sent) == 2
        guard.close(0.0)


def test_adjustments_reach_the_gate_with_who_made_them() -> None:
    rig = Rig().armed()
    rig.guard.adjust("Bo", Adjustments(hand_locked=True))
    rig.clock.now_ns += 10 * MS
    assert rig.guard.submit(rig.command(0.5)) is None
    assert rig.guard.decision is not None
    assert rig.guard.decision.cause is Cause.LOCKED
    assert [(e.text, e.who) for e in rig.events if e.kind == "adjust"] == [("hand locked", "Bo")]


def test_the_loop_is_a_guard() -> None:
    guard: Guard = Rig().guard
    assert guard.state is GateState.DISARMED


@pytest.mark.parametrize("ask", ["request_stop", "request_release", "request_disarm"])
def test_who_asked_for_rest_since_the_arming_was_decided_is_not_overruled(ask: str) -> None:
    rig = Rig()
    decided_ns = rig.clock.now_ns
    rig.run(0.1)
    getattr(rig.guard, ask)("Ann")
    rig.run(0.1)
    check = overridden("Bob", rig.clock.now_ns)
    assert not rig.guard.request_arm("Bob", check, asked_ns=decided_ns)
    assert rig.events[-1].text == "somebody has asked for rest since: ask again, then arm"
    assert rig.guard.request_arm("Bob", check, asked_ns=rig.clock.now_ns)


def test_an_arming_of_the_future_is_refused() -> None:
    rig = Rig()
    rig.run(0.1)
    check = overridden("Bob", rig.clock.now_ns)
    assert not rig.guard.request_arm("Bob", check, asked_ns=rig.clock.now_ns + 1)
    assert "asked for in the future" in rig.events[-1].text


def test_a_guard_that_closes_arms_no_more() -> None:
    rig = Rig().armed()
    rig.guard.close()
    assert not rig.guard.request_arm("Ann", overridden("Ann", rig.clock.now_ns))
    assert rig.events[-1].text == "the guard is about to end: start another one, then arm"


def test_the_end_waits_for_a_slow_hand_to_reach_rest() -> None:
    slow = replace(GateLimits.for_hand(VIRTUAL_HAND), max_speed_per_s=0.25, upper=[0.7] * 6, lower=[0.0] * 6)
    hand, events = WiredHand(), list[GateEvent]()
    guard = GuardLoop(SafetyGate(slow, VIRTUAL_HAND.watchdog_action), hand, on_event=events.append)
    hand.send(np.full(6, 0.7, np.float32), 0)
    until_s = time.monotonic() + 30
    while hand.state.positions[0] < 0.65 and time.monotonic() < until_s:
        hand.send(np.full(6, 0.7, np.float32), 0)
    guard.start()
    guard.close()  # 2.8 s at the least: longer than the margin
    assert hand.state.positions[0] < 0.05
    assert "release given up" not in [event.kind for event in events]


def test_a_release_that_is_given_up_is_said() -> None:
    hand, events = WiredHand(), list[GateEvent]()
    limits = GateLimits.for_hand(VIRTUAL_HAND)
    guard = GuardLoop(SafetyGate(limits, VIRTUAL_HAND.watchdog_action), hand, on_event=events.append)
    hand.link = LinkState.LOST
    guard.start()
    guard.close(release_s=0.05)
    assert "release given up" in [event.kind for event in events]


def test_a_failure_that_goes_on_is_said_once() -> None:
    rig = Rig().armed()
    rig.hand.broken = True
    rig.run(0.5)
    assert [event.kind for event in rig.events].count("fault") == 1
    assert rig.guard.counters.errors == 50
    rig.hand.broken = False
    rig.run(0.1)
    rig.hand.broken = True
    rig.run(0.1)
    assert [event.kind for event in rig.events].count("fault") == 2


def test_limits_reach_the_gate_with_who_changed_them_and_hold_from_its_next_step() -> None:
    rig = Rig().armed()
    slow = replace(rig.guard.limits, max_speed_per_s=0.5)
    assert rig.guard.limit("Bo", slow) is slow
    assert rig.guard.limits is slow
    assert rig.guard.limit("Bo", slow) is slow
    rig.clock.now_ns += 10 * MS
    sent = rig.guard.submit(rig.command(0.5))
    assert sent is not None
    np.testing.assert_allclose(sent.positions, 0.005, atol=1e-6)
    text = "max_speed_per_s 4 /s -> 0.5 /s"
    assert [(e.text, e.who) for e in rig.events if e.kind == "limits"] == [(text, "Bo")]


def test_limits_are_held_against_the_hand_that_is_there() -> None:
    rig = Rig().armed()
    before = rig.guard.limits
    rig.hand.capabilities = replace(VIRTUAL_HAND, upper=np.full(6, 0.5, np.float32))
    with pytest.raises(NervehandError, match=r"upper of thumb is 1: the hand's own is 0\.5"):
        rig.guard.limit("Bo", replace(before, max_speed_per_s=0.5))
    assert rig.guard.limits is before
    assert [e.who for e in rig.events if e.kind == "limits refused"] == ["Bo"]


def test_the_end_waits_for_a_hand_that_narrower_limits_have_left_far_from_rest(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    limits = GateLimits.for_hand(VIRTUAL_HAND)
    narrow = replace(limits, lower=-0.1, upper=0.1, max_speed_per_s=0.25)
    rig = Rig().armed()
    rig.guard.submit(rig.command(0.9))
    rig.run(0.15)
    rig.guard.limit("Bo", narrow)
    assert rig.guard.time_to_rest_s == 4.0 > 2 * narrow.time_to_rest_s
    waited: list[float] = []
    monkeypatch.setattr(time, "sleep", lambda seconds: waited.append(seconds))
    rig.guard._thread = threading.Thread()  # as where it runs, and does not come to rest
    monkeypatch.setattr(rig.guard._thread, "join", lambda: None)
    rig.guard.close()
    assert sum(waited) == pytest.approx(4.0 + 2.0, abs=0.02)


class Passing(Clock):
    """Every look at it takes 1 µs."""

    def __call__(self) -> int:
        self.now_ns += 1000
        return self.now_ns


def test_what_is_told_says_when_the_command_was_taken_decided_and_sent() -> None:
    rig = Rig()
    rig.guard._clock = rig.clock = rig.hand.clock = clock = Passing()
    rig.armed()
    clock.now_ns += 10 * MS
    before_ns = clock.now_ns
    rig.guard.submit(rig.command(0.5, sample_index=7))
    first = rig.told[-1]
    assert before_ns < first.taken_ns < first.decided_ns < first.sent_ns == clock.now_ns
    rig.run(0.05)
    later = rig.told[-1]
    assert (later.sample_index, later.taken_ns) == (7, first.taken_ns)
    assert later.decided_ns > first.sent_ns
    rig.guard.request_stop("Ann")
    rig.run(0.01)
    assert (rig.told[-1].sample_index, rig.told[-1].taken_ns) == (-1, 0)
    assert rig.told[-1].decided_ns > later.sent_ns


def following(rig: Rig, target: float, first: int, steps: int, every: int = 2) -> None:
    """A command every 20 ms, and a step every 10 ms."""
    for step in range(steps):
        rig.clock.now_ns += 10 * MS
        if step % every == 0:
            rig.guard.submit(rig.command(target, first + step))
        else:
            rig.guard.tick()


def test_the_first_report_of_a_movement_is_told_with_the_first_command_of_it() -> None:
    rig = Rig().armed()
    following(rig, 0.0, 100, 30)
    asked_ns = rig.clock.now_ns + 10 * MS
    following(rig, 0.8, 200, 40)
    assert [(one.sample_index, one.sent_ns) for one in rig.moved] == [(200, asked_ns)]
    assert asked_ns < rig.moved[0].reported_ns <= asked_ns + 60 * MS
    following(rig, 0.8, 300, 40)
    following(rig, 0.2, 400, 40)
    assert [one.sample_index for one in rig.moved] == [200, 400]


def test_a_locked_hand_or_a_hand_that_holds_or_a_limit_that_keeps_it_begins_no_movement() -> None:
    for keep in ("lock", "limits", "stop", "doubt"):
        rig = Rig().armed()
        following(rig, 0.0, 100, 30)
        if keep == "lock":
            rig.guard.adjust("Bo", Adjustments(locked=(True,) * 6))
        elif keep == "limits":
            rig.guard.limit("Bo", replace(rig.guard.limits, lower=0.0, upper=0.0))
        elif keep == "stop":
            rig.guard.request_stop("Bo")
        following(rig, 0.8 if keep != "doubt" else np.nan, 200, 40)
        assert rig.moved == []


def test_a_release_and_what_follows_begin_no_movement_of_a_command() -> None:
    rig = Rig().armed()
    following(rig, 0.0, 100, 30)
    following(rig, 0.8, 200, 60)
    assert len(rig.moved) == 1
    rig.guard.request_release("Ann")
    rig.run(0.5)
    rig.guard.request_disarm("Ann")
    rig.run(0.5)
    assert len(rig.moved) == 1


def test_a_hand_without_positions_begins_none() -> None:
    class Blind(WiredHand):
        @property
        def state(self) -> HandState:
            return replace(super().state, positions=np.full(6, np.nan, np.float32))

    rig = Rig(Blind).armed()
    following(rig, 0.0, 100, 30)
    following(rig, 0.8, 200, 40)
    assert rig.moved == []
    assert rig.told[-1].sample_index == 238


def test_who_does_not_ask_for_movements_has_none_followed(monkeypatch: pytest.MonkeyPatch) -> None:
    rig = Rig()
    rig.guard._on_moved = None
    monkeypatch.setattr(MovementTrace, "reported", lambda *_: pytest.fail("followed"))
    following(rig.armed(), 0.8, 1, 40)


def test_a_movement_that_cannot_be_told_is_counted_and_stops_nothing(
    caplog: pytest.LogCaptureFixture,
) -> None:
    rig = Rig().armed()

    def fail(moved: Moved) -> None:
        raise RuntimeError("screen gone")

    rig.guard._on_moved = fail
    following(rig, 0.0, 100, 30)
    following(rig, 0.8, 200, 40)
    assert rig.guard.counters.errors == 1
    assert "screen gone" in caplog.text
    np.testing.assert_allclose(rig.hand.sent[-1], 0.8)


def test_a_trace_that_fails_stops_nothing(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    rig = Rig().armed()
    monkeypatch.setattr(MovementTrace, "sent", lambda *_: 1 / 0)
    following(rig, 0.5, 200, 20)
    assert rig.guard.state is GateState.ARMED
    assert rig.guard.counters.errors == 20
    assert caplog.text.count("ZeroDivisionError") == 1
    np.testing.assert_allclose(rig.hand.sent[-1], 0.5)


def test_while_a_movement_is_awaited_the_loop_looks_more_often() -> None:
    """At a step every 100 s, so that nobody else has looked."""
    hand, moved = WiredHand(), list[Moved]()
    limits = replace(
        GateLimits.for_hand(VIRTUAL_HAND), link_timeout_s=600.0, silence_after_s=600.0, stale_after_s=600.0
    )
    gate = SafetyGate(limits, VIRTUAL_HAND.watchdog_action)
    with GuardLoop(gate, hand, rate_hz=0.01, on_moved=moved.append) as guard:
        guard.request_arm("Ann", overridden("Ann", time.monotonic_ns()))

        def command(target: float, index: int) -> None:
            now_ns = time.monotonic_ns()
            guard.submit(HandCommand(np.full(6, target, np.float32), index, now_ns, now_ns + 600 * NS))

        command(0.0, 1)
        time.sleep(0.2)
        command(0.0, 2)
        time.sleep(0.01)
        command(0.9, 3)  # one step of the ramp: 50 ms' worth
        deadline = time.monotonic() + 60
        while not moved and time.monotonic() < deadline:
            time.sleep(0.005)
        guard.close(0.0)
    assert [one.sample_index for one in moved] == [3]
