"""One action potential of a myelinated motor axon: membrane currents at the nodes, a passive cable between.

The membrane is the CRRSS model of the mammalian node at 37 C: a sodium current m^2 h and a leak, no potassium
current (Chiu, Ritchie, Rogart and Stagg, J. Physiol. 292:149, 1979, rabbit; brought to 37 C and into a cable by
Sweeney, Mortimer and Durand, Proc. 9th IEEE EMBS, p. 1577, 1987; its equations in departures from rest as Rattay,
"Electrical Nerve Stimulation", Springer 1990, prints them). Myelin is a perfect insulator, as Sweeney has it: all
membrane current flows at the nodes, and the impulse leaps.

Every node has the same length, and its distance to the next is proportional to the fibre's diameter D. So the
axial conductance between nodes and the membrane area of a node are both proportional to D, and D falls out of the
equations: the voltage of a node in time, and the delay from node to node, are the same for every fibre; its
currents and its conduction velocity are proportional to D. This holds exactly, so the cable is solved once.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from firmware_bridge.errors import NervehandError

# The membrane, per area; voltages are departures from rest (CRRSS; Sweeney et al. 1987, Rattay 1990).
SODIUM_MS_PER_CM2 = 1445.0
LEAK_MS_PER_CM2 = 128.0
SODIUM_REVERSAL_MV = 115.0
LEAK_REVERSAL_MV = -0.01
CAPACITANCE_UF_PER_CM2 = 2.5

RESTING_MV = -70.0
"""Where rest lies. A label: rate constants and fields know departures from rest only. Sweeney puts rest at -80 mV,
which puts the reversal of sodium at +35 mV, low for a mammal. Here it is the middle of the -60 to -80 mV measured
within myelinated axons (lizard and frog; Barrett and Barrett, J. Physiol. 323:117, 1982), with sodium at +45 mV."""

# The cable, as Sweeney et al. 1987 have it (and PyFibers, which carries their fibre for NEURON).
AXON_PER_FIBRE_DIAMETER = (
    0.6  # of the axon within the myelin; 0.6, Gillespie and Stein, Brain Res. 259:41, 1983
)
SPACING_PER_FIBRE_DIAMETER = 100.0  # node to node; from Hursh 1939, as McNeal 1976 reads it
NODE_LENGTH_UM = 1.5  # between 1.0 (McIntyre et al. 2002) and 2.5 (McNeal 1976)
AXOPLASM_OHM_CM = 54.7  # at 37 C; twice that in the frog at 20 C (McNeal 1976)

NODE_AREA_CM2_PER_UM = math.pi * AXON_PER_FIBRE_DIAMETER * NODE_LENGTH_UM * 1e-8
"""Membrane area of one node, for each micrometre of fibre diameter."""
AXIAL_NS_PER_UM = (
    1e5 * math.pi * AXON_PER_FIBRE_DIAMETER**2 / (4 * AXOPLASM_OHM_CM * SPACING_PER_FIBRE_DIAMETER)
)
"""Conductance of the axoplasm from node to node in nanosiemens, for each micrometre of fibre diameter."""

_NODES = 90
_RECORDED, _FARTHER = 40, 70  # the travelling wave is taken at one, its delay between both, far from the ends
_STEP_S = (
    2.5e-6  # Runge-Kutta of fourth order; halving it moves velocity by < 0.01 % and voltage by < 0.02 mV
)
_DURATION_S = 1.7e-3
_BEFORE_S, _AFTER_S = 0.4e-3, 0.75e-3  # kept around the peak; the voltage at both ends is < 0.01 % of it

_STIMULUS_S = 50e-6
_STIMULUS_NA_PER_UM = 0.6  # more than five times what the resting end node needs


@dataclass(frozen=True, slots=True)
class TravellingSpike:
    """An action potential as every node carries it, each `node_delay_s` after its neighbour.

    voltage_mv (t,): the node's membrane voltage, every `dt_s`. current_na_per_um (t,): the current that leaves the
    axon there through the membrane, nanoampere for each micrometre of fibre diameter; outward is positive.
    """

    dt_s: float
    voltage_mv: NDArray[np.float64]
    current_na_per_um: NDArray[np.float64]
    node_delay_s: float

    @property
    def peak_index(self) -> int:
        """The sample of the highest voltage: the moment the spike is said to be at the node."""
        return int(np.argmax(self.voltage_mv))


@lru_cache(maxsize=1)
def solve_spike() -> TravellingSpike:
    """The spike, solved once per process. The arrays are read-only.

    Rounded far below any effect (1e-6 mV), so that a processor whose exponential differs in its last bit
    nevertheless comes to the same numbers.
    """
    departure = propagate((0.0,), _NODES, _STEP_S, _DURATION_S)
    node = departure[:, _RECORDED]
    curvature = departure[:, _RECORDED - 1] - 2 * node + departure[:, _RECORDED + 1]
    peak = int(np.argmax(node))
    kept = slice(peak - round(_BEFORE_S / _STEP_S), peak + round(_AFTER_S / _STEP_S) + 1)
    voltage = np.round(RESTING_MV + node[kept], 6)
    current = np.round(1e-3 * AXIAL_NS_PER_UM * curvature[kept], 9)
    delay_s = _rise_s(departure[:, _FARTHER]) - _rise_s(node)
    voltage.flags.writeable = current.flags.writeable = False
    return TravellingSpike(_STEP_S, voltage, current, round(delay_s / (_FARTHER - _RECORDED), 12))


def conduction_velocity_m_per_s(diameter_um: float) -> float:
    """Of a fibre of this outer diameter: proportional to it (Hursh 1939; Boyd and Kalu 1979)."""
    if not 0 < diameter_um < math.inf:
        raise NervehandError(f"fibre diameter is {diameter_um} um: give a positive number")
    return node_spacing_um(diameter_um) * 1e-6 / solve_spike().node_delay_s


def node_spacing_um(diameter_um: float) -> float:
    """Distance from node to node."""
    return SPACING_PER_FIBRE_DIAMETER * diameter_um


def propagate(
    stimuli_s: Sequence[float], n_nodes: int, step_s: float, duration_s: float, strength: float = 1.0
) -> NDArray[np.float64]:
    """Solve the cable: the first node is stimulated at each of `stimuli_s`; both ends are sealed.

    Returns the departure from rest in mV, (steps + 1, n_nodes). The current is 0.6 nA per um of diameter times
    `strength`, for 50 us. Classical Runge-Kutta: steps above 4 us are refused, as no longer stable.
    """
    if not 0 < step_s <= 4e-6:
        raise NervehandError(f"a step of {step_s} s: give more than 0 and at most 4e-6")
    if n_nodes < 2:
        raise NervehandError(f"a cable of {n_nodes} nodes: give at least two")
    n_steps, step_ms = round(duration_s / step_s), step_s * 1e3
    density = strength * _STIMULUS_NA_PER_UM * 1e-3 / NODE_AREA_CM2_PER_UM  # uA/cm2
    state = np.zeros((3, n_nodes))
    state[1:] = _resting_gates()[:, None]
    out = np.empty((n_steps + 1, n_nodes))
    out[0] = state[0]
    for i in range(n_steps):
        # The current is held over a step, so its edges fall on steps and the order of the method is kept.
        injected = density if any(0 <= i * step_s - s < _STIMULUS_S for s in stimuli_s) else 0.0
        k1 = _derivative(state, injected)
        k2 = _derivative(state + (step_ms / 2) * k1, injected)
        k3 = _derivative(state + (step_ms / 2) * k2, injected)
        k4 = _derivative(state + step_ms * k3, injected)
        state = state + (step_ms / 6) * (k1 + 2 * (k2 + k3) + k4)
        out[i + 1] = state[0]
    return out


# Exponents of the four rate constants, each linear in V: slope and offset in 1/mV and 1.
#   alpha_m = (97 + 0.363 V) / (1 + exp((31 - V) / 5.3))        beta_m = alpha_m exp((23.8 - V) / 4.17)
#   beta_h = 15.6 / (1 + exp((24 - V) / 10))                    alpha_h = beta_h exp((5.5 - V) / 5)      [1/ms]
_SLOPES = np.array([[-1 / 5.3], [-1 / 4.17], [-1 / 10], [-1 / 5]])
_OFFSETS = np.array([[31 / 5.3], [23.8 / 4.17], [24 / 10], [5.5 / 5]])
_AXIAL_MS_PER_CM2 = AXIAL_NS_PER_UM * 1e-6 / NODE_AREA_CM2_PER_UM


def _derivative(state: NDArray[np.float64], injected_ua_per_cm2: float) -> NDArray[np.float64]:
    """Per millisecond, of (voltage, m, h) at every node, (3, nodes)."""
    v, m, h = state
    exponential = np.exp(_SLOPES * v + _OFFSETS)
    alpha_m = (97 + 0.363 * v) / (1 + exponential[0])
    beta_h = 15.6 / (1 + exponential[2])
    axial = np.zeros_like(v)
    step = np.diff(v)
    axial[:-1] += step
    axial[1:] -= step
    current = _AXIAL_MS_PER_CM2 * axial
    current -= (SODIUM_MS_PER_CM2 * m * m * h) * (v - SODIUM_REVERSAL_MV)
    current -= LEAK_MS_PER_CM2 * (v - LEAK_REVERSAL_MV)
    current[0] += injected_ua_per_cm2
    out = np.empty_like(state)
    out[0] = current / CAPACITANCE_UF_PER_CM2
    out[1] = alpha_m * (1 - m * (1 + exponential[1]))
    out[2] = beta_h * (exponential[3] * (1 - h) - h)
    return out


def _resting_gates() -> NDArray[np.float64]:
    """m and h in their steady state at rest, (2,)."""
    return np.array([1 / (1 + math.exp(23.8 / 4.17)), 1 / (1 + math.exp(-5.5 / 5))])


def _rise_s(departure: NDArray[np.float64]) -> float:
    """When the voltage first crosses half of its peak, between samples by a straight line."""
    half = departure.max() / 2
    after = int(np.argmax(departure > half))
    low, high = departure[after - 1], departure[after]
    return float(after - 1 + (half - low) / (high - low)) * _STEP_S
