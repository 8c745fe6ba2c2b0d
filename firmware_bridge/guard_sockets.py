"""Where guards have their Unix domain sockets, how a new one gets its own, and which guards answer."""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import socket
import stat
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from firmware_bridge.errors import NervehandError

RUNTIME = "/run/user"
"""Has a folder for each user who is logged in, by number: what XDG_RUNTIME_DIR says there."""
SERVICE = "/run/nervehand"
"""What XDG_RUNTIME_DIR is for the service (nervehand/unit.py), and for nobody who looks for it."""
TEMPORARY = "/tmp"
"""The temporary folder where no variable says another one."""
WAITING = 64
"""So many may wait to be connected, though nobody connects them: each of them can see which process to signal."""
BIRTH_S = 5.0
"""How long a guard waits for another one that is making its socket."""
PAUSE_S = 0.005
ADDRESS_BYTES = 107
"""The longest path that the address of a Unix domain socket holds, its last zero left out (unix(7))."""

logger = logging.getLogger(__name__)


def folder() -> Path:
    """Where a new guard of this user makes its socket; made if needed. NervehandError where it is not ours alone.

    It is in XDG_RUNTIME_DIR where that is ours, else in the temporary folder.
    """
    path = Path(tempfile.gettempdir()) / f"nervehand-{os.getuid()}"
    runtime = os.environ.get("XDG_RUNTIME_DIR", "")
    if runtime and os.path.isdir(runtime) and os.stat(runtime).st_uid == os.getuid():
        path = Path(runtime) / "nervehand"
    path.mkdir(mode=0o700, exist_ok=True)
    if not _is_alone(path, os.getuid()):
        raise NervehandError(f"{path} is not a folder of yours alone: remove it, or set XDG_RUNTIME_DIR")
    return path


def folders() -> tuple[Path, ...]:
    """Every folder that is there and may have the socket of a guard of this user, wherever that was started.

    A login by ssh, cron, sudo and a service each have another environment than the terminal of the guard. Who has
    become root by sudo finds the guards of before, too. What belongs to somebody else, or is open to others, is left
    out: a warning.
    """
    users = [os.getuid()]
    before = os.environ.get("SUDO_UID", "")
    if os.getuid() == 0 and before.isdecimal() and int(before):
        users.append(int(before))
    found: dict[Path, bool] = {}
    for user in users:
        runtimes = [os.environ.get("XDG_RUNTIME_DIR", ""), f"{RUNTIME}/{user}"]
        runtimes += [SERVICE] if os.path.isdir(SERVICE) and os.stat(SERVICE).st_uid == user else []
        paths = [Path(runtime) / "nervehand" for runtime in runtimes if runtime]
        paths += [Path(temporary) / f"nervehand-{user}" for temporary in (tempfile.gettempdir(), TEMPORARY)]
        for path in filter(os.path.lexists, paths):
            found[path] = found.get(path, False) or _is_alone(path, user)
    for path in (path for path, is_alone in found.items() if not is_alone):
        logger.warning("no guard is looked for in %s: it is not a folder of yours alone", path)
    return tuple(path for path, is_alone in found.items() if is_alone)


def new_socket(name: str) -> Path:
    """The socket that a new guard of that name makes."""
    return folder() / f"guard-{name}.sock"


def socket_of(name: str) -> Path:
    """The socket of the guard of that name: the one that answers, if any."""
    paths = [path for where in folders() if (path := where / f"guard-{name}.sock").exists()]
    return next(filter(_answers, paths), paths[0] if paths else new_socket(name))


def running() -> tuple[str, ...]:
    """The names of the guards that answer now. Nothing is removed: what was killed, the next of its name replaces."""
    paths = [path for where in folders() for path in where.glob("guard-*.sock") if _answers(path)]
    return tuple(sorted({path.name.removeprefix("guard-").removesuffix(".sock") for path in paths}))


def connected(path: Path, timeout_s: float) -> socket.socket:
    """Connected to `path`, also while many others want to be; OSError where that cannot be."""
    deadline_s = time.monotonic() + timeout_s
    there = socket.socket(socket.AF_UNIX)
    there.settimeout(timeout_s)
    while True:
        try:
            with _address(path) as address:
                there.connect(address)
            return there
        except BlockingIOError:  # as many as may wait to be accepted do
            if time.monotonic() > deadline_s:
                there.close()
                raise
            time.sleep(PAUSE_S)
        except OSError:
            there.close()
            raise


def listening(path: Path) -> socket.socket:
    """A listening socket at `path`, which only its owner may connect to; NervehandError where another guard is.

    The name appears once somebody listens there, so that nobody finds it dead who is being born. Guards make their
    sockets one after the other, so that none replaces another of its name.
    """
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.setblocking(False)
    unborn = path.with_name(f".{path.stem}-{os.getpid()}")
    try:
        with _alone_in(path.parent):
            if path.stem.removeprefix("guard-") in running():
                raise NervehandError(f"{path} is in use: give this guard another name than the one that runs")
            unborn.unlink(missing_ok=True)
            with _address(unborn) as address:
                listener.bind(address)
            unborn.chmod(0o600)  # nobody else gets this far: the folder is closed to them
            listener.listen(WAITING)
            unborn.rename(path)
    except BaseException as error:
        listener.close()
        if not isinstance(error, OSError):
            raise
        raise NervehandError(f"{path} cannot be made ({error}): give the guard another name") from None
    return listener


def _is_alone(path: Path, user: int) -> bool:
    """Whether it is a folder that only this user may enter."""
    try:
        found = path.lstat()
    except OSError:
        return False
    return stat.S_ISDIR(found.st_mode) and found.st_uid == user and not found.st_mode & 0o077


def _answers(path: Path) -> bool:
    """Whether somebody listens there, however busy."""
    with socket.socket(socket.AF_UNIX) as there:
        there.setblocking(False)
        try:
            with _address(path) as address:
                there.connect(address)
        except BlockingIOError:  # as many as may wait to be accepted do
            return True
        except OSError:
            return False
    return True


@contextlib.contextmanager
def _address(path: Path) -> Iterator[str]:
    """`path`, or where that is too long for an address, another one through its folder, while this lasts."""
    if len(os.fsencode(path)) <= ADDRESS_BYTES:
        yield str(path)
        return
    descriptor = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{descriptor}/{path.name}"
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def _alone_in(where: Path) -> Iterator[None]:
    """While this lasts no other guard makes its socket there; OSError where another one takes more than BIRTH_S."""
    deadline_s = time.monotonic() + BIRTH_S
    descriptor = os.open(where, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline_s:
                    raise
            time.sleep(PAUSE_S)
        yield
    finally:
        os.close(descriptor)
