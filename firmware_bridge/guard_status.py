"""Where a guard stands, as bytes for a cell of shared memory: written fifty times a second, so not as text."""

from __future__ import annotations

import dataclasses
import json
import struct
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from firmware_bridge.gate import Cause, GateState
from firmware_bridge.guard import GuardCounters
from firmware_bridge.hand import N_DOF, HandState, LinkState

_HEAD = struct.Struct("<qBb??B6fqqq")
_COUNTERS = struct.Struct(f"<{len(dataclasses.fields(GuardCounters))}q")
_HAND = struct.Struct("<qqBdd18f")
_STATES, _CAUSES, _LINKS = tuple(GateState), tuple(Cause), tuple(LinkState)
_TRIPPED, _HOT, _STALLED, _CURRENTS, _FORCES, _TEMPERATURE, _BATTERY = (1 << i for i in range(7))
_NOTHING = [0.0] * N_DOF


@dataclass(frozen=True, slots=True)
class GuardStatus:
    """Where gate, link and hand stood at host time `time_ns`.

    `positions` (6,) are the newest decision's, sent to the hand where `send`. Of the commands that decode wrote,
    `overwritten` were replaced before the guard had looked, and `refused` (with heartbeats) failed their checksum.
    `stalls` is how often decode's heartbeat was found too old; `open_lines` are the stop lines that are open.
    """

    time_ns: int
    state: GateState
    cause: Cause | None
    positions: NDArray[np.float32]
    send: bool
    link: LinkState
    hand: HandState | None
    counters: GuardCounters
    overwritten: int = 0
    refused: int = 0
    stalls: int = 0
    open_lines: tuple[str, ...] = ()


def encode_status(status: GuardStatus) -> bytes:
    """As bytes; long texts are cut."""
    cause = -1 if status.cause is None else _CAUSES.index(status.cause)
    state, link = _STATES.index(status.state), _LINKS.index(status.link)
    head = _HEAD.pack(
        status.time_ns, state, cause, status.send, status.hand is not None, link, *status.positions.tolist(),
        status.overwritten, status.refused, status.stalls,
    )  # fmt: skip
    counters = _COUNTERS.pack(*(getattr(status.counters, f.name) for f in dataclasses.fields(GuardCounters)))
    fault = None if status.hand is None else status.hand.fault[:300]
    text = json.dumps([fault, [line[:100] for line in status.open_lines[:4]]]).encode()
    return head + counters + (b"" if status.hand is None else _encode_hand(status.hand)) + text


def decode_status(payload: bytes) -> GuardStatus:
    """What `encode_status` made."""
    time_ns, state, cause, send, has_hand, link, *positions, overwritten, refused, stalls = _HEAD.unpack_from(
        payload
    )
    at = _HEAD.size + _COUNTERS.size
    fault, lines = json.loads(payload[at + _HAND.size * has_hand :])
    return GuardStatus(
        time_ns,
        _STATES[state],
        None if cause < 0 else _CAUSES[cause],
        np.array(positions, np.float32),
        send,
        _LINKS[link],
        _decode_hand(payload, at, fault) if has_hand else None,
        GuardCounters(*_COUNTERS.unpack_from(payload, _HEAD.size)),
        overwritten,
        refused,
        stalls,
        tuple(lines),
    )


def _encode_hand(hand: HandState) -> bytes:
    flags = (
        _TRIPPED * hand.watchdog_tripped
        + _HOT * hand.hot
        + _STALLED * hand.stalled
        + _CURRENTS * (hand.currents_a is not None)
        + _FORCES * (hand.forces_n is not None)
        + _TEMPERATURE * (hand.temperature_c is not None)
        + _BATTERY * (hand.battery is not None)
    )
    arrays = (hand.positions, hand.currents_a, hand.forces_n)
    numbers = [v for array in arrays for v in (_NOTHING if array is None else array.tolist())]
    temperature_c, battery = hand.temperature_c or 0.0, hand.battery or 0.0
    return _HAND.pack(hand.reported_ns, hand.connection, flags, temperature_c, battery, *numbers)


def _decode_hand(payload: bytes, at: int, fault: str) -> HandState:
    reported_ns, connection, flags, temperature_c, battery, *numbers = _HAND.unpack_from(payload, at)
    positions, currents, forces = np.array(numbers, np.float32).reshape(3, N_DOF)
    return HandState(
        positions,
        reported_ns,
        bool(flags & _TRIPPED),
        fault,
        bool(flags & _HOT),
        bool(flags & _STALLED),
        currents if flags & _CURRENTS else None,
        forces if flags & _FORCES else None,
        temperature_c if flags & _TEMPERATURE else None,
        battery if flags & _BATTERY else None,
        connection,
    )
