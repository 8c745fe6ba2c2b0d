"""Which ports of this user answer, and the token that opens them: files in the runtime folder, their owner's alone."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from firmware_bridge.errors import NervehandError
from firmware_bridge.guard_sockets import folder, folders
from firmware_bridge.port.addresses import is_loopback, split
from firmware_bridge.port.credentials import (
    TLS_TOKEN_FILE,
    TOKEN_BYTES,
    TOKEN_FILE,
    Credentials,
    config_folder,
    known_path,
    read_private,
    write_whole,
)

TOKEN_VARIABLE = "NERVEHAND_PORT_TOKEN"
FILE_VARIABLE = "NERVEHAND_PORT_TOKEN_FILE"
ANSWER_S = 1.0
"""How long a port that is looked for may take to answer."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A port that answers now. `address` is host:port; `about` what its owner says is running.

    `fingerprint` is that of its certificate, "" where it does not speak TLS.
    """

    address: str
    name: str
    about: dict[str, object]
    token_path: Path
    pid: int
    fingerprint: str = ""


def running() -> tuple[Entry, ...]:
    """The ports of this user that answer now; files of those that were killed are passed over."""
    from firmware_bridge.port.link import Link  # which asks here for tokens

    found = []
    for entry in _noted():
        try:
            with contextlib.closing(Link(entry.address, _opening(entry), "", ANSWER_S)) as link:
                found.append(replace(entry, about=link.about))
        except (NervehandError, OSError):  # it has ended, or is somebody else's by now
            continue
    return tuple(found)


def own_token() -> tuple[str, Path]:
    """This user's token for ports without TLS, made if needed, and the file that holds it."""
    path = folder() / TOKEN_FILE
    if not path.exists():
        write_whole(path, secrets.token_hex(TOKEN_BYTES) + "\n", replaces=False)
    token = path.read_text().strip()
    if len(token) < 2 * TOKEN_BYTES:
        raise NervehandError(f"{path} holds no token: remove it, and a new one is made")
    return token, path


def token_for(address: str) -> str:
    """What a client shows at that address: "TOKEN", or "TOKEN sha256:HEX" for TLS; NervehandError where there is none.

    NERVEHAND_PORT_TOKEN; else the file that NERVEHAND_PORT_TOKEN_FILE names; else `ports/HOST:PORT` in this user's
    configuration; else that of this user's port which is served at that port number; else this user's own.
    """
    given = os.environ.get(TOKEN_VARIABLE, "").strip()
    if given:
        return given
    named = os.environ.get(FILE_VARIABLE, "").strip()
    path = Path(named) if named else known_path(address)
    if path is not None:
        return read_private(path)
    host, number = address.rpartition(":")[::2]
    is_here = is_loopback(split(address)[0])
    entries = [entry for entry in _noted() if entry.address.rpartition(":")[2] == number]
    entries.sort(key=lambda entry: entry.address.rpartition(":")[0] != host)
    found = []
    for entry in entries:
        with contextlib.suppress(OSError, NervehandError):
            found.append(_opening(entry))
    for path in (*(where / TOKEN_FILE for where in folders()), *_own_with_tls()):
        with contextlib.suppress(OSError, NervehandError):
            found.append(Credentials.of(path.read_text()).text)
    if not found:
        raise NervehandError(
            f"no token for the port at {address}: give {TOKEN_VARIABLE}, {FILE_VARIABLE} or --token-file, "
            f"as in {TOKEN_FILE} or {TLS_TOKEN_FILE} where it runs"
        )
    # Without a fingerprint another machine is not connected to.
    return (
        found[0] if is_here else next((text for text in found if Credentials.of(text).fingerprint), found[0])
    )


def _opening(entry: Entry) -> str:
    """What a client shows at a port of this user; OSError or NervehandError where it cannot be read."""
    return Credentials(Credentials.of(entry.token_path.read_text()).token, entry.fingerprint).text


def _own_with_tls() -> tuple[Path, ...]:
    try:
        return (config_folder() / TLS_TOKEN_FILE,)
    except RuntimeError:  # this user has no home
        return ()


@contextlib.contextmanager
def noted(address: str, name: str, token_path: Path, fingerprint: str = "") -> Iterator[None]:
    """While this lasts, `running` finds that port."""
    path = folder() / f"port-{os.getpid()}-{secrets.token_hex(4)}.json"
    unborn = path.with_name(f".{path.name}")
    plain = {
        "address": address, "name": name, "token_path": str(token_path), "pid": os.getpid(),
        "fingerprint": fingerprint,
    }  # fmt: skip
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
                    plain["address"], plain["name"], {}, Path(plain["token_path"]), int(plain["pid"]),
                    str(plain.get("fingerprint", "")),
                )  # fmt: skip
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
