"""What a longitudinal intrafascicular contact sees of a spike that passes in an axon beside it.

The current that leaves each node spreads in the endoneurium, an unbounded anisotropic conductor, and the contact, a
bare stretch of wire along the fascicle, takes the mean of the potential along its length (Plonsey and Barr,
"Bioelectricity"; Malagodi, Horch and Schoenberg, Ann. Biomed. Eng. 17:397, 1989, for the electrode). The sheath of
the fascicle is left out: it raises the potential slowly along the nerve and equally over its cross-section, which a
reference in the same fascicle takes away again.

Everything is done in the frequency domain from the spike at 400 kHz: travelling is a phase, the front-end's
anti-alias filter a factor, and the output a Fourier sum at any instants, so also between samples.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from firmware_bridge.errors import NervehandError
from firmware_bridge.nerve.axon import (
    AXIAL_NS_PER_UM,
    RESTING_MV,
    SPACING_PER_FIBRE_DIAMETER,
    TravellingSpike,
)

# Endoneurium: 175 ohm cm along the fibres and 1211 across them, Ranck and BeMent, Exp. Neurol. 11:451, 1965, as
# used for intrafascicular electrodes since (Veltink et al. 1989; Raspopovic et al. 2011).
ALONG_S_PER_M = 0.571
ACROSS_S_PER_M = 0.083

CONTACT_LENGTH_UM = 1000.0
"""Bare stretch of a wire LIFE: about 1 mm of a 25 um platinum-iridium wire (Malagodi et al. 1989; Lefurge et al.
1991). Sites of thin-film LIFEs are shorter, e.g. 40 x 100 um (Micera et al., J. NeuroEng. Rehabil. 8:53, 2011)."""

CORNER_PER_RATE = 0.45
"""Default corner (half amplitude) of the anti-alias filter, as a part of the sampling rate."""

N_PHASES = 16

_REACH = 96  # nodes to either side; farther ones add < 1e-4 of the peak (they fall with the cube of distance)
_WINDOW_S = (
    6.4e-3  # period of the Fourier sum: longer than the spike's 2 x 96 node delays and the filter's ringing
)
_SPIKE_S, _RINGING = 0.6e-3, 8  # kept before and after the passage: the spike, and so many samples of ringing


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
    contact that lies z downstream of another has the other's offset minus z / spacing).
    corner_hz: half-amplitude frequency of the anti-alias filter (0.45 of the rate if None); the gain falls as a
    raised cosine and is zero from half the rate on, so nothing is aliased.
    """
    diameter, radial, offset = np.broadcast_arrays(
        _positive(diameter_um, "fibre diameter", "um"),
        _positive(radial_um, "distance of axon and contact", "um"),
        np.asarray(node_offset, np.float64) % 1.0,
    )
    contact_length = float(_positive(contact_length_um, "length of the contact", "um"))
    if not 2000.0 <= rate_hz <= 100_000.0:
        raise NervehandError(f"sampling rate is {rate_hz} Hz: give 2000 to 100000")
    if n_phases < 1:
        raise NervehandError(f"{n_phases} sub-sample phases: give at least one")

    n_window = 2 * math.ceil(_WINDOW_S * rate_hz / 2)
    delay = math.ceil(_SPIKE_S * rate_hz) + _RINGING
    frequency_hz = np.arange(n_window // 2 + 1) * (rate_hz / n_window)
    common = 1e-3 * spectrum_of_voltage(spike, frequency_hz) * anti_alias(frequency_hz, rate_hz, corner_hz)
    common = common * np.exp(-2j * np.pi * frequency_hz * (delay / rate_hz))

    # Summed by parts: the nodes' currents are second differences of their voltages, so the voltages are weighed by
    # second differences of the field instead, which fall with the cube of the distance and can be cut off.
    nodes = np.arange(-_REACH - 1, _REACH + 2)
    z_um = (nodes + offset[..., None]) * (SPACING_PER_FIBRE_DIAMETER * diameter[..., None])
    field = line_contact_uv_per_na(z_um, radial[..., None], contact_length)
    weights = (AXIAL_NS_PER_UM * diameter)[..., None] * np.diff(field, 2, axis=-1)

    omega_delay = 2 * np.pi * frequency_hz * spike.node_delay_s
    spectrum = weights @ np.exp(-1j * np.outer(nodes[1:-1], omega_delay))
    spectrum *= np.exp(-1j * offset[..., None] * omega_delay) * common
    n_fine = n_window * n_phases
    fine = np.fft.irfft(spectrum, n_fine, axis=-1) * (n_fine * rate_hz / n_window)
    taken = np.arange(2 * delay + 1) * n_phases - np.arange(n_phases)[:, None]
    return ContactWaveforms(np.round(fine[..., taken % n_fine], 6), delay)


def axon_waveform(
    spike: TravellingSpike,
    diameter_um: float,
    radial_um: float,
    node_offset: float,
    rate_hz: float,
    *,
    n_phases: int = N_PHASES,
    contact_length_um: float = CONTACT_LENGTH_UM,
    corner_hz: float | None = None,
) -> ContactWaveforms:
    """The waveforms (n_phases, n_samples) of one axon at one contact; see `axon_waveforms`."""
    return axon_waveforms(
        spike,
        diameter_um,
        radial_um,
        node_offset,
        rate_hz,
        n_phases=n_phases,
        contact_length_um=contact_length_um,
        corner_hz=corner_hz,
    )


def line_contact_uv_per_na(
    z_um: NDArray[np.float64], radial_um: NDArray[np.float64], length_um: float
) -> NDArray[np.float64]:
    """Mean potential along a contact of this length for a point current z away from its middle, uV per nA.

    In the medium the potential of a current I is I / (4 pi s_across sqrt(z^2 + r^2 s_along / s_across)) (Plonsey and
    Barr); its integral over the contact is a difference of two inverse hyperbolic sines.
    """
    reach = radial_um * math.sqrt(ALONG_S_PER_M / ACROSS_S_PER_M)
    integral = np.arcsinh((z_um + length_um / 2) / reach) - np.arcsinh((z_um - length_um / 2) / reach)
    # nA / (S/m um) is 1e-3 V.
    return np.asarray(1e3 * integral / (4 * math.pi * ACROSS_S_PER_M * length_um))


def spectrum_of_voltage(spike: TravellingSpike, frequency_hz: NDArray[np.float64]) -> NDArray[np.complex128]:
    """Fourier transform of the node's departure from rest, mV s, with the peak at time zero."""
    time_s = (np.arange(spike.voltage_mv.size) - spike.peak_index) * spike.dt_s
    turn = np.exp(-2j * np.pi * np.outer(frequency_hz, time_s))
    return np.asarray(turn @ (spike.voltage_mv - RESTING_MV) * spike.dt_s)


def anti_alias(
    frequency_hz: NDArray[np.float64], rate_hz: float, corner_hz: float | None = None
) -> NDArray[np.float64]:
    """Gain of the front-end's filter: one, a raised cosine through one half at the corner, zero from rate / 2 on."""
    corner = CORNER_PER_RATE * rate_hz if corner_hz is None else corner_hz
    if not 0 < corner < rate_hz / 2:
        raise NervehandError(
            f"anti-alias corner is {corner} Hz at {rate_hz} Hz: give a frequency between 0 and half the rate"
        )
    half_width = min(rate_hz / 2 - corner, corner)
    x = np.clip((frequency_hz - corner) / half_width, -1.0, 1.0)
    return np.asarray(0.5 - 0.5 * np.sin(0.5 * np.pi * x))


def _positive(value: ArrayLike, what: str, unit: str) -> NDArray[np.float64]:
    array = np.asarray(value, np.float64)
    wrong = array[~((array > 0) & np.isfinite(array))]
    if wrong.size:
        raise NervehandError(f"{what} is {wrong.flat[0]} {unit}: give a positive number")
    return array
