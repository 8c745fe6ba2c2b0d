"""From raw answers to decided intents: smooth, map to six positions, keep gestures from flickering."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from decoder.carried import Carried, packed, refill
from decoder.intent import EngineOutput, Intents
from decoder.kernels import compiled
from firmware_bridge.errors import NervehandError
from firmware_bridge.hand import N_DOF

REST = 0


@dataclass(frozen=True, slots=True)
class DecisionSettings:
    """How raw answers become decided ones.

    Outputs pass a speed-adaptive low-pass (One Euro filter; Casiez, Roussel and Vogel, CHI 2012): its cut-off
    is `min_cutoff_hz` at rest and grows by `speed_gain` Hz per (full range per second). A gesture replaces
    the current one when its smoothed probability (time constant `probability_tau_s`) leads by `hysteresis`
    and the current one has lasted `min_hold_s`; below `reject_below` it becomes rest.
    """

    min_cutoff_hz: float = 2.0
    speed_gain: float = 4.0
    speed_cutoff_hz: float = 4.0
    probability_tau_s: float = 0.04
    hysteresis: float = 0.1
    min_hold_s: float = 0.1
    reject_below: float = 0.4

    def __post_init__(self) -> None:
        for name in ("min_cutoff_hz", "speed_cutoff_hz"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value > 0):
                raise NervehandError(f"decision.{name} is {value}: give a positive number of Hz")
        for name in ("speed_gain", "probability_tau_s", "min_hold_s"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value >= 0):
                raise NervehandError(f"decision.{name} is {value}: give zero or a positive number")
        for name in ("hysteresis", "reject_below"):
            value = getattr(self, name)
            if not 0 <= value <= 1:
                raise NervehandError(f"decision.{name} is {value}: give a probability from 0 to 1")


@dataclass(frozen=True, slots=True)
class PositionMap:
    """How six positions in -1..1 follow from a decoder's answers.

    With outputs: clip(matrix @ outputs + offset), matrix (6, n_outputs), offset (6,). A decoder of gestures
    alone has n_outputs 0 and moves towards `postures` (n_gestures, 6) of the decided gesture instead.
    """

    matrix: NDArray[np.float32]
    offset: NDArray[np.float32]
    postures: NDArray[np.float32]

    def __post_init__(self) -> None:
        if (
            self.matrix.shape[0] != N_DOF
            or self.offset.shape != (N_DOF,)
            or self.postures.shape[1:] != (N_DOF,)
        ):
            raise NervehandError(
                f"the position map has shapes {self.matrix.shape}, {self.offset.shape}, "
                f"{self.postures.shape}: "
                f"give ({N_DOF}, n_outputs), ({N_DOF},) and (n_gestures, {N_DOF})"
            )


class Decision:
    """Streams EngineOutput to Intents; all its state is what the filters and the hold need.

    `output_range` (n_outputs,) is each output's span (upper - lower), by which speed is judged.
    """

    def __init__(
        self,
        settings: DecisionSettings,
        positions: PositionMap,
        output_range: NDArray[np.float32],
        hop_s: float,
    ) -> None:
        n_gestures, n_outputs = positions.postures.shape[0], positions.matrix.shape[1]
        if output_range.shape != (n_outputs,):
            raise NervehandError(
                f"{output_range.shape[0]} output ranges for {n_outputs} outputs: give one each"
            )
        self._n_outputs, self._n_gestures = n_outputs, n_gestures
        self._map = positions
        self._follows_gesture = n_outputs == 0
        # A decoder of gestures alone smooths the posture instead, whose range is 2 (-1..1).
        width = N_DOF if self._follows_gesture else n_outputs
        span = np.full(N_DOF, 2.0) if self._follows_gesture else output_range.astype(np.float64)
        self._inverse_span = 1.0 / np.maximum(span, 1e-12)
        self._hop_s = hop_s
        self._euro = np.array([settings.min_cutoff_hz, settings.speed_gain, settings.speed_cutoff_hz])
        self._keep = math.exp(-hop_s / settings.probability_tau_s) if settings.probability_tau_s else 0.0
        self._hysteresis, self._reject_below = settings.hysteresis, settings.reject_below
        self._min_hold_hops = max(1, math.ceil(settings.min_hold_s / hop_s - 1e-9))
        self._level = np.zeros((2, width))  # smoothed value and smoothed speed
        self._belief = np.zeros(n_gestures)
        self._gesture = np.zeros(3, np.int64)  # current, hops held, whether anything was seen
        self.reset()

    def reset(self) -> None:
        """Start anew: the next answer sets the filters' level, the gesture is rest."""
        self._level.fill(0.0)
        self._belief.fill(0.0)
        self._gesture[:] = (REST, self._min_hold_hops, 0)

    def carried(self) -> Carried:
        """Copies of all that it carries from hop to hop."""
        return packed(self._memory)

    def restore(self, carried: Carried) -> None:
        """Go on from there, also with other settings than those it was carried under."""
        refill(self._memory, carried)

    @property
    def _memory(self) -> dict[str, NDArray[np.generic]]:
        return {"level": self._level, "belief": self._belief, "gesture": self._gesture}

    def process(self, raw: EngineOutput) -> Intents:
        """Decide k hops. Raises NervehandError where the widths are not those of the position map."""
        k = len(raw)
        if raw.outputs.shape != (k, self._n_outputs) or raw.probabilities.shape != (k, self._n_gestures):
            raise NervehandError(
                f"the engine gave outputs {raw.outputs.shape} and probabilities {raw.probabilities.shape}: "
                f"the decoder declares {self._n_outputs} outputs and {self._n_gestures} gestures"
            )
        outputs = np.empty((k, self._n_outputs), np.float32)
        positions = np.empty((k, N_DOF), np.float32)
        gesture = np.empty(k, np.int16)
        probability = np.empty(k, np.float32)
        _decide(
            raw.outputs, raw.probabilities, self._map.matrix, self._map.offset, self._map.postures,
            self._inverse_span, self._euro, self._hop_s, self._keep, self._hysteresis, self._reject_below,
            self._min_hold_hops, self._level, self._belief, self._gesture,
            outputs, positions, gesture, probability,
        )  # fmt: skip
        return Intents(
            raw.sample_index, outputs, positions, gesture, probability, raw.warming, raw.healthy_fraction
        )


