"""Any emulated hand on a serial line: a pseudo-terminal that is as fast, as bad and as pluggable as a real one."""

from __future__ import annotations

import contextlib
import heapq
import os
import queue
import select
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np

from firmware_bridge.emulators._pty import PtyPort
from firmware_bridge.emulators.hands.device import HandDevice
from firmware_bridge.emulators.worker import Worker
from firmware_bridge.errors import NervehandError

NS = 1_000_000_000
BITS_PER_BYTE = 10
"""On the wire, 8N1: a start bit, eight, a stop bit."""

STEP_S = 0.005
"""The hand is moved on at least this often."""

FIFO = 65536
"""Bytes that wait for a host that does not read; older ones are lost."""

_GULP = 4096
_TO_HAND, _TO_HOST = 0, 1


@dataclass(frozen=True, slots=True)
class LineFaults:
    """What a bad line does to each piece of bytes that passes, in shares of 0 to 1.

    `garbage` of the pieces have random bytes put before them, `lost` of them lose bytes, and each bit of every piece is
    wrong with probability `bit_errors`.
    """

    garbage: float = 0.0
    lost: float = 0.0
    bit_errors: float = 0.0

    def __post_init__(self) -> None:
        for name in self.__slots__:
            if not 0 <= getattr(self, name) <= 1:
                raise NervehandError(f"line faults: {name} is {getattr(self, name)}: give a share in 0..1")


