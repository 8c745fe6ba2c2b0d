"""What a run tells its recorder, as bytes: one kind of message for each thing that a session holds.

Little-endian. Both sides are of one release and of one machine; nothing of this is stored.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from decoder.carried import from_bytes, to_bytes
from decoder.intent import Intents
from decoder.session.layout import Header
from decoder.session.recorded import TRACE_TIMES, Event, Note
from firmware_bridge.guard import Sent
from firmware_bridge.guard_memory import decode_command, decode_sent, encode_command, encode_sent
from firmware_bridge.hand import N_DOF, HandCommand, HandState
from firmware_bridge.stream import SignalBlock


class Kind(IntEnum):
    """What a message holds."""

    MOMENT = 1  # from here on a file may begin: its header and what the decoder carries
    BLOCK = 2
    HEALTH = 3
    INTENTS = 4
    COMMAND = 5
    SENT = 6
    STATE = 7
    EVENT = 8
    NOTE = 9
    TRACES = 10
    PIN = 11
    END = 12


Parts = tuple[bytes | memoryview, ...]
DTYPES = ("<i2", "<f4", "<f8")
_BLOCK = struct.Struct("<qqqdIIBBxx")
_LENGTH = struct.Struct("<I")
_HEALTH = struct.Struct("<qI")
_STATE = struct.Struct(f"<q?{N_DOF}f")
_EVENT = struct.Struct("<qqqq")
_NOTE = struct.Struct("<q")


@dataclass(frozen=True, slots=True)
class Moment:
    """A sample before which a file may begin. `header` is that of the file, but for what its first block says (type,
    scale, first sample); `state` is what the decoder carries; `begins_anew` says why another file must begin, "" where
    none must."""

    header: Header
    state: bytes = b""
    begins_anew: str = ""


@dataclass(frozen=True, slots=True)
class Pin:
    """Somebody wants the last `seconds` kept, whatever the budget says."""

    who: str
    why: str
    seconds: float


def encode_moment(moment: Moment) -> Parts:
    """As the parts of a message."""
    head = json.dumps([moment.header.to_json(), moment.begins_anew]).encode()
    return _LENGTH.pack(len(head)), head, moment.state


def decode_moment(payload: bytes) -> Moment:
    """What `encode_moment` was given."""
    (length,) = _LENGTH.unpack_from(payload)
    at = _LENGTH.size + length
    header, begins_anew = json.loads(payload[_LENGTH.size : at])
    return Moment(Header.from_json(header), payload[at:], begins_anew)


def encode_block(block: SignalBlock) -> Parts:
    """As the parts of a message, its samples without a copy where they lie as they should."""
    samples = np.ascontiguousarray(block.samples, block.samples.dtype.newbyteorder("<"))
    head = _BLOCK.pack(
        block.first_sample, block.arrival_ns, block.lost_before, block.scale_uv, *samples.shape,
        DTYPES.index(samples.dtype.str), block.digital is not None,
    )  # fmt: skip
    raw = samples.reshape(-1).view(np.uint8).data
    if block.digital is None:
        return head, raw
    return head, raw, np.ascontiguousarray(block.digital, np.dtype("<u4")).view(np.uint8).data


def decode_block(payload: bytes) -> SignalBlock:
    """What `encode_block` was given; its arrays are views of the payload."""
    first, arrival_ns, lost, scale_uv, n, c, kind, has_lines = _BLOCK.unpack_from(payload)
    dtype = np.dtype(DTYPES[kind])
    samples = np.frombuffer(payload, dtype, n * c, _BLOCK.size).reshape(n, c)
    lines = np.frombuffer(payload, "<u4", n, _BLOCK.size + samples.nbytes) if has_lines else None
    return SignalBlock(samples, first, arrival_ns, lost, scale_uv, lines)


def encode_health(sample_index: int, mask: NDArray[np.bool_]) -> Parts:
    """As the parts of a message."""
    return _HEALTH.pack(sample_index, len(mask)), np.packbits(mask).tobytes()


def decode_health(payload: bytes) -> tuple[int, NDArray[np.bool_]]:
    """What `encode_health` was given."""
    sample_index, n = _HEALTH.unpack_from(payload)
    return sample_index, np.unpackbits(np.frombuffer(payload, np.uint8, -1, _HEALTH.size), count=n).astype(
        np.bool_
    )


def encode_intents(intents: Intents) -> Parts:
    """As the parts of a message."""
    return (
        to_bytes(
            {
                "sample_index": intents.sample_index, "outputs": intents.outputs, "positions": intents.positions,
                "gesture": intents.gesture, "probability": intents.probability, "warming": intents.warming,
                "healthy_fraction": intents.healthy_fraction,
            }
        ),
    )  # fmt: skip


def decode_intents(payload: bytes) -> Intents:
    """What `encode_intents` was given."""
    found = from_bytes(payload)
    return Intents(
        found["sample_index"].astype(np.int64), found["outputs"].astype(np.float32),
        found["positions"].astype(np.float32), found["gesture"].astype(np.int16),
        found["probability"].astype(np.float32), found["warming"].astype(np.bool_),
        found["healthy_fraction"].astype(np.float32),
    )  # fmt: skip


def encode_told(command: HandCommand) -> Parts:
    """A command, as the parts of a message."""
    return (encode_command(command),)


def decode_told(payload: bytes) -> HandCommand:
    """What `encode_told` was given."""
    return decode_command(payload)


def encode_all_sent(sent: Sequence[Sent]) -> Parts:
    """As the parts of a message."""
    records = [encode_sent(one) for one in sent]
    return tuple(part for record in records for part in (_LENGTH.pack(len(record)), record))


def decode_all_sent(payload: bytes) -> list[Sent]:
    """What `encode_all_sent` was given."""
    found, at = [], 0
    while at < len(payload):
        (length,) = _LENGTH.unpack_from(payload, at)
        found.append(decode_sent(payload[at + _LENGTH.size : at + _LENGTH.size + length]))
        at += _LENGTH.size + length
    return found


def encode_state(state: HandState) -> Parts:
    """As the parts of a message: what a session holds of it."""
    return _STATE.pack(
        state.reported_ns, state.watchdog_tripped, *state.positions.tolist()
    ), state.fault.encode()


def decode_state(payload: bytes) -> HandState:
    """What a session holds of what `encode_state` was given."""
    reported_ns, watchdog_tripped, *positions = _STATE.unpack_from(payload)
    fault = payload[_STATE.size :].decode()
    return HandState(np.array(positions, np.float32), reported_ns, watchdog_tripped, fault)


def encode_event(event: Event) -> Parts:
    """As the parts of a message."""
    return (_EVENT.pack(event.sample_index, event.kind, event.first, event.second),)


def decode_event(payload: bytes) -> Event:
    """What `encode_event` was given."""
    return Event(*_EVENT.unpack(payload))


def encode_note(note: Note) -> Parts:
    """As the parts of a message."""
    return _NOTE.pack(note.sample_index), note.text.encode(errors="replace")


def decode_note(payload: bytes) -> Note:
    """What `encode_note` was given."""
    return Note(_NOTE.unpack_from(payload)[0], payload[_NOTE.size :].decode())


def encode_traces(sample_index: NDArray[np.int64], times_ns: NDArray[np.int64]) -> Parts:
    """As the parts of a message."""
    rows = np.concatenate([sample_index[:, None], times_ns], axis=1)
    return (rows.astype("<i8").tobytes(),)


def decode_traces(payload: bytes) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """What `encode_traces` was given."""
    rows = np.frombuffer(payload, "<i8").reshape(-1, 1 + len(TRACE_TIMES)).astype(np.int64)
    return rows[:, 0], rows[:, 1:]


def encode_pin(pin: Pin) -> Parts:
    """As the parts of a message."""
    return (json.dumps([pin.who, pin.why, pin.seconds]).encode(),)


def decode_pin(payload: bytes) -> Pin:
    """What `encode_pin` was given."""
    who, why, seconds = json.loads(payload)
    return Pin(str(who), str(why), float(seconds))
