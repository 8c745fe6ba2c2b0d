"""One connection to a hand, from the first greeting to its end: what is written when, and what of it is answered."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from firmware_bridge.errors import LinkError, NervehandError
from firmware_bridge.hand import HandState
from firmware_bridge.hands._dialect import Dialect, Report
from firmware_bridge.hands._link_thread import NS
from firmware_bridge.hands._slot import MAX_AGE_S, LinkCounters, Order, Slot
from firmware_bridge.hands._told import Told
from firmware_bridge.hands._wire import Wire, WrongHandError
from firmware_bridge.joint_map import JointMap

ASK_S = 0.1
"""The hand is asked where nothing went out, or no position came back, for so long; or a third of the link's timeout."""

LONGEST_ANSWER_S = MAX_AGE_S / 2
"""For `answer_timeout_s`: a position that waited for longer would be too old to be sent again."""

MOVES_GIVEN_UP = 6
"""Positions in a row that a hand may leave unanswered while it answers other frames. A line that loses one frame in
five does that with fewer than one position in ten thousand."""

ROUND_TRIPS_KEPT = 4096
FAREWELL_S = 0.3

logger = logging.getLogger(__name__)


class LinkTiming:
    """How long things may take on the link to the hand at `where` (for errors)."""

    def __init__(
        self, where: str, link_timeout_s: float, answer_timeout_s: float | None, ask_s: float
    ) -> None:
        if answer_timeout_s is not None and not 0 < answer_timeout_s <= LONGEST_ANSWER_S:
            raise NervehandError(
                f"answer_timeout_s is {answer_timeout_s}: give more than 0 and at most {LONGEST_ANSWER_S:g} s,"
                f" since what is older than {MAX_AGE_S:g} s is not sent again"
            )
        self.where = where
        self.link_timeout_s = link_timeout_s
        self.link_timeout_ns = round(link_timeout_s * NS)
        self.answer_timeout_ns = None if answer_timeout_s is None else round(answer_timeout_s * NS)
        self.ask_ns = round(min(ask_s, link_timeout_s / 3) * NS)
        self.tick_s = min(self.ask_ns / NS, answer_timeout_s or ASK_S) / 4
        """A quarter of the shortest time that matters."""


@dataclass(slots=True)
class LinkRecord:
    """What a link keeps over its connections; times in seconds, the last 4096."""

    counters: LinkCounters = field(default_factory=LinkCounters)
    next_number: int = 0
    round_trips_s: deque[float] = field(default_factory=lambda: deque(maxlen=ROUND_TRIPS_KEPT))
    ages_s: deque[float] = field(default_factory=lambda: deque(maxlen=ROUND_TRIPS_KEPT))


@dataclass(frozen=True, slots=True)
class Sent:
    """A frame that waits for its answer; `number` is None for a greeting."""

    number: int | None
    written_ns: int
    order: Order | None


