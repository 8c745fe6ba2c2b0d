"""Command to hand over the Bluetooth LE link model: from the gate to the emulated hand, and back.

Commands stream at 50 Hz through the guard loop, whose own steps go out between them, as in use. Every setting of the
radio is measured in each run, and in each run the same over the bare link between the same two processes, where nothing
takes time on the air: what the processes themselves take. A command's time ends when the hand has it, or has a newer
position that replaced it on the way: those are counted. An acknowledgement is that of any position, from when the gate
made it.
"""

from __future__ import annotations

import math
import tempfile
import time
from bisect import bisect_left
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import numpy as np

from firmware_bridge.emulators.hands.device import Traced, read_trace
from firmware_bridge.errors import LinkError
from firmware_bridge.gate import GateLimits, GateState, SafetyGate
from firmware_bridge.guard import GuardLoop
from firmware_bridge.hand import N_DOF, HandCommand, LinkState
from firmware_bridge.hands.virtual import VirtualHand
from firmware_bridge.hands.virtual_process import VirtualHandProcess, virtual_hand_process
from firmware_bridge.preuse import overridden
from nervehand.output import print_json

INTERVALS_MS = (7.5, 15.0, 30.0)
LOSSES = (0.0, 0.1, 0.3)
RATE_HZ = 50.0
COMMANDS = 150
"""Of a run, at each setting."""

LIFE_S = 0.15
PATIENCE_S = 60.0
_SETTLE_S = 0.3
_WIDTH = 120
_MS = 1_000_000
_NS = 1_000_000_000

Setting = tuple[float | None, float]
"""Connection interval in ms, None for the bare link, and the probability that a PDU is lost."""

SETTINGS: tuple[Setting, ...] = ((None, 0.0), *((i, p) for i in INTERVALS_MS for p in LOSSES))


@dataclass(slots=True)
class Found:
    """What was measured at one setting so far.

    `commands` are those that the gate followed; of them `replaced` never came to the hand themselves, only what
    followed, and `lost` went with their connection, without a time. Of `sent` positions `dropped` never left the slot
    before the link; `losses` are connections that ended.
    """

    commands: int = 0
    replaced: int = 0
    lost: int = 0
    sent: int = 0
    dropped: int = 0
    losses: int = 0
    to_hand_ms: list[float] = field(default_factory=list)
    acknowledged_ms: list[float] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Step:
    """When the gate was stepped for a command: between `from_ns`, when it was submitted, and `to_ns`."""

    from_ns: int
    to_ns: int


def measure(
    runs: int,
    settings: tuple[Setting, ...],
    n_commands: int,
    say: Callable[[str], None] = lambda text: None,
) -> list[dict[str, float | int | None]]:
    """A row for each setting, its times in ms over all runs; LinkError where the virtual hand does not come up."""
    found = {setting: Found() for setting in settings}
    for run in range(runs):
        for is_bare in (True, False):
            chosen = [setting for setting in settings if (setting[0] is None) == is_bare]
            if not chosen:
                continue
            with tempfile.TemporaryDirectory() as folder:
                path = Path(folder) / "trace.jsonl"
                radio = [] if is_bare else ["--radio", f"seed={run}"]
                steps: list[tuple[Found, list[Step]]] = []
                with virtual_hand_process(arguments=[*radio, "--trace", str(path)]) as process:
                    for setting in chosen:
                        say(f"run {run + 1} of {runs}: {_title(setting)}")
                        steps.append((found[setting], _stream(process, setting, n_commands, found[setting])))
                with path.open() as file:
                    trace = read_trace(file)
                for one, made in steps:
                    arrivals(one, made, trace)
    return [_row(setting, one) for setting, one in found.items()]


def arrivals(found: Found, steps: list[Step], trace: list[Traced]) -> None:
    """Adds when the hand had each command, or what replaced it, by its trace."""
    targets = [(_sent_ns(entry), entry.time_ns) for entry in trace if entry.kind == "target"]
    sent_ns = [sent for sent, _ in targets]
    ended_ns = [entry.time_ns for entry in trace if entry.kind == "disconnected"]
    for step in steps:
        found.commands += 1
        # The sender's clock is told in whole milliseconds.
        k = bisect_left(sent_ns, step.from_ns - _MS)
        end = bisect_left(ended_ns, step.from_ns)
        if k == len(targets) or (end < len(ended_ns) and targets[k][1] > ended_ns[end]):
            found.lost += 1
            continue
        found.replaced += targets[k][0] > step.to_ns
        found.to_hand_ms.append((targets[k][1] - step.from_ns) / _MS)


def _sent_ns(entry: Traced) -> int:
    assert entry.sent_ms is not None
    came_ms = entry.time_ns // _MS
    return (came_ms - (came_ms - entry.sent_ms) % 65536) * _MS


