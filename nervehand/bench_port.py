"""What a port costs the loop that decodes: from a sample's arrival to its decision, with and without clients.

One live run after the other, in turn, so that all meet the same machine: without a port, with one and no client, with
one client and with twenty that take all samples and views, with one that never reads, and with a decoder in shadow. The
clients are in a process of their own.

    python -m nervehand.bench_port ADDRESS TOKEN READING DEAF

is that process: so many clients that read, and so many that do not, until its input ends.
"""

from __future__ import annotations

import json
import select
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from decoder.bundle import Bundle, pack, unpack
from decoder.chain import compile_kernels
from decoder.shadow import Decoder
from firmware_bridge.pacing import paced
from firmware_bridge.port import Port, serving
from firmware_bridge.port.entries import own_token
from firmware_bridge.port.link import Link
from firmware_bridge.stream import SignalBlock, StreamInfo
from nervehand.bench import BenchSettings, bench_bundle, bench_network, machine
from nervehand.guarding import in_this_process
from nervehand.live import LiveRun
from nervehand.live_summary import DECIDED
from nervehand.machine import steal_between
from nervehand.output import print_json
from nervehand.running import NoHand
from nervehand.screen import NoScreen

SETTINGS = BenchSettings(channels=16, rate_hz=10_000.0, hop_ms=20.0, network="paper", runs=5)
SECONDS = 8.0
"""Of each live run."""
BLOCK_S = 0.002
WRITES = 5000
CONNECT_S = 20.0


@dataclass(frozen=True, slots=True)
class Case:
    """One way to run."""

    name: str
    is_served: bool = True
    reading: int = 0
    deaf: int = 0
    has_shadow: bool = False


CASES = (
    Case("no port", is_served=False),
    Case("port, no client"),
    Case("port, 1 client", reading=1),
    Case("port, 20 clients", reading=20),
    Case("port, 1 client that never reads", deaf=1),
    Case("a decoder in shadow", is_served=False, has_shadow=True),
)


class Noise:
    """Noise as a front-end would deliver it, made before it starts."""

    def __init__(self, info: StreamInfo, seconds: float) -> None:
        self.info = info
        self._closed = threading.Event()
        self._block_samples = round(BLOCK_S * info.rate_hz)
        self._n_blocks = round(seconds / BLOCK_S)
        shape = (64, self._block_samples, info.n_channels)
        self._noise = np.random.default_rng(1).normal(0, 100, shape).astype(np.int16)

    def connect(self) -> None:
        self._closed.clear()

    def blocks(self) -> Iterator[SignalBlock]:
        made = (
            SignalBlock(self._noise[i % len(self._noise)], i * self._block_samples, scale_uv=0.195)
            for i in range(self._n_blocks)
        )
        return paced(made, self.info.rate_hz, self._closed.wait)

    def close(self) -> None:
        """End the blocks."""
        self._closed.set()


@contextmanager
def clients(port: Port | None, case: Case) -> Iterator[None]:
    """While this lasts, the clients of a case are connected."""
    if port is None or not case.reading + case.deaf:
        yield
        return
    token, _ = own_token()
    words = [
        sys.executable,
        "-m",
        "nervehand.bench_port",
        port.address,
        token,
        str(case.reading),
        str(case.deaf),
    ]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdout.readline()  # they are all connected
        yield
        process.stdin.close()


def run_case(case: Case, bundle: Bundle, info: StreamInfo, seconds: float) -> dict[str, float]:
    """Microseconds from a sample's arrival to its decision, p50, p99 and max, and of processor time per hop."""
    source = Noise(info, seconds)
    with (
        serving(":0", info, {"kind": "bench"}) if case.is_served else nullcontext() as port,
        in_this_process(NoHand(), lambda event: None, lambda sent: None) as guarded,
    ):
        live = LiveRun("bench", source, bundle, guarded.guard, guarded.hand, NoScreen(), port=port)
        if case.has_shadow:
            live.shadows.offer(Decoder(replace(bundle, sha256="another"), info), "bench")
        with clients(port, case):
            began_ns = time.thread_time_ns()
            summary = live.run(threading.Event())
            spent_us = (time.thread_time_ns() - began_ns) / 1e3
    found = {name: value or 0.0 for name, value in summary.latency_us[DECIDED].items()}
    return found | {"processor_per_hop": spent_us / max(1, summary.hops)}


