"""Intan's RHX software over TCP: RHD recording controllers, RHD USB interface boards, RHS stimulators.

RHX is asked over its command port (5000) what it streams, and sends waveforms from a second port (5001), which it
names itself. The bytes are described in `_intan_protocol`. What the format allows, and what is done:

- The timestamps count samples: what is missing is counted exactly (`lost_samples`, `lost_before`), what came already
  is dropped, and a counter that goes back by more than a second ends the connection: the run was started anew.
- Bytes that are no block are skipped, block by block looked for from one byte on; after eight blocks' worth the
  connection ends: the outputs enabled in RHX have changed, so the frames have another size.
- RHX gives no impedances over TCP (it measures them, and saves them to a file of its own).
"""

from __future__ import annotations

import socket
import threading
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from firmware_bridge.errors import LinkError, NervehandError, SourceLostError
from firmware_bridge.sources import Found
from firmware_bridge.sources._continuity import Continuity
from firmware_bridge.sources._hosts import split_host
from firmware_bridge.sources._intan_commands import CommandLink, Setup, ask_setup
from firmware_bridge.sources._intan_protocol import (
    COUNTER_BITS,
    FRAMES_PER_BLOCK,
    SCALE_UV,
    FrameLayout,
    WaveformParser,
)
from firmware_bridge.sources._interrupt import Interrupt, Patience
from firmware_bridge.sources._same_stream import check_same
from firmware_bridge.stream import LinkCounters, SignalBlock, StreamInfo

ADDRESS = "intan:HOST[:PORT]"
COMMAND_PORT = 5000
TIMEOUT_S = 10.0
"""How long RHX may take to answer, and to send its first samples."""

_READ_BYTES = 1 << 16
_MAX_SKIPPED_BLOCKS = 8
_POLL_S = 0.02
_WRITES_BEFORE_STALL = 3
_STOPPING_S = 0.5  # what a run takes to end after RHX says that it has: one begun meanwhile would end with it


def find() -> tuple[Found, ...]:
    """What listens on RHX's command port on this machine. It is not asked: RHX takes one client for each press of
    Connect, and a question would use it up. Linux only; elsewhere nothing is found."""
    for table in (Path("/proc/net/tcp"), Path("/proc/net/tcp6")):
        try:
            lines = table.read_text().splitlines()[1:]
        except OSError:
            continue
        for fields in (line.split() for line in lines):
            # local address (hexadecimal, with the port), state 0A: listening
            if len(fields) > 3 and fields[3] == "0A" and fields[1].endswith(f":{COMMAND_PORT:04X}"):
                return (Found("intan:127.0.0.1", f"something listens on port {COMMAND_PORT}: Intan RHX?"),)
    return ()


def open_device(where: str) -> IntanDevice:
    """The device behind RHX at HOST[:PORT], the port being that of its commands.

    The channels are those whose wideband output is enabled in RHX (Network > Remote TCP Control > Data Output);
    where no output is enabled at all, those of all amplifiers are.
    """
    host, port = split_host(where, COMMAND_PORT, ADDRESS)
    link = CommandLink(host, port, TIMEOUT_S)
    try:
        interrupt = Interrupt()
        setup = ask_setup(link, interrupt)
        if not setup.layout.words and setup.amplifiers:
            setup = _enable(link, interrupt, setup.amplifiers)
        info = setup.info()
    except NervehandError:
        link.close()
        raise
    return IntanDevice(host, port, info, link=link)


def _enable(link: CommandLink, interrupt: Interrupt, names: tuple[str, ...]) -> Setup:
    link.order([f"set {name}.tcpdataoutputenabled true" for name in names], interrupt)
    return ask_setup(link, interrupt)


class _Stream:
    """The blocks of one connection, between the bytes that came and the block that is asked for next."""

    def __init__(self, layout: FrameLayout, rate_hz: float) -> None:
        self.layout = layout
        self.parser = WaveformParser(layout)
        self.continuity = Continuity(round(rate_hz), COUNTER_BITS)
        self.ready: deque[SignalBlock] = deque()
        self.lost = 0  # samples missing before the next block
        self.repeated = 0  # samples that came again since the last new one
        self.failure: SourceLostError | None = None  # what ends it, once the blocks before are delivered


