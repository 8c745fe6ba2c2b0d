"""The action potential of the modelled axon against what is published of real ones."""

from __future__ import annotations

import math
import subprocess
import sys

import numpy as np
import pytest
from numpy.typing import NDArray

from firmware_bridge.errors import NervehandError
from firmware_bridge.nerve import axon
from firmware_bridge.nerve.axon import conduction_velocity_m_per_s, node_spacing_um, propagate, solve_spike

STEP_S = 4e-6


def passes(departure: NDArray[np.float64], node: int = 25) -> int:
    """How many spikes pass a node: upward crossings of 40 mV."""
    above = departure[:, node] > 40
    return int(np.sum(above[1:] & ~above[:-1]))


def test_velocity_is_that_of_motor_axons_of_this_diameter() -> None:
    # Boyd and Kalu, J. Physiol. 289:277, 1979: 5.7 m/s per um for alpha-efferent and group I fibres of the cat;
    # Hursh, Am. J. Physiol. 127:131, 1939: 6.
    for diameter_um in (8.0, 12.0, 18.0):
        assert conduction_velocity_m_per_s(diameter_um) / diameter_um == pytest.approx(5.7, rel=0.06)


def test_velocities_of_human_hand_motor_axons_come_from_diameters_of_6_to_12_um() -> None:
    # 34 to 66 m/s over 100 single axons of the median nerve at the wrist, most near 50 m/s ("Conduction velocities of
    # alpha-motor fibers innervating human thenar muscles and order of recruitment upon voluntary contraction",
    # Muscle Nerve).
    assert conduction_velocity_m_per_s(6.0) < 35 < 66 < conduction_velocity_m_per_s(12.0)


def test_the_node_rests_at_minus_70_mv_and_overshoots_zero() -> None:
    spike = solve_spike()
    assert axon.RESTING_MV == -70.0
    assert spike.voltage_mv[0] == pytest.approx(-70.0, abs=0.01)
    assert spike.voltage_mv[-1] == pytest.approx(-70.0, abs=0.01)
    # "About 100 mV": textbook; Sweeney et al. 1987 with this membrane.
    assert 80 < spike.voltage_mv.max() - axon.RESTING_MV < 110
    assert 10 < spike.voltage_mv.max() < 40


def test_the_action_potential_is_as_short_as_at_37_degrees() -> None:
    spike = solve_spike()
    height = (spike.voltage_mv - axon.RESTING_MV) / (spike.voltage_mv - axon.RESTING_MV).max()
    assert 0.1e-3 < np.sum(height > 0.5) * spike.dt_s < 0.25e-3
    # Gasser and Grundfest, Am. J. Physiol. 127:393, 1939: 0.4 to 0.5 ms whatever the size of the fibre, cat.
    assert 0.3e-3 < np.sum(height > 0.01) * spike.dt_s < 0.5e-3
    rise_s = (spike.peak_index - int(np.argmax(height > 0.1))) * spike.dt_s
    assert rise_s < 0.4 * np.sum(height > 0.1) * spike.dt_s  # rises faster than it falls


def test_current_leaves_enters_and_leaves_again_and_none_stays() -> None:
    spike = solve_spike()
    current = spike.current_na_per_um
    inward = int(np.argmin(current))
    outward = int(np.argmax(current))
    assert outward < inward  # charged by its neighbour before its own sodium current
    assert current[inward:].max() > 0.03 * current.max()  # and again, a little, while it repolarises
    assert abs(current.sum()) < 1e-3 * np.abs(current).sum()
    # A few nA in a large fibre.
    assert 1.0 < -10.0 * current.min() < 5.0


def test_halving_the_step_changes_nothing() -> None:
    fine = propagate((0.0,), 60, 1.25e-6, 1.2e-3)
    used = propagate((0.0,), 60, 2.5e-6, 1.2e-3)
    assert np.abs(fine[::2, 30] - used[:, 30]).max() < 0.1  # on a flank of 2000 mV/ms
    assert fine[:, 30].max() == pytest.approx(used[:, 30].max(), abs=0.02)


def test_the_spike_does_not_remember_how_it_was_started() -> None:
    weak, strong = (propagate((0.0,), 60, STEP_S, 1.4e-3, strength=s) for s in (0.3, 1.0))
    for k in (30, 45):
        assert weak[:, k].max() == pytest.approx(strong[:, k].max(), abs=0.1)
    lag = [int(np.argmax(v[:, 45] > 40)) - int(np.argmax(v[:, 30] > 40)) for v in (weak, strong)]
    assert abs(lag[0] - lag[1]) <= 1


def test_all_or_nothing() -> None:
    assert passes(propagate((0.0,), 30, STEP_S, 1e-3, strength=0.1)) == 0
    assert passes(propagate((0.0,), 30, STEP_S, 1e-3, strength=0.25)) == 1


