"""Arrays files: any bytes, and archives of any arrays."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator

import numpy as np

from decoder.importers.arrays import NEEDED, OPTIONAL, read
from decoder.session import iter_blocks, trials
from firmware_bridge.errors import NervehandError
from tests.fuzz.targets._rooms import empty_room

_NAMES = (*NEEDED, *OPTIONAL)
_BETWEEN = b"\xf7\xf5\xf7"
_DTYPES = ("<i2", "<f4", "<i8", "<f8", "<u8", "|b1", "<c8", "<U3", "|S2", "<M8[s]")


def _npy(array: object) -> bytes:
    buffer = io.BytesIO()
    np.lib.format.write_array(buffer, np.asarray(array), allow_pickle=False)
    return buffer.getvalue()


def seeds() -> Iterator[bytes]:
    arrays = {
        "signal": np.arange(12, dtype=np.int16).reshape(6, 2),
        "rate": 1000.0,
        "kind": "emg",
        "labels": [0, 0, 1, 1, 0, 0],
        "names": ["rest", "fist"],
        "trial": [1, 1, 1, 2, 2, 2],
        "truth": np.zeros((6, 1)),
    }
    whole = io.BytesIO()
    np.savez(whole, **{name: np.asarray(value) for name, value in arrays.items()})
    yield b"\0" + whole.getvalue()
    yield b"\1" + _BETWEEN.join(bytes([_NAMES.index(n)]) + _npy(value) for n, value in arrays.items())
    yield b"\2" + bytes([3, 0, 2, 2]) + bytes([6, 1, 9])
    yield b"\2" + bytes([4, 2, 40, 1]) + bytes([7, 0, 40, 255])


def check(data: bytes) -> None:
    """Byte 0: raw; members as .npy bytes; or three values over a whole file: which array, its type, length, values."""
    kind, content = data[:1], data[1:]
    path = empty_room() / "fuzzed.npz"
    if kind == b"\0":
        path.write_bytes(content)
    elif kind == b"\1":
        members = {_name(part): part[1:] for part in content.split(_BETWEEN) if part}
        with zipfile.ZipFile(path, "w") as archive:
            for name, member in members.items():
                archive.writestr(f"{name}.npy", member)
    elif kind == b"\2":
        arrays = {"signal": np.zeros((6, 2), np.int16), "rate": np.array(100.0), "kind": np.array("emg")}
        for k in range(0, min(len(content) - 3, 40), 4):
            name, dtype, n, value = content[k : k + 4]
            filled = np.full((n,) if n < 200 else (n % 7, n % 3), value - 128.0)
            arrays[_NAMES[name % len(_NAMES)]] = filled.astype(np.int64).astype(_DTYPES[dtype % len(_DTYPES)])
        np.savez(path, **arrays)
    else:
        return
    try:
        session = read(path)
        assert sum(block.n_samples for block in iter_blocks(session, 5)) == session.n_samples
        trials(session)
    except NervehandError:
        return


def _name(part: bytes) -> str:
    return _NAMES[part[0] % len(_NAMES)]