class Connection:
    """Runs once, in one asyncio loop, over a wire and a dialect of its own; what is written besides questions comes
    from the slot.

    `wake` is set by whoever has something to do for it, `closing` by who wants no more of it. `on_told` gets what is
    known of the hand whenever it has told more: the state, when the oldest part of it was told, and whether the
    connection counts as up.
    """

    def __init__(
        self,
        dialect: Dialect,
        wire: Wire,
        joint_map: JointMap,
        told: Told,
        slot: Slot,
        record: LinkRecord,
        timing: LinkTiming,
        wake: asyncio.Event,
        closing: asyncio.Event,
        clock_ns: Callable[[], int],
        on_told: Callable[[HandState, int, bool], None],
    ) -> None:
        self._dialect, self._wire, self._joint_map = dialect, wire, joint_map
        self._told, self._slot, self._record, self._timing = told, slot, record, timing
        self._wake, self._closing, self._clock_ns, self._on_told = wake, closing, clock_ns, on_told
        self._in_flight: deque[Sent] = deque()
        self._waiting_ns: int | None = None
        self._is_greeting, self._is_answered, self._is_over = True, False, False
        self._started_ns = self._wrote_ns = self._asked_ns = 0
        self._answered_ns = self._first_given_up_ns = 0
        self._moves_given_up = 0
        self._trouble: Exception | None = None

    @property
    def in_flight(self) -> Sequence[Sent]:
        """What waits for its answer, oldest first."""
        return tuple(self._in_flight)

    async def run(self) -> None:
        """Connect, greet, learn where the hand stands, then pass positions on; ends with the error that says why."""
        greetings = self._dialect.begin()
        await self._wire.open(self._on_data, self._wake.set)
        self._started_ns = self._wrote_ns = self._asked_ns = self._clock_ns()
        self._judge()
        for frame in greetings:
            await self._greet(frame)
        self._is_greeting = False
        await self._write(self._dialect.ask(self._number(), self._clock_ns()), None)
        await self._pass_on()

    async def end(self, *, is_parting: bool) -> None:
        """Close the wire, after the hand's farewell where it is left on purpose; never raises for what that meets.

        What still comes of it must not make the next connection look alive.
        """
        self._is_over = True
        if is_parting and self._wire.is_open:
            # The hand may have gone meanwhile; it is left in any case.
            with contextlib.suppress(NervehandError, OSError):
                async with asyncio.timeout(FAREWELL_S):
                    for frame in self._dialect.end():
                        await self._wire.write(frame, True)
        closing = asyncio.ensure_future(self._wire.close())
        try:
            try:
                await asyncio.shield(closing)
            except (
                asyncio.CancelledError
            ):  # the link is given up just now; half closed, the wire would stay in use
                await closing
        # Must not hide why the connection ended: it may be for good.
        except (Exception, asyncio.CancelledError):
            logger.warning("the link to the hand at %s did not end well", self._timing.where, exc_info=True)

    async def _greet(self, frame: bytes) -> None:
        """Write it until it is answered; LinkError where it is not."""
        await self._write(frame, None)
        while self._in_flight:
            await self._woken()
            self._judge()
            if self._is_overdue():
                self._in_flight.clear()
                await self._write(frame, None)

    async def _pass_on(self) -> None:
        """Write the newest position whenever there is one, else ask; LinkError once the hand is silent."""
        window, ask_ns = self._dialect.window, self._timing.ask_ns
        while True:
            await self._woken()
            now_ns = self._judge()
            if window and len(self._in_flight) >= window:
                if not self._is_overdue():
                    continue
                self._give_up(self._in_flight.popleft())
            position_ns = max(self._told.state.reported_ns, self._asked_ns)
            if self._told.measures_position and now_ns - position_ns >= ask_ns:
                order = None
            else:
                order = self._slot.take(now_ns)
                if order is None and now_ns - self._wrote_ns < ask_ns:
                    continue
            await self._write(self._frame(order, now_ns), order)
            if not self._slot.is_empty:
                self._wake.set()

    def _give_up(self, sent: Sent) -> None:
        """Positions that were not answered are sent again; LinkError where the hand takes none."""
        self._record.counters.unanswered += 1
        if sent.order is None or sent.order.positions is None:
            return
        if not self._moves_given_up:
            self._first_given_up_ns = sent.written_ns
        self._moves_given_up += 1
        if self._moves_given_up >= MOVES_GIVEN_UP and self._answered_ns > self._first_given_up_ns:
            raise LinkError(
                f"the hand at {self._timing.where} takes no commands: it left positions unanswered"
                f" {self._moves_given_up} times in a row, and answers other frames"
            )
        self._slot.put_back(sent.order)

    def _frame(self, order: Order | None, now_ns: int) -> bytes:
        number = self._number()
        if order is None:
            self._asked_ns = now_ns
            return self._dialect.ask(number, now_ns)
        if order.positions is None:
            return self._dialect.grip(order.grip, order.speed, number, order.now_ns)
        return self._dialect.move(self._joint_map.to_joints(order.positions), number, order.now_ns)

    def _number(self) -> int:
        number = self._record.next_number
        self._record.next_number += 1
        return number

    async def _woken(self) -> None:
        """Until there is something to do, or it is time to look."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._timing.tick_s):
                await self._wake.wait()
        self._wake.clear()

    def _is_overdue(self) -> bool:
        """Whether the one frame on its way has waited too long for its answer."""
        limit_ns = self._timing.answer_timeout_ns
        if limit_ns is None or self._dialect.window != 1 or not self._in_flight:
            return False
        return self._clock_ns() - self._in_flight[0].written_ns >= limit_ns

    def _judge(self) -> int:
        """The time now; LinkError where the hand was silent for too long by then, is gone, or is another."""
        if self._closing.is_set():
            # Cancelled already, but asyncio.wait_for (before Python 3.12) loses that where an answer comes just then.
            raise LinkError(f"the link to the hand at {self._timing.where} was closed")
        if self._trouble is not None:
            raise self._trouble
        if not self._wire.is_open:
            ending = self._wire.ending or "it has disconnected"
            raise LinkError(f"the hand at {self._timing.where}: {ending}")
        now_ns = self._clock_ns()
        heard_ns = max(self._started_ns, self._told.oldest_ns)
        waiting_ns = now_ns if self._waiting_ns is None else self._waiting_ns
        if now_ns - min(heard_ns, waiting_ns) >= self._timing.link_timeout_ns:
            raise self._silence()
        return now_ns

    def _silence(self) -> LinkError:
        where, timeout_s = self._timing.where, self._timing.link_timeout_s
        if self._clock_ns() - self._told.state.reported_ns < self._timing.link_timeout_ns:
            return LinkError(
                f"the hand at {where} has left a frame or a reading unanswered for {timeout_s} s"
            )
        return LinkError(f"the hand at {where} has been silent for {timeout_s} s")

    async def _write(self, frame: bytes, order: Order | None) -> None:
        """Hand a frame to the wire; where the hand never answers, until the wire knows that it arrived."""
        must_wait = self._dialect.window == 0
        self._wrote_ns = now_ns = self._clock_ns()
        if not must_wait:
            number = None if self._is_greeting else self._record.next_number - 1
            self._in_flight.append(Sent(number, now_ns, order))
            if self._waiting_ns is None:
                self._waiting_ns = now_ns
        self._record.counters.sent += 1
        try:
            async with asyncio.timeout(self._timing.link_timeout_s):
                has_arrived = await self._wire.write(frame, must_wait)
        except TimeoutError as error:
            raise self._silence() from error
        if must_wait:
            self._is_answered = True
            if has_arrived:
                self._acknowledged(Sent(None, now_ns, order), self._clock_ns())
                self._tell(Report(), self._clock_ns())

    def _on_data(self, data: bytes) -> None:
        if self._is_over:
            return
        now_ns = self._clock_ns()
        dialect, counters = self._dialect, self._record.counters
        bad_frames, skipped_bytes = dialect.bad_frames, dialect.skipped_bytes
        try:
            for report in dialect.receive(data):
                self._on_report(report, now_ns)
        except (
            Exception
        ) as error:  # raised where the connection sees it: whoever calls this would only log it
            logger.exception("what the hand said could not be read")
            self._trouble = error
            self._wake.set()
        counters.bad_frames += dialect.bad_frames - bad_frames
        counters.skipped_bytes += dialect.skipped_bytes - skipped_bytes

    def _on_report(self, report: Report, now_ns: int) -> None:
        if report.misfit:
            self._trouble = WrongHandError(report.misfit)
            self._wake.set()
            return
        self._answered(report, now_ns)
        self._tell(report, now_ns)
        if self._is_greeting or not self._slot.is_empty:
            self._wake.set()

    def _answered(self, report: Report, now_ns: int) -> None:
        """Take the frame that it answers, and those before it, from those that wait."""
        waiting = self._in_flight
        if not report.is_answer or not waiting:
            return
        if waiting[0].number is not None and report.answers is not None:
            if report.answers not in (sent.number for sent in waiting):
                return
            while waiting[0].number != report.answers:
                waiting.popleft()
        sent = waiting.popleft()
        self._answered_ns = now_ns
        self._waiting_ns = waiting[0].written_ns if waiting else None
        self._acknowledged(sent, now_ns)

    def _acknowledged(self, sent: Sent, now_ns: int) -> None:
        self._record.counters.acknowledged += 1
        self._is_answered = True
        if sent.order is not None:
            self._record.round_trips_s.append((now_ns - sent.written_ns) / NS)
            self._record.ages_s.append((now_ns - sent.order.now_ns) / NS)
            self._moves_given_up = 0

    def _tell(self, report: Report, now_ns: int) -> None:
        state = self._told.add(report, now_ns)
        if state.reported_ns:
            self._on_told(state, self._told.oldest_ns, self._is_answered)
