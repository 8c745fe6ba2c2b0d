"""A supervisor in a process of its own, around an engine that is a few lines of script; the test listens to it."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PATIENCE_S = 60.0
BEGINNING = """
import os, signal, socket, subprocess, sys, time
from firmware_bridge.notify import Notifier
notifier = Notifier.from_environment()
life = int(os.environ.get("NERVEHAND_RESTARTS", 0))
def say(text): notifier.status(f"{text} pid={os.getpid()}")
"""
"""What each script begins with: `life` is 0 in its first life."""
SUPERVISOR = """
import ast, sys
from nervehand.supervised_process import LifeTimes
from nervehand.supervising import supervise

options, times, command = map(ast.literal_eval, sys.argv[1:])
sys.exit(supervise(command, times=LifeTimes(**times), **options))
"""


@dataclass
class Heard:
    """A supervisor at work, and what it has said so far."""

    process: subprocess.Popen[bytes]
    socket: socket.socket
    log: Path
    messages: list[str] = field(default_factory=list)

    def message(self) -> str:
        """The next one, a line per datagram line."""
        while not self.messages:
            self.messages = self.socket.recv(4096).decode().split("\n")
        return self.messages.pop(0)

    def until(self, text: str) -> list[str]:
        """Everything up to the first message that has `text` in it, which is the last."""
        found = []
        while not found or text not in found[-1]:
            found.append(self.message())
        return found

    def said(self, text: str) -> str:
        """The first message that has `text` in it."""
        return self.until(text)[-1]

    def pid_said(self, text: str) -> int:
        """The number of the process that says so."""
        return int(self.said(text).rpartition("pid=")[2])

    def send(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def end(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Its exit status, once it has been asked to end."""
        self.send(number)
        return self.status()

    def status(self) -> int:
        """Its exit status, once it has ended by itself."""
        return self.process.wait(PATIENCE_S)

    def logged(self) -> str:
        return self.log.read_text()


@contextmanager
def supervised(
    room: Path,
    script: str,
    *,
    stall_s: float = PATIENCE_S,
    start_s: float = PATIENCE_S,
    companions: dict[str, Sequence[str]] | None = None,
    stdin: int = subprocess.DEVNULL,
    before: Callable[[], object] | None = None,
    **times: float,
) -> Iterator[Heard]:
    """A supervisor around an engine that is BEGINNING and `script`; at the end nothing of it is left."""
    (room / "engine.py").write_text(BEGINNING + script)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as ours, (room / "log").open("wb") as log:
        ours.settimeout(PATIENCE_S)
        ours.bind(str(room / "notify"))
        options = {"stall_s": stall_s, "start_s": start_s, "companions": companions or {}}
        arguments = [repr(one) for one in (options, times, [sys.executable, str(room / "engine.py")])]
        process = subprocess.Popen(
            [sys.executable, "-c", SUPERVISOR, *arguments],
            stdin=stdin,
            stderr=log,
            env={
                **os.environ,
                "NOTIFY_SOCKET": str(room / "notify"),
                "XDG_RUNTIME_DIR": str(room),
                "PYTHONPATH": str(ROOT),
            },
            preexec_fn=before,
        )
        heard = Heard(process, ours, room / "log")
        try:
            yield heard
        finally:
            if process.poll() is None:
                process.kill()  # and the engine with it
            process.wait()


def is_there(pid: int) -> bool:
    """Whether a process is alive, not only unreaped."""
    try:
        state = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()[0]
    except OSError:
        return False
    return state not in (b"Z", b"X")


def wait_until(condition: Callable[[], object]) -> None:
    end_s = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < end_s, "it did not come to that"
        time.sleep(0.01)
