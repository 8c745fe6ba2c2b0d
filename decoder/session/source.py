"""A recorded session as a source: any session, paced by its own samples or as fast as asked, from any sample on."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np

from decoder.session.model import Gap, Samples, Session, SessionMeta, StoredSignal, iter_blocks
from firmware_bridge.errors import NervehandError
from firmware_bridge.pacing import paced
from firmware_bridge.stream import SignalBlock, StreamInfo


class SessionSource:
    """Delivers `n_samples` of a session (None: all that follow) from `first_sample` on (None: its first), in blocks.

    `is_paced` at the session's own rate, else without waiting. Blocks have `block_samples`, fewer before a gap and at
    the end. `clock_ns` is the host's clock, and `wait` how its passing is waited for (see `paced`).
    """

    def __init__(
        self,
        session: Session,
        block_samples: int,
        is_paced: bool = True,
        n_samples: int | None = None,
        clock_ns: Callable[[], int] = time.monotonic_ns,
        wait: Callable[[float], bool] | None = None,
        first_sample: int | None = None,
    ) -> None:
        self._session, self._block_samples, self._is_paced = session, block_samples, is_paced
        self._clock_ns = clock_ns
        self._first = session.first_sample
        self.seek(session.first_sample if first_sample is None else first_sample)
        self._n_samples = n_samples
        self._closed = threading.Event()
        self._closed.set()
        self._wait = self._closed.wait if wait is None else wait

    @property
    def info(self) -> StreamInfo:
        return self._session.info

    @property
    def meta(self) -> SessionMeta:
        """Whose recording it is."""
        return self._session.meta

    @property
    def n_samples(self) -> int:
        """How many samples the next iteration delivers, those that were never received included."""
        left = self._session.first_sample + self._session.n_samples - self._first
        return left if self._n_samples is None else min(left, self._n_samples)

    def connect(self) -> None:
        self._closed.clear()

    def seek(self, sample_index: int) -> None:
        """The next iteration of `blocks` begins at this absolute sample; one that is under way goes on as it was.

        In a gap it begins at the first sample received after it. Raises NervehandError outside the session.
        """
        first, stop = self._session.first_sample, self._session.first_sample + self._session.n_samples
        if not first <= sample_index < stop:
            raise NervehandError(
                f"sample {sample_index} is not in the session, which holds {first} to {stop - 1}: choose one of these"
            )
        self._first = sample_index

    def blocks(self) -> Iterator[SignalBlock]:
        blocks = self._until_closed(self._first, self._first + self.n_samples)
        return paced(blocks, self.info.rate_hz, self._wait, self._clock_ns) if self._is_paced else blocks

    def _until_closed(self, first: int, stop: int) -> Iterator[SignalBlock]:
        for block in iter_blocks(_from(self._session, first), self._block_samples):
            if self._closed.is_set() or block.first_sample >= stop:
                return
            yield up_to(block, stop)

    def close(self) -> None:
        """End the blocks, also from another thread while they are waited for."""
        self._closed.set()


@dataclass(frozen=True, slots=True)
class _LaterRows:
    """The rows of a stored signal from `row` on, read when they are asked for."""

    signal: StoredSignal
    row: int

    @property
    def shape(self) -> tuple[int, ...]:
        return (self.signal.shape[0] - self.row, *self.signal.shape[1:])

    @property
    def dtype(self) -> np.dtype[np.float32] | np.dtype[np.int16]:
        return self.signal.dtype

    def __getitem__(self, key: slice, /) -> Samples:
        start, stop, _ = key.indices(self.shape[0])
        return self.signal[slice(self.row + start, self.row + stop)]


def _from(session: Session, first: int) -> Session:
    """The samples of a session from `first` on, without its labels and truth."""
    return Session(
        info=session.info,
        meta=session.meta,
        signal=_LaterRows(session.signal, first - session.first_sample),
        scale_uv=session.scale_uv,
        first_sample=first,
        gaps=tuple(Gap(max(gap.start, first), gap.stop) for gap in session.gaps if gap.stop > first),
        digital=session.digital,
    )


def up_to(block: SignalBlock, stop: int) -> SignalBlock:
    """The block without its samples from `stop` on."""
    n = stop - block.first_sample
    if block.n_samples <= n:
        return block
    digital = None if block.digital is None else block.digital[:n]
    return replace(block, samples=block.samples[:n], digital=digital)
