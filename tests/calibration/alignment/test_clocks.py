"""Two clocks brought together by the earliest of late arrivals."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from calibration.alignment.clocks import ClockMap, fit_clock
from firmware_bridge.errors import NervehandError

RATE_HZ = 10_000.0


def readings(
    seconds: float,
    drift_ppm: float = 0.0,
    seed: int = 0,
    jitter_s: float = 0.005,
    device_hz: float = 100.0,
    set_at: dict[float, float] | None = None,
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.int64]]:
    """When each reading was taken, what the device's clock said, and the sample at which it arrived. `set_at`: by how
    many seconds the device's clock is set at which instants."""
    rng = np.random.default_rng(seed)
    taken = np.arange(round(seconds * device_hz)) / device_hz
    device = 500.0 + taken * (1 + 1e-6 * drift_ppm)
    for at, by in (set_at or {}).items():
        device[taken >= at] += by
    arrived = np.maximum.accumulate(taken + rng.exponential(jitter_s, len(taken)))
    return taken, device, (arrived * RATE_HZ).astype(np.int64)


def largest_error_s(clock: ClockMap, taken: NDArray, device: NDArray, arrived: NDArray) -> float:  # type: ignore[type-arg]
    return float(np.abs(clock.samples(device, arrived) / RATE_HZ - taken).max())


@pytest.mark.parametrize("seed", range(5))
def test_20_ppm_over_five_minutes_are_found_within_1_ppm_where_arrivals_are_5_ms_late_on_average(
    seed: int,
) -> None:
    clock = fit_clock(*readings(300, drift_ppm=20, seed=seed)[1:], RATE_HZ)
    assert clock.drift_ppm == pytest.approx(20, abs=1)
    assert clock.drift_error_ppm < 0.5
    assert clock.residual_s < 0.001


def test_the_standard_error_of_the_drift_is_what_it_is_off() -> None:
    found = [fit_clock(*readings(120, 20, seed)[1:], RATE_HZ) for seed in range(40)]
    off = np.array([(clock.drift_ppm - 20) / clock.drift_error_ppm for clock in found])
    assert 0.6 < np.sqrt(np.mean(off**2)) < 1.6


def test_a_minute_tells_less_than_five_and_says_so() -> None:
    errors = [fit_clock(*readings(seconds, 20)[1:], RATE_HZ).drift_error_ppm for seconds in (6, 20, 60, 300)]
    assert errors == sorted(errors, reverse=True)
    assert errors[0] > 3


def test_a_few_readings_leave_the_drift_at_nothing() -> None:
    clock = fit_clock(*readings(2, drift_ppm=20)[1:], RATE_HZ)
    assert (clock.drift_ppm, clock.drift_error_ppm) == pytest.approx((0, 50))


@settings(max_examples=15)
@given(
    drift_ppm=st.floats(-200, 200),
    seed=st.integers(0, 1 << 20),
    jitter_s=st.floats(0, 0.01),
    device_hz=st.floats(25, 200),
)
def test_every_reading_is_placed_where_it_was_taken_but_for_the_least_delay(
    drift_ppm: float, seed: int, jitter_s: float, device_hz: float
) -> None:
    taken, device, arrived = readings(120, drift_ppm, seed, jitter_s, device_hz)
    clock = fit_clock(device, arrived, RATE_HZ)
    assert largest_error_s(clock, taken, device, arrived) < 0.001 + 0.4 * jitter_s


@settings(max_examples=30)
@given(at=st.floats(5, 55), by=st.one_of(st.floats(-1000, -0.5), st.floats(0.5, 1000)))
def test_a_clock_that_is_set_is_two_pieces_of_one_drift(at: float, by: float) -> None:
    taken, device, arrived = readings(60, drift_ppm=-30, set_at={at: by})
    clock = fit_clock(device, arrived, RATE_HZ)
    assert len(clock.pieces) == 2
    assert clock.drift_ppm == pytest.approx(-30, abs=10)
    assert largest_error_s(clock, taken, device, arrived) < 0.003


def test_a_glove_that_reconnects_begins_anew_after_a_silence() -> None:
    taken, device, arrived = readings(60)
    device = np.where(taken < 30, device, taken - 35)
    told = (taken < 30) | (taken >= 35)
    clock = fit_clock(device[told], arrived[told], RATE_HZ)
    assert len(clock.pieces) == 2
    assert largest_error_s(clock, taken[told], device[told], arrived[told]) < 0.002


def test_readings_that_are_lost_are_no_other_clock() -> None:
    taken, device, arrived = readings(60, drift_ppm=20)
    told = (taken < 20) | (taken >= 30)
    clock = fit_clock(device[told], arrived[told], RATE_HZ)
    assert len(clock.pieces) == 1


def test_arrivals_that_were_held_back_for_a_second_are_no_other_clock() -> None:
    taken, device, arrived = readings(60, drift_ppm=20)
    late = (taken > 20) & (taken < 21)
    arrived[late] = arrived[~late & (taken >= 21)].min()
    clock = fit_clock(device, arrived, RATE_HZ)
    assert len(clock.pieces) == 1
    assert largest_error_s(clock, taken, device, arrived) < 0.001


def test_without_a_reading_the_drift_is_whatever_crystals_have() -> None:
    clock = fit_clock(np.zeros(0), np.zeros(0, np.int64), RATE_HZ)
    assert (clock.drift_ppm, clock.drift_error_ppm) == (0, 50)


def test_an_arrival_without_a_reading_is_an_error() -> None:
    with pytest.raises(NervehandError, match="one of each per reading"):
        fit_clock(np.zeros(1), np.zeros(2, np.int64), RATE_HZ)


def test_arrivals_that_go_back_are_an_error() -> None:
    with pytest.raises(NervehandError, match="in order of arrival"):
        fit_clock(np.array([0.0, 1.0]), np.array([10, 5]), RATE_HZ)
