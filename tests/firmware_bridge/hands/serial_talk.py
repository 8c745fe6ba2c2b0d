"""A dialect and the hand that it is for, in memory: one exchange at a time, in a time of its own."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from firmware_bridge.emulators.hands.device import HandDevice
from firmware_bridge.hands._dialect import Dialect, Report

EXCHANGE_NS = 10_000_000


@dataclass
class Talk:
    """Each exchange takes 10 ms. `told` is all that was reported, the newest of each kind."""

    dialect: Dialect
    device: HandDevice
    now_ns: int = 0
    told: Report = field(default_factory=Report)

    def greet(self) -> list[Report]:
        return [report for frame in self.dialect.begin() for report in self.say(frame)]

    def ask(self, times: int = 1) -> list[Report]:
        return [report for _ in range(times) for report in self.say(self.dialect.ask(0, self.now_ns))]

    def move(self, joints: NDArray[np.float64], exchanges: int = 1) -> list[Report]:
        frames = (self.dialect.move(joints, 0, self.now_ns) for _ in range(exchanges))
        return [report for frame in frames for report in self.say(frame)]

    def say(self, frame: bytes) -> list[Report]:
        self.now_ns += EXCHANGE_NS
        reports = [
            report
            for answer in self.device.receive(frame, self.now_ns)
            for report in self.dialect.receive(answer)
        ]
        for report in reports:
            said = {name: getattr(report, name) for name in _KINDS if getattr(report, name) is not None}
            self.told = replace(self.told, **said)
        return reports


_KINDS = ("joints", "currents_a", "forces_n", "temperature_c", "battery", "hot", "stalled", "fault")
