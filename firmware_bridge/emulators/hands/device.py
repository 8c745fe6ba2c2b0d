"""An emulated hand: bytes in, bytes out, time passed in, faults to order, and a trace of what was done to it."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from typing import Protocol, TextIO


@dataclass(frozen=True, slots=True)
class Traced:
    """One thing that happened to the hand, at host time `time_ns` (time.monotonic_ns).

    `kind`: "target" (it was told to go to `joints`), "position" (its joints are there), "grip" (`text` is its name),
    "ordered" (a fault in `text` was ordered), "watchdog" (it acts by itself), "connected", "disconnected", "refused"
    (`text` says why bytes were refused), "radio" (`text` says what happened on the air). `joints` are in its own
    units. `sent_ms` is the sender's clock modulo 65536, where the command set carries one.
    """

    time_ns: int
    kind: str
    joints: tuple[float, ...] = ()
    text: str = ""
    sent_ms: int | None = None


@dataclass(slots=True)
class Trace:
    """Everything that happened, in its order."""

    entries: list[Traced] = field(default_factory=list)

    def add(
        self,
        time_ns: int,
        kind: str,
        joints: tuple[float, ...] = (),
        text: str = "",
        sent_ms: int | None = None,
    ) -> None:
        self.keep(Traced(time_ns, kind, joints, text, sent_ms))

    def keep(self, entry: Traced) -> None:
        self.entries.append(entry)

    def write(self, file: TextIO) -> None:
        """One JSON object a line."""
        for entry in self.entries:
            write_entry(entry, file)


def write_entry(entry: Traced, file: TextIO) -> None:
    """As a line, one JSON object."""
    file.write(json.dumps(asdict(entry)) + "\n")


def read_trace(lines: TextIO) -> list[Traced]:
    """What `Trace.write` wrote."""
    return [Traced(**(row | {"joints": tuple(row["joints"])})) for row in map(json.loads, lines)]


class HandDevice(Protocol):
    """The hand itself, without its link. Time is the caller's (ns) and does not run backwards."""

    trace: Trace

    def receive(self, data: bytes, now_ns: int) -> list[bytes]:
        """What it answers to these bytes: a whole write over Bluetooth, any piece of a stream over a wire."""

    def advance(self, now_ns: int) -> list[bytes]:
        """Move on to `now_ns`; what it says unasked. Called at least every 10 ms."""

    def connected(self, is_connected: bool, now_ns: int) -> None:
        """A peer came or went."""

    def obey(self, order: str, now_ns: int) -> None:
        """Make a fault happen or end: "fault", "hot", "stall", "stray" (its joints move by themselves), "clear";
        NervehandError for an order that it does not know."""
