"""One connection to a port: connected, known to each other, then frames both ways. It does not come back by itself."""

from __future__ import annotations

import contextlib
import hmac
import select
import socket
import threading
import time
from collections.abc import Mapping

from firmware_bridge.errors import LinkError, NervehandError
from firmware_bridge.plain import from_plain
from firmware_bridge.port.addresses import is_loopback, split
from firmware_bridge.port.channel import Channel, PlainChannel
from firmware_bridge.port.credentials import Credentials
from firmware_bridge.port.greeting import answer_to, challenge, require_server
from firmware_bridge.port.host_clock import HostClock
from firmware_bridge.port.wire import MOST_PAYLOAD_BYTES, Frame, FrameReader, encoded, text_in, whole_in
from firmware_bridge.stream import StreamInfo

READ_BYTES = 1 << 18
SILENT_S = 4.0
"""A port says something each second; one that is silent for longer is not there any more."""
AGAIN_S = 0.05
BEAT = encoded({"kind": "beat"})
_FINGERPRINT_LACKS = (
    "the port at {address} is not on this machine, and no fingerprint is given for it: copy the file of its token, "
    "which holds both, or go by a tunnel (docs/port.md)"
)


class LinkCutError(LinkError):
    """The link was there, and is cut: it may be made again at once."""


def linked(address: str, token: str, who: str, timeout_s: float) -> Link:
    """A link, tried again where it is cut while the two sides greet; errors are those of `Link`."""
    deadline_s = time.monotonic() + timeout_s
    while True:
        try:
            return Link(address, token, who, max(0.1, deadline_s - time.monotonic()))
        except LinkCutError:
            if time.monotonic() + AGAIN_S > deadline_s:
                raise
        time.sleep(AGAIN_S)


