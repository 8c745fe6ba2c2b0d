"""A step graph compiled: one call into machine code for any number of hops."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from decoder.engine import StepShape, require_state
from decoder.engines._step_kernel import run_steps
from decoder.engines.program import Place, StepProgram


class CompiledEngine:
    """An Engine. The first call on a machine compiles for some seconds; the machine code is then kept on disk."""

    def __init__(self, program: StepProgram) -> None:
        self._program = program
        self._arena = np.zeros(program.n_arena, np.float32)

    @property
    def shape(self) -> StepShape:
        return self._program.shape

    def reset(self) -> None:
        for place in self._program.states:
            self._at(place).fill(0.0)

    def state(self) -> tuple[NDArray[np.float32], ...]:
        return tuple(self._at(place).copy()[None] for place in self._program.states)

    def restore(self, state: tuple[NDArray[np.float32], ...]) -> None:
        require_state(state, self.shape)
        for place, saved in zip(self._program.states, state, strict=True):
            self._at(place)[:] = saved[0]

    def close(self) -> None:
        """All of it is in this process."""

    def process(self, z: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        program, shape = self._program, self.shape
        if z.ndim != 2 or z.shape[1] != shape.n_features:
            raise ValueError(
                f"feature vectors of shape {z.shape} for a step graph of {shape.n_features} features"
            )
        outputs = np.empty((len(z), shape.n_outputs), np.float32)
        probabilities = np.empty((len(z), shape.n_gestures), np.float32)
        k = run_steps(
            program.operations, program.exact, program.small, self._arena,
            program.features.start, program.outputs.start, program.probabilities.start,
            z, outputs, probabilities,
        )  # fmt: skip
        return outputs[:k], probabilities[:k]

    def _at(self, place: Place) -> NDArray[np.float32]:
        return self._arena[place.start : place.start + place.length]
