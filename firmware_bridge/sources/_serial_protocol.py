"""The serial front-end's frames as bytes: encoding, and a parser that takes any bytes. No ports here.

docs/serial-protocol.md is the specification, with byte tables and test vectors. A frame is a header of 16 bytes
with a checksum of its own, a payload, and a checksum that goes on from the header's over the payload.
"""

from __future__ import annotations

import math
import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from firmware_bridge.errors import NervehandError
from firmware_bridge.stream import SignalBlock

MAGIC = b"\x4e\x48\xa5\x5a"
"""How each frame begins; no end of it is a beginning of it."""

VERSION = 1
MAX_PAYLOAD = 32768
"""Bytes; a header that claims more is refused before any payload is waited for."""

MAX_CHANNELS = 1024
MAX_SAMPLE = 2**63 - 1

_HEADER = struct.Struct("<4sBBHI")
_CRC = struct.Struct("<I")
_SEALED_HEADER = struct.Struct("<4xBBHII")
_DATA = struct.Struct("<IHHQdI")
_START = struct.Struct("<I")
_STARTED = struct.Struct("<IIQ")
REQUEST = struct.Struct("<I")
_ERROR = struct.Struct("<IH")

HEADER_SIZE = _HEADER.size + _CRC.size
DATA_SIZE = _DATA.size
OVERHEAD = HEADER_SIZE + _CRC.size
"""Bytes of a frame beside its payload."""

_DIGITAL_TYPES = {1: "<u1", 2: "<u2", 4: "<u4"}


class FrameType(IntEnum):
    """Requests have the highest bit clear, what the device sends has it set."""

    DESCRIBE = 0x01
    START = 0x02
    STOP = 0x03
    DESCRIPTION = 0x81
    STARTED = 0x82
    STOPPED = 0x83
    ERROR = 0x8F
    DATA = 0x90


class ErrorCode(IntEnum):
    UNKNOWN_TYPE = 1
    UNKNOWN_VERSION = 2
    MALFORMED = 3
    NOT_READY = 4


class ProtocolError(NervehandError):
    """A whole frame whose content is refused: which field, with which value."""


@dataclass(frozen=True, slots=True)
class Frame:
    """A frame whose checksums are right. `version` and `type` may be ones that this code does not know."""

    version: int
    type: int
    sequence: int
    payload: bytes


@dataclass(frozen=True, slots=True, eq=False)
class Data:
    """The content of a DATA frame: as in SignalBlock, with the stream it belongs to."""

    stream: int
    first_sample: int
    scale_uv: float
    samples: NDArray[np.int16]
    digital: NDArray[np.uint32] | None


@dataclass(frozen=True, slots=True)
class Started:
    """The answer to START: the stream that begins, and the index of its first sample."""

    request: int
    stream: int
    first_sample: int


@dataclass(frozen=True, slots=True)
class DeviceError:
    """The device's refusal of a request."""

    request: int
    code: int
    text: str


def encode_frame(type_: int, sequence: int, payload: bytes = b"", version: int = VERSION) -> bytes:
    """Header, checksum of the header, payload, checksum of header and payload (without the header's checksum).

    The second checksum leaves out the first, because a CRC that runs over its own value forgets all before it:
    a payload would then fit behind any header.
    """
    if len(payload) > MAX_PAYLOAD:
        raise ProtocolError(f"payload has {len(payload)} bytes: a frame holds at most {MAX_PAYLOAD}")
    header = _HEADER.pack(MAGIC, version, type_, len(payload), sequence % 2**32)
    crc = zlib.crc32(header)
    return b"".join((header, _CRC.pack(crc), payload, _CRC.pack(zlib.crc32(payload, crc))))


