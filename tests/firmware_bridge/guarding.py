"""A guard process's insides around a hand in this process, and a patience that a machine that stands still needs."""

from __future__ import annotations

import json
import mmap
import os
import signal
import socket
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from firmware_bridge import guard_sockets
from firmware_bridge.gate import GateEvent, GateState
from firmware_bridge.gate_limits import GateLimits
from firmware_bridge.guard import Sent
from firmware_bridge.guard_memory import Cell, GuardMemory, decode_moved, decode_sent, encode_command
from firmware_bridge.guard_process import MOVED, SENT, GuardProcess, first_line
from firmware_bridge.guard_settings import GuardSettings
from firmware_bridge.guard_status import GuardStatus, decode_status
from firmware_bridge.hand import AppliedCommand, HandCapabilities, HandCommand, HandState, LinkState
from firmware_bridge.hands.virtual_protocol import VIRTUAL_HAND
from firmware_bridge.kinematics import KinematicHand
from firmware_bridge.movement_trace import Moved
from firmware_bridge.plain import from_plain, to_plain
from firmware_bridge.preuse import overridden

NS = 1_000_000_000
PATIENCE_S = 60.0
LONG_S = 4 * PATIENCE_S
PATIENT_LIMITS = GateLimits(
    VIRTUAL_HAND.lower,
    VIRTUAL_HAND.upper,
    VIRTUAL_HAND.max_speed_per_s,
    silence_after_s=LONG_S,
    stale_after_s=LONG_S,
    link_timeout_s=LONG_S,
    astray_after_s=LONG_S,
)
"""Nothing but the heartbeat is ever too old."""


def set_level(value: Path, level: str) -> None:
    """Write it as the board's driver would: whoever reads meanwhile sees the one level or the other, never nothing."""
    descriptor = os.open(value, os.O_WRONLY | os.O_CREAT, 0o600)
    try:
        os.pwrite(descriptor, level.encode(), 0)
    finally:
        os.close(descriptor)


def wait_for(condition: Callable[[], object]) -> None:
    started = time.monotonic()
    while not condition():
        assert time.monotonic() - started < PATIENCE_S, f"not within {PATIENCE_S} s"
        time.sleep(0.002)


def own_guards(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No guard of somebody else's is found, and none of ours by somebody else."""
    for name in ("runtime", "users", "temporary"):
        (path / name).mkdir()
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(path / "runtime"))
    monkeypatch.setattr(guard_sockets, "RUNTIME", str(path / "users"))
    monkeypatch.setattr(guard_sockets, "TEMPORARY", str(path / "temporary"))
    monkeypatch.setattr(tempfile, "tempdir", str(path / "temporary"))


@contextmanager
def signals_to(
    process: GuardProcess, then: Callable[[], object] = lambda: None
) -> Iterator[list[signal.Signals]]:
    """What its main thread would do with SIGUSR1 and SIGUSR2, done by this one; which came."""
    came: list[signal.Signals] = []

    def take(number: int, frame: object) -> None:
        came.append(signal.Signals(number))
        process.signalled(came[-1], os.getpid())
        then()

    before = {number: signal.signal(number, take) for number in (signal.SIGUSR1, signal.SIGUSR2)}
    try:
        yield came
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class WiredHand:
    """The kinematic hand at the end of a wire that the test may cut."""

    capabilities: HandCapabilities = VIRTUAL_HAND

    def __init__(self) -> None:
        self.link = LinkState.DISCONNECTED
        self.sent: list[np.ndarray] = []
        self.is_closed = False
        self._kinematic = KinematicHand(VIRTUAL_HAND, time.monotonic_ns())
        self._lock = threading.Lock()

    @property
    def state(self) -> HandState:
        with self._lock:
            now_ns = time.monotonic_ns()
            self._kinematic.advance(now_ns)
            return HandState(self._kinematic.positions, now_ns, self._kinematic.watchdog_tripped)

    def connect(self, timeout_s: float) -> None:
        self.link = LinkState.CONNECTED

    def send(self, positions: np.ndarray, now_ns: int) -> AppliedCommand:
        with self._lock:
            self._kinematic.command(positions, time.monotonic_ns())
        self.sent.append(positions)
        return AppliedCommand(positions, np.zeros(6, dtype=bool), now_ns)

    def grip(self, name: str, speed: float, now_ns: int) -> None:
        raise AssertionError("no grip was asked for")

    def close(self) -> None:
        self.is_closed = True


