"""A long run is judged by what it measured; ten minutes of samples go through it as a day does."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from decoder.chain import DecodeChain
from decoder.health import delay_samples
from firmware_bridge.errors import SourceLostError
from firmware_bridge.stream import SignalBlock
from nervehand.bench import BenchSettings, bench_bundle, bench_network
from tests.day.stream import DayDevice, HopGrid, Stretches
from tests.day.verdict import Period, judged, slope, trend_z

ROLES = ("decode", "recorder", "port")


def period(hours: float, **changed: object) -> Period:
    """One in which nothing has grown."""
    level = Period(
        hours=hours,
        wall_s=hours * 60,
        pss_mib=dict.fromkeys(ROLES, 100.0),
        own_mib=dict.fromkeys(ROLES, 60.0),
        descriptors=dict.fromkeys(ROLES, 12),
        threads=dict.fromkeys(ROLES, 4),
        objects=50_000,
        allocations=400_000,
        growing={},
        hop_us={"p50": 200.0 + (7 * hours) % 3, "p99": 400.0 + (11 * hours) % 7},
        hops=round(180_000 * hours),
        hops_expected=round(180_000 * hours),
        histogram_kib=2000.0,
        files=4,
        kept_mib=900.0,
        waited_s=0.0,
        counts={},
    )
    return replace(level, **changed)  # type: ignore[arg-type]


def day(last: Mapping[str, object]) -> list[Period]:
    """24 h by half hours, the last of them with something else."""
    level = [period(hours) for hours in np.arange(0.5, 24.0, 0.5).tolist()]
    return [*level, period(24.0, **last)]


def failed(periods: list[Period]) -> list[str]:
    return [one.name for one in judged(periods, 1.0, 1024.0) if not one.passed]


def test_a_day_on_which_nothing_grows_passes() -> None:
    assert failed(day({})) == []


@pytest.mark.parametrize(
    ("what", "last"),
    [
        ("memory of recorder", {"own_mib": {"decode": 60.0, "recorder": 65.1, "port": 60.0}}),
        ("descriptors", {"descriptors": {"decode": 16, "recorder": 12, "port": 12}}),
        ("threads", {"threads": {"decode": 6, "recorder": 4, "port": 4}}),
        ("Python objects", {"objects": 60_000}),
        ("allocated blocks", {"allocations": 460_000}),
        ("histograms", {"histogram_kib": 3000.0}),
        ("hops", {"hops": 4_319_999}),
        ("budget", {"kept_mib": 1100.0}),
    ],
)
def test_what_grows_or_is_lost_is_said(what: str, last: Mapping[str, object]) -> None:
    assert failed(day(last)) == [what]


def test_times_that_creep_up_are_said_and_a_busy_half_hour_is_not() -> None:
    hours = np.arange(0.5, 24.5, 0.5).tolist()
    creeping = [period(at, hop_us={"p50": 200.0 + at, "p99": 400.0 + 6 * at}) for at in hours]
    assert failed(creeping) == ["hop p50", "hop p99"]
    busy = [period(at, hop_us={"p50": 300.0, "p99": 900.0}) if at == 24.0 else period(at) for at in hours]
    assert failed(busy) == []


def test_a_slope_and_its_certainty_are_those_of_the_literature() -> None:
    assert slope([0.0, 1.0, 2.0, 3.0], [1.0, 3.0, 5.0, 100.0]) == 17.5  # 2, 2, 2, 33, 48.5, 95
    assert slope([0.0, 1.0, 2.0], [4.0, 4.5, 5.0]) == 0.5
    # All of n = 10 ascend: S = 45, var = 10 * 9 * 25 / 18 = 125.
    assert trend_z(list(range(10))) == pytest.approx(44 / np.sqrt(125))
    assert trend_z(list(range(10))[::-1]) == pytest.approx(-44 / np.sqrt(125))


@pytest.mark.parametrize("seed", range(4))
def test_the_hops_that_are_expected_are_those_that_a_chain_decides(seed: int) -> None:
    rng = np.random.default_rng(seed)
    settings = BenchSettings(2, 10_000.0, 20.0, "compact", 1)
    bundle, info = bench_bundle(settings, bench_network(settings))
    grid = HopGrid.of(bundle, delay_samples(bundle.health, info.rate_hz))
    chain, stretches = DecodeChain(bundle, info), Stretches()
    at = hops = 0
    newest = -1
    for _ in range(60):
        if at and rng.random() < 0.15:
            lost = int(rng.integers(300, 3000))
            stretches.broken(at, at + lost)
            at += lost
        elif at and rng.random() < 0.1:
            at += int(rng.integers(1, 200))  # is bridged
        n = int(rng.integers(1, 2500))
        intents = chain.process(SignalBlock(rng.normal(0, 100, (n, 2)).astype(np.int16), at, scale_uv=0.195))
        at += n
        hops += len(intents)
        newest = int(intents.sample_index[-1]) if len(intents) else newest
        assert stretches.hops(grid, newest) == hops
    assert stretches.hops(grid, at - grid.delay - 1) == hops > 100


def test_the_stream_says_exactly_what_it_lacks() -> None:
    settings = BenchSettings(4, 1000.0, 20.0, "compact", 1)
    _, info = bench_bundle(settings, bench_network(settings))
    told: list[str] = []
    device = DayDevice(info, 600_000, 200, told.append)
    came = end = 0
    while end < 600_000:
        try:
            for block in device.blocks():
                assert block.first_sample >= end
                end = block.first_sample + block.n_samples
                came += block.n_samples
        except SourceLostError:
            continue
        else:
            break
    assert came + device.lost_samples == end == device.end
    assert all(device.happened.values())
    assert told == ["hand lost", "reload"]


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/smaps_rollup").exists(), reason="memory is not told by kind here")
def test_ten_minutes_of_samples_leave_nothing_behind(tmp_path: Path) -> None:
    words = ("--hours", "0.1667", "--each-s", "60", "--settled-s", "180", "--pin-each-s", "240", "--json")
    done = subprocess.run(
        [sys.executable, "-m", "tests.day", *words, "--rotate-mib", "32", "--budget-mib", "96", "--folder", tmp_path],
        capture_output=True,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        check=False,
    )  # fmt: skip
    assert done.stdout, done.stderr
    found = json.loads(done.stdout)
    # Ten periods on a machine that does other things are too few to tell a trend.
    wrong = [
        one for one in found["findings"] if not one["passed"] and one["name"] not in ("hop p50", "hop p99")
    ]
    assert wrong == []
    assert found["counts"]["commands_applied"] > 0
    assert found["counts"]["switches"] > 0
