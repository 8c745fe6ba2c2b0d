"""What an LSL sender says of its stream."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from firmware_bridge.errors import NervehandError
from firmware_bridge.sources import lsl

_DTYPES = ("float32", "float64", "int16", "int32", "int64", "int8", "string")
_HEAD = struct.Struct("<dBB")


@dataclass(frozen=True)
class _Said:
    """A description as the library gives it: its texts are any, its numbers of the library's own types."""

    name: str
    stype: str
    sfreq: float
    n_channels: int
    dtype: str | type[np.generic]
    source_id: str
    names: list[str | None] | None
    types: list[str | None] | None
    units: list[str | None] | None

    def get_channel_names(self) -> list[str | None] | None:
        return self.names

    def get_channel_types(self) -> list[str | None] | None:
        return self.types

    def get_channel_units(self) -> list[str | None] | None:
        return self.units


def seeds() -> Iterator[bytes]:
    yield _HEAD.pack(1000.0, 2, 0) + b"amp\nEMG\nsource\na\nb\neeg\neeg\nmicrovolts\nuV"
    yield _HEAD.pack(10_000.0, 1, 2) + b"amp\nnerve\nsource\na\n\nmillivolts"
    yield _HEAD.pack(0.0, 3, 6) + b"markers\nMarkers\n\n\0\n\0\n\0"


def check(data: bytes) -> None:
    if len(data) < _HEAD.size:
        return
    rate_hz, n, dtype = _HEAD.unpack_from(data)
    n = n % 8 + 1
    texts = [None if t == "\0" else t for t in data[_HEAD.size :].decode(errors="replace").split("\n")]
    texts += [""] * (3 + 3 * n - len(texts))
    per_channel = [texts[3 + k * n : 3 + (k + 1) * n] for k in range(3)]
    said = [None if not any(texts) else texts for texts in per_channel]
    name = _DTYPES[dtype % len(_DTYPES)]
    description = _Said(
        texts[0] or "", texts[1] or "", rate_hz, n, name, texts[2] or "", said[0], said[1], said[2]
    )
    try:
        info, layout = lsl.described(description)
    except NervehandError:
        return
    assert info.n_channels == len(layout.columns) <= n
    assert 0 < info.rate_hz < float("inf")
    values = layout.samples(np.ones((2, n), layout.dtype))
    assert values.shape == (2, info.n_channels)
    assert np.isfinite(values).all()
