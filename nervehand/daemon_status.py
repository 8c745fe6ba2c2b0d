"""What a daemon says of itself, once a second, from a thread that nobody waits for (docs/status.md)."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace

from decoder.recording.link import RecorderProcess
from decoder.recording.sender import Sender
from firmware_bridge.buffered import BufferedSource
from firmware_bridge.errors import LinkError
from firmware_bridge.guard_client import GuardClient
from firmware_bridge.hand import LinkState
from firmware_bridge.notify import Notifier
from firmware_bridge.stream import StreamInfo
from firmware_bridge.supervised import SourceEvent
from nervehand.config import DaemonConfig
from nervehand.driving import Driven
from nervehand.jetson import MachineWatch
from nervehand.latency import RecentLatency
from nervehand.recording_status import RecordingWatch
from nervehand.status import (
    ConfigStatus,
    DecodeStatus,
    HandStatus,
    PortStatus,
    RealtimeStatus,
    RecordingStatus,
    ShadowStatus,
    SourceStatus,
    StageLatency,
    Status,
    new_status,
    path_of,
    stage_latency,
)
from nervehand.status_document import SourceState
from nervehand.status_writer import StatusWriter

STREAMING_S = 1.0
"""A source from which no sample has come for so long does not stream."""
NS = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Recorded:
    """The recorder of a run: what hands over to it, and its process."""

    sender: Sender
    process: RecorderProcess


class StartTimes:
    """Seconds by stage from the start of the process, in their order."""

    def __init__(self) -> None:
        self._last_s = _process_start_s()
        self.stages: dict[str, float] = {}

    def reached(self, stage: str) -> None:
        """That stage is over."""
        now_s = time.clock_gettime(time.CLOCK_BOOTTIME)
        self.stages[stage] = round(now_s - self._last_s, 3)
        self._last_s = now_s

    def __str__(self) -> str:
        parts = ", ".join(f"{stage} {seconds:.2f} s" for stage, seconds in self.stages.items())
        return f"{sum(self.stages.values()):.1f} s: {parts}"


def _process_start_s() -> float:
    """When this process started, on CLOCK_BOOTTIME. Field 22 of /proc/self/stat (proc(5)), in clock ticks."""
    with open("/proc/self/stat", encoding="ascii") as file:
        ticks = int(file.read().rpartition(")")[2].split()[19])
    return ticks / os.sysconf("SC_CLK_TCK")


class DaemonStatus:
    """Collects the parts as they come to be, and writes the document while `shown` lasts."""

    def __init__(self, config: DaemonConfig, notifier: Notifier, start: StartTimes) -> None:
        self._config, self._notifier, self.start = config, notifier, start
        supervisor = os.environ.get("NERVEHAND_SUPERVISOR_PID", "")
        base = new_status(config.name, time.time(), int(supervisor) if supervisor.isdecimal() else None)
        restarts = os.environ.get("NERVEHAND_RESTARTS", "")
        self._base = replace(
            base,
            restarts=int(restarts) if restarts.isdecimal() else 0,
            last_exit=os.environ.get("NERVEHAND_LAST_EXIT", ""),
            metrics=config.metrics.listen,
        )
        self._began_s = time.monotonic()
        self.path = path_of(config.name)
        """Of the document."""
        self._writer = StatusWriter(self.path, self._told)
        self._machine = MachineWatch()
        self._recent: dict[str, RecentLatency] = {}
        self.config = ConfigStatus()
        self.waits_for = ""
        """What the source says while it is not there; "" once it is."""
        self.info: StreamInfo | None = None
        self.buffered: BufferedSource | None = None
        self.recorded: Recorded | None = None
        self.realtime: dict[str, str] = {}
        self.warnings: list[str] = []
        self._driven: Driven | None = None
        self._last_event: tuple[SourceEvent, float] | None = None
        self._recordings = RecordingWatch(config.recording)

    def attach(self, driven: Driven | None) -> None:
        """All that takes part, while it does."""
        self._driven = driven
        self.write_soon()

    def source_event(self, event: SourceEvent) -> None:
        """The newest that was said of the source."""
        self._last_event = (event, time.monotonic())

    def write_soon(self) -> None:
        """Not only with the next second."""
        self._writer.soon()

    def shown(self) -> StatusWriter:
        """While this is entered the document is written; it stays where the engine is started again."""
        return self._writer

    def _told(self) -> Status:
        """For the document, and in one line for systemd."""
        status = self.document()
        self._notifier.status(self._in_a_line(status))
        return status

    def document(self) -> Status:
        """As of now."""
        driven = self._driven
        now_s = time.monotonic()
        return replace(
            self._base,
            written_unix_s=time.time(),
            written_monotonic_s=now_s,
            uptime_s=round(now_s - self._began_s, 1),
            config=self.config,
            source=self._source(driven, now_s),
            decode=None if driven is None else self._decode(driven),
            latency={} if driven is None else self._latency(driven, now_s),
            hand=None if driven is None else self._hand(driven),
            recording=self._recording(now_s),
            port=None
            if driven is None or driven.port is None
            else PortStatus(driven.port.address, driven.port.problem),
            shadow=() if driven is None else self._shadow(driven),
            realtime=RealtimeStatus(dict(self.realtime), tuple(self.warnings)),
            machine=self._machine.look(self._processes(driven)),
            stages_of_start=dict(self.start.stages),
        )

    def _in_a_line(self, status: Status) -> str:
        if status.decode is None or status.hand is None:
            return f"waiting for {self._config.source.address}" + (
                f": {self.waits_for}" if self.waits_for else ""
            )
        source = "" if status.source is None else f"source {status.source.state}, "
        return f"{source}{status.decode.hops} hops, gate {status.hand.gate}, link {status.hand.link}"

    def _source(self, driven: Driven | None, now_s: float) -> SourceStatus:
        state: SourceState = "connecting"
        samples = lost = 0
        masked: tuple[str, ...] = ()
        if driven is not None:
            live = driven.live
            samples, lost, masked = live.samples, live.lost_samples, live.masked
            is_recent = time.monotonic_ns() - live.newest_arrival_ns < STREAMING_S * NS
            state = "streaming" if is_recent else "lost" if samples else "connecting"
        event = self._last_event
        return SourceStatus(
            address=self._config.source.address,
            state=state,
            rate_hz=None if self.info is None else self.info.rate_hz,
            channels=0 if self.info is None else self.info.n_channels,
            masked=masked,
            samples=samples,
            lost_samples=lost,
            last_event=self.waits_for if event is None else f"{event[0].kind}: {event[0].text}",
            last_event_age_s=None if event is None else round(now_s - event[1], 1),
        )

    def _decode(self, driven: Driven) -> DecodeStatus:
        live, counters = driven.live, driven.guarded.guard.counters
        return DecodeStatus(
            bundle_sha256=live.bundle.sha256,
            hop_s=live.bundle.hop_s,
            hops=live.hops,
            warming_hops=live.warming_hops,
            late_hops=live.dropped_commands,
            dropped_commands=live.dropped_commands + counters.commands_late + counters.commands_overtaken,
            restarts=live.restarts,
            backlog_s=None if self.buffered is None else round(self.buffered.backlog_s, 4),
            is_warming=live.is_warming,
            engine=live.engine,
            gesture=live.gesture,
        )

    def _latency(self, driven: Driven, now_s: float) -> dict[str, StageLatency]:
        found = {}
        for stage, histogram in driven.live.traces.histograms.items():
            recent = self._recent.setdefault(stage, RecentLatency(histogram))
            found[stage] = stage_latency(*recent.at(now_s))
        return found

    def _hand(self, driven: Driven) -> HandStatus:
        guard, hand = driven.guarded.guard, driven.guarded.hand
        counters, decision, state = guard.counters, guard.decision, hand.state
        stalls, problem = 0, ""
        lines: tuple[str, ...] = ()
        if isinstance(guard, GuardClient):
            status = guard.status
            if status is not None:
                stalls, lines = status.stalls, status.open_lines
            problem = guard.failure
        return HandStatus(
            gate=guard.state.value,
            cause="" if decision is None or decision.cause is None else decision.cause.value,
            link=hand.link.value if not problem else LinkState.LOST.value,
            address=self._config.hand.address,
            commands_applied=counters.commands_applied,
            commands_withheld=counters.commands_withheld,
            commands_late=counters.commands_late,
            commands_overtaken=counters.commands_overtaken,
            stalls=stalls,
            open_lines=lines,
            positions=()
            if state is None
            else tuple(None if v != v else round(v, 4) for v in state.positions.tolist()),
            fault="" if state is None else state.fault,
            hot=state is not None and state.hot,
            stalled=state is not None and state.stalled,
            watchdog_tripped=state is not None and state.watchdog_tripped,
            temperature_c=None if state is None else state.temperature_c,
            battery=None if state is None else state.battery,
            guard_problem=problem,
        )

    def _recording(self, now_s: float) -> RecordingStatus:
        recorded, driven = self.recorded, self._driven
        if recorded is None:
            return RecordingStatus("off")
        recorded.process.look(recorded.sender, now_s)
        return self._recordings.status(
            recorded.sender.newest_report(),
            recorded.sender.present_sample,
            None if self.info is None else self.info.rate_hz,
            # What hands over may have given up, too: then nothing comes to the recorder any more.
            given_up="" if driven is None or driven.recorder is None else driven.recorder.stopped,
            problem=recorded.process.problem,
        )

    def _shadow(self, driven: Driven) -> tuple[ShadowStatus, ...]:
        return tuple(
            ShadowStatus(
                one.sha256, one.role, one.who, one.seconds, one.hops, one.gesture_agreement, one.is_warming,
                one.missing,
            )
            for one in driven.live.shadow_states
        )  # fmt: skip

    def _processes(self, driven: Driven | None) -> Mapping[str, int]:
        found = {"decode": os.getpid()}
        if self._base.supervisor is not None:
            found["supervisor"] = self._base.supervisor.pid
        if driven is not None and isinstance(driven.guarded.guard, GuardClient):
            with contextlib.suppress(LinkError):
                found["guard"] = driven.guarded.guard.pid
        if self.recorded is not None:
            found["recorder"] = self.recorded.process.pid
        if driven is not None and driven.port is not None:
            found["port"] = driven.port.server_pid
        return found
