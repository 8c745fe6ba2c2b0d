"""The status document: how a daemon does, written by it once a second, read by whoever asks (docs/status.md)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from nervehand.latency import LatencyCounts

FORMAT = 1
"""Of the document: what it means has changed where this has."""
STALE_S = 3.0
"""A document that is older says nothing about now: it is written once a second."""

SourceState = Literal["connecting", "streaming", "lost", "ended"]
RecordingState = Literal["off", "recording", "stopped"]
SOURCE_STATES: tuple[SourceState, ...] = ("connecting", "streaming", "lost", "ended")
RECORDING_STATES: tuple[RecordingState, ...] = ("off", "recording", "stopped")


@dataclass(frozen=True, slots=True)
class ProcessMark:
    """Which process: a number, and when it started in clock ticks after boot, which a number used again has not."""

    pid: int
    start_ticks: int


@dataclass(frozen=True, slots=True)
class ConfigStatus:
    """`generation` counts what was applied since the start, from 1; `outcome` is the last reload's, in words."""

    path: str = ""
    sha256: str = ""
    generation: int = 1
    outcome: str = ""
    refused: bool = False
    """Whether the last reload changed nothing, for the reason in `outcome`."""


@dataclass(frozen=True, slots=True)
class SourceStatus:
    """Where the samples come from. `masked` are names of channels, `last_event` is in words."""

    address: str
    state: SourceState
    rate_hz: float | None = None
    channels: int = 0
    masked: tuple[str, ...] = ()
    samples: int = 0
    lost_samples: int = 0
    last_event: str = ""
    last_event_age_s: float | None = None


@dataclass(frozen=True, slots=True)
class DecodeStatus:
    """Counted since the engine started. `late_hops` came too late to command; `dropped_commands` are all that never
    reached the hand as late or overtaken. `backlog_s` is how far behind the newest sample the loop is."""

    bundle_sha256: str
    hop_s: float | None = None
    hops: int = 0
    warming_hops: int = 0
    late_hops: int = 0
    dropped_commands: int = 0
    restarts: int = 0
    backlog_s: float | None = None
    is_warming: bool = False
    engine: str = ""
    """Which one runs the network: "compiled", "onnxruntime" or "tensorrt"."""
    gesture: str = ""


@dataclass(frozen=True, slots=True)
class LatencySummary:
    """Percentiles of so many durations, in microseconds; None of none."""

    count: int
    p50_us: float | None = None
    p95_us: float | None = None
    p99_us: float | None = None
    max_us: float | None = None


@dataclass(frozen=True, slots=True)
class StageLatency:
    """A stage since the start and lately; `buckets` are cumulative counts at latency.BOUNDS_S, `sum_s` the total."""

    since_start: LatencySummary
    last_minute: LatencySummary
    sum_s: float = 0.0
    buckets: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class HandStatus:
    """The gate, the link and the hand's own report; counts are of the gate (firmware_bridge.guard.GuardCounters).

    `positions` (6,) by DOF_NAMES in -1..1, as the hand measures them, None where it does not. `battery` is 0..1.
    `guard_problem` is in words, "" while the guard is there.
    """

    gate: str
    cause: str = ""
    link: str = ""
    address: str = ""
    commands_applied: int = 0
    commands_withheld: int = 0
    commands_late: int = 0
    commands_overtaken: int = 0
    stalls: int = 0
    open_lines: tuple[str, ...] = ()
    positions: tuple[float | None, ...] = ()
    fault: str = ""
    hot: bool = False
    stalled: bool = False
    watchdog_tripped: bool = False
    temperature_c: float | None = None
    battery: float | None = None
    guard_problem: str = ""


