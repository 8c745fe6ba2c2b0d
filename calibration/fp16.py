"""A step graph in half precision: weights, matrix products and activations in float16, the carried state in float32.

What a step gets and gives stays float32, so that it takes the place of the float32 graph anywhere. A float16 weight is
half to fetch, which is what a step waits for; what adds up from hop to hop (the state) is not rounded to it.
"""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from calibration.stepgraph import IR_VERSION, OPSET, TENSORRT_8_2_OPERATORS
from decoder.engines.graph import read_step_graph
from firmware_bridge.errors import NervehandError

FP16_OPERATORS = TENSORRT_8_2_OPERATORS | {"Cast"}
"""onnx-tensorrt, release/8.2-GA, docs/operators.md: Cast between FLOAT, FLOAT16, INT32, INT8 and BOOL."""
_ALWAYS_HALF = frozenset({"Gemm", "MatMul", "Relu", "Sigmoid", "Tanh"})
_ALWAYS_FULL = frozenset({"Softmax", "ReduceMean", "Sqrt", "Div"})
LARGEST = float(np.finfo(np.float16).max)


def require_tensorrt_8_2(step_graph: bytes) -> None:
    """NervehandError unless the graph is one that TensorRT 8.2's parser should take, as far as its documents tell.

    Opset 13, IR 8, one file, fixed shapes, known operators, and matrices and splits that are constants of the graph.
    """
    read_step_graph(step_graph)  # one file, fixed sizes, batch 1
    model = onnx.load_model_from_string(step_graph)
    opsets = {o.domain: o.version for o in model.opset_import}
    if opsets != {"": OPSET} or model.ir_version != IR_VERSION:
        raise NervehandError(
            f"the step graph has opset {opsets} and IR {model.ir_version}, for TensorRT 8.2 it should be {OPSET} and "
            f"{IR_VERSION}: fit the decoder again"
        )
    constants = {t.name for t in model.graph.initializer}
    for node in model.graph.node:
        _require_operator(node)
        first = {"Gemm": 1, "Slice": 1, "Split": 1}.get(node.op_type)
        if first is not None and not constants.issuperset(node.input[first:]):
            raise NervehandError(
                f"a {node.op_type} of the step graph has computed parameters, which TensorRT 8.2 does not take: "
                "fit the decoder again"
            )


def _require_operator(node: onnx.NodeProto) -> None:
    if node.op_type not in FP16_OPERATORS or node.domain not in ("", "ai.onnx"):
        raise NervehandError(
            f"the step graph holds {node.op_type}, which TensorRT 8.2 may not know: fit the decoder again"
        )


def to_fp16(step_graph: bytes) -> bytes:
    """The graph with float16 weights and arithmetic: opset 13, IR 8, one file, the same inputs and outputs.

    Matrix products and activations are float16. Softmax is float32, and so is whatever else has a float32 input, as the
    graph's own inputs are: the state's sums. Casts stand between. NervehandError where a weight is larger than any
    float16, or an operator is none that TensorRT 8.2 has.
    """
    read_step_graph(step_graph)  # it may come from anywhere
    model = onnx.load_model_from_string(step_graph)
    return _Converter(model.graph).converted()


class _Converter:
    """Walks the nodes in order; each value has the type that it was computed in, and casts where another is needed."""

    def __init__(self, graph: onnx.GraphProto) -> None:
        self._graph = graph
        self._weights = {t.name: t for t in graph.initializer if t.data_type == TensorProto.FLOAT and t.dims}
        self._is_half = {value.name: False for value in graph.input}
        self._nodes: list[onnx.NodeProto] = []
        self._constants = [t for t in graph.initializer if t.name not in self._weights]
        self._cast: dict[tuple[str, bool], str] = {}

    def converted(self) -> bytes:
        for node in self._graph.node:
            self._add(node)
        for value in self._graph.output:
            if self._is_half[value.name]:
                self._widen_output(value.name)
        graph = helper.make_graph(
            self._nodes, "nervehand_step_fp16", self._graph.input, self._graph.output, self._constants
        )
        model = helper.make_model(
            graph,
            opset_imports=[helper.make_opsetid("", OPSET)],
            ir_version=IR_VERSION,
            producer_name="nervehand",
        )
        onnx.checker.check_model(model)  # not in full, as decoder/engines/graph.py says why
        return bytes(model.SerializeToString(deterministic=True))

    def _add(self, node: onnx.NodeProto) -> None:
        _require_operator(node)
        values = [n for n in node.input if n in self._is_half]
        half = node.op_type in _ALWAYS_HALF or (
            node.op_type not in _ALWAYS_FULL and all(self._is_half[n] for n in values)
        )
        made = onnx.NodeProto()
        made.CopyFrom(node)
        for i, name in enumerate(node.input):
            if name in self._weights:
                made.input[i] = self._weight(name, half)
            elif name in self._is_half:
                made.input[i] = self._as(name, half)
        self._nodes.append(made)
        for name in node.output:
            self._is_half[name] = half

    def _as(self, name: str, half: bool) -> str:
        """The value in the wanted type."""
        if self._is_half[name] == half:
            return name
        key = name, half
        if key not in self._cast:
            self._cast[key] = f"{name}_{'float16' if half else 'float32'}"
            self._nodes.append(_cast(name, self._cast[key], half))
        return self._cast[key]

    def _weight(self, name: str, half: bool) -> str:
        """A constant in the wanted type."""
        made = name if not half else f"{name}_float16"
        if (name, half) not in self._cast:
            self._cast[name, half] = made
            values = numpy_helper.to_array(self._weights[name])
            if half:
                largest = float(np.abs(values).max(initial=0.0))
                if not largest <= LARGEST:
                    raise NervehandError(
                        f"a weight of {largest:g} is larger than a float16 ({LARGEST:g}): use step_fp32.onnx"
                    )
                self._constants.append(numpy_helper.from_array(values.astype(np.float16), made))
            else:
                self._constants.append(self._weights[name])
        return made

    def _widen_output(self, name: str) -> None:
        """The graph's output in float32 under its own name; what computed it gets another."""
        half = f"{name}_float16"
        for node in self._nodes:
            for names in (node.input, node.output):
                for i, used in enumerate(names):
                    if used == name:
                        names[i] = half
        self._nodes.append(_cast(half, name, False))


def _cast(name: str, to: str, half: bool) -> onnx.NodeProto:
    return helper.make_node("Cast", [name], [to], to=TensorProto.FLOAT16 if half else TensorProto.FLOAT)
