"""In the guard of a daemon under chaos: what the oracle has to know.

Nothing here changes what the guard does: it notes what comes to the gate's door, as tests/proof/hand_link_rig.py does.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

NS = 1_000_000_000
STALL_S = 0.03
"""A gap in what happens every 5 ms that is longer than this is the machine's, or somebody stopped the process."""


def tapped(folder: str) -> None:
    """Where this process is a guard."""
    if "firmware_bridge.guard_process" in sys.orig_argv:
        _tap_guard(Path(folder) / f"guard-{os.getpid()}.jsonl")


def _tap_guard(path: Path) -> None:
    """Each command, event and connection of this guard as a line, and when this process was not run."""
    from firmware_bridge.gate import GateEvent, SafetyGate
    from firmware_bridge.guard import GuardLoop, Sent
    from firmware_bridge.hand import HandCommand, LinkState

    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    def say(kind: str, *values: object) -> None:
        os.write(descriptor, json.dumps([kind, *values]).encode() + b"\n")

    submit, withdraw, emit, step = (
        GuardLoop.submit, GuardLoop.withdraw, GuardLoop._emit, SafetyGate.step,
    )  # fmt: skip

    def submitted(self: GuardLoop, command: HandCommand) -> Sent | None:
        from_ns, late = time.monotonic_ns(), self.counters.commands_late
        sent = submit(self, command)
        if self.counters.commands_late == late:
            quality = command.quality
            good = not quality.warming and quality.healthy_fraction >= 0.75
            say(
                "command", from_ns, time.monotonic_ns(), [float(t) for t in command.targets],
                command.expires_ns, good,
            )  # fmt: skip
        return sent

    def withdrawn(self: GuardLoop, command: HandCommand) -> None:
        from_ns = time.monotonic_ns()
        withdraw(self, command)
        # Its end, at the earliest: the step that it made has sent what follows already.
        say(
            "command",
            from_ns,
            time.monotonic_ns(),
            [float(t) for t in command.targets],
            from_ns,
            True,
        )

    def emitted(self: GuardLoop, events: tuple[GateEvent, ...]) -> None:
        for event in events:
            say("event", event.time_ns, time.monotonic_ns(), event.kind, event.who, event.text)
        emit(self, events)

    was: list[object] = [LinkState.DISCONNECTED]
    real_step: Callable[..., object] = step

    def stepped(self: SafetyGate, now_ns: int, command: object, link: object, state: object) -> object:
        if link is LinkState.CONNECTED and was[0] is not LinkState.CONNECTED and state is not None:
            say("read", getattr(state, "reported_ns"))  # noqa: B009
        was[0] = link
        return real_step(self, now_ns, command, link, state)

    def watch() -> None:
        last_ns = time.monotonic_ns()
        while True:
            time.sleep(0.005)
            now_ns = time.monotonic_ns()
            if now_ns - last_ns > STALL_S * NS:
                say("stall", last_ns, now_ns)
            last_ns = now_ns

    GuardLoop.submit, GuardLoop.withdraw = submitted, withdrawn  # type: ignore[method-assign]
    GuardLoop._emit, SafetyGate.step = emitted, stepped  # type: ignore[method-assign, assignment]
    threading.Thread(target=watch, name="watch", daemon=True).start()
