"""Messages of Open Ephys' ZMQ Interface, and blocks put together from them. No sockets here.

Read in open-ephys-plugins/zmq-interface 1.0.0 (Source/ZmqInterface.cpp) and open-ephys/plugin-GUI 1.0.1
(Events/Event.cpp, Settings/EventChannel.h). Each message has an envelope, a JSON header and perhaps data:

- "DATA\\0", header, float32 values of one channel in microvolts. Every block of samples is sent channel by channel,
  all with the same `sample_num`, which counts the stream's samples.
- "EVENT\\0", header, data. A TTL event (type 3) has a byte for its line, one for its state and a uint64 with all
  lines of its processor; it comes before the samples of its block. Text events and spikes are not used here.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from firmware_bridge.errors import NervehandError

MAX_PART_BYTES = 1 << 16
"""A part of a message is no larger: 16384 values of a channel, where Open Ephys sends about 1000."""
MAX_CHANNELS = 1024
_DATA, _EVENT = b"DATA\0", b"EVENT\0"
_TTL = 3
_TTL_DATA = struct.Struct("<BBQ")
_MAX_TEXT = 256

T = TypeVar("T")


class BadMessageError(NervehandError):
    """A message that is not one of Open Ephys' ZMQ Interface."""


@dataclass(frozen=True, slots=True)
class Data:
    """The samples of one channel in one block, (n,) float32 microvolts from `sample_num` on."""

    stream: str
    channel_num: int
    channel_name: str
    sample_num: int
    sample_rate: float
    samples: NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Ttl:
    """The digital lines of a processor from `sample_num` on, a bit each."""

    stream: str
    source_node: int
    sample_num: int
    word: int


def encode_data(data: Data, message_num: int) -> tuple[bytes, ...]:
    """A data message as Open Ephys sends it."""
    content = {
        "stream": data.stream,
        "channel_num": data.channel_num,
        "channel_name": data.channel_name,
        "num_samples": int(data.samples.shape[0]),
        "sample_num": data.sample_num,
        "sample_rate": float(data.sample_rate),
    }
    values = data.samples.astype("<f4").tobytes()
    return _DATA, _header("data", content, message_num, len(values)), values


def encode_ttl(ttl: Ttl, line: int, message_num: int) -> tuple[bytes, ...]:
    """A TTL event, of the line that changed."""
    content = {
        "stream": ttl.stream,
        "source_node": ttl.source_node,
        "type": _TTL,
        "sample_num": ttl.sample_num,
    }
    values = _TTL_DATA.pack(line, ttl.word >> line & 1, ttl.word)
    return _EVENT, _header("event", content, message_num, len(values)), values


def _header(kind: str, content: dict[str, object], message_num: int, size: int) -> bytes:
    header = {"message_num": message_num, "type": kind, "content": content, "data_size": size, "timestamp": 0}
    return json.dumps(header, indent=2).replace("\n", "\r\n").encode("ascii")


def parse(parts: Sequence[bytes]) -> Data | Ttl | None:
    """What a message says; None for a spike, a text or another kind that is not used. Raises BadMessageError."""
    if not 2 <= len(parts) <= 3 or parts[0] not in (_DATA, _EVENT):
        raise BadMessageError(f"a message of {len(parts)} parts that begins {b''.join(parts)[:16]!r}")
    if any(len(part) > MAX_PART_BYTES for part in parts):
        raise BadMessageError(f"a part of {max(len(part) for part in parts)} bytes: {MAX_PART_BYTES} at most")
    try:
        header = json.loads(parts[1])
    except (ValueError, RecursionError) as error:
        raise BadMessageError(f"a header that is no JSON: {error}") from error
    kind = _field(header, "type", str)
    if parts[0] == _DATA:
        if kind != "data" or len(parts) != 3:
            raise BadMessageError(f"a data message of {len(parts)} parts and type {kind!r}")
        return _parse_data(header, parts[2])
    if kind != "event":
        return None
    content = _field(header, "content", dict)
    if _whole(content, "type", 0, 255) != _TTL:
        return None
    return _parse_ttl(content, parts[2] if len(parts) == 3 else b"")


def _parse_data(header: object, values: bytes) -> Data:
    content = _field(header, "content", dict)
    n = _whole(content, "num_samples", 1, MAX_PART_BYTES // 4)
    if not len(values) == 4 * n == _whole(header, "data_size", 0, MAX_PART_BYTES):
        raise BadMessageError(f"{len(values)} bytes of data for {n} samples")
    rate = content.get("sample_rate")
    if isinstance(rate, bool) or not isinstance(rate, int | float) or not 0 < rate < 1e7:
        raise BadMessageError("sample_rate is no positive number")
    number = _whole(content, "channel_num", 0, MAX_CHANNELS - 1)
    name = _text(content, "channel_name") if "channel_name" in content else f"CH{number + 1}"  # from 1.0 on
    return Data(
        _text(content, "stream"),
        number,
        name,
        _whole(content, "sample_num", 0, 1 << 62),
        float(rate),
        np.frombuffer(values, "<f4"),
    )


def _parse_ttl(content: dict[str, object], values: bytes) -> Ttl:
    if len(values) != _TTL_DATA.size:
        raise BadMessageError(f"a TTL event with {len(values)} bytes of data: {_TTL_DATA.size} expected")
    word = int(_TTL_DATA.unpack(values)[2])
    node = _whole(content, "source_node", 0, 1 << 31)
    return Ttl(_text(content, "stream"), node, _whole(content, "sample_num", 0, 1 << 62), word)


def _field(header: object, name: str, kind: type[T]) -> T:
    value = header.get(name) if isinstance(header, dict) else None
    if not isinstance(value, kind):
        raise BadMessageError(f"a header without {name}")
    return value


def _whole(header: object, name: str, low: int, high: int) -> int:
    value = _field(header, name, int)
    if isinstance(value, bool) or not low <= value <= high:
        raise BadMessageError(f"{name} is out of range")
    return value


def _text(header: object, name: str) -> str:
    value = _field(header, name, str)
    if len(value) > _MAX_TEXT:
        raise BadMessageError(f"{name} has {len(value)} characters")
    return value
