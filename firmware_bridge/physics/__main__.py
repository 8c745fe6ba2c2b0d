"""How fast the physical hand is on this machine: `python -m firmware_bridge.physics`."""

from __future__ import annotations

import platform
import time

import numpy as np

from firmware_bridge.hands.virtual_protocol import VIRTUAL_HAND
from firmware_bridge.physics import GraspObject, make

SECONDS = 10
_COMMAND_NS = 10_000_000
_NS = 1_000_000_000


def real_time_factor(thing: GraspObject | None, seconds: int = SECONDS) -> float:
    """Seconds simulated per second of this process's own time, told at 100 Hz to close and to open by turns."""
    hand = make(VIRTUAL_HAND, 0, "right", thing)
    fist = np.array([1, 1, 1, 1, 1, 0], np.float32)
    began_s = time.process_time()
    for now_ns in range(0, seconds * _NS, _COMMAND_NS):
        closes = now_ns // (2 * _NS) % 2 == 0
        hand.command(fist if closes else 0 * fist, now_ns)
    return seconds / (time.process_time() - began_s)


def main() -> None:
    print(f"{platform.machine()}, {platform.system()}, one core; {SECONDS} s each")
    for what, thing in (("in the air", None), ("grasping a cylinder", GraspObject())):
        print(f"{what}: {real_time_factor(thing):.1f} x real time")


if __name__ == "__main__":
    main()