@dataclass(frozen=True, slots=True)
class RecordingStatus:
    """Where the recording stands; sizes in MiB. `ring_lost` are messages that never came to
    the recorder: each block of samples is one, and so is what goes with it.

    `written_mib_per_s` is how fast the files grow, None before that is known. `to_recover` are files of before that
    were not closed. Where `oldest_goes` unpinned files make room within `budget_mib`.
    """

    state: RecordingState
    why: str = ""
    folder: str = ""
    file: str = ""
    file_s: float | None = None
    samples: int = 0
    ring_backlog_s: float | None = None
    ring_lost: int = 0
    free_mib: float | None = None
    reserve_mib: float | None = None
    budget_mib: float | None = None
    kept_mib: float | None = None
    pinned_mib: float | None = None
    written_mib_per_s: float | None = None
    oldest_goes: bool = True
    files: int = 0
    to_recover: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class PortStatus:
    """The port that is served; `problem` in words, "" for none."""

    address: str
    problem: str = ""
    clients: int | None = None


@dataclass(frozen=True, slots=True)
class ShadowStatus:
    """A decoder beside the deployed one (decoder.shadow_records.ShadowState); `missing` speaks against it, in words."""

    sha256: str
    role: str
    who: str = ""
    seconds: float | None = None
    hops: int = 0
    gesture_agreement: float | None = None
    is_warming: bool = False
    missing: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class RealtimeStatus:
    """What each process got, in words ("SCHED_FIFO 50, cpus 2-3, memory locked"), and what it did not get."""

    achieved: Mapping[str, str] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class MachineStatus:
    """nervehand.jetson reads it. Mappings are by thermal zone, by rail, and by process; shares are of one processor,
    but for `gpu_load` and `steal_share`, which are 0..1 of all. None: not measured here."""

    temperature_c: Mapping[str, float] = field(default_factory=dict)
    power_w: Mapping[str, float] = field(default_factory=dict)
    cpu_mhz: tuple[float, ...] = ()
    throttled: bool | None = None
    gpu_load: float | None = None
    steal_share: float | None = None
    memory_mib: Mapping[str, float] = field(default_factory=dict)
    cpu_share: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Status:
    """All of it; a part that is not there is None. Unix times are by the host's clock, which may be stepped."""

    name: str
    version: str
    process: ProcessMark
    boot_id: str
    started_unix_s: float
    written_unix_s: float
    written_monotonic_s: float
    """By CLOCK_MONOTONIC, which all processes of one boot share: ages are told by it."""
    format: int = FORMAT
    supervisor: ProcessMark | None = None
    restarts: int = 0
    last_exit: str = ""
    """How the engine before this one ended, in words; "" where this is the first."""
    uptime_s: float | None = None
    config: ConfigStatus | None = None
    source: SourceStatus | None = None
    decode: DecodeStatus | None = None
    latency: Mapping[str, StageLatency] = field(default_factory=dict)
    hand: HandStatus | None = None
    recording: RecordingStatus | None = None
    port: PortStatus | None = None
    metrics: str = ""
    """Where metrics are served, "" where they are not."""
    shadow: tuple[ShadowStatus, ...] = ()
    realtime: RealtimeStatus | None = None
    machine: MachineStatus | None = None
    stages_of_start: Mapping[str, float] = field(default_factory=dict)
    """Seconds by stage, in their order."""


def latency_summary(counts: LatencyCounts) -> LatencySummary:
    """The percentiles that a person asks for."""
    p50_us, p95_us, p99_us = map(_rounded, counts.percentiles_us((50, 95, 99)))
    return LatencySummary(len(counts), p50_us, p95_us, p99_us, _rounded(counts.largest_us))


def stage_latency(since_start: LatencyCounts, last_minute: LatencyCounts) -> StageLatency:
    """A stage as the document has it, of what `RecentLatency.at` gives."""
    return StageLatency(
        latency_summary(since_start),
        latency_summary(last_minute),
        round(since_start.sum_ns / 1e9, 9),
        since_start.cumulative(),
    )


def _rounded(duration_us: float | None) -> float | None:
    return None if duration_us is None else round(duration_us, 3)
