"""What a client shows at a port: the token, and the fingerprint of the port's certificate where it speaks TLS.

As text it is "TOKEN" or "TOKEN sha256:HEX", in a file a line each. Errors never repeat it.
"""

from __future__ import annotations

import contextlib
import os
import re
import secrets
from dataclasses import dataclass, field
from pathlib import Path

from firmware_bridge.errors import NervehandError
from firmware_bridge.port.addresses import joined, split

FINGERPRINT = "sha256:"
TOKEN_FILE = "port.token"
"""In the runtime folder: for ports without TLS, until the machine is started again."""
TLS_TOKEN_FILE = "port-tls.token"
"""In the user's folder: what other machines need of the ports with this user's own certificate."""
TOKEN_BYTES = 32
KNOWN_FOLDER = "ports"
"""In the user's folder: for each port of another machine a file HOST:PORT with what opens it."""
OTHERS = 0o077


@dataclass(frozen=True, slots=True)
class Credentials:
    """`fingerprint` is "sha256:" and 64 hex digits, "" for a port without TLS."""

    token: str = field(repr=False)
    fingerprint: str = ""

    @classmethod
    def of(cls, text: str) -> Credentials:
        """From text; NervehandError where it is none."""
        words = text.split()
        if len(words) not in (1, 2):
            raise NervehandError(
                f"what opens a port is a token, and {FINGERPRINT}HEX for one with TLS; here are {len(words)} words"
            )
        fingerprint = words[1].lower().replace("sha256:", "", 1).replace(":", "") if words[1:] else ""
        if words[1:] and not re.fullmatch("[0-9a-f]{64}", fingerprint):
            raise NervehandError(
                f"the fingerprint beside the token is none: give {FINGERPRINT} and 64 hex digits, "
                "as the port says them where it is served"
            )
        return cls(words[0], FINGERPRINT + fingerprint if fingerprint else "")

    @property
    def text(self) -> str:
        """The inverse of `of`."""
        return f"{self.token} {self.fingerprint}".strip()


def read_private(path: Path) -> str:
    """What opens a port, from a file that came from another machine; NervehandError where others may read it, too."""
    try:
        with path.open() as file:
            mode, text = os.fstat(file.fileno()).st_mode, file.read(4096)
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is no text"
        raise NervehandError(f"{path}: cannot be read ({why}): give the file of the port's token") from None
    if mode & OTHERS:
        raise NervehandError(f"{path}: others may read what opens a port: chmod 600 {path}")
    try:
        return Credentials.of(text).text
    except NervehandError as error:
        raise NervehandError(f"{path}: {error}") from None


def config_folder() -> Path:
    """Where this user keeps what outlives a restart of the machine; it need not be there."""
    given = os.environ.get("XDG_CONFIG_HOME", "")
    # The XDG Base Directory Specification: a path that is not absolute is to be ignored.
    return (Path(given) if os.path.isabs(given) else Path.home() / ".config") / "nervehand"


def made_config_folder() -> Path:
    """The same, made if needed (0700); NervehandError where it cannot be, or others may write there."""
    try:
        path = config_folder()
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = path.stat()
    except (OSError, RuntimeError) as error:
        raise NervehandError(
            f"what a port with TLS needs cannot be kept ({error}): set XDG_CONFIG_HOME to a folder to write to"
        ) from None
    if found.st_uid != os.getuid() or found.st_mode & 0o022:
        raise NervehandError(f"{path} is not a folder that you alone may write to: chmod 700 {path}")
    return path


def known_path(address: str) -> Path | None:
    """The file with what opens the port of another machine at HOST:PORT; None where there is none."""
    try:
        name = joined(*split(address))
        path = config_folder() / KNOWN_FOLDER / name
    except (NervehandError, RuntimeError):
        return None
    return path if "/" not in name and path.is_file() else None


def token_file(fingerprint: str, *, is_own: bool) -> tuple[str, Path]:
    """The token of the ports with that certificate, made if needed, and the file to copy, which outlives restarts.

    This user's own certificate has `port-tls.token`; any other one a file with the first of its digits in the name.
    """
    digits = fingerprint.removeprefix(FINGERPRINT)
    path = made_config_folder() / (TLS_TOKEN_FILE if is_own else f"port-{digits[:16]}.token")
    wanted = Credentials(secrets.token_hex(TOKEN_BYTES), fingerprint)
    if path.exists():
        before = Credentials.of(read_private(path))
        if before.fingerprint == fingerprint:
            return before.token, path
        wanted = Credentials(before.token, fingerprint)
    try:
        write_whole(path, wanted.text.replace(" ", "\n") + "\n", replaces=path.exists())
    except OSError as error:
        raise NervehandError(
            f"{path}: cannot be written ({error.strerror}): say where it can, by XDG_CONFIG_HOME"
        ) from None
    return Credentials.of(read_private(path)).token, path


def write_whole(path: Path, text: str, *, replaces: bool) -> None:
    """A file for its owner alone, there at once and whole. Unless it `replaces`, one that came first stays."""
    unborn = path.with_name(f".{path.name}-{os.getpid()}-{secrets.token_hex(4)}")
    descriptor = os.open(unborn, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "w") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        if replaces:
            unborn.rename(path)
            return
        with contextlib.suppress(FileExistsError):
            os.link(unborn, path)
    finally:
        unborn.unlink(missing_ok=True)
