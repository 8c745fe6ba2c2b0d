"""Step graphs: read, made a program, and run. What would be left to ONNX Runtime is read, not run."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from functools import cache

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper

from calibration.stepgraph import (
    TENSORRT_8_2_OPERATORS,
    CausalConv,
    Dense,
    Gru,
    StepNetwork,
    build_step_graph,
    to_whole_numbers,
)
from decoder.engines.compiled import CompiledEngine
from decoder.engines.program import MOST_ARENA, compile_program
from firmware_bridge.errors import NervehandError


@cache
def _graphs() -> tuple[bytes, ...]:
    random = np.random.default_rng(0)

    def weights(*sizes: int) -> NDArray[np.float32]:
        return random.normal(0, 0.3, sizes).astype(np.float32)

    heads = Dense(weights(4, 2), weights(2)), Dense(weights(4, 3), weights(3))
    made: list[bytes] = []
    for layers in (
        (Dense(weights(3, 4), weights(4), "relu"),),
        (CausalConv(weights(2, 3, 4), weights(4), "silu"),),
        (
            Dense(weights(3, 2), weights(2), "tanh"),
            Gru(weights(2, 12), weights(4, 12), weights(12), weights(12)),
        ),
    ):
        network = StepNetwork(layers, *heads)
        made += [
            build_step_graph(network),
            build_step_graph(to_whole_numbers(StepNetwork(layers, None, heads[1]))),
        ]
    return tuple(made)


def seeds() -> Iterator[bytes]:
    for number, graph in enumerate(_graphs()):
        yield b"\0" + graph
        yield bytes([1, number])
        yield bytes([1, number, 0, 1, 2, 0, 3, 2, 1, 4, 1, 0, 2, 9, 5, 0, 0, 7])


def check(data: bytes) -> None:
    """Byte 0: any bytes, or a whole graph with edits of four bytes each."""
    if len(data) < 2:
        return
    graph = data[1:] if data[0] == 0 else _edited(_graphs()[data[1] % len(_graphs())], data[2:])
    try:
        program = compile_program(graph)
    except NervehandError:
        return
    assert program.n_arena <= MOST_ARENA
    engine = CompiledEngine(program)
    z = np.linspace(-1, 1, 3 * program.shape.n_features, dtype=np.float32).reshape(3, -1)
    outputs, probabilities = engine.process(z)
    assert outputs.shape[1] == program.shape.n_outputs
    assert probabilities.shape[1] == program.shape.n_gestures
    engine.restore(engine.state())


def _edited(graph: bytes, edits: bytes) -> bytes:
    """Edits: what, in which node or tensor, and two numbers for it."""
    model = onnx.load_model_from_string(graph)
    g = model.graph
    names = [
        *(value.name for value in g.input),
        *(t.name for t in g.initializer),
        *(n.output[0] for n in g.node),
    ]
    operators = sorted(TENSORRT_8_2_OPERATORS | {"Gather", "Reshape"})
    for k in range(0, min(len(edits) - 3, 32), 4):
        what, which, a, b = edits[k : k + 4]
        node, tensor = g.node[which % len(g.node)], g.initializer[which % len(g.initializer)]
        number = (-2, -1, 0, 1, 2, 3, 2**31, 2**62)[a % 8]
        if what % 7 == 0:
            node.op_type = operators[a % len(operators)]
        elif what % 7 == 1 and node.input:
            node.input[a % len(node.input)] = names[b % len(names)]
        elif what % 7 == 2:
            node.output[0] = names[b % len(names)]
        elif what % 7 == 3:
            with suppress(ValueError):  # its size was edited before
                values = numpy_helper.to_array(tensor).copy()
                values.reshape(-1)[b % max(values.size, 1) :][:1] = number
                tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))
        elif what % 7 == 4 and tensor.dims:
            tensor.dims[b % len(tensor.dims)] = number
        elif what % 7 == 5:
            value = [*g.input, *g.output][which % (len(g.input) + len(g.output))]
            dims = value.type.tensor_type.shape.dim
            if dims:
                dims[b % len(dims)].dim_value = number
        elif what % 7 == 6 and node.attribute:
            node.attribute[b % len(node.attribute)].i = number
    return bytes(model.SerializeToString())
