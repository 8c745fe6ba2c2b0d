"""A daemon as it is worn, in real time: its own processes, an emulated board, an emulated hand, and what they say."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import struct
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from firmware_bridge.emulators.hands.device import Traced, read_trace
from firmware_bridge.emulators.serial import SerialEmulator
from firmware_bridge.errors import NervehandError
from firmware_bridge.gate import GateState
from firmware_bridge.guard_requests import ask
from firmware_bridge.hands.virtual_process import VirtualHandProcess, virtual_hand_process
from firmware_bridge.plain import to_plain
from firmware_bridge.preuse import overridden
from firmware_bridge.stream import SignalBlock
from nervehand.status import Status, read_status
from tests.chaos.simulated_run import REACH, SPEED
from tests.chaos.simulated_run import signal as played

NAME = "chaos"
WALL = "wall"
"""By how many seconds the wall clock of its processes was set (wall_clock.c)."""
ROOT = Path(__file__).resolve().parents[2]
BLOCK = 100
DISK_MIB = 600
STALL_LIMIT_S = 20.0
"""Of the engine's silence, which the supervisor then ends."""
CONFIG = """
name = "chaos"
[source]
address = "{source}"
[hand]
address = "virtual:{hand}"
transport = "{transport}"
[hand.limits]
lower = {lower}
upper = {upper}
max_speed_per_s = {speed}
[arming]
as = "Ann"
override_check = "Ann"
[realtime]
policy = "off"
[recording]
folder = "{recordings}"
rotate_s = 60.0
rotate_mib = 8
budget_mib = 450
reserve_mib = 8
[port]
listen = "127.0.0.1:{port}"
[metrics]
listen = "127.0.0.1:{metrics}"
[watchdog]
stall_s = {stall}
"""
PATIENCE_S = 90.0


def board_blocks() -> Iterator[SignalBlock]:
    """Samples with rest and movements in them, for ever."""
    samples, _, scale_uv = played()
    first = 0
    while True:
        rows = (first + np.arange(BLOCK)) % len(samples)
        yield SignalBlock(samples[rows], first, scale_uv=scale_uv)
        first += BLOCK


def free_port() -> int:
    import socket

    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


@dataclass
class Disk:
    """A disk of its own in a namespace of its own: `holder` keeps it, `path` is how others see it."""

    holder: subprocess.Popen[bytes] | None
    path: Path
    inside: Path

    def command(self, *words: str) -> list[str]:
        """`words`, run where that disk is."""
        if self.holder is None:
            return list(words)
        where = [
            "nsenter",
            "-t",
            str(self.holder.pid),
            "-U",
            "-m",
            "--preserve-credentials",
            "--wd=" + str(ROOT),
        ]
        return [*where, *words]

    @property
    def can_be_full(self) -> bool:
        return self.holder is not None


@contextmanager
def small_disk(folder: Path) -> Iterator[Disk]:
    """A tmpfs where the machine allows one to an ordinary user, else a folder."""
    inside = folder / "recordings"
    inside.mkdir()
    holder = None
    if shutil.which("unshare") and shutil.which("nsenter"):
        mount = f"mount -t tmpfs -o size={DISK_MIB}m,mode=700 chaos '{inside}' && echo there && exec sleep infinity"
        holder = subprocess.Popen(
            ["unshare", "-U", "-r", "-m", "sh", "-c", mount], stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )  # fmt: skip
        assert holder.stdout is not None
        if not holder.stdout.readline():
            holder.wait()
            holder = None
    path = inside if holder is None else Path(f"/proc/{holder.pid}/root{inside}")
    try:
        yield Disk(holder, path, inside)
    finally:
        if holder is not None:
            holder.kill()
            holder.wait()


def descendants(pid: int) -> dict[int, str]:
    """The processes below one, by their number, with their command lines."""
    parents: dict[int, int] = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            state, parent = path.read_text().rpartition(")")[2].split()[:2]
            if state not in "ZX":
                parents[int(path.parent.name)] = int(parent)
    found: dict[int, str] = {}
    layer = {pid}
    while layer:
        layer = {one for one, parent in parents.items() if parent in layer}
        for one in layer:
            with contextlib.suppress(OSError):
                found[one] = Path(f"/proc/{one}/cmdline").read_text().replace("\0", " ")
    return found


ROLES = {
    "guard": "firmware_bridge.guard_process",
    "recorder": "decoder.recording.process",
    "port": "-m firmware_bridge.port ",
    "metrics": "nervehand.metrics",
}


