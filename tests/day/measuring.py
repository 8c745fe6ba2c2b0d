"""Looks at a run from within its decode loop, at moments of sample time: memory, descriptors, objects, times, hops."""

from __future__ import annotations

import gc
import os
import re
import statistics
import sys
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType

from decoder.intent import Intents
from nervehand.latency import LatencyCounts, LatencyHistogram
from tests.day.stream import HopGrid, Stretches
from tests.day.verdict import Period

LOOKS = 10
"""At memory and descriptors, in each period."""
MOST_GROWING = 5
LEAST_GROWN = 50


@dataclass(frozen=True, slots=True)
class Memory:
    """Of a process, in MiB: its proportional set size, and of that what is no page of a file."""

    pss_mib: float
    own_mib: float


def memory_of(pid: int) -> Memory | None:
    """None where the process has ended. /proc/PID/smaps_rollup, in kB (proc(5); by kind since Linux 5.4)."""
    try:
        text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    except OSError:
        return None
    kib = {name: int(value) for name, value in re.findall(r"^(Pss\w*):\s+(\d+) kB$", text, re.MULTILINE)}
    return Memory(kib["Pss"] / 1024, (kib["Pss"] - kib["Pss_File"]) / 1024) if "Pss_File" in kib else None


def _count(pid: int, what: str) -> int | None:
    try:
        return len(os.listdir(f"/proc/{pid}/{what}"))
    except OSError:
        return None


class HopTimer:
    """`LiveRun.working`: the processor time of the decode loop for each hop, as its share of its block.

    `hops` are those of the block that is worked on.
    """

    def __init__(self) -> None:
        self.histogram = LatencyHistogram()
        self.hops = 0
        self.is_left_out = False
        self._began_ns = 0

    def __call__(self) -> HopTimer:
        return self

    def __enter__(self) -> None:
        self._began_ns = time.thread_time_ns()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.hops and not self.is_left_out:
            spent_ns = time.thread_time_ns() - self._began_ns
            self.histogram.add(spent_ns // self.hops, self.hops)
        self.is_left_out, self.hops = False, 0


@dataclass
class _Looks:
    memory: dict[str, list[Memory]] = field(default_factory=dict)
    descriptors: dict[str, list[int]] = field(default_factory=dict)
    threads: dict[str, list[int]] = field(default_factory=dict)


class Measuring:
    """`on_intents` of a run. `pids` gives its processes by role, `beside` what else belongs to a period: the hand
    and the recorder. `say` hears of each period.
    """

    def __init__(
        self,
        grid: HopGrid,
        stretches: Stretches,
        each_samples: int,
        rate_hz: float,
        timer: HopTimer,
        pids: Callable[[], Mapping[str, int]],
        beside: Callable[[], tuple[int, float, float, Mapping[str, int]]],
        histograms: Callable[[], Mapping[str, LatencyHistogram]],
        say: Callable[[Period], None],
    ) -> None:
        self.periods: list[Period] = []
        self.hops = self.lost_hops = 0
        self.newest = -1
        self._grid, self._stretches, self._each, self._rate_hz = grid, stretches, each_samples, rate_hz
        self._timer, self._pids, self._beside, self._say = timer, pids, beside, say
        self._histograms = histograms
        self._look_due, self._n_looks = each_samples // LOOKS, 0
        self._looks = _Looks()
        self._types: Counter[str] = Counter()
        self._began_s = time.monotonic()

    def __call__(self, intents: Intents) -> None:
        self.hops += len(intents)
        self._timer.hops = len(intents)
        self.newest = int(intents.sample_index[-1])
        if self.newest < self._look_due:
            return
        self._timer.is_left_out = True
        self._n_looks += 1
        self._look_due += self._each // LOOKS
        self._look()
        if self._n_looks == LOOKS:
            self._end_period()

    def _look(self) -> None:
        looks = self._looks
        for role, pid in self._pids().items():
            memory, descriptors, threads = memory_of(pid), _count(pid, "fd"), _count(pid, "task")
            if memory is None or descriptors is None or threads is None:
                continue  # it is being started again
            looks.memory.setdefault(role, []).append(memory)
            looks.descriptors.setdefault(role, []).append(descriptors)
            looks.threads.setdefault(role, []).append(threads)

    def _end_period(self) -> None:
        looks, self._looks, self._n_looks = self._looks, _Looks(), 0
        times, self._timer.histogram = self._timer.histogram.counts, LatencyHistogram()
        gc.collect()
        objects = gc.get_objects()
        types = Counter(type(one).__qualname__ for one in objects)
        kept = sum(one.counts.nbytes for one in objects if isinstance(one, LatencyCounts))
        n_objects = len(objects)
        del objects
        kept += sum(one.counts.counts.nbytes for one in self._histograms().values())
        grown = types - self._types if self._types else Counter[str]()
        if len(self.periods) < 2:
            self._types = types  # what is compared with, once all has been walked once
        files, kept_mib, waited_s, counts = self._beside()
        period = Period(
            hours=(self.newest + 1) / self._rate_hz / 3600,
            wall_s=time.monotonic() - self._began_s,
            pss_mib={
                role: statistics.median(one.pss_mib for one in all_) for role, all_ in looks.memory.items()
            },
            own_mib={
                role: statistics.median(one.own_mib for one in all_) for role, all_ in looks.memory.items()
            },
            descriptors={role: min(all_) for role, all_ in looks.descriptors.items()},
            threads={role: min(all_) for role, all_ in looks.threads.items()},
            objects=n_objects,
            allocations=sys.getallocatedblocks(),
            growing={name: n for name, n in grown.most_common(MOST_GROWING) if n >= LEAST_GROWN},
            hop_us={f"p{p}": times.percentile_us(p) or 0.0 for p in (50, 99)},
            hops=self.hops,
            hops_expected=self._stretches.hops(self._grid, self.newest),
            histogram_kib=kept / 1024,
            files=files,
            kept_mib=kept_mib,
            waited_s=waited_s,
            counts=dict(counts),
        )
        self.periods.append(period)
        self._say(period)
