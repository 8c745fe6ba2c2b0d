"""One client of the server of a port: who it is, what it takes, and what is on its way to it."""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from firmware_bridge.errors import NervehandError
from firmware_bridge.port.channel import Channel
from firmware_bridge.port.face_samples import Position, Samples
from firmware_bridge.port.greeting import admitted, challenge, first_word, tls_wanted
from firmware_bridge.port.outgoing import Outgoing
from firmware_bridge.port.wire import (
    MOST_GREETING_BYTES,
    MOST_HEADER_BYTES,
    MOST_REQUEST_BYTES,
    URGENT,
    Frame,
    FrameReader,
    encoded,
    text_in,
    whole_in,
)

GREETING_S = 5.0
"""Who has not shown by then that it knows the token is cut off."""
HELLO_S = 1.0
"""Who has not begun TLS by then, where it is spoken, waits for plain text: it is told so, and cut off."""
BEAT_S = 1.0
DEAD_S = 20
"""A machine that acknowledges nothing for so long has gone."""
READ_BYTES = 1 << 18
LINGER_S = 1.0
"""So long a client that is cut off may take to read why."""
ENOUGH_BYTES = 1 << 18
"""While so much is on its way, views are replaced by newer ones, and samples stay in the ring."""
STRANGER_READ_BYTES = 1 << 14
MOST_STRANGER_BYTES = 1 << 16
"""Of a client that has not shown the token, all in all, TLS included; a greeting takes some 4 KiB."""
MOST_REQUESTS = 16
"""Of one client at a time."""
MOST_URGENT = 64
"""Of one client at a time beside those; nobody who means to stop a hand gets there."""
MOST_LEFT_S = 3600.0
NS = 1_000_000_000


@dataclass(slots=True)
class Served:
    """What is served: `views` are the newest by topic, each with its serial number, as a frame.

    `fingerprint` is that of the certificate, "" without TLS.
    """

    token: str
    stream: str
    info: object
    about: object
    fingerprint: str = ""
    most_waiting: int = MOST_REQUEST_BYTES
    views: dict[str, tuple[int, bytes]] = field(default_factory=dict)

    @classmethod
    def of(cls, first: Mapping[str, object]) -> Served:
        """From the owner's first frame."""
        return cls(
            text_in(first, "token"), text_in(first, "stream"), first["info"], first["about"],
            text_in(first, "fingerprint"),
        )  # fmt: skip


