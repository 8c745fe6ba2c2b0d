"""What a person sees while a decoder runs: a picture made from a snapshot, drawn in a process of its own.

The decode loop only ever hands over a snapshot, without waiting; a slow terminal loses snapshots, never hops.
"""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Protocol

import numpy as np

MAX_SNAPSHOT_BYTES = 1 << 16
ENDING_S = 5.0
"""How long the drawing process may take to draw what it has and end."""
MOST_CHANNELS = 16
"""What fits beside the other panels; a snapshot holds no more, so that many channels cost the decoder nothing."""
NOT_MEASURED = "not measured"
_SPARKS = " ▁▂▃▄▅▆▇█"


@dataclass(frozen=True, slots=True)
class StageLatency:
    """One row of the latency table, in microseconds; None before the first hop."""

    stage: str
    p50_us: float | None
    p95_us: float | None
    p99_us: float | None


@dataclass(frozen=True, slots=True)
class Snapshot:
    """All that the screen shows at one moment.

    `channels` are the first MOST_CHANNELS of `n_channels`. Per channel: `levels_uv`, the r.m.s. (of an envelope, the
    mean) over the last snapshot interval; `history_uv`, with the ones before, oldest first; `masked`, why, or "".
    `artefacts` counts those blanked so far. `wanted` and
    `shown` are six positions each, the decoder's and the hand's, NaN where it measures none. `notice` is what a person
    should hear of now.
    """

    title: str
    level_title: str
    side: str
    elapsed_s: float
    channels: list[str]
    n_channels: int
    levels_uv: list[float]
    history_uv: list[list[float]]
    masked: list[str]
    wanted: list[float]
    shown: list[float]
    gesture: str
    probability: float
    cue: str
    warming: bool
    gate: str
    link: str
    hops: int
    commands_applied: int
    commands_dropped: int
    latency: list[StageLatency]
    notice: str = ""
    artefacts: int = 0


class Screen(Protocol):
    """Takes snapshots; never makes the caller wait."""

    def show(self, snapshot: Snapshot) -> None: ...


class NoScreen:
    """For `--headless`: shows nothing."""

    def show(self, snapshot: Snapshot) -> None:
        """Nothing to show."""


class ProcessScreen:
    """Sends snapshots to the drawing process; one that does not fit or is not taken in time is dropped."""

    def __init__(self, to_process: socket.socket) -> None:
        self._socket = to_process

    def show(self, snapshot: Snapshot) -> None:
        message = json.dumps(asdict(snapshot)).encode()
        if len(message) > MAX_SNAPSHOT_BYTES:
            return  # the drawing process would read a part of it
        try:
            self._socket.send(message, socket.MSG_DONTWAIT)
        except OSError:
            return  # latest-wins: the next snapshot says more; a screen that stalls or died stops nothing


@contextmanager
def process_screen() -> Iterator[Screen]:
    """A screen in its own process, until the block is left."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, MAX_SNAPSHOT_BYTES)
    command = [sys.executable, "-m", "nervehand.screen", str(theirs.fileno())]
    with ours, subprocess.Popen(command, pass_fds=[theirs.fileno()]) as process:
        theirs.close()
        try:
            yield ProcessScreen(ours)
        finally:
            ours.close()
            try:
                process.wait(timeout=ENDING_S)
            except subprocess.TimeoutExpired:  # a terminal that was paused takes no more
                process.kill()


def main(descriptor: int) -> None:
    """Draw each snapshot that arrives, until the other end closes."""
    from rich.live import Live

    from nervehand.panels import screen_of

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the decode process answers Ctrl-C; this one ends with it
    with socket.socket(fileno=descriptor) as from_decoder, Live(auto_refresh=False, screen=False) as live:
        while message := from_decoder.recv(MAX_SNAPSHOT_BYTES):
            fields = json.loads(message)
            fields["latency"] = [StageLatency(**row) for row in fields["latency"]]
            live.update(screen_of(Snapshot(**fields), live.console.width), refresh=True)


def sparkline(history: list[float], ceiling: float) -> str:
    """One character per value, 0 to `ceiling`."""
    steps = np.clip(np.array(history) / max(ceiling, 1e-9) * (len(_SPARKS) - 1), 0, len(_SPARKS) - 1)
    return "".join(_SPARKS[int(step)] for step in steps)


def bar(position: float, width: int = 21) -> str:
    """A position in -1..1 as a bar that grows from the middle."""
    middle = width // 2
    reach = round(min(max(position, -1.0), 1.0) * middle) if np.isfinite(position) else 0
    low, high = min(middle, middle + reach), max(middle, middle + reach)
    return "".join("█" if low <= i <= high and reach else "│" if i == middle else "·" for i in range(width))


if __name__ == "__main__":
    main(int(sys.argv[1]))
