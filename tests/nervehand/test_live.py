"""A live run: every hop decoded, late commands dropped and counted, a fault ends in the safe action."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from calibration.stepgraph import CausalConv, Dense, StepNetwork, build_step_graph
from decoder.bundle import Bundle
from decoder.chain import compile_kernels
from decoder.intent import Intents
from decoder.session.reader import read_session
from decoder.session.recorded import EventKind
from firmware_bridge.gate import GateEvent, GateLimits, GateState, SafetyGate
from firmware_bridge.guard import GuardLoop, Sent
from firmware_bridge.hand import (
    AppliedCommand,
    HandCapabilities,
    HandCommand,
    HandState,
    LinkState,
)
from firmware_bridge.hands.virtual_protocol import VIRTUAL_HAND
from firmware_bridge.kinematics import KinematicHand
from firmware_bridge.nerve.motion import Schedule
from firmware_bridge.nerve.subject import SCALE_UV, SimulatedSubject
from firmware_bridge.preuse import overridden
from firmware_bridge.sources.simulated import SimulatedSource
from firmware_bridge.stream import SignalBlock
from firmware_bridge.supervised import SourceEvent
from nervehand.live import LiveRun, LiveSummary
from nervehand.recording import LiveRecorder, recording
from nervehand.screen import NoScreen, Snapshot
from tests.bundles import random_bundle
from tests.closing import StoppedClock


class WiredHand:
    """The kinematic hand without a radio: what it is sent moves it at once."""

    def __init__(self) -> None:
        self.sent: list[NDArray[np.float32]] = []
        self.link = LinkState.CONNECTED
        self._hand = KinematicHand(VIRTUAL_HAND, time.monotonic_ns())
        self._lock = threading.Lock()  # the guard, the live run and the end of both look at it

    @property
    def capabilities(self) -> HandCapabilities:
        return VIRTUAL_HAND

    @property
    def state(self) -> HandState:
        with self._lock:
            now_ns = time.monotonic_ns()
            self._hand.advance(now_ns)
            return HandState(self._hand.positions, now_ns)

    def connect(self, timeout_s: float) -> None:
        """Always there."""

    def send(self, positions: NDArray[np.float32], now_ns: int) -> AppliedCommand:
        self.sent.append(positions.copy())
        with self._lock:
            self._hand.command(positions, time.monotonic_ns())
        return AppliedCommand(positions, np.zeros(6, np.bool_), now_ns)

    def close(self) -> None:
        """Nothing to close."""


@cache
def subject() -> SimulatedSubject:
    return SimulatedSubject(2, n_channels=4, rate_hz=5000.0, schedule=Schedule(repetitions=1))


@cache
def bundle() -> Bundle:
    """Random weights whose outputs are small, so that the gate sees rest and follows."""
    samples = subject().samples(0, 10_000)
    made = random_bundle(subject().info, samples, SCALE_UV)
    return replace(made, position_map=replace(made.position_map, matrix=made.position_map.matrix * 0.01))


def run_live(
    source: SimulatedSource, hand: WiredHand, limits: GateLimits | None = None, **more: object
) -> tuple[LiveSummary, list[Intents], GuardLoop]:
    compile_kernels(bundle(), subject().info)
    gate = SafetyGate(limits or GateLimits.for_hand(VIRTUAL_HAND), VIRTUAL_HAND.watchdog_action)
    intents: list[Intents] = []
    recorder = more.get("recorder")
    told: list[Callable[[Sent], None]] = [recorder.sent] if isinstance(recorder, LiveRecorder) else []
    with GuardLoop(gate, hand, on_sent=lambda sent: [hear(sent) for hear in told]) as guard:
        live = LiveRun("test", source, bundle(), guard, hand, NoScreen(), on_intents=intents.append, **more)
        told.append(live.sent)
        assert guard.request_arm("test", overridden("test", time.monotonic_ns()))
        summary = live.run(threading.Event())
    return live.completed(summary), intents, guard  # the last command may have waited for its slot until now


def source(seconds: float, **more: object) -> SimulatedSource:
    return SimulatedSource(subject(), 25, n_samples=round(seconds * 5000), **more)


class Prompt(SimulatedSource):
    """Blocks that have only just arrived, as fast as they are taken: no machine is too slow for them."""

    def blocks(self) -> Iterator[SignalBlock]:
        for block in super().blocks():
            yield replace(block, arrival_ns=time.monotonic_ns())


def test_every_hop_is_decoded_and_what_the_gate_allows_reaches_the_hand() -> None:
    hand = WiredHand()
    summary, intents, _ = run_live(Prompt(subject(), 25, n_samples=5000, is_paced=False), hand)
    # The last 2 ms, and the hop that ends there, stay in the delay line.
    assert summary.hops == sum(len(part) for part in intents) == 45
    assert summary.warming_hops == 6  # 0.2 s declared is 10 hops; the first window takes 5, and ends the 5th
    assert summary.commands_applied + summary.commands_withheld + summary.commands_dropped == summary.hops
    assert summary.commands_applied > 20
    assert summary.latency_us["sample to sent"]["p50"] > 0
    assert len(hand.sent) >= summary.commands_applied


def test_what_a_slow_hand_leaves_no_slot_for_is_dropped_not_applied() -> None:
    limits = replace(GateLimits.for_hand(VIRTUAL_HAND), max_command_rate_hz=1.0)
    source = Prompt(subject(), 25, n_samples=5000, is_paced=False)
    summary, _, guard = run_live(source, WiredHand(), limits)
    assert guard.counters.commands_overtaken > 0
    assert summary.commands_dropped >= guard.counters.commands_overtaken
    assert summary.commands_applied + summary.commands_withheld + summary.commands_dropped == summary.hops


def test_the_recording_holds_what_the_hand_was_told_bit_for_bit(tmp_path: Path) -> None:
    hand, path = WiredHand(), tmp_path / "told.nwb"
    with recording(path, subject().info, bundle(), 0, SCALE_UV) as recorder:
        prompt = Prompt(subject(), 25, n_samples=5000, is_paced=False)
        summary, _, _ = run_live(prompt, hand, recorder=recorder)
    recorded = read_session(path).recorded
    assert recorded.sent is not None
    assert recorded.commands is not None
    assert recorded.sent.positions.tobytes() == np.array(hand.sent).tobytes()
    # A command that waits for its slot, at the hand's most commands a second, may be replaced by the next one.
    assert 20 < len(recorded.commands.sample_index) == summary.commands_applied
    followed = set(recorded.sent.sample_index.tolist()) - {-1}
    assert followed >= set(recorded.commands.sample_index.tolist())
    names = [recorded.sent.state_names[k] for k in recorded.sent.state]
    assert names[-1] == GateState.RELEASED.value
    assert all(
        (name == "armed") == (i >= 0) for name, i in zip(names, recorded.sent.sample_index, strict=True)
    )


def test_late_hops_are_decoded_but_command_nothing_and_the_recording_says_so(tmp_path: Path) -> None:
    """A host that runs far behind: each block arrives long after its samples were due."""

    class Behind(SimulatedSource):
        def blocks(self) -> Iterator[SignalBlock]:
            for block in super().blocks():
                yield replace(block, arrival_ns=time.monotonic_ns() - 10**9)

    hand, path = WiredHand(), tmp_path / "late.nwb"
    with recording(path, subject().info, bundle(), 0, SCALE_UV) as recorder:
        behind = Behind(subject(), 25, n_samples=5000, is_paced=False)
        summary, _, _ = run_live(behind, hand, recorder=recorder)
    assert summary.hops == summary.commands_dropped == 45
    events = read_session(path).recorded.events
    assert sum(e.first for e in events if e.kind == EventKind.DROPPED_COMMANDS) == 45
    assert summary.commands_applied == 0
    assert summary.latency_us["sample to sent"]["p50"] is None
    assert summary.latency_us["sample to decided"]["p50"] >= 1e6
    said = summary.to_json()
    assert said["latency_p50_us"] is None
    assert said["latency_decided_p50_us"] == summary.latency_us["sample to decided"]["p50"]
    assert "45 dropped as late or overtaken" in summary.describe()
    assert "sample to decided: p50 1" in summary.describe()


def test_hops_shorter_than_the_delay_line_still_command_the_hand() -> None:
    """Each hop of 1 ms is two hops old when it leaves the delay line of 2 ms: no host can have it sooner."""
    manifest = bundle().manifest
    settings = replace(manifest.features.settings, hop_samples=5)
    features = manifest.features.model_copy(update={"settings": settings})
    quick = replace(bundle(), manifest=manifest.model_copy(update={"features": features}))
    compile_kernels(quick, subject().info)
    gate, hand = SafetyGate(GateLimits.for_hand(VIRTUAL_HAND), VIRTUAL_HAND.watchdog_action), WiredHand()
    with GuardLoop(gate, hand) as guard:
        prompt = Prompt(subject(), 5, n_samples=3000)
        summary = LiveRun("test", prompt, quick, guard, hand, NoScreen()).run(threading.Event())
    assert summary.hops == 499  # the first window takes 100 ms, the last 2 ms stay in the delay line
    assert summary.commands_dropped < summary.hops


def test_no_hop_is_left_out_of_the_time_to_the_decision() -> None:
    """Half of the blocks are a second late and hold two hops each: two thirds of the hops."""

    class Uneven(SimulatedSource):
        def blocks(self) -> Iterator[SignalBlock]:
            samples, at = subject().samples(0, 12_000), 0
            for i in range(80):
                # A hop is 100 samples, and leaves the delay line 10 later: within the block that it ends in.
                n = 200 if i % 2 else 100 if i else 150
                late_ns = 10**9 if i % 2 else 0
                yield SignalBlock(samples[at : at + n], at, time.monotonic_ns() - late_ns, scale_uv=SCALE_UV)
                at += n

    summary, _, _ = run_live(Uneven(subject(), 100), WiredHand())
    decided = summary.latency_us["sample to decided"]
    assert summary.hops == 115
    assert summary.commands_dropped >= 76
    assert decided["p50"] >= 1e6
    assert summary.latency_us["wait"]["p99"] < 1e6


def test_the_same_samples_give_the_same_digest_at_any_speed() -> None:
    paced, _, _ = run_live(source(0.6), WiredHand())
    fast, _, _ = run_live(source(0.6, is_paced=False), WiredHand())
    assert paced.intents_sha256 == fast.intents_sha256


def test_an_exception_in_the_decode_path_reaches_the_gate_before_the_caller() -> None:
    class Broken(SimulatedSource):
        def blocks(self) -> Iterator[SignalBlock]:
            for i, block in enumerate(super().blocks()):
                if i == 20:
                    raise OSError("the front-end vanished")
                yield block

    events: list[str] = []
    running: list[bool] = []

    def hear(event: GateEvent) -> None:
        events.append(event.text)
        if event.kind == "fault":  # the thread that waits for a stop runs: nothing was waited for before
            running.append(any(thread.name == "stop" for thread in threading.enumerate()))

    gate = SafetyGate(GateLimits.for_hand(VIRTUAL_HAND), VIRTUAL_HAND.watchdog_action)
    hand = WiredHand()
    with GuardLoop(gate, hand, on_event=hear) as guard:
        live = LiveRun("t", Broken(subject(), 25, n_samples=5000), bundle(), guard, hand, NoScreen())
        assert guard.request_arm("test", overridden("test", time.monotonic_ns()))
        with pytest.raises(OSError, match="vanished"):
            live.run(threading.Event())
        assert guard.decision is not None
        assert guard.decision.state is not GateState.ARMED
    assert any("vanished" in text for text in events)
    assert running == [True]


@pytest.mark.parametrize("late_ns", [0, 10**9])
def test_an_answer_that_is_not_finite_reaches_the_gate_though_newer_hops_of_its_block_are_finite(
    late_ns: int,
) -> None:
    """A network that overflows at a large first feature, in blocks of five hops."""
    n = bundle().normalisation.n_features
    weight = np.zeros((2, n, 4), np.float32)
    weight[:, 0] = 3e38
    broken = StepNetwork(
        (CausalConv(weight, np.zeros(4, np.float32)),),
        Dense(np.full((4, 6), np.float32(1e-38)), np.zeros(6, np.float32)),
        Dense(np.full((4, 3), np.float32(-1e-38)), np.zeros(3, np.float32)),
    )
    failing = replace(bundle(), step_graph=build_step_graph(broken))

    class Hops(SimulatedSource):
        def blocks(self) -> Iterator[SignalBlock]:
            for block in super().blocks():
                yield replace(block, arrival_ns=time.monotonic_ns() - late_ns)

    class Watched(GuardLoop):
        def submit(self, command: HandCommand) -> Sent | None:
            commands.append(command)
            return super().submit(command)

    commands: list[HandCommand] = []
    found: list[Intents] = []
    gate = SafetyGate(GateLimits.for_hand(VIRTUAL_HAND), VIRTUAL_HAND.watchdog_action)
    hand = WiredHand()
    with Watched(gate, hand) as guard:
        blocks = Hops(subject(), 500, n_samples=10_000, is_paced=False)
        summary = LiveRun("t", blocks, failing, guard, hand, NoScreen(), on_intents=found.append).run(
            threading.Event()
        )
    expected = []
    for intents in found:
        failed = ~np.isfinite(intents.positions).all(1)
        if failed.any():
            expected.append(int(intents.sample_index[failed][0]))
    assert len(expected) >= 2
    assert [c.sample_index for c in commands if not np.isfinite(c.targets).all()] == expected
    assert summary.commands_applied + summary.commands_withheld + summary.commands_dropped == summary.hops


def test_a_stop_ends_the_wait_for_a_source_that_has_stalled() -> None:
    clock, stop, hand = StoppedClock(), threading.Event(), WiredHand()
    gate = SafetyGate(GateLimits.for_hand(VIRTUAL_HAND), VIRTUAL_HAND.watchdog_action)
    stalled = SimulatedSource(subject(), 25, clock_ns=clock)
    ended: list[LiveSummary] = []
    with GuardLoop(gate, hand) as guard:
        live = LiveRun("test", stalled, bundle(), guard, hand, NoScreen())
        runner = threading.Thread(target=lambda: ended.append(live.run(stop)), daemon=True)
        runner.start()
        assert clock.asked.wait(60)
        assert not ended
        stop.set()
        runner.join(60)
    assert [summary.hops for summary in ended] == [0]
    assert not [thread for thread in threading.enumerate() if thread.name == "stop"]


def test_a_stop_before_the_source_is_connected_ends_the_run_though_no_block_ever_comes() -> None:
    class Late(SimulatedSource):
        """Takes long to connect: what stops the run has closed it by then, and closes it only once."""

        def connect(self) -> None:
            assert closed.wait(60)
            super().connect()

        def close(self) -> None:
            super().close()
            closed.set()

    clock, stop, closed = StoppedClock(), threading.Event(), threading.Event()
    ended_or_waits = clock.asked
    stop.set()
    gate, hand = SafetyGate(GateLimits.for_hand(VIRTUAL_HAND), VIRTUAL_HAND.watchdog_action), WiredHand()
    ended: list[LiveSummary] = []
    with GuardLoop(gate, hand) as guard:
        late = Late(subject(), 25, clock_ns=clock)
        live = LiveRun("test", late, bundle(), guard, hand, NoScreen())

        def run() -> None:
            try:
                ended.append(live.run(stop))
            finally:
                ended_or_waits.set()

        runner = threading.Thread(target=run, daemon=True)
        runner.start()
        ended_or_waits.wait()
        without_another_close = list(ended)
        late.close()
        runner.join()
    assert [summary.hops for summary in without_another_close] == [0]


def test_the_screen_gets_a_complete_snapshot() -> None:
    seen: list[Snapshot] = []
    stop = threading.Event()

    class Remembering:
        """Has seen enough with the third one, once something was decoded."""

        def show(self, snapshot: Snapshot) -> None:
            seen.append(snapshot)
            if len(seen) >= 3 and snapshot.hops:
                stop.set()

    gate = SafetyGate(GateLimits.for_hand(VIRTUAL_HAND), VIRTUAL_HAND.watchdog_action)
    hand = WiredHand()
    with GuardLoop(gate, hand) as guard:
        live = LiveRun("t", source(60.0), bundle(), guard, hand, Remembering(), lambda sample: "a cue")
        assert guard.request_arm("test", overridden("test", time.monotonic_ns()))
        live.run(stop)
    assert len(seen) >= 3
    last = seen[-1]
    assert len(last.levels_uv) == len(last.channels) == len(last.masked) == 4
    assert last.cue == "a cue"
    assert last.hops > 0
    assert all(level > 0 for level in last.levels_uv)


def test_a_gate_that_a_lost_link_disarmed_is_armed_again_only_where_somebody_is_named() -> None:
    def run_with_a_break(**more: object) -> tuple[LiveSummary, bool]:
        """The link is lost once the gate is armed, back once it is disarmed; then until it is armed, or was shown
        three times: it is armed again, or not, before it is shown. And whether it was."""
        hand, stop = WiredHand(), threading.Event()
        is_back = is_armed_again = False
        shown_since_back = 0

        def look(intents: Intents) -> None:
            nonlocal is_back, is_armed_again
            state = None if guard.decision is None else guard.decision.state
            if is_back and state is GateState.ARMED:
                is_armed_again = True
                stop.set()
            elif state is GateState.ARMED:
                hand.link = LinkState.LOST
            elif state is GateState.DISARMED and hand.link is LinkState.LOST:
                hand.link, is_back = LinkState.CONNECTED, True

        class Counting:
            def show(self, snapshot: Snapshot) -> None:
                nonlocal shown_since_back
                shown_since_back += is_back
                if shown_since_back == 3 and not more:
                    stop.set()

        compile_kernels(bundle(), subject().info)
        gate = SafetyGate(GateLimits.for_hand(VIRTUAL_HAND), VIRTUAL_HAND.watchdog_action)
        with GuardLoop(gate, hand) as guard:
            prompt = Prompt(subject(), 25, n_samples=300_000)
            live = LiveRun("test", prompt, bundle(), guard, hand, Counting(), on_intents=look, **more)
            assert guard.request_arm("test", overridden("test", time.monotonic_ns()))
            return live.run(stop), is_armed_again

    again, is_armed_again = run_with_a_break(armed_by="test")
    assert again.rearmed > 0
    assert is_armed_again
    never, is_armed_again = run_with_a_break()
    assert (never.rearmed, never.gate, is_armed_again) == (0, GateState.DISARMED.value, False)


def test_who_has_just_asked_for_rest_is_not_overruled_though_the_run_has_not_heard_of_it() -> None:
    """The guard's words do not reach this run: it sees a gate that is disarmed, a hand that is there, and no reason."""
    looks = 0

    class Counting:
        def show(self, snapshot: Snapshot) -> None:
            nonlocal looks
            looks += 1
            if looks == 2:
                guard.request_disarm("Ann")
            if looks == 5:
                stop.set()

    compile_kernels(bundle(), subject().info)
    hand, stop = WiredHand(), threading.Event()
    gate = SafetyGate(GateLimits.for_hand(VIRTUAL_HAND), VIRTUAL_HAND.watchdog_action)
    with GuardLoop(gate, hand) as guard:
        prompt = Prompt(subject(), 25, n_samples=300_000)
        live = LiveRun("test", prompt, bundle(), guard, hand, Counting(), armed_by="run")
        assert guard.request_arm("run", overridden("run", time.monotonic_ns()))
        summary = live.run(stop)
    assert (summary.rearmed, summary.gate) == (0, GateState.DISARMED.value)


