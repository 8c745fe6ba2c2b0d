"""Bundles: any bytes, archives of any members with the right checksum, and signed ones with a byte changed."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from functools import cache

import numpy as np

from decoder.bundle import content_of, pack, unpack
from decoder.bundle_archive import SIGNATURE, archived, members_in
from decoder.signature import key_text, to_json
from decoder.signing import sign
from firmware_bridge.errors import NervehandError
from firmware_bridge.stream import StreamInfo
from tests.fuzz.targets._json import edited

_BETWEEN = b"\xf7\xf5\xf7"


@cache
def _whole() -> bytes:
    from tests.bundles import random_bundle

    info = StreamInfo(10_000.0, ("a", "b"), "nerve")
    samples = np.random.default_rng(0).normal(0, 100, (4000, 2)).astype(np.int16)
    return pack(replace(random_bundle(info, samples), step_graph=b"no graph: another target has them"))


@cache
def _members() -> dict[str, bytes]:
    return content_of(unpack(_whole()))


@cache
def _signed() -> tuple[bytes, str]:
    """A signed file, and the key that allows it."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    key = Ed25519PrivateKey.from_private_bytes(bytes(32))
    made = sign(unpack(_whole()), key, "Ann", datetime(2026, 1, 1, tzinfo=UTC))
    return pack(made), key_text(key.public_key().public_bytes_raw())


def seeds() -> Iterator[bytes]:
    yield b"\0" + _whole()[-400:]
    yield b"\1" + _whole()[-400:-64]
    for k, content in enumerate(_members().values()):
        if len(content) < 1 << 14:
            yield bytes([2, k]) + content
    manifest = _members()["manifest.json"]
    yield bytes([4, 3, 2, 7, 9, 0, 1, 20, 1, 4])
    yield bytes([3]) + b'"clip"' + _BETWEEN + b'"clop"'
    yield bytes([3]) + manifest[10:40] + _BETWEEN + manifest[11:40]
    yield bytes([5]) + members_in(_signed()[0])[0][SIGNATURE]
    yield bytes([6, 0, 0, 40, 1])
    yield bytes([6, 0, 9, 40]) + b"PK\x03\x04"


def check(data: bytes) -> None:
    """Byte 0: raw; raw with a right checksum; a member replaced; a replacement or edits in the manifest; a signature;
    changes in a signed file, sealed again, which nobody may take for signed."""
    kind, content = data[:1], data[1:]
    if kind == b"\0":
        whole = content
    elif kind == b"\1":
        whole = _sealed(content)
    elif kind == b"\2" and content:
        names = sorted(_members())
        whole = archived(_members() | {names[content[0] % len(names)]: content[1:]})
    elif kind == b"\3":
        old, _, new = content.partition(_BETWEEN)
        manifest = _members()["manifest.json"].replace(old or b"\0", new, 1)
        whole = archived(_members() | {"manifest.json": manifest})
    elif kind == b"\4":
        manifest = edited(_members()["manifest.json"], content).encode()
        whole = archived(_members() | {"manifest.json": manifest})
    elif kind == b"\5":
        whole = archived(_members() | {SIGNATURE: content})
    elif kind == b"\6" and len(content) > 3:
        _changed(content)
        return
    else:
        return
    try:
        bundle = unpack(whole)
    except NervehandError:
        return
    assert bundle.signature is None or to_json(bundle.signature) == content
    assert len(bundle.sha256) == 64
    assert unpack(pack(bundle)).manifest == bundle.manifest


def _changed(content: bytes) -> None:
    """Bytes 0 and 1: where; 2: how many are replaced; the rest: by what."""
    signed, key = _signed()
    at = int.from_bytes(content[:2], "big") % (len(signed) - 64)
    body = signed[:at] + content[3:] + signed[at + content[2] :]
    whole = _sealed(body[: max(0, len(body) - 64)])
    if whole == signed:
        return
    try:
        unpack(whole, [key])
    except NervehandError:
        return
    raise AssertionError("what was changed after it was signed is taken for signed")


def _sealed(body: bytes) -> bytes:
    return body + hashlib.sha256(body + b"0" * 64).hexdigest().encode()
