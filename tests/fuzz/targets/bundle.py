"""Bundles: any bytes, and archives of any members with the right checksum."""

from __future__ import annotations

import hashlib
import io
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from functools import cache

import numpy as np

from decoder.bundle import pack, unpack
from firmware_bridge.errors import NervehandError
from firmware_bridge.stream import StreamInfo
from tests.fuzz.targets._json import edited

_COMMENT = b"nervehand-bundle-sha256:"
_BETWEEN = b"\xf7\xf5\xf7"


@cache
def _whole() -> bytes:
    from tests.bundles import random_bundle

    info = StreamInfo(10_000.0, ("a", "b"), "nerve")
    samples = np.random.default_rng(0).normal(0, 100, (4000, 2)).astype(np.int16)
    return pack(replace(random_bundle(info, samples), step_graph=b"no graph: another target has them"))


@cache
def _members() -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(_whole())) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


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


def check(data: bytes) -> None:
    """Byte 0: raw; raw with a right checksum; a member replaced; a replacement or edits in the manifest."""
    kind, content = data[:1], data[1:]
    if kind == b"\0":
        whole = content
    elif kind == b"\1":
        whole = _sealed(content)
    elif kind == b"\2" and content:
        names = sorted(_members())
        whole = _archive(_members() | {names[content[0] % len(names)]: content[1:]})
    elif kind == b"\3":
        old, _, new = content.partition(_BETWEEN)
        manifest = _members()["manifest.json"].replace(old or b"\0", new, 1)
        whole = _archive(_members() | {"manifest.json": manifest})
    elif kind == b"\4":
        manifest = edited(_members()["manifest.json"], content).encode()
        whole = _archive(_members() | {"manifest.json": manifest})
    else:
        return
    try:
        bundle = unpack(whole)
    except NervehandError:
        return
    assert len(bundle.sha256) == 64
    assert unpack(pack(bundle)).manifest == bundle.manifest


def _archive(members: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name, content in members.items():
            archive.writestr(zipfile.ZipInfo(name), content)
        archive.comment = _COMMENT + b"0" * 64
    return _sealed(buffer.getvalue()[:-64])


def _sealed(body: bytes) -> bytes:
    return body + hashlib.sha256(body + b"0" * 64).hexdigest().encode()
