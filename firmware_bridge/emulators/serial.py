"""A front-end that speaks docs/serial-protocol.md at the other end of a pseudo-terminal, with faults on demand."""

from __future__ import annotations

import os
import queue
import select
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Self

from firmware_bridge.emulators._pty import PtyPort
from firmware_bridge.emulators.serial_line import Line
from firmware_bridge.emulators.worker import Worker
from firmware_bridge.errors import NervehandError
from firmware_bridge.sources._serial_description import Description, encode_description
from firmware_bridge.sources._serial_protocol import (
    VERSION,
    DeviceError,
    ErrorCode,
    Frame,
    FrameParser,
    FrameType,
    ProtocolError,
    Started,
    encode_data,
    encode_error,
    encode_started,
    encode_stopped,
    max_samples,
    parse_start,
)
from firmware_bridge.stream import SignalBlock, StreamInfo

FIFO = 65536
"""Bytes that wait for the port at most; a clocked device loses samples beyond that."""

_GULP = 4096
_BURST = 256  # blocks between two looks at what the host wants


class SerialEmulator:
    """Serves blocks of int16 samples on a pseudo-terminal while the context lasts, one DATA frame a block.

    `port` is a path that stays the same when the device is unplugged and plugged in again: a link, made by the
    emulator at `link`. With `speed` None it is flow-controlled: a block is taken from `blocks` when the port takes
    it, so nothing is lost while nobody reads. Otherwise samples are due by the host's clock, `speed` times as fast
    as `info` says, from the first START on, whether somebody takes them or not. `line` stands between the device
    and the port.

    `requests` are the types of the frames that the host sent, `sent_blocks` how many blocks were made into frames,
    `overflown_samples` how many found the buffer of a clocked device full.

    Everything happens in one thread, of `worker`; the methods return when it has done what they ask. An error in
    that thread is raised when the context ends.
    """

    def __init__(
        self,
        info: StreamInfo,
        blocks: Iterable[SignalBlock],
        link: Path,
        speed: float | None = None,
        line: Line | None = None,
        firmware: str = "nervehand serial emulator 1",
        digital_bytes: int = 4,
        impedance_ohm: tuple[float | None, ...] = (),
    ) -> None:
        if speed is not None and not speed > 0:
            raise NervehandError(
                f"emulator speed is {speed}: give a positive factor, or None for flow control"
            )
        self.sent_blocks = self.overflown_samples = 0
        self.requests: list[int] = []
        self._description = Description(info, firmware, impedance_ohm)
        encode_description(0, 0, self._description)  # one that fits no frame is refused here
        self._blocks: Iterator[SignalBlock] = iter(blocks)
        self._next = next(self._blocks, None)
        self._speed, self._line, self._digital_bytes = speed, line, digital_bytes
        self._orders: queue.SimpleQueue[tuple[Callable[[], None], threading.Event]] = queue.SimpleQueue()
        self._wake_r, self._wake_w = os.pipe()
        self.worker = Worker(self._run)
        self._is_running = True
        self._port = PtyPort(link)
        self._waiting: deque[bytes] = deque()
        self._n_waiting = 0
        self._parser = FrameParser()
        self._sequence = 0
        self._stream = 0
        self._index_shift = 0
        self._is_stalled = False
        self._n_channels = info.n_channels
        self._repeats = self._skips = 0
        self._origin: tuple[float, int] | None = None

    @property
    def port(self) -> str:
        return str(self._port.link)

    def __enter__(self) -> Self:
        self._port.plug()
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

    # Faults

    def unplug(self) -> None:
        """The port vanishes, with all that was on its way. The device ends its stream; its sample counter goes on."""
        self._do(self._unplug)

    def plug(self) -> None:
        """The port is there again."""
        self._do(self._port.plug)

    def restart(self) -> None:
        """The device starts anew while its port stays: it is stopped, and its counters begin at 0."""
        self._do(self._restart)

    def stall(self) -> None:
        """Nothing comes any more, answers neither, though the port is there."""
        self._do(lambda: setattr(self, "_is_stalled", True))

    def resume(self) -> None:
        self._do(lambda: setattr(self, "_is_stalled", False))

    def set_speed(self, speed: float) -> None:
        """How fast a clocked device converts from now on: 2.0 is twice the rate it describes."""
        if self._speed is None or not speed > 0:
            raise NervehandError(f"speed {speed} is for a clocked emulator, and positive")
        self._do(lambda: self._clock_at(speed))

    def set_channels(self, n: int) -> None:
        """The device has only its first n channels, in its description and from the next frame on."""
        info = self._description.info
        if not 1 <= n <= info.n_channels:
            raise NervehandError(f"{n} channels of {info.n_channels}: give 1 to {info.n_channels}")
        self._do(lambda: self._describe_channels(n))

    def repeat_frames(self, n: int) -> None:
        """The next n frames are sent twice, each with the same sequence number."""
        self._do(lambda: setattr(self, "_repeats", n))

    def skip_frames(self, n: int) -> None:
        """The next n frames are made, numbered, and not sent."""
        self._do(lambda: setattr(self, "_skips", n))

    def fail(self, text: str) -> None:
        """The device ends its stream and says why."""
        self._do(lambda: self._fail(text))

    def send_raw(self, data: bytes) -> None:
        """These bytes, between two frames."""
        self._do(lambda: self._queue(data))

    # The thread

    def _do(self, order: Callable[[], None]) -> None:
        done = threading.Event()
        self._orders.put((order, done))
        os.write(self._wake_w, b"x")
        while not done.wait(0.1):
            if not self.worker.is_alive:
                raise NervehandError(f"the serial emulator has ended: {self.worker.error}")

    def _run(self) -> None:
        while self._is_running:
            self._step()

    def _step(self) -> None:
        wait_s = self._produce()
        wants_write = self._n_waiting > 0 and not self._is_stalled
        ports = [self._port.master] if self._port.is_plugged else []
        readable, writable, _ = select.select(
            [self._wake_r, *ports], ports if wants_write else [], [], wait_s
        )
        if writable:
            self._write()
        if self._port.master in readable:
            self._read()
        if self._wake_r in readable:
            os.read(self._wake_r, 4096)
            while not self._orders.empty():
                order, done = self._orders.get()
                order()
                done.set()

    def _produce(self) -> float | None:
        """Make the frames whose time has come; return the seconds until the next is due, None for no time."""
        for _ in range(_BURST):
            block = self._next
            if block is None:
                return None
            if self._speed is None:
                if not self._stream or self._is_stalled or self._n_waiting >= FIFO:
                    return None
            elif self._origin is None:
                return None
            else:
                start_s, first = self._origin
                rate_hz = self._description.info.rate_hz * self._speed
                wait_s = start_s + (block.first_sample + block.n_samples - first) / rate_hz - time.monotonic()
                if wait_s > 0:
                    return wait_s
            if self._stream and not self._is_stalled:
                if self._n_waiting < FIFO:
                    self._send(block)
                else:
                    self.overflown_samples += block.n_samples
            self._next = next(self._blocks, None)
            if self._next is None:
                self.worker.finished.set()
        return 0.0

    def _send(self, block: SignalBlock) -> None:
        limit = max_samples(self._n_channels, 0 if block.digital is None else self._digital_bytes)
        if block.n_samples > limit:
            raise NervehandError(f"a block has {block.n_samples} samples: a frame holds {limit}: cut it")
        samples, first = block.samples[:, : self._n_channels], block.first_sample - self._index_shift
        moved = replace(block, samples=samples, first_sample=first)
        frame = encode_data(self._numbered(), self._stream, moved, self._digital_bytes)
        self.sent_blocks += 1
        if self._skips:
            self._skips -= 1
            return
        if self._repeats:
            self._repeats -= 1
            self._queue_frame(frame)
        self._queue_frame(frame)

    def _numbered(self) -> int:
        self._sequence += 1
        return self._sequence - 1

    def _queue_frame(self, frame: bytes) -> None:
        self._queue(frame if self._line is None else self._line(frame))

    def _queue(self, data: bytes) -> None:
        if data and self._port.is_plugged:
            self._waiting.append(data)
            self._n_waiting += len(data)

    def _write(self) -> None:
        data = b"".join(self._waiting)
        try:
            n = os.write(self._port.master, data)
        except BlockingIOError:
            n = 0
        self._waiting = deque([data[n:]] if n < len(data) else [])
        self._n_waiting = len(data) - n

    def _read(self) -> None:
        for frame in self._parser.feed(os.read(self._port.master, _GULP)):
            self.requests.append(frame.type)
            if not self._is_stalled:
                self._queue_frame(self._answer(frame))

    def _answer(self, frame: Frame) -> bytes:
        request, number = frame.sequence, self._numbered()
        if frame.version != VERSION:
            text = f"this device speaks version {VERSION}"
            return encode_error(number, DeviceError(request, ErrorCode.UNKNOWN_VERSION, text))
        if frame.type != FrameType.START and frame.payload:
            text = "this request has no payload"
            return encode_error(number, DeviceError(request, ErrorCode.MALFORMED, text))
        match frame.type:
            case FrameType.DESCRIBE:
                return encode_description(number, request, self._description)
            case FrameType.STOP:
                self._stream = 0
                return encode_stopped(number, request)
            case FrameType.START:
                return self._started(frame, number)
            case _:
                text = f"type {frame.type:#04x} is not known"
                return encode_error(number, DeviceError(request, ErrorCode.UNKNOWN_TYPE, text))

    def _started(self, frame: Frame, number: int) -> bytes:
        try:
            stream = parse_start(frame.payload)
        except ProtocolError as error:
            return encode_error(number, DeviceError(frame.sequence, ErrorCode.MALFORMED, str(error)))
        if self._next is None:
            return encode_error(number, DeviceError(frame.sequence, ErrorCode.NOT_READY, "no more samples"))
        self._stream = stream
        if self._origin is None:
            self._origin = time.monotonic(), self._next.first_sample
        first = self._next.first_sample - self._index_shift
        return encode_started(number, Started(frame.sequence, self._stream, first))

    # What the orders do

    def _unplug(self) -> None:
        if self._port.is_plugged:
            self._port.unplug()
            self._forget()

    def _restart(self) -> None:
        self._forget()
        self._sequence = 0
        if self._next is not None:
            self._index_shift = self._next.first_sample

    def _fail(self, text: str) -> None:
        self._stream = 0
        self._queue_frame(encode_error(self._numbered(), DeviceError(0, ErrorCode.NOT_READY, text)))

    def _forget(self) -> None:
        self._stream = 0
        self._waiting.clear()
        self._n_waiting = 0
        self._parser = FrameParser()

    def _clock_at(self, speed: float) -> None:
        if self._origin is not None and self._next is not None:
            self._origin = time.monotonic(), self._next.first_sample
        self._speed = speed

    def _describe_channels(self, n: int) -> None:
        info = self._description.info
        self._n_channels = n
        less = replace(info, channel_names=info.channel_names[:n], electrodes=info.electrodes[:n])
        self._description = replace(
            self._description, info=less, impedance_ohm=self._description.impedance_ohm[:n]
        )
