"""A stream whose every value tells its place, and a recorder's messages without a ring."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import numpy as np

from decoder.recording import messages
from decoder.recording.keeper import Keeper
from decoder.recording.messages import Kind, Moment
from decoder.recording.ring import Message
from decoder.session.layout import Header
from decoder.session.model import SessionMeta
from firmware_bridge.stream import SignalBlock, StreamInfo

RATE_HZ = 1000.0
BLOCK = 20
INFO = StreamInfo(RATE_HZ, ("a", "b", "c"), "nerve", electrodes=("m/1", "m/2", "u/7"))
HEADER = Header(
    info=INFO,
    meta=SessionMeta("live", "p07", "left"),
    gesture_names=("rest", "fist"),
    output_names=("u", "v"),
    bundle="b" * 64,
)


def samples(first: int, n: int) -> np.ndarray:
    rows = np.arange(first, first + n)
    return np.stack([rows % 30011, rows % 7, -rows % 101], axis=1).astype(np.int16)


def block(number: int, first: int = 1000) -> SignalBlock:
    at = first + number * BLOCK
    return SignalBlock(samples(at, BLOCK), at, arrival_ns=at, scale_uv=0.195)


class Told:
    """Tells a keeper, one message after the other."""

    def __init__(self, keeper: Keeper) -> None:
        self.keeper = keeper
        self._numbers: Iterator[int] = itertools.count(1)

    def put(self, kind: Kind, parts: messages.Parts) -> int:
        number = next(self._numbers)
        self.keeper.take(Message(number, kind, b"".join(parts)))
        return number

    def moment(self, state: bytes = b"", begins_anew: str = "", header: Header = HEADER) -> int:
        return self.put(Kind.MOMENT, messages.encode_moment(Moment(header, state, begins_anew)))

    def blocks(self, begin: int, end: int, *, moments_each: int = 0) -> None:
        for number in range(begin, end):
            if moments_each and number % moments_each == 0:
                self.moment(f"state before {number}".encode())
            self.put(Kind.BLOCK, messages.encode_block(block(number)))
