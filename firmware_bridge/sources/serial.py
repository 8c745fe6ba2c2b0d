"""Front-ends on a serial port (USB CDC or UART) that speak docs/serial-protocol.md."""

from __future__ import annotations

import re
import secrets
import time
from collections.abc import Iterator
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from serial.tools import list_ports

from firmware_bridge.errors import LinkError, NervehandError, SourceLostError
from firmware_bridge.sources import Found
from firmware_bridge.sources._same_stream import check_same
from firmware_bridge.sources._serial_description import Description, parse_description
from firmware_bridge.sources._serial_order import StreamOrder
from firmware_bridge.sources._serial_port import LATE_S, FrameLink, SerialPort
from firmware_bridge.sources._serial_protocol import (
    VERSION,
    Frame,
    FrameType,
    ProtocolError,
    answered_request,
    encode_frame,
    encode_start,
    parse_data,
    parse_error,
    parse_started,
)
from firmware_bridge.stream import LinkCounters, SignalBlock, StreamInfo

ADDRESS = "serial:PORT[@BAUD]"
DEFAULT_BAUD = 3_000_000
"""For a UART; a USB CDC port ignores it."""

ANSWER_S = 0.5
"""How long the device may take to answer a request, twice what the specification allows it."""

STABLE_NAMES = Path("/dev/serial/by-id")
"""Where Linux keeps a name for each USB port that stays the same when it is plugged in again."""


@dataclass(slots=True)
class SerialCounters(LinkCounters):
    """The link's counters, and what sequence numbers add: frames that never came whole, those without samples
    included; samples (among the lost) that the device lost before it sent anything; frames of another stream."""

    missing_frames: int = 0
    device_lost_samples: int = 0
    stale_frames: int = 0


class SerialDevice:
    """A `Device` on a serial port. `info` is what the device must say of itself when it is connected.

    The device is told to start when the first block is asked for, and to stop by `close`. A block is a DATA frame.
    `stall_s` without a new sample is a lost source, whatever else comes meanwhile; time that the consumer takes
    between blocks does not count. Samples are read-only views.
    """

    def __init__(
        self,
        port: str,
        info: StreamInfo,
        baud: int = DEFAULT_BAUD,
        stall_s: float = 1.0,
        answer_s: float = ANSWER_S,
    ) -> None:
        self.counters: SerialCounters = SerialCounters()
        self._port, self._info, self._baud = port, info, baud
        self.stall_s = stall_s
        self._answer_s = answer_s
        self._link: FrameLink | None = None
        self._order: StreamOrder | None = None
        self._stream = 0
        self._impedance_ohm: tuple[float | None, ...] = ()

    @property
    def info(self) -> StreamInfo:
        return self._info

    def impedance_ohm(self) -> NDArray[np.float64] | None:
        """(c,) ohms at 1 kHz as the device said when it was last connected, NaN where it measured none; None where it
        measures none at all."""
        if not self._impedance_ohm:
            return None
        return np.array([np.nan if ohm is None else ohm for ohm in self._impedance_ohm], np.float64)

    def connect(self) -> None:
        """Open the port and check that the device still is what `info` says; an open connection is closed first.

        Raises LinkError where nothing answers, and StreamMismatchError with the first difference.
        """
        self.close()
        self._order = None
        link = FrameLink(SerialPort(self._port, self._baud), self.counters)
        self._link = link
        try:
            found = _describe(link, self._answer_s)
            said = [field.name for field in fields(StreamInfo)]
            check_same(f"serial port {self._port}", self._info, found.info, said)
            self._impedance_ohm = found.impedance_ohm
        except BaseException:
            link.close()
            raise
        self.counters.connections += 1

    def blocks(self) -> Iterator[SignalBlock]:
        """Each DATA frame as a block; ends after `close`, and at once where nothing is connected."""
        link = self._link
        if link is None:
            return
        try:
            if self._order is None and not link.is_closed:
                self._order = self._start(link)
            while not link.is_closed:
                block = self._next_block(link)
                if link.is_closed or block is None:
                    return
                yield block
        except LinkError as error:
            if link.is_closed:
                return
            link.close()
            raise SourceLostError(str(error)) from error

    def close(self) -> None:
        """Stop the device and close its port; a `blocks` that waits in another thread ends."""
        if self._link is not None:
            self._link.close()

    def _start(self, link: FrameLink) -> StreamOrder:
        self._stream = secrets.randbelow(2**32 - 1) + 1
        frame = link.request(lambda n: encode_start(n, self._stream), FrameType.STARTED, self._answer_s)
        try:
            started = parse_started(frame.payload)
        except ProtocolError as error:
            raise LinkError(f"serial port {self._port}: {error}") from error
        if started.stream != self._stream:
            raise LinkError(
                f"serial port {self._port}: the device started stream {started.stream}, not {self._stream}"
            )
        return StreamOrder(frame.sequence + 1, started.first_sample)

    def _next_block(self, link: FrameLink) -> SignalBlock | None:
        """The next block; None where the port was closed. Raises LinkError where none comes in time."""
        end_s = time.monotonic() + self.stall_s
        while (frame := link.next_frame(end_s)) is not None:
            block = self._take(frame, link.arrival_ns)
            if block is not None:
                return block
            if time.monotonic() > end_s + LATE_S:
                break
        if link.is_closed:
            return None
        raise LinkError(
            f"serial port {self._port}: no new sample for {self.stall_s:g} s: check the front-end and its cable"
        )

    def _take(self, frame: Frame, arrival_ns: int) -> SignalBlock | None:
        """The frame's new samples; None where it has none."""
        counters, order = self.counters, self._order
        assert order is not None  # blocks() starts the stream before it reads
        if frame.version != VERSION:
            counters.bad_frames += 1
            return None
        counters.missing_frames += order.frame(frame.sequence)
        if frame.type == FrameType.ERROR and answered_request(frame) == 0:
            raise LinkError(f"serial port {self._port}: the device reports: {_error_text(frame)}")
        if frame.type != FrameType.DATA:
            return None
        try:
            data = parse_data(frame.payload)
        except ProtocolError:
            counters.bad_frames += 1
            return None
        if data.stream != self._stream:
            counters.stale_frames += 1
            return None
        n_samples, n_channels = data.samples.shape
        if n_channels != self._info.n_channels:
            raise LinkError(
                f"serial port {self._port}: the device sends {n_channels} channels"
                f" where it described {self._info.n_channels}"
            )
        lost, lost_in_device, repeated = order.samples(data.first_sample, n_samples)
        counters.lost_samples += lost
        counters.device_lost_samples += lost_in_device
        counters.repeated_samples += repeated
        if repeated == n_samples:
            return None
        counters.frames += 1
        return SignalBlock(
            samples=data.samples[repeated:],
            first_sample=data.first_sample + repeated,
            arrival_ns=arrival_ns,
            lost_before=lost,
            scale_uv=data.scale_uv,
            digital=None if data.digital is None else data.digital[repeated:],
        )


