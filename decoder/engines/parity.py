"""Whether two engines give the same answers: both run the same hops, each carrying its own state."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from decoder.engine import Engine
from firmware_bridge.errors import NervehandError

FP32_BOUND = 1e-5
"""Between engines that compute in float32: what processors may differ by too (shared rule of all bits)."""
FP16_BOUND = 0.03
"""Of an output in half-ranges and of a probability, where weights and products are float16.

1.5 % of the range that an output had in training, an eighth of the band of rest (0.25 in the definitions of scores). In
the worst case, products summed in float16 term by term, the demo's decoder comes to half of it; with sums in float32,
to a tenth (docs/jetson.md).
"""
_BUSY = 2.5
_CORRELATION = 0.9


@dataclass(frozen=True, slots=True)
class Parity:
    """Largest differences over all hops, and the share of hops whose most probable gesture differs.

    `outputs` is in units of half of an output's range: of a position, which is -1 to 1, the difference itself.
    """

    hops: int
    outputs: float
    probabilities: float
    gestures_differ: float

    @property
    def largest(self) -> float:
        return max(self.outputs, self.probabilities)


def compare(
    reference: Engine, other: Engine, z: NDArray[np.float32], half_ranges: NDArray[np.float32] | None = None
) -> Parity:
    """Both engines from rest over features (n, f).

    Differences of outputs, which have units of their own, are divided by `half_ranges` (o,), 1 for a position; where
    they are not given, by half of what the reference's answers span, at least 1. NervehandError where the engines'
    shapes differ or an answer is not finite.
    """
    if reference.shape != other.shape:
        raise NervehandError(
            f"one engine runs {other.shape}, the other {reference.shape}: use one decoder's files"
        )
    answers = []
    for engine in (reference, other):
        engine.reset()
        outputs, probabilities = engine.process(z)
        if len(outputs) != len(z) or not (np.isfinite(outputs).all() and np.isfinite(probabilities).all()):
            raise NervehandError(f"the answer to hop {len(outputs)} is not finite: export the decoder again")
        answers.append((outputs, probabilities))
        engine.reset()
    (a, p), (b, q) = answers
    if half_ranges is None:
        half_ranges = (
            np.maximum(np.ptp(a, axis=0) / 2, np.float32(1)) if len(a) else np.ones(a.shape[1], np.float32)
        )
    return Parity(
        len(z),
        float((np.abs(a - b) / half_ranges).max(initial=0.0)),
        float(np.abs(p - q).max(initial=0.0)),
        float((p.argmax(1) != q.argmax(1)).mean()) if len(z) else 0.0,
    )


def simulated_features(n_hops: int, n_features: int, clip: float, seed: int) -> NDArray[np.float32]:
    """Normalised features (n_hops, n_features) as training leaves them: mean 0, deviation about 1, within +-clip.

    Neighbouring hops share most of their window, so each column is correlated noise; movements come and go, and lift
    columns to several deviations, some of them to the clip.
    """
    rng = np.random.default_rng(seed)
    noise = rng.standard_normal((n_hops, n_features), np.float32)
    fresh = np.float32(np.sqrt(1 - _CORRELATION**2))
    for i in range(1, n_hops):
        noise[i] = np.float32(_CORRELATION) * noise[i - 1] + fresh * noise[i]
    n_moves = -(-n_hops // 50)
    pattern = _BUSY * rng.standard_normal((n_moves, n_features), np.float32)
    pattern[rng.random(n_moves) < 0.5] = 0.0  # rest
    lifted = np.repeat(pattern, 50, axis=0)[:n_hops]
    return np.clip(noise + lifted, -clip, clip)


def half_ranges(lower: list[float], upper: list[float]) -> NDArray[np.float32]:
    """Half of each output's range (o,), 1 for one that has none."""
    halves = (np.asarray(upper, np.float32) - np.asarray(lower, np.float32)) / 2
    return np.where(halves > 0, halves, np.float32(1))
