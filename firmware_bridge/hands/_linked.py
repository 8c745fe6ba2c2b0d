"""A hand behind a link that can fail: every driver's `Hand`, over any wire and any command set."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial

import numpy as np
from numpy.typing import NDArray

from firmware_bridge.errors import LinkError, NervehandError
from firmware_bridge.hand import N_DOF, AppliedCommand, HandCapabilities, HandState, LinkState
from firmware_bridge.hands._connection import ASK_S, Connection, LinkRecord, LinkTiming
from firmware_bridge.hands._dialect import Dialect
from firmware_bridge.hands._link_thread import LinkThread
from firmware_bridge.hands._slot import LinkCounters, Order, Slot
from firmware_bridge.hands._told import Told
from firmware_bridge.hands._wire import Wire
from firmware_bridge.joint_map import JointMap


class LinkedHand:
    """The hand at `where` (for errors), linked by a thread of its own; one dialect and one wire per connection.

    The link counts as lost when the hand has not reported, or not answered a frame, for `link_timeout_s`: a write
    without response succeeds on a dead link too. A hand that tells its state in pieces must tell each as often, once it
    has begun (`Told.oldest_ns`). The lost link is connected again by itself (`Backoff`). It counts as up once a frame
    was answered (window 0: once one has arrived, or was handed to a wire that cannot know) and, where the hand measures
    positions, one was read.

    A dialect's window of 1 frame is given up after `answer_timeout_s` (0.05 s at most) without an answer. Positions are
    then sent again, or newer ones; a grip is not, since the hand may be doing it. A hand that leaves positions
    unanswered six times in a row, and answers other frames, takes no commands: the link is lost. None: the wire
    itself loses nothing, so no answer means no link. `ask_s` is shorter for a hand that tells its state in pieces.
    """

    def __init__(
        self,
        capabilities: HandCapabilities,
        joint_map: JointMap,
        make_dialect: Callable[[], Dialect],
        make_wire: Callable[[], Wire],
        where: str,
        link_timeout_s: float = 0.3,
        answer_timeout_s: float | None = None,
        ask_s: float = ASK_S,
        clock_ns: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        self._capabilities = capabilities
        self._joint_map = joint_map
        self._make_dialect, self._make_wire = make_dialect, make_wire
        self._timing = LinkTiming(where, link_timeout_s, answer_timeout_s, ask_s)
        self._clock_ns = clock_ns
        self._thread: LinkThread | None = None
        self._changed = threading.Condition()
        self._link = LinkState.DISCONNECTED
        self._state: HandState | None = None
        self._oldest_ns = 0
        self._record = LinkRecord()
        self._slot = Slot(self._record.counters)
        self._connections = 0
        self._connection: Connection | None = None

    @property
    def capabilities(self) -> HandCapabilities:
        return self._capabilities

    @property
    def counters(self) -> LinkCounters:
        return self._record.counters

    @property
    def link(self) -> LinkState:
        """Judged at the moment of the call: LOST too where the link's own thread has not noticed yet."""
        link = self._link
        if link is LinkState.CONNECTED and self._clock_ns() - self._oldest_ns >= self._timing.link_timeout_ns:
            return LinkState.LOST
        return link

    @property
    def state(self) -> HandState | None:
        """The newest report, with host times of `time.monotonic_ns`; None before the first.

        A hand that measures no positions reports by answering, or by taking a write.
        """
        return self._state

    def round_trips_s(self) -> NDArray[np.float64]:
        """Seconds from the write of a position to what acknowledges it, the last 4096."""
        return np.array(self._record.round_trips_s.copy(), dtype=np.float64)

    def ages_s(self) -> NDArray[np.float64]:
        """How old each position was when it was acknowledged, from the time that `send` was given, the last 4096."""
        return np.array(self._record.ages_s.copy(), dtype=np.float64)

    def connect(self, timeout_s: float) -> None:
        """Connect and wait for the first answer and, where it measures, position.

        LinkError if they do not come in time: the hand is then closed, unless another call waits for it still; at once
        where the hand is refused, or closed by another thread meanwhile.
        """
        thread = self._started()
        with self._changed:
            self._changed.wait_for(
                lambda: thread.is_closed or thread.is_over or self._link is LinkState.CONNECTED, timeout_s
            )
            thread.n_waiting -= 1
            if thread.is_closed:
                raise LinkError(f"no connection to the hand at {self._timing.where}: it was closed meanwhile")
            if self._link is LinkState.CONNECTED:
                return
            failure = thread.failure or "it does not answer: check that it is on and near"
            waited = "" if thread.is_over else f" within {timeout_s} s"
            is_last = not thread.n_waiting
            if is_last:
                self._begin_to_close(thread)
        if is_last:
            self._end(thread)
        raise LinkError(f"no connection to the hand at {self._timing.where}{waited}: {failure}")

    def send(self, positions: NDArray[np.float32], now_ns: int) -> AppliedCommand:
        """Hand the newest positions (6,) to the link and return at once what the hand can do of them.

        Positions that the link did not take yet are replaced and counted as dropped; without a link, all are.
        """
        if positions.shape != (N_DOF,) or not np.isfinite(positions).all():
            raise NervehandError(f"positions are {positions.tolist()}: give {N_DOF} finite numbers")
        applied = np.clip(positions, self._capabilities.lower, self._capabilities.upper)
        self._slot.put(Order(applied, now_ns, self._clock_ns()))
        return AppliedCommand(applied, applied != positions, now_ns)

    def grip(self, name: str, speed: float, now_ns: int) -> None:
        """Hand one of the hand's own grips to the link, as `send` does positions: the newest of both wins."""
        if name not in self._capabilities.grips:
            own = ", ".join(self._capabilities.grips) or "it has none of its own"
            raise NervehandError(f"{self._capabilities.name} has no grip {name!r}: {own}")
        if not 0 <= speed <= 1:
            raise NervehandError(f"the speed of grip {name} is {speed}: give 0 to 1")
        self._slot.put(Order(None, now_ns, self._clock_ns(), name, speed))

    def close(self) -> None:
        """End the link and its thread; may be called again, and by several threads. A closed hand can be connected
        anew."""
        with self._changed:
            thread = self._thread
            if thread is None:
                return
            self._begin_to_close(thread)
        self._end(thread)

    def _started(self) -> LinkThread:
        """The thread that is waited for from now on: the one that runs, or a new one."""
        while True:
            with self._changed:
                thread = self._thread
                if thread is None or not (thread.is_closed or thread.is_over):
                    thread = self._thread = thread or self._new_thread()
                    thread.n_waiting += 1
                    return thread
            self._end(thread)

    def _new_thread(self) -> LinkThread:
        thread = LinkThread(self._session, lambda: self._set_link(LinkState.DISCONNECTED), self._clock_ns)
        self._link = LinkState.CONNECTING
        thread.start()
        return thread

    def _begin_to_close(self, thread: LinkThread) -> None:
        with self._changed:
            thread.close()
            self._changed.notify_all()

    def _end(self, thread: LinkThread) -> None:
        """Wait until it has ended; only then may another one start."""
        thread.join()
        with self._changed:
            if self._thread is thread:
                self._thread = None

    # What follows runs in the link's own thread.

    async def _session(self, thread: LinkThread) -> None:
        self._connections += 1
        thread.was_up = False
        self._connection = connection = Connection(
            self._make_dialect(),
            self._make_wire(),
            self._joint_map,
            Told(self._capabilities, self._joint_map, self._connections),
            self._slot,
            self._record,
            self._timing,
            thread.wake,
            thread.closing,
            self._clock_ns,
            partial(self._tell, thread),
        )
        try:
            await connection.run()
        finally:
            thread.was_up = self._link is LinkState.CONNECTED
            is_parting = thread.closing.is_set()
            if thread.was_up and not is_parting:
                self.counters.losses += 1
                self._set_link(LinkState.LOST)
            await connection.end(is_parting=is_parting)

    def _tell(self, thread: LinkThread, state: HandState, oldest_ns: int, is_up: bool) -> None:
        """Publish what is known of the hand, and call the link up."""
        self._state, self._oldest_ns = state, oldest_ns
        if is_up and self._link is not LinkState.CONNECTED:
            self.counters.connections += 1
            self._slot.open(thread.wake_soon)
            self._set_link(LinkState.CONNECTED)

    def _set_link(self, link: LinkState) -> None:
        with self._changed:
            self._link = link
            if link is not LinkState.CONNECTED:
                self._slot.shut()
            self._changed.notify_all()


def within_reach(capabilities: HandCapabilities, joint_map: JointMap) -> HandCapabilities:
    """What a hand can do through this map: no position that none of its joints would follow."""
    return replace(
        capabilities,
        lower=np.maximum(capabilities.lower, joint_map.lower),
        upper=np.minimum(capabilities.upper, joint_map.upper),
    )
