"""A status document as Prometheus' text: the names, units and labels of docs/status.md, nothing of signals or people.

Names follow Prometheus' rules: base units, `_total` for what only grows, `_info` for what identifies. Labels have few
values, of our own or of the kernel's making. Addresses, files, channels, and who wears or arms are left out: they may
name a person.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
)
from prometheus_client.exposition import generate_latest
from prometheus_client.registry import Collector

from firmware_bridge.gate_rules import GateState
from firmware_bridge.hand import LinkState
from nervehand.latency import BOUNDS_S
from nervehand.status import Found, Status, judged
from nervehand.status_document import (
    RECORDING_STATES,
    SOURCE_STATES,
    DecodeStatus,
    HandStatus,
    MachineStatus,
    RecordingStatus,
    SourceStatus,
)

MIB = 1024.0 * 1024.0
MOST_LABELS = 64
"""So many zones, rails, processes or stages are told of."""
_LABEL = re.compile(r"[^a-z0-9_]+")


class StatusCollector(Collector):
    """Reads the document at every scrape; one that is not there or cannot be read is `nervehand_up 0`."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def collect(self) -> Iterable[Metric]:
        """What Prometheus scrapes."""
        return metrics_of(judged(self._path))


def text_of(path: Path) -> bytes:
    """The exposition format, version 0.0.4, of the document of now."""
    return generate_latest(StatusCollector(path))


def metrics_of(found: Found) -> list[Metric]:
    """Nothing but up and the age of a document that is old: what it says would be taken for what is."""
    status = found.status
    up = found.alive and not found.stale
    metrics: list[Metric] = [_gauge("up", "Whether the daemon runs and says so.", float(up))]
    if found.age_s is not None:
        metrics.append(_gauge("status_age_seconds", "Since the status document was written.", found.age_s))
    if status is None or not up:
        return metrics
    metrics += _of_daemon(status)
    metrics += _of_latency(status)
    if status.source is not None:
        metrics += _of_source(status.source)
    if status.decode is not None:
        metrics += _of_decode(status.decode)
    if status.hand is not None:
        metrics += _of_hand(status.hand)
    if status.recording is not None:
        metrics += _of_recording(status.recording)
    if status.machine is not None:
        metrics += _of_machine(status.machine)
    return [metric for metric in metrics if metric.samples]


def _of_daemon(status: Status) -> Iterator[Metric]:
    bundle = status.decode.bundle_sha256 if status.decode is not None else ""
    known = {"version": status.version[:40], "bundle_sha256": re.sub(r"[^0-9a-f]", "", bundle)[:64]}
    yield InfoMetricFamily("nervehand", "Which nervehand, and which decoder is deployed.", value=known)
    yield _gauge("start_time_seconds", "When the engine started, as Unix time.", status.started_unix_s)
    yield _counter("engine_restarts", "How often the supervisor started the engine again.", status.restarts)
    if status.config is not None:
        yield _gauge("config_generation", "Counts the configurations applied.", status.config.generation)
        yield _gauge("config_reload_refused", "Whether the last reload was refused.", status.config.refused)
    if status.port is not None:
        yield _gauge("port_problem", "Whether the port cannot be served.", bool(status.port.problem))
        yield _gauge("port_clients", "Who is connected to the port.", status.port.clients)
    yield _gauge("shadow_decoders", "Decoders beside the deployed one.", len(status.shadow))
    if status.realtime is not None:
        yield _gauge("realtime_warnings", "What real time lacks here.", len(status.realtime.warnings))


def _of_latency(status: Status) -> Iterator[Metric]:
    histogram = HistogramMetricFamily(
        "nervehand_stage_latency_seconds",
        "How long each stage took, since the engine started.",
        labels=["stage"],
    )
    lately = GaugeMetricFamily(
        "nervehand_stage_latency_last_minute_seconds",
        "Percentiles of each stage over the last minute.",
        labels=["stage", "quantile"],
    )
    for stage, row in list(status.latency.items())[:MOST_LABELS]:
        label = _label(stage)
        if row.buckets:
            n = max(row.since_start.count, row.buckets[-1])
            buckets = [
                (str(bound_s), float(count)) for bound_s, count in zip(BOUNDS_S, row.buckets, strict=True)
            ]
            histogram.add_metric([label], [*buckets, ("+Inf", float(n))], row.sum_s)
        recent = row.last_minute
        for quantile, value_us in (
            ("0.5", recent.p50_us),
            ("0.95", recent.p95_us),
            ("0.99", recent.p99_us),
            ("1", recent.max_us),
        ):
            if value_us is not None:
                lately.add_metric([label, quantile], value_us / 1e6)
    yield histogram
    yield lately


def _of_source(source: SourceStatus) -> Iterator[Metric]:
    yield _states("source_state", "Where the source stands.", SOURCE_STATES, source.state)
    yield _counter("source_samples", "Samples received.", source.samples)
    yield _counter("source_lost_samples", "Samples that never came.", source.lost_samples)
    yield _gauge("source_channels", "Channels of the source.", source.channels)
    yield _gauge("source_masked_channels", "Channels left out now.", len(source.masked))
    yield _gauge("source_rate_hertz", "Samples a second and channel.", source.rate_hz)


