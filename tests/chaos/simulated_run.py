"""A whole daemon in simulated time: source, decode loop, guard, gate and hand on one clock, while faults happen.

What it shares with a real one: SupervisedSource, LiveRun with the demo's decoder, the recorder's ring, GuardLoop,
SafetyGate, the virtual hand's frames and the emulated hand. Its processes are objects: SIGSTOP is one that does
nothing for a while, SIGKILL one that is gone, and what the real ones do about that (docs/guard.md, docs/daemon.md) is
done here.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cache

import numpy as np
from numpy.typing import NDArray

from decoder.bundle import Bundle, pack, unpack
from decoder.deployable import Decoder
from decoder.intent import Intents
from decoder.session import read_session
from decoder.shadow import ShadowRules
from firmware_bridge.emulators.oracle import Bounds, Commanded, Happened, Story, Violation, judge
from firmware_bridge.errors import LinkError
from firmware_bridge.gate import GateEvent, GateState
from firmware_bridge.guard import Sent
from firmware_bridge.guard_settings import GuardSettings
from firmware_bridge.hand import LinkState
from firmware_bridge.hands.virtual_protocol import VIRTUAL_HAND
from firmware_bridge.preuse import overridden
from firmware_bridge.stream import StreamInfo
from firmware_bridge.supervised import SourceEvent, SupervisedSource
from nervehand.demo import demo_bundle
from nervehand.live import LiveOptions, LiveRun
from nervehand.screen import NoScreen
from tests.chaos.faults import Fault
from tests.chaos.simulated_hand import SimulatedHand
from tests.chaos.simulated_processes import REACH, SPEED, Answered, Door, Ring
from tests.chaos.simulated_source import Acquired, Killed, SimulatedDevice
from tests.chaos.world import NS, World
from tests.replay.reference import SESSION

BOUNDS = Bounds((REACH[0],) * 6, (REACH[1],) * 6, (SPEED,) * 6, max_age_s=0.55, settle_s=1.0)
HEARTBEAT_S = GuardSettings("virtual:here").heartbeat_limit_s
FOLLOWS_S = 20.0
"""Until the hand follows again: the decoder is warm, somebody has armed, and the intent has passed rest."""
DECODES_S = 3.0
"""Until the decoder decides again, warmed up, once a fault is over."""
RESTART_S = 1.0
"""What a supervisor waits, and an engine takes to start."""
LOOK_S = 0.01
DRAIN_S = 0.1
EAGER = ShadowRules(
    least_s=0.2, most_of_hop=1e9, too_slow=1e9, rest_s=0.0, rest_position=1e9, longest_wait_s=60.0
)


@cache
def bundle(which: int = 0) -> Bundle:
    """The demo's decoder, and others that differ from it by name only."""
    first = demo_bundle()
    if not which:
        return first
    training = first.manifest.training.model_copy(update={"commit": f"{which:040x}"})
    manifest = first.manifest.model_copy(update={"training": training})
    return unpack(pack(replace(first, manifest=manifest)))


@cache
def signal() -> tuple[NDArray[np.int16], StreamInfo, float]:
    """Samples (n, c) that are played over and over, with rest and movements in them."""
    session = read_session(SESSION)
    return np.asarray(session.signal[0 : session.n_samples]), session.info, float(session.scale_uv)


@dataclass
class Outcome:
    """What came of a list of faults."""

    faults: int = 0
    decodes_again_s: list[float] = field(default_factory=list)
    follows_again_s: list[float] = field(default_factory=list)
    watchdogs: dict[int, bool] = field(default_factory=dict)
    """By the number of each fault in which the guard stood still for longer than the hand waits: did the hand act?"""
    violations: list[tuple[Violation, str]] = field(default_factory=list)
    targets: int = 0
    hops: int = 0
    lives: int = 0
    simulated_s: float = 0.0
    recorded_messages: int = 0
    lost_messages: int = 0
    digest: list[str] = field(default_factory=list)
    """Of the intents of each life."""
    trace: list[tuple[int, str, tuple[float, ...]]] = field(default_factory=list)


Script = Iterator[Callable[[], bool]]


