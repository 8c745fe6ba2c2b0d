"""A gate, a linked hand and a virtual hand behind a radio, while commands stream; and what an oracle needs."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from firmware_bridge.emulators.hands.device import Traced, read_trace
from firmware_bridge.emulators.oracle import Bounds, Commanded, Happened, Story
from firmware_bridge.gate import GateEvent, GateLimits, GateState, SafetyGate
from firmware_bridge.guard import GuardLoop
from firmware_bridge.hand import AppliedCommand, HandCapabilities, HandCommand, HandState, LinkState
from firmware_bridge.hands.virtual import VirtualHand
from firmware_bridge.hands.virtual_process import VirtualHandProcess, virtual_hand_process
from firmware_bridge.preuse import overridden
from tests.proof.patience import LIMIT_S, patiently

NS = 1_000_000_000
PERIOD_S = 0.02
LIFE_S = 0.15
"""Of a command."""

REACH, SPEED = (-0.6, 0.8), 2.0
"""What the gate is told, smaller than what the hand can do."""

BOUNDS = Bounds((REACH[0],) * 6, (REACH[1],) * 6, (SPEED,) * 6, max_age_s=0.55, settle_s=1.0)
STALL_S = 0.03
"""A gap in what happens every 5 (here) or 10 ms (at the hand) that is longer than this is the machine's."""


class Observed:
    """The linked hand as the gate sees it, noting when it first shows the state that was read on each connection."""

    def __init__(self, hand: VirtualHand) -> None:
        self.linked = hand
        self.read_ns: list[int] = []
        self._was = LinkState.DISCONNECTED

    @property
    def capabilities(self) -> HandCapabilities:
        return self.linked.capabilities

    @property
    def link(self) -> LinkState:
        link = self.linked.link
        state = self.linked.state
        if link is LinkState.CONNECTED and self._was is not LinkState.CONNECTED and state is not None:
            self.read_ns.append(state.reported_ns)
        self._was = link
        return link

    @property
    def state(self) -> HandState | None:
        return self.linked.state

    def connect(self, timeout_s: float) -> None:
        self.linked.connect(timeout_s)

    def send(self, positions: NDArray[np.float32], now_ns: int) -> AppliedCommand:
        return self.linked.send(positions, now_ns)

    def grip(self, name: str, speed: float, now_ns: int) -> None:
        self.linked.grip(name, speed, now_ns)

    def close(self) -> None:
        self.linked.close()


