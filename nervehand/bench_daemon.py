"""`nervehand bench --daemon`: the daemon as it is worn, in real time, beside a bare timer of the same period and class.

The board is an emulated one on a pseudo-terminal, in a process of its own, as a real one would be outside; the decoder
has random weights of the bench configuration (METRICS: 16 channels, 10 kHz, 500-sample window); recording and port
are on, and somebody at the port takes all samples and views, as an open console does. The hand is the virtual one over
Bluetooth LE without a radio.

    python -m nervehand.bench_daemon board LINK      # the board
    python -m nervehand.bench_daemon timer HOP SECONDS PRIORITY   # the bare timer; prints JSON
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from itertools import count
from pathlib import Path

import numpy as np

from firmware_bridge.errors import NervehandError
from firmware_bridge.realtime import make_real_time, timer_floor
from firmware_bridge.stream import SignalBlock, StreamInfo
from nervehand.jetson import cpu_s, pss_mib
from nervehand.machine import steal_between
from nervehand.output import print_json
from nervehand.status import Status, read_status

CHANNELS, RATE_HZ = 16, 10_000.0
BLOCK_S = 0.001
PRIORITY, BOARD_ABOVE = 50, 10
START_S = 120.0
SETTLED_S = 30.0
WARM_S = 5.0
"""Left out of what is counted of processors: the first seconds are of the start."""
NAME = "bench"


def board(link: Path) -> None:
    """Noise, one frame a millisecond, until this process is ended."""
    from firmware_bridge.emulators.serial import SerialEmulator

    n = round(BLOCK_S * RATE_HZ)
    noise = np.random.default_rng(1).normal(0, 100, (64, n, CHANNELS)).astype(np.int16)

    def blocks() -> Iterator[SignalBlock]:
        for i in count():
            if (
                i == 1
            ):  # by now in the thread that sends: a real board does not wait for this machine's processors
                make_real_time("auto", PRIORITY + BOARD_ABOVE, (), lock_memory=False)
            yield SignalBlock(noise[i % len(noise)], i * n, scale_uv=0.195)

    with SerialEmulator(_info(), blocks(), link, 1.0):
        print("ready", flush=True)
        signal.pause()


def _info() -> StreamInfo:
    from nervehand.bench import BenchSettings, bench_stream

    return bench_stream(BenchSettings(CHANNELS, RATE_HZ, 20.0, "paper", 1))


def bare_timer(hop_s: float, seconds: float, priority: int) -> None:
    """A timer that does nothing else, in the class that the daemon has."""
    got = make_real_time("auto", priority, (), lock_memory=False)
    print(json.dumps(asdict(timer_floor(hop_s, seconds)) | {"class": got.scheduling}), flush=True)


def measure(hop_ms: float, network: str, seconds: float) -> dict[str, object]:
    """What the daemon did in so many seconds, as plain JSON."""
    from decoder.bundle import write_bundle
    from nervehand.bench import BenchSettings, bench_bundle, bench_network, machine

    settings = BenchSettings(CHANNELS, RATE_HZ, hop_ms, network, 1)
    with tempfile.TemporaryDirectory(prefix="nervehand-bench-") as folder:
        where = Path(folder)
        made, _ = bench_bundle(settings, bench_network(settings))
        write_bundle(made, where / "bench.nhb")
        (where / "run").mkdir(mode=0o700)
        (where / "bench.toml").write_text(
            f'name = "{NAME}"\n[source]\naddress = "serial:{where}/board"\n'
            f'[decoder]\nbundle = "bench.nhb"\n[recording]\nfolder = "recordings"\nreserve_mib = 64\n'
            "[hand.limits]\nmin_confidence = 0.0\nrest_band = 1.0\n"  # a network of random weights is followed, too
            f'[port]\nlisten = "127.0.0.1:0"\n[realtime]\npriority = {PRIORITY}\n[log]\nlevel = "warning"\n'
        )
        environment = {**os.environ, "XDG_RUNTIME_DIR": str(where / "run")}
        (where / "run" / "nervehand").mkdir(mode=0o700)
        before = _stat()
        timing = ["timer", str(hop_ms / 1e3), str(seconds), str(PRIORITY)]
        with (
            _started(["board", f"{where}/board"], environment, is_awaited=True),
            _engine(where, environment) as (engine, first),
            _started(timing, environment) as timer,
            _onlooker(first, environment),
        ):
            found = _watched(engine, where, seconds)
            assert timer.stdout is not None
            floor = json.loads(timer.stdout.readline())
        steal = steal_between(before, _stat()) if before else None
        _await_settled(where / "recordings")
    return found | {
        "floor": floor, "steal_share": steal, "hop_ms": hop_ms, "network": network, "seconds": seconds,
        "machine": machine(),
    }  # fmt: skip


def _await_settled(folder: Path) -> None:
    """The last recording is closed by a process that goes on after the recorder."""
    end_s = time.monotonic() + SETTLED_S
    while list(folder.glob("*.tail")) and time.monotonic() < end_s:
        time.sleep(0.1)


def _stat() -> str:
    stat = Path("/proc/stat")
    return stat.read_text() if stat.is_file() else ""


@contextmanager
def _started(
    words: list[str], environment: Mapping[str, str], *, is_awaited: bool = False
) -> Iterator[subprocess.Popen[str]]:
    """One of this module's own processes; `is_awaited`: until it has said a word."""
    process = subprocess.Popen(
        [sys.executable, "-m", "nervehand.bench_daemon", *words],
        stdout=subprocess.PIPE,
        text=True,
        env=dict(environment),
    )
    try:
        if is_awaited:
            assert process.stdout is not None
            process.stdout.readline()
        yield process
    finally:
        process.terminate()
        process.wait()
        if process.stdout is not None:
            process.stdout.close()


