"""What happened while a decoder ran: counts and latencies, for people and for programs."""

from __future__ import annotations

from dataclasses import dataclass

DECIDED = "sample to decided"
TOTAL = "sample to sent"
MOVED = "sent to movement"
STAGES = (
    "delay line", "wait", "filters + features", "engine", "decision", "gate + send", DECIDED, TOTAL, MOVED,
)  # fmt: skip
"""What is timed: of the newest hop of each block that is not late; DECIDED of every hop; what is sent, once it is;
MOVED of what began a movement, until the hand reported it.

The delay line ends with the arrival of the block that let the hop's last sample leave channel health."""
SHOWN = tuple(stage for stage in STAGES if stage != MOVED)
"""What a screen of thirty rows has room for."""


@dataclass(frozen=True, slots=True)
class LiveSummary:
    """What happened while it ran.

    Latencies begin with the host arrival of a hop's last sample and end with `Hand.send`'s return. Late hops command
    nothing, so they are not in these, but they are in those that end with the decision: no hop is left out there.
    """

    elapsed_s: float
    hops: int
    warming_hops: int
    commands_applied: int
    commands_withheld: int
    commands_dropped: int
    restarts: int
    rearmed: int
    latency_us: dict[str, dict[str, float | None]]
    link: str
    gate: str
    intents_sha256: str
    pushes: int = 0
    """Decoders that were put into shadow while it ran; `switches` and `rollbacks` are those that took over."""
    switches: int = 0
    rollbacks: int = 0
    recording_stopped: str = ""
    """Why a recording ended before the run did; "" where it did not, or none was asked for."""
    release_given_up: str = ""
    """What is to be known of a release at the end that has not reached rest; "" where it has."""

    def to_json(self) -> dict[str, object]:
        """One flat object, units in the keys."""
        latency = {
            f"latency_{p}_us" if stage == TOTAL else f"latency_{_key(stage)}_{p}_us": value
            for stage, row in self.latency_us.items()
            for p, value in row.items()
        }
        plain = {name: getattr(self, name) for name in self.__dataclass_fields__ if name != "latency_us"}
        return plain | latency

    def describe(self) -> str:
        """A few lines for a person."""
        return (
            f"{self.elapsed_s:.1f} s, {self.hops} hops ({self.warming_hops} warming), "
            f"{self.commands_applied} commands applied, {self.commands_withheld} withheld by the gate, "
            f"{self.commands_dropped} dropped as late or overtaken, {self.restarts} restarts, "
            f"{self.rearmed} times armed again\n"
            + (
                f"{self.pushes} decoders pushed, {self.switches} took over, {self.rollbacks} rolled back\n"
                if self.pushes
                else ""
            )
            + f"sample to hand: {_times(self.latency_us[TOTAL])}\n"
            f"{DECIDED}: {_times(self.latency_us[DECIDED])}, late hops included\n"
            f"link {self.link}, gate {self.gate}"
            + (f"\nrecording stopped: {self.recording_stopped}" if self.recording_stopped else "")
            + (f"\nrelease given up: {self.release_given_up}" if self.release_given_up else "")
        )


def _key(stage: str) -> str:
    return stage.removeprefix("sample to ").replace(" + ", "_").replace(" ", "_")


def _times(row: dict[str, float | None]) -> str:
    return "  ".join(f"{p} {_milliseconds(row[p])}" for p in ("p50", "p95", "p99", "max"))


def _milliseconds(microseconds: float | None) -> str:
    return "-" if microseconds is None else f"{microseconds / 1e3:.2f} ms"
