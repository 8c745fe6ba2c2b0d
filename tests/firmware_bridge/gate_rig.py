"""A safety gate with a hand beside it, for the tests of the gate."""

from __future__ import annotations

import numpy as np

from firmware_bridge.gate import GateDecision, GateLimits, GateState, SafetyGate
from firmware_bridge.hand import HandCommand, HandState, LinkState, Quality, WatchdogAction

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
    """A gate with a hand beside it that reports, every 10 ms, that it is where it was sent."""

    def __init__(self, limits: GateLimits = LIMITS, watchdog: WatchdogAction = WatchdogAction.OPEN) -> None:
        self.gate = SafetyGate(limits, watchdog)
        self.now_ns = NS
        self.link = LinkState.CONNECTED
        self.positions = np.zeros(6, dtype=np.float32)
        self.fault = ""
        self.last = self.step()

    @property
    def state(self) -> HandState:
        return HandState(self.positions.copy(), self.now_ns, fault=self.fault)

    def command(self, *targets: float, quality: Quality = GOOD, life_ns: int = LATER_NS) -> HandCommand:
        values = np.array(targets if len(targets) == 6 else [targets[0]] * 6, dtype=np.float32)
        return HandCommand(values, 0, self.now_ns, self.now_ns + life_ns, quality=quality)

    def step(self, command: HandCommand | None = None, dt_ns: int = 10 * MS) -> GateDecision:
        self.now_ns += dt_ns
        self.last = self.gate.step(self.now_ns, command, self.link, self.state)
        if self.last.send:
            self.positions = self.last.positions
        return self.last

    def arm(self, **kwargs: str) -> list[str]:
        return [event.kind for event in self.gate.arm(self.now_ns, "Ann", self.link, self.state, **kwargs)]

    def follow(self, target: float) -> Rig:
        """Arm, pass rest, and follow `target` until it is reached."""
        self.arm()
        self.step(self.command(0.0))
        assert self.last.state is GateState.ARMED
        for _ in range(200):
            self.step(self.command(target))
        return self

    def run(self, seconds: float) -> GateDecision:
        for _ in range(round(seconds * 100)):
            self.step()
        return self.last
