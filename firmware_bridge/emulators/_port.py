"""A TCP port of an emulated device: one client at a time, and faults of its connection."""

from __future__ import annotations

import contextlib
import socket
import struct

HOST = "127.0.0.1"


class Port:
    """A TCP port on the loopback that is kept even while it does not listen, and its one client."""

    def __init__(self) -> None:
        self._reserved = _bound(0)
        self.number = int(self._reserved.getsockname()[1])
        self._listener: socket.socket | None = None
        self.client: socket.socket | None = None

    def listen(self) -> None:
        if self._listener is None:
            self._listener = _bound(self.number)
            self._listener.listen(1)

    def stop_listening(self) -> None:
        if self._listener is not None:
            with contextlib.suppress(OSError):  # not everywhere allowed
                # A thread that waits for clients in `select` would otherwise keep it listening until it is done.
                self._listener.shutdown(socket.SHUT_RDWR)
            self._listener.close()
            self._listener = None

    def sockets(self) -> list[socket.socket]:
        return [one for one in (self._listener, self.client) if one is not None]

    def take(self, readable: list[socket.socket]) -> bool:
        """Whether a client came: it is the only one, and the port stops listening."""
        if self._listener is None or self._listener not in readable:
            return False
        self.drop()
        self.client, _ = self._listener.accept()
        self.client.setblocking(False)
        self.client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.stop_listening()
        return True

    def receive(self) -> bytes:
        """What the client sent; nothing where it is gone."""
        data = b""
        if self.client is not None:
            try:
                data = self.client.recv(1 << 16)
            except OSError:
                data = b""
        if not data:
            self.drop()
        return data

    def answer(self, data: bytes) -> None:
        if self.client is not None and data:
            try:
                self.client.sendall(data)
            except OSError:
                self.drop()

    def drop(self, is_reset: bool = False) -> None:
        if self.client is not None:
            if is_reset:
                self.client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.client.close()
            self.client = None

    def close(self) -> None:
        self.drop()
        self.stop_listening()
        self._reserved.close()


def _bound(port: int) -> socket.socket:
    one = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    one.bind((HOST, port))
    return one