@compiled
def _decide(
    raw_outputs: NDArray[np.float32],
    raw_probabilities: NDArray[np.float32],
    matrix: NDArray[np.float32],
    offset: NDArray[np.float32],
    postures: NDArray[np.float32],
    inverse_span: NDArray[np.float64],
    euro: NDArray[np.float64],
    hop_s: float,
    keep: float,
    hysteresis: float,
    reject_below: float,
    min_hold_hops: int,
    level: NDArray[np.float64],
    belief: NDArray[np.float64],
    held: NDArray[np.int64],
    outputs: NDArray[np.float32],
    positions: NDArray[np.float32],
    gesture: NDArray[np.int16],
    probability: NDArray[np.float32],
) -> None:
    k, n_outputs = raw_outputs.shape
    n_gestures = raw_probabilities.shape[1]
    width = level.shape[1]
    min_cutoff_hz, speed_gain, speed_cutoff_hz = euro[0], euro[1], euro[2]
    two_pi_hop = 2.0 * np.pi * hop_s
    speed_share = 1.0 / (1.0 + 1.0 / (two_pi_hop * speed_cutoff_hz))
    for i in range(k):
        first = held[2] == 0
        held[2] = 1
        is_finite = np.isfinite(raw_outputs[i]).all() and np.isfinite(raw_probabilities[i]).all()
        best = 0
        for g in range(n_gestures):
            p = np.float64(raw_probabilities[i, g])
            belief[g] = p if first else p + keep * (belief[g] - p)
            if belief[g] > belief[best]:
                best = g
        current = held[0]
        if held[1] >= min_hold_hops:
            if belief[best] < reject_below:
                best = REST
            elif belief[best] < belief[current] + hysteresis and belief[current] >= reject_below:
                best = current
        else:
            best = current
        held[1] = held[1] + 1 if best == current else 1
        held[0] = best
        gesture[i] = best
        probability[i] = belief[best]
        for j in range(width):
            target = np.float64(raw_outputs[i, j]) if n_outputs else np.float64(postures[best, j])
            if first:
                level[0, j] = target
                level[1, j] = 0.0
            speed = (target - level[0, j]) * inverse_span[j] / hop_s
            level[1, j] += speed_share * (speed - level[1, j])
            cutoff_hz = min_cutoff_hz + speed_gain * abs(level[1, j])
            level[0, j] += (target - level[0, j]) / (1.0 + 1.0 / (two_pi_hop * cutoff_hz))
        for j in range(n_outputs):
            outputs[i, j] = level[0, j]
        for d in range(N_DOF):
            value = np.float64(offset[d]) if n_outputs else level[0, d]
            for j in range(n_outputs):
                value += np.float64(matrix[d, j]) * level[0, j]
            if value > 1.0:
                value = 1.0
            elif value < -1.0:
                value = -1.0
            positions[i, d] = value if is_finite else np.nan  # on purpose: the gate must see it
