"""A TCP proxy that can be cut in the middle of a stream, and restored."""

from __future__ import annotations

import contextlib
import select
import socket
import threading
from collections.abc import Iterator


class Proxy:
    """Passes bytes between whoever connects to `address` and `target`, in both directions.

    `budget` is how many bytes towards the client it passes before it cuts the link by itself; None: no such end.
    `is_stopped` lets bytes lie, without a cut; `hold` only what clients send over the links that there are now.
    """

    def __init__(self, target: str) -> None:
        host, _, number = target.rpartition(":")
        self._target = (host, int(number))
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._pairs: list[tuple[socket.socket, socket.socket]] = []
        self._held: set[socket.socket] = set()
        self._lock = threading.Lock()
        self._over = threading.Event()
        self.budget: int | None = None
        self.is_stopped = False
        self.is_refusing = False
        self.cuts = 0
        self.seen = bytearray()
        """What went through, both ways, up to a limit."""
        self._thread = threading.Thread(target=self._run, daemon=True)

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self._listener.getsockname()[1]}"

    def cut(self, *, refusing: bool = False) -> None:
        """Cut every link now; with `refusing`, new ones too, until `restore`."""
        self.is_refusing = refusing
        with self._lock:
            for pair in self._pairs:
                for one in pair:
                    with contextlib.suppress(OSError):
                        one.shutdown(socket.SHUT_RDWR)
            self.cuts += 1

    def restore(self) -> None:
        """Links can be made again, and what was held goes on."""
        self.is_refusing = False
        self._held.clear()

    def hold(self) -> None:
        """What clients send over the links of now lies until `restore`; new links pass everything."""
        with self._lock:
            self._held.update(there for there, _ in self._pairs)

    def _run(self) -> None:
        while not self._over.is_set():
            ready, _, _ = select.select([self._listener], [], [], 0.05)
            if not ready:
                continue
            there, _ = self._listener.accept()
            if self.is_refusing:
                there.close()
                continue
            try:
                served = socket.create_connection(self._target, 5)
            except OSError:
                there.close()
                continue
            with self._lock:
                self._pairs.append((there, served))
            threading.Thread(target=self._pass, args=(there, served), daemon=True).start()

    def _pass(self, there: socket.socket, served: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while not self._over.is_set():
                passing = [] if self.is_stopped else [served] if there in self._held else [there, served]
                ready, _, _ = select.select(passing, [], [], 0.05)
                for one in ready:
                    if one is there and there in self._held:
                        continue
                    received = one.recv(4096)
                    if not received:
                        return self._close(there, served)
                    if len(self.seen) < 1 << 20:
                        self.seen += received
                    if one is served and self.budget is not None:
                        received = received[: self.budget]
                        self.budget -= len(received)
                    (served if one is there else there).sendall(received)
                    if one is served and self.budget == 0:
                        self.budget = None
                        self.cuts += 1
                        return self._close(there, served)
        self._close(there, served)
        return None

    def _close(self, *pair: socket.socket) -> None:
        for one in pair:
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()

    def close(self) -> None:
        self._over.set()
        self._thread.join()
        self._listener.close()


@contextlib.contextmanager
def proxied(target: str) -> Iterator[Proxy]:
    """A proxy to `target`, until the block is left."""
    proxy = Proxy(target)
    proxy._thread.start()
    try:
        yield proxy
    finally:
        proxy.cut()
        proxy.close()
