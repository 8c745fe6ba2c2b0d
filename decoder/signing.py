"""Bundles are signed, and required to be signed by somebody who is allowed (docs/signing.md)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING

from decoder.bundle import Bundle, content_of, pack, unpack
from decoder.signature import Signature, checked_name, members_sha256, message, require_allowed

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey


def sign(bundle: Bundle, private_key: Ed25519PrivateKey, who: str, when: datetime) -> Bundle:
    """The bundle with a signature, in place of one that it had, and its new identity (SHA-256).

    `when` is aware of its time zone, and kept in UTC to the second. NervehandError where `who` is no name.
    """
    checked_name(who)
    digest = members_sha256(content_of(bundle))
    signature = Signature(
        public_key=private_key.public_key().public_bytes_raw(),
        signature=private_key.sign(message(digest, who, when)),
        who=who,
        when=when,
        members_sha256=digest,
    )
    return unpack(pack(replace(bundle, signature=signature)))


def require_signer(bundle: Bundle, allowed: Sequence[str]) -> None:
    """Raise NervehandError unless one of the `allowed` keys (decoder.allowed_signers) signed what the bundle was read
    from: where nobody signed, where the signature does not verify, where somebody else signed. Of no key anything
    goes. Fit for the start of a run and for a decoder that is pushed; nothing is taken from the manifest.
    """
    require_allowed(bundle.signature, allowed)
