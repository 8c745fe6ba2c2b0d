"""One client of the server of a port over TLS: what it is to be sent goes out, and nothing keeps the server busy."""

from __future__ import annotations

import contextlib
import mmap
import select
import socket
import time
from collections.abc import Iterator

from firmware_bridge.port import own_tls_files
from firmware_bridge.port.face_client import Client, Served
from firmware_bridge.port.face_samples import Samples
from firmware_bridge.port.sample_ring import RingReader, RingSize, make_memory
from firmware_bridge.port.tls import TlsChannel, client_context, server_context
from tests.firmware_bridge.port.serving_rig import INFO, PATIENCE_S

SMALL_BYTES = 4096


@contextlib.contextmanager
def accepted() -> Iterator[tuple[Client, TlsChannel]]:
    """A client as the server has it, and the other end of its connection; both take little at a time."""
    size = RingSize.of(INFO)
    ring = Samples(RingReader(mmap.mmap(make_memory(size), size.total_bytes), size))
    with socket.create_server(("127.0.0.1", 0)) as listener, socket.socket() as there:
        there.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SMALL_BYTES)
        there.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        there.connect(listener.getsockname())
        here, _ = listener.accept()
        with here:
            here.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SMALL_BYTES)
            for one in (here, there):
                one.setblocking(False)
            context = server_context(own_tls_files().certificate)
            channel = TlsChannel(here, context, is_server=True)
            yield (
                Client(channel, Served("t", "s", {}, {}), ring, time.monotonic()),
                TlsChannel(there, client_context(), is_server=False),
            )


def received(client: Client) -> bytes:
    with contextlib.suppress(BlockingIOError):
        return client.receive()
    return b""


def test_before_tls_is_there_a_client_is_not_waited_for_to_take_its_first_word() -> None:
    with accepted() as (client, there):
        assert client.out.waiting > 0
        assert not client.wants_to_send
        while not there.handshake() or not client.channel.is_open:
            received(client)
        assert client.wants_to_send


def test_what_tls_has_taken_goes_out_though_nothing_follows() -> None:
    sent = bytes(range(256)) * 2000
    with accepted() as (client, there):
        while not there.handshake() or not client.channel.is_open:
            received(client)
        client.out.put(sent)
        heard = bytearray()
        end_s = time.monotonic() + PATIENCE_S
        while client.wants_to_send:
            assert time.monotonic() < end_s
            assert client.send(time.monotonic())
            with contextlib.suppress(BlockingIOError):
                heard += there.receive(1 << 16)
        while len(heard) < len(sent):
            with contextlib.suppress(BlockingIOError):
                heard += there.receive(1 << 16)
        assert heard.endswith(sent)
        assert (client.out.waiting, client.channel.waiting) == (0, 0)


def test_what_a_client_says_after_its_end_is_not_even_decrypted() -> None:
    with accepted() as (client, there):
        while not there.handshake() or not client.channel.is_open:
            received(client)
        client.tell_end("it is over")
        before = client.channel.heard_bytes
        assert there.send(memoryview(b"what else")) == len(b"what else")
        assert select.select([client.socket], [], [], PATIENCE_S)[0]
        heard = received(client)
        assert heard
        assert b"what else" not in heard
        assert client.channel.heard_bytes == before
