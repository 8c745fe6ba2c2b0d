"""What a guard process costs: a command from `submit` to the return of `Hand.send`, against a guard in this process.

Both guards drive a virtual hand of their own, and commands go to one and the other in turn, so that both meet the same
machine. The first time that the hand is told of a command counts.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from firmware_bridge.errors import LinkError
from firmware_bridge.gate import GateEvent, GateState
from firmware_bridge.guard import Guard, Sent
from firmware_bridge.guard_client import GuardClient
from firmware_bridge.guard_settings import GuardSettings
from firmware_bridge.hand import N_DOF, HandCommand
from firmware_bridge.hands import HandOptions
from firmware_bridge.hands.virtual_process import virtual_hand_process
from firmware_bridge.preuse import overridden
from nervehand.guarding import in_this_process, virtual_hand
from nervehand.output import print_json

RATE_HZ = 50.0
COMMANDS = 500
"""Of a run, to each guard."""
STALLS = 20
"""So often decode stalls, to see when the guard finds it."""
LIFE_S = 0.2
PATIENCE_S = 60.0
_DELIVERY_S = 0.1
_NS = 1_000_000_000


class Timed:
    """A guard, and how long its commands took."""

    def __init__(self, guard: Guard, first_ns: dict[int, int]) -> None:
        self.guard = guard
        self.submitted_ns: dict[int, int] = {}
        self._first_ns = first_ns

    def submit(self, index: int, target: float) -> None:
        """A command of that sample; timed where the gate follows it."""
        now_ns = time.monotonic_ns()
        expires_ns = now_ns + round(LIFE_S * _NS)
        self.submitted_ns[index] = now_ns
        self.guard.submit(HandCommand(np.full(N_DOF, target, np.float32), index, now_ns, expires_ns))

    def until_following(self) -> None:
        """Armed and past rest; LinkError where it does not come to that."""
        end_s = time.monotonic() + PATIENCE_S
        while self.guard.state is not GateState.ARMED:
            if time.monotonic() > end_s:
                raise LinkError(
                    f"the virtual hand was not armed within {PATIENCE_S:g} s: run the bench again"
                )
            if self.guard.state is GateState.DISARMED:
                self.guard.request_arm("bench", overridden("bench", time.monotonic_ns()))
            self.submit(0, 0.0)
            time.sleep(1 / RATE_HZ)

    def times_us(self) -> list[float]:
        """From `submit` to the return of `Hand.send`, of the commands that the hand was told of."""
        return [
            (self._first_ns[index] - asked_ns) / 1e3
            for index, asked_ns in self.submitted_ns.items()
            if index and index in self._first_ns
        ]


@contextmanager
def in_thread() -> Iterator[Timed]:
    """A guard loop in this process."""
    first_ns: dict[int, int] = {}
    with (
        virtual_hand() as hand,
        in_this_process(hand, lambda event: None, lambda sent: _note(first_ns, sent)) as guarded,
    ):
        yield Timed(guarded.guard, first_ns)


@contextmanager
def in_process(about: dict[str, float]) -> Iterator[Timed]:
    """A guard process; `about` gets how long it took to start, when it found a stalled decode, and its memory."""
    first_ns: dict[int, int] = {}
    with virtual_hand_process() as started:
        options = HandOptions(transport=started.transport)
        settings = GuardSettings(f"virtual:{started.address}", options)
        events: list[GateEvent] = []
        began_s = time.monotonic()
        with GuardClient(settings, events.append, lambda sent: _note(first_ns, sent)) as guard:
            about["start_s"] = round(time.monotonic() - began_s, 3)
            yield Timed(guard, first_ns)
            time.sleep(_DELIVERY_S)
            events.clear()
            for _ in range(STALLS):
                with guard.working():  # as a decode loop that hangs
                    time.sleep(2 * settings.heartbeat_limit_s)
                time.sleep(_DELIVERY_S)
            ages_ms = [float(event.text.split()[3]) for event in events if event.kind == "silence"]
            about["stalls"], about["stalls_found"] = STALLS, len(ages_ms)
            about["stall_found_p50_ms"] = float(np.median(ages_ms)) if ages_ms else math.nan
            about["stall_found_max_ms"] = max(ages_ms, default=math.nan)
            rollup = Path(f"/proc/{guard.pid}/smaps_rollup").read_text()
            about["pss_mb"] = round(int(rollup.split("Pss:")[1].split()[0]) / 1024, 1)


def _note(first_ns: dict[int, int], sent: Sent) -> None:
    first_ns.setdefault(sent.sample_index, sent.sent_ns)


def measure(n_commands: int, say: Callable[[str], None] = lambda text: None) -> dict[str, object]:
    """Times in µs of both, and what `in_process` finds about the process; LinkError where a hand does not come up."""
    about: dict[str, float] = {}
    say("starting")
    with in_thread() as thread, in_process(about) as process:
        both = (thread, process)
        due_s = time.monotonic()
        for index in range(1, n_commands + 1):
            say(f"command {index} of {n_commands}")
            for one in both:
                one.until_following()
            for one in both if index % 2 else reversed(both):
                due_s = max(due_s + 0.5 / RATE_HZ, time.monotonic())
                time.sleep(max(0.0, due_s - time.monotonic()))
                one.submit(index, 0.4 * math.sin(index / RATE_HZ))
        time.sleep(_DELIVERY_S)
        found = {"thread": thread.times_us(), "process": process.times_us()}
    rows: dict[str, object] = {}
    for name, times in found.items():
        if not times:
            raise LinkError(f"the hand was told of no command by the {name}'s guard: run the bench again")
        row = {f"p{p}_us": round(float(np.percentile(times, p)), 1) for p in (50, 95, 99)}
        rows[name] = row | {"commands": len(times)}
    return rows | about


def run_bench_guard(*, as_json: bool) -> None:
    """Measure and print."""
    from rich.console import Console

    from nervehand.bench import machine

    with Console(stderr=True).status("bench") as status:
        found = measure(COMMANDS, status.update)
    if as_json:
        print_json(found | {"rate_hz": RATE_HZ, "machine": machine()})
        return
    print(f"submit to Hand.send, {RATE_HZ:g} commands a second each, in turn:")
    for name in ("thread", "process"):
        row = found[name]
        assert isinstance(row, dict)
        times = "  ".join(f"{p} {row[f'{p}_us']:.0f} µs" for p in ("p50", "p95", "p99"))
        print(f"  guard in a {name + ':':9} {times}  ({row['commands']} commands)")
    print(
        f"decode stalled {found['stalls']} times: found {found['stalls_found']} times, "
        f"{found['stall_found_p50_ms']:.0f} ms (p50) and {found['stall_found_max_ms']:.0f} ms (max) after its last beat"
    )
    print(f"the process: {found['pss_mb']} MB (PSS), {found['start_s']} s from its start to a connected hand")
    print(f"machine: {machine()}")
