"""One motor unit of a muscle nearby, at the nerve: slow, wide, and weaker with distance."""

from __future__ import annotations

import numpy as np

from firmware_bridge.nerve.muscle import motor_unit_potential

RATE_HZ = 10_000.0


def median_hz(wave: np.ndarray) -> float:
    power = np.abs(np.fft.rfft(wave, 16384)) ** 2
    return float(np.fft.rfftfreq(16384, 1 / RATE_HZ)[np.searchsorted(np.cumsum(power), power.sum() / 2)])


def test_amplitude_falls_with_distance() -> None:
    sizes = [np.ptp(motor_unit_potential(distance, 10.0, RATE_HZ)) for distance in (10.0, 20.0, 40.0)]
    assert sizes[0] > 2 * sizes[1] > 4 * sizes[2]
    # The largest units give tens of microvolts at the skin, one or two centimetres off (Roeleveld et al., J
    # Electromyogr Kinesiol 1997).
    assert 10 < sizes[0] < 300


def test_the_energy_lies_where_the_emg_has_its_own() -> None:
    # Median of surface EMG: 50 to 150 Hz (De Luca, J Appl Biomech 1997); nearly nothing above 500 Hz that far off.
    for distance in (15.0, 30.0):
        wave = motor_unit_potential(distance, 20.0, RATE_HZ)
        assert 40 < median_hz(wave) < 200
        power = np.abs(np.fft.rfft(wave, 16384)) ** 2
        assert power[np.fft.rfftfreq(16384, 1 / RATE_HZ) > 500].sum() < 0.01 * power.sum()


def test_it_begins_and_ends_at_nothing() -> None:
    wave = motor_unit_potential(20.0, 10.0, RATE_HZ)
    assert np.abs(wave[[0, -1]]).max() < 0.01 * np.abs(wave).max()
    assert len(wave) < 0.05 * RATE_HZ


def test_currents_that_balance_leave_nothing_far_away() -> None:
    # A closed source has no monopole: at ten times the distance much less than a tenth remains.
    near, far = (np.ptp(motor_unit_potential(d, 0.0, RATE_HZ)) for d in (30.0, 300.0))
    assert far < near / 100
