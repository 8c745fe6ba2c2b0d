"""What every engine has in common: the contract, the shape of a step graph, and what a saved state must fit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from firmware_bridge.errors import NervehandError

MOST_VALUES = 1 << 22
"""Of one input or output: a damaged size must not become an allocation."""


@dataclass(frozen=True, slots=True)
class StepShape:
    """What a step graph takes and gives."""

    n_features: int
    n_outputs: int
    n_gestures: int
    state_lengths: tuple[int, ...]


class Engine(Protocol):
    """Runs feature vectors through a step graph one by one; the state lives here between calls.

    A graph without an `outputs` head (a decoder of gestures alone) gives outputs of width 0.
    """

    @property
    def shape(self) -> StepShape: ...

    def reset(self) -> None:
        """Forget: every carried state becomes zero."""

    def state(self) -> tuple[NDArray[np.float32], ...]:
        """A copy of the carried state, one (1, n) array per remembering layer."""

    def restore(self, state: tuple[NDArray[np.float32], ...]) -> None:
        """Continue from a copy that `state` gave. Raises NervehandError where its shapes differ."""

    def process(self, z: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Normalised features (n, n_features) to outputs (k, n_outputs) and probabilities (k, n_gestures).

        k is n, or less where an answer is not finite, which is then the last: the state is `reset` before more.
        """

    def close(self) -> None:
        """Nothing is asked any more: end what is outside of this process."""


def step_shape(inputs: dict[str, list[int]], outputs: dict[str, list[int]]) -> StepShape:
    """The shape of a step graph from the names and sizes of its inputs and outputs, dynamic sizes given as -1.

    Raises NervehandError where they are not those of a step graph.
    """
    states = [f"state_{i}" for i in range(len(inputs) - 1)]
    expected_outputs = {"probabilities", *(f"{name}_next" for name in states)}
    if set(inputs) != {"features", *states} or set(outputs) - {"outputs"} != expected_outputs:
        raise NervehandError(
            f"the graph has inputs {sorted(inputs)} and outputs {sorted(outputs)}, which is no step graph: "
            "export the decoder again"
        )
    for name in states:
        if inputs[name] != outputs[f"{name}_next"]:
            raise NervehandError(f"{name} has shape {inputs[name]} but {outputs[f'{name}_next']} afterwards")
    for name, shape in (*inputs.items(), *outputs.items()):
        if len(shape) != 2 or shape[0] != 1 or not 1 <= shape[1] <= MOST_VALUES:
            raise NervehandError(
                f"{name} has shape {shape}: a step graph has batch 1 and fixed sizes up to {MOST_VALUES}"
            )
    return StepShape(
        inputs["features"][1],
        outputs["outputs"][1] if "outputs" in outputs else 0,
        outputs["probabilities"][1],
        tuple(inputs[name][1] for name in states),
    )


def require_state(state: Sequence[NDArray[np.float32]], shape: StepShape) -> None:
    """Raises NervehandError where a saved state is not one of a decoder of this shape."""
    expected = [(1, length) for length in shape.state_lengths]
    if [part.shape for part in state] != expected:
        raise NervehandError(
            f"the saved state has shapes {[part.shape for part in state]}, the decoder carries {expected}: "
            "restore it with the bundle that it was recorded with"
        )


def first_line(error: Exception) -> str:
    """What a library says, in one line."""
    return next(iter(str(error).strip().splitlines()), type(error).__name__)