def encode_data(sequence: int, stream: int, block: SignalBlock, digital_bytes: int = 4) -> bytes:
    """A DATA frame of an int16 block; `digital_bytes` (1, 2, 4) each sample's lines take, where it has lines."""
    n_samples, n_channels = block.samples.shape
    if block.samples.dtype != np.int16:
        raise ProtocolError(f"samples are {block.samples.dtype}: a DATA frame carries int16 and a scale")
    parts = [block.samples.astype("<i2").tobytes()]
    if block.digital is None:
        digital_bytes = 0
    else:
        if digital_bytes not in _DIGITAL_TYPES:
            raise ProtocolError(f"{digital_bytes} bytes for digital lines: use 1, 2 or 4")
        if block.digital.size and int(block.digital.max()) >> (8 * digital_bytes):
            raise ProtocolError(
                f"digital lines {int(block.digital.max()):#x} do not fit {digital_bytes} bytes: use more"
            )
        parts.append(block.digital.astype(_DIGITAL_TYPES[digital_bytes]).tobytes())
    head = _DATA.pack(stream, n_channels, n_samples, block.first_sample, block.scale_uv, digital_bytes)
    return encode_frame(FrameType.DATA, sequence, b"".join((head, *parts)))


def max_samples(n_channels: int, digital_bytes: int = 0) -> int:
    """How many samples (instants) a DATA frame holds."""
    return (MAX_PAYLOAD - DATA_SIZE) // (2 * n_channels + digital_bytes)


def parse_data(payload: bytes) -> Data:
    """The content of a DATA frame, as read-only views of the payload; ProtocolError where a field is wrong."""
    if len(payload) < DATA_SIZE:
        raise ProtocolError(
            f"a DATA payload of {len(payload)} bytes is shorter than its {DATA_SIZE} of fields"
        )
    stream, n_channels, n_samples, first_sample, scale_uv, digital_bytes = _DATA.unpack_from(payload)
    if not (1 <= n_channels <= MAX_CHANNELS and n_samples >= 1):
        raise ProtocolError(f"DATA of {n_samples} samples in {n_channels} channels is out of range")
    if digital_bytes and digital_bytes not in _DIGITAL_TYPES:
        raise ProtocolError(f"DATA with {digital_bytes} bytes of digital lines: 0, 1, 2 or 4 are defined")
    n_values = n_channels * n_samples
    end = DATA_SIZE + 2 * n_values
    if len(payload) != end + n_samples * digital_bytes:
        raise ProtocolError(
            f"DATA of {n_samples} samples in {n_channels} channels and {digital_bytes} bytes of lines"
            f" does not fill {len(payload)} bytes"
        )
    if first_sample + n_samples > MAX_SAMPLE:
        raise ProtocolError(f"DATA's first sample {first_sample} is beyond 2^63")
    if not (math.isfinite(scale_uv) and scale_uv > 0):
        raise ProtocolError(f"DATA's scale is {scale_uv} microvolts per count: it must be positive")
    samples = np.frombuffer(payload, "<i2", n_values, DATA_SIZE).reshape(n_samples, n_channels)
    digital = None
    if digital_bytes:
        digital = np.frombuffer(payload, _DIGITAL_TYPES[digital_bytes], n_samples, end).astype(np.uint32)
    return Data(stream, first_sample, scale_uv, samples, digital)


def encode_start(sequence: int, stream: int) -> bytes:
    return encode_frame(FrameType.START, sequence, _START.pack(stream))


def parse_start(payload: bytes) -> int:
    """The stream's number, which is never 0."""
    stream = int(_START.unpack(payload)[0]) if len(payload) == _START.size else 0
    if stream == 0:
        raise ProtocolError(f"START's payload is {payload[:16].hex()!r}: give four bytes, not all zero")
    return stream


def encode_started(sequence: int, started: Started) -> bytes:
    payload = _STARTED.pack(started.request, started.stream, started.first_sample)
    return encode_frame(FrameType.STARTED, sequence, payload)


def parse_started(payload: bytes) -> Started:
    if len(payload) != _STARTED.size:
        raise ProtocolError(f"STARTED has {len(payload)} bytes, not {_STARTED.size}")
    started = Started(*_STARTED.unpack(payload))
    if started.first_sample > MAX_SAMPLE:
        raise ProtocolError(f"STARTED's first sample {started.first_sample} is beyond 2^63")
    return started


