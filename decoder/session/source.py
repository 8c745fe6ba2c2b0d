"""A recorded session as a source: any session, paced by its own samples or as fast as asked."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace

from decoder.session.model import Session, iter_blocks
from firmware_bridge.pacing import paced
from firmware_bridge.stream import SignalBlock, StreamInfo


class SessionSource:
    """Delivers a session's first `n_samples` (None: all) in blocks; `is_paced` at its own rate, else without waiting.

    Blocks end at multiples of `block_samples` and at gaps. `clock_ns` is the host's clock, and `wait` how its
    passing is waited for (see `paced`).
    """

    def __init__(
        self,
        session: Session,
        block_samples: int,
        is_paced: bool = True,
        n_samples: int | None = None,
        clock_ns: Callable[[], int] = time.monotonic_ns,
        wait: Callable[[float], bool] | None = None,
    ) -> None:
        self._session, self._block_samples, self._is_paced = session, block_samples, is_paced
        self._clock_ns = clock_ns
        self.n_samples = session.n_samples if n_samples is None else n_samples
        self._closed = threading.Event()
        self._closed.set()
        self._wait = self._closed.wait if wait is None else wait

    @property
    def info(self) -> StreamInfo:
        return self._session.info

    def connect(self) -> None:
        self._closed.clear()

    def blocks(self) -> Iterator[SignalBlock]:
        blocks = self._until_closed()
        return paced(blocks, self.info.rate_hz, self._wait, self._clock_ns) if self._is_paced else blocks

    def _until_closed(self) -> Iterator[SignalBlock]:
        for block in iter_blocks(self._session, self._block_samples):
            left = self._session.first_sample + self.n_samples - block.first_sample
            if self._closed.is_set() or left <= 0:
                return
            yield block if left >= block.n_samples else replace(block, samples=block.samples[:left])

    def close(self) -> None:
        """End the blocks, also from another thread while they are waited for."""
        self._closed.set()