class Client:
    """A connection. `samples` is where it is in the ring, None where it takes none.

    `refusal` is why it is cut off as soon as it can be told so.
    """

    def __init__(
        self, channel: Channel, served: Served, ring: Samples, now_s: float, refusal: str = ""
    ) -> None:
        accepted = channel.socket
        accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        accepted.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, DEAD_S // 2)
        accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, DEAD_S * 1000)
        self.socket, self.channel, self.out = accepted, channel, Outgoing()
        self.samples: Position | None = None
        self.ended_s: float | None = None
        self._served, self._ring, self._accepted_s, self._beat_s = served, ring, now_s, now_s
        self._reader = FrameReader(MOST_GREETING_BYTES, 0)
        self._challenge = challenge()
        self._who: str | None = None
        self._seen: dict[str, int] | None = (
            None  # serial numbers of the views it has, None where it takes none
        )
        self._waits: set[str] = set()
        self._waits_urgently: set[str] = set()
        self._is_shut = False
        self._refusal = refusal
        self.out.put(encoded(first_word(self._challenge)))

    @property
    def is_greeted(self) -> bool:
        """Whether it has shown that it knows the token."""
        return self._who is not None

    @property
    def wants_to_send(self) -> bool:
        """Whether something could be sent once the socket takes it."""
        return self.channel.waiting > 0 or (self.out.waiting > 0 and self.channel.is_open)

    def receive(self) -> bytes:
        """What has come, b"" where it has gone; BlockingIOError where nothing has that could be read, or else OSError.

        NervehandError where it is none of what this side speaks.
        """
        if self.ended_s is not None:  # nobody heeds it any more
            return self.socket.recv(READ_BYTES)
        return self.channel.receive(READ_BYTES if self.is_greeted else STRANGER_READ_BYTES)

    def take(self, received: bytes) -> Iterator[tuple[dict[str, object], bytes]]:
        """What it sent; yields what the owner is to answer. Who sends nonsense is told so, and cut off."""
        if self.ended_s is not None:
            return
        self._reader.feed(received)
        try:
            for frame in self._reader.frames():
                if self._who is None:
                    self._greeted(frame)
                    continue
                request = self._taken(frame)
                if request is not None:
                    yield request, frame.payload
        except NervehandError as error:
            self.tell_end(str(error))

    def fill(self, now_s: float) -> None:
        """Put on its way what it takes, as far as it is read."""
        if self.ended_s is not None:
            return
        if self._who is None:
            self._judge_stranger(now_s)
        if self._seen is not None:
            for topic, (serial, frame) in self._served.views.items():
                if self.out.waiting < ENOUGH_BYTES and self._seen.get(topic) != serial:
                    self._seen[topic] = serial
                    self.out.put(frame)
        if self.samples is not None:
            while self.out.waiting < ENOUGH_BYTES and (batch := self._ring.batch(self.samples)) is not None:
                self.out.put(batch)
        if self._who is not None and self.out.waiting < ENOUGH_BYTES and now_s - self._beat_s > BEAT_S:
            self._beat_s = now_s
            self.out.put(encoded({"kind": "beat", "now_ns": time.monotonic_ns()}))

    def send(self, now_s: float) -> bool:
        """What it takes now; False where it has gone, or was cut off and has had its time to read why."""
        try:
            if self.out.waiting:
                self.out.send(self.channel)
            self.channel.flush()
            is_out = not self.out.waiting and not self.channel.waiting
            if self.ended_s is not None and is_out and not self._is_shut:
                self.socket.shutdown(
                    socket.SHUT_WR
                )  # not closed: what it still sends would take the word back
                self._is_shut = True
        except OSError:
            return False
        return self.ended_s is None or now_s - self.ended_s < LINGER_S

    def answer(self, header: Mapping[str, object]) -> None:
        """An answer, if it is one that this client waits for."""
        request_id = header.get("id")
        for waits in (self._waits, self._waits_urgently):
            if isinstance(request_id, str) and request_id in waits:
                waits.discard(request_id)
                self.out.put(encoded({**header, "now_ns": time.monotonic_ns()}))

    def tell_end(self, why: str) -> None:
        """Say why it is cut off, which it is once that is sent or cannot be."""
        if self.ended_s is not None:
            return
        self.ended_s = time.monotonic()
        if not self.channel.is_open:
            self.out.clear()
            self.channel.refuse(encoded(tls_wanted()))
            return
        kind = "end" if self._who is not None else "refused"
        with contextlib.suppress(NervehandError):
            self.out.put(encoded({"kind": kind, "ok": False, "error": why}))

    def _judge_stranger(self, now_s: float) -> None:
        """Cut off who has not shown the token, and takes too long for it, or sends too much."""
        since_s = now_s - self._accepted_s
        if self._refusal and self.channel.is_open:
            self.tell_end(self._refusal)
        elif self.channel.heard_bytes > MOST_STRANGER_BYTES:
            self.tell_end(f"more than {MOST_STRANGER_BYTES} bytes were sent before the token was shown")
        elif since_s > GREETING_S or (
            since_s > HELLO_S and not self.channel.is_open and not self.channel.heard_bytes
        ):
            self.tell_end(f"nothing was heard within {GREETING_S:g} s: show the token first")

    def _greeted(self, frame: Frame) -> None:
        served = self._served
        proof, who = admitted(frame.header, served.token, self._challenge, served.fingerprint)
        self._who = who
        self._reader.most_header, self._reader.most_payload = MOST_HEADER_BYTES, MOST_REQUEST_BYTES
        welcome = {
            "ok": True,
            "proof": proof,
            "now_ns": time.monotonic_ns(),
            "stream": served.stream,
            "info": served.info,
            "about": served.about,
        }
        self.out.put(encoded(welcome))

    def _taken(self, frame: Frame) -> dict[str, object] | None:
        kind = text_in(frame.header, "kind")
        if kind == "views":
            self._seen = {}
        elif kind == "samples":
            is_same = frame.header.get("stream") == self._served.stream
            known = is_same and frame.header.get("from") is not None
            self.samples = self._ring.position(whole_in(frame.header, "from") if known else None)
        elif kind == "request":
            return self._request(frame)
        elif kind != "beat":
            raise NervehandError(
                f"a message of kind {kind!r} is not known: use the same nervehand on both sides"
            )
        return None

    def _request(self, frame: Frame) -> dict[str, object] | None:
        request_id, left_s = text_in(frame.header, "id", 100), frame.header.get("left_s")
        if not isinstance(left_s, int | float) or not 0 <= left_s <= MOST_LEFT_S:
            raise NervehandError(f"left_s is {left_s!r}: give seconds, at most {MOST_LEFT_S:g}")
        arguments = frame.header.get("arguments")
        if not isinstance(arguments, dict):
            raise NervehandError("the arguments of a request are no JSON object: give names and values")
        name, now_ns = text_in(frame.header, "name", 100), time.monotonic_ns()
        asked_ns = whole_in(frame.header, "asked_ns") if "asked_ns" in frame.header else 0
        is_urgent = name in URGENT
        waits = self._waits_urgently if is_urgent else self._waits
        waits.add(request_id)
        if len(waits) > (MOST_URGENT if is_urgent else MOST_REQUESTS):
            self.answer(
                {"kind": "answer", "id": request_id, "ok": False, "error": "too much is asked at once: wait"}
            )
            return None
        return {
            "kind": "request",
            "id": request_id,
            "name": name,
            "arguments": arguments,
            "who": self._who,
            "asked_ns": min(asked_ns, now_ns),
            "expires_ns": now_ns + round(left_s * NS),
        }