def find() -> tuple[Found, ...]:
    """The USB serial ports, by their stable names. They are not asked what they are: bytes for a front-end may
    mean something else to the machine at the other end."""
    names = {name.resolve(): name for name in _entries(STABLE_NAMES)}
    ports = [port for port in list_ports.comports() if port.vid is not None]
    return tuple(
        Found(f"serial:{names.get(Path(port.device).resolve(), port.device)}", port.description)
        for port in sorted(ports, key=lambda port: port.device)
    )


def open_device(where: str) -> SerialDevice:
    """The device at PORT or PORT@BAUD, asked what it streams, and its port closed again."""
    port, baud = _parse_where(where)
    link = FrameLink(SerialPort(port, baud), LinkCounters())
    try:
        return SerialDevice(port, _describe(link, ANSWER_S).info, baud)
    finally:
        link.close()


def _parse_where(where: str) -> tuple[str, int]:
    port, separator, rate = where.partition("@")
    if not port:
        raise NervehandError(f"serial address {where!r} names no port: give {ADDRESS}")
    if not separator:
        return port, DEFAULT_BAUD
    if not re.fullmatch("[1-9][0-9]{0,7}", rate):
        raise NervehandError(f"baud rate {rate!r} is not a whole number: give {ADDRESS}")
    return port, int(rate)


def _describe(link: FrameLink, answer_s: float) -> Description:
    """Stop whatever the device is doing, so that nothing old is left on the way, and ask what it is."""
    link.request(lambda n: encode_frame(FrameType.STOP, n), FrameType.STOPPED, answer_s)
    frame = link.request(lambda n: encode_frame(FrameType.DESCRIBE, n), FrameType.DESCRIPTION, answer_s)
    try:
        return parse_description(frame.payload)
    except ProtocolError as error:
        raise LinkError(f"serial port {link.path}: {error}") from error


def _error_text(frame: Frame) -> str:
    try:
        error = parse_error(frame.payload)
    except ProtocolError as malformed:
        return str(malformed)
    return f"{error.text} ({error.code})"


def _entries(folder: Path) -> list[Path]:
    return sorted(folder.iterdir()) if folder.is_dir() else []