class Rig:
    """The guard's process in this one, seen through the memory and the socket that decode would have."""

    def __init__(self, **settings: Any) -> None:
        self.hand = WiredHand()
        self.owner, theirs = socket.socketpair()
        self.owner.settimeout(PATIENCE_S)
        self._memory, self._wake = GuardMemory.make(), os.eventfd(0, os.EFD_NONBLOCK)
        self.memory = GuardMemory(self._memory)
        given = GuardSettings(
            "virtual:here", **({"limits": PATIENT_LIMITS, "release_s": PATIENCE_S} | settings)
        )
        self.process = GuardProcess(given, self.hand, GuardMemory(self._memory), theirs, self._wake)
        self.events: list[GateEvent] = []
        self.sent: list[Sent] = []
        self.moved: list[Moved] = []
        self._written = 0
        self._beating = threading.Event()
        self._beating.set()
        self._ended = threading.Event()
        self._beats = threading.Thread(target=self._beat, daemon=True)

    def __enter__(self) -> Rig:
        self.process.start()
        self.process.connect()
        self.ready = json.loads(first_line(self.owner))
        self._beats.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._beats.join()
        self.process.close()

    @property
    def status(self) -> GuardStatus:
        return decode_status(self.memory.status.read()[1])

    def hear(self) -> list[str]:
        """Take what was told since the last time; the texts of all events so far."""
        for message in self.memory.told.read():
            if message[:1] == SENT:
                self.sent.append(decode_sent(message[1:]))
            elif message[:1] == MOVED:
                self.moved.append(decode_moved(message[1:]))
            else:
                self.events.append(from_plain(GateEvent, json.loads(message[1:])))
        return [event.text for event in self.events]

    def kinds(self) -> list[str]:
        self.hear()
        return [event.kind for event in self.events]

    def beat(self, is_beating: bool) -> None:
        """Let decode's heart beat, or stop it."""
        (self._beating.set if is_beating else self._beating.clear)()

    def write(self, target: float, sample_index: int = 0, life_s: float = LONG_S) -> None:
        now_ns = time.monotonic_ns()
        expires_ns = now_ns + round(life_s * NS)
        command = HandCommand(np.full(6, target, np.float32), sample_index, now_ns, expires_ns)
        self.memory.command.write(encode_command(command))
        self._written += 1

    def wake(self) -> None:
        os.eventfd_write(self._wake, 1)

    def submit(self, target: float, sample_index: int = 0) -> None:
        self.write(target, sample_index)
        self.wake()

    def tear(self) -> None:
        """A command that asks for full extension, of which one byte is not there yet."""
        capacity = GuardMemory.COMMAND_BYTES
        scratch = mmap.mmap(-1, 2 * Cell.size_of(capacity))
        cell = Cell(scratch, 0, capacity)
        for _ in range(self._written + 1):
            cell.write(encode_command(HandCommand(np.full(6, -1, np.float32), 99, 0, 2**62)))
        at = (self._written + 1) % 2 * Cell.size_of(capacity)
        torn = bytearray(scratch[at : at + Cell.size_of(capacity)])
        torn[40] ^= 1
        mmap.mmap(self._memory, GuardMemory.size())[at : at + len(torn)] = bytes(torn)
        self.wake()

    def ask(self, request: str, who: str = "Ann", **more: object) -> dict[str, Any]:
        """The answer to a request of the owner's."""
        self.owner.sendall(json.dumps({"request": request, "who": who} | more).encode() + b"\n")
        answer: dict[str, Any] = json.loads(first_line(self.owner))
        return answer

    def arm(self) -> dict[str, Any]:
        return self.ask("arm", report=to_plain(overridden("Ann", time.monotonic_ns())))

    def follow(self, target: float) -> Rig:
        """Armed, past rest, and where the target is."""
        assert self.arm()["ok"]
        self.submit_until(0.0, lambda: self.status.state is GateState.ARMED)
        self.submit_until(target, lambda: abs(float(self.status.positions[0]) - target) < 1e-3, 7)
        return self

    def submit_until(self, target: float, condition: Callable[[], bool], sample_index: int = 0) -> None:
        """Again and again: on a machine that stands still the heart of this test may miss some beats."""

        def is_there() -> bool:
            self.submit(target, sample_index)
            return condition()

        wait_for(is_there)

    def _beat(self) -> None:
        while not self._ended.wait(0.005):
            if self._beating.is_set():
                self.memory.beat(time.monotonic_ns())