@dataclass
class RealDaemon:
    """It, and the test's hands on all that surrounds it."""

    folder: Path
    process: subprocess.Popen[str]
    board: SerialEmulator
    hand: VirtualHandProcess
    disk: Disk
    port: int
    metrics: int
    text: str
    """Its configuration as it was at first."""
    wall_s: float = 0.0
    at_end: Callable[[], None] = lambda: None
    """Called once it has ended in order, while its disk is still there."""

    can_step_wall: bool = False

    @property
    def config(self) -> Path:
        return self.folder / "nervehand.toml"

    def status(self) -> Status:
        return read_status(self.folder / "run" / "nervehand" / f"daemon-{NAME}.json")

    def until(self, is_so: Callable[[Status], object], what: str, within_s: float = PATIENCE_S) -> Status:
        end_s = time.monotonic() + within_s
        status: Status | None = None
        while True:
            with contextlib.suppress(NervehandError):
                status = self.status()
                if is_so(status):
                    return status
            assert self.process.poll() is None, f"the daemon has ended while it was waited for: {what}"
            assert time.monotonic() < end_s, f"not within {within_s} s: {what}\n{status}"
            time.sleep(0.05)

    def pid(self, role: str) -> int:
        """Of the engine ("decode"), or of one of its helpers."""
        if role == "decode":
            return self.status().process.pid
        end_s = time.monotonic() + PATIENCE_S
        while True:
            found = [one for one, words in descendants(self.process.pid).items() if ROLES[role] in words]
            if found:
                return found[0]
            assert time.monotonic() < end_s, f"there is no {role}"
            time.sleep(0.05)

    def step_wall(self, seconds: float) -> None:
        self.wall_s += seconds
        with (self.folder / WALL).open("r+b") as file:
            file.write(struct.pack("d", self.wall_s))

    def decodes(self, within_s: float = PATIENCE_S) -> float:
        """Seconds until it decides again, warmed up, from now on."""
        begin_s = time.monotonic()
        first: list[tuple[int, int]] = []

        def more(status: Status) -> bool:
            decode = status.decode
            if decode is None or decode.is_warming or status.written_monotonic_s < begin_s:
                return False
            first.append((status.process.pid, decode.hops))
            return any(pid == status.process.pid and decode.hops > hops + 5 for pid, hops in first)

        self.until(more, "it decodes again", within_s)
        return time.monotonic() - begin_s

    def follows(self, within_s: float = PATIENCE_S) -> float:
        """Seconds until the hand follows, from now on; armed again by somebody where that is needed."""
        begin_s = time.monotonic()
        while True:
            with contextlib.suppress(NervehandError):
                answer = ask(NAME, "status", "Ann", 2.0)
                status = answer["status"]
                assert isinstance(status, dict)
                state, link = status["state"], status["link"]
                if state == GateState.ARMED.value and link == "connected":
                    return time.monotonic() - begin_s
                if state in ("disarmed", "released", "faulted") and link == "connected":
                    report = overridden("Ann", time.monotonic_ns())
                    ask(NAME, "arm", "Ann", 2.0, report=to_plain(report))
            assert time.monotonic() < begin_s + within_s, f"the hand does not follow within {within_s} s"
            time.sleep(0.05)

    def reload(self, text: str) -> Status:
        """Have the configuration read again with that text; the status that tells the outcome."""
        before = self.status().config
        assert before is not None
        self.config.write_text(text)
        self.process.send_signal(signal.SIGUSR1)
        return self.until(
            lambda s: s.config is not None and s.config.generation > before.generation, "it is read again", 15.0
        )  # fmt: skip

    def metrics_text(self) -> str:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.metrics}/metrics", timeout=3.0) as said:
            text: str = said.read().decode()
            return text

    def log(self) -> str:
        return (self.folder / "log").read_text()

    def trace(self) -> list[Traced]:
        with (self.folder / "trace.jsonl").open() as file:
            return read_trace([line for line in file if line.endswith("\n")])  # type: ignore[arg-type]


def compiled_wall_clock(folder: Path) -> Path | None:
    """What steps the time of day of a process that it is loaded into; None where nothing compiles C here."""
    compiler = shutil.which("cc")
    if compiler is None:
        return None
    made = folder / "wall_clock.so"
    source = Path(__file__).with_name("wall_clock.c")
    subprocess.run([compiler, "-O2", "-shared", "-fPIC", "-o", made, source, "-ldl", "-lm"], check=True)
    return made


