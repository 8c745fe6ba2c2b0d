"""Step graphs: read, made a program, and run. What would be left to ONNX Runtime is read, not run."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from calibration.stepgraph import CausalConv, Dense, Gru, StepNetwork, build_step_graph, to_whole_numbers
from decoder.engines.compiled import CompiledEngine
from decoder.engines.program import MOST_ARENA, compile_program
from firmware_bridge.errors import NervehandError


def seeds() -> Iterator[bytes]:
    random = np.random.default_rng(0)

    def weights(*sizes: int) -> NDArray[np.float32]:
        return random.normal(0, 0.3, sizes).astype(np.float32)

    heads = Dense(weights(4, 2), weights(2)), Dense(weights(4, 3), weights(3))
    for layers in (
        (Dense(weights(3, 4), weights(4), "relu"),),
        (CausalConv(weights(2, 3, 4), weights(4), "silu"),),
        (
            Dense(weights(3, 2), weights(2), "tanh"),
            Gru(weights(2, 12), weights(4, 12), weights(12), weights(12)),
        ),
    ):
        network = StepNetwork(layers, *heads)
        yield build_step_graph(network)
        yield build_step_graph(to_whole_numbers(StepNetwork(layers, None, heads[1])))


def check(data: bytes) -> None:
    try:
        program = compile_program(data)
    except NervehandError:
        return
    assert program.n_arena <= MOST_ARENA
    engine = CompiledEngine(program)
    z = np.linspace(-1, 1, 3 * program.shape.n_features, dtype=np.float32).reshape(3, -1)
    outputs, probabilities = engine.process(z)
    assert outputs.shape[1] == program.shape.n_outputs
    assert probabilities.shape[1] == program.shape.n_gestures
    engine.restore(engine.state())
