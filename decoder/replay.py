"""A recorded session through the decode chain: the same bits on every run, for any blocks and at any speed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from decoder.bundle import Bundle
from decoder.chain import DecodeChain
from decoder.intent import Intents
from firmware_bridge.stream import SignalBlock, StreamInfo


def replay(blocks: Iterable[SignalBlock], info: StreamInfo, bundle: Bundle) -> Iterator[Intents]:
    """The intents that each block completes. StreamMismatchError where the bundle was made for another stream."""
    chain = DecodeChain(bundle, info)
    for block in blocks:
        yield chain.process(block)