def _stream(process: VirtualHandProcess, setting: Setting, n_commands: int, found: Found) -> list[Step]:
    """Commands until so many were followed; their steps. LinkError where it does not come to that."""
    interval_ms, loss = setting
    if interval_ms is not None:
        process.order("loss 0")
        process.order(f"interval {interval_ms}")
    with _guarded_hand(process) as (hand, guard):
        _until_following(hand, guard)
        if interval_ms is not None:
            process.order(f"loss {loss}")
        time.sleep(_SETTLE_S)
        steps: list[Step] = []
        before, n_ages = _counted(hand), len(hand.ages_s())
        began_s = due_s = time.monotonic()
        while len(steps) < n_commands:
            if due_s - began_s > PATIENCE_S + n_commands / RATE_HZ:
                raise LinkError(f"of {n_commands} commands {len(steps)} were followed: run the bench again")
            time.sleep(max(0.0, due_s - time.monotonic()))
            due_s = max(due_s + 1 / RATE_HZ, time.monotonic())
            step = _submit(guard, 0.4 * math.sin(2 * (due_s - began_s)))
            if step is not None:
                steps.append(step)
            elif guard.state is not GateState.ARMED:
                _until_following(hand, guard)
        after = _counted(hand)
        found.sent += after.sent - before.sent
        found.dropped += after.dropped - before.dropped
        found.losses += after.losses - before.losses
        found.acknowledged_ms += (hand.ages_s()[n_ages:] * 1e3).tolist()
    return steps


def _counted(hand: VirtualHand) -> Found:
    counters = hand.counters
    return Found(sent=counters.submitted, dropped=counters.dropped, losses=counters.losses)


@contextmanager
def _guarded_hand(process: VirtualHandProcess) -> Iterator[tuple[VirtualHand, GuardLoop]]:
    hand = VirtualHand(process.address, process.transport)
    hand.connect(PATIENCE_S)
    try:
        gate = SafetyGate(GateLimits.for_hand(hand.capabilities), hand.capabilities.watchdog_action)
        with GuardLoop(gate, hand) as guard:
            yield hand, guard
    finally:
        hand.close()


def _until_following(hand: VirtualHand, guard: GuardLoop) -> None:
    """Armed, and past rest; LinkError where it does not come to that."""
    end_s = time.monotonic() + PATIENCE_S
    while guard.state is not GateState.ARMED:
        if time.monotonic() > end_s:
            raise LinkError(f"the virtual hand was not armed within {PATIENCE_S:g} s: run the bench again")
        if guard.state is GateState.DISARMED and hand.link is LinkState.CONNECTED:
            guard.request_arm("bench", overridden("bench", time.monotonic_ns()))
        _submit(guard, 0.0)
        time.sleep(1 / RATE_HZ)


def _submit(guard: GuardLoop, target: float) -> Step | None:
    """None where it is not followed."""
    now_ns = time.monotonic_ns()
    targets = np.full(N_DOF, target, np.float32)
    sent = guard.submit(HandCommand(targets, 0, now_ns, now_ns + round(LIFE_S * _NS)))
    return None if sent is None else Step(now_ns, sent.sent_ns)


def _row(setting: Setting, found: Found) -> dict[str, float | int | None]:
    counts = asdict(replace(found, to_hand_ms=[], acknowledged_ms=[]))
    row: dict[str, float | int | None] = {"interval_ms": setting[0], "loss": setting[1]}
    row |= {name: count for name, count in counts.items() if not isinstance(count, list)}
    for name in ("to_hand", "acknowledged"):
        values = getattr(found, f"{name}_ms")
        for percent in (50, 95, 99):
            value = float(np.percentile(values, percent)) if values else None
            row[f"{name}_p{percent}_ms"] = None if value is None else round(value, 2)
    return row


def _title(setting: Setting) -> str:
    return "bare link" if setting[0] is None else f"{setting[0]:g} ms, {setting[1]:.0%} lost"


def run_bench_hand(runs: int, *, as_json: bool) -> None:
    """Measure and print."""
    from rich.console import Console
    from rich.table import Table

    from nervehand.bench import machine

    with Console(stderr=True).status("bench") as status:
        rows = measure(runs, SETTINGS, COMMANDS, status.update)
    if as_json:
        print_json({"rows": rows, "rate_hz": RATE_HZ, "runs": runs, "machine": machine()})
        return
    table = Table(title=f"Command to hand, ms, {RATE_HZ:g} commands a second")
    columns = (
        "interval",
        "PDUs lost",
        "to hand p50, p95, p99",
        "acknowledged",
        "replaced",
        "lost",
        "dropped",
        "links lost",
    )
    for column in columns:
        table.add_column(column, justify="right")
    for row in rows:
        times = [
            ", ".join(
                "-" if row[f"{name}_p{p}_ms"] is None else f"{row[f'{name}_p{p}_ms']:.1f}"
                for p in (50, 95, 99)
            )
            for name in ("to_hand", "acknowledged")
        ]
        table.add_row(
            "bare link" if row["interval_ms"] is None else f"{row['interval_ms']:g}",
            f"{row['loss']:.0%}",
            *times,
            f"{row['replaced']} of {row['commands']}",
            str(row["lost"]),
            f"{row['dropped']} of {row['sent']}",
            str(row["losses"]),
        )
    out = Console()
    if not out.is_terminal:
        out.width = _WIDTH
    out.print(table)
    out.print(
        "replaced: commands that never came to the hand, only what followed them; lost: gone with their link; dropped:"
        " positions that never left the slot before the link, because a newer one was there",
        highlight=False,
    )
    out.print(f"machine: {machine()}", highlight=False)
