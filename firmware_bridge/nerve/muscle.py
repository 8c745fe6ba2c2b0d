"""What a motor unit of a muscle nearby looks like at an electrode in the nerve: EMG crosstalk.

The unit's fibres are a line source of membrane current that travels from the endplates to both tendons in an
anisotropic volume conductor; where it starts and ends the currents balance (closed ends).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

VELOCITY_M_PER_S = 4.0  # along human muscle fibres: 3 to 5 (Andreassen and Arendt-Nielsen, J Physiol 1987)
HALF_LENGTH_MM = (
    45.0  # endplate to tendon; forearm fibres are 50 to 130 mm long (Lieber et al., J Hand Surg 1992)
)
ENDPLATE_SPREAD_MM = (
    4.0  # standard deviation (Roeleveld et al., J Electromyogr Kinesiol 1997: zones of 5 to 30 mm)
)
FIBRE_RADIUS_MM = 0.025  # 40 to 60 um wide in adults (Polgar et al., J Neurol Sci 1973)
FIBRES = 300.0  # in the largest unit (Feinstein, Lindegard, Nyman and Wohlfart, Acta Anat 1955: 100 to 1,000)
INSIDE_S_PER_M = 1.01  # fibre's inside (Andreassen and Rosenfalck, Crit Rev Bioeng 6:267, 1981)
ACROSS_S_PER_M = 0.063  # muscle, across its fibres (the same)
ALONG_OVER_ACROSS = 5.0  # anisotropy (the same: 0.33 S/m along)
_STEP_MM = 0.5
_LENGTH_S = 0.03


def motor_unit_potential(distance_mm: float, along_mm: float, rate_hz: float) -> NDArray[np.float64]:
    """Microvolts (n,) at `rate_hz` of the largest unit of a muscle, `distance_mm` beside its fibres and `along_mm`
    from its endplates; its endplates fire about 4 ms after the first sample, spread round that.

    The membrane current is the second derivative of the fibre's action potential, V(z) = 96 z^3 exp(-z) - 90 mV, z in
    mm behind its front (Rosenfalck, Acta Physiol Scand Suppl 321, 1969), times pi a^2 sigma_i; the potential of a
    current I at distance r is I / (4 pi sqrt(sigma_r sigma_z) r') with the axial distance scaled by the anisotropy.
    """
    t_s = np.arange(round(_LENGTH_S * rate_hz)) / rate_hz
    z_mm = np.arange(_STEP_MM / 2, HALF_LENGTH_MM, _STEP_MM)
    behind = VELOCITY_M_PER_S * 1e3 * t_s[:, None] - z_mm  # mm behind the front, negative ahead of it
    v = np.maximum(behind, 0.0)
    curvature = np.where(v > 0, 96.0 * np.exp(-v) * (v**3 - 6 * v**2 + 6 * v), 0.0)  # mV / mm2
    # A/mm = sigma_i pi a^2 V'': S/m * mm2 * mV/mm2 = 1e-6 A per mm of fibre... per step:
    step_na = INSIDE_S_PER_M * 1e-3 * np.pi * FIBRE_RADIUS_MM**2 * curvature * 1e-3 * 1e9 * _STEP_MM
    at_endplate = -step_na.sum(
        1
    )  # what the fibre gives, its end takes: at the endplate while the wave leaves it,
    leaving = t_s * VELOCITY_M_PER_S * 1e3 < HALF_LENGTH_MM  # at the tendon once it arrives
    potential = np.zeros(len(t_s))
    for direction in (-1.0, 1.0):
        potential += step_na @ _per_na(distance_mm, along_mm - direction * z_mm)
        potential += np.where(
            leaving,
            at_endplate * _per_na(distance_mm, np.array(along_mm)),
            at_endplate * _per_na(distance_mm, np.array(along_mm - direction * HALF_LENGTH_MM)),
        )
    spread_s = ENDPLATE_SPREAD_MM / (VELOCITY_M_PER_S * 1e3)
    taps = np.arange(-4 * spread_s, 4 * spread_s + 1e-12, 1 / rate_hz)
    kernel = np.exp(-0.5 * (taps / spread_s) ** 2)
    smooth = np.convolve(potential, kernel / kernel.sum())
    return np.asarray(FIBRES * smooth)


def _per_na(distance_mm: float, along_mm: NDArray[np.float64]) -> NDArray[np.float64]:
    """Microvolts per nanoampere at a distance across and along the fibres."""
    r_mm = np.sqrt(along_mm**2 + ALONG_OVER_ACROSS * distance_mm**2)
    return np.asarray(1e-9 / (4 * np.pi * ACROSS_S_PER_M * r_mm * 1e-3) * 1e6)