def encode_stopped(sequence: int, request: int) -> bytes:
    return encode_frame(FrameType.STOPPED, sequence, REQUEST.pack(request))


def encode_error(sequence: int, error: DeviceError) -> bytes:
    payload = _ERROR.pack(error.request, error.code) + error.text.encode()
    return encode_frame(FrameType.ERROR, sequence, payload)


def parse_error(payload: bytes) -> DeviceError:
    if len(payload) < _ERROR.size:
        raise ProtocolError(f"ERROR has {len(payload)} bytes: it begins with {_ERROR.size} of fields")
    request, code = _ERROR.unpack_from(payload)
    text = payload[_ERROR.size :].decode(errors="replace")
    return DeviceError(request, code, "".join(c if c.isprintable() else " " for c in text[:200]))


def answered_request(frame: Frame) -> int | None:
    """The sequence of the request that a frame answers; None where it answers none."""
    answers = (FrameType.DESCRIPTION, FrameType.STARTED, FrameType.STOPPED, FrameType.ERROR)
    if frame.type not in answers or len(frame.payload) < REQUEST.size:
        return None
    return int(REQUEST.unpack_from(frame.payload)[0])


class FrameParser:
    """Bytes in, cut anywhere; frames out, each as soon as its last byte is in.

    Where a checksum fails it searches on one byte behind that frame's first, so a good frame is found wherever
    it begins. A header is checked before its length is believed: at most a frame and one `feed` are held, and
    each byte is searched once and summed at most MAX_PAYLOAD / HEADER_SIZE times, however hostile the bytes.

    `frames` were whole, `bad_frames` began with the magic and failed a checksum or the limit of length, and
    `skipped_bytes` are in no whole frame: with the whole frames and `buffered` bytes they are all that was fed.
    """

    def __init__(self) -> None:
        self.frames = 0
        self.bad_frames = 0
        self.skipped_bytes = 0
        self._buffer = bytearray()
        self._need = 1

    @property
    def buffered(self) -> int:
        return len(self._buffer)

    def feed(self, data: bytes) -> list[Frame]:
        buffer = self._buffer
        buffer += data
        found: list[Frame] = []
        if len(buffer) < self._need:
            return found
        with memoryview(buffer) as view:
            used = self._parse(buffer, view, found)
        del buffer[:used]
        self.frames += len(found)
        return found

    def _parse(self, buffer: bytearray, view: memoryview, found: list[Frame]) -> int:
        """Append the whole frames; return how many bytes are done with."""
        find, unpack, crc32, size = buffer.find, _SEALED_HEADER.unpack_from, zlib.crc32, len(buffer)
        at = used = whole = 0  # `whole` bytes of those used are frames
        while True:
            at = find(MAGIC, at)
            if at < 0:
                used = size - _magic_at_end(buffer, used)
                self._need = size - used + 1
                break
            used = at
            if size - at < HEADER_SIZE:
                self._need = HEADER_SIZE
                break
            version, type_, length, sequence, header_crc = unpack(view, at)
            if length <= MAX_PAYLOAD and crc32(view[at : at + _HEADER.size]) == header_crc:
                end = at + HEADER_SIZE + length
                if size < end + _CRC.size:
                    self._need = end + _CRC.size - at
                    break
                payload = view[at + HEADER_SIZE : end]
                if crc32(payload, header_crc) == _CRC.unpack_from(view, end)[0]:
                    found.append(Frame(version, type_, sequence, bytes(payload)))
                    whole += length + OVERHEAD
                    at = used = end + _CRC.size
                    continue
            self.bad_frames += 1
            at += 1
        self.skipped_bytes += used - whole
        return used


def _magic_at_end(buffer: Sequence[int], at: int) -> int:
    """How many bytes at the end, behind `at`, may be the beginning of a magic."""
    for n in range(min(len(MAGIC) - 1, len(buffer) - at), 0, -1):
        if bytes(buffer[len(buffer) - n :]) == MAGIC[:n]:
            return n
    return 0