@contextmanager
def environment(values: dict[str, str]) -> Iterator[None]:
    """This process looks where the daemon does."""
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


@contextmanager
def real_daemon(folder: Path) -> Iterator[RealDaemon]:
    """Decoding and following; ended in order, and nothing of it is left. What it said is in `folder`."""
    runtime = folder / "run"
    (runtime / "nervehand").mkdir(parents=True, mode=0o700)
    runtime.chmod(0o700)
    (folder / WALL).write_bytes(struct.pack("d", 0.0))
    own = {"XDG_RUNTIME_DIR": str(runtime), "XDG_CONFIG_HOME": str(folder / "config")}
    wall = compiled_wall_clock(folder)
    preloaded = {"LD_PRELOAD": str(wall), "NERVEHAND_WALL_STEP": str(folder / WALL)} if wall else {}
    tapped = preloaded | {
        "NERVEHAND_CHAOS": str(folder),
        "PYTHONPATH": f"{ROOT / 'tests' / 'chaos' / 'site'}:{ROOT}",
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    _, info, _ = played()
    arguments = ["--radio", "interval=0.015", "--trace", str(folder / "trace.jsonl")]
    with (
        environment(own),
        small_disk(folder) as disk,
        SerialEmulator(info, board_blocks(), folder / "board", 1.0) as board,
        virtual_hand_process(arguments=arguments) as hand,
        (folder / "log").open("a") as log,
    ):
        daemon_ports = free_port(), free_port()
        text = CONFIG.format(
            source=f"serial:{folder / 'board'}", hand=hand.address,
            transport=hand.transport, lower=REACH[0], upper=REACH[1], speed=SPEED, recordings=disk.inside,
            port=daemon_ports[0], metrics=daemon_ports[1], stall=STALL_LIMIT_S,
        )  # fmt: skip
        (folder / "nervehand.toml").write_text(text)
        process = subprocess.Popen(
            disk.command(sys.executable, "-m", "nervehand", "run", "--config", str(folder / "nervehand.toml")),
            stdin=subprocess.DEVNULL, stdout=log, stderr=log, text=True, env={**os.environ, **tapped}, cwd=ROOT,
        )  # fmt: skip
        daemon = RealDaemon(
            folder, process, board, hand, disk, *daemon_ports, text, can_step_wall=wall is not None
        )
        try:
            daemon.decodes(120.0)
            daemon.follows()
            yield daemon
            daemon.follows()
            ask(NAME, "release", "Ann")
            time.sleep(2.5)  # what the oracle sees of the rest
            process.send_signal(signal.SIGTERM)
            status = process.wait(PATIENCE_S)
            assert status == 0, status
            _await_end_of(daemon)
            daemon.at_end()
        finally:
            _end(process)


def _end(process: subprocess.Popen[str]) -> None:
    """Where something went wrong: all that was started for it ends, by its number."""
    below = descendants(process.pid)
    if process.poll() is None:
        for pid in (process.pid, *below):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)
        process.terminate()
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
    for pid, words in below.items():
        with contextlib.suppress(OSError):
            if Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " ") == words:
                os.kill(pid, signal.SIGKILL)


def ours(folder: Path) -> list[str]:
    """The processes that have this folder in their environment: all that a daemon in it has ever started."""
    mark = f"NERVEHAND_CHAOS={folder}".encode()
    found = []
    for path in Path("/proc").glob("[0-9]*/environ"):
        with contextlib.suppress(OSError):
            if mark in path.read_bytes().split(b"\0"):
                found.append(path.with_name("cmdline").read_text().replace("\0", " "))
    return found


def _await_end_of(daemon: RealDaemon) -> None:
    """Nothing is left of its processes; what a full disk kept from being settled is, as the next start would."""
    end_s = time.monotonic() + PATIENCE_S
    while left := ours(daemon.folder):
        assert time.monotonic() < end_s, f"left: {left}"
        time.sleep(0.1)
    tails = [str(path.with_suffix("")) for path in daemon.disk.path.glob("*.tail")]
    if tails:
        subprocess.run([sys.executable, "-m", "decoder.session.settle", *tails], check=True, cwd=ROOT)
    assert not list(daemon.disk.path.glob("*.tail")), tails


UNHANDLED = re.compile(r"Traceback|Exception|Fatal Python error|core dumped|Segmentation|BrokenPipe|Error:")


def unhandled(log: str) -> list[str]:
    """The lines that tell of an exception that nobody has answered."""
    return [line for line in log.splitlines() if UNHANDLED.search(line)]
