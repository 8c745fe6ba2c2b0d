"""What the sheath of a fascicle adds to the near field of its axons, equally for all contacts in the fascicle.

The fascicle is a cylinder of endoneurium of radius b in a thin resistive sheath, the perineurium, with the tissue
outside at zero. Current that cannot leave through the sheath flows along the fascicle and raises the potential over
its whole cross-section. For a current of wavenumber k on the axis, Laplace's equation with the sheath's condition at
b gives, beyond the potential K0(k s r) of the unbounded medium (contact.py), the addition

    (x K1(x) - B K0(x)) / (x I1(x) + B I0(x)) / (2 pi s_across),   x = k s b,  s^2 = s_along / s_across,
    B = b / (s_across R),

with R the resistance of a unit area of sheath, I and K the modified Bessel functions. For small x it is the leaky
cable, 1 / (s_along pi b^2 (k^2 + 1 / L^2)), less what the unbounded medium has already. Terms that tell one place of
the cross-section from another are left out: small at a spike's wavelengths, which are centimetres.

This, not the field close to the axon, makes most of an intrafascicular unit's 10 to 50 uV (Malagodi, Horch and
Schoenberg, Ann Biomed Eng 1989; Lefurge et al. 1991), which need a wide band: 10 kHz leave 5 to 10 of them.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

from firmware_bridge.nerve.axon import AXIAL_NS_PER_UM, TravellingSpike, node_spacing_um
from firmware_bridge.nerve.contact import (
    ACROSS_S_PER_M,
    ALONG_S_PER_M,
    CONTACT_LENGTH_UM,
    ContactWaveforms,
    passage_spectrum,
    sampled,
)

PERINEURIUM_OHM_CM2 = 478.0
"""Weerasuriya, Spangler, Rapoport and Taylor, Biophys J 46:167, 1984 (frog sciatic; used for mammals since Frijns,
Mooij and ten Kate 1994)."""


def sheath_waveforms(
    spike: TravellingSpike,
    diameter_um: ArrayLike,
    fascicle_um: ArrayLike,
    rate_hz: float,
    *,
    n_phases: int,
    contact_length_um: float = CONTACT_LENGTH_UM,
    corner_hz: float | None = None,
) -> ContactWaveforms:
    """Waveforms (n, n_phases, n_samples) for axons of these diameters in fascicles of these widths, (n,) both,
    aligned with those of `axon_waveforms`, to which they add at every contact of the fascicle."""
    diameter = np.asarray(diameter_um, np.float64)[..., None]
    radius_m = 0.5e-6 * np.asarray(fascicle_um, np.float64)[..., None]
    frequency_hz, passage = passage_spectrum(spike, rate_hz, corner_hz)
    turn = 2 * np.pi * frequency_hz * spike.node_delay_s  # phase from node to node
    spacing_m = node_spacing_um(1.0) * 1e-6 * diameter
    k = turn / spacing_m
    field = np.sinc(k * (0.5e-6 * contact_length_um / math.pi)) * _sheath_ohm_m(
        k, radius_m
    )  # mean over the contact
    current_ua_per_m = 1e-6 * AXIAL_NS_PER_UM * diameter * (2 * np.cos(turn) - 2) / spacing_m  # for each mV
    return sampled(np.asarray(current_ua_per_m * field * passage), rate_hz, n_phases)


def _sheath_ohm_m(k: NDArray[np.float64], radius_m: NDArray[np.float64]) -> NDArray[np.float64]:
    """The addition: volts for a current of one ampere per metre."""
    x = np.maximum(k * radius_m * math.sqrt(ALONG_S_PER_M / ACROSS_S_PER_M), 1e-4)
    biot = radius_m / (ACROSS_S_PER_M * PERINEURIUM_OHM_CM2 * 1e-4)
    # The Bessel functions by the trapezoidal rule on their integrals (Abramowitz and Stegun 9.6.16, 9.6.19, 9.6.24),
    # which converges geometrically there.
    cosine = np.cos((np.arange(24) + 0.5) * (math.pi / 24))
    of_i = np.exp(x[..., None] * cosine)
    i0, i1 = of_i.mean(axis=-1), of_i @ cosine / 24
    cosh = np.cosh(0.2 * np.arange(60))
    weight = np.where(cosh == 1, 0.1, 0.2)
    of_k = np.exp(-x[..., None] * cosh)
    k0, k1 = of_k @ weight, of_k @ (weight * cosh)
    addition = (x * k1 - biot * k0) / (x * i1 + biot * i0)
    return np.asarray(addition / (2 * math.pi * ACROSS_S_PER_M))