@contextmanager
def _engine(where: Path, environment: Mapping[str, str]) -> Iterator[tuple[subprocess.Popen[bytes], Status]]:
    """The engine of a daemon, decoding."""
    command = [sys.executable, "-m", "nervehand.daemon", "--config", str(where / "bench.toml")]
    process = subprocess.Popen(command, env=dict(environment))
    try:
        end_s = time.monotonic() + START_S
        while True:
            if process.poll() is not None:
                raise NervehandError("the daemon ended before it decoded: its words are above")
            if time.monotonic() > end_s:
                raise NervehandError(f"the daemon does not decode {START_S:g} s after its start")
            status = _status(where)
            if status is not None and status.decode is not None and status.decode.hops > 0:
                break
            time.sleep(0.1)
        yield process, status
    finally:
        process.terminate()
        process.wait()


def _status(where: Path) -> Status | None:
    try:
        return read_status(where / "run" / "nervehand" / f"daemon-{NAME}.json")
    except NervehandError:
        return None


@contextmanager
def _onlooker(first: Status, environment: Mapping[str, str]) -> Iterator[None]:
    """Somebody at the port who takes all samples and views."""
    assert first.port is not None
    code = (
        "import sys\nfrom firmware_bridge.port.entries import own_token\n"
        "from firmware_bridge.port.link import Link\n"
        "link = Link(sys.argv[1], own_token()[0], 'bench', 20.0)\n"
        "link.send({'kind': 'samples', 'stream': link.stream, 'from': None})\nlink.send({'kind': 'views'})\n"
        "while True:\n    link.receive(1.0)\n"
    )
    process = subprocess.Popen([sys.executable, "-c", code, first.port.address], env=dict(environment))
    try:
        yield
    finally:
        process.terminate()
        process.wait()