class Link:
    """Connects at once, for at most `timeout_s`: LinkError where no port answers, NervehandError where it refuses.

    `token` is "TOKEN", or "TOKEN sha256:HEX": with a fingerprint it speaks TLS, to who has that certificate and nobody
    else; without one it connects to this machine only.
    `about` and `info` are what the owner says; `stream` names what its sample indices count, another one for each time
    that a port is served. `send` may be called from several threads, `receive` from one.
    """

    def __init__(self, address: str, token: str, who: str, timeout_s: float) -> None:
        self.address = address
        self.about: dict[str, object]
        self._reader = FrameReader(most_payload=0)
        self._clock, self._ahead_ns = HostClock(), 0
        self._sending = threading.Lock()
        self._waiting: list[Frame] = []
        deadline_s = time.monotonic() + timeout_s
        host, number = split(address)
        shown = Credentials.of(token)
        if not shown.fingerprint and not is_loopback(host):
            raise NervehandError(_FINGERPRINT_LACKS.format(address=address))
        try:
            self._socket = socket.create_connection((host, number), timeout_s)
            peer = self._socket.getpeername()[0]
        except OSError as error:
            raise LinkError(
                f"nothing answers at port {address} ({_why(error)}): is it served there?"
            ) from None
        try:
            if not shown.fingerprint and not is_loopback(peer):  # a name that leads elsewhere
                raise NervehandError(_FINGERPRINT_LACKS.format(address=address))
            self._socket.setblocking(False)
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._channel = self._opened(shown.fingerprint, deadline_s)
            self._greet(shown, who, deadline_s)
        except BaseException:
            self._socket.close()
            raise
        self._reader.most_payload = MOST_PAYLOAD_BYTES
        self._heard_s = time.monotonic()

    def _opened(self, fingerprint: str, deadline_s: float) -> Channel:
        """Nothing that depends on the token is sent before the other side has shown that it has the certificate."""
        if not fingerprint:
            return PlainChannel(self._socket)
        from firmware_bridge.port.tls import NotTlsError, TlsChannel, client_context, reason

        channel = TlsChannel(self._socket, client_context(), is_server=False)
        try:
            while not channel.handshake():
                left_s = deadline_s - time.monotonic()
                if left_s <= 0:
                    raise LinkError(
                        f"what is at {self.address} accepts, but says nothing of TLS: is it a port?"
                    )
                _ready(self._socket, select.POLLIN, left_s)
        except NotTlsError:
            raise LinkError(
                f"what is at {self.address} does not speak TLS, though a fingerprint is given for it: it is not the "
                "port with that certificate. For one on this machine, or at the end of a tunnel, give the token alone"
            ) from None
        except ConnectionError as error:
            raise LinkCutError(f"the link to port {self.address} is cut ({_why(error)})") from None
        except OSError as error:
            raise LinkError(
                f"no TLS with what is at {self.address} ({reason(error)}): is it a port?"
            ) from None
        if not hmac.compare_digest(channel.peer.encode(), fingerprint.encode()):
            raise LinkError(
                f"what is at {self.address} has another certificate: {channel.peer}, not {fingerprint}. Somebody may "
                "listen in; if its certificate was made anew, copy the file of its token again"
            )
        return channel

    def _greet(self, shown: Credentials, who: str, deadline_s: float) -> None:
        token, fingerprint = shown.token, shown.fingerprint
        first = self._one(deadline_s).header
        ours = challenge()
        try:
            answer = answer_to(first, token, ours, who[:200], fingerprint)
        except LinkError as error:
            raise LinkError(f"port {self.address}: {error}") from None
        self.send(answer)
        welcome = self._one(deadline_s).header
        require_server(welcome, token, ours, first, fingerprint)
        self.stream = text_in(welcome, "stream")
        self.info: StreamInfo = from_plain(StreamInfo, welcome.get("info"), "the port's stream")
        about = welcome.get("about")
        self.about = about if isinstance(about, dict) else {}

    def _one(self, deadline_s: float) -> Frame:
        while time.monotonic() < deadline_s:
            if self._waiting:  # a refusal may come together with the first word
                return self._waiting.pop(0)
            self._waiting += self._read(max(0.0, deadline_s - time.monotonic()))
        raise LinkError(f"what is at {self.address} accepts, but says nothing: is it a port?")

    def send(self, header: Mapping[str, object], payload: bytes = b"", timeout_s: float = SILENT_S) -> None:
        """LinkError where the other side does not take it within that, or has gone."""
        self.send_encoded(encoded(header, payload), timeout_s)

    def send_encoded(self, frame: bytes, timeout_s: float = SILENT_S) -> None:
        """A frame that is bytes already."""
        deadline_s = time.monotonic() + timeout_s
        if not self._sending.acquire(timeout=timeout_s):
            raise LinkError(f"the link to port {self.address} is busy with something else")
        try:
            self._sent(frame, deadline_s)
        finally:
            self._sending.release()

    def beat(self) -> None:
        """Say that this side is there, unless something else that says so is on its way."""
        if not self._sending.acquire(blocking=False):
            return
        try:
            if _ready(self._socket, select.POLLOUT, 0.0):
                self._sent(BEAT, time.monotonic() + SILENT_S)
        finally:
            self._sending.release()

    def _sent(self, frame: bytes, deadline_s: float) -> None:
        with memoryview(frame) as rest:
            sent = 0
            try:
                while True:
                    with contextlib.suppress(BlockingIOError):
                        while sent < len(rest):
                            sent += self._channel.send(rest[sent : sent + READ_BYTES])
                        self._channel.flush()
                    if sent == len(rest) and not self._channel.waiting:
                        return
                    left_s = deadline_s - time.monotonic()
                    if left_s <= 0:
                        raise LinkError(f"the port at {self.address} takes nothing any more")
                    _ready(self._socket, select.POLLOUT, left_s)
            except OSError as error:
                raise LinkCutError(f"the link to port {self.address} is cut ({_why(error)})") from None
            finally:
                if 0 < sent < len(rest) or self._channel.waiting:
                    self.cut()  # nothing can follow half a frame

    def receive(self, timeout_s: float) -> list[Frame]:
        """What has come, after at most `timeout_s`; may be nothing. LinkError where the link is cut or silent."""
        if self._waiting:
            found, self._waiting = self._waiting, []
            return found
        found = self._read(timeout_s)
        now_s = time.monotonic()
        if found:
            self._heard_s = now_s
        elif now_s - self._heard_s > SILENT_S:
            raise LinkError(f"the port at {self.address} has been silent for {SILENT_S:g} s")
        for frame in found:
            if frame.header.get("kind") == "end":
                raise LinkError(f"the port at {self.address}: {frame.header.get('error')}")
        return [frame for frame in found if frame.header.get("kind") != "beat"]

    def _read(self, timeout_s: float) -> list[Frame]:
        try:
            is_ready = _ready(self._socket, select.POLLIN, timeout_s)
            received = self._channel.receive(READ_BYTES) if is_ready else None
        except BlockingIOError:
            received = None
        except OSError as error:
            raise LinkCutError(f"the link to port {self.address} is cut ({_why(error)})") from None
        if received is None:
            return []
        if not received:
            raise LinkCutError(f"the link to port {self.address} is cut: the other side has closed it")
        self._reader.feed(received)
        try:
            found = list(self._reader.frames())
            for frame in found:
                if "now_ns" in frame.header:
                    server_ns = whole_in(frame.header, "now_ns")
                    self._ahead_ns = self._clock.ours(server_ns, time.monotonic_ns()) - server_ns
            return found
        except LinkError:
            raise
        except NervehandError as error:
            raise LinkError(f"{self.address}: {error}") from None

    def server_ns(self) -> int:
        """Now by the clock of the port's machine (`time.monotonic_ns`), or earlier: what it said took time to come.

        Never earlier than an answer that has come.
        """
        return time.monotonic_ns() - self._ahead_ns

    def fileno(self) -> int:
        """Of its socket, for who waits for several at once."""
        return self._socket.fileno()

    def cut(self) -> None:
        """End it, from any thread; whoever receives hears of it."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """End it and give its descriptor back, by whoever receives."""
        self.cut()
        with self._sending:
            self._socket.close()


def _ready(one: socket.socket, event: int, timeout_s: float) -> bool:
    waiting = select.poll()
    waiting.register(one, event)
    return bool(waiting.poll(max(0.0, timeout_s) * 1e3))


def _why(error: OSError) -> str:
    return str(error.strerror or error or repr(error))
