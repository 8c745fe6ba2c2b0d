"""Session files: any bytes, and whole files in which data sets, attributes and the header were changed."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from pathlib import Path

import h5py
import numpy as np

from decoder.session import iter_blocks, read_session, trials
from decoder.session.layout import HEADER_PATH
from firmware_bridge.errors import NervehandError
from tests.fuzz.targets._json import edited
from tests.fuzz.targets._rooms import empty_room, session_bytes

_BYTES = struct.Struct("<IB")
_DTYPES = ("i1", "i2", "i4", "i8", "u8", "f2", "f4", "f8", "S3", "?")


def seeds() -> Iterator[bytes]:
    yield b"\0" + session_bytes()[:2000]
    yield b"\3" + _BYTES.pack(3000, 4) + bytes(4)
    yield b"\1"
    yield b"\1" + bytes([0, 0, 3, 0, 1, 2, 5, 7, 2, 1, 9, 3])
    yield b"\2" + b'"first_sample": 100\xf7"first_sample": 9'
    yield b"\2" + b'"int16"\xf7"float32"'
    yield b"\4" + bytes([6, 2, 5, 19, 2, 3])


def check(data: bytes) -> None:
    """Byte 0: raw bytes; edits of items, four bytes each; a replacement in the header; edits of a file's
    bytes; or edits of the header's values."""
    path = empty_room() / "fuzzed.nwb"
    kind, rest = data[:1], data[1:]
    path.write_bytes(rest if kind == b"\0" else session_bytes())
    if kind == b"\1":
        _edit(path, rest)
    elif kind == b"\2":
        old, _, new = (part.decode(errors="replace") for part in rest.partition(b"\xf7"))
        _rewrite_header(path, lambda text: text.replace(old, new) if old else new)
    elif kind == b"\4":
        _rewrite_header(path, lambda text: edited(text, rest))
    elif kind == b"\3":
        path.write_bytes(_changed(session_bytes(), rest))
    try:
        session = read_session(path)
    except NervehandError:
        return
    try:
        at = session.first_sample
        for block in iter_blocks(session, 7):
            assert block.first_sample == at + block.lost_before
            assert block.samples.shape[1] == session.info.n_channels
            at = block.first_sample + block.n_samples
        assert at <= session.first_sample + session.n_samples
        trials(session)
    except NervehandError:
        return
    finally:
        session.signal.close()  # type: ignore[attr-defined]  # a session that was read has a file


def _changed(content: bytes, edits: bytes) -> bytes:
    """Edits are where, how many bytes, and the bytes."""
    out, at = bytearray(content), 0
    while at + _BYTES.size <= len(edits):
        where, length = _BYTES.unpack_from(edits, at)
        new = edits[at + _BYTES.size : at + _BYTES.size + length]
        where %= len(out)
        out[where : where + len(new)] = new[: len(out) - where]
        at += _BYTES.size + length
    return bytes(out)


def _edit(path: Path, edits: bytes) -> None:
    with h5py.File(path, "r+") as file:
        names: list[str] = []
        file.visit(names.append)
        for k in range(0, min(len(edits) - 3, 32), 4):
            name = names[edits[k] % len(names)]
            item = file.get(name)
            if item is None:
                continue
            what, a, b = edits[k + 1] % 5, edits[k + 2], edits[k + 3]
            if what == 0:
                del file[name]
            elif what == 1 and isinstance(item, h5py.Dataset):
                del file[name]
                shape = ((), (a,), (a, b % 4), (a % 8, 2, b % 4))[b % 4]
                file[name] = np.full(shape, b).astype(_DTYPES[a % len(_DTYPES)])
            elif what == 2 and isinstance(item, h5py.Dataset) and item.maxshape and item.maxshape[0] is None:
                item.resize(a * (1 + b), axis=0)
            elif what == 3 and isinstance(item, h5py.Dataset) and item.dtype.kind in "iuf" and item.size:
                item[...] = np.full(item.shape, [np.nan, -1, 2.0**31 - 1, 1e9, a][b % 5]).astype(item.dtype)
            elif what == 4 and len(item.attrs):
                key = sorted(item.attrs)[a % len(item.attrs)]
                item.attrs[key] = [b, "x", np.nan, 0.0][b % 4]


def _rewrite_header(path: Path, change: Callable[[str], str]) -> None:
    with h5py.File(path, "r+") as file:
        text = change(file[HEADER_PATH].asstr()[()])
        del file[HEADER_PATH]
        file[HEADER_PATH] = text.replace("\0", " ")
