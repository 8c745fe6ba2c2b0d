"""How long a second of the simulated nerve takes: 16 channels, 10 kHz, one thread."""

from __future__ import annotations

import itertools

from pytest_benchmark.fixture import BenchmarkFixture

from firmware_bridge.nerve.subject import SimulatedSubject


def test_a_second_of_the_simulated_nerve(benchmark: BenchmarkFixture) -> None:
    subject = SimulatedSubject(1)
    seconds = itertools.count(1)

    def second() -> None:
        subject.samples(10_000 * next(seconds), 10_000)

    benchmark.pedantic(second, rounds=30, warmup_rounds=2)
