"""Follows each command from the sample that it rests on to the hand's own report that it moves."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from decoder.session.recorded import TRACE_TIMES
from firmware_bridge.guard import Sent
from firmware_bridge.hand import HandCommand
from firmware_bridge.movement_trace import Moved
from nervehand.latency import LatencyHistogram
from nervehand.live_summary import DECIDED, MOVED, STAGES, TOTAL

MOST_TOLD = 8192
"""What is remembered of what the hand was told, and of what it was asked, between two blocks."""
MOVES_WITHIN_NS = 1_000_000_000
"""A hand that has not reported movement so long after it was told something has not begun one."""
_SENT, _MOVED = TRACE_TIMES.index("sent"), TRACE_TIMES.index("moved")
_GUARDED, _DECIDED, _ARRIVED = (TRACE_TIMES.index(name) for name in ("guarded", "decided", "arrived"))


@dataclass(slots=True)
class _Asked:
    """A command on its way, and when it was where (TRACE_TIMES)."""

    command: HandCommand
    times_ns: list[int]


@dataclass(frozen=True, slots=True)
class Finished:
    """What is known by now: commands that the hand was told, in their order, and rows of traces that are complete."""

    told: list[HandCommand] = field(default_factory=list)
    sample_index: list[int] = field(default_factory=list)
    times_ns: list[list[int]] = field(default_factory=list)

    def rows(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Samples (k,) and times (k, 10)."""
        return np.array(self.sample_index, np.int64), np.array(self.times_ns, np.int64).reshape(
            -1, len(TRACE_TIMES)
        )


class CommandTraces:
    """One thread asks and takes; `told` and `moved` come from any thread and only remember."""

    def __init__(self) -> None:
        self.histograms = {stage: LatencyHistogram() for stage in STAGES}
        self._told: deque[Sent] = deque(maxlen=MOST_TOLD)
        self._reports: deque[Moved] = deque(maxlen=MOST_TOLD)
        self._asked: deque[_Asked] = deque(maxlen=MOST_TOLD)
        self._sent: deque[_Asked] = deque(maxlen=MOST_TOLD)

    def told(self, sent: Sent) -> None:
        """What the hand was told, as the guard says it."""
        self._told.append(sent)

    def moved(self, moved: Moved) -> None:
        """The hand reports that it moves, as the guard says it."""
        self._reports.append(moved)

    def decided(self, arrival_ns: int, decided_ns: int) -> None:
        """A hop was decided whose last sample arrived then; late hops too."""
        self.histograms[DECIDED].add(decided_ns - arrival_ns)

    def asked(self, command: HandCommand, arrival_ns: int, left_ns: int, stage_ns: NDArray[np.int64]) -> None:
        """A command leaves for the guard. Its last sample arrived, and the block that let it leave the delay line did;
        `stage_ns` (6,) is the chain's."""
        t = [int(at) for at in stage_ns]
        self._asked.append(_Asked(command, [arrival_ns, left_ns, t[0], t[2], t[3], t[4], t[5], 0, 0, 0]))
        histograms = self.histograms
        histograms["delay line"].add(left_ns - arrival_ns)
        histograms["wait"].add(t[0] - left_ns)
        histograms["filters + features"].add(t[3] - t[0])
        histograms["engine"].add(t[4] - t[3])
        histograms["decision"].add(t[5] - t[4])

    def take(self, now_ns: int, *, is_over: bool = False) -> Finished:
        """What came since the last time: each command when the hand was told of it first, and traces once the hand had
        the time to report its movement, or when it is over."""
        found = Finished()
        while self._told:
            self._match(self._told.popleft(), found)
        while self._reports:
            self._report(self._reports.popleft())
        while self._sent:
            first = self._sent[0]
            if not (is_over or first.times_ns[_MOVED] or now_ns - first.times_ns[_SENT] > MOVES_WITHIN_NS):
                break
            self._sent.popleft()
            found.sample_index.append(first.command.sample_index)
            found.times_ns.append(first.times_ns)
        return found

    def _match(self, sent: Sent, found: Finished) -> None:
        while self._asked and self._asked[0].command.sample_index < sent.sample_index:
            self._asked.popleft()  # overtaken, or not followed
        if not self._asked or self._asked[0].command.sample_index != sent.sample_index:
            return  # the way on to a target that was told before, or no command at all
        asked = self._asked.popleft()
        times = asked.times_ns
        times[_GUARDED], times[_SENT] = sent.taken_ns, sent.sent_ns
        self.histograms["gate + send"].add(sent.sent_ns - times[_DECIDED])
        self.histograms[TOTAL].add(sent.sent_ns - times[_ARRIVED])
        self._sent.append(asked)
        found.told.append(asked.command)

    def _report(self, moved: Moved) -> None:
        for asked in self._sent:
            if asked.command.sample_index == moved.sample_index:
                asked.times_ns[_MOVED] = moved.reported_ns
                self.histograms[MOVED].add(moved.reported_ns - asked.times_ns[_SENT])
                return
