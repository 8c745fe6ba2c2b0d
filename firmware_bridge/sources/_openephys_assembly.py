"""Blocks of all channels out of messages that hold one channel each, and the digital lines beside them."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from firmware_bridge.errors import SourceLostError
from firmware_bridge.sources._openephys_protocol import BadMessageError, Data, Ttl

_MAX_PENDING = 4096
_MAX_NODES = 64
_MAX_INCOMPLETE = 8


@dataclass(frozen=True, slots=True)
class Heard:
    """A stream as its messages describe it: the numbers and names of its channels in the order in which they come."""

    stream: str
    rate_hz: float
    channels: tuple[int, ...]
    names: tuple[str, ...]


class Listener:
    """Learns a stream from its messages: two blocks in a row with the same channels, the first heard not counted
    since its beginning may have been missed."""

    def __init__(self) -> None:
        self._block: tuple[str, int, float] | None = None  # stream, index, rate
        self._names: dict[int, str] = {}
        self._before: Heard | None = None
        self._n_blocks = 0

    def take(self, data: Data) -> Heard | None:
        """What the stream is, once that is known."""
        heard = None
        block = (data.stream, data.sample_num, data.sample_rate)
        if self._block is not None and block != self._block:
            now = Heard(
                self._block[0], self._block[2], tuple(self._names), _unique(tuple(self._names.values()))
            )
            heard = now if now == self._before else None
            self._before = now if self._n_blocks else None
            self._n_blocks += 1
            self._names.clear()
        self._block = block
        self._names.setdefault(data.channel_num, data.channel_name)
        return heard


def _unique(names: tuple[str, ...]) -> tuple[str, ...]:
    return names if len(set(names)) == len(names) else tuple(f"{name} {i}" for i, name in enumerate(names))


class Assembler:
    """All channels of a block, once they have come. A block that lacks a channel when the next one begins is dropped:
    the next block's index says what is missing. No more than one block is held."""

    def __init__(self, heard: Heard) -> None:
        self._heard = heard
        self._column = {number: column for column, number in enumerate(heard.channels)}
        self._sample_num: int | None = None
        self._samples: NDArray[np.float32] = np.empty((0, 0), np.float32)
        self._there: set[int] = set()
        self._incomplete = 0  # in a row

    def take(self, data: Data) -> tuple[int, NDArray[np.float32]] | None:
        """(index of the first sample, (n, channels) microvolts) when this message completes a block.

        Raises SourceLostError where the stream has changed, BadMessageError where a channel came twice.
        """
        column = self._column.get(data.channel_num)
        if column is None or data.stream != self._heard.stream or data.sample_rate != self._heard.rate_hz:
            raise SourceLostError(
                f"Open Ephys sends channel {data.channel_num} of {data.stream!r} at {data.sample_rate:g} Hz, "
                f"not {len(self._column)} channels of {self._heard.stream!r}: its settings changed; connect again"
            )
        n = data.samples.shape[0]
        if (data.sample_num, n) != (self._sample_num, self._samples.shape[0]):
            self._begin(data.sample_num, n)
        if data.channel_num in self._there:
            raise BadMessageError(f"channel {data.channel_num} came twice")
        self._samples[:, column] = data.samples
        self._there.add(data.channel_num)
        if len(self._there) < len(self._column):
            return None
        self._sample_num, self._incomplete = None, 0
        return data.sample_num, self._samples

    def _begin(self, sample_num: int, n: int) -> None:
        if self._sample_num is not None:
            self._incomplete += 1
            if self._incomplete > _MAX_INCOMPLETE:
                raise SourceLostError(
                    f"{self._incomplete} blocks in a row lacked some of {len(self._column)} channels: "
                    "channels were taken out in Open Ephys, or it cannot keep up; connect again"
                )
        self._sample_num = sample_num
        self._samples = np.empty((n, len(self._column)), np.float32)
        self._there = set()


class DigitalLines:
    """The lines of all processors together, sample by sample, from their events; low until an event says otherwise."""

    def __init__(self) -> None:
        self._words: dict[int, int] = {}
        self._pending: deque[Ttl] = deque()

    def take(self, ttl: Ttl) -> None:
        """An event, which takes effect in its block. Of too many waiting ones the oldest does at once."""
        self._pending.append(ttl)
        if len(self._pending) > _MAX_PENDING:
            self._apply(self._pending.popleft())

    def lines(self, first: int, n: int) -> NDArray[np.uint32]:
        """(n,) lines of the samples from `first` on."""
        due = sorted(
            (one for one in self._pending if one.sample_num < first + n), key=lambda one: one.sample_num
        )
        self._pending = deque(one for one in self._pending if one.sample_num >= first + n)
        lines = np.full(n, self._word(), np.uint32)
        for ttl in due:
            self._apply(ttl)
            lines[max(0, ttl.sample_num - first) :] = self._word()
        return lines

    def _apply(self, ttl: Ttl) -> None:
        if ttl.source_node in self._words or len(self._words) < _MAX_NODES:
            self._words[ttl.source_node] = ttl.word

    def _word(self) -> int:
        word = 0
        for one in self._words.values():
            word |= one
        return word & 0xFFFFFFFF
