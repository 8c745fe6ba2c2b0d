"""What TLS costs a port: the same samples served in plain text and with TLS, in turn, to no, one and five clients.

    python -m nervehand.bench_port_tls [RUNS [SECONDS]]

prints, of 16 channels at 10 kHz in blocks of 2 ms (float32): how long a link takes to be made, how fast a client makes
up for what it lacks, the server's processor time, and what a block costs the owner.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from firmware_bridge.port import Port, own_tls_files, serving
from firmware_bridge.port.entries import token_for
from firmware_bridge.port.link import Link
from firmware_bridge.stream import SignalBlock, StreamInfo
from nervehand.bench import machine
from nervehand.machine import steal_between

INFO = StreamInfo(10_000.0, tuple(f"ch{i}" for i in range(16)), "nerve")
BLOCK_SAMPLES = 20
LINKS = 100
MADE_UP_S = 20.0
"""Of samples, which a client then takes as fast as they go."""
CONNECT_S = 20.0
CLIENTS = (0, 1, 5)


@contextmanager
def served(*, is_secret: bool) -> Iterator[Port]:
    """A port on the loopback, once it is there."""
    with serving(":0", INFO, {"kind": "bench"}, tls=own_tls_files() if is_secret else None) as port:
        Link(port.address, token_for(port.address), "bench", CONNECT_S).close()
        yield port


def link_times_ms(port: Port) -> list[float]:
    """How long each of LINKS links takes until what is served is known."""
    token, times = token_for(port.address), []
    for _ in range(LINKS):
        began_s = time.perf_counter()
        link = Link(port.address, token, "bench", CONNECT_S)
        times.append((time.perf_counter() - began_s) * 1e3)
        link.close()
    return times


def made_up_mb_per_s(port: Port, noise: np.ndarray) -> float:
    """How fast one client takes MADE_UP_S of samples that are there already."""
    n = round(MADE_UP_S * INFO.rate_hz / BLOCK_SAMPLES)
    for i in range(n):
        port.samples(SignalBlock(noise[i % len(noise)], i * BLOCK_SAMPLES, time.monotonic_ns()))
    with contextlib.closing(Link(port.address, token_for(port.address), "bench", CONNECT_S)) as link:
        began_s, taken, wanted = time.perf_counter(), 0, n * noise[0].nbytes
        link.send({"kind": "samples", "stream": link.stream, "from": 0})
        while taken < wanted:
            taken += sum(len(frame.payload) for frame in link.receive(0.1))
        return taken / 1e6 / (time.perf_counter() - began_s)


@contextmanager
def reading(port: Port, n_clients: int) -> Iterator[None]:
    """While this lasts, so many clients of another process take all samples."""
    if not n_clients:
        yield
        return
    words = [
        sys.executable,
        "-m",
        "nervehand.bench_port",
        port.address,
        token_for(port.address),
        str(n_clients),
        "0",
    ]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdout.readline()  # they are all connected
        yield
        process.stdin.close()


def processor_s(pid: int) -> float:
    """Processor time of a process so far."""
    words = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")


def own_mib(pid: int) -> float:
    """Memory that a process shares with no other, without the ring."""
    return int(Path(f"/proc/{pid}/status").read_text().split("RssAnon:")[1].split()[0]) / 1024


def paced_case(n_clients: int, noise: np.ndarray, seconds: float, *, is_secret: bool) -> dict[str, float]:
    """Blocks in real time: what each costs the owner (µs), and the server's share of a processor (%)."""
    with served(is_secret=is_secret) as port, reading(port, n_clients):
        times, first = [], 0
        began_s, spent_s = time.monotonic(), processor_s(port.server_pid)
        for i in range(round(seconds * INFO.rate_hz / BLOCK_SAMPLES)):
            wait_s = began_s + first / INFO.rate_hz - time.monotonic()
            if wait_s > 0:
                time.sleep(wait_s)
            block = SignalBlock(noise[i % len(noise)], first, time.monotonic_ns())
            called_ns = time.perf_counter_ns()
            port.samples(block)
            times.append((time.perf_counter_ns() - called_ns) / 1e3)
            first += BLOCK_SAMPLES
        share = (processor_s(port.server_pid) - spent_s) / (time.monotonic() - began_s)
        p50, p99 = np.percentile(times, (50, 99))
        return {"p50": float(p50), "p99": float(p99), "share": 100 * share, "mib": own_mib(port.server_pid)}


def main(runs: int = 3, seconds: float = 8.0) -> None:
    """Measure and print."""
    shape = (64, BLOCK_SAMPLES, INFO.n_channels)
    noise = np.random.default_rng(1).normal(0, 20, shape).astype(np.float32)
    names = {False: "plain", True: "TLS"}
    before = Path("/proc/stat").read_text()
    links: dict[bool, list[float]] = {False: [], True: []}
    rates: dict[bool, list[float]] = {False: [], True: []}
    cases: dict[tuple[int, bool], list[dict[str, float]]] = {}
    for _ in range(runs):
        for is_secret in (False, True):
            with served(is_secret=is_secret) as port:
                links[is_secret] += link_times_ms(port)
                rates[is_secret].append(made_up_mb_per_s(port, noise))
        for n_clients in CLIENTS:
            for is_secret in (False, True):
                found = paced_case(n_clients, noise, seconds, is_secret=is_secret)
                cases.setdefault((n_clients, is_secret), []).append(found)
    print(f"medians of {runs} runs in turn, {seconds:g} s each")
    for is_secret, name in names.items():
        p50, p99 = np.percentile(links[is_secret], (50, 99))
        print(f"  {name:5} link made: p50 {p50:.2f} ms, p99 {p99:.2f} ms", end="; ")
        print(f"made up for at {np.median(rates[is_secret]):.0f} MB/s")
    print("  clients        block, owner: p50 µs   p99 µs   server: % of a core   own memory, MiB")
    for (n_clients, is_secret), rows in cases.items():
        p50, p99, share, mib = (
            float(np.median([row[k] for row in rows])) for k in ("p50", "p99", "share", "mib")
        )
        print(f"  {n_clients} {names[is_secret]:22}{p50:10.1f}{p99:9.1f}{share:21.1f}{mib:18.1f}")
    print(f"machine: {machine()}, {steal_between(before, Path('/proc/stat').read_text()):.1%} stolen")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        os.environ |= {"XDG_CONFIG_HOME": folder, "XDG_RUNTIME_DIR": folder}
        main(*(kind(word) for kind, word in zip((int, float), sys.argv[1:], strict=False)))