class BadLine:
    """Seeded faults on both ways of a line; `n_hit` pieces of `n_pieces` were changed. It is good while `is_good`."""

    def __init__(self, faults: LineFaults, seed: int) -> None:
        self.n_pieces = self.n_hit = 0
        self.is_good = False
        self._faults = faults
        self._random = np.random.default_rng(seed)

    def __call__(self, data: bytes) -> bytes:
        self.n_pieces += 1
        if self.is_good:
            return data
        out, random, faults = bytearray(data), self._random, self._faults
        has_garbage, has_loss = random.random(2) < (faults.garbage, faults.lost)
        if has_loss:
            at = int(random.integers(len(out)))
            del out[at : at + int(random.integers(1, 9))]
        if faults.bit_errors:
            for bit in np.flatnonzero(random.random(8 * len(out)) < faults.bit_errors).tolist():
                out[bit // 8] ^= 1 << bit % 8
        if has_garbage:
            out[:0] = random.bytes(int(random.integers(1, 40)))
        self.n_hit += out != data
        return bytes(out)


class PtyHand:
    """Serves a hand on a pseudo-terminal while the context lasts; `port` is the path, a link made at `link`.

    The path stays the same when the hand is unplugged and plugged in again. With `baud`, bytes take their time on the
    wire, both ways at once: a frame arrives when its last bit does. `line` stands between the hand and the port.

    Everything happens in one thread, of `worker`; the methods return when it has done what they ask. An error in that
    thread is raised when the context ends. `n_received` and `n_sent` count bytes at the hand.
    """

    def __init__(
        self, device: HandDevice, link: Path, baud: int | None = None, line: BadLine | None = None
    ) -> None:
        if baud is not None and baud <= 0:
            raise NervehandError(
                f"baud is {baud}: give a rate above 0, or None for a wire that takes no time"
            )
        self.n_received = self.n_sent = 0
        self._device, self._pty, self._baud, self._line = device, PtyPort(link), baud, line
        self._orders: queue.SimpleQueue[tuple[Callable[[], None], _Outcome]] = queue.SimpleQueue()
        self._wake_r, self._wake_w = os.pipe()
        self._is_running = True
        self._stepped_ns = 0
        self._free_ns = [0, 0]
        self._under_way: list[tuple[int, int, int, bytes]] = []
        self._n_pieces = 0
        self._unwritten = b""
        self._is_heard = False
        self.worker = Worker(self._run)

    @property
    def port(self) -> str:
        return str(self._pty.link)

    def __enter__(self) -> Self:
        self._pty.plug()
        self.worker.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._is_running = False
        os.write(self._wake_w, b"x")
        self.worker.join()
        self._unplug()
        os.close(self._wake_r)
        os.close(self._wake_w)
        self.worker.raise_error(error)

    def unplug(self) -> None:
        """The port vanishes, with all that was on its way; the hand goes on without it."""
        self._do(self._unplug)

    def plug(self) -> None:
        """The port is there again."""
        self._do(self._pty.plug)

    def obey(self, order: str) -> None:
        """Order a fault of the hand, see `HandDevice.obey`."""
        self._do(lambda: self._device.obey(order, time.monotonic_ns()))

    # What follows runs in the worker's thread.

    def _do(self, what: Callable[[], None]) -> None:
        outcome = _Outcome()
        self._orders.put((what, outcome))
        os.write(self._wake_w, b"x")
        while not outcome.done.wait(0.05):
            if not self.worker.is_alive:
                raise NervehandError("the emulated hand has ended: nothing can be ordered any more")
        if outcome.error is not None:
            raise outcome.error

    def _run(self) -> None:
        while self._is_running:
            self._wait()
            self._take_orders()
            now_ns = time.monotonic_ns()
            while self._under_way and self._under_way[0][0] <= now_ns:
                due_ns, _, way, data = heapq.heappop(self._under_way)
                if way == _TO_HAND:
                    self.n_received += len(data)
                    self._send(self._device.receive(data, time.monotonic_ns()), due_ns)
                else:
                    self.n_sent += len(data)
                    self._unwritten = (self._unwritten + data)[-FIFO:]
            if now_ns - self._stepped_ns >= STEP_S * NS:
                self._stepped_ns = now_ns
                self._send(self._device.advance(time.monotonic_ns()), now_ns)
            self._write()

    def _wait(self) -> None:
        """Until bytes, an order, a piece that is due or the next step comes."""
        due_ns = self._stepped_ns + round(STEP_S * NS)
        if self._under_way:
            due_ns = min(due_ns, self._under_way[0][0])
        due_s = max(0.0, (due_ns - time.monotonic_ns()) / NS)
        ports = [self._wake_r, self._pty.master] if self._pty.is_plugged else [self._wake_r]
        full = [self._pty.master] if self._unwritten and self._pty.is_plugged else []
        readable, _, _ = select.select(ports, full, [], due_s)
        if self._wake_r in readable:
            os.read(self._wake_r, _GULP)
        if self._pty.master in readable:
            data = os.read(self._pty.master, _GULP)
            if not self._is_heard:
                self._is_heard = True
                self._device.connected(True, time.monotonic_ns())
            self._put(_TO_HAND, data, time.monotonic_ns())

    def _take_orders(self) -> None:
        while not self._orders.empty():
            what, outcome = self._orders.get()
            try:
                what()
            except NervehandError as error:
                outcome.error = error
            outcome.done.set()

    def _send(self, frames: list[bytes], now_ns: int) -> None:
        for frame in frames:
            self._put(_TO_HOST, frame, now_ns)

    def _put(self, way: int, data: bytes, now_ns: int) -> None:
        """On the wire behind what is there already; due when its last bit has passed."""
        if self._line is not None:
            data = self._line(data)
        if not data or not self._pty.is_plugged:
            return
        took_ns = 0 if self._baud is None else len(data) * BITS_PER_BYTE * NS // self._baud
        due_ns = self._free_ns[way] = max(self._free_ns[way], now_ns) + took_ns
        self._n_pieces += 1
        heapq.heappush(self._under_way, (due_ns, self._n_pieces, way, data))

    def _write(self) -> None:
        if self._unwritten and self._pty.is_plugged:
            with contextlib.suppress(BlockingIOError):
                n = os.write(self._pty.master, self._unwritten)
                self._unwritten = self._unwritten[n:]

    def _unplug(self) -> None:
        if not self._pty.is_plugged:
            return
        self._pty.unplug()
        self._under_way.clear()
        self._unwritten = b""
        if self._is_heard:
            self._is_heard = False
            self._device.connected(False, time.monotonic_ns())


class _Outcome:
    def __init__(self) -> None:
        self.done = threading.Event()
        self.error: NervehandError | None = None
