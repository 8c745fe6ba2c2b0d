"""What recording and reading cost. No time is asserted here: run with --benchmark-only to see the figures."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from pathlib import Path

import numpy as np
import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from decoder.session import Session, SessionMeta, SessionWriter, iter_blocks, read_session, write_session
from decoder.session.layout import Header
from firmware_bridge.stream import SignalBlock, StreamInfo

RATE, CHANNELS, BLOCK, SECONDS = 10_000, 16, 200, 20
INFO = StreamInfo(float(RATE), tuple(f"ch{i}" for i in range(CHANNELS)), "nerve")


@pytest.fixture
def writer(tmp_path: Path) -> Iterator[SessionWriter]:
    header = Header(INFO, SessionMeta("bench"), dtype="int16", scale_uv=0.195)
    with SessionWriter(tmp_path / "bench.nwb", header) as open_writer:
        yield open_writer


def test_append_20_ms_of_16_channels(benchmark: BenchmarkFixture, writer: SessionWriter) -> None:
    """One call; every fifth also writes and flushes 100 ms."""
    samples = np.random.default_rng(0).integers(-3000, 3000, (BLOCK, CHANNELS)).astype(np.int16)
    numbers = count()

    def append() -> None:
        writer.append(SignalBlock(samples, next(numbers) * BLOCK, scale_uv=0.195))

    benchmark(append)
    assert writer.received == next(numbers) * BLOCK


def test_append_and_flush_100_ms_of_16_channels(benchmark: BenchmarkFixture, writer: SessionWriter) -> None:
    samples = np.random.default_rng(0).integers(-3000, 3000, (5 * BLOCK, CHANNELS)).astype(np.int16)
    numbers = count()

    def append() -> None:
        writer.append(SignalBlock(samples, next(numbers) * 5 * BLOCK, scale_uv=0.195))

    benchmark(append)
    assert writer.flushed == writer.received == next(numbers) * 5 * BLOCK


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """20 s of 16 channels at 10 kHz, int16."""
    path = tmp_path_factory.mktemp("bench") / "s.nwb"
    signal = np.random.default_rng(0).integers(-3000, 3000, (RATE * SECONDS, CHANNELS)).astype(np.int16)
    write_session(Session(INFO, SessionMeta("bench"), signal, scale_uv=0.195), path)
    return path


def test_open(benchmark: BenchmarkFixture, recording: Path) -> None:
    assert benchmark(lambda: read_session(recording).n_samples) == RATE * SECONDS


def test_read_20_s_in_20_ms_blocks(benchmark: BenchmarkFixture, recording: Path) -> None:
    """An open session; 20 s over the figure is the speed, in times real time, at which replay can be fed."""
    session = read_session(recording, signal_only=True)
    assert benchmark(lambda: sum(b.n_samples for b in iter_blocks(session, BLOCK))) == RATE * SECONDS
