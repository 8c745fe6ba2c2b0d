"""The protocol of sd_notify(3): how a process says that it is ready, alive or ending, and how that is heard.

A message is one datagram of lines `NAME=value` to the Unix socket that NOTIFY_SOCKET names: a path, or a name of the
abstract namespace behind '@'. Standard library only: the supervisor uses it too.
"""

from __future__ import annotations

import os
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self

from firmware_bridge.errors import NervehandError

US = 1_000_000
LONGEST_TEXT = 1000
"""Characters of a status text; the rest is cut off."""
MESSAGE_BYTES = 4096
MOST_MESSAGES = 256
"""Taken in one go: who sends without end must not keep the listener from everything else."""
SHARE = 3
"""So many beats come in the time after which their absence counts; sd_watchdog_enabled(3) asks for two or more."""
_CREDENTIALS = struct.Struct("3i")
"""pid, uid and gid of a sender: struct ucred of unix(7)."""


class Notifier:
    """Says how this process is to whoever listens at `address`; "" is nobody, and the notifier is false.

    Nothing here raises or waits: where nobody listens, or whoever listens is too slow, the message is lost, and the
    method returns False.
    """

    def __init__(self, address: str = "") -> None:
        self._address = address if address[:1] in ("/", "@") else ""

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> Self:
        """As NOTIFY_SOCKET says."""
        return cls(environment.get("NOTIFY_SOCKET", ""))

    def __bool__(self) -> bool:
        return bool(self._address)

    def ready(self) -> bool:
        """The start, or a reload, is over, and the work is done."""
        return self.send("READY=1")

    def status(self, text: str) -> bool:
        """What the process does now, in one line for people."""
        return self.send(f"STATUS={' '.join(text.split())[:LONGEST_TEXT]}")

    def watchdog(self) -> bool:
        """Still alive: due again within the time that WATCHDOG_USEC says."""
        return self.send("WATCHDOG=1")

    def stopping(self) -> bool:
        """The end has begun."""
        return self.send("STOPPING=1")

    def reloading(self) -> bool:
        """The configuration is read again; `ready` says when that is over."""
        return self.send(f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1000}")

    def extend(self, seconds: float) -> bool:
        """The start takes longer: up to `seconds` from now on."""
        return self.send(f"EXTEND_TIMEOUT_USEC={round(seconds * US)}")

    def send(self, message: str) -> bool:
        """Lines `NAME=value`; whether they were handed over."""
        if not self._address:
            return False
        name = os.fsencode(self._address)
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as there:
                there.setblocking(False)
                there.sendto(
                    message.encode("utf-8", "replace"), b"\0" + name[1:] if name[:1] == b"@" else name
                )
        except OSError:
            return False
        return True


def watchdog_s(environment: Mapping[str, str] = os.environ) -> float | None:
    """Within how many seconds WATCHDOG=1 is due again; None where nobody waits for it from this process."""
    text, process = environment.get("WATCHDOG_USEC", ""), environment.get("WATCHDOG_PID", "")
    if not text.isdecimal() or not int(text) or process not in ("", str(os.getpid())):
        return None
    return int(text) / US


class Heartbeat:
    """WATCHDOG=1 by way of `notifier` as long as the decode loop is alive; entering it starts the thread that beats.

    The loop puts all that it does with a block into `with heartbeat.working():`. While it is outside, waiting for
    samples, which may be for long, the thread vouches for it. While it is inside, only progress does: that a block
    began or ended, or `progress()` was called, since the thread looked last. So the last beat of a loop that hangs
    comes within a third of `limit_s`, and a block of up to two thirds of it is no stall. A process that is stopped, or
    does not give up the interpreter, beats no more either.

    `limit_s` is the time after which silence counts (`watchdog_s`); None: nobody listens, and no thread is started.
    `wait` waits for that many seconds, or until the end: whether that has come; for tests.
    """

    def __init__(
        self, notifier: Notifier, limit_s: float | None, wait: Callable[[float], bool] | None = None
    ) -> None:
        self._notifier, self._limit_s = notifier, limit_s
        self._over = threading.Event()
        self._wait = wait or self._over.wait
        self._is_working = False
        self._count = self._seen = 0
        self._thread = threading.Thread(target=self._beat, name="heartbeat", daemon=True)

    @contextmanager
    def working(self) -> Iterator[None]:
        """The decode loop is at work, not waiting for samples. By one thread only."""
        self._count += 1
        self._is_working = True
        try:
            yield
        finally:
            self._is_working = False
            self._count += 1

    def progress(self) -> None:
        """Something was got through, inside a block that takes long."""
        self._count += 1

    def look(self) -> bool:
        """What the thread does every third of the limit: beat where the loop is alive; whether it is."""
        count, is_working = self._count, self._is_working
        is_alive = not is_working or count != self._seen
        self._seen = count
        if is_alive:
            self._notifier.watchdog()
        return is_alive

    def __enter__(self) -> Self:
        if self._limit_s is not None and self._notifier:
            self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        if self._thread.is_alive():
            self._thread.join()

    def _beat(self) -> None:
        assert self._limit_s is not None
        while not self._wait(self._limit_s / SHARE):
            self.look()


class NotifySocket:
    """Where a supervisor hears what its process says: `address` is what NOTIFY_SOCKET is to be there.

    The socket lies in `folder`, which should be closed to others: who may connect there may keep it full. Where its
    path would be too long it has a name of the abstract namespace that nobody guesses. NervehandError where there is
    no room for it.
    """

    def __init__(self, folder: Path) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.setblocking(False)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        self._path: Path | None = folder / f"supervisor-{os.getpid()}.notify"
        try:
            if len(os.fsencode(self._path)) > 107:  # sun_path of unix(7), without its last zero
                self._path = None
                name = f"@nervehand-{os.urandom(16).hex()}"
                self._socket.bind("\0" + name[1:])
            else:
                name = str(self._path)
                self._path.unlink(missing_ok=True)
                self._socket.bind(name)
                self._path.chmod(0o600)
        except OSError as error:
            self._socket.close()
            raise NervehandError(
                f"{folder}: no socket can be made there ({error.strerror or error}): set XDG_RUNTIME_DIR to a folder "
                "of yours"
            ) from error
        self.address = name

    def fileno(self) -> int:
        """For select."""
        return self._socket.fileno()

    def received(self) -> Iterator[tuple[int, list[str]]]:
        """What has come, MOST_MESSAGES at the most: the process that the kernel says has sent it, and its lines."""
        for _ in range(MOST_MESSAGES):
            try:
                data, ancillary, flags, _ = self._socket.recvmsg(
                    MESSAGE_BYTES, socket.CMSG_SPACE(_CREDENTIALS.size)
                )
            except BlockingIOError:
                return
            # Descriptors that are sent along find no room behind the credentials: the kernel closes them.
            senders = [
                _CREDENTIALS.unpack(content)[0]
                for level, kind, content in ancillary
                if (level, kind) == (socket.SOL_SOCKET, socket.SCM_CREDENTIALS)
            ]
            if senders and not flags & socket.MSG_TRUNC:
                yield senders[0], data.decode("utf-8", "replace").split("\n")

    def close(self) -> None:
        """Hear no more, and leave nothing behind."""
        self._socket.close()
        if self._path is not None:
            self._path.unlink(missing_ok=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
