"""A running engine as a front-end: the samples that it has, from its port (docs/port.md). `port:HOST:PORT`."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace

from firmware_bridge.errors import LinkError, NervehandError, SourceLostError, StreamMismatchError
from firmware_bridge.port import running
from firmware_bridge.port.addresses import joined, split
from firmware_bridge.port.blocks import decoded_blocks
from firmware_bridge.port.entries import token_for
from firmware_bridge.port.host_clock import HostClock
from firmware_bridge.port.link import Link, linked
from firmware_bridge.sources import Found
from firmware_bridge.stream import LinkCounters, SignalBlock, StreamInfo

ADDRESS = "port:HOST:PORT"
CONNECT_S = 3.0
LOOK_S = 0.1


class PortDevice:
    """The samples of the engine at `address`, as it has them: `port:` of its machine, whatever its own source is.

    Sample indices are the engine's. After a cut link it asks for what it lacks: what is still in the port's ring comes,
    `lost_before` of the next block says what is not. An engine that was started again counts from elsewhere.
    `arrival_ns` is by this host's clock (`HostClock`). `token` None is looked for as a PortClient does.
    """

    def __init__(
        self,
        address: str,
        token: str | None = None,
        who: str = "",
        clock_ns: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        self._address, self._token, self._who, self._clock_ns = address, token, who, clock_ns
        self.counters = LinkCounters()
        self._lock = threading.Lock()
        self._link: Link | None = None
        self._closed = threading.Event()
        self._stream, self._next = "", -1
        self._clock = HostClock()
        with contextlib.closing(self._opened()) as link:
            self.info: StreamInfo = link.info
            """The engine's stream."""
            self.about = link.about
            """What the engine says is running."""

    def _opened(self) -> Link:
        token = token_for(self._address) if self._token is None else self._token
        return linked(self._address, token, self._who, CONNECT_S)

    def connect(self) -> None:
        try:
            link = self._opened()
        except LinkError:
            raise
        except NervehandError as error:  # it is served anew, or takes nobody else now: both may change
            raise LinkError(str(error)) from None
        try:
            if link.info != self.info:
                raise StreamMismatchError(
                    f"port {self._address} has another stream now ({_short(link.info)}, not {_short(self.info)}): "
                    "start again with what is there"
                )
            is_same = link.stream == self._stream
            lacks = self._next if is_same and self._next >= 0 else None
            link.send({"kind": "samples", "stream": link.stream, "from": lacks})
        except BaseException:
            link.close()
            raise
        if not is_same:
            self._stream, self._clock = link.stream, HostClock()
            self._next = -1  # what comes first decides
        self.counters.connections += 1
        with self._lock:
            self._link = link
            self._closed.clear()

    def blocks(self) -> Iterator[SignalBlock]:
        link = self._link
        if link is None:
            return
        said_s = time.monotonic()
        try:
            while not self._closed.is_set():
                for frame in link.receive(LOOK_S):
                    if frame.header.get("kind") != "samples":
                        continue
                    for block in decoded_blocks(frame):
                        if self._closed.is_set():
                            return
                        yield self._received(block)
                if time.monotonic() - said_s > 1.0:
                    said_s = time.monotonic()
                    link.beat()
        except LinkError as error:
            if not self._closed.is_set():
                raise SourceLostError(str(error)) from None
        finally:
            link.close()

    def _received(self, block: SignalBlock) -> SignalBlock:
        self.counters.frames += 1
        self.counters.lost_samples += block.lost_before
        self._next = block.first_sample + block.n_samples
        return replace(block, arrival_ns=self._clock.ours(block.arrival_ns, self._clock_ns()))

    def close(self) -> None:
        """End the blocks, also from another thread while they are waited for."""
        with self._lock:
            self._closed.set()
            if self._link is not None:
                self._link.cut()


def _short(info: StreamInfo) -> str:
    return f"{info.n_channels} channels of {info.kind} at {info.rate_hz:g} Hz"


def find() -> tuple[Found, ...]:
    """The engines of this user that serve a port on this machine."""
    return tuple(
        Found(f"port:{entry.address}", str(entry.about.get("title") or entry.name or "a running engine"))
        for entry in running()
    )


def open_device(where: str) -> PortDevice:
    """The samples of the engine at HOST:PORT."""
    return PortDevice(joined(*split(where)))
