"""A device at another rate is told apart from a host that reads late."""

from __future__ import annotations

import numpy as np
import pytest

from firmware_bridge.arrival import ArrivalRate

RATE_HZ = 10_000.0
BLOCK = 100


def judged(arrivals_s: list[float], held_s: float = 0.0) -> float | None:
    """What is measured of blocks of 100 samples that come at these seconds; the first that is off."""
    rate = ArrivalRate(RATE_HZ, 5.0, 0.1)
    for k, arrival_s in enumerate(arrivals_s):
        measured = rate.add((k + 1) * BLOCK, round(arrival_s * 1e9), held_s)
        if measured is not None:
            return measured
    return None


def sent_at(rate_hz: float, seconds: float = 60.0) -> np.ndarray:
    return np.arange(1, round(seconds * rate_hz / BLOCK)) * BLOCK / rate_hz


@pytest.mark.parametrize("rate_hz", [5_000.0, 8_000.0, 12_500.0, 20_000.0])
def test_another_rate_is_measured(rate_hz: float) -> None:
    assert judged(list(sent_at(rate_hz, 8.0))) == pytest.approx(rate_hz, rel=0.01)


@pytest.mark.parametrize("rate_hz", [9_200.0, 9_999.0, 10_000.0, 10_800.0])
def test_a_rate_within_the_tolerance_is_not(rate_hz: float) -> None:
    assert judged(list(sent_at(rate_hz))) is None


@pytest.mark.parametrize("seed", range(5))
def test_a_host_that_stands_still_and_catches_up_is_not_a_faster_device(seed: int) -> None:
    """Whole seconds stolen at random, then everything that was buffered, read only a little faster than it came."""
    generator = np.random.default_rng(seed)
    sent = sent_at(RATE_HZ, 120.0)
    stolen = sorted(generator.uniform(2.0, 115.0, 12))
    now, arrivals = 0.0, []
    for due in sent:
        now = max(due, now + BLOCK / RATE_HZ / 1.4)
        while stolen and stolen[0] < now:
            stolen.pop(0)
            now += generator.uniform(0.3, 3.0)
        arrivals.append(now)
    assert judged(arrivals) is None


def test_a_rate_that_changes_on_the_way_is_found_in_a_few_seconds() -> None:
    normal = sent_at(RATE_HZ, 100.0)
    twice = normal[-1] + sent_at(2 * RATE_HZ, 8.0)
    assert judged([*normal, *twice]) == pytest.approx(2 * RATE_HZ, rel=0.15)


def test_a_consumer_that_is_too_slow_is_not_a_slower_device() -> None:
    arrivals = list(sent_at(RATE_HZ / 2))
    assert judged(arrivals, held_s=0.015) is None
    assert judged(arrivals, held_s=0.001) == pytest.approx(RATE_HZ / 2, rel=0.01)


def test_lost_samples_count_as_sent() -> None:
    """Every second block lost: half the samples come, at the right rate."""
    rate = ArrivalRate(RATE_HZ, 5.0, 0.1)
    for k in range(2, 6000, 2):
        assert rate.add(k * BLOCK, round(k * BLOCK / RATE_HZ * 1e9)) is None
