"""The daemon's loop with all that belongs to it, from a source that gives a day as fast as it is taken."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np

from calibration.shapes import random_step_network
from calibration.stepgraph import to_whole_numbers
from decoder.bundle import Bundle, pack, unpack, write_bundle
from decoder.chain import compile_kernels
from decoder.decision import DecisionSettings
from decoder.health import delay_samples
from decoder.intent import Intents
from decoder.recording.keeper import KeepSettings
from decoder.recording.link import RecorderProcess, recorder_process
from decoder.recording.sender import Sender
from decoder.shadow import ShadowRules
from firmware_bridge.buffered import BufferedSource
from firmware_bridge.gate_limits import GateLimits
from firmware_bridge.hand import LinkState
from firmware_bridge.hands.virtual_protocol import VIRTUAL_HAND
from firmware_bridge.notify import Notifier
from firmware_bridge.preuse import overridden
from firmware_bridge.stream import SignalBlock, StreamInfo
from firmware_bridge.supervised import SupervisedSource
from nervehand.bench import BenchSettings, bench_bundle, bench_network
from nervehand.config import DaemonConfig, RecordingConfig
from nervehand.daemon import header_for
from nervehand.daemon_status import DaemonStatus, Recorded, StartTimes
from nervehand.driving import Driven, Listeners
from nervehand.guarding import in_this_process
from nervehand.jetson import cpu_s
from nervehand.live import LiveOptions, LiveRun
from nervehand.live_port import Owner, ServedRun, answering, port_of
from nervehand.pre_use import Overridden
from nervehand.recording import LiveRecorder
from nervehand.running import NoHand
from nervehand.screen import NoScreen
from nervehand.source_log import SourceLog
from nervehand.stopping import stop_on_signals
from tests.day.measuring import HopTimer, Measuring
from tests.day.stream import DayDevice, HopGrid
from tests.day.verdict import Finding, Period, judged

MIB = 1 << 20
HOP_MS = 20.0
BLOCK_HOPS = 10
MOST_MESSAGES, MOST_UNSETTLED = 1500, 4
"""Where the recorder has more before it, or recordings to close, samples wait: it never comes to that in real time."""
HAND_AWAY_S = 0.05
SYNC_S = 600.0
"""Of samples: some seconds by the clock."""
RULES = ShadowRules(least_s=10.0, most_of_hop=0.99, rest_position=2.0)
"""Random weights decide no posture of rest."""
WHO = "day"
ENDED_S, REPORTED_S = 120.0, 5.0


@dataclass(frozen=True, slots=True)
class DaySettings:
    """`hours` of samples, measured each `each_s` and judged from `settled_s` on; recordings lie in `folder`."""

    folder: Path
    hours: float = 24.0
    each_s: float = 1800.0
    settled_s: float = 3600.0
    rotate_mib: int = 256
    budget_mib: int = 1024
    pin_each_s: float = 6 * 3600.0


@dataclass(frozen=True, slots=True)
class Day:
    """What came of it."""

    periods: list[Period]
    findings: list[Finding]
    wall_s: float
    happened: Mapping[str, int]
    counts: Mapping[str, object]

    @property
    def passed(self) -> bool:
        return all(one.passed for one in self.findings)


class DayHand(NoHand):
    """A kinematic hand whose link is lost now and then."""

    def __init__(self) -> None:
        super().__init__()
        self._back_s = 0.0

    def lose_link(self) -> None:
        self._back_s = time.monotonic() + HAND_AWAY_S

    @property
    def link(self) -> LinkState:
        return LinkState.LOST if time.monotonic() < self._back_s else LinkState.CONNECTED


class AsTheyAreTaken:
    """A source whose samples arrive when they are taken, and that waits where the recorder is too far behind: the ring
    to it loses what does not fit, as a front-end cannot wait."""

    def __init__(self, source: BufferedSource, sender: Sender) -> None:
        self._source, self._sender = source, sender
        self.waited_s = 0.0

    @property
    def info(self) -> StreamInfo:
        return self._source.info

    def connect(self) -> None:
        self._source.connect()

    def close(self) -> None:
        self._source.close()

    def blocks(self) -> Iterator[SignalBlock]:
        for block in self._source.blocks():
            if self._is_behind():
                began_s = time.monotonic()
                while self._is_behind():
                    time.sleep(0.002)
                self.waited_s += time.monotonic() - began_s
            yield replace(block, arrival_ns=time.monotonic_ns(), pieces=())

    def _is_behind(self) -> bool:
        left = self._sender.newest_report().get("to_settle")
        unsettled = len(left) if isinstance(left, list) else 0
        return self._sender.backlog > MOST_MESSAGES or unsettled > MOST_UNSETTLED


def day_bundles() -> tuple[Bundle, Bundle, StreamInfo]:
    """Two decoders of the bench configuration, with other weights, that decide rest and move all the same."""
    settings = BenchSettings(16, 10_000.0, HOP_MS, "compact", 1)
    first = bench_network(settings)
    second = random_step_network("compact", first.n_features, 6, 9, seed=1)
    made = []
    for network in (first, to_whole_numbers(second)):
        bundle, info = bench_bundle(settings, network)
        decision = DecisionSettings(reject_below=1.0)
        manifest = bundle.manifest.model_copy(update={"decision": decision})
        made.append(unpack(pack(replace(bundle, manifest=manifest))))
    return made[0], made[1], info


def run_day(settings: DaySettings, say: Callable[[Period], None]) -> Day:
    """Run it in this process, which should be one of its own, and judge it; Ctrl-C or SIGTERM end it early."""
    began_s = time.monotonic()
    first, second, info = day_bundles()
    compile_kernels(first, info)
    recordings, work = settings.folder / "recordings", settings.folder / "work"
    for path in (recordings, work):
        path.mkdir(mode=0o700)
    paths = [work / "first.nhb", work / "second.nhb"]
    for bundle, path in zip((first, second), paths, strict=True):
        write_bundle(bundle, path)
    config = DaemonConfig(
        name=WHO, recording=RecordingConfig(folder=str(recordings), budget_mib=settings.budget_mib)
    )
    status = DaemonStatus(config, Notifier.from_environment(), StartTimes())
    keep = KeepSettings(
        str(recordings), WHO, settings.rotate_mib * MIB, 86400.0, settings.budget_mib * MIB, 64 * MIB,
        sync_s=SYNC_S,
    )  # fmt: skip
    limits = replace(GateLimits.for_hand(VIRTUAL_HAND), min_confidence=0.0, rest_band=1.0)
    hand, timer, listeners, log = DayHand(), HopTimer(), Listeners(), SourceLog()
    log.listen(status.source_event)
    told: deque[str] = deque()
    n_samples = round(settings.hours * 3600 * info.rate_hz)
    device = DayDevice(info, n_samples, BLOCK_HOPS * first.hop_raw_samples, told.append)
    buffered: BufferedSource
    supervised = SupervisedSource(
        device, lambda event: buffered.event(event), rate_tolerance=None, wait=lambda seconds: False
    )
    buffered = BufferedSource(supervised, log, waits=True)
    status.info, status.buffered = info, buffered
    with contextlib.ExitStack() as stack:
        stop = stack.enter_context(stop_on_signals())
        stack.enter_context(status.shown())
        header = header_for(info, first, first.manifest.decision)
        sender, process = stack.enter_context(recorder_process(keep, header))
        status.recorded = Recorded(sender, process)
        recorder = LiveRecorder(
            sender, sender=sender, header_of=lambda one: header_for(info, one.bundle, one.decision)
        )
        served = ServedRun("127.0.0.1:0", WHO)
        port = stack.enter_context(port_of(served, "a day", info, first, is_recorded=False))
        assert port is not None
        listeners.listen(recorder.gate_event, recorder.sent, lambda moved: None)
        guarded = stack.enter_context(
            in_this_process(hand, listeners.event, listeners.sent, listeners.moved, limits)
        )
        source = AsTheyAreTaken(buffered, sender)
        each = round(settings.each_s * info.rate_hz)
        n_told = dict.fromkeys(("pinned", "reloaded"), 0)

        def beside() -> tuple[int, float, float, Mapping[str, int]]:
            report = sender.newest_report()
            counters = guarded.guard.counters
            pids = _pids(process, port.server_pid)
            counts = {f"cpu_s_{role}": round(cpu_s(pid) or 0.0) for role, pid in pids.items()} | {
                "applied": counters.commands_applied, "late": live.dropped_commands, "deaths": process.deaths,
                "rearmed": sum(one == "armed" for one in armed), "files_begun": _whole(report, "files_begun"),
                "ring_lost": _whole(report, "lost"), "samples_missed": _whole(report, "missed"),
            }  # fmt: skip
            return _whole(report, "files"), float(_whole(report, "kept_mib")), source.waited_s, counts

        armed: deque[str] = deque(maxlen=4096)
        listeners.listen(
            lambda event: armed.append("armed") if event.kind == "arm" else None,
            lambda sent: None,
            lambda moved: None,
        )
        measuring: Measuring
        pin_due = round(settings.pin_each_s * info.rate_hz)

        def decided(intents: Intents) -> None:
            nonlocal pin_due
            measuring(intents)
            while told:
                if told.popleft() == "hand lost":
                    hand.lose_link()
                else:
                    n_told["reloaded"] += 1
                    hysteresis = 0.1 + 0.01 * (n_told["reloaded"] % 2)
                    live.decide_by(partial(_decided_by, hysteresis=hysteresis), lambda: None)
            if measuring.newest >= pin_due:
                pin_due += round(settings.pin_each_s * info.rate_hz)
                for pin in recordings.glob("*.pin"):  # somebody is through with what was kept before
                    pin.unlink()
                live.pin(WHO, "a moment of the day", 60.0)
                n_told["pinned"] += 1

        live = LiveRun(
            "a day", source, first, guarded.guard, guarded.hand, NoScreen(), on_intents=decided, armed_by=WHO,
            recorder=recorder, working=timer, pre_use=Overridden(WHO), port=port,
            options=LiveOptions(rules=RULES, backlog=buffered),
        )  # fmt: skip
        grid = HopGrid.of(first, delay_samples(first.health, info.rate_hz))
        measuring = Measuring(
            grid, device.stretches, each, info.rate_hz, timer,
            partial(_pids, process, port.server_pid), beside, lambda: live.traces.histograms, say,
        )  # fmt: skip
        listeners.listen(live.gate_event, live.sent, live.moved)
        log.listen(live.source_event)
        driven = Driven(live, guarded, listeners, port, recorder, stop, lambda who, asked_ns: "nobody arms")
        status.attach(driven)
        owner = Owner(
            live, guarded.guard, guarded.hand, info, lambda: overridden(WHO, time.monotonic_ns()),
            lambda: "; ".join(listeners.refusals), "", False, served,
        )  # fmt: skip
        stack.enter_context(answering(port, owner, lambda text: None))
        onlooker = subprocess.Popen(
            [sys.executable, "-m", "tests.day.onlooker", port.address, str(each), *map(str, paths)],
            stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        try:
            summary = live.run(stop)
            is_cut = stop.is_set()
            end_s = time.monotonic() + ENDED_S
            while sender.backlog and time.monotonic() < end_s:
                time.sleep(0.05)
            end_s = time.monotonic() + REPORTED_S
            while _whole(sender.newest_report(), "samples") < live.samples and time.monotonic() < end_s:
                time.sleep(0.05)
            recorded = _whole(sender.newest_report(), "samples")
            status.attach(None)
            port.close()
            seen = _last_words(onlooker)
        finally:
            onlooker.kill()
            onlooker.wait()
            status.recorded = None
            recorder.close(failing=True)
    _await_settled(recordings)
    kept = sum(path.stat().st_size for path in recordings.glob("*.nwb")) / MIB
    pinned = len(list(recordings.glob("*.nwb.pin")))
    counts: dict[str, object] = {
        "samples": live.samples, "lost_samples": live.lost_samples, "hops": live.hops, "restarts": live.restarts,
        "switches": summary.switches, "pushes": summary.pushes, "rearmed": summary.rearmed,
        "commands_applied": summary.commands_applied, "commands_late": live.dropped_commands,
        "recorder_deaths": process.deaths, "recorded_samples": recorded, "waited_s": round(source.waited_s, 1),
        "onlooker": seen, "kept_mib": round(kept, 1), "is_cut": is_cut, "pinned_files": pinned, **n_told,
    }  # fmt: skip
    # One that is open, those that are being closed, and the two that a pin may hold.
    allowed_mib = settings.budget_mib + (MOST_UNSETTLED + 3) * settings.rotate_mib
    findings = judged(measuring.periods, settings.settled_s / 3600, allowed_mib)
    # What was taken in, but not decoded when somebody ended it, is none that was lost.
    end = device.stretches.hops(grid, measuring.newest if is_cut else device.end - grid.delay - 1)
    last = measuring.periods[-1].counts if measuring.periods else {}
    is_whole = recorded == live.samples or process.deaths > 0  # another one counts from its own beginning
    findings += [
        Finding("all hops", live.hops == measuring.hops == end, f"{live.hops} decided, {end} expected"),
        Finding(
            "samples",
            is_cut or live.samples + live.lost_samples == device.end == live.samples + device.lost_samples,
            f"{live.samples} came, {live.lost_samples} lost, {device.lost_samples} were made to be",
        ),
        Finding(
            "recorded", is_whole and not last.get("ring_lost") and not last.get("samples_missed"),
            f"{recorded} of {live.samples} samples, {last.get('ring_lost')} messages lost, "
            f"the recorder was started again {process.deaths} times",
        ),
        Finding("walked", _is_walked(device, summary.switches, n_told), f"{dict(device.happened)}, {n_told}"),
    ]  # fmt: skip
    return Day(measuring.periods, findings, time.monotonic() - began_s, device.happened, counts)


def _decided_by(bundle: Bundle, hysteresis: float) -> DecisionSettings:
    return replace(bundle.manifest.decision, hysteresis=hysteresis)


def _is_walked(device: DayDevice, switches: int, told: Mapping[str, int]) -> bool:
    return all(device.happened.values()) and switches > 0 and told["reloaded"] > 0


def _pids(process: RecorderProcess, port: int) -> dict[str, int]:
    return {"decode": os.getpid(), "recorder": process.pid, "port": port}


def _whole(report: Mapping[str, object], name: str) -> int:
    value = report.get(name)
    return int(value) if isinstance(value, int | float) and np.isfinite(value) else 0


def _last_words(onlooker: subprocess.Popen[str]) -> object:
    try:
        said, _ = onlooker.communicate(timeout=20.0)
        return json.loads(said.splitlines()[-1])
    except (subprocess.TimeoutExpired, IndexError, ValueError):
        return "it said nothing"


def _await_settled(folder: Path) -> None:
    end_s = time.monotonic() + ENDED_S
    while list(folder.glob("*.tail")) and time.monotonic() < end_s:
        time.sleep(0.1)


def own_folder(where: Path | None) -> tempfile.TemporaryDirectory[str]:
    """A folder of its own in `where`, that goes with the run."""
    return tempfile.TemporaryDirectory(prefix="nervehand-day-", dir=where, ignore_cleanup_errors=True)
