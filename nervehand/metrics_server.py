"""A small HTTP server for one page of metrics on the loopback, which no client can hold up or fill.

Each connection is answered once and closed; it has `TIME_S` for all of it, and `MOST_HEADER` bytes for its request. Of
more than `MOST_CLIENTS` the one that has been there for longest makes room, so that whoever opens many and says nothing
keeps nobody out. A request has to name this machine (Host), so that a web page elsewhere cannot have a browser read
what is served here.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import logging
import socket
import time
from collections.abc import Callable

from firmware_bridge.errors import NervehandError
from firmware_bridge.port import addresses

MOST_CLIENTS = 32
MOST_HEADER = 8192
TIME_S = 5.0
FRESH_S = 0.2
"""For so long one page is given to everybody: whoever asks all the time costs no more than five pages a second."""
TEXT = "text/plain; version=0.0.4; charset=utf-8"
INDEX = b"""<!doctype html>
<title>nervehand</title>
<p>nervehand: <a href="/metrics">/metrics</a>, for Prometheus.</p>
"""
_REASONS = {200: "OK", 400: "Bad Request", 404: "Not Found", 405: "Method Not Allowed", 421: "Misdirected Request",
            431: "Request Header Fields Too Large", 500: "Internal Server Error"}  # fmt: skip
_END = b"\r\n\r\n"

logger = logging.getLogger(__name__)


def loopback(address: str) -> tuple[str, int]:
    """Host and port of `address`; NervehandError where that is not on this machine's loopback."""
    host, number = addresses.split(address)
    if host == "localhost":
        return "127.0.0.1", number
    try:
        inside = ipaddress.ip_address(host).is_loopback
    except ValueError:
        inside = False
    if not inside:
        raise NervehandError(
            f"metrics on {address!r}: they are served on this machine only, for example 127.0.0.1:9464; "
            "let Prometheus come by an SSH tunnel or an agent here"
        )
    return host, number


def listener_at(address: str) -> socket.socket:
    """A listening socket; NervehandError where that cannot be."""
    host, number = loopback(address)
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, number), family=family, backlog=128)
    except OSError as error:
        raise NervehandError(f"metrics on {address}: {error.strerror}; choose another port") from None


class MetricsServer:
    """Serves what `page` makes at GET /metrics."""

    def __init__(self, page: Callable[[], bytes], clock_s: Callable[[], float] = time.monotonic) -> None:
        self._page, self._clock_s = page, clock_s
        self._made_s, self._made = -float("inf"), b""
        self._clients: dict[asyncio.Task[None], None] = {}

    async def serve(self, listener: socket.socket) -> None:
        """Until it is cancelled."""
        server = await asyncio.start_server(self._client, sock=listener, limit=MOST_HEADER)
        async with server:
            await server.serve_forever()

    async def _client(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        while len(self._clients) >= MOST_CLIENTS:
            oldest = next(iter(self._clients))
            del self._clients[oldest]
            oldest.cancel()
        self._clients[task] = None
        try:
            async with asyncio.timeout(TIME_S):
                writer.write(await self._answer(reader))
                await writer.drain()
                writer.write_eof()
                # What it still sends is taken and thrown away: to close before would cut off the answer.
                while await reader.read(MOST_HEADER):
                    pass
        except (OSError, TimeoutError, asyncio.CancelledError):
            pass  # it went, was too slow, or made room
        finally:
            self._clients.pop(task, None)
            writer.transport.abort()

    async def _answer(self, reader: asyncio.StreamReader) -> bytes:
        try:
            head = await reader.readuntil(_END)
        except asyncio.LimitOverrunError:
            return _response(431, b"the request is too long\n")
        except asyncio.IncompleteReadError:
            return b""
        lines = head.decode("latin-1").split("\r\n")
        words = lines[0].split(" ")
        if len(words) != 3 or not words[2].startswith("HTTP/1."):
            return _response(400, b"that is no request of HTTP/1.1\n")
        fields = [
            (name.strip().lower(), value.strip())
            for name, _, value in (line.partition(":") for line in lines[1:])
        ]
        hosts = [value for name, value in fields if name == "host"]
        if len(hosts) > 1 or not all(map(_is_here, hosts)):
            return _response(421, b"metrics are served to this machine, by its own name or address\n")
        return self._page_at(words[0], words[1].partition("?")[0])

    def _page_at(self, method: str, path: str) -> bytes:
        if path not in ("/", "/metrics"):
            return _response(404, b"there are / and /metrics\n")
        if method != "GET":
            return _response(405, b"GET it\n")
        if path == "/":
            return _response(200, INDEX, kind="text/html; charset=utf-8")
        if self._clock_s() - self._made_s >= FRESH_S:
            try:
                self._made, self._made_s = self._page(), self._clock_s()
            except Exception:  # one scrape that fails, whatever the reason, must not be the last
                logger.exception("the metrics could not be made")
                return _response(500, b"the metrics could not be made: see the log\n")
        return _response(200, self._made, kind=TEXT)


def _is_here(host: str) -> bool:
    """Whether a Host field names this machine: an address in numbers, or localhost."""
    name = host.rpartition(":")[0] if host.rpartition(":")[2].isdecimal() and not host.endswith("]") else host
    with contextlib.suppress(ValueError):
        return ipaddress.ip_address(name.removeprefix("[").removesuffix("]")).is_loopback
    return name.lower() == "localhost"


def _response(status: int, body: bytes, kind: str = "text/plain; charset=utf-8") -> bytes:
    lines = [
        f"HTTP/1.1 {status} {_REASONS[status]}",
        f"Content-Type: {kind}",
        f"Content-Length: {len(body)}",
        "Connection: close",
        "Cache-Control: no-store",
        "X-Content-Type-Options: nosniff",
        *(["Allow: GET"] if status == 405 else []),
    ]
    return "\r\n".join(lines).encode() + _END + body
