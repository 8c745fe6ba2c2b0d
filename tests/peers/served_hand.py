"""An emulated Ability Hand in a process of its own: `python -m tests.peers.served_hand LINK BAUD`, until stdin closes.

Prints a line when its port is there, and at the end what it counted, as JSON.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

from firmware_bridge.emulators.hands.ability_hand import AbilityDevice
from firmware_bridge.emulators.hands.pty import PtyHand


def main() -> None:
    device = AbilityDevice(time.monotonic_ns())
    with PtyHand(device, Path(sys.argv[1]), int(sys.argv[2])):
        print("ready", flush=True)
        sys.stdin.read()
    kinds = [entry.kind for entry in device.trace.entries]
    counts = {kind: kinds.count(kind) for kind in ("target", "refused", "watchdog")}
    print(json.dumps(counts | {"replies": device.n_replies}))


if __name__ == "__main__":
    main()
