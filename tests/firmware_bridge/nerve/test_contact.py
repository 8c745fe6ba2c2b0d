"""What a contact sees of a spike: against the definition, written out slowly, and against published recordings."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from firmware_bridge.errors import NervehandError
from firmware_bridge.nerve.axon import solve_spike
from firmware_bridge.nerve.contact import (
    ACROSS_S_PER_M,
    ALONG_S_PER_M,
    anti_alias,
    axon_waveforms,
    line_contact_uv_per_na,
)

OFFSETS = np.arange(8) / 8


def peak_to_peak(waveform: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(np.ptp(waveform, axis=-1).max(axis=-1))


def summed_over_nodes(
    diameter_um: float, radial_um: float, offset: float, length_um: float, rate_hz: float
) -> NDArray[np.float64]:
    """The potential by its definition: each node's current, delayed, times its field; then the filter. Every 2.5 us,
    6.4 ms around the passage."""
    spike = solve_spike()
    n = round(6.4e-3 / spike.dt_s)
    time_s = (np.arange(n) - n // 2) * spike.dt_s
    of_current = (np.arange(spike.voltage_mv.size) - spike.peak_index) * spike.dt_s
    potential = np.zeros(n)
    for node in range(-300, 301):
        z_um = (node + offset) * 100 * diameter_um
        field = line_contact_uv_per_na(np.array(z_um), np.array(radial_um), length_um)
        passage_s = (node + offset) * spike.node_delay_s
        current = np.interp(time_s - passage_s, of_current, spike.current_na_per_um, left=0, right=0)
        potential += field * diameter_um * current
    frequency_hz = np.fft.rfftfreq(n, spike.dt_s)
    return np.fft.irfft(np.fft.rfft(potential) * anti_alias(frequency_hz, rate_hz), n)


@pytest.mark.parametrize("rate_hz", [5_000.0, 10_000.0, 20_000.0])
@pytest.mark.parametrize(("diameter_um", "radial_um", "offset"), [(10.0, 80.0, 0.3), (16.0, 30.0, 0.9)])
def test_waveform_is_the_sum_over_the_nodes(
    rate_hz: float, diameter_um: float, radial_um: float, offset: float
) -> None:
    slow = summed_over_nodes(diameter_um, radial_um, offset, 100.0, rate_hz)
    fast = axon_waveforms(
        solve_spike(), diameter_um, radial_um, offset, rate_hz, n_phases=4, contact_length_um=100.0
    )
    stride = round(1 / (rate_hz * solve_spike().dt_s))
    for phase in range(4):
        samples = np.arange(fast.microvolts.shape[1]) - fast.delay_samples
        at = slow.size // 2 + samples * stride - phase * stride // 4
        assert np.abs(fast.microvolts[phase] - slow[at]).max() < 1e-3 * np.ptp(slow)


def test_a_line_contact_sees_the_mean_of_what_points_along_it_see() -> None:
    z_um, radial_um, length_um = np.linspace(-3000, 3000, 13), np.array(120.0), 1000.0
    along = (np.arange(20_000) + 0.5) / 20_000 * length_um - length_um / 2
    reach_um2 = radial_um**2 * ALONG_S_PER_M / ACROSS_S_PER_M
    of_points = 1e3 / (4 * np.pi * ACROSS_S_PER_M * np.sqrt((z_um[:, None] - along) ** 2 + reach_um2))
    assert line_contact_uv_per_na(z_um, radial_um, length_um) == pytest.approx(
        of_points.mean(axis=1), rel=1e-6
    )


def test_close_units_are_tens_of_microvolts_and_far_ones_vanish() -> None:
    # 10 to 50 uV peak to peak for units told apart by wire LIFEs (Malagodi et al. 1989; Lefurge et al. 1991; review:
    # Navarro et al., J. Peripher. Nerv. Syst. 10:229, 2005), recorded up to some 10 kHz.
    near = peak_to_peak(axon_waveforms(solve_spike(), 12.0, 25.0, OFFSETS, 30_000.0).microvolts)
    far = peak_to_peak(axon_waveforms(solve_spike(), 12.0, 400.0, OFFSETS, 30_000.0).microvolts)
    assert 8 < np.median(near) < 50
    assert np.all(far < 4)


def test_the_whole_spike_passes_within_a_millisecond() -> None:
    for radial_um in (25.0, 100.0, 400.0):
        found = axon_waveforms(solve_spike(), 12.0, radial_um, 0.4, 100_000.0, n_phases=1).microvolts[0]
        over = np.flatnonzero(np.abs(found) > 0.05 * np.abs(found).max())
        assert over[-1] - over[0] < 100  # samples of 10 us


@pytest.mark.parametrize("diameter_um", [8.0, 14.0])
@pytest.mark.parametrize("radial_um", [100.0, 200.0, 400.0])
def test_the_spectrum_peaks_in_the_kilohertz_with_little_below_600_hz(
    diameter_um: float, radial_um: float
) -> None:
    found = axon_waveforms(solve_spike(), diameter_um, radial_um, OFFSETS, 100_000.0, n_phases=1).microvolts[
        :, 0
    ]
    power = np.mean(np.abs(np.fft.rfft(found, 8192)) ** 2, axis=0)
    frequency_hz = np.fft.rfftfreq(8192, 1e-5)
    assert 2000 < frequency_hz[power.argmax()] < 7000
    assert power[frequency_hz < 600].sum() < 0.01 * power.sum()


def test_amplitude_falls_with_distance_and_grows_with_diameter() -> None:
    diameter_um, radial_um = np.array([6.0, 10.0, 14.0])[:, None, None], np.geomspace(20, 800, 12)[:, None]
    amplitude = peak_to_peak(
        axon_waveforms(solve_spike(), diameter_um, radial_um, OFFSETS, 10_000.0).microvolts
    ).mean(axis=-1)
    assert np.all(np.diff(amplitude, axis=1) < 0)
    assert np.all(np.diff(amplitude, axis=0) > 0)


def test_a_contact_downstream_sees_the_same_spike_later() -> None:
    spike, diameter_um, rate_hz = solve_spike(), 10.0, 20_000.0
    here = axon_waveforms(spike, diameter_um, 50.0, 0.25, rate_hz, n_phases=1)
    there = axon_waveforms(spike, diameter_um, 50.0, 0.25 - 3.0, rate_hz, n_phases=1)  # three nodes on
    assert np.array_equal(here.microvolts, there.microvolts)


def test_phases_are_one_waveform_between_its_samples() -> None:
    found = axon_waveforms(solve_spike(), 10.0, 50.0, 0.2, 10_000.0, n_phases=16).microvolts
    # Phase p / 16 later: read backwards, all phases in turn are the waveform at 16 times the rate.
    fine = found[::-1].T.ravel()
    smooth = axon_waveforms(solve_spike(), 10.0, 50.0, 0.2, 10_000.0, n_phases=32).microvolts
    between = smooth[::-1].T.ravel()[1::2]
    assert np.array_equal(fine, between)
    assert np.abs(np.diff(fine)).max() < 0.35 * np.ptp(fine)


@pytest.mark.parametrize("rate_hz", [5_000.0, 10_000.0, 20_000.0, 40_000.0])
@pytest.mark.parametrize("radial_um", [25.0, 100.0, 400.0])
def test_what_is_cut_off_is_negligible(rate_hz: float, radial_um: float) -> None:
    spike = solve_spike()
    kept = axon_waveforms(spike, 10.0, radial_um, 0.0, rate_hz, n_phases=1).microvolts[0]
    slow = summed_over_nodes(10.0, radial_um, 0.0, 1000.0, rate_hz)
    stride = round(1 / (rate_hz * spike.dt_s))
    whole = slow[slow.size // 2 % stride :: stride]
    assert np.sum(kept**2) == pytest.approx(np.sum(whole**2), rel=1e-3)


def test_nothing_is_left_at_half_the_rate() -> None:
    frequency_hz = np.array([0.0, 3999.0, 4500.0, 5000.0, 9000.0])
    assert anti_alias(frequency_hz, 10_000.0) == pytest.approx([1.0, 1.0, 0.5, 0.0, 0.0], abs=1e-12)
    assert anti_alias(frequency_hz, 10_000.0, 2500.0)[0] == 1.0


def test_a_lower_corner_takes_away() -> None:
    default = peak_to_peak(axon_waveforms(solve_spike(), 10.0, 50.0, 0.0, 20_000.0).microvolts)
    lower = peak_to_peak(
        axon_waveforms(solve_spike(), 10.0, 50.0, 0.0, 20_000.0, corner_hz=3000.0).microvolts
    )
    assert lower < 0.5 * default


@settings(max_examples=25, deadline=None)
@given(
    st.lists(
        st.tuples(st.floats(2.0, 20.0), st.floats(10.0, 1000.0), st.floats(0.0, 1.0)), min_size=1, max_size=5
    )
)
def test_many_at_once_are_each_alone(pairs: list[tuple[float, float, float]]) -> None:
    diameter_um, radial_um, offset = np.array(pairs).T
    together = axon_waveforms(solve_spike(), diameter_um, radial_um, offset, 10_000.0, n_phases=2).microvolts
    for row, pair in zip(together, pairs, strict=True):
        alone = axon_waveforms(solve_spike(), *pair, 10_000.0, n_phases=2).microvolts
        assert np.abs(row - alone).max() <= 2e-6


def test_axons_and_contacts_broadcast() -> None:
    found = axon_waveforms(
        solve_spike(), np.full((3, 1), 9.0), np.full((3, 4), 60.0), np.zeros((3, 1)), 10_000.0, n_phases=8
    )
    assert found.microvolts.shape == (3, 4, 8, 2 * found.delay_samples + 1)
    assert found.microvolts.dtype == np.float64


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"diameter_um": [9.0, -1.0]}, "fibre diameter is -1.0 um"),
        ({"radial_um": 0.0}, "distance of axon and contact is 0.0 um"),
        ({"radial_um": np.inf}, "distance of axon and contact is inf um"),
        ({"contact_length_um": 0.0}, "length of the contact is 0.0 um"),
        ({"rate_hz": 100.0}, "sampling rate is 100.0 Hz"),
        ({"n_phases": 0}, "0 sub-sample phases"),
        ({"corner_hz": 5000.0}, "anti-alias corner is 5000.0 Hz at 10000.0 Hz"),
    ],
)
def test_impossible_arguments_are_refused(change: dict[str, object], message: str) -> None:
    good: dict[str, object] = {"diameter_um": 9.0, "radial_um": 60.0, "node_offset": 0.0, "rate_hz": 10_000.0}
    with pytest.raises(NervehandError, match=message):
        axon_waveforms(solve_spike(), **(good | change))
