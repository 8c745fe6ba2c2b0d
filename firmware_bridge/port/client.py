"""The other side of a port: what its owner shows, and requests to it, over a link that comes back by itself."""

from __future__ import annotations

import contextlib
import json
import logging
import secrets
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field

from firmware_bridge.errors import LinkError, NervehandError
from firmware_bridge.port.entries import token_for
from firmware_bridge.port.link import Link, linked
from firmware_bridge.port.wire import MOST_REQUEST_BYTES, URGENT, Frame, encoded, text_in, whole_in
from firmware_bridge.stream import StreamInfo

NOTHING: Mapping[str, object] = {}
FIRST_WAIT_S, LONGEST_WAIT_S = 0.05, 1.0
"""Before it is connected again; doubled each time."""
CONNECT_S = 2.0
LOOK_S = 0.2
URGENT_S = 0.25
"""A stop or a release that is not answered by then goes over a link of its own as well."""

logger = logging.getLogger(__name__)


@dataclass(slots=True, eq=False)
class _Asked:
    """A request on its way; `frame` can be sent again, and means the same one."""

    header: dict[str, object]
    blob: bytes
    deadline_s: float
    is_urgent: bool
    answered: threading.Event = field(default_factory=threading.Event)
    answer: dict[str, object] = field(default_factory=dict)

    def frame(self) -> bytes:
        return encoded(self.header | {"left_s": self.left_s}, self.blob)

    @property
    def left_s(self) -> float:
        """For how long it is still waited for."""
        return max(0.0, self.deadline_s - time.monotonic())


