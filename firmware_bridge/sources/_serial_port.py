"""A serial port that delivers frames: reads that another thread can end, and requests with their answers."""

from __future__ import annotations

import contextlib
import os
import select
import threading
import time
from collections import deque
from collections.abc import Callable

import serial

from firmware_bridge.errors import LinkError
from firmware_bridge.serial_ports import open_serial_port
from firmware_bridge.sources._serial_protocol import (
    VERSION,
    Frame,
    FrameParser,
    FrameType,
    ProtocolError,
    answered_request,
    encode_frame,
    parse_error,
)
from firmware_bridge.stream import LinkCounters

GULP = 65536
"""Bytes of a read at most."""

ATTEMPTS = 4
LATE_S = 1.0
"""How long bytes are still taken that waited when their time was over."""

_WRITE_S = 1.0


class SerialPort:
    """An open port. Reads wait in `poll` on the port and on a pipe, through which `close` wakes them.

    Raises LinkError where the port cannot be opened, and from `read` and `write` where it is gone.
    """

    def __init__(self, path: str, baud: int) -> None:
        self.path = path
        self.is_closed = False
        self._may_close = threading.Lock()
        self._using = threading.RLock()  # re-entrant: a signal handler may close the port that it interrupts
        self._port = open_serial_port(
            path,
            baud,
            hint_if_absent="nothing of that name is there: plug the front-end in, or see `nervehand sources`",
            write_timeout_s=_WRITE_S,
        )
        self._fd = self._port.fileno()
        self._wake_r, self._wake_w = os.pipe()
        self._poll = select.poll()
        self._poll.register(self._fd, select.POLLIN)
        self._poll.register(self._wake_r, select.POLLIN)

    def read(self, timeout_s: float) -> bytes:
        """What is there, as soon as something is; b"" after the timeout or once closed."""
        with self._using:
            if self.is_closed:
                return b""
            ready = self._poll.poll(timeout_s * 1000)
            if self.is_closed or not ready:
                return b""
            try:
                data = os.read(self._fd, GULP)
            except BlockingIOError:
                return b""
            except OSError as error:
                raise LinkError(
                    f"serial port {self.path} is gone: {os.strerror(error.errno or 0)}"
                ) from error
            if not data:
                raise LinkError(f"serial port {self.path} is gone: end of file")
            return data

    def write(self, data: bytes) -> None:
        with self._using:
            if self.is_closed:
                return
            try:
                self._port.write(data)
            except (serial.SerialException, OSError) as error:
                raise LinkError(f"serial port {self.path} takes no bytes: {error}") from error

    def close(self, farewell: bytes = b"") -> None:
        """Send the farewell if the port still takes it, end a read that waits, and close the port."""
        if not self._may_close.acquire(blocking=False):  # never given back: the first one closes
            return
        self.is_closed = True
        os.write(self._wake_w, b"x")
        with self._using:
            if not self._port.is_open:
                return
            # A device that is gone cannot be told so.
            with contextlib.suppress(serial.SerialException, OSError):
                self._port.write_timeout = 0.1
                self._port.write(farewell)
            self._port.close()
            os.close(self._wake_r)
            os.close(self._wake_w)


class FrameLink:
    """Frames over a port, and requests answered by number. What the parser refuses goes to the counters.

    `arrival_ns` is when the last byte of the frame given last was read, on the monotonic clock.
    """

    def __init__(self, port: SerialPort, counters: LinkCounters) -> None:
        self.arrival_ns = 0
        self._port, self._counters = port, counters
        self._parser = FrameParser()
        self._sequence = 0
        self._frames: deque[Frame] = deque()

    @property
    def path(self) -> str:
        return self._port.path

    @property
    def is_closed(self) -> bool:
        return self._port.is_closed

    def next_frame(self, end_s: float) -> Frame | None:
        """The next frame; None once the port is closed, or at `end_s` (time.monotonic) where nothing comes any more.

        Bytes that wait at `end_s` are still taken, for a while: it may be this program that is late.
        """
        while not self._frames:
            data = self._port.read(max(0.0, end_s - time.monotonic()))
            if not data:
                return None
            self.arrival_ns = time.monotonic_ns()
            parser, counters = self._parser, self._counters
            bad, skipped = parser.bad_frames, parser.skipped_bytes
            self._frames.extend(parser.feed(data))
            counters.bad_frames += parser.bad_frames - bad
            counters.skipped_bytes += parser.skipped_bytes - skipped
            if not self._frames and self.arrival_ns / 1e9 > end_s + LATE_S:
                return None
        return self._frames.popleft()

    def request(self, encode: Callable[[int], bytes], answer: FrameType, timeout_s: float) -> Frame:
        """The answer to a request, which is sent anew while none comes; frames before the answer are thrown away.

        Raises LinkError where the device refuses, speaks another version, says nothing in `timeout_s` for each of
        ATTEMPTS, or where the port is closed meanwhile.
        """
        for _ in range(ATTEMPTS):
            self._sequence += 1
            self._port.write(encode(self._sequence))
            end_s = time.monotonic() + timeout_s
            while (frame := self.next_frame(end_s)) is not None:
                if self._answers(frame, answer):
                    return frame
                if time.monotonic() > end_s + LATE_S:
                    break
            if self.is_closed:
                raise LinkError(f"serial port {self.path} was closed")
        raise LinkError(
            f"serial port {self.path}: no {answer.name} came within {ATTEMPTS} x {timeout_s:g} s:"
            " is this a front-end that speaks docs/serial-protocol.md?"
        )

    def _answers(self, frame: Frame, answer: FrameType) -> bool:
        if frame.version != VERSION:
            raise LinkError(
                f"serial port {self.path}: the device speaks version {frame.version} of the protocol,"
                f" this program version {VERSION}: update the older one"
            )
        if answered_request(frame) != self._sequence:
            return False
        if frame.type == FrameType.ERROR:
            try:
                refusal = parse_error(frame.payload)
            except ProtocolError as error:
                raise LinkError(f"serial port {self.path}: {error}") from error
            raise LinkError(f"serial port {self.path}: the device refuses: {refusal.text} ({refusal.code})")
        return frame.type == answer

    def close(self) -> None:
        self._port.close(encode_frame(FrameType.STOP, self._sequence + 1))