def test_what_happens_to_the_source_is_recorded_and_shown_at_once_though_no_block_comes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Lost after 100 blocks and back after 150; the screen hears of the loss before the next block."""
    # Between what happens and its showing is the recording, whose disk may be slow.
    monkeypatch.setattr("nervehand.live_shown._NOTICE_S", 3600.0)
    live: list[LiveRun] = []
    shown_at: dict[str, int] = {}
    blocks_taken = 0

    class Interrupted(Prompt):
        def blocks(self) -> Iterator[SignalBlock]:
            nonlocal blocks_taken
            for block in super().blocks():
                if blocks_taken == 100:
                    live[0].source_event(SourceEvent(block.first_sample, "lost", "unplugged"))
                if blocks_taken == 150:
                    live[0].source_event(SourceEvent(block.first_sample, "reconnected", "after 1 s"))
                blocks_taken += 1
                yield block

    class Remembering:
        def show(self, snapshot: Snapshot) -> None:
            shown_at.setdefault(snapshot.notice, blocks_taken)

    compile_kernels(bundle(), subject().info)
    gate = SafetyGate(GateLimits.for_hand(VIRTUAL_HAND), VIRTUAL_HAND.watchdog_action)
    hand, path = WiredHand(), tmp_path / "live.nwb"
    with recording(path, subject().info, bundle(), 0, SCALE_UV) as recorder, GuardLoop(gate, hand) as guard:
        interrupted = Interrupted(subject(), 25, n_samples=5000)
        live.append(LiveRun("t", interrupted, bundle(), guard, hand, Remembering(), recorder=recorder))
        live[0].run(threading.Event())
    assert shown_at["source lost: unplugged"] == 100
    assert shown_at["source reconnected: after 1 s"] == 150
    notes = {note.text: note.sample_index for note in read_session(path).recorded.notes}
    assert notes["source lost: unplugged"] == 100 * 25 - 1