class PortClient:
    """A link to a port. Once connected, a thread of its own connects it again whenever it is cut.

    `address` is HOST:PORT. `token` None takes NERVEHAND_PORT_TOKEN, else the one of this user's port at that address.
    `who` is in whose name requests are made. All methods may be called from any thread.
    """

    def __init__(self, address: str, token: str | None = None, who: str = "") -> None:
        self.address = address
        self.lost = 0
        """How many times the link was lost."""
        self.problem = ""
        """Why it is not connected; "" while it is."""
        self._token, self._who = token, who
        self._link: Link | None = None
        self._views: dict[str, tuple[int, dict[str, object]]] = {}
        self._base: dict[str, int] = {}
        self._stream = ""
        self._asked: dict[str, _Asked] = {}
        self._is_linked = False
        self._closing = threading.Event()
        self._thread: threading.Thread | None = None

    @property
    def is_connected(self) -> bool:
        """Whether the link is up now."""
        return self._is_linked

    @property
    def about(self) -> dict[str, object]:
        """What the owner says is running, as of the last hello."""
        return self._known().about

    @property
    def info(self) -> StreamInfo:
        """The owner's stream, as of the last hello."""
        return self._known().info

    def connect(self, timeout_s: float) -> None:
        """LinkError where nothing answers, or something else does; NervehandError where the token is not its own."""
        if self._thread is not None:
            raise NervehandError(f"the client of port {self.address} is connected already: connect it once")
        self._open(timeout_s)
        self._thread = threading.Thread(target=self._run, name="port client", daemon=True)
        self._thread.start()

    def newest(self, topic: str) -> tuple[int, dict[str, object]] | None:
        """The newest view of a topic and its serial number, which only grows; None before the first."""
        return self._views.get(topic)

    def request(
        self,
        name: str,
        arguments: Mapping[str, object] = NOTHING,
        blob: bytes = b"",
        timeout_s: float = 5.0,
    ) -> dict[str, object]:
        """What the owner answers; NervehandError with its words where it refuses, LinkError where nothing answers.

        Over a cut link it is asked again, and never carried out twice. A stop or a release does not wait behind what
        else is sent: it goes over a link of its own where it is not answered at once.
        """
        asked_ns = self._known().server_ns()
        if len(blob) > MOST_REQUEST_BYTES:
            raise NervehandError(f"{name}: {len(blob)} bytes are too much: at most {MOST_REQUEST_BYTES}")
        request_id = secrets.token_hex(16)
        header: dict[str, object] = {
            "kind": "request",
            "id": request_id,
            "name": name,
            "arguments": dict(arguments),
            "asked_ns": asked_ns,
        }
        deadline_s, is_urgent = time.monotonic() + timeout_s, name in URGENT
        asked = self._asked[request_id] = _Asked(header, blob, deadline_s, is_urgent)
        try:
            if is_urgent:
                self._ask_urgently(asked)
            else:
                self._ask(asked, timeout_s)
            if not asked.answered.wait(asked.left_s):
                why = self.problem or "the owner is busy, or has nobody who answers"
                raise LinkError(f"{name}: no answer from port {self.address} within {timeout_s:g} s: {why}")
        finally:
            del self._asked[request_id]
        if not asked.answer.get("ok"):
            raise NervehandError(str(asked.answer.get("error")))
        result = asked.answer.get("result")
        return result if isinstance(result, dict) else {}

    def close(self) -> None:
        """End the thread and the link; more than once does nothing."""
        self._closing.set()
        if self._link is not None:
            self._link.cut()
        if self._thread is not None:
            self._thread.join()

    def __enter__(self) -> PortClient:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def _known(self) -> Link:
        if self._link is None:
            raise NervehandError(f"the client of port {self.address} was never connected: connect it first")
        return self._link

    def _ask(self, asked: _Asked, timeout_s: float) -> bool:
        """Whether it is on its way; else it is asked again once the link is back."""
        link = self._link
        if not self._is_linked or link is None:
            return False
        try:
            link.send_encoded(asked.frame(), timeout_s)
        except LinkError:
            return False
        return True

    def _ask_urgently(self, asked: _Asked) -> None:
        """Over the link, and over one of its own where that is busy, cut, or gives no answer at once."""
        if self._ask(asked, 0.0) and asked.answered.wait(min(URGENT_S, asked.left_s)):
            return
        try:
            with contextlib.closing(self._linked(asked.left_s)) as link:
                link.send_encoded(asked.frame(), asked.left_s)
                while asked.left_s and not asked.answered.is_set():
                    for frame in link.receive(min(URGENT_S, asked.left_s)):
                        self._take(frame)
        except NervehandError as error:  # the first link may still be answered, or come back
            logger.info("%s: %s", self.address, error)

    def _linked(self, timeout_s: float) -> Link:
        token = token_for(self.address) if self._token is None else self._token
        return linked(self.address, token, self._who, timeout_s)

    def _open(self, timeout_s: float) -> None:
        link = self._linked(timeout_s)
        if link.stream != self._stream:  # served anew: serial numbers begin again there, and go on here
            self._stream = link.stream
            self._base = {topic: serial for topic, (serial, _) in self._views.items()}
        try:
            link.send({"kind": "views"})
            # First the link, then what was asked before: what is asked meanwhile goes out twice, and is done once.
            self._link, self._is_linked, self.problem = link, True, ""
            for asked in sorted(self._asked.values(), key=lambda asked: not asked.is_urgent):
                link.send_encoded(asked.frame())
        except LinkError:
            self._is_linked = False
            link.close()
            raise
        if self._closing.is_set():
            link.cut()

    def _run(self) -> None:
        while not self._closing.is_set():
            link = self._known()
            try:
                self._listen(link)
            except NervehandError as error:
                self._is_linked = False
                if not self._closing.is_set():
                    self.lost += 1
                    self.problem = str(error)
            link.close()
            self._reconnect()
        self._is_linked = False

    def _listen(self, link: Link) -> None:
        said_s = time.monotonic()
        while not self._closing.is_set():
            for frame in link.receive(LOOK_S):
                self._take(frame)
            if time.monotonic() - said_s > 1.0:
                said_s = time.monotonic()
                link.beat()

    def _take(self, frame: Frame) -> None:
        kind = frame.header.get("kind")
        if kind == "view":
            topic, serial = text_in(frame.header, "topic"), whole_in(frame.header, "serial")
            view = json.loads(frame.payload)
            if isinstance(view, dict):
                self._views[topic] = (self._base.get(topic, 0) + serial, view)
        elif kind == "answer":
            asked = self._asked.get(str(frame.header.get("id")))
            if asked is not None:
                asked.answer = frame.header
                asked.answered.set()

    def _reconnect(self) -> None:
        wait_s = FIRST_WAIT_S
        while not self._closing.wait(wait_s):
            wait_s = min(2 * wait_s, LONGEST_WAIT_S)
            try:
                self._open(CONNECT_S)
            except NervehandError as error:
                self.problem = str(error)
                continue
            return
