"""Intan RHX's two TCP ports on this machine, with any blocks behind them: for tests, and for work without RHX.

It keeps RHX's habits: answers that nothing ends, one client for each time that a port is told to listen, timestamps
that begin at 0 with each run, samples thrown away while nobody listens (where paced), several blocks in one write.
"""

from __future__ import annotations

import contextlib
import select
import socket
import threading
from collections import deque
from collections.abc import Iterable, Iterator
from types import TracebackType

import numpy as np
from numpy.typing import NDArray

from firmware_bridge.emulators._feed import Pace, recut
from firmware_bridge.emulators._port import HOST, Port
from firmware_bridge.emulators._rhx import RhxState, rate_text
from firmware_bridge.emulators.worker import Worker
from firmware_bridge.errors import NervehandError
from firmware_bridge.sources._intan_protocol import (
    COUNTER_BITS,
    DIGITAL_IN,
    FRAMES_PER_BLOCK,
    SCALE_UV,
    STIMULATION_LINE,
    encode_block,
)
from firmware_bridge.stream import SignalBlock, StreamInfo

_TICK_S = 0.02


class IntanEmulator:
    """A context manager: RHX with the channels of `info`, named A-000 on, that sends `blocks`.

    Not paced, it sends as fast as its client takes, and waits while there is none; paced, it keeps the rate of `info`
    and throws away what nobody takes. Blocks that do not hold counts of 0.195 microvolts are rounded to them, and all
    are cut anew into 128 samples. A gap in their `first_sample` is one in the timestamps.

    `outputs` are the enabled ones as RHX's commands name them ("A-000|", "A-000|stim", "DIGITAL-IN-01|"), by default
    the wideband ones of all channels. `is_relistening` False, as RHX is: the command port takes one client, then
    none until `press_connect`; True: as if somebody pressed it at once. An error in its `worker` is raised when the
    context ends.
    """

    def __init__(
        self,
        info: StreamInfo,
        blocks: Iterable[SignalBlock],
        is_paced: bool = False,
        outputs: Iterable[str] | None = None,
        kind: str = "ControllerRecordUSB3",
        first_timestamp: int = 0,
        is_relistening: bool = True,
    ) -> None:
        if info.n_channels > 128:
            raise NervehandError(f"{info.n_channels} channels: one port of RHX has 128 at most")
        self.amplifiers = tuple(f"A-{i:03d}" for i in range(info.n_channels))
        self._blocks: Iterator[SignalBlock] = recut(blocks, FRAMES_PER_BLOCK)
        self._is_paced, self._first_timestamp = is_paced, first_timestamp
        self._is_relistening = is_relistening
        self._pace = Pace(info.rate_hz)
        self._commands, self._waveforms = Port(), Port()
        self._state = RhxState(rate_text(info.rate_hz), self.amplifiers, self._waveforms.number, kind)
        self._state.enabled |= set(outputs) if outputs is not None else {f"{a}|" for a in self.amplifiers}
        self._changed = threading.Condition()
        self._is_closing = self._is_stalled = False
        self._is_plugged = True
        self._runs = 0
        self._to_skip = self._to_repeat = 0
        self._to_insert: deque[bytes] = deque()
        self._sent: deque[bytes] = deque(maxlen=64)
        self.worker = Worker(self._serve, self._send)

    @property
    def address(self) -> str:
        """HOST:PORT of the command port."""
        return f"{HOST}:{self._commands.number}"

    @property
    def run_mode(self) -> str:
        return self._state.run_mode

    def __enter__(self) -> IntanEmulator:
        self._commands.listen()
        self.worker.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._changed:
            self._is_closing = True
            self._changed.notify_all()
        self.worker.join()
        self._commands.close()
        self._waveforms.close()
        self.worker.raise_error(error)

    def press_connect(self) -> None:
        """What a person does under Network > Remote TCP Control: the command port takes one more client."""
        with self._changed:
            self._commands.listen()

    def press_run(self) -> None:
        """What a person does in RHX's window: it runs from now on."""
        with self._changed:
            self._state.run_mode = "Run"
            self._runs += 1

    def reset(self) -> None:
        """The waveform connection breaks (TCP reset)."""
        with self._changed:
            self._waveforms.drop(is_reset=True)
            self._state.waveform_status = "Disconnected"

    def unplug(self) -> None:
        """RHX is gone: both connections break, neither port listens. Its settings survive."""
        with self._changed:
            self._is_plugged = False
            for port in (self._commands, self._waveforms):
                port.drop(is_reset=True)
                port.stop_listening()
            self._state.run_mode, self._state.waveform_status = "Stop", "Disconnected"
            self._state.wants_waveforms = False

    def plug(self) -> None:
        """RHX is back, and somebody pressed Connect for commands."""
        with self._changed:
            self._is_plugged = True
            self._commands.listen()

    def stall(self, is_stalled: bool = True) -> None:
        """Nothing is sent, or again; the connections stay."""
        with self._changed:
            self._is_stalled = is_stalled
            self._pace.begin()
            self._changed.notify_all()

    def set_speed(self, speed: float) -> None:
        """Samples come `speed` times as fast as they should (paced only)."""
        with self._changed:
            self._pace.set_speed(speed)

    def skip(self, n_blocks: int) -> None:
        """The next blocks of 128 samples never come."""
        with self._changed:
            self._to_skip += n_blocks

    def repeat(self, n_blocks: int) -> None:
        """The last blocks sent, up to 64, come again."""
        with self._changed:
            self._to_repeat = n_blocks

    def insert(self, garbage: bytes) -> None:
        """These bytes come between two blocks."""
        with self._changed:
            self._to_insert.append(garbage)

    def enable(self, outputs: Iterable[str]) -> None:
        """Somebody changes the enabled outputs in RHX's window: the frames change at once."""
        with self._changed:
            self._state.enabled = set(outputs)

    def begin_run_anew(self) -> None:
        """Somebody stops RHX and starts it again: the timestamps begin at 0."""
        with self._changed:
            self._runs += 1

    def _serve(self) -> None:
        """Connections and commands."""
        while not self._is_closing:
            with self._changed:
                files = [s for port in (self._commands, self._waveforms) for s in port.sockets()]
            try:
                readable = select.select(files, [], [], _TICK_S)[0]
            except (OSError, ValueError):  # closed meanwhile, by a fault
                continue
            with self._changed:
                if self._commands.take(readable) and self._is_relistening:
                    self._commands.listen()
                if self._waveforms.take(readable):
                    self._state.waveform_status, self._state.wants_waveforms = "Connected", False
                    self._pace.begin()
                    self._changed.notify_all()
                self._command(readable)
                if self._waveforms.client in readable and not self._waveforms.receive():
                    self._state.waveform_status = "Disconnected"
                if self._state.wants_waveforms:
                    self._waveforms.listen()
                elif self._state.waveform_status == "Disconnected":
                    self._waveforms.drop()
                    self._waveforms.stop_listening()

    def _command(self, readable: list[socket.socket]) -> None:
        if self._commands.client not in readable:
            return
        data = self._commands.receive()
        if not data:
            return
        was = self._state.run_mode
        self._commands.answer(self._state.answer(data.decode("latin-1")).encode("latin-1"))
        if (was, self._state.run_mode) == ("Stop", "Run"):
            self._runs += 1
            self._changed.notify_all()

    def _send(self) -> None:
        """Blocks, as long as RHX runs."""
        run, origin = 0, 0
        write: list[bytes] = []
        while True:
            with self._changed:
                while not (self._is_closing or self._is_sending()):
                    self._changed.wait(_TICK_S)
                if self._is_closing:
                    return
            block = next(self._blocks, None)  # which may take its time
            with self._changed:
                if block is None:
                    self._flush(write)
                    self.worker.finished.set()
                    self._is_stalled = True
                    continue
                if run != self._runs:
                    run, origin = self._runs, block.first_sample
                    self._pace.begin()
                    write.clear()
                wait_s = self._pace.wait_s(FRAMES_PER_BLOCK) if self._is_paced else 0.0
                if wait_s > 0:
                    self._changed.wait_for(lambda: self._is_closing, wait_s)
                write += self._faulty(self._encoded(block, origin))
                if len(write) >= self._state.blocks_per_write:
                    self._flush(write)

    def _is_sending(self) -> bool:
        is_heard = self._is_paced or self._waveforms.client is not None
        return is_heard and self._state.run_mode == "Run" and not self._is_stalled and self._is_plugged

    def _faulty(self, block: bytes) -> list[bytes]:
        if self._to_skip:
            self._to_skip -= 1
            return []
        self._sent.append(block)
        again = list(self._sent)[-self._to_repeat :] if self._to_repeat else []
        self._to_repeat = 0
        garbage = list(self._to_insert)
        self._to_insert.clear()
        return [*garbage, block, *again]

    def _flush(self, write: list[bytes]) -> None:
        """Send and forget; the lock is let go while the client takes its time."""
        data = memoryview(b"".join(write))
        write.clear()
        client = self._waveforms.client
        while data and client is not None and client is self._waveforms.client and not self._is_closing:
            try:
                sent = client.send(data)
            except BlockingIOError:
                self._changed.release()
                with contextlib.suppress(OSError, ValueError):  # closed meanwhile, by a fault
                    select.select([], [client], [], _TICK_S)
                self._changed.acquire()
                continue
            except OSError:
                self._waveforms.drop()
                self._state.waveform_status = "Disconnected"
                return
            data = data[sent:]

    def _encoded(self, block: SignalBlock, origin: int) -> bytes:
        counts = block.samples
        if counts.dtype != np.int16 or block.scale_uv != SCALE_UV:
            counts = np.clip(np.rint(counts * (block.scale_uv / SCALE_UV)), -32768, 32767).astype(np.int16)
        names = self._state.words()
        words = np.empty((FRAMES_PER_BLOCK, len(names)), np.uint16)
        amplified = counts.view(np.uint16) ^ np.uint16(0x8000)
        digital = np.zeros(FRAMES_PER_BLOCK, np.uint32) if block.digital is None else block.digital
        if names == self.amplifiers:
            words = amplified
        else:
            for column, name in enumerate(names):
                words[:, column] = self._word(name, amplified, digital)
        stamp = self._first_timestamp + block.first_sample - origin
        return encode_block(stamp % (1 << COUNTER_BITS), words)

    def _word(
        self, name: str, amplified: NDArray[np.uint16], digital: NDArray[np.uint32]
    ) -> NDArray[np.uint16]:
        if name == DIGITAL_IN:
            return (digital & 0xFFFF).astype(np.uint16)
        channel, _, suffix = name.partition("|")
        if suffix == "DC":
            return np.full(FRAMES_PER_BLOCK, 512, np.uint16)  # no direct voltage
        if suffix == "STIM":  # ten steps of positive current
            return (digital >> STIMULATION_LINE & 1).astype(np.uint16) * np.uint16(10)
        return amplified[:, self.amplifiers.index(channel)]
