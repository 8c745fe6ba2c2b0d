"""Open Ephys' ZMQ Interface on this machine, with any blocks behind it: for tests, and for work without the GUI.

Needs the extra `openephys` (pyzmq).
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from types import TracebackType

import numpy as np
import zmq

from firmware_bridge.emulators._feed import Pace, recut
from firmware_bridge.emulators.worker import Worker
from firmware_bridge.errors import NervehandError
from firmware_bridge.sources._openephys_protocol import Data, Ttl, encode_data, encode_ttl
from firmware_bridge.stream import SignalBlock, StreamInfo

_HOST = "127.0.0.1"
_TICK_MS = 20
_QUEUE_MESSAGES = 1000  # ZMQ's default, which the plugin keeps
_LINGER_MS = 1000
"""What is under way when a connection is ended: without, libzmq 4.3 ends the process where the other side leaves
within a message at that very moment (src/session_base.cpp:233)."""
_ENDED_S = 2.0
"""By then what lingered has gone. Where a connection breaks just then, libzmq 4.3 can wait in `zmq_ctx_term` for ever
(its issue 2586; once in some 2,000 times here); nothing listens any more, and its threads are left to it."""
_BUFFER_BYTES = 1 << 18  # so that what is dropped does not depend on how much this system would keep
_NODE = 100

Message = tuple[bytes, ...]


class OpenEphysEmulator:
    """A context manager: the stream of `info`, sent channel by channel in blocks of `block_samples`, with TTL events
    where the blocks' digital lines change, and a heartbeat that is answered.

    Paced, it keeps the rate of `info` whether somebody listens or not, and drops what a subscriber does not take, as
    the plugin does. Not paced, it sends as fast as its subscriber takes, and waits while there is none. An error in
    its `worker` is raised when the context ends.
    """

    def __init__(
        self,
        info: StreamInfo,
        blocks: Iterable[SignalBlock],
        is_paced: bool = True,
        block_samples: int = 200,
        stream: str = "nerve",
    ) -> None:
        self._info, self._stream = info, stream
        self._blocks: Iterator[SignalBlock] = recut(blocks, block_samples)
        self._block_samples = block_samples
        self._is_paced = is_paced
        self._pace = Pace(info.rate_hz)
        self._n_channels = info.n_channels
        self._lock = threading.Lock()
        self._closing = threading.Event()
        self._is_stalled = False
        self._wants_plug = True
        self._wants_reset = False
        self._to_skip = self._to_repeat = 0
        self._to_drop: set[int] = set()
        self._to_insert: deque[Message] = deque()
        self._sent: deque[list[Message]] = deque(maxlen=64)
        self._message_num = 0
        self._line_word = 0
        self._n_subscribers = 0
        self._context: zmq.Context[zmq.Socket[bytes]] | None = None
        self._data: zmq.Socket[bytes] | None = None
        self._heartbeat: zmq.Socket[bytes] | None = None
        self.port = 0
        self.n_heartbeats = 0
        self.n_samples_lost = 0
        """Samples that were skipped, or of which a channel was dropped, on purpose."""
        self.worker = Worker(self._run)

    @property
    def address(self) -> str:
        """HOST:PORT of the data port, once entered; the heartbeat's is the next one."""
        return f"{_HOST}:{self.port}"

    def __enter__(self) -> OpenEphysEmulator:
        self._context = zmq.Context()  # its own, so that its ports are free again once it has ended
        try:
            self.port = self._plug(self._context, 0)
        except NervehandError:
            self._context.destroy(linger=0)
            raise
        self.worker.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._closing.set()
        self.worker.join()
        self._close_sockets()
        if self._context is not None:
            ending = threading.Thread(target=self._context.term, name="end of ZMQ", daemon=True)
            ending.start()
            ending.join(_ENDED_S)
        self.worker.raise_error(error)

    def unplug(self) -> None:
        """The GUI is gone: connections break, nothing listens, acquisition goes on unheard (paced)."""
        self._wants_plug = False

    def plug(self) -> None:
        """It is back, at the same ports."""
        self._wants_plug = True

    def reset(self) -> None:
        """The connections break, and the ports listen again at once."""
        self._wants_reset = True

    def stall(self, is_stalled: bool = True) -> None:
        """Nothing is sent, or again; the connections stay and heartbeats are answered."""
        with self._lock:
            self._is_stalled = is_stalled
            self._pace.begin()

    def set_speed(self, speed: float) -> None:
        """Samples come `speed` times as fast as they should (paced only)."""
        with self._lock:
            self._pace.set_speed(speed)

    def skip(self, n_blocks: int) -> None:
        """The next blocks never come."""
        with self._lock:
            self._to_skip += n_blocks

    def drop(self, channels: Iterable[int]) -> None:
        """Of the next block, these channels never come."""
        with self._lock:
            self._to_drop = set(channels)

    def repeat(self, n_blocks: int) -> None:
        """The last blocks sent, up to 64, come again."""
        with self._lock:
            self._to_repeat = n_blocks

    @property
    def is_fault_due(self) -> bool:
        """Whether a block is still to be skipped, or its channels to be dropped."""
        with self._lock:
            return bool(self._to_skip or self._to_drop)

    def insert(self, message: Sequence[bytes]) -> None:
        """This message comes between two blocks, whatever it is."""
        with self._lock:
            self._to_insert.append(tuple(message))

    def change_channels(self, n_channels: int) -> None:
        """From the next block on, so many channels are sent; more than there are repeat the last one."""
        with self._lock:
            self._n_channels = n_channels

    def _run(self) -> None:
        while not self._closing.is_set():
            self._keep_plugged()
            self._answer_heartbeats()
            if self._is_stalled or not (self._is_paced or self._n_subscribers):
                self._closing.wait(_TICK_MS / 1000)
                continue
            block = next(self._blocks, None)
            if block is None:
                self.worker.finished.set()
                self.stall()
                continue
            if self._is_paced:
                with self._lock:
                    wait_s = self._pace.wait_s(block.n_samples)
                self._closing.wait(wait_s)
            for message in self._faulty(block):
                self._send(message)

    def _keep_plugged(self) -> None:
        if self._wants_reset or not self._wants_plug:
            self._wants_reset = False
            self._close_sockets()
        if self._wants_plug and self._data is None and self._context is not None:
            self._plug(self._context, self.port)

    def _close_sockets(self) -> None:
        for one in (self._data, self._heartbeat):
            if one is not None:
                one.close(linger=_LINGER_MS)
        self._data = self._heartbeat = None
        self._n_subscribers = 0

    def _plug(self, context: zmq.Context[zmq.Socket[bytes]], port: int) -> int:
        """Two ports in a row, `port` the first of them, or any where 0."""
        for _ in range(1000):
            data, heartbeat = context.socket(zmq.XPUB), context.socket(zmq.REP)
            data.setsockopt(zmq.SNDBUF, _BUFFER_BYTES)
            data.setsockopt(zmq.XPUB_VERBOSER, 1)  # hear of every subscriber, not of the first alone
            data.setsockopt(zmq.SNDHWM, _QUEUE_MESSAGES)
            data.setsockopt(zmq.XPUB_NODROP, int(not self._is_paced))
            try:
                if port:
                    data.bind(f"tcp://{_HOST}:{port}")
                bound = port or data.bind_to_random_port(f"tcp://{_HOST}")
                heartbeat.bind(f"tcp://{_HOST}:{bound + 1}")
            except zmq.ZMQError:
                data.close(linger=0)
                heartbeat.close(linger=0)
                self._closing.wait(0.01)
                continue
            self._data, self._heartbeat = data, heartbeat
            return bound
        raise NervehandError(f"ports {port} and {port + 1} are taken: end what listens there")

    def _answer_heartbeats(self) -> None:
        while self._heartbeat is not None and self._heartbeat.poll(0):
            self._heartbeat.recv()
            self._heartbeat.send(b"heartbeat received")
            self.n_heartbeats += 1
        while self._data is not None and self._data.poll(0):
            change = self._data.recv()  # 1 and a topic: subscribed; 0: no longer
            self._n_subscribers += 1 if change[:1] == b"\x01" else -1

    def _send(self, message: Message) -> None:
        while self._data is not None and not self._closing.is_set() and self._wants_plug:
            if not self._is_paced and not self._n_subscribers:
                return
            try:
                self._data.send_multipart(message, zmq.DONTWAIT)
                return
            except zmq.Again:
                self._data.poll(_TICK_MS, zmq.POLLOUT)
                self._answer_heartbeats()

    def _faulty(self, block: SignalBlock) -> list[Message]:
        with self._lock:
            if self._to_skip:
                self._to_skip -= 1
                self.n_samples_lost += block.n_samples
                self._encoded(block, set())
                return []
            if self._to_drop:
                self.n_samples_lost += block.n_samples
            messages = self._encoded(block, self._to_drop)
            self._to_drop = set()
            self._sent.append(messages)
            again = list(self._sent)[-self._to_repeat :] if self._to_repeat else []
            self._to_repeat = 0
            inserted = list(self._to_insert)
            self._to_insert.clear()
            return [*inserted, *messages, *(message for one in again for message in one)]

    def _encoded(self, block: SignalBlock, dropped: set[int]) -> list[Message]:
        microvolts = (block.samples * np.float64(block.scale_uv)).astype(np.float32)
        messages: list[Message] = []
        if block.digital is not None:
            for i in np.flatnonzero(np.diff(block.digital, prepend=np.uint32(self._line_word))).tolist():
                messages += self._ttl(int(block.digital[i]), block.first_sample + i)
        for channel in range(self._n_channels):
            self._message_num += 1
            column = min(channel, microvolts.shape[1] - 1)
            data = Data(
                self._stream,
                channel,
                self._info.channel_names[column] if channel == column else f"more {channel}",
                block.first_sample,
                self._info.rate_hz,
                microvolts[:, column],
            )
            if channel not in dropped:
                messages.append(encode_data(data, self._message_num))
        return messages

    def _ttl(self, word: int, sample_num: int) -> Iterator[Message]:
        """An event for each line that changed, as Open Ephys sends them."""
        for line in range(32):
            if (word ^ self._line_word) >> line & 1:
                self._line_word ^= 1 << line
                self._message_num += 1
                ttl = Ttl(self._stream, _NODE, sample_num, self._line_word)
                yield encode_ttl(ttl, line, self._message_num)
