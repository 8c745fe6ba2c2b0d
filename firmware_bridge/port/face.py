"""The server of a port, as a process of its own: it alone waits for clients.

    python -m firmware_bridge.port --owner FD --listener FD --memory FD [--tls FD]

is how `serving` starts it. `--owner` is a connected Unix socket, over which the first frame says what is served and the
others are views and answers, and requests the other way; `--listener` the TCP socket, bound and listening already;
`--memory` the ring of samples; `--tls` memory with a key and its certificate in PEM. It ends when its owner does.
"""

from __future__ import annotations

import argparse
import contextlib
import logging
import mmap
import os
import selectors
import signal
import socket
import time
from collections.abc import Callable, Iterator, Mapping

from firmware_bridge.errors import NervehandError
from firmware_bridge.port.addresses import is_loopback
from firmware_bridge.port.channel import Channel, PlainChannel
from firmware_bridge.port.face_client import Client, Served
from firmware_bridge.port.face_samples import Samples
from firmware_bridge.port.outgoing import Outgoing
from firmware_bridge.port.sample_ring import RingReader, RingSize
from firmware_bridge.port.wire import URGENT, Frame, FrameReader, encoded, text_in, whole_in

LOOK_S = 0.004
"""How often the ring is looked at, while somebody takes samples."""
IDLE_S = 0.5
READ_BYTES = 1 << 18
MOST_CLIENTS = 64
MOST_STRANGERS = 32
"""Who has not shown the token yet; of more the one that has been there for longest makes room."""
NICENESS = 5
"""The owner comes first, where both want a processor."""

logger = logging.getLogger(__name__)


class Face:
    """Serves clients of `listener` what `owner` says and the ring holds, until the owner has gone.

    `channel` makes one of each connection.
    """

    def __init__(
        self,
        owner: socket.socket,
        listener: socket.socket,
        samples: Samples,
        served: Served,
        channel: Callable[[socket.socket], Channel] = PlainChannel,
    ) -> None:
        self._channel = channel
        self._owner, self._listener, self._samples, self._served = owner, listener, samples, served
        self._reader = FrameReader()
        self._to_owner = Outgoing()
        self._clients: dict[int, Client] = {}
        self._selector = selectors.DefaultSelector()
        for one in (owner, listener):
            one.setblocking(False)
        self._selector.register(listener, selectors.EVENT_READ)
        self._selector.register(owner, selectors.EVENT_READ)

    def run(self) -> None:
        """Until the owner has gone; then each client is told."""
        while self._round():
            pass
        for client in list(self._clients.values()):
            client.tell_end("what is served there has ended")
            client.send(time.monotonic())
            client.socket.close()

    def _round(self) -> bool:
        takes = any(client.samples is not None for client in self._clients.values())
        is_owner_there = True
        for key, events in self._selector.select(LOOK_S if takes else IDLE_S):
            if key.fileobj is self._listener:
                self._accept()
            elif key.fileobj is self._owner:
                is_owner_there = self._serve_owner(events)
            elif key.data.socket.fileno() in self._clients:  # else it was dropped in this very round
                with self._alone(key.data):
                    self._serve(key.data, events)
        if takes:
            self._samples.look()
        now_s = time.monotonic()
        for client in list(self._clients.values()):
            with self._alone(client):
                client.fill(now_s)
                if not client.send(now_s):
                    self._drop(client)
                else:
                    self._watch(client)
        self._flush_owner()
        return is_owner_there

    def _accept(self) -> None:
        try:
            accepted, _ = self._listener.accept()
        except OSError:  # who asked has gone again, or there are no descriptors left
            return
        strangers = [one for one in self._clients.values() if not one.is_greeted]
        is_full = len(self._clients) - len(strangers) >= MOST_CLIENTS
        refusal = (
            f"{MOST_CLIENTS} clients are connected, which is all that this port takes" if is_full else ""
        )
        try:
            accepted.setblocking(False)
            client = Client(self._channel(accepted), self._served, self._samples, time.monotonic(), refusal)
        except OSError:
            accepted.close()
            return
        if len(strangers) >= MOST_STRANGERS:
            self._drop(strangers[0])  # they are in the order in which they came
        self._clients[accepted.fileno()] = client
        self._selector.register(accepted, selectors.EVENT_READ, client)

    def _serve(self, client: Client, events: int) -> None:
        if not events & selectors.EVENT_READ:
            return
        try:
            received = client.receive()
        except BlockingIOError:
            return
        except NervehandError as error:
            client.tell_end(str(error))
            return
        except OSError:
            received = b""
        if not received:
            self._drop(client)
            return
        for request, blob in client.take(received):
            if self._to_owner.waiting > self._served.most_waiting and request["name"] not in URGENT:
                client.answer(refused(request["id"], "the owner has much to do: ask again"))
                continue
            try:
                frame = encoded(request, blob)
            except NervehandError as error:  # as JSON it may be longer than it came
                client.answer(refused(request["id"], f"the request is too long: {error}"))
            else:
                self._to_owner.put(frame)

    @contextlib.contextmanager
    def _alone(self, client: Client) -> Iterator[None]:
        """Whatever goes wrong with a client ends that one only."""
        try:
            yield
        except Exception:
            logger.exception("a client of the port is cut off")
            self._drop(client)

    def _drop(self, client: Client) -> None:
        if self._clients.pop(client.socket.fileno(), None) is not None:
            self._selector.unregister(client.socket)
            client.socket.close()

    def _watch(self, client: Client) -> None:
        events = selectors.EVENT_READ | (selectors.EVENT_WRITE if client.wants_to_send else 0)
        if self._selector.get_key(client.socket).events != events:
            self._selector.modify(client.socket, events, client)

    def _serve_owner(self, events: int) -> bool:
        if not events & selectors.EVENT_READ:
            return True
        try:
            received = self._owner.recv(READ_BYTES)
        except BlockingIOError:
            return True
        except OSError:
            received = b""
        self._reader.feed(received)
        for frame in self._reader.frames():
            self._told(frame)
        return bool(received)

    def _told(self, frame: Frame) -> None:
        """A view, which every client may have, or an answer, which one waits for."""
        if frame.header.get("kind") == "view":
            topic = text_in(frame.header, "topic")
            self._served.views[topic] = (
                whole_in(frame.header, "serial"),
                encoded(frame.header, frame.payload),
            )
            return
        for client in self._clients.values():
            client.answer(frame.header)

    def _flush_owner(self) -> None:
        with contextlib.suppress(OSError):  # it has gone: heard of when it is read
            self._to_owner.send(self._owner)
        events = selectors.EVENT_READ | (selectors.EVENT_WRITE if self._to_owner.waiting else 0)
        if self._selector.get_key(self._owner).events != events:
            self._selector.modify(self._owner, events)


