"""Which ports of this user answer, and the token that opens them: files in the runtime folder, their owner's alone."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from firmware_bridge.errors import NervehandError
from firmware_bridge.guard_sockets import folder, folders

TOKEN_VARIABLE = "NERVEHAND_PORT_TOKEN"
TOKEN_FILE = "port.token"
TOKEN_BYTES = 32
ANSWER_S = 1.0
"""How long a port that is looked for may take to answer."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A port that answers now. `address` is host:port; `about` what its owner says is running."""

    address: str
    name: str
    about: dict[str, object]
    token_path: Path
    pid: int


def running() -> tuple[Entry, ...]:
    """The ports of this user that answer now; files of those that were killed are passed over."""
    from firmware_bridge.port.link import Link  # which asks here for tokens

    found = []
    for entry in _noted():
        try:
            with contextlib.closing(
                Link(entry.address, entry.token_path.read_text().strip(), "", ANSWER_S)
            ) as link:
                found.append(Entry(entry.address, entry.name, link.about, entry.token_path, entry.pid))
        except (NervehandError, OSError):  # it has ended, or is somebody else's by now
            continue
    return tuple(found)


def own_token() -> tuple[str, Path]:
    """This user's token, made if needed, and the file that holds it."""
    path = folder() / TOKEN_FILE
    if not path.exists():
        unborn = path.with_name(f".{TOKEN_FILE}-{os.getpid()}-{secrets.token_hex(4)}")
        descriptor = os.open(unborn, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            with os.fdopen(descriptor, "w") as file:
                file.write(secrets.token_hex(TOKEN_BYTES) + "\n")
            with contextlib.suppress(FileExistsError):
                os.link(unborn, path)  # whole, and the first one stays
        finally:
            unborn.unlink()
    token = path.read_text().strip()
    if len(token) < 2 * TOKEN_BYTES:
        raise NervehandError(f"{path} holds no token: remove it, and a new one is made")
    return token, path


def token_for(address: str) -> str:
    """What a client shows at that address; NervehandError where there is none.

    NERVEHAND_PORT_TOKEN, else that of this user's port which is served at that port number, else this user's own.
    """
    given = os.environ.get(TOKEN_VARIABLE, "").strip()
    if given:
        return given
    number = address.rpartition(":")[2]
    paths = [entry.token_path for entry in _noted() if entry.address.rpartition(":")[2] == number]
    paths += [where / TOKEN_FILE for where in folders()]
    for path in paths:
        with contextlib.suppress(OSError):
            return path.read_text().strip()
    raise NervehandError(
        f"no token for the port at {address}: give {TOKEN_VARIABLE} or --token-file, as in {TOKEN_FILE} where it runs"
    )


@contextlib.contextmanager
def noted(address: str, name: str, token_path: Path) -> Iterator[None]:
    """While this lasts, `running` finds that port."""
    path = folder() / f"port-{os.getpid()}-{secrets.token_hex(4)}.json"
    unborn = path.with_name(f".{path.name}")
    plain = {"address": address, "name": name, "token_path": str(token_path), "pid": os.getpid()}
    unborn.write_text(json.dumps(plain))
    unborn.chmod(0o600)
    unborn.rename(path)
    try:
        yield
    finally:
        path.unlink(missing_ok=True)


def _noted() -> Iterator[Entry]:
    """The ports that files name, whose owner lives."""
    for where in folders():
        for path in sorted(where.glob("port-*.json")):
            try:
                plain = json.loads(path.read_text())
                entry = Entry(
                    plain["address"], plain["name"], {}, Path(plain["token_path"]), int(plain["pid"])
                )
                os.kill(entry.pid, 0)
            except PermissionError:  # it lives, and is not ours to signal
                pass
            except (OSError, ValueError, KeyError, TypeError):
                continue
            yield entry


def plain_about(about: Mapping[str, object]) -> dict[str, object]:
    """What an owner says of itself, checked: plain JSON, and not too much of it."""
    try:
        text = json.dumps(about)
    except (TypeError, ValueError) as error:
        raise NervehandError(
            f"what is said of a port is not plain JSON ({error}): give texts and numbers"
        ) from None
    if len(text) > 16384:
        raise NervehandError(f"what is said of a port has {len(text)} characters: at most 16384")
    plain: dict[str, object] = json.loads(text)
    return plain
