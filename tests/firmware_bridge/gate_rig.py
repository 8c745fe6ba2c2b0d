"""A safety gate with a hand beside it, for the tests of the gate."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from firmware_bridge.gate import GateDecision, GateEvent, GateLimits, GateState, SafetyGate
from firmware_bridge.hand import HandCommand, HandState, LinkState, Quality, WatchdogAction
from firmware_bridge.preuse import overridden

MS = 1_000_000
NS = 1_000_000_000
LIMITS = GateLimits(
    lower=[-0.5, -1, -1, -1, -1, -1],
    upper=[0.5, 0.9, 1, 1, 1, 1],
    max_speed_per_s=[1, 2, 4, 4, 4, 4],
    min_confidence=0.6,
)
LATER_NS = 10 * NS
GOOD = Quality()


class Rig:
    """A gate with a hand beside it that reports, every 10 ms, that it is where it was sent.

    `says` is what else it reports, by the fields of HandState.
    """

    def __init__(self, limits: GateLimits = LIMITS, watchdog: WatchdogAction = WatchdogAction.OPEN) -> None:
        self.gate = SafetyGate(limits, watchdog)
        self.now_ns = NS
        self.link = LinkState.CONNECTED
        self.positions = np.zeros(6, dtype=np.float32)
        self.fault = ""
        self.says: dict[str, object] = {}
        self.follows = True
        self.events: list[GateEvent] = []
        self.last = self.step()

    @property
    def state(self) -> HandState:
        state = HandState(self.positions.copy(), self.now_ns, fault=self.fault)
        return replace(state, **self.says)  # type: ignore[arg-type]

    def command(
        self, *targets: float, quality: Quality = GOOD, life_ns: int = LATER_NS, gesture: str = "rest"
    ) -> HandCommand:
        values = np.array(targets if len(targets) == 6 else [targets[0]] * 6, dtype=np.float32)
        return HandCommand(values, 0, self.now_ns, self.now_ns + life_ns, gesture, quality)

    def step(self, command: HandCommand | None = None, dt_ns: int = 10 * MS) -> GateDecision:
        self.now_ns += dt_ns
        self.last = self.gate.step(self.now_ns, command, self.link, self.state)
        assert self.last.positions.dtype == np.float32
        assert all(event.time_ns == self.now_ns for event in self.last.events)
        self.events += self.last.events
        if self.last.send and self.follows:
            self.positions = self.last.positions
        return self.last

    def arm(self, **kwargs: str) -> list[str]:
        check = overridden("Ann", self.now_ns)
        events = self.gate.arm(self.now_ns, "Ann", self.link, self.state, check, **kwargs)
        assert all(event.time_ns == self.now_ns for event in events)
        self.events += events
        return [event.kind for event in events]

    def follow(self, target: float) -> Rig:
        """Arm, pass rest, and follow `target` until it is reached."""
        self.arm()
        self.step(self.command(0.0))
        assert self.last.state is GateState.ARMED
        for _ in range(200):
            before = self.positions
            self.step(self.command(target))
            if (before == self.positions).all():
                break
        return self

    def run(self, seconds: float, target: float | None = None) -> GateDecision:
        """Silence, or the same command again and again."""
        for _ in range(round(seconds * 100)):
            self.step(None if target is None else self.command(target))
        return self.last

    def told(self) -> list[tuple[str, str, str]]:
        """What happened since this was asked last: kind, text and who."""
        assert all(isinstance(event.time_ns, int) for event in self.events)
        told = [(event.kind, event.text, event.who) for event in self.events]
        self.events.clear()
        return told
