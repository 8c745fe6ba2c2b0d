"""A live recording decoded again as it was: from the state that it began with, without what an overload left out.

So the intents are those that the hand was told, bit for bit, also where the file begins in the middle of a stream.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from decoder.bundle import Bundle
from decoder.carried import from_bytes
from decoder.chain import DecodeChain
from decoder.decision import DecisionSettings
from decoder.intent import Intents
from decoder.session.model import Session
from decoder.session.recorded import EventKind
from firmware_bridge.errors import NervehandError, StreamMismatchError
from firmware_bridge.stream import SignalBlock

Span = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Comparison:
    """Intents decoded again beside those that were recorded: hops in both, and the first sample (None: nowhere) at
    which one differs in a bit or is in one of them only."""

    hops: int
    differs_at: int | None

    @property
    def is_equal(self) -> bool:
        return self.differs_at is None


def recorded_decision(session: Session, bundle: Bundle) -> DecisionSettings:
    """By which settings the intents of the recording were decided."""
    if session.recorded.decision is None:
        return bundle.manifest.decision
    try:
        return DecisionSettings(**session.recorded.decision)
    except TypeError as error:
        raise NervehandError(
            f"the recording was decided by settings that this release does not know ({error}): use the one that made it"
        ) from None


def require_recorded_by(session: Session, bundle: Bundle) -> None:
    """StreamMismatchError unless it was this decoder that decided what the session holds."""
    made_by = session.recorded.bundle
    if made_by != bundle.sha256:
        raise StreamMismatchError(
            f"it was decided by {made_by[:12] or 'nobody'}, this decoder is {bundle.sha256[:12]}: give its own"
        )
    end = session.first_sample + session.n_samples  # at which the next file may begin with another decoder
    taken_over = [
        e.sample_index for e in session.recorded.events if e.kind == EventKind.BUNDLE and e.sample_index < end
    ]
    if taken_over:
        raise NervehandError(
            f"another decoder took over at sample {taken_over[0]} in the middle of this file: replay it without "
            "--as-recorded, or one that the daemon recorded, which begins a new file then"
        )


def left_out(session: Session) -> tuple[Span, ...]:
    """The samples, from..before, that were recorded but not decoded, as too many had come at once."""
    events = (e for e in session.recorded.events if e.kind == EventKind.RESTART and e.first > 0)
    return tuple(sorted((e.sample_index - e.first, e.sample_index) for e in events))


def without(blocks: Iterable[SignalBlock], spans: tuple[Span, ...]) -> Iterator[SignalBlock]:
    """The blocks less the samples of ascending spans."""
    for block in blocks:
        at, end = block.first_sample, block.first_sample + block.n_samples
        for start, stop in spans:
            if stop <= at or start >= end:
                continue
            if start > at:
                yield _cut(block, at, start)
            at = stop
        if at < end or not block.n_samples:
            yield _cut(block, at, end)


def replay_as_recorded(session: Session, bundle: Bundle, blocks: Iterable[SignalBlock]) -> Iterator[Intents]:
    """The intents that each of the session's blocks completes, decoded as they were when it was recorded.

    NervehandError where it was another decoder, or where the state that it began with is of another release.
    """
    require_recorded_by(session, bundle)
    chain = DecodeChain(bundle, session.info, decision=recorded_decision(session, bundle))
    if session.recorded.state:
        chain.restore(from_bytes(session.recorded.state))
    for block in without(blocks, left_out(session)):
        yield chain.process(block)


def compared(again: Intents, recorded: Intents) -> Comparison:
    """Whether they are the same bits, from the recorded ones' first hop to their last."""
    first, last = recorded.sample_index[[0, -1]].tolist() if len(recorded) else (0, -1)
    kept = (again.sample_index >= first) & (again.sample_index <= last)
    a, b = _rows(again)[kept], _rows(recorded)
    n = min(len(a), len(b))
    unlike = np.flatnonzero((a[:n] != b[:n]).any(axis=1))
    if len(unlike):
        at = int(unlike[0])
        differs = min(int(again.sample_index[kept][at]), int(recorded.sample_index[at]))
        return Comparison(n, differs)
    if len(a) != len(b):
        longer = again.sample_index[kept] if len(a) > len(b) else recorded.sample_index
        return Comparison(n, int(longer[n]))
    return Comparison(n, None)


def _rows(intents: Intents) -> NDArray[np.uint8]:
    """All of an intent's bytes, a row each."""
    columns = [
        intents.sample_index, intents.outputs, intents.positions, intents.gesture, intents.probability,
        intents.warming, intents.healthy_fraction,
    ]  # fmt: skip
    raw = [np.ascontiguousarray(c).reshape(len(intents), -1).view(np.uint8) for c in columns]
    return np.concatenate([rows.reshape(len(intents), -1) for rows in raw], axis=1)


def _cut(block: SignalBlock, start: int, stop: int) -> SignalBlock:
    a, b = start - block.first_sample, stop - block.first_sample
    if a == 0 and b == block.n_samples:
        return block
    digital = None if block.digital is None else block.digital[a:b]
    return replace(block, samples=block.samples[a:b], first_sample=start, digital=digital)