class SimulatedRun:
    """All of it, from start to the last fault. `steps_wall` False leaves the wall clock as it is."""

    def __init__(self, plan: list[Fault], seed: int, *, steps_wall: bool = True) -> None:
        self.world = World()
        self._plan, self._steps_wall = plan, steps_wall
        samples, info, scale_uv = signal()
        self.hand = SimulatedHand(self.world, np.random.default_rng([seed, 1]))
        self.device = SimulatedDevice(self.world, samples, info, scale_uv)
        self.commands: list[Commanded] = []
        self.happened: list[Happened] = []
        self.stalls: list[tuple[int, int]] = []
        self.began: list[tuple[int, str]] = []
        self.outcome = Outcome()
        self._stop = threading.Event()
        self._is_killed = self._is_ending = False
        self._door: Door | None = None
        self._live: LiveRun | None = None
        self._acquired: Acquired | None = None
        self._ring: Ring | None = None
        self._waits_for: Callable[[], bool] = lambda: True
        self._script = self._happen()
        self._is_over = False
        self._drained_ns = 0
        self._which = 0

    def run(self) -> Outcome:
        """Until the last fault is over and the hand was released; the oracle has judged."""
        with wall_clock(self.world):
            self.world.at(self.world.now_ns + 7, self._look)
            while not self._stop.is_set():
                self._life()
        self._judge()
        return self.outcome

    def gate_event(self, event: GateEvent) -> None:
        """What the oracle is told of it."""
        kind = {"arm": "arm", "release": "release", "stop": "stop", "disarm": "disarm"}.get(event.kind, "")
        if event.kind == GateState.DISARMED.value and event.who == "gate" and "link" in event.text:
            kind = "lost"
        if event.kind in ("fault", GateState.FAULTED.value):
            kind = "fault"
        if kind:
            self.happened.append(Happened(event.time_ns, event.time_ns, kind))
        if self._live is not None:
            self._live.gate_event(event)
        if self._ring is not None:
            self._ring.recorder.gate_event(event)

    def live_sent(self, sent: Sent) -> None:
        """What the hand is told."""
        if self._live is not None:
            self._live.sent(sent)
        if self._ring is not None:
            self._ring.recorder.sent(sent)

    # One life of the engine, from its start to its end.

    def _life(self) -> None:
        world = self.world
        self.outcome.lives += 1
        self._is_killed = False
        ring = self._ring = Ring(self.device.info, bundle())
        self._door = door = Door(world, self.hand, self)
        self.hand.connect(10.0)
        source = SupervisedSource(self.device, self._source_event, clock_ns=world.clock_ns, wait=world.wait)
        self._acquired = Acquired(world, source, self._check)
        self._live = live = LiveRun(
            "chaos", self._acquired, bundle(), door, self.hand, NoScreen(), armed_by="Ann",
            recorder=ring.recorder, pre_use=Answered(world), on_intents=self._decided,
            options=LiveOptions(rules=EAGER, backlog=self._acquired, clock_ns=world.clock_ns),
        )  # fmt: skip
        while True:
            try:
                live.run(self._stop)
            except Killed:
                self._orphaned(door)
            except LinkError:
                if not door.is_dead:  # the front-end is waited for
                    world.wait(0.5)
                    continue
            break
        self.outcome.digest.append(live._summary(0.0).intents_sha256)
        self._live, self._ring = None, None
        ring.close()
        self.outcome.recorded_messages += ring.received
        self.outcome.lost_messages += ring.lost
        if not door.is_dead:
            door.leave()
        self.hand.close()
        world.wait(RESTART_S)

    def _orphaned(self, door: Door) -> None:
        """What a guard does whose decode was killed."""
        if door.is_dead:
            return
        door.request_release("guard process")
        end_ns = self.world.now_ns + 5 * NS
        while (
            not (door.gate.at_rest and self.hand.link is LinkState.CONNECTED) and self.world.now_ns < end_ns
        ):
            self.world.wait(LOOK_S)
        self.world.wait(0.3)
        door.request_disarm("guard process")
        self._nobody_sends()

    def _nobody_sends(self) -> None:
        self.happened.append(Happened(self.world.now_ns, self.world.now_ns, "arm"))
        self.happened.append(Happened(self.world.now_ns, self.world.now_ns, "disarm"))

    def _check(self) -> None:
        if self._is_killed:
            raise Killed

    def _decided(self, intents: Intents) -> None:
        self.outcome.hops += len(intents)

    def _source_event(self, event: SourceEvent) -> None:
        if self._live is not None:
            self._live.source_event(event)

    # What happens, and the person who arms again.

    def _look(self) -> None:
        """Each 10 ms: the script goes on where what it waits for is there."""
        world = self.world
        if self._ring is not None and world.now_ns - self._drained_ns >= DRAIN_S * NS:
            self._drained_ns = world.now_ns
            self._ring.drain()
        self._tend()
        try:
            while not self._is_over and self._waits_for():
                self._waits_for = next(self._script)
        except StopIteration:
            self._is_over = True
        world.at(world.now_ns + round(LOOK_S * NS), self._look)

    def _tend(self) -> None:
        door = self._door
        if door is None or door.is_stopped or door.is_dead or self._is_ending:
            return
        if self._is_killed or self.hand.link is not LinkState.CONNECTED or self.hand.state is None:
            return
        is_off = door.state in (GateState.DISARMED, GateState.FAULTED)
        if is_off or (door.state is GateState.RELEASED and door.gate.at_rest):
            door.request_arm("Ann", overridden("Ann", self.world.now_ns))

    def _follows(self) -> bool:
        door, live = self._door, self._live
        return (
            door is not None and live is not None and not (door.is_dead or door.is_stopped or self._is_killed)
            and door.state is GateState.ARMED and live.hops > 0 and not live.is_warming
        )  # fmt: skip

    def _within(self, limit_s: float, is_so: Callable[[], bool], what: str) -> Callable[[], bool]:
        end_ns = self.world.now_ns + round(limit_s * NS)

        def found() -> bool:
            if is_so():
                return True
            door = self._door
            state = (
                None if door is None else (door.state, door.decision and door.decision.cause, self.hand.link)
            )
            assert self.world.now_ns < end_ns, f"not within {limit_s} s: {what}; {state}"
            return False

        return found

    def _passed(self, seconds: float) -> Callable[[], bool]:
        end_ns = self.world.now_ns + round(seconds * NS)
        return lambda: self.world.now_ns >= end_ns

    def _happen(self) -> Script:
        yield self._within(FOLLOWS_S, self._follows, "the hand follows at first")
        for fault in self._plan:
            yield self._passed(fault.after_s)
            self.began.append((self.world.now_ns, str(fault)))
            yield from self._fault(fault)
            over_ns, hops = self.world.now_ns, self.outcome.hops

            def decodes(before: int = hops) -> bool:
                live = self._live
                return self.outcome.hops > before + 2 and live is not None and not live.is_warming

            yield self._within(DECODES_S, decodes, f"it decodes again after {fault}")
            self.outcome.decodes_again_s.append((self.world.now_ns - over_ns) / NS)
            yield self._within(FOLLOWS_S, self._follows, f"the hand follows again after {fault}")
            self.outcome.follows_again_s.append((self.world.now_ns - over_ns) / NS)
            self.outcome.faults += 1
        self._is_ending = True
        door = self._door
        assert door is not None
        door.request_release("Ann")
        yield self._within(
            5.0, lambda: door.gate.at_rest and self.hand.link is LinkState.CONNECTED, "at rest"
        )
        yield self._passed(1.5)
        self._stop.set()

    def _fault(self, fault: Fault) -> Script:
        world, hand, device = self.world, self.hand, self.device
        door, live, acquired, ring = self._door, self._live, self._acquired, self._ring
        assert door is not None
        assert live is not None
        assert acquired is not None
        assert ring is not None
        begin_ns = world.now_ns
        until_ns = begin_ns + round(fault.for_s * NS)
        match fault.kind:
            case "source silent":
                device.silent_until_ns = until_ns
                yield self._passed(fault.for_s)
            case "source unplugged" | "source back with another counter":
                device.away_until_ns = until_ns
                if fault.kind != "source unplugged":
                    device.begin_anew()
                yield self._passed(fault.for_s)
            case "source burst":
                device.holds_until_ns = until_ns
                yield self._passed(fault.for_s)
            case "decode stopped" | "decode behind" | "decode overloaded":
                restarts = live.restarts
                if fault.kind == "decode stopped":
                    device.holds_until_ns = until_ns  # the process is stopped with all its threads
                else:
                    acquired.stuck_until_ns = until_ns
                if fault.for_s > HEARTBEAT_S:
                    world.at(begin_ns + round(HEARTBEAT_S * NS), door.silence)
                yield self._passed(fault.for_s)
                yield self._within(1.0, lambda: not acquired.backlog_s, "all is taken")
                if fault.kind == "decode overloaded":
                    yield self._within(1.0, lambda: live.restarts > restarts, "the decoder begins anew")
            case "decode killed":
                self._is_killed = True
                device.silent_until_ns = until_ns if fault.seed % 2 else 0
                yield self._within(
                    60.0, lambda: self._live not in (live, None), "the engine is started again"
                )
            case "guard stopped":
                door.is_stopped = hand.is_stopped = True
                said = len(hand.device.trace.entries)
                yield self._passed(fault.for_s)
                watchdog_s = VIRTUAL_HAND.watchdog_s
                assert watchdog_s is not None
                if fault.for_s > watchdog_s + 0.1:
                    acted = [entry for entry in hand.device.trace.entries[said:] if entry.kind == "watchdog"]
                    self.outcome.watchdogs[fault.number] = bool(acted)
                self.stalls.append((begin_ns, world.now_ns))
                if fault.seed % 2:  # whichever of its threads is run first
                    hand.go_on()
                    door.go_on()
                else:
                    door.go_on()
                    hand.go_on()
            case "guard killed":
                door.leave()
                hand.close()
                self._nobody_sends()
                yield self._within(
                    60.0, lambda: self._live not in (live, None), "the engine is started again"
                )
            case "hand disconnects":
                hand.disconnect()
            case "hand away":
                hand.is_away = True
                hand.disconnect()
                yield self._passed(fault.for_s)
                hand.is_away = False
            case "hand silent":
                hand.is_silent = True
                yield self._passed(fault.for_s)
                hand.is_silent = False
            case "hand jitter":
                hand.jitter_s = 0.02 + fault.seed % 80 / 1000
                yield self._passed(fault.for_s)
                hand.jitter_s = 0.0
            case "recorder stopped" | "recorder killed":
                ring.is_stopped = True
                yield self._passed(fault.for_s)
                if fault.kind == "recorder killed":
                    ring.succeed()
                ring.is_stopped = False
            case "another decoder takes over":
                self._which = self._which % 3 + 1
                new = live.adapted(Decoder(bundle(self._which), device.info))
                live.shadows.offer(new, "Ann")
                yield self._within(DECODES_S + FOLLOWS_S, lambda: _is_warm(new), "the other one is warm")
                yield self._passed(0.3)
                yield from self._taken_over(live, "candidate")
            case "the decoder of before comes back":
                if any(state.role == "previous" for state in live.shadows.states()):
                    yield from self._taken_over(live, "previous")
            case "wall clock an hour on" | "wall clock an hour back":
                if self._steps_wall:
                    world.wall_steps_s += 3600.0 if fault.kind.endswith("on") else -3600.0
                yield self._passed(fault.for_s)
            case _:
                raise AssertionError(f"{fault.kind!r} is nothing that can happen here")

    def _taken_over(self, live: LiveRun, role: str) -> Script:
        answers: list[str] = []
        assert role in ("candidate", "previous")
        live.shadows.ask(role, "Ann", answers.append, self.world.now_ns + 60 * NS)  # type: ignore[arg-type]
        yield self._within(30.0, lambda: bool(answers), "it is answered who takes over")
        assert answers == [""], answers

    def _judge(self) -> None:
        trace = self.hand.device.trace.entries
        story = Story(
            tuple(self.commands), tuple(self.happened), tuple(self.hand.read_ns), tuple(self.stalls)
        )
        for violation in judge(trace, story, BOUNDS):
            before = [text for at_ns, text in self.began if at_ns <= violation.time_ns]
            self.outcome.violations.append((violation, before[-1] if before else "before any fault"))
        self.outcome.targets = sum(entry.kind == "target" for entry in trace)
        self.outcome.simulated_s = (self.world.now_ns - 1_000 * NS) / NS
        self.outcome.trace = [(entry.time_ns, entry.kind, entry.joints) for entry in trace]


def _is_warm(decoder: Decoder) -> bool:
    return decoder.newest > 0 and not decoder.is_warming


@contextmanager
def wall_clock(world: World) -> Iterator[None]:
    """What the time of day is, everywhere in this process, is said by that world."""
    before = time.time, time.time_ns
    time.time, time.time_ns = world.wall_s, lambda: round(world.wall_s() * NS)
    try:
        yield
    finally:
        time.time, time.time_ns = before