def test_a_second_spike_needs_its_time() -> None:
    # Absolute refractory period of fast mammalian fibres at 37 C: a few tenths of a millisecond to 0.7 ms.
    assert passes(propagate((0.0, 0.25e-3), 30, STEP_S, 1.4e-3)) == 1
    assert passes(propagate((0.0, 0.7e-3), 30, STEP_S, 1.8e-3)) == 2
    soon = propagate((0.0, 0.5e-3), 30, STEP_S, 1.6e-3)
    assert passes(soon) == 2
    second = soon[int(0.95e-3 / STEP_S) :, 25].max()
    assert second < 0.95 * soon[:, 25].max()  # and a smaller one within its relative refractory period


@pytest.mark.parametrize("diameter_um", [7.0, 16.0])
def test_a_cable_in_absolute_units_scales_as_claimed(diameter_um: float) -> None:
    """The same fibre, written down independently for one diameter in nS, pF, pA and by forward Euler."""
    axon_um, spacing_um, n, step_ms = 0.6 * diameter_um, 100 * diameter_um, 50, 0.5e-3
    area_um2 = math.pi * axon_um * 1.5
    axial_ns = 1e5 * math.pi * axon_um**2 / (4 * 54.7 * spacing_um)  # 1 um / (1 ohm cm) is 1e-4 S
    capacitance_pf, sodium_ns, leak_ns = 0.025 * area_um2, 14.45 * area_um2, 1.28 * area_um2
    v, m, h = np.zeros(n), np.full(n, 0.0033), np.full(n, 0.75)
    crossed_ms = np.full(n, np.nan)
    peak_pa = 0.0
    for i in range(2200):
        alpha_m = (97 + 0.363 * v) / (1 + np.exp((31 - v) / 5.3))
        beta_m = alpha_m / np.exp((v - 23.8) / 4.17)
        beta_h = 15.6 / (1 + np.exp((24 - v) / 10))
        alpha_h = beta_h / np.exp((v - 5.5) / 5)
        inside = np.concatenate([v[:1], v, v[-1:]])
        arriving_pa = axial_ns * np.diff(inside, 2)
        ionic_pa = sodium_ns * m**2 * h * (v - 115) + leak_ns * (v + 0.01)
        stimulus_pa = np.where((np.arange(n) == 0) & (i < 100), 400.0 * diameter_um, 0.0)
        v = v + step_ms * (arriving_pa + stimulus_pa - ionic_pa) / capacitance_pf
        m = m + step_ms * (alpha_m * (1 - m) - beta_m * m)
        h = h + step_ms * (alpha_h * (1 - h) - beta_h * h)
        crossed_ms[np.isnan(crossed_ms) & (v > 45)] = i * step_ms
        peak_pa = min(peak_pa, float(arriving_pa[25]))
    velocity = (35 - 15) * spacing_um * 1e-3 / (crossed_ms[35] - crossed_ms[15])
    # Euler's error at this step is 1.6 %, the same for both.
    assert velocity == pytest.approx(0.984 * conduction_velocity_m_per_s(diameter_um), rel=0.002)
    assert peak_pa == pytest.approx(1e3 * diameter_um * solve_spike().current_na_per_um.min(), rel=0.03)


def test_solved_once_and_not_to_be_changed() -> None:
    assert solve_spike() is solve_spike()
    with pytest.raises(ValueError, match="read-only"):
        solve_spike().voltage_mv[0] = 0.0


def test_solving_again_gives_the_same_bits() -> None:
    again = solve_spike.__wrapped__()
    assert np.array_equal(again.voltage_mv, solve_spike().voltage_mv)
    assert np.array_equal(again.current_na_per_um, solve_spike().current_na_per_um)
    assert again.node_delay_s == solve_spike().node_delay_s


def test_spacing_is_a_hundred_diameters() -> None:
    assert node_spacing_um(11.0) == 1100.0


@pytest.mark.parametrize("diameter_um", [0.0, -3.0, math.nan, math.inf])
def test_an_impossible_diameter_is_refused(diameter_um: float) -> None:
    with pytest.raises(NervehandError, match=r"fibre diameter is .* give a positive number"):
        conduction_velocity_m_per_s(diameter_um)


def test_a_step_that_would_blow_up_is_refused() -> None:
    with pytest.raises(NervehandError, match="a step of 1e-05 s"):
        propagate((0.0,), 10, 1e-5, 1e-3)
    with pytest.raises(NervehandError, match="1 nodes"):
        propagate((0.0,), 1, 1e-6, 1e-3)


def test_importing_it_loads_nothing_heavy_and_solves_nothing() -> None:
    code = (
        "import sys, firmware_bridge.nerve.contact; from firmware_bridge.nerve.axon import solve_spike;"
        "print(solve_spike.cache_info().currsize, sorted({'scipy', 'numba', 'torch'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["0", "[]"]
