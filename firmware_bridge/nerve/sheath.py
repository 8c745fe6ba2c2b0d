"""What every contact in a fascicle shares: the spike's current, kept together by the fascicle's sheath.

The perineurium resists, so most of a spike's current flows along the fascicle before it leaks away: a leaky cable of
endoneurium, whose potential is the same across the fascicle and is what a reference outside it does not see. This,
not the field close to the axon, makes the 10 to 50 uV of an intrafascicular unit (Malagodi, Horch and Schoenberg,
Ann Biomed Eng 1989; Lefurge et al. 1991) and grows with the third power of the fibre's diameter over velocity.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

from firmware_bridge.nerve.axon import (
    AXON_PER_FIBRE_DIAMETER,
    AXOPLASM_OHM_CM,
    TravellingSpike,
    node_spacing_um,
)
from firmware_bridge.nerve.contact import ALONG_S_PER_M, ContactWaveforms, passage_spectrum, sampled

PERINEURIUM_OHM_CM2 = 478.0
"""Weerasuriya, Spangler, Rapoport and Taylor, Biophys J 46:167, 1984 (frog sciatic; used for mammals since Frijns,
Mooij and ten Kate 1994)."""


def length_constant_mm(fascicle_um: ArrayLike) -> NDArray[np.float64]:
    """How far along a fascicle of this diameter current goes before its sheath lets it out."""
    width_um = np.asarray(fascicle_um, np.float64)
    leak_ohm_m = PERINEURIUM_OHM_CM2 * 1e-4 / (math.pi * width_um * 1e-6)
    axial_ohm_per_m = 1 / (ALONG_S_PER_M * math.pi * (width_um * 1e-6 / 2) ** 2)
    return np.asarray(1e3 * np.sqrt(leak_ohm_m / axial_ohm_per_m))


def sheath_waveforms(
    spike: TravellingSpike,
    diameter_um: ArrayLike,
    fascicle_um: ArrayLike,
    rate_hz: float,
    *,
    n_phases: int,
    corner_hz: float | None = None,
) -> ContactWaveforms:
    """Waveforms (n, n_phases, n_samples) for axons of these diameters in fascicles of these widths (n,), aligned with those of `axon_waveforms`.

    With the axon's and the fascicle's conductances per length g_a and g_e and the sheath's length constant L, the
    membrane current g_a V'' gives the potential -V (g_a / g_e) k^2 / (k^2 + 1 / L^2) at the wave number k = 2 pi f /
    velocity (the cable equation of the fascicle, solved for a travelling wave).
    """
    diameter, width = np.broadcast_arrays(
        np.asarray(diameter_um, np.float64), np.asarray(fascicle_um, np.float64)
    )
    frequency_hz, passage = passage_spectrum(spike, rate_hz, corner_hz)
    axon_s_m = math.pi / 4 * (AXON_PER_FIBRE_DIAMETER * diameter * 1e-6) ** 2 / (AXOPLASM_OHM_CM * 1e-2)
    fascicle_s_m = ALONG_S_PER_M * math.pi / 4 * (width * 1e-6) ** 2
    velocity = node_spacing_um(1.0) * diameter * 1e-6 / spike.node_delay_s
    k = 2 * np.pi * frequency_hz / velocity[:, None]
    leak = 1 / (length_constant_mm(width) * 1e-3)[:, None] ** 2
    gain_uv_per_mv: NDArray[np.float64] = -1e3 * (axon_s_m / fascicle_s_m)[:, None] * k**2 / (k**2 + leak)
    return sampled(gain_uv_per_mv * passage, rate_hz, n_phases)
