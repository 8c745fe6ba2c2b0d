"""A gate and a kinematic hand in made-up time, with the trace and the story that an oracle is given of it."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from firmware_bridge.emulators.hands.device import Trace
from firmware_bridge.emulators.oracle import Bounds, Commanded, Happened, Story
from firmware_bridge.gate import GateLimits, SafetyGate
from firmware_bridge.hand import HandCommand, HandState, LinkState, WatchdogAction
from firmware_bridge.hands.virtual_protocol import VIRTUAL_HAND
from firmware_bridge.kinematics import KinematicHand
from firmware_bridge.preuse import overridden

NS = 1_000_000_000
MS = 1_000_000
SPEED = 2.0
BOUNDS = Bounds((-1.0,) * 6, (1.0,) * 6, (SPEED,) * 6)
BEGAN_NS = 65_500 * MS  # so that the sender's clock begins anew during a story


@dataclass
class Rig:
    """Steps of 10 ms; what is sent comes to the hand `way_ms` later, what it reports comes back as late."""

    way_ms: int = 20
    trace: Trace = field(default_factory=Trace)
    commands: list[Commanded] = field(default_factory=list)
    happened: list[Happened] = field(default_factory=list)
    read_ns: list[int] = field(default_factory=list)
    now_ns: int = BEGAN_NS
    is_up: bool = False

    def __post_init__(self) -> None:
        one = np.ones(6, np.float32)
        self.gate = SafetyGate(GateLimits(-one, one, SPEED * one), WatchdogAction.OPEN)
        self.hand = KinematicHand(VIRTUAL_HAND, self.now_ns)
        self.state: HandState | None = None
        self.on_way: list[tuple[int, np.ndarray, int]] = []
        self.on_way_back: list[HandState] = []
        self.tripped = False

    def story(self) -> Story:
        return Story(tuple(self.commands), tuple(self.happened), tuple(self.read_ns))

    def connect(self) -> None:
        self.trace.add(self.now_ns, "connected")
        self.is_up = True
        self.step()
        while self.state is None or not self.read_ns or self.read_ns[-1] < self._connected_ns():
            self.step()

    def disconnect(self) -> None:
        self.trace.add(self.now_ns, "disconnected")
        self.is_up, self.state, self.on_way, self.on_way_back = False, None, [], []
        self.happened.append(Happened(self.now_ns, self.now_ns, "lost"))

    def ask(self, what: str) -> None:
        """A request, granted."""
        assert self.state is not None or what == "release"
        match what:
            case "arm":
                events = self.gate.arm(
                    self.now_ns, "Ann", LinkState.CONNECTED, self.state, overridden("Ann", self.now_ns)
                )
                assert [e.kind for e in events if e.kind.startswith("arm")] == ["arm"], events
            case "stop":
                self.gate.stop(self.now_ns, "Ann")
            case "release":
                self.gate.release(self.now_ns, "Ann")
            case "fault":
                self.gate.report_fault(self.now_ns, "Ann", "a fault")
            case "disarm":
                self.gate.disarm(self.now_ns, "Ann")
        self.happened.append(Happened(self.now_ns, self.now_ns, what))

    def follow(self, seconds: float, targets: Callable[[float], float] = lambda s: math.sin(4 * s)) -> None:
        """A command every 20 ms."""
        began_ns = self.now_ns
        while self.now_ns < began_ns + seconds * NS:
            value = float(np.float32(targets((self.now_ns - began_ns) / NS)))
            six = np.full(6, value, np.float32)
            command = HandCommand(six, 0, self.now_ns, self.now_ns + 150 * MS)
            self.commands.append(Commanded(self.now_ns, self.now_ns, (value,) * 6, command.expires_ns))
            self.step(command)
            self.step()

    def wait(self, seconds: float) -> None:
        until_ns = self.now_ns + seconds * NS
        while self.now_ns < until_ns:
            self.step()

    def step(self, command: HandCommand | None = None) -> None:
        link = LinkState.CONNECTED if self.is_up and self.state is not None else LinkState.LOST
        decision = self.gate.step(self.now_ns, command, link, self.state)
        if decision.send and self.is_up:
            self.on_way.append((self.now_ns + self.way_ms * MS, decision.positions, self.now_ns))
        self.now_ns += 10 * MS
        while self.on_way and self.on_way[0][0] <= self.now_ns:
            came_ns, positions, sent_ns = self.on_way.pop(0)
            self.hand.command(positions, came_ns)
            self.trace.add(came_ns, "target", tuple(positions.tolist()), sent_ms=sent_ns // MS % 65536)
        self.hand.advance(self.now_ns)
        if self.hand.watchdog_tripped and not self.tripped:
            self.trace.add(self.now_ns, "watchdog")
        self.tripped = self.hand.watchdog_tripped
        self.trace.add(self.now_ns, "position", tuple(self.hand.positions.tolist()))
        if self.is_up:
            self.on_way_back.append(HandState(self.hand.positions, self.now_ns + self.way_ms * MS))
        while self.on_way_back and self.on_way_back[0].reported_ns <= self.now_ns:
            self.state = self.on_way_back.pop(0)
            if not self.read_ns or self.read_ns[-1] < self._connected_ns():
                self.read_ns.append(self.now_ns)

    def _connected_ns(self) -> int:
        return max(e.time_ns for e in self.trace.entries if e.kind == "connected")


def good_story() -> Rig:
    """Everything that may happen once: armed, followed, silent, stopped, lost, released while away, and back."""
    rig = Rig()
    rig.connect()
    rig.wait(0.2)
    rig.ask("arm")
    rig.follow(3.0)
    rig.wait(1.5)  # no command: it relaxes
    rig.follow(1.0, lambda s: 0.8)
    rig.ask("stop")
    rig.follow(0.5, lambda s: -0.8)
    rig.ask("arm")
    rig.follow(0.3, lambda s: 0.5)  # not at rest: nothing moves
    rig.follow(1.0, lambda s: max(s - 0.2, 0.0))
    rig.disconnect()
    rig.wait(0.6)
    rig.connect()
    rig.follow(0.7, lambda s: 0.9)  # not armed
    rig.ask("arm")
    rig.follow(0.8, lambda s: max(s - 0.1, 0.0))
    rig.disconnect()
    rig.ask("release")
    rig.wait(0.1)  # its watchdog has not opened it yet
    rig.connect()
    rig.follow(1.5, lambda s: 0.9)  # the release is latched
    rig.ask("arm")
    rig.follow(1.0, lambda s: min(s, 0.7))
    rig.ask("fault")
    rig.follow(1.5, lambda s: 0.9)
    rig.ask("arm")
    rig.follow(1.0, lambda s: -0.7 if s > 0.1 else 0.0)
    rig.ask("release")
    rig.wait(2.0)
    rig.ask("disarm")
    rig.wait(1.0)
    return rig