def _watched(engine: subprocess.Popen[bytes], where: Path, seconds: float) -> dict[str, object]:
    """Latencies since the start, and processors and memory by process from WARM_S on."""
    end_s = time.monotonic() + seconds
    time.sleep(min(WARM_S, seconds / 2))
    began = _status(where)
    assert began is not None
    pids = _pids(engine.pid)
    spent, from_s = {role: cpu_s(pid) or 0.0 for role, pid in pids.items()}, time.monotonic()
    while time.monotonic() < end_s:
        if engine.poll() is not None:
            raise NervehandError("the daemon ended while it was measured: its words are above")
        time.sleep(0.5)
    elapsed_s = time.monotonic() - from_s
    shares = {role: ((cpu_s(pid) or 0.0) - spent[role]) / elapsed_s for role, pid in pids.items()}
    memory = {role: pss_mib(pid) for role, pid in pids.items()}
    status = _status(where)
    assert status is not None
    assert status.decode is not None
    return {
        "latency_us": {
            stage: {
                "p50": row.since_start.p50_us, "p95": row.since_start.p95_us, "p99": row.since_start.p99_us,
                "max": row.since_start.max_us, "count": row.since_start.count,
            }
            for stage, row in status.latency.items()
        },
        "hops": status.decode.hops,
        "late_hops": status.decode.late_hops,
        "restarts": status.decode.restarts,
        "lost_samples": 0 if status.source is None else status.source.lost_samples,
        "recording": None if status.recording is None else status.recording.state,
        "cpu_share": {role: round(share, 4) for role, share in shares.items()},
        "memory_mib": {role: None if mib is None else round(mib, 1) for role, mib in memory.items()},
        "realtime": {} if status.realtime is None else dict(status.realtime.achieved),
        "realtime_warnings": [] if status.realtime is None else list(status.realtime.warnings),
        "stages_of_start": dict(status.stages_of_start),
    }  # fmt: skip


ROLES = {
    "firmware_bridge.guard_process": "guard",
    "decoder.recording.process": "recorder",
    "firmware_bridge.port": "port",
}


def _pids(engine: int) -> dict[str, int]:
    """The engine and its children by what they are."""
    found = {"decode": engine}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            parent = int(path.read_text().rpartition(")")[2].split()[1])
            words = (path.parent / "cmdline").read_text().split("\0")
        except (OSError, ValueError, IndexError):
            continue
        for module, role in ROLES.items():
            if parent == engine and module in words:
                found[role] = int(path.parent.name)
    return found


def run_bench_daemon(hop_ms: float, network: str, seconds: float, *, as_json: bool) -> None:
    """Measure and print."""
    found = measure(hop_ms, network, seconds)
    if as_json:
        print_json(found)
        return
    rows, floor = found["latency_us"], found["floor"]
    assert isinstance(rows, dict)
    assert isinstance(floor, dict)
    print(f"the daemon for {seconds:g} s, {network} network, a hop of {hop_ms:g} ms, µs:")
    print(f"  {'':24}{'p50':>10}{'p95':>10}{'p99':>10}{'max':>10}{'count':>9}")
    for stage, row in rows.items():
        times = "".join(
            f"{row[key]:10.0f}" if row[key] is not None else f"{'-':>10}"
            for key in ("p50", "p95", "p99", "max")
        )
        print(f"  {stage:24}{times}{row['count']:9d}")
    print(
        f"  {'bare timer, lateness':24}{floor['p50_us']:10.0f}{'':10}{floor['p99_us']:10.0f}{floor['max_us']:10.0f}"
        f"{floor['count']:9d}   {floor['class']}"
    )
    counts = ("hops", "late_hops", "restarts", "lost_samples")
    print(", ".join(f"{name.replace('_', ' ')} {found[name]}" for name in counts))
    shares, memory = found["cpu_share"], found["memory_mib"]
    assert isinstance(shares, dict)
    assert isinstance(memory, dict)
    print("one core: " + ", ".join(f"{role} {share:.1%}" for role, share in shares.items()))
    print("PSS, MiB: " + ", ".join(f"{role} {mib}" for role, mib in memory.items()))
    print(f"real time: {found['realtime']}; recording: {found['recording']}")
    for warning in found["realtime_warnings"] if isinstance(found["realtime_warnings"], list) else []:
        print(f"warning: {warning}")
    steal = found["steal_share"]
    print(f"machine: {found['machine']}" + (f", {steal:.1%} stolen" if isinstance(steal, float) else ""))


if __name__ == "__main__":
    if sys.argv[1] == "board":
        board(Path(sys.argv[2]))
    else:
        bare_timer(float(sys.argv[2]), float(sys.argv[3]), int(sys.argv[4]))
