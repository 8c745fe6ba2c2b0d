"""What a day's measurements say: whether memory, counts and times are flat, and whether nothing was lost."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

GROWTH = 0.05
"""What memory may grow by after the first hour, of a process's proportional set size."""
DRIFT = {"p50": 0.10, "p99": 0.25}
"""What the processor time of a hop may grow by from the first hour to the end, by the median of all slopes between two
periods (Theil, 1950; Sen, J. Am. Stat. Assoc. 1968), where the trend is one at all (Z_TREND)."""
Z_TREND = 2.33
"""Of the statistic of Mann (Econometrica 1945) and Kendall; a day of equal periods is beyond it once in a hundred."""
MORE_DESCRIPTORS, MORE_THREADS = 3, 1
"""A file that changes takes some for a moment."""
MOST_HISTOGRAM_KIB = 2560.0
"""One of 20 KiB for each of nine stages, and up to eight moments of it for the whole and for the last minute."""
ON_THE_WAY = {"Python objects": 2500, "allocated blocks": 15_000}
"""Commands wait a second, by the clock, for the hand to report that it moves: more of them the faster samples come."""


@dataclass(frozen=True, slots=True)
class Period:
    """What was measured of one period, by the process where that matters.

    `pss_mib` is the median of proportional set sizes; `own_mib` without pages of files (code, which other programs of
    the machine share or do not); `descriptors` and `threads` are the least. `hop_us` is processor time (thread_time) of
    the decode loop for each hop: p50, p99. Hops are counted from the beginning.
    """

    hours: float
    wall_s: float
    pss_mib: Mapping[str, float]
    own_mib: Mapping[str, float]
    descriptors: Mapping[str, int]
    threads: Mapping[str, int]
    objects: int
    allocations: int
    growing: Mapping[str, int]
    hop_us: Mapping[str, float]
    hops: int
    hops_expected: int
    histogram_kib: float
    files: int
    kept_mib: float
    waited_s: float
    counts: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was judged."""

    name: str
    passed: bool
    text: str


def judged(periods: Sequence[Period], settled_hours: float, allowed_mib: float) -> list[Finding]:
    """All that one day shows. What comes after `settled_hours` is compared with the period that ends there."""
    settled = [one for one in periods if one.hours >= settled_hours - 1e-6]
    if len(settled) < 2:
        return [
            Finding(
                "length", False, f"{len(settled)} periods after {settled_hours:g} h: at least 2 are needed"
            )
        ]
    first, last = settled[0], settled[-1]
    found = [_memory(role, first, last) for role in first.own_mib]
    for name, before, after, more in (
        ("descriptors", first.descriptors, last.descriptors, MORE_DESCRIPTORS),
        ("threads", first.threads, last.threads, MORE_THREADS),
    ):
        text = ", ".join(f"{role} {before[role]} to {after[role]}" for role in before)
        found.append(Finding(name, all(after[role] <= before[role] + more for role in before), text))
    for name, then, now in (
        ("Python objects", first.objects, last.objects),
        ("allocated blocks", first.allocations, last.allocations),
    ):
        found.append(Finding(name, now <= then * (1 + GROWTH) + ON_THE_WAY[name], f"{then} to {now}"))
    text = f"{first.histogram_kib:.0f} KiB to {last.histogram_kib:.0f} KiB"
    # Of the last minute, by the clock, some moments more or less are kept (nervehand.latency.RecentLatency).
    found.append(
        Finding("histograms", last.histogram_kib <= max(MOST_HISTOGRAM_KIB, first.histogram_kib), text)
    )
    hours = [one.hours for one in settled]
    for which, most in DRIFT.items():
        found.append(_trend(which, hours, [one.hop_us[which] for one in settled], most))
    lacking = [one for one in periods if one.hops != one.hops_expected]
    found.append(Finding("hops", not lacking, f"{last.hops} decided, {last.hops_expected} expected"))
    most_mib = max(one.kept_mib for one in periods)
    found.append(
        Finding("budget", most_mib <= allowed_mib, f"{most_mib:.0f} MiB at most, allowed {allowed_mib:.0f}")
    )
    return found


def _memory(role: str, first: Period, last: Period) -> Finding:
    grown = last.own_mib[role] - first.own_mib[role]
    share = grown / first.pss_mib[role]
    text = (
        f"{first.own_mib[role]:.1f} to {last.own_mib[role]:.1f} MiB of its own, {share:+.1%} of "
        f"{first.pss_mib[role]:.1f} MiB (with shared code then {last.pss_mib[role]:.1f})"
    )
    return Finding(f"memory of {role}", share <= GROWTH, text)


def _trend(which: str, hours: Sequence[float], values: Sequence[float], most: float) -> Finding:
    drift = slope(hours, values) * (hours[-1] - hours[0]) / float(np.median(values))
    z = trend_z(values)
    text = f"{drift:+.1%} over {hours[-1] - hours[0]:.2g} h (at most {most:.0%} where z > {Z_TREND}, which is {z:.1f})"
    return Finding(f"hop {which}", not (drift > most and z > Z_TREND), text)


def slope(at: Sequence[float], values: Sequence[float]) -> float:
    """The median of the slopes between any two of them."""
    pairs = itertools.combinations(zip(at, values, strict=True), 2)
    return float(np.median([(d - b) / (c - a) for (a, b), (c, d) in pairs]))


def trend_z(values: Sequence[float]) -> float:
    """How surely they grow (Mann-Kendall, without ties): standard normal where they do not; 0 of less than three."""
    n = len(values)
    if n < 3:
        return 0.0
    s = sum(int(np.sign(b - a)) for a, b in itertools.combinations(values, 2))
    return float((s - np.sign(s)) / math.sqrt(n * (n - 1) * (2 * n + 5) / 18))
