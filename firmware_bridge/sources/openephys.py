"""The Open Ephys GUI over ZMQ, through its ZMQ Interface plugin (the extra `openephys`: pyzmq).

Channels come one to a message and are put together here; the messages are described in `_openephys_protocol`. ZMQ
drops messages where a subscriber or the network cannot keep up: a block that lacks a channel is left out, and the
samples of every block that did not come whole are counted exactly, from the next block's sample index.
"""

from __future__ import annotations

import importlib.util
import threading
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from firmware_bridge.errors import LinkError, NervehandError, SourceLostError
from firmware_bridge.sources import Found
from firmware_bridge.sources._continuity import Continuity
from firmware_bridge.sources._hosts import split_host
from firmware_bridge.sources._interrupt import Interrupt, Patience
from firmware_bridge.sources._openephys_assembly import Assembler, DigitalLines, Heard, Listener
from firmware_bridge.sources._openephys_protocol import BadMessageError, Data, Ttl, parse
from firmware_bridge.sources._same_stream import changed, check_same
from firmware_bridge.stream import LinkCounters, SignalBlock, StreamInfo

if TYPE_CHECKING:
    from firmware_bridge.sources._openephys_link import OpenEphysLink

ADDRESS = "openephys:HOST[:PORT]"
DATA_PORT = 5556
"""The ZMQ Interface's default; the heartbeat's is the next one."""
TIMEOUT_S = 5.0
"""How long the first blocks may take."""

_FIND_MS = 500
_MAX_LISTENED = 10_000  # messages, of which three blocks are enough
_MAX_WITHOUT_BLOCK = 100  # messages for each channel


def find() -> tuple[Found, ...]:
    """Open Ephys on this machine, at its default ports, if it answers a heartbeat."""
    if importlib.util.find_spec("zmq") is None:
        return ()
    from firmware_bridge.sources._openephys_link import heartbeat_socket, send_heartbeat

    with heartbeat_socket() as heartbeat:
        heartbeat.connect(f"tcp://127.0.0.1:{DATA_PORT + 1}")
        send_heartbeat(heartbeat, str(uuid.uuid4()))
        if not heartbeat.poll(_FIND_MS):
            return ()
    return (Found("openephys:127.0.0.1", "Open Ephys with a ZMQ Interface"),)


def open_device(where: str) -> OpenEphysDevice:
    """The stream that the ZMQ Interface at HOST[:PORT] sends, the port being that of its data.

    What it streams is learned by listening to it, so it has to acquire: raises LinkError where nothing comes.
    """
    host, port = split_host(where, DATA_PORT, ADDRESS)
    link = _open(host, port, Interrupt())
    try:
        heard, _ = _listen(link, LinkCounters(), TIMEOUT_S)
    finally:
        link.close()
    return OpenEphysDevice(host, port, _info(heard), heard)


def _open(host: str, port: int, interrupt: Interrupt) -> OpenEphysLink:
    if importlib.util.find_spec("zmq") is None:
        raise NervehandError("Open Ephys needs pyzmq: pip install 'nervehand[openephys]'")
    import zmq

    from firmware_bridge.sources._openephys_link import OpenEphysLink

    try:
        return OpenEphysLink(host, port, interrupt)
    except zmq.ZMQError as error:
        raise LinkError(f"no connection to {host}:{port} can be made: {error}") from error


def _listen(link: OpenEphysLink, counters: LinkCounters, timeout_s: float) -> tuple[Heard, DigitalLines]:
    """What the link carries, and the digital lines so far."""
    listener, lines, patience = Listener(), DigitalLines(), Patience(timeout_s)
    for _ in range(_MAX_LISTENED):
        parts = link.receive(patience)
        if parts is None:
            raise LinkError("the connection to Open Ephys was closed while it was made")
        message = _parsed(parts, counters)
        if isinstance(message, Ttl):
            lines.take(message)
        elif message is not None and (heard := listener.take(message)) is not None:
            return heard, lines
    raise LinkError(
        f"{_MAX_LISTENED} messages from Open Ephys name no steady set of channels: check that one ZMQ Interface "
        "sends there"
    )


