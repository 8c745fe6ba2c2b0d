"""A source whose samples are taken in as they come, whatever the one who decodes them is doing."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from queue import Empty, SimpleQueue

from firmware_bridge.errors import NervehandError
from firmware_bridge.gathering import Gathering
from firmware_bridge.stream import SignalBlock, Source, StreamInfo
from firmware_bridge.supervised import SourceEvent

MOST_S = 60.0
"""What is kept for one who takes nothing; what comes after that is lost, and said to be."""
MOST_BYTES = 64 << 20
ENDS_S = 5.0
"""What a source has to end in once it is closed."""
AHEAD_S = 1.0
"""How far a source that is not paced may run ahead."""
_LOOK_S = 0.25


logger = logging.getLogger(__name__)


class _End:
    """The source has no more blocks, or has failed."""

    def __init__(self, error: BaseException | None) -> None:
        self.error = error


class BufferedSource:
    """Wraps a source and is one: a thread of its own takes its blocks, and `blocks` gives them in their order.

    `event` passes on what is said of the source: `on_event` hears it in the thread that takes the blocks, at its place
    between them. `prepare` is called first in the thread of its own, to give it a priority. Where nobody takes the
    blocks for MOST_S (or MOST_BYTES), what comes next is dropped, counted in `dropped_samples` and in the `lost_before`
    of the block that follows. A source that `waits` is not paced by a clock: it is taken from only as it is needed.

    Each block is given as it came until `for_hops` says how many samples make a hop.
    """

    def __init__(
        self,
        source: Source,
        on_event: Callable[[SourceEvent], None] = lambda event: None,
        prepare: Callable[[], None] = lambda: None,
        *,
        waits: bool = False,
    ) -> None:
        self._source, self._on_event, self._prepare, self._waits = source, on_event, prepare, waits
        self._queue: SimpleQueue[SignalBlock | SourceEvent | _End] = SimpleQueue()
        self._gathering = Gathering(1, 0)
        self._passing_on = threading.Lock()
        self._room = threading.Event()
        self._closed = threading.Event()
        self._thread: threading.Thread | None = None
        # Each is written by one thread only, or under the lock.
        self._came = self._came_bytes = self._taken = self._taken_bytes = 0
        self.dropped_samples = 0

    @property
    def info(self) -> StreamInfo:
        return self._source.info

    @property
    def backlog_s(self) -> float:
        """So many seconds of samples have come and are not taken yet."""
        return (self._came - self._taken) / self.info.rate_hz

    def event(self, event: SourceEvent) -> None:
        """Something happened to the source; from any thread."""
        with self._passing_on:
            self._put(self._gathering.rest())
            self._queue.put(event)

    def for_hops(self, hop: int, delay: int) -> None:
        """Give blocks that complete a hop of so many samples, which are there `delay` samples later: whoever decodes
        them is woken once for each. From any thread."""
        self._gathering.for_hops(hop, delay)

    @property
    def is_filling(self) -> bool:
        """Whether half of what can be kept waits."""
        waiting_bytes = self._came_bytes - self._taken_bytes
        return self.backlog_s >= MOST_S / 2 or waiting_bytes >= MOST_BYTES / 2

    def connect(self) -> None:
        self._gathering.rest()
        self._drain()
        self._closed.clear()
        self._source.connect()

    def close(self) -> None:
        """End the blocks, also from another thread."""
        self._closed.set()
        self._room.set()
        self._queue.put(_End(None))  # whoever waits for a block goes on, whatever the source does
        self._source.close()

    def blocks(self) -> Iterator[SignalBlock]:
        if self._thread is not None:
            raise NervehandError("the source's blocks are taken already: take them once")
        self._thread = threading.Thread(target=self._take, name="acquisition", daemon=True)
        self._thread.start()
        try:
            while not self._closed.is_set():
                item = self._queue.get()
                if isinstance(item, _End):
                    if item.error is not None:
                        raise item.error
                    return
                if isinstance(item, SourceEvent):
                    self._on_event(item)
                    continue
                self._count_taken(item)
                if not self._closed.is_set():
                    yield item
        finally:
            self.close()
            self._thread.join(ENDS_S)
            if self._thread.is_alive():
                logger.error("the source does not end: %g s were waited for it", ENDS_S)
            self._thread = None
            self._drain()

    def take_waiting(self, take: Callable[[SignalBlock], None]) -> None:
        """Give the blocks that have come by now to `take`, for one who is too far behind to treat them one by one.

        What is said between them is heard at its place.
        """
        put_back: _End | None = None
        while True:
            try:
                item = self._queue.get_nowait()
            except Empty:
                break
            if isinstance(item, _End):
                put_back = put_back or item
            elif isinstance(item, SourceEvent):
                self._on_event(item)
            else:
                self._count_taken(item)
                take(item)
        if put_back is not None:
            self._queue.put(put_back)

    def _count_taken(self, block: SignalBlock) -> None:
        self._taken += block.n_samples
        self._taken_bytes += block.samples.nbytes
        if self._waits:
            self._room.set()

    def _drain(self) -> None:
        """What is said of the end of a source is heard."""
        while True:
            try:
                item = self._queue.get_nowait()
            except Empty:
                return
            if isinstance(item, SourceEvent):
                self._on_event(item)
            elif isinstance(item, SignalBlock):
                self._count_taken(item)

    # What follows runs in the thread of its own.

    def _take(self) -> None:
        try:
            self._prepare()
            dropped = 0
            for block in self._source.blocks():
                if self._waits:
                    self._await_room()
                if self._closed.is_set():
                    break
                if not self._waits and self._is_full():
                    dropped += block.n_samples + block.lost_before
                    self.dropped_samples += block.n_samples
                    continue
                if dropped:
                    block = replace(block, lost_before=block.lost_before + dropped)
                    dropped = 0
                with self._passing_on:
                    self._put(self._gathering.add(block))
        except Exception as error:  # whatever it is, it is raised where the blocks are taken
            logger.debug("the source has failed", exc_info=True)
            self._end(error)
        else:
            self._end(None)

    def _end(self, error: BaseException | None) -> None:
        with self._passing_on:
            self._put(self._gathering.rest())
            self._queue.put(_End(error))

    def _put(self, blocks: list[SignalBlock]) -> None:
        for block in blocks:
            self._came += block.n_samples
            self._came_bytes += block.samples.nbytes
            self._queue.put(block)

    def _is_full(self) -> bool:
        return self.backlog_s >= MOST_S or self._came_bytes - self._taken_bytes >= MOST_BYTES

    def _await_room(self) -> None:
        while self.backlog_s >= AHEAD_S and not self._closed.is_set():
            self._room.wait(_LOOK_S)
            self._room.clear()