def _of_decode(decode: DecodeStatus) -> Iterator[Metric]:
    yield _counter("decode_hops", "Hops decoded.", decode.hops)
    yield _counter("decode_warming_hops", "Hops decoded while the decoder was warming.", decode.warming_hops)
    yield _counter("decode_late_hops", "Hops that came too late to command.", decode.late_hops)
    yield _counter("decode_dropped_commands", "Commands late or overtaken.", decode.dropped_commands)
    yield _counter("decode_restarts", "How often the chain began anew.", decode.restarts)
    yield _gauge("decode_backlog_seconds", "How far behind the newest sample.", decode.backlog_s)
    yield _gauge("decode_hop_seconds", "From one hop to the next.", decode.hop_s)


def _of_hand(hand: HandStatus) -> Iterator[Metric]:
    yield _states(
        "gate_state", "Where the safety gate stands.", [state.value for state in GateState], hand.gate
    )
    yield _states(
        "hand_link_state", "Where the hand's link stands.", [state.value for state in LinkState], hand.link
    )
    yield _counter("hand_commands_applied", "Commands the hand was told.", hand.commands_applied)
    yield _counter("hand_commands_withheld", "Commands the gate did not follow.", hand.commands_withheld)
    yield _counter("hand_commands_late", "Commands that had expired.", hand.commands_late)
    yield _counter("hand_commands_overtaken", "Commands a newer one came before.", hand.commands_overtaken)
    yield _counter("guard_stalls", "How often decode's heartbeat was too old.", hand.stalls)
    yield _gauge("guard_lost", "Whether the guard is gone.", bool(hand.guard_problem))
    yield _gauge("hand_fault", "Whether the hand reports a fault.", bool(hand.fault))
    yield _gauge("hand_open_stop_lines", "Stop lines that are open.", len(hand.open_lines))
    yield _gauge("hand_temperature_celsius", "Of the hand's hottest part.", hand.temperature_c)
    yield _gauge("hand_battery_ratio", "The share of a full charge.", hand.battery)


def _of_recording(recording: RecordingStatus) -> Iterator[Metric]:
    yield _states("recording_state", "Where the recording stands.", RECORDING_STATES, recording.state)
    yield _counter("recording_samples", "Samples recorded.", recording.samples)
    yield _counter(
        "recording_lost_messages",
        "Blocks, and what goes with them, that the recorder never got.",
        recording.ring_lost,
    )
    yield _gauge("recording_backlog_seconds", "Samples that wait for the recorder.", recording.ring_backlog_s)
    yield _gauge("recording_files", "Files that are kept.", recording.files)
    yield _gauge("recording_unclosed_files", "Files of before that need recover.", len(recording.to_recover))
    sizes = (
        ("free", "Free on its disk.", recording.free_mib),
        ("reserve", "Where recording stops, of what is free.", recording.reserve_mib),
        ("budget", "What it may keep.", recording.budget_mib),
        ("kept", "What is kept.", recording.kept_mib),
        ("pinned", "What is pinned, of what is kept.", recording.pinned_mib),
    )
    for name, help_text, mib in sizes:
        yield _gauge(f"recording_{name}_bytes", help_text, None if mib is None else mib * MIB)


def _of_machine(machine: MachineStatus) -> Iterator[Metric]:
    yield _by_label("machine_temperature_celsius", "By thermal zone.", "zone", machine.temperature_c)
    yield _by_label("machine_power_watts", "By rail.", "rail", machine.power_w)
    clocks = {str(number): mhz * 1e6 for number, mhz in enumerate(machine.cpu_mhz)}
    yield _by_label("machine_cpu_clock_hertz", "By processor.", "cpu", clocks)
    yield _gauge("machine_throttled", "Whether a clock is kept low to cool it.", machine.throttled)
    yield _gauge("machine_gpu_load_ratio", "Of the GPU.", machine.gpu_load)
    yield _gauge("machine_steal_ratio", "Processor time other virtual machines took.", machine.steal_share)
    memory = {process: mib * MIB for process, mib in machine.memory_mib.items()}
    yield _by_label("process_pss_bytes", "Proportional set size.", "process", memory)
    yield _by_label("process_cpu_ratio", "Of one processor.", "process", machine.cpu_share)


def _gauge(name: str, help_text: str, value: float | None) -> Metric:
    return GaugeMetricFamily(f"nervehand_{name}", help_text, value=None if value is None else float(value))


def _counter(name: str, help_text: str, value: int) -> Metric:
    return CounterMetricFamily(f"nervehand_{name}", help_text, value=float(value))


def _states(name: str, help_text: str, known: Iterable[str], now: str) -> Metric:
    """1 for the state of now and 0 for the others, so that a query can count the time in each."""
    family = GaugeMetricFamily(f"nervehand_{name}", help_text, labels=["state"])
    for state in known:
        family.add_metric([_label(state)], float(state == now))
    return family


def _by_label(name: str, help_text: str, label: str, values: Mapping[str, float]) -> Metric:
    family = GaugeMetricFamily(f"nervehand_{name}", help_text, labels=[label])
    taken: set[str] = set()
    for key, value in list(values.items())[:MOST_LABELS]:
        if (text := _label(key)) not in taken:  # two of one name would make the whole scrape invalid
            family.add_metric([text], value)
            taken.add(text)
    return family


def _label(text: str) -> str:
    return _LABEL.sub("_", text.lower()).strip("_")[:40] or "unnamed"
