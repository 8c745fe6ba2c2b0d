"""The guard loop, with a clock of its own and a hand that is the kinematic one, in this process."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from firmware_bridge.errors import NervehandError
from firmware_bridge.gate import Cause, GateEvent, GateLimits, GateState, SafetyGate
from firmware_bridge.guard import GuardLoop, Sent
from firmware_bridge.hand import AppliedCommand, HandCapabilities, HandCommand, HandState, LinkState
from firmware_bridge.hands.virtual_protocol import VIRTUAL_HAND
from firmware_bridge.kinematics import KinematicHand

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
    def __init__(self, make_hand: Callable[[Clock], WiredHand] = WiredHand) -> None:
        self.clock = Clock()
        self.hand = make_hand(self.clock)
        self.events: list[GateEvent] = []
        gate = SafetyGate(GateLimits.for_hand(VIRTUAL_HAND), VIRTUAL_HAND.watchdog_action)
        self.told: list[Sent] = []
        self.guard = GuardLoop(
            gate, self.hand, on_event=self.events.append, on_sent=self.told.append, clock=self.clock
        )

    def command(self, target: float, sample_index: int = 0, life_ns: int = NS) -> HandCommand:
        now_ns = self.clock.now_ns
        return HandCommand(np.full(6, target, np.float32), sample_index, now_ns, now_ns + life_ns)

    def armed(self) -> Rig:
        assert self.guard.request_arm("Ann")
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
    rig.run(0.2)
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
    rig.run(0.2)
    np.testing.assert_allclose(rig.hand.sent[-1], 0.5, atol=1e-6)


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
    assert not rig.guard.request_arm("Ann")
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
    assert sum(one.sample_index == 7 for one in rig.told) == 25  # at once, and every 10 ms until it is stale


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
    assert guard.request_arm("Ann")
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
        guard.request_arm("Ann")
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