def _parsed(parts: list[bytes], counters: LinkCounters) -> Data | Ttl | None:
    try:
        return parse(parts)
    except BadMessageError:
        counters.bad_frames += 1
        return None


def _info(heard: Heard) -> StreamInfo:
    return StreamInfo(heard.rate_hz, heard.names, "nerve")


@dataclass(slots=True)
class _Connection:
    """One connection: everything that a later one must not share."""

    interrupt: Interrupt
    link: OpenEphysLink
    assembler: Assembler
    continuity: Continuity
    lines: DigitalLines


class OpenEphysDevice:
    """A stream of Open Ephys as a `Device`. `info` and `heard` are what it streams, as `open_device` finds out.

    It streams while Open Ephys acquires; it does not start or stop the acquisition. `connect` listens until it has
    heard the stream again, then delivers what comes after that.
    """

    def __init__(
        self,
        host: str,
        port: int,
        info: StreamInfo,
        heard: Heard,
        stall_s: float = 1.0,
        timeout_s: float = TIMEOUT_S,
    ) -> None:
        self.info = info
        self.counters = LinkCounters()
        self._host, self._port, self._heard = host, port, heard
        self._stall_s, self._timeout_s = stall_s, timeout_s
        self._lock = threading.Lock()
        self._interrupt = Interrupt()
        self._connection: _Connection | None = None

    def connect(self) -> None:
        """Subscribe, and listen whether it still is what `info` says."""
        self.close()
        interrupt = Interrupt()
        with self._lock:
            self._interrupt = interrupt
        link = _open(self._host, self._port, interrupt)
        try:
            heard, lines = _listen(link, self.counters, self._timeout_s)
            self._check(heard)
        except NervehandError:
            link.close()
            raise
        continuity = Continuity(round(heard.rate_hz))
        connection = _Connection(interrupt, link, Assembler(heard), continuity, lines)
        with self._lock:
            self._connection = connection
        if interrupt.is_set:  # closed meanwhile
            link.close()
            raise LinkError("the connection to Open Ephys was closed while it was made")
        self.counters.connections += 1

    def blocks(self) -> Iterator[SignalBlock]:
        connection = self._connection
        if connection is None:
            return
        patience, n_without = Patience(self._stall_s), 0
        try:
            while (parts := connection.link.receive(patience)) is not None:
                block = self._block(connection, parts)
                if block is not None and not connection.interrupt.is_set:
                    self.counters.frames += 1
                    yield block
                    patience, n_without = Patience(self._stall_s), 0
                    continue
                n_without += 1
                if n_without > _MAX_WITHOUT_BLOCK * self.info.n_channels:
                    raise SourceLostError(
                        f"{n_without} messages from Open Ephys made no whole block: connect again"
                    )
        except SourceLostError:
            connection.link.close()
            raise

    def close(self) -> None:
        """End the blocks, from any thread."""
        with self._lock:
            connection, self._connection = self._connection, None
            self._interrupt.set()
        if connection is not None:
            connection.link.close()

    def _block(self, connection: _Connection, parts: list[bytes]) -> SignalBlock | None:
        """The block that a message completes."""
        arrival_ns = time.monotonic_ns()
        message = _parsed(parts, self.counters)
        if isinstance(message, Ttl):
            connection.lines.take(message)
        if not isinstance(message, Data):
            return None
        try:
            whole = connection.assembler.take(message)
        except BadMessageError:
            self.counters.bad_frames += 1
            return None
        if whole is None:
            return None
        counter, samples = whole
        place = connection.continuity.place(counter, samples.shape[0])
        self.counters.lost_samples += place.lost
        self.counters.repeated_samples += place.repeated
        new = samples[place.repeated :]
        if not new.shape[0]:
            return None
        digital = connection.lines.lines(place.first_sample, new.shape[0])
        return SignalBlock(new, place.first_sample, arrival_ns, place.lost, digital=digital)

    def _check(self, heard: Heard) -> None:
        if heard.stream != self._heard.stream:
            raise changed("Open Ephys", "stream", self._heard.stream, heard.stream)
        check_same("Open Ephys", self.info, _info(heard))
