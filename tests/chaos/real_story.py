"""What was asked of all the guards of a daemon, as each noted it (tap.py), and what the oracle says of the hand."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path

from firmware_bridge.emulators.hands.device import Traced
from firmware_bridge.emulators.oracle import Commanded, Happened, Story, Violation, judge
from firmware_bridge.gate import GateState
from tests.chaos.simulated_run import BOUNDS
from tests.chaos.tap import NS, STALL_S
from tests.proof.hand_link_rig import merged


def story(folder: Path, trace: list[Traced]) -> Story:
    """What was asked of all guards that there were, as each noted it."""
    commands: list[Commanded] = []
    happened: list[Happened] = []
    read_ns: list[int] = []
    stalls: list[tuple[int, int]] = []
    for path in sorted(folder.glob("guard-*.jsonl")):
        for line in path.read_text().splitlines(keepends=True):
            if not line.endswith("\n"):
                continue  # it was killed
            kind, *said = json.loads(line)
            if kind == "command":
                from_ns, done_ns, targets, expires_ns, is_good = said
                commands.append(Commanded(from_ns, done_ns, tuple(targets), expires_ns, is_good))
            elif kind == "read":
                read_ns.append(said[0])
            elif kind == "stall":
                stalls.append((said[0], said[1]))
            elif found := _of_event(*said):
                happened.append(found)
    positions = [entry.time_ns for entry in trace if entry.kind == "position"]
    stalls += [(a, b) for a, b in pairwise(positions) if b - a > STALL_S * NS]
    return Story(
        tuple(sorted(commands, key=lambda one: one.from_ns)),
        tuple(sorted(happened, key=lambda one: one.from_ns)),
        tuple(sorted(read_ns)),
        merged(stalls),
    )


def _of_event(time_ns: int, done_ns: int, kind: str, who: str, text: str) -> Happened | None:
    if kind in ("arm", "release", "stop", "disarm", "fault"):
        return Happened(time_ns, done_ns, kind)
    if kind == GateState.DISARMED.value and who == "gate" and "link" in text:
        return Happened(time_ns, time_ns, "lost")
    if kind == GateState.FAULTED.value:
        return Happened(time_ns, time_ns, "fault")
    return None


def violations(folder: Path, trace: list[Traced]) -> tuple[Violation, ...]:
    """What the oracle says of all that was done to the hand, once the daemon has ended."""
    return judge(trace, story(folder, trace), BOUNDS)