def refused(request_id: object, why: str) -> Mapping[str, object]:
    """The answer to a request that did not get through to the owner."""
    return {"kind": "answer", "id": request_id, "ok": False, "error": why}


def _first_frame(owner: socket.socket) -> Frame:
    """What the owner says first; it has been sent already. EOFError where the owner has gone."""
    reader = FrameReader()
    while received := owner.recv(1):  # not a byte of what follows
        reader.feed(received)
        for frame in reader.frames():
            return frame
    raise EOFError


def _secured(descriptor: int) -> Callable[[socket.socket], Channel]:
    """TLS for each connection, with the key and the certificate in that memory."""
    from firmware_bridge.port.tls import TlsChannel, server_context

    context = server_context(f"/proc/self/fd/{descriptor}")
    os.close(descriptor)
    return lambda accepted: TlsChannel(accepted, context, is_server=True)


def main() -> None:
    """Serve; see the module."""
    arguments = argparse.ArgumentParser()
    for name in ("--owner", "--listener", "--memory"):
        arguments.add_argument(name, type=int, required=True)
    arguments.add_argument("--tls", type=int)
    given = arguments.parse_args()
    for number in (signal.SIGINT, signal.SIGUSR1, signal.SIGUSR2):  # the owner answers them
        signal.signal(number, signal.SIG_IGN)
    with contextlib.suppress(OSError):  # a real-time owner's class is inherited, and is not for this
        os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
    os.nice(NICENESS)
    with socket.socket(fileno=given.owner) as owner, socket.socket(fileno=given.listener) as listener:
        try:
            first = _first_frame(owner).header
        except EOFError:
            return
        size = RingSize(whole_in(first, "sample_bytes"), whole_in(first, "n_entries"))
        channel = _secured(given.tls) if given.tls is not None else PlainChannel
        if channel is PlainChannel and not is_loopback(listener.getsockname()[0]):
            raise NervehandError("a port that other machines can reach speaks TLS: nothing is served")
        memory = mmap.mmap(given.memory, size.total_bytes, prot=mmap.PROT_READ)
        os.close(given.memory)
        try:
            Face(owner, listener, Samples(RingReader(memory, size)), Served.of(first), channel).run()
        except NervehandError:
            logger.exception("the port's server cannot understand its owner")
            raise
