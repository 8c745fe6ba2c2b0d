"""What a person or a program may ask of a running guard, over its Unix domain socket: one JSON object a line.

Each request names `who` asks; each gets one line back, `{"ok": true, ...}` or `{"ok": false, "error": "..."}`.
docs/guard.md lists them. The socket is its owner's alone (mode 0600, in a folder of mode 0700).
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import selectors
import signal
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from firmware_bridge.adjustments import Adjustments
from firmware_bridge.errors import LinkError, NervehandError
from firmware_bridge.gate_limits import GateLimits
from firmware_bridge.guard_sockets import connected, listening, socket_of
from firmware_bridge.plain import from_plain
from firmware_bridge.preuse import PreUseReport

MOST_BYTES = 65536
"""The longest request, and the longest answer that waits for somebody who does not read."""
MOST_CONNECTIONS = 16
"""The one that has been quiet for longest makes room for the next."""
ROUND_S = 0.005
"""After each round, in which every connection may have one request answered: a flood waits in its own socket."""
URGENT_S = 0.25
"""A stop or a release that is not answered by then goes by a signal as well."""
SIGNAL_FOR = {"stop": signal.SIGUSR1, "release": signal.SIGUSR2}
_NEEDED = {"arm": {"report"}, "fault": {"what"}, "adjust": {"adjustments"}, "limits": {"limits"}}
KINDS = ("arm", "disarm", "stop", "release", "fault", "adjust", "limits", "status", "end")

Answer = dict[str, object]

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Request:
    """One request, whole and checked. `id` comes back with the answer.

    `asked_ns` is when it was made (host, `time.monotonic_ns`), 0 for now: a request to arm that has waited while
    somebody asked for rest is refused.
    """

    request: str
    who: str
    id: int = 0
    asked_ns: int = 0
    report: PreUseReport | None = None
    acknowledgement: str = ""
    what: str = ""
    adjustments: Adjustments | None = None
    limits: GateLimits | None = None

    def __post_init__(self) -> None:
        if self.request not in KINDS:
            raise NervehandError(f"request is {self.request!r}: use one of {', '.join(KINDS)}")
        for name in ("who", "what", "acknowledgement"):
            value = getattr(self, name)
            if len(value) > 1000 or not (value.isprintable()):
                raise NervehandError(
                    f"{name} is {value[:40]!r}: give printable text of at most 1000 characters"
                )
        if not self.who.strip():
            raise NervehandError("nobody is named: say who asks")
        if self.asked_ns < 0:
            raise NervehandError(f"asked_ns is {self.asked_ns}: give monotonic time in ns, or 0 for now")
        needed = _NEEDED.get(self.request, set())
        allowed = needed | ({"acknowledgement"} if self.request == "arm" else set())
        given = {
            n for n in ("report", "acknowledgement", "what", "adjustments", "limits") if getattr(self, n)
        }
        if needed - given:
            raise NervehandError(f"{self.request} lacks {', '.join(sorted(needed - given))}: give it")
        if given - allowed:
            raise NervehandError(
                f"{self.request} takes no {', '.join(sorted(given - allowed))}: leave it out"
            )


def parse(line: bytes) -> Request:
    """The request in a line; NervehandError says what is wrong with it."""
    try:
        value = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise NervehandError(f"the request is not one line of JSON: {str(error)[:200]}") from None
    return from_plain(Request, value, "request")


def ask(name: str, request: str, who: str, timeout_s: float = 5.0, **more: object) -> Answer:
    """Ask the guard of that name; NervehandError where it refuses, LinkError where it does not answer.

    `more` is what the request takes beside, plain.
    """
    with _asked(name, request, who, timeout_s, more) as there:
        return _heard(name, there)


def ask_for_rest(
    name: str, request: str, who: str, said: Callable[[str], None], timeout_s: float = 5.0
) -> Answer:
    """Ask for "stop" or "release", and by a signal as well where no answer has come within URGENT_S.

    `said` gets that in words at once; then the answer is waited for. The answer's `way` is "socket" or the signal, and
    its `state` "unknown" where the guard got the signal and has not answered. Errors are those of `ask`.
    """
    with _asked(name, request, who, timeout_s, {}) as there:
        there.settimeout(URGENT_S)
        way = "socket"
        try:
            there.recv(1, socket.MSG_PEEK)
        except TimeoutError:
            way = _signalled(there, SIGNAL_FOR[request])
            said(f"the guard {name!r} has not answered yet: {way}")
        there.settimeout(timeout_s)
        try:
            return _heard(name, there) | {"way": way}
        except TimeoutError:
            if way == "socket":
                raise
            return {"ok": True, "state": "unknown", "way": way}


@contextlib.contextmanager
def _asked(
    name: str, request: str, who: str, timeout_s: float, more: dict[str, object]
) -> Iterator[socket.socket]:
    """Connected to that guard, which was asked. Whatever fails with the socket is a LinkError."""
    try:
        with connected(socket_of(name), timeout_s) as there:
            there.sendall(json.dumps({"request": request, "who": who} | more).encode() + b"\n")
            yield there
    except OSError as error:
        raise LinkError(f"the guard {name!r} does not answer ({error}): it may have ended") from None


def _heard(name: str, there: socket.socket) -> Answer:
    with there.makefile("rb") as lines:
        line = lines.readline(MOST_BYTES)
    if not line:
        raise LinkError(f"the guard {name!r} ended before it answered: ask again")
    answer: Answer = json.loads(line)
    if not answer.get("ok"):
        raise NervehandError(f"the guard {name!r} refuses: {answer.get('error')}")
    return answer


def _signalled(there: socket.socket, number: signal.Signals) -> str:
    """Send a signal to the process that listens at the other end; which, in words. LinkError where it cannot be."""
    credentials = struct.Struct("iII")  # struct ucred: pid, uid, gid of whoever called listen(); see unix(7)
    found = there.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, credentials.size)
    process, user, _ = credentials.unpack(found)
    if process <= 0 or os.getuid() not in (0, user):
        raise LinkError(f"process {process} of user {user} cannot be signalled: ask as the user of the guard")
    os.kill(process, number)
    return f"{number.name} was sent to process {process}"


@dataclass(slots=True, eq=False)
class _Connection:
    socket: socket.socket
    is_owner: bool = False
    received: bytearray = field(default_factory=bytearray)
    heard_s: float = field(default_factory=time.monotonic)


class RequestServer:
    """Answers requests in a thread of its own, without ever waiting for whoever asks.

    `answer` gets each request that is whole and well-formed, and whether it comes from the owner: the process at the
    other end of `owner`, which is told apart so that `on_orphaned` is called once when it has gone. Who sends more
    than MOST_BYTES without an end of line, or does not read the answers, is cut off.
    """

    def __init__(
        self,
        path: Path,
        owner: socket.socket | None,
        answer: Callable[[Request, bool], Answer],
        on_orphaned: Callable[[], None],
    ) -> None:
        self.refused = 0
        self._path, self._answer, self._on_orphaned = path, answer, on_orphaned
        self._listener = listening(path)
        self._selector = selectors.DefaultSelector()
        self._ended, self._end = socket.socketpair()
        self._connections: list[_Connection] = []
        self._selector.register(self._listener, selectors.EVENT_READ)
        self._selector.register(self._ended, selectors.EVENT_READ)
        if owner is not None:
            self._add(_Connection(owner, is_owner=True))
        self._thread = threading.Thread(target=self._run, name="guard requests", daemon=True)

    def start(self) -> None:
        """Begin to answer."""
        self._thread.start()

    def close(self) -> None:
        """End the thread and remove the socket's name. The owner's connection is left open."""
        self._end.close()
        if self._thread.is_alive():
            self._thread.join()
        self._path.unlink(missing_ok=True)
        for connection in self._connections:
            if not connection.is_owner:
                connection.socket.close()
        for one in (self._listener, self._ended, self._selector):
            one.close()

    def _run(self) -> None:
        while True:
            for key, _ in self._selector.select():
                if key.fileobj is self._ended:
                    return
                try:
                    if key.fileobj is self._listener:
                        self._accept()
                    elif key.data in self._connections:  # else it was dropped in this very round
                        self._serve(key.data)
                except Exception:  # whatever it was, the next one must be heard
                    logger.exception("a connection failed")
            time.sleep(ROUND_S)

    def _accept(self) -> None:
        with contextlib.suppress(OSError):  # who asked has gone again
            connection = _Connection(self._listener.accept()[0])
            others = [one for one in self._connections if not one.is_owner]
            if len(others) >= MOST_CONNECTIONS:
                self._drop(min(others, key=lambda one: one.heard_s))
            self._add(connection)

    def _add(self, connection: _Connection) -> None:
        connection.socket.setblocking(False)
        self._connections.append(connection)
        self._selector.register(connection.socket, selectors.EVENT_READ, connection)

    def _drop(self, connection: _Connection) -> None:
        self._selector.unregister(connection.socket)
        self._connections.remove(connection)
        if connection.is_owner:
            self._on_orphaned()
        else:
            connection.socket.close()

    def _serve(self, connection: _Connection) -> None:
        """Read the next line, with what came before it, and answer it if it is whole."""
        try:
            peeked = connection.socket.recv(MOST_BYTES, socket.MSG_PEEK)
            end = peeked.find(b"\n") + 1
            connection.received += connection.socket.recv(end or len(peeked) or 1)
        except BlockingIOError:
            return
        except OSError:
            peeked = b""
        if not peeked:
            self._drop(connection)
            return
        connection.heard_s = time.monotonic()
        if end:
            line = bytes(connection.received)
            connection.received.clear()
            self._reply(connection, self._answered(line, connection.is_owner))
        elif len(connection.received) > MOST_BYTES:
            self.refused += 1
            error = f"a request has more than {MOST_BYTES} bytes: end it with a new line"
            self._reply(connection, {"ok": False, "error": error})
            if connection in self._connections:
                self._drop(connection)

    def _answered(self, line: bytes, is_owner: bool) -> Answer:
        try:
            request = parse(line)
            return self._answer(request, is_owner) | {"id": request.id}
        except NervehandError as error:
            self.refused += 1
            return {"ok": False, "error": str(error)}
        except Exception as error:  # ours; the next request must be heard all the same
            logger.exception("a request failed")
            return {"ok": False, "error": f"the guard failed: {error!r}"}

    def _reply(self, connection: _Connection, answer: Answer) -> None:
        try:
            connection.socket.sendall(json.dumps(answer).encode() + b"\n")
        except OSError:  # it does not read, or it has gone
            if not connection.is_owner:
                self._drop(connection)
