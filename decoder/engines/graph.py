"""An ONNX file as a step graph: checked, its constants at hand. The bytes may come from anywhere."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx
from google.protobuf.message import DecodeError
from numpy.typing import NDArray
from onnx import numpy_helper

from decoder.engine import StepShape, first_line, step_shape
from firmware_bridge.errors import NervehandError


@dataclass(frozen=True, slots=True)
class StepGraph:
    """What a step graph takes and gives, its nodes in order, and its constants by name."""

    shape: StepShape
    opset: int
    nodes: tuple[onnx.NodeProto, ...]
    weights: dict[str, NDArray[np.float32]]
    integers: dict[str, NDArray[np.int64]]


def read_step_graph(step_graph: bytes) -> StepGraph:
    """Raises NervehandError if the bytes are not a valid ONNX file, complete in itself, of a step graph's shape."""
    try:
        model = onnx.load_model_from_string(step_graph)
        constants = {tensor.name: _values(tensor) for tensor in model.graph.initializer}
        _require_sizes(model.graph, constants)
        # Names, operators and their numbers of inputs. Not the shapes: the inference behind a full check can abort the
        # whole process on a damaged one, and whoever runs the graph computes them anyway.
        onnx.checker.check_model(model)
        shape = step_shape(_sizes(list(model.graph.input)), _sizes(list(model.graph.output)))
    except NervehandError:
        raise
    except DecodeError as error:
        raise NervehandError(
            "the step graph cannot be loaded (no ONNX file): export the decoder again"
        ) from error
    except Exception as error:
        # The checker's errors share no base but Exception, and damage can surface as any other.
        raise NervehandError(
            f"the step graph cannot be loaded ({first_line(error)}): export the decoder again"
        ) from error
    return StepGraph(
        shape,
        max((o.version for o in model.opset_import if o.domain in ("", "ai.onnx")), default=0),
        tuple(model.graph.node),
        {name: v.astype(np.float32) for name, v in constants.items() if v.dtype == np.float32},
        {name: v.astype(np.int64) for name, v in constants.items() if v.dtype == np.int64},
    )


def _values(tensor: onnx.TensorProto) -> NDArray[np.generic]:
    if tensor.data_location == onnx.TensorProto.EXTERNAL:
        raise NervehandError(
            f"{tensor.name} of the step graph lies in another file: export the decoder again"
        )
    return numpy_helper.to_array(tensor)


def _require_sizes(graph: onnx.GraphProto, constants: dict[str, NDArray[np.generic]]) -> None:
    """No part of a Split and no declared dimension is negative: ONNX Runtime, too, aborts on these."""
    parts = [
        constants[n.input[1]]
        for n in graph.node
        if n.op_type == "Split" and set(n.input[1:]) & set(constants)
    ]
    declared = [d.dim_value for v in graph.value_info for d in v.type.tensor_type.shape.dim]
    if any((np.asarray(part, np.float64) < 0).any() for part in parts) or min(declared, default=0) < 0:
        raise NervehandError("a size in the step graph is negative: export the decoder again")


def _sizes(values: list[onnx.ValueInfoProto]) -> dict[str, list[int]]:
    """The shape of each value by its name, -1 for a size that is not fixed."""
    sizes: dict[str, list[int]] = {}
    for value in values:
        tensor = value.type.tensor_type
        if value.name in sizes or tensor.elem_type != onnx.TensorProto.FLOAT:
            raise NervehandError(
                f"{value.name} of the step graph is not one float32 value: export the decoder again"
            )
        sizes[value.name] = [d.dim_value if d.HasField("dim_value") else -1 for d in tensor.shape.dim]
    return sizes
