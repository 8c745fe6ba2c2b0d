"""The owner's side of a port: a running engine shows what it does and hears requests, without ever waiting."""

from __future__ import annotations

import contextlib
import json
import logging
import mmap
import os
import secrets
import select
import socket
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from firmware_bridge.errors import NervehandError
from firmware_bridge.plain import to_plain
from firmware_bridge.port.addresses import joined
from firmware_bridge.port.entries import noted, own_token, plain_about
from firmware_bridge.port.face_process import FaceProcess
from firmware_bridge.port.listening import listening, secured_for
from firmware_bridge.port.outgoing import Outgoing
from firmware_bridge.port.sample_ring import RingSize, RingWriter, make_memory
from firmware_bridge.port.tls_files import TlsFiles
from firmware_bridge.port.wire import MOST_REQUEST_BYTES, URGENT, Frame, FrameReader, encoded
from firmware_bridge.stream import SignalBlock, StreamInfo

NOTHING: Mapping[str, object] = {}
READ_BYTES = 1 << 18
"""Of requests at a time: a bundle comes over several calls."""
MOST_REMEMBERED = 512
"""Requests whose answers are kept, for a client that asks again because its link was cut."""

logger = logging.getLogger(__name__)


class Request:
    """What a client asks of the owner, who answers it once, by `answer` or by `refuse`.

    `name` says what, `arguments` are plain JSON, `blob` bytes that came with it, `who` asks. After `expires_ns` (host,
    `time.monotonic_ns`) nobody waits for the answer any more. It was asked at `asked_ns` (host) or later, however
    long it was on its way; 0 where the client did not say.
    """

    def __init__(self, port: Port, frame: Frame) -> None:
        header = frame.header
        self._port, self._id = port, str(header["id"])
        arguments = header["arguments"]
        self.name, self.who = str(header["name"]), str(header["who"])
        self.arguments: dict[str, object] = arguments if isinstance(arguments, dict) else {}
        self.blob = frame.payload
        self.expires_ns = _time_in(header, "expires_ns")
        # Never later than now: what claims to be from the future would outlast every stop.
        self.asked_ns = min(_time_in(header, "asked_ns"), time.monotonic_ns())

    def answer(self, result: Mapping[str, object] = NOTHING) -> None:
        """It was done; `result` is plain, or holds dataclasses. From any thread."""
        self._port.settle(self._id, {"ok": True, "result": to_plain(result)})

    def refuse(self, text: str) -> None:
        """It is not done; `text` says why, and what to do. From any thread."""
        self._port.settle(self._id, {"ok": False, "error": text})


