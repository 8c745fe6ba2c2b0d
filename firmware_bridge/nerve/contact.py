"""What a longitudinal intrafascicular contact sees of a spike that passes in an axon beside it.

The current that leaves each node spreads in the endoneurium, an unbounded anisotropic conductor, and the contact, a
bare stretch of wire along the fascicle, takes the mean of the potential along its length (Plonsey and Barr,
"Bioelectricity"; Malagodi, Horch and Schoenberg, Ann. Biomed. Eng. 17:397, 1989, for the electrode). This is the
near field, different for every contact; what the sheath of the fascicle adds to it, equally for all its contacts,
is in sheath.py.

Everything is done in the frequency domain from the spike at 400 kHz: travelling is a phase, the front-end's
anti-alias filter a factor, and the output a Fourier sum at any instants, so also between samples.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from firmware_bridge.errors import NervehandError
from firmware_bridge.nerve.axon import AXIAL_NS_PER_UM, RESTING_MV, TravellingSpike, node_spacing_um

# Endoneurium: 175 ohm cm along the fibres and 1211 across them, which Ranck and BeMent, Exp. Neurol. 11:451, 1965,
# measured in the cat's dorsal columns, as used for nerve since (Veltink et al. 1989; Raspopovic et al. 2011).
ALONG_S_PER_M = 0.571
ACROSS_S_PER_M = 0.083

CONTACT_LENGTH_UM = 1000.0
"""Bare stretch of a wire LIFE: about 1 mm of a 25 um platinum-iridium wire (Malagodi et al. 1989; Lefurge et al.
1991). Sites of thin-film LIFEs are shorter, e.g. 40 x 100 um (Micera et al., J. NeuroEng. Rehabil. 8:53, 2011)."""

CORNER_PER_RATE = 0.45
"""Default corner (half amplitude) of the anti-alias filter, as a part of the sampling rate."""

N_PHASES = 16

_REACH = 96  # nodes to either side; farther ones add < 1e-5 of the peak (they fall with the cube of distance)
# The period of the Fourier sum, longer than 2 x 96 node delays, the spike and the filter's ringing together; and what
# is kept of it before and after the passage: so much time for the spike, so many samples for the ringing.
_WINDOW_S, _SPIKE_S, _RINGING = 6.4e-3, 0.6e-3, 8


@dataclass(frozen=True, slots=True)
class ContactWaveforms:
    """Waveforms of spikes as a front-end delivers them.

    microvolts (..., n_phases, n_samples): [..., p, k] is sample i + k for a spike that passes the middle of the
    contact p / n_phases samples after sample i. The passage shows `delay_samples` later, which is the delay of the
    linear-phase anti-alias filter; before sample i there is nothing.
    """

    microvolts: NDArray[np.float64]
    delay_samples: int


def axon_waveforms(
    spike: TravellingSpike,
    diameter_um: ArrayLike,
    radial_um: ArrayLike,
    node_offset: ArrayLike,
    rate_hz: float,
    *,
    n_phases: int = N_PHASES,
    contact_length_um: float = CONTACT_LENGTH_UM,
    corner_hz: float | None = None,
) -> ContactWaveforms:
    """Waveforms for every pair of axon and contact; the three arrays broadcast.

    diameter_um: of the fibre. radial_um: from the axis of the axon to that of the contact. node_offset: the place of
    a node from the middle of the contact, in node spacings, downstream positive (its whole part is ignored, so a
    contact that lies z downstream of another has the other's offset minus z / spacing). corner_hz: see `anti_alias`.
    """
    diameter = _positive(diameter_um, "fibre diameter", "um")[..., None]
    radial = _positive(radial_um, "distance of axon and contact", "um")[..., None]
    offset = np.asarray(node_offset, np.float64)[..., None] % 1.0
    length = float(_positive(contact_length_um, "length of the contact", "um"))
    frequency_hz, passage = passage_spectrum(spike, rate_hz, corner_hz)
    turn = 2 * np.pi * frequency_hz * spike.node_delay_s  # phase from node to node

    # Summed by parts: the nodes' currents are second differences of their voltages, so the voltages are weighed by
    # second differences of the field instead, which fall with the cube of the distance and can be cut off.
    nodes = np.arange(-_REACH - 1, _REACH + 2)
    field = line_contact_uv_per_na((nodes + offset) * node_spacing_um(1.0) * diameter, radial, length)
    weights = 1e-3 * AXIAL_NS_PER_UM * diameter * np.diff(field, 2, axis=-1)  # 1e-3: mV nS is pA
    spectrum = weights @ np.exp(-1j * np.outer(nodes[1:-1], turn)) * np.exp(-1j * offset * turn)
    return sampled(spectrum * passage, rate_hz, n_phases)


def line_contact_uv_per_na(
    z_um: NDArray[np.float64], radial_um: NDArray[np.float64], length_um: float
) -> NDArray[np.float64]:
    """Mean potential along a contact of this length for a point current z away from its middle, uV per nA.

    In the medium the potential of a current I is I / (4 pi s_across sqrt(z^2 + r^2 s_along / s_across)) (Plonsey and
    Barr); its integral over the contact is a difference of two inverse hyperbolic sines.
    """
    reach = radial_um * math.sqrt(ALONG_S_PER_M / ACROSS_S_PER_M)
    integral = np.arcsinh((z_um + length_um / 2) / reach) - np.arcsinh((z_um - length_um / 2) / reach)
    return np.asarray(1e3 * integral / (4 * math.pi * ACROSS_S_PER_M * length_um))  # 1e3: nA / (S/m um) is mV


def anti_alias(
    frequency_hz: NDArray[np.float64], rate_hz: float, corner_hz: float | None = None
) -> NDArray[np.float64]:
    """Gain of the front-end's filter: one, a raised cosine through one half at the corner (0.45 of the rate if None),
    zero from half the rate on, so nothing is aliased. Its phase is that of a pure delay."""
    corner = CORNER_PER_RATE * rate_hz if corner_hz is None else corner_hz
    if not 0 < corner < rate_hz / 2:
        raise NervehandError(
            f"anti-alias corner is {corner} Hz at {rate_hz} Hz: give a frequency between 0 and half the rate"
        )
    half_width = min(rate_hz / 2 - corner, corner)
    x = np.clip((frequency_hz - corner) / half_width, -1.0, 1.0)
    return np.asarray(0.5 - 0.5 * np.sin(0.5 * np.pi * x))


def passage_spectrum(
    spike: TravellingSpike, rate_hz: float, corner_hz: float | None = None
) -> tuple[NDArray[np.float64], NDArray[np.complex128]]:
    """Frequencies in Hz and, at each, the voltage (mV s, from rest) of an axon at the place of the contact as the
    front-end would deliver it: through its filter and with its delay. Both (bins,), as `sampled` takes them."""
    if not 2000.0 <= rate_hz <= 100_000.0:
        raise NervehandError(f"sampling rate is {rate_hz} Hz: give 2000 to 100000")
    frequency_hz = np.linspace(0.0, rate_hz / 2, _window(rate_hz) // 2 + 1)
    passage = spectrum_of_voltage(spike, frequency_hz) * anti_alias(frequency_hz, rate_hz, corner_hz)
    return frequency_hz, passage * np.exp(-2j * np.pi * frequency_hz * (_delay(rate_hz) / rate_hz))


def spectrum_of_voltage(spike: TravellingSpike, frequency_hz: NDArray[np.float64]) -> NDArray[np.complex128]:
    """Fourier transform of the node's departure from rest, mV s, with the peak at time zero."""
    time_s = (np.arange(spike.voltage_mv.size) - spike.peak_index) * spike.dt_s
    turns = np.exp(-2j * np.pi * np.outer(frequency_hz, time_s))
    return np.asarray(turns @ (spike.voltage_mv - RESTING_MV) * spike.dt_s)


def sampled(spectrum: NDArray[np.complex128], rate_hz: float, n_phases: int) -> ContactWaveforms:
    """Waveforms (..., n_phases, n_samples) in microvolts from spectra (..., bins) in microvolt seconds.

    Cut to the spike and the filter's ringing, (2 delay + 1) samples; what is cut off has < 1e-4 of the energy.
    Rounded to 1e-6 uV, so that processors that differ in a last bit come to the same numbers.
    """
    if n_phases < 1:
        raise NervehandError(f"{n_phases} sub-sample phases: give at least one")
    n_fine, delay = _window(rate_hz) * n_phases, _delay(rate_hz)
    fine = np.fft.irfft(spectrum, n_fine, axis=-1) * (rate_hz * n_phases)
    taken = np.arange(2 * delay + 1) * n_phases - np.arange(n_phases)[:, None]
    return ContactWaveforms(np.round(fine[..., taken % n_fine], 6), delay)


def _window(rate_hz: float) -> int:
    return 2 * math.ceil(_WINDOW_S * rate_hz / 2)


def _delay(rate_hz: float) -> int:
    return math.ceil(_SPIKE_S * rate_hz) + _RINGING


def _positive(value: ArrayLike, what: str, unit: str) -> NDArray[np.float64]:
    array = np.asarray(value, np.float64)
    wrong = array[~((array > 0) & np.isfinite(array))]
    if wrong.size:
        raise NervehandError(f"{what} is {wrong.flat[0]} {unit}: give a positive number")
    return array
