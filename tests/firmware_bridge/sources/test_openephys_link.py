"""A ZMQ connection that breaks at any byte, from a publisher that sends its bytes by hand.

Bytes: ZMTP 3.0 (https://rfc.zeromq.org/spec/23/), NULL mechanism.
"""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from firmware_bridge.errors import SourceLostError
from firmware_bridge.sources._interrupt import Interrupt, Patience

pytest.importorskip("zmq", reason="the extra openephys (pyzmq) is not installed")

import zmq

from firmware_bridge.sources import _openephys_link
from firmware_bridge.sources._openephys_link import OpenEphysLink

LIMIT_S = 60.0
GREETING = b"\xff" + bytes(8) + b"\x7f\x03\x00" + b"NULL".ljust(20, b"\0") + bytes(32)
MORE, LONG, COMMAND = 1, 2, 4
PARTS = [b"DATA", b"x" * 300, b"y" * 90]


def frame(body: bytes, flags: int = 0) -> bytes:
    if len(body) < 256:
        return bytes([flags, len(body)]) + body
    return bytes([flags | LONG]) + struct.pack(">Q", len(body)) + body


READY = frame(b"\x05READY\x0bSocket-Type" + struct.pack(">I", 4) + b"XPUB", COMMAND)
MESSAGE = frame(PARTS[0], MORE) + frame(PARTS[1], MORE) + frame(PARTS[2])


def received(connection: socket.socket, n: int) -> bytes:
    data = b""
    while len(data) < n:
        part = connection.recv(n - len(data))
        assert part, "the subscriber left"
        data += part
    return data


def publish(
    server: socket.socket, n_whole: int, n_bytes: int, is_reset: bool, may_send: threading.Event | None
) -> None:
    """To the next subscriber: whole messages, that much of another one, and the end."""
    connection, _ = server.accept()
    with connection:
        connection.settimeout(LIMIT_S)
        connection.sendall(GREETING)
        received(connection, len(GREETING))
        connection.sendall(READY)
        for _ in range(2):  # its READY, and that it subscribes to everything
            received(connection, received(connection, 2)[1])
        assert may_send is None or may_send.wait(LIMIT_S)
        connection.sendall(MESSAGE * n_whole + MESSAGE[:n_bytes])
        if is_reset:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


@contextmanager
def publisher(
    n_whole: int, n_bytes: int, is_reset: bool, may_send: threading.Event | None = None
) -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(LIMIT_S)
        thread = threading.Thread(target=publish, args=(server, n_whole, n_bytes, is_reset, may_send))
        thread.start()
        try:
            yield int(server.getsockname()[1])
        finally:
            thread.join()


@pytest.mark.parametrize("is_reset", [False, True])
def test_whatever_byte_a_connection_breaks_at_whole_messages_come_and_the_loss_is_said(
    is_reset: bool,
) -> None:
    for n_bytes in range(0, len(MESSAGE), 3):
        with publisher(60, n_bytes, is_reset) as port:
            link = OpenEphysLink("127.0.0.1", port, Interrupt())
            n = 0
            with pytest.raises(SourceLostError, match="broke"):  # noqa: PT012
                while True:
                    assert link.receive(Patience(LIMIT_S)) == PARTS
                    n += 1
            link.close()
            assert n == 60 or (is_reset and n < 60)  # a reset takes what was not read with it


def test_messages_that_come_together_with_the_end_of_the_connection_are_delivered_before_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """All of it happens between two looks at the sockets."""
    real, may_send = _openephys_link._received, threading.Event()

    def received_late(link: zmq.Socket[bytes]) -> list[bytes] | None:
        if link is subscription._monitor and not may_send.is_set():
            may_send.set()
            assert link.poll(round(LIMIT_S * 1000)), "the connection did not end"
        return real(link)

    with publisher(60, 0, False, may_send) as port:
        subscription = OpenEphysLink("127.0.0.1", port, Interrupt())
        monkeypatch.setattr(_openephys_link, "_received", received_late)
        for _ in range(60):
            assert subscription.receive(Patience(LIMIT_S)) == PARTS
        with pytest.raises(SourceLostError, match="broke"):
            subscription.receive(Patience(LIMIT_S))
        subscription.close()