class Port:
    """A port that is served. Nothing here waits but `wait`; one thread calls `samples`, one `requests` and `wait`.

    `address` is host:port, really bound. `fingerprint` is that of its certificate, "" without TLS; `token_path` the
    file with what a client needs. `problem` says what was wrong with the server, "" where nothing: where it dies
    it is started again, and its clients come back by themselves.
    """

    def __init__(
        self,
        address: str,
        memory: mmap.mmap,
        size: RingSize,
        face: FaceProcess,
        token_path: Path,
        fingerprint: str = "",
    ) -> None:
        self.address, self.token_path, self.fingerprint = address, token_path, fingerprint
        self._ring = RingWriter(memory, size)
        self._face = face
        self._flushing = threading.Lock()
        self._reader = FrameReader(most_payload=MOST_REQUEST_BYTES)
        self._out = Outgoing()
        self._answers: deque[bytes] = deque()
        self._settled: OrderedDict[str, bytes | None] = OrderedDict()
        self._views: dict[str, tuple[int, bytes]] = {}  # the newest of each topic
        self._serials: dict[str, int] = {}
        self._unsent: dict[str, None] = {}
        self._socket = face.socket
        self._unshown = ""

    @property
    def problem(self) -> str:
        """What was wrong with the server, or cannot be shown; "" where nothing."""
        return self._face.problem or self._unshown

    @property
    def server_pid(self) -> int:
        """Of the process that serves now."""
        return self._face.pid

    @property
    def announcement(self) -> str:
        """Where it is served, for people; with TLS also its certificate, and what to copy to another machine."""
        at = f"served at port:{self.address}"
        if not self.fingerprint:
            return at
        return f"{at} with TLS, certificate {self.fingerprint}; other machines need {self.token_path}"

    def show(self, topic: str, view: object) -> None:
        """The newest of a topic, which replaces the one before: a frozen dataclass, or what JSON can hold."""
        payload = json.dumps(to_plain(view), separators=(",", ":")).encode()
        serial = self._serials[topic] = self._serials.get(topic, 0) + 1
        try:
            self._views[topic] = (
                serial,
                encoded({"kind": "view", "topic": topic, "serial": serial}, payload),
            )
        except NervehandError as error:
            self._unshown = f"{topic} is not shown: {error}"
            return
        self._unsent[topic] = None
        self._flush()

    def samples(self, block: SignalBlock) -> None:
        """A block for whoever subscribes; the last 30 s are kept for who was cut off."""
        try:
            self._ring.write(block)
        except NervehandError as error:  # who takes samples hears that they are lost
            self._unshown = f"samples are not shown: {error}"
        if self._unsent or self._answers or self._out.waiting:
            self._flush()

    def requests(self) -> list[Request]:
        """What came since the last time, in its order."""
        self._renew()
        self._flush()
        found = []
        try:
            received = self._socket.recv(READ_BYTES)
        except OSError:  # nothing is there, or the server has ended and is started again
            return []
        self._reader.feed(received)
        try:
            for frame in self._reader.frames():
                request = self._new(frame)
                if request is not None:
                    found.append(request)
        except NervehandError:  # what follows cannot be understood either: another server is started
            logger.exception("the port's server is not understood, and is given up")
            self._reader = FrameReader(most_payload=MOST_REQUEST_BYTES)
            with contextlib.suppress(OSError):
                self._socket.shutdown(socket.SHUT_RDWR)
        return found

    def wait(self, timeout_s: float) -> bool:
        """For a thread that only answers: whether there may be a request, after at most `timeout_s`."""
        self._renew()
        self._flush()
        waiting = select.poll()
        try:
            waiting.register(self._socket, select.POLLIN)
            events = waiting.poll(timeout_s * 1e3)
        except (OSError, ValueError):
            events = []
        if events and events[0][1] & (select.POLLHUP | select.POLLERR | select.POLLNVAL):
            time.sleep(min(timeout_s, 0.05))  # the server has ended: it is started again
            return False
        return bool(events)

    def settle(self, request_id: str, answer: Mapping[str, object]) -> None:
        """Answer a request; the first answer counts. From any thread."""
        if self._settled.get(request_id) is not None:
            return
        frame = self._settled[request_id] = encoded({"kind": "answer", "id": request_id, **answer})
        self._answers.append(frame)
        self._flush(waits=True)

    def close(self) -> None:
        """Send what the server takes at once, and give the memory back."""
        self._flush(waits=True)
        self._ring.close()

    def _new(self, frame: Frame) -> Request | None:
        """The request, unless it came before: who asks again gets the same answer."""
        request_id = str(frame.header["id"])
        if request_id in self._settled:
            before = self._settled[request_id]
            if before is not None:
                self._answers.append(before)
                self._flush()
            return None
        self._settled[request_id] = None
        while len(self._settled) > MOST_REMEMBERED:
            self._settled.popitem(last=False)
        request = Request(self, frame)
        if time.monotonic_ns() > request.expires_ns and request.name not in URGENT:
            request.refuse("it came too late, when nobody waited: ask again")
            return None
        return request

    def _renew(self) -> None:
        """Where another process serves now, which knows nothing yet: go on with it. In the thread of `requests`."""
        if self._socket is self._face.socket:
            return
        with self._flushing:
            self._socket, self._reader = self._face.socket, FrameReader(most_payload=MOST_REQUEST_BYTES)
            self._out.clear()
            self._unsent.update(dict.fromkeys(self._views))
        self._face.retire(self._socket)

    def _flush(self, *, waits: bool = False) -> None:
        """Send what the server's socket takes now. Where another thread does just that, it is left to it."""
        if not self._flushing.acquire(blocking=waits):
            return
        try:
            while self._answers:
                self._out.put(self._answers.popleft())
            if not self._out.waiting:  # else the newest waits, and nothing piles up
                for topic in list(self._unsent):
                    del self._unsent[topic]
                    self._out.put(self._views[topic][1])
            if self._out.waiting:
                self._out.send(self._socket)
        except OSError:
            return  # it has ended, and is started again
        finally:
            self._flushing.release()


def _time_in(header: Mapping[str, object], name: str) -> int:
    value = header.get(name)
    return value if isinstance(value, int) else 0


@contextmanager
def serving(
    where: str,
    info: StreamInfo,
    about: Mapping[str, object],
    *,
    name: str = "",
    tls: TlsFiles | None = None,
) -> Iterator[Port]:
    """A port at `where`, HOST:PORT or :PORT (loopback), port 0 for a free one; NervehandError where it cannot be bound.

    `about` is plain JSON: what is running ("kind" is "run" or "calibration", a title, the bundle's SHA-256, the
    subject's pseudonym...). `name` is what people may know it by. With `tls` it speaks TLS; at any address but a
    loopback one it does so always, without `tls` with this user's own certificate, and NervehandError where it cannot.
    """
    plain = plain_about(about)
    size = RingSize.of(info)
    with listening(where) as listener, secured_for(listener, tls) as safe:
        host, number = listener.getsockname()[:2]
        address = joined(host, number)
        token, token_path = own_token() if safe is None else (safe.token, safe.token_path)
        fingerprint = "" if safe is None else safe.fingerprint
        first = encoded(
            {
                "token": token, "stream": secrets.token_hex(8), "info": to_plain(info), "about": plain,
                "sample_bytes": size.sample_bytes, "n_entries": size.n_entries, "fingerprint": fingerprint,
            }
        )  # fmt: skip
        descriptor = make_memory(size)
        try:
            with FaceProcess(first, listener, descriptor, None if safe is None else safe.descriptor) as face:
                memory = mmap.mmap(descriptor, size.total_bytes)
                port = Port(address, memory, size, face, token_path, fingerprint)
                try:
                    with noted(address, name, token_path, fingerprint):
                        yield port
                finally:
                    port.close()
        finally:
            os.close(descriptor)