@dataclass(slots=True)
class _Connection:
    """One connection: everything that a later one must not share."""

    interrupt: Interrupt
    waveforms: socket.socket | None = None
    stream: _Stream | None = None
    stall_s: float = 0.0


class IntanDevice:
    """RHX's waveform output as a `Device`. `info` is what it streams, as `open_device` finds out.

    `connect` starts the run where RHX stands still, and joins one that goes on. `close` stops a run that was started
    here, unless the connection is lost already: the next one then joins it, and its counter says what is missing.
    The command connection outlives `close`, since RHX would not take another one; `release` lets it go.
    """

    def __init__(
        self,
        host: str,
        port: int,
        info: StreamInfo,
        stall_s: float = 1.0,
        timeout_s: float = TIMEOUT_S,
        link: CommandLink | None = None,
    ) -> None:
        self.info = info
        self.counters = LinkCounters()
        self._stall_s, self._timeout_s = stall_s, timeout_s
        self._link = link or CommandLink(host, port, timeout_s)
        self._lock = threading.Lock()
        self._connection: _Connection | None = None
        self._has_started_run = False
        self._stopped_s = -_STOPPING_S

    def connect(self) -> None:
        """Ask RHX whether it still streams what `info` says, open its waveform output, and have it run.

        Returns when the first samples have come; raises LinkError where they do not.
        """
        connection = _Connection(Interrupt())
        with self._lock:
            before, self._connection = self._connection, connection
        if before is not None:
            self._end(before)
        try:
            self._connect(connection)
        except OSError as error:
            self._end(connection)
            raise LinkError(f"RHX's waveform output at {self._link.host} failed: {error}") from error
        except NervehandError:
            self._end(connection)
            raise
        self.counters.connections += 1

    def blocks(self) -> Iterator[SignalBlock]:
        connection = self._connection
        if connection is None or connection.stream is None:
            return
        stream = connection.stream
        try:
            while not connection.interrupt.is_set:
                if stream.ready:
                    self.counters.frames += 1
                    yield stream.ready.popleft()
                    continue
                if stream.failure is not None:
                    raise stream.failure
                data = self._read(connection)
                if data is None:
                    return
                self._take(connection, stream, data)
        except SourceLostError:
            self._end(connection)
            with self._lock:
                if self._connection is connection:
                    self._connection = None
            raise

    def _take(self, connection: _Connection, stream: _Stream, data: bytes) -> None:
        """Make blocks of what came. What is wrong with it ends the stream after the blocks before it."""
        arrival_ns = time.monotonic_ns()
        parser, layout = stream.parser, stream.layout
        bad, skipped = parser.bad_frames, parser.skipped_bytes
        blocks = parser.feed(data)
        self.counters.bad_frames += parser.bad_frames - bad
        self.counters.skipped_bytes += parser.skipped_bytes - skipped
        if parser.since_good > _MAX_SKIPPED_BLOCKS * layout.block_bytes:
            stream.failure = SourceLostError(
                f"RHX sent {parser.since_good} bytes that are no block of {len(layout.words)} words a frame: "
                "the outputs enabled in RHX have changed; connect again"
            )
        for block in blocks:
            try:
                place = stream.continuity.place(block.timestamp, FRAMES_PER_BLOCK)
            except SourceLostError as error:
                stream.failure = error
                return
            self.counters.lost_samples += place.lost
            self.counters.repeated_samples += place.repeated
            stream.lost += place.lost
            stream.repeated = stream.repeated + place.repeated if place.repeated == FRAMES_PER_BLOCK else 0
            if stream.repeated > connection.stall_s * self.info.rate_hz:
                stream.failure = SourceLostError(
                    f"RHX sent nothing new for {connection.stall_s:g} s: look whether it still runs, and connect again"
                )
                return
            words = block.words[place.repeated :]
            if not words.shape[0]:
                continue
            samples, digital = layout.samples(words), layout.digital(words)
            stream.ready.append(
                SignalBlock(samples, place.first_sample, arrival_ns, stream.lost, SCALE_UV, digital)
            )
            stream.lost = 0

    def close(self) -> None:
        """End the blocks, from any thread; stop the run if it was started here."""
        with self._lock:
            connection, self._connection = self._connection, None
        if connection is not None:
            self._end(connection)
            self._stop_run()

    def release(self) -> None:
        """Close, and let the command connection go too: RHX then waits for somebody to press Connect."""
        self.close()
        self._stop_run()
        self._link.close()

    def _stop_run(self) -> None:
        if self._has_started_run:
            self._has_started_run = False
            self._link.tell("set runmode stop")
            self._stopped_s = time.monotonic()

    def _connect(self, connection: _Connection) -> None:
        interrupt = connection.interrupt
        interrupt.wait_readable((), self._stopped_s + _STOPPING_S - time.monotonic())
        setup = ask_setup(self._link, interrupt)
        if not setup.layout.words and set(self.info.channel_names) <= set(setup.amplifiers):
            setup = _enable(self._link, interrupt, self.info.channel_names)  # RHX was started anew
        check_same("RHX", self.info, setup.info(), ("rate_hz", "channel_names", "stimulation_lines"))
        mode = self._link.run_mode(interrupt)
        blocks_per_write = setup.blocks_per_write
        if mode == "Stop":
            self._link.order(["set tcpnumberdatablocksperwrite 1"], interrupt)
            blocks_per_write = 1
        write_s = blocks_per_write * FRAMES_PER_BLOCK / self.info.rate_hz
        connection.stall_s = max(self._stall_s, _WRITES_BEFORE_STALL * write_s)
        self._open_waveforms(connection, setup.waveform_port)
        if mode == "Stop":
            self._has_started_run = True
            self._link.tell("set runmode run")
        connection.stream = _Stream(setup.layout, self.info.rate_hz)
        waveforms = connection.waveforms
        if waveforms is None or not interrupt.wait_readable((waveforms.fileno(),), self._timeout_s):
            if interrupt.is_set:
                raise LinkError("the connection to RHX was closed while it was made")
            raise LinkError(
                f"RHX sent no samples within {self._timeout_s:g} s of being told to run: look whether it shows an error"
            )

    def _open_waveforms(self, connection: _Connection, port: int) -> None:
        """RHX listens for one client after it was told to; a client before us, or what is left of one, makes room."""
        status = self._waveform_status(connection)
        if status == "Connected":
            self._link.order(["execute disconnecttcpwaveformdataoutput"], connection.interrupt)
            status = self._await_waveform_status(connection, "Disconnected")
        if status != "Pending":
            self._link.order(["execute connecttcpwaveformdataoutput"], connection.interrupt)
            self._await_waveform_status(connection, "Pending")
        waveforms = socket.create_connection((self._link.host, port), self._timeout_s)
        waveforms.setblocking(False)
        with self._lock:
            connection.waveforms = waveforms
        self._await_waveform_status(connection, "Connected")

    def _waveform_status(self, connection: _Connection) -> str | None:
        return self._link.values(["tcpwaveformdataoutputconnectionstatus"], connection.interrupt)[0]

    def _await_waveform_status(self, connection: _Connection, wanted: str) -> str:
        give_up = time.monotonic() + self._timeout_s
        while (status := self._waveform_status(connection)) != wanted:
            if time.monotonic() > give_up:
                raise LinkError(
                    f"RHX's waveform output is {status}, not {wanted}: press Connect under Network > Remote TCP Control"
                )
            connection.interrupt.wait_readable((), _POLL_S)
        return wanted

    def _read(self, connection: _Connection) -> bytes | None:
        """What came, waiting for it; None where the connection was closed here."""
        patience = Patience(connection.stall_s)
        while True:
            with self._lock:
                waveforms = connection.waveforms
                if waveforms is None or connection.interrupt.is_set:
                    return None
                file = waveforms.fileno()
                try:
                    data = waveforms.recv(_READ_BYTES)
                except BlockingIOError:
                    data = None
                except OSError as error:
                    raise SourceLostError(
                        f"RHX's waveform connection broke ({error}): connect again"
                    ) from error
            if data:
                return data
            if data is not None:
                raise SourceLostError("RHX closed its waveform connection: connect again")
            if not patience.wait_readable(connection.interrupt, (file,)):
                raise SourceLostError(
                    f"RHX sent nothing for {connection.stall_s:g} s: look whether it still runs, and connect again"
                )

    def _end(self, connection: _Connection) -> None:
        connection.interrupt.set()
        with self._lock:
            if connection.waveforms is not None:
                connection.waveforms.close()
                connection.waveforms = None