@dataclass
class Rig:
    """What runs: `person` asks of the gate what it is told to, and notes it."""

    process: VirtualHandProcess
    hand: Observed
    guard: GuardLoop
    trace_path: Path
    random: np.random.Generator
    commands: list[Commanded] = field(default_factory=list)
    happened: list[Happened] = field(default_factory=list)
    stalls: list[tuple[int, int]] = field(default_factory=list)
    ending: threading.Event = field(default_factory=threading.Event)

    def ask(self, kind: str, request: Callable[[], object]) -> bool:
        """A request; whether it was granted."""
        from_ns = time.monotonic_ns()
        granted = request() is not False
        if granted:
            self.happened.append(Happened(from_ns, time.monotonic_ns(), kind))
        return granted

    def arm(self) -> bool:
        now_ns = time.monotonic_ns()
        return self.ask("arm", lambda: self.guard.request_arm("Ann", overridden("Ann", now_ns)))

    def release(self) -> None:
        self.ask("release", lambda: self.guard.request_release("Ann"))

    def stop(self) -> None:
        self.ask("stop", lambda: self.guard.request_stop("Ann"))

    def until_following(self) -> None:
        """Armed, whoever or whatever ended that, and following."""

        def follows() -> bool:
            if self.guard.state in (GateState.DISARMED, GateState.RELEASED, GateState.FAULTED):
                self.arm()
            return self.guard.state is GateState.ARMED

        wait_for(follows)

    def stream(self) -> None:
        """Commands that come past rest, fast and slowly, every 20 ms until the end."""
        began_s = time.monotonic()
        phase = self.random.uniform(0, 2 * math.pi, 6)
        while not self.ending.wait(PERIOD_S):
            now_ns = time.monotonic_ns()
            at_s = now_ns / NS - began_s
            reach = max(0.0, math.sin(1.3 * at_s) - 0.1)
            targets = (reach * np.sin(5.0 * at_s + phase)).astype(np.float32)
            command = HandCommand(targets, 0, now_ns, now_ns + round(LIFE_S * NS))
            late = self.guard.counters.commands_late
            self.guard.submit(command)
            if self.guard.counters.commands_late == late:
                done_ns = time.monotonic_ns()
                self.commands.append(Commanded(now_ns, done_ns, tuple(targets.tolist()), command.expires_ns))

    def watch(self) -> None:
        """Notes when this process was not run."""
        last_ns = time.monotonic_ns()
        while not self.ending.is_set():
            time.sleep(0.005)
            now_ns = time.monotonic_ns()
            if now_ns - last_ns > STALL_S * NS:
                self.stalls.append((last_ns, now_ns))
            last_ns = now_ns

    def noted(self, event: GateEvent) -> None:
        """What the gate says by itself."""
        if event.kind == GateState.DISARMED.value and event.who == "gate" and "link" in event.text:
            self.happened.append(Happened(event.time_ns, event.time_ns, "lost"))
        if event.kind == GateState.FAULTED.value:
            self.happened.append(Happened(event.time_ns, event.time_ns, "fault"))

    def story(self, trace: list[Traced]) -> Story:
        """With the stalls of both processes."""
        positions = [entry.time_ns for entry in trace if entry.kind == "position"]
        at_hand = [(a, b) for a, b in pairwise(positions) if b - a > STALL_S * NS]
        return Story(
            tuple(self.commands),
            tuple(self.happened),
            tuple(self.hand.read_ns),
            merged([*self.stalls, *at_hand]),
        )

    def trace(self) -> list[Traced]:
        """What the hand wrote, once its process has ended."""
        with self.trace_path.open() as file:
            return read_trace(file)


def merged(stalls: list[tuple[int, int]]) -> tuple[tuple[int, int], ...]:
    """No time twice."""
    out: list[tuple[int, int]] = []
    for begin_ns, end_ns in sorted(stalls):
        if out and begin_ns <= out[-1][1]:
            out[-1] = (out[-1][0], max(end_ns, out[-1][1]))
        else:
            out.append((begin_ns, end_ns))
    return tuple(out)


def wait_for(condition: Callable[[], bool], limit_s: float = LIMIT_S) -> None:
    end_s = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < end_s, f"not within {limit_s} s"
        time.sleep(0.005)


@contextmanager
def running(radio: str, folder: Path, seed: int) -> Iterator[Rig]:
    """Armed and streaming; released and disarmed at the end, and the hand's process ended."""
    trace_path = folder / f"trace-{seed}.jsonl"
    arguments = ["--radio", f"{radio},seed={seed}", "--trace", str(trace_path)]
    with virtual_hand_process(timeout_s=LIMIT_S, arguments=arguments) as process:
        hand = VirtualHand(process.address, process.transport)
        patiently(lambda: hand.connect(LIMIT_S))
        observed = Observed(hand)
        one = np.ones(6, np.float32)
        limits = replace(
            GateLimits.for_hand(hand.capabilities),
            lower=REACH[0] * one,
            upper=REACH[1] * one,
            max_speed_per_s=SPEED * one,
        )
        gate = SafetyGate(limits, hand.capabilities.watchdog_action)
        rigs: list[Rig] = []
        guard = GuardLoop(gate, observed, on_event=lambda event: rigs[0].noted(event))
        rig = Rig(process, observed, guard, trace_path, np.random.default_rng(seed))
        rigs.append(rig)
        threads = [threading.Thread(target=run, daemon=True) for run in (rig.stream, rig.watch)]
        guard.start()
        for thread in threads:
            thread.start()
        try:
            rig.until_following()
            yield rig
            rig.release()
            wait_for(lambda: gate.at_rest and hand.link is LinkState.CONNECTED)
            time.sleep(1.0)  # what an oracle sees of the rest
        finally:
            rig.ending.set()
            for thread in threads:
                thread.join()
            rig.ask("release", lambda: guard.close(0.0))
            hand.close()
    assert guard.counters.errors == 0
