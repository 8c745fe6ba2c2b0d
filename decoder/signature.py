"""Who answers for a bundle: an Ed25519 signature (RFC 8032) over its members, as one more member, `signature.json`.

What is signed, in bytes; u64 is little-endian, and every text or content stands behind its length, so that no two
different bundles give the same bytes:

    message  "nervehand bundle signature 1\\n"   so that a signature made for another purpose is none here
             SHA-256 of the members (32 bytes)
             u64 length, who (UTF-8)              so that nobody is made to have signed what another one did
             u64 length, when (ASCII)
    members  "nervehand bundle members 1\\n"     so that a digest of something else is none of a bundle
             u64 number of members
             for each but signature.json, sorted by name: u64 length, name (ASCII), u64 length, content

The members are taken as they were read, before anything is made of them: a reader of another version, which would
write the same manifest in other words, agrees. `signature.json` has one spelling only (`to_json`), so that nobody can
make two files of one signed bundle. `cryptography` is loaded where a signature is checked, and not before.
"""

from __future__ import annotations

import base64
import hashlib
import json
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from decoder.bundle_archive import SIGNATURE
from firmware_bridge.errors import NervehandError

_MESSAGE = b"nervehand bundle signature 1\n"
_MEMBERS = b"nervehand bundle members 1\n"
_KEY_BYTES, _SIGNATURE_BYTES = 32, 64
_MOST_JSON = 4096
MOST_WHO = 100
"""Characters of a name."""


@dataclass(frozen=True, slots=True)
class Signature:
    """`public_key` (32 bytes) and `signature` (64 bytes) as in the file; whether they hold is what `verifies` says.

    `who` and `when` (UTC, whole seconds) are what the key's holder says. `members_sha256` (32 bytes) is of the members
    that were found beside it.
    """

    public_key: bytes
    signature: bytes
    who: str
    when: datetime
    members_sha256: bytes

    @property
    def fingerprint(self) -> str:
        """The key, short enough to be read aloud."""
        return fingerprint(self.public_key)

    @property
    def described(self) -> str:
        """Who signed, with which key and when: a claim, as long as the key is nobody's that is known."""
        return f"{self.who} (key {self.fingerprint}, {when_text(self.when)})"


def fingerprint(public_key: bytes) -> str:
    """The first 16 hex digits of the key's SHA-256."""
    return hashlib.sha256(public_key).hexdigest()[:16]


def key_text(public_key: bytes) -> str:
    """A key (32 bytes) as `decoder.allowed_signers` takes it: base64."""
    return _base64(public_key)


def allowed_key(text: str) -> bytes:
    """The key (32 bytes) that a text allows. NervehandError where it is none."""
    try:
        return _from_base64(text, _KEY_BYTES)
    except ValueError as error:
        raise NervehandError(
            f"allowed signer {text[:80]!r}: is no public key ({error}): give what `nervehand signer show` prints"
        ) from None


def checked_name(who: str) -> str:
    """The name, unless it could not be shown in a line. NervehandError where not."""
    if not 0 < len(who) <= MOST_WHO or not who.isprintable() or who != who.strip():
        raise NervehandError(
            f"signer {who[:MOST_WHO]!r}: give a name of 1 to {MOST_WHO} characters in one line, no blanks around it"
        )
    return who


def when_text(when: datetime) -> str:
    """In UTC, to the second: 2026-01-31T12:00:00Z."""
    return f"{when.astimezone(UTC).replace(tzinfo=None, microsecond=0).isoformat()}Z"


def members_sha256(members: Mapping[str, bytes]) -> bytes:
    """The digest of all members but the signature, 32 bytes; its layout is at the top of this file."""
    names = sorted(name for name in members if name != SIGNATURE)
    digest = hashlib.sha256(_MEMBERS + struct.pack("<Q", len(names)))
    for name in names:
        for part in (name.encode("ascii"), members[name]):
            digest.update(struct.pack("<Q", len(part)))
            digest.update(part)
    return digest.digest()


def message(members_sha256: bytes, who: str, when: datetime) -> bytes:
    """What is signed; its layout is at the top of this file."""
    texts = (who.encode(), when_text(when).encode("ascii"))
    return _MESSAGE + members_sha256 + b"".join(struct.pack("<Q", len(text)) + text for text in texts)


def to_json(signature: Signature) -> bytes:
    """`signature.json`, in the one spelling that is read."""
    fields = {
        "public_key": _base64(signature.public_key),
        "signature": _base64(signature.signature),
        "who": signature.who,
        "when": when_text(signature.when),
    }
    return json.dumps(fields, indent=1, ensure_ascii=False).encode()


def signature_in(members: Mapping[str, bytes]) -> Signature | None:
    """The signature among the members of a file, not yet checked; None where nobody signed.

    NervehandError where it is not in the one spelling.
    """
    if SIGNATURE not in members:
        return None
    raw = members[SIGNATURE]
    if len(raw) > _MOST_JSON:  # before anything is made of it
        raise NervehandError(
            f"{SIGNATURE}: {len(raw)} bytes, a signature takes {_MOST_JSON} at most: have the decoder signed again"
        )
    try:
        fields = json.loads(raw)
        found = Signature(
            _from_base64(fields["public_key"], _KEY_BYTES),
            _from_base64(fields["signature"], _SIGNATURE_BYTES),
            checked_name(fields["who"]),
            datetime.fromisoformat(fields["when"]).astimezone(UTC),
            members_sha256(members),
        )
        if to_json(found) != raw:
            raise ValueError("another spelling")
    except (
        NervehandError,
        ValueError,
        TypeError,
        KeyError,
        AttributeError,
        OverflowError,
        RecursionError,
    ) as error:
        raise NervehandError(
            f"{SIGNATURE}: holds no signature ({type(error).__name__}): have the decoder signed again"
        ) from error
    return found


def verifies(signature: Signature) -> bool:
    """Was it made by the holder of its key, for the members that were found beside it?"""
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    told = message(signature.members_sha256, signature.who, signature.when)
    try:
        Ed25519PublicKey.from_public_bytes(signature.public_key).verify(signature.signature, told)
    except InvalidSignature:
        return False
    return True


def require_allowed(signature: Signature | None, allowed: Sequence[str]) -> None:
    """Raise NervehandError unless one of the `allowed` keys (`key_text`) signed; of none, anything goes, unsigned
    included."""
    keys = [allowed_key(text) for text in allowed]
    if not keys:
        return
    if signature is None:
        raise NervehandError(
            "signature: nobody has signed this decoder, and only signed ones are allowed here: have it signed "
            "(`nervehand sign`)"
        )
    if not verifies(signature):
        raise NervehandError(
            f"signature: does not verify, key {signature.fingerprint} has not signed what is in this file: "
            "get the decoder again from who made it"
        )
    if signature.public_key not in keys:
        raise NervehandError(
            f"signature: by {signature.described}, who is not allowed here: have it signed with key "
            f"{' or '.join(fingerprint(key) for key in keys[:4])}, or add this one to decoder.allowed_signers"
        )


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _from_base64(text: str, n_bytes: int) -> bytes:
    data = base64.b64decode(text, validate=True)
    if len(data) != n_bytes or _base64(data) != text:
        raise ValueError(f"not {n_bytes} bytes in base64")
    return data
