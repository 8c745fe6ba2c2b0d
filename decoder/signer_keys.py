"""A signer's private key: a PEM file (PKCS #8), for its owner only.

Above the key stands a line with the signer's name, as RFC 7468 (section 2) lets one; OpenSSL reads the file too.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from decoder.signature import checked_name, fingerprint, key_text
from firmware_bridge.errors import NervehandError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

_NAME = "nervehand signer: "
_MOST_BYTES = 1 << 16


@dataclass(frozen=True)
class SignerKey:
    """A private key and whose it is; `name` is empty where the file does not say."""

    private: Ed25519PrivateKey
    name: str

    @property
    def public(self) -> bytes:
        """32 bytes."""
        return self.private.public_key().public_bytes_raw()

    @property
    def fingerprint(self) -> str:
        """The key, short enough to be read aloud."""
        return fingerprint(self.public)

    @property
    def text(self) -> str:
        """What `decoder.allowed_signers` takes."""
        return key_text(self.public)


def new_key(path: Path, name: str, passphrase: str = "") -> SignerKey:
    """Make a key and write it, never over another file; encrypted where there is a passphrase.

    NervehandError where the file exists or cannot be written, or `name` is none.
    """
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    made = SignerKey(Ed25519PrivateKey.generate(), checked_name(name))
    pem = made.private.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(passphrase.encode())
        if passphrase
        else serialization.NoEncryption(),
    )
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "wb") as file:
            file.write(f"{_NAME}{name}\n".encode() + pem)
            file.flush()
            os.fsync(file.fileno())
    except FileExistsError:
        raise NervehandError(
            f"{path}: exists already, and a key is never replaced: choose another name"
        ) from None
    except OSError as error:
        raise NervehandError(f"{path}: cannot be written ({error.strerror}): choose another place") from error
    return made


def read_key(path: Path, ask_passphrase: Callable[[], str]) -> SignerKey:
    """The key in a file; `ask_passphrase` is called where it is encrypted.

    NervehandError where it cannot be read, is readable by others, is no Ed25519 key, or the passphrase is another.
    """
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    pem = _private_bytes(path)
    try:
        try:
            key = serialization.load_pem_private_key(pem, None)
        except TypeError:  # so it says that the key is encrypted
            key = serialization.load_pem_private_key(pem, ask_passphrase().encode())
    except Exception as error:  # what a damaged file raises has no common base
        if isinstance(error, NervehandError):
            raise
        raise NervehandError(
            f"{path}: holds no private key, or the passphrase is another one: give the key's PEM file (PKCS #8)"
        ) from error
    if not isinstance(key, Ed25519PrivateKey):
        raise NervehandError(
            f"{path}: holds a key of another kind: make an ed25519 one with `nervehand signer new`"
        )
    return SignerKey(key, _name_in(pem))


def _private_bytes(path: Path) -> bytes:
    try:
        with open(path, "rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            if not stat.S_ISREG(mode):
                raise NervehandError(f"{path}: is no file: give the key's PEM file")
            if mode & 0o077:
                raise NervehandError(
                    f"{path}: others may read this private key (mode {stat.S_IMODE(mode):04o}): chmod 600 {path}, "
                    "and make a new key if anybody may have"
                )
            return file.read(_MOST_BYTES)
    except OSError as error:
        raise NervehandError(f"{path}: cannot be read ({error.strerror}): give the key's PEM file") from error


def _name_in(pem: bytes) -> str:
    first = pem.split(b"\n", 1)[0].decode("utf-8", "replace")
    return checked_name(first.removeprefix(_NAME)) if first.startswith(_NAME) else ""
