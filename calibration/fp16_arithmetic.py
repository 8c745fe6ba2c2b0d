"""A float16 step graph computed as a GPU does it, operation by operation: every float16 result is rounded to float16.

ONNX Runtime on a processor without half-precision units computes such a graph in float32 between its casts, which says
little of a GPU. Here each node's float16 result is rounded; a matrix product is summed in float32, or in float16 term
by term, which is the worst that a GPU without wider sums (a Nano's half-precision units) would do to it.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from decoder.engine import StepShape, require_state
from decoder.engines.graph import read_step_graph
from decoder.kernels import compiled
from firmware_bridge.errors import NervehandError

Sums = Literal["float32", "float16"]
_Values = dict[str, NDArray[np.float32]]
_ROUND, _KEPT = np.uint32(0x0FFF), np.uint32(0xFFFFE000)


@compiled
def _half_gemm(x: NDArray[np.float32], weight: NDArray[np.float32], y: NDArray[np.float32]) -> None:
    """y (m,) += x (n,) @ weight (n, m), rounded to 11 significant bits after each term.

    Products of two float16 are exact in float32. Exponents stay float32's: a sum is neither infinite above 65504 nor
    denormal below 6e-5, which the caller's rounding of the result shows.
    """
    bits = y.view(np.uint32)
    one, shift = np.uint32(1), np.uint32(13)
    for i in range(len(x)):
        a = x[i]
        for j in range(len(y)):
            y[j] += a * weight[i, j]
            bits[j] = (bits[j] + _ROUND + ((bits[j] >> shift) & one)) & _KEPT  # to nearest, ties to even


class HalfArithmeticEngine:
    """An Engine for the graphs that `calibration.fp16.to_fp16` makes; slow, for measuring what float16 costs.

    NervehandError where the graph holds an operator that those do not.
    """

    def __init__(self, step_graph: bytes, sums: Sums) -> None:
        self._shape = read_step_graph(step_graph).shape
        self._sums = sums
        graph = onnx.load_model_from_string(step_graph).graph
        arrays = {t.name: numpy_helper.to_array(t) for t in graph.initializer}
        self._weights: _Values = {n: a.astype(np.float32) for n, a in arrays.items() if a.dtype != np.int64}
        self._integers = {n: a.astype(np.int64) for n, a in arrays.items() if a.dtype == np.int64}
        self._is_half = {n for n, a in arrays.items() if a.dtype == np.float16}
        self._nodes = list(graph.node)
        self._attributes = [
            {a.name: helper.get_attribute_value(a) for a in node.attribute} for node in self._nodes
        ]
        self._states: _Values = {}
        self.reset()

    @property
    def shape(self) -> StepShape:
        return self._shape

    def close(self) -> None:
        """All of it is in this process."""

    def reset(self) -> None:
        self._states = {
            f"state_{i}": np.zeros((1, n), np.float32) for i, n in enumerate(self._shape.state_lengths)
        }

    def state(self) -> tuple[NDArray[np.float32], ...]:
        return tuple(part.copy() for part in self._states.values())

    def restore(self, state: tuple[NDArray[np.float32], ...]) -> None:
        require_state(state, self._shape)
        self._states = {f"state_{i}": part.copy() for i, part in enumerate(state)}

    def process(self, z: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        outputs = np.empty((len(z), self._shape.n_outputs), np.float32)
        probabilities = np.empty((len(z), self._shape.n_gestures), np.float32)
        for k in range(len(z)):
            values = self._step(z[k : k + 1])
            self._states = {name: values[f"{name}_next"] for name in self._states}
            probabilities[k] = values["probabilities"][0]
            if self._shape.n_outputs:
                outputs[k] = values["outputs"][0]
            if not (np.isfinite(outputs[k]).all() and np.isfinite(probabilities[k]).all()):
                return outputs[: k + 1], probabilities[: k + 1]
        return outputs, probabilities

    def _step(self, features: NDArray[np.float32]) -> _Values:
        values = {**self._states, "features": features}
        is_half = set(self._is_half)
        for node, attributes in zip(self._nodes, self._attributes, strict=True):
            inputs = [
                values[n] if n in values else self._weights[n] for n in node.input if n not in self._integers
            ]
            half = (
                attributes["to"] == TensorProto.FLOAT16
                if node.op_type == "Cast"
                else any(n in is_half for n in node.input)
            )
            for name, made in zip(node.output, self._made(node, inputs, half), strict=True):
                values[name] = made.astype(np.float16).astype(np.float32) if half else made
                if half:
                    is_half.add(name)
        return values

    def _made(
        self, node: onnx.NodeProto, x: list[NDArray[np.float32]], half: bool
    ) -> list[NDArray[np.float32]]:
        integers = [self._integers[n] for n in node.input if n in self._integers]
        match node.op_type:
            case "Gemm" if half and self._sums == "float16":
                y = x[2].reshape(-1).copy()
                _half_gemm(np.ascontiguousarray(x[0][0]), x[1], y)
                return [y[None]]
            case "Gemm":
                return [x[0] @ x[1] + x[2]]
            case "Cast" | "Identity":
                return [x[0]]
            case "Concat":
                return [np.concatenate(x, axis=1)]
            case "Slice":
                return [x[0][:, int(integers[0][0]) : int(integers[1][0])]]
            case "Split":
                at = np.cumsum(integers[0])[:-1] if integers else len(node.output)
                return list(np.split(x[0], at, axis=1))
            case "Relu":
                return [np.maximum(x[0], np.float32(0))]
            case "Tanh":
                return [np.tanh(x[0])]
            case "Sigmoid":
                return [np.float32(1) / (np.float32(1) + np.exp(-x[0]))]
            case "Softmax":
                e = np.exp(x[0] - x[0].max())
                return [e / e.sum()]
            case "Add":
                return [x[0] + x[1]]
            case "Sub":
                return [x[0] - x[1]]
            case "Mul":
                return [x[0] * x[1]]
        raise NervehandError(
            f"the step graph holds {node.op_type}, whose float16 arithmetic is not known here"
        )