def write_times_us(info: StreamInfo) -> dict[str, float]:
    """Microseconds to put a block of BLOCK_S into the ring that is shared with the server, 20 clients reading."""
    blocks = Noise(info, 0.0)._noise
    with serving(":0", info, {"kind": "bench"}) as port, clients(port, Case("", reading=20)):
        times = []
        for i in range(WRITES):
            block = SignalBlock(
                blocks[i % len(blocks)], i * blocks.shape[1], time.monotonic_ns(), scale_uv=0.195
            )
            began_ns = time.perf_counter_ns()
            port.samples(block)
            times.append((time.perf_counter_ns() - began_ns) / 1e3)
            time.sleep(BLOCK_S / 4)
    return {f"p{p}": round(float(np.percentile(times, p)), 1) for p in (50, 99)}


def measure(
    runs: int, seconds: float = SECONDS, say: Callable[[str], None] = lambda text: None
) -> dict[str, object]:
    """Medians over the runs of each case, µs, and what the ring costs."""
    made, info = bench_bundle(SETTINGS, bench_network(SETTINGS))
    bundle = unpack(pack(made))
    compile_kernels(bundle, info)
    stat = Path("/proc/stat")
    before = stat.read_text() if stat.is_file() else ""
    found: dict[str, list[dict[str, float]]] = {case.name: [] for case in CASES}
    for number in range(1, runs + 1):
        for case in CASES if number % 2 else reversed(CASES):
            say(f"run {number} of {runs}: {case.name}")
            found[case.name].append(run_case(case, bundle, info, seconds))
    rows = {
        name: {key: round(float(np.median([row[key] for row in rows])), 1) for key in rows[0]}
        for name, rows in found.items()
    }
    say("the ring")
    ring = write_times_us(info)
    steal = steal_between(before, stat.read_text()) if before else None
    return {"sample_to_decided_us": rows, "ring_write_us": ring, "steal": steal}


def run_bench_port(runs: int, *, as_json: bool) -> None:
    """Measure and print."""
    from rich.console import Console

    with Console(stderr=True).status("bench") as status:
        found = measure(runs, say=status.update)
    if as_json:
        print_json(found | {"runs": runs, "seconds": SECONDS, "machine": machine()})
        return
    rows, ring = found["sample_to_decided_us"], found["ring_write_us"]
    assert isinstance(rows, dict)
    assert isinstance(ring, dict)
    print(f"a sample's arrival to its decision, µs, medians of {runs} runs of {SECONDS:g} s in turn:")
    print(f"  {'':34}{'p50':>9}{'p99':>9}{'max':>9}   processor time of the loop per hop")
    for name, row in rows.items():
        times = "".join(f"{row[key]:9.0f}" for key in ("p50", "p99", "max"))
        print(f"  {name:34}{times}{row['processor_per_hop']:9.0f}")
    print(f"a block of 2 ms into the shared ring: p50 {ring['p50']} µs, p99 {ring['p99']} µs")
    steal = found["steal"]
    print(f"machine: {machine()}" + (f", {steal:.1%} stolen" if isinstance(steal, float) else ""))


def main(address: str, token: str, reading: int, deaf: int) -> None:
    """Clients, until the input ends."""
    links = [Link(address, token, "bench", CONNECT_S) for _ in range(reading + deaf)]
    for link in links:
        link.send({"kind": "samples", "stream": link.stream, "from": None})
        link.send({"kind": "views"})
    print(json.dumps(len(links)), flush=True)
    by_descriptor = {link.fileno(): link for link in links[:reading]}
    waiting = select.poll()
    waiting.register(sys.stdin, select.POLLIN)
    for descriptor in by_descriptor:
        waiting.register(descriptor, select.POLLIN)
    while True:
        for descriptor, _ in waiting.poll():
            if descriptor not in by_descriptor:
                return
            by_descriptor[descriptor].receive(0.0)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
