"""The certificate that a port shows: given in files, or this user's own, made once."""

from __future__ import annotations

import os
import re
import stat
from dataclasses import dataclass
from pathlib import Path

from firmware_bridge.errors import NervehandError
from firmware_bridge.port.credentials import made_config_folder, token_file, write_whole

PAIR_FILE = "port-tls.pem"
YEARS = 10
OTHERS = 0o037
"""Nobody but the owner and his group may read a private key, and nobody but the owner change it."""


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """A certificate, with those that signed it behind it if any, and its private key, in PEM; it may be one file."""

    certificate: Path
    key: Path


@dataclass(frozen=True, slots=True)
class Secured:
    """What a server needs of them. `descriptor` is nameless memory with both; whoever gets it closes it.

    `token` opens the ports with that certificate; `token_path` holds it, with the fingerprint.
    """

    descriptor: int
    fingerprint: str
    token: str
    token_path: Path


def own_tls_files() -> TlsFiles:
    """This user's self-signed pair, made where there is none; NervehandError where it cannot be."""
    path = made_config_folder() / PAIR_FILE
    if not path.exists():
        pair = _self_signed()
        try:
            write_whole(path, pair, replaces=False)
        except OSError as error:
            raise NervehandError(
                f"{path}: a certificate cannot be written ({error.strerror}): give the files of one"
            ) from None
    return TlsFiles(path, path)


def secured(files: TlsFiles | None) -> Secured:
    """For a port with these files, None: with this user's own; NervehandError where TLS cannot be had with them."""
    chosen = own_tls_files() if files is None else files
    pem = _read(chosen.key, is_key=True)
    if chosen.certificate != chosen.key:
        pem += b"\n" + _read(chosen.certificate, is_key=False)
    descriptor = _memory(pem)
    try:
        fingerprint = _checked(f"/proc/self/fd/{descriptor}", pem, chosen)
        token, token_path = token_file(fingerprint, is_own=chosen.key == made_config_folder() / PAIR_FILE)
    except BaseException:
        os.close(descriptor)
        raise
    return Secured(descriptor, fingerprint, token, token_path)


def _read(path: Path, *, is_key: bool) -> bytes:
    try:
        with path.open("rb") as file:
            mode, found = os.fstat(file.fileno()).st_mode, file.read(1 << 20)
    except OSError as error:
        raise NervehandError(
            f"{path}: cannot be read ({error.strerror}): give the files of a certificate and its key"
        ) from None
    if is_key and mode & OTHERS:
        raise NervehandError(
            f"{path} is a private key with mode {stat.S_IMODE(mode):o}, so that others may have it: "
            f"make another one, or chmod 600 {path}"
        )
    return found


def _checked(where: str, pem: bytes, files: TlsFiles) -> str:
    """The fingerprint of the first certificate, once TLS takes it with its key."""
    import ssl

    from firmware_bridge.port.tls import fingerprint_of, reason, server_context

    try:
        server_context(where)
        first = re.search(rb"-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----", pem, re.DOTALL)
        if first is None:
            raise ValueError("no certificate is there")
        return fingerprint_of(ssl.PEM_cert_to_DER_cert(first.group().decode("ascii")))
    except (OSError, ValueError) as error:
        why = reason(error) if isinstance(error, OSError) else str(error)
        raise NervehandError(
            f"{files.certificate} and {files.key} give no TLS ({why}): give a certificate and its own key, "
            "both in PEM, without a password"
        ) from None


def _memory(content: bytes) -> int:
    """A descriptor of memory with that in it, without a name: what is served stays, whatever becomes of the files."""
    if hasattr(os, "memfd_create"):
        descriptor = os.memfd_create("nervehand-port-tls", os.MFD_CLOEXEC)
    else:  # a Python that was built for a glibc before 2.27
        descriptor = os.open("/dev/shm", os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC, 0o600)
    os.write(descriptor, content)
    return descriptor


def _self_signed() -> str:
    """A new key and its certificate, in PEM. Clients know it by its fingerprint: it names nobody."""
    try:
        from cryptography import x509
        from cryptography.hazmat.primitives import hashes, serialization
        from cryptography.hazmat.primitives.asymmetric import ec
        from cryptography.x509.oid import NameOID
    except ImportError:
        raise NervehandError(
            "a certificate for the port needs the package cryptography: install it, or give the files of a certificate"
        ) from None
    from datetime import UTC, datetime, timedelta

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "nervehand port")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=round(365.25 * YEARS)))
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return (private + certificate.public_bytes(serialization.Encoding.PEM)).decode("ascii")
