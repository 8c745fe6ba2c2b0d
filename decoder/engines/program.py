"""An ONNX step graph as a program: operations over one array of float32, which a kernel runs in a single call.

Every value of the graph has its place in the array (the arena). What only renames or cuts a value (Identity, Slice,
Split) takes no operation: the result is a view of the same place.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx
from numpy.typing import NDArray

from decoder.engine import StepShape
from decoder.engines import _step_kernel as kernel
from decoder.engines.graph import StepGraph, read_step_graph
from firmware_bridge.errors import NervehandError

ALIGNED = 16
"""Places and weights begin at multiples of this many values: one 512-bit register, one cache line."""

LARGEST_NUMBER = 127
"""Of a weight that is a whole number of its column's step."""
MOST_ARENA = 1 << 24
"""Values of a whole graph, 64 MiB: damaged sizes must not become an allocation."""
OLDEST_OPSET, NEWEST_OPSET = 13, 24
"""Between which the operators here mean the same."""


class UnknownOperatorError(NervehandError):
    """A step graph that may be right, but holds something that a program has no operation for."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a value (1, length) lies in the arena."""

    start: int
    length: int


@dataclass(frozen=True, slots=True)
class StepProgram:
    """Operations (n, kernel.N_FIELDS) int64 in order, what they read, and where what goes in and comes out lies.

    `exact` holds float32 weights, biases and steps; `small` the weights of matrices that are whole numbers from -127 to
    127 times a step per column, which is a quarter to fetch and loses nothing. `outputs` has length 0 in a decoder of
    gestures alone.
    """

    shape: StepShape
    operations: NDArray[np.int64]
    exact: NDArray[np.float32]
    small: NDArray[np.int8]
    n_arena: int
    features: Place
    outputs: Place
    probabilities: Place
    states: tuple[Place, ...]


def compile_program(step_graph: bytes) -> StepProgram:
    """The program of a step graph.

    Raises NervehandError if the bytes are not a step graph, and UnknownOperatorError where it holds an operator, an
    attribute or a shape that a program cannot express.
    """
    program = _Compiler(read_step_graph(step_graph)).program()
    _require_inside(program)
    return program


def whole_numbers(weight: NDArray[np.float32]) -> tuple[NDArray[np.int8], NDArray[np.float32]] | None:
    """The matrix (n, m) as whole numbers (n, m) times steps (m,), bit for bit; None where it is not.

    A column's largest number is 127, as calibration.stepgraph.to_whole_numbers leaves it.
    """
    if not np.isfinite(weight).all():
        return None
    steps = np.abs(weight).max(0, initial=0.0) / np.float32(LARGEST_NUMBER)
    steps = np.where(steps > 0, steps, np.float32(1))
    numbers = np.rint(weight / steps)
    if not np.array_equal(numbers * steps, weight) or np.abs(numbers).max(initial=0.0) > LARGEST_NUMBER:
        return None
    return numbers.astype(np.int8), steps


class _Compiler:
    """Walks the nodes in order and gives each value its place."""

    def __init__(self, graph: StepGraph) -> None:
        if not OLDEST_OPSET <= graph.opset <= NEWEST_OPSET:
            raise UnknownOperatorError(f"the step graph has opset {graph.opset}, which no program knows")
        self._graph, self._shape = graph, graph.shape
        self._places: dict[str, Place] = {}
        self._operations: list[tuple[int, ...]] = []
        self._exact: list[NDArray[np.float32]] = []
        self._small: list[NDArray[np.int8]] = []
        self._n_arena = self._n_exact = self._n_small = 0
        self._places["features"] = self._new(self._shape.n_features)
        for i, length in enumerate(self._shape.state_lengths):
            self._places[f"state_{i}"] = self._new(length)

    def program(self) -> StepProgram:
        for node in self._graph.nodes:
            self._add(node)
        lengths = self._shape.state_lengths
        states = tuple(self._place(f"state_{i}", n) for i, n in enumerate(lengths))
        following = [self._apart(self._place(f"state_{i}_next", n), states) for i, n in enumerate(lengths)]
        probabilities = self._apart(self._place("probabilities", self._shape.n_gestures), states)
        n_outputs = self._shape.n_outputs
        outputs = self._apart(self._place("outputs", n_outputs), states) if n_outputs else Place(0, 0)
        for state, place in zip(states, following, strict=True):
            self._emit(kernel.COPY, state, place)
        return StepProgram(
            self._shape,
            np.array(self._operations, np.int64).reshape(-1, kernel.N_FIELDS),
            np.concatenate([np.zeros(0, np.float32), *self._exact]),
            np.concatenate([np.zeros(0, np.int8), *self._small]),
            self._n_arena,
            self._places["features"],
            outputs,
            probabilities,
            states,
        )

    def _add(self, node: onnx.NodeProto) -> None:
        attributes = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
        match node.op_type if node.domain in ("", "ai.onnx") else f"{node.domain}.{node.op_type}":
            case "Gemm":
                self._gemm(node, attributes)
            case "Concat":
                self._require(node, attributes.pop("axis", None) in (1, -1) and not attributes)
                self._concat(node)
            case "Slice":
                self._slice(node)
            case "Split":
                self._require(node, attributes.pop("axis", None) in (1, -1) and not attributes)
                self._split(node)
            case "Identity":
                self._places[node.output[0]] = self._place(node.input[0])
            case "Softmax":
                self._require(node, attributes.pop("axis", -1) in (1, -1) and not attributes)
                self._elementwise(node, kernel.SOFTMAX)
            case "Relu" | "Sigmoid" | "Tanh" | "Add" | "Sub" | "Mul" as name:
                self._elementwise(node, getattr(kernel, name.upper()))
            case other:
                raise UnknownOperatorError(f"the step graph holds {other}, which no program has")

    def _gemm(self, node: onnx.NodeProto, attributes: dict[str, object]) -> None:
        """x @ weight + bias, with constant weight (n_in, n_out) and bias (n_out,)."""
        plain = all(
            attributes.get(k, v) == v
            for k, v in (("alpha", 1.0), ("beta", 1.0), ("transA", 0), ("transB", 0))
        )
        self._require(node, plain and len(node.input) == 3)
        x = self._place(node.input[0])
        weight, bias = (self._graph.weights.get(name) for name in node.input[1:])
        if weight is None or bias is None:
            raise UnknownOperatorError("a Gemm of the step graph has a matrix or a bias that is computed")
        self._require(node, weight.ndim == 2 and weight.shape[0] == x.length)
        self._require(node, bias.shape in ((weight.shape[1],), (1, weight.shape[1])))
        out = self._result(node, weight.shape[1])
        bias_at = self._constant(bias)
        whole = whole_numbers(weight)
        if whole is None:
            self._emit(kernel.GEMM, out, x, self._constant(weight), bias_at)
        else:
            numbers, steps = whole
            self._emit(kernel.GEMM_INT8, out, x, self._numbers(numbers), bias_at, self._constant(steps))

    def _concat(self, node: onnx.NodeProto) -> None:
        parts = [self._place(name) for name in node.input]
        out = self._result(node, sum(part.length for part in parts))
        start = out.start
        for part in parts:
            self._emit(kernel.COPY, Place(start, part.length), part)
            start += part.length

    def _slice(self, node: onnx.NodeProto) -> None:
        found = [self._graph.integers.get(name) for name in node.input[1:]]
        bounds = [int(b.item()) for b in found if b is not None and b.shape == (1,)]
        self._require(node, len(found) == len(bounds) in (3, 4))
        start, stop, axis, step = (*bounds, 1)[:4]
        x = self._place(node.input[0])
        self._require(node, axis in (1, -1) and step == 1)
        start, stop, _ = slice(start, stop).indices(x.length)
        self._require(node, stop > start)
        self._places[node.output[0]] = Place(x.start + start, stop - start)

    def _split(self, node: onnx.NodeProto) -> None:
        x = self._place(node.input[0])
        n = len(node.output)
        if len(node.input) > 1:
            given = self._graph.integers.get(node.input[1])
            self._require(node, given is not None and given.shape == (n,))
            lengths = [] if given is None else given.tolist()
        else:
            lengths = [x.length // n] * n
        if min(lengths) < 1 or sum(lengths) != x.length:
            raise NervehandError(
                f"a Split of the step graph makes {lengths} of {x.length} values: export the decoder again"
            )
        start = x.start
        for name, length in zip(node.output, lengths, strict=True):
            self._places[name] = Place(start, length)
            start += length

    def _elementwise(self, node: onnx.NodeProto, operation: int) -> None:
        parts = [self._place(name) for name in node.input]
        self._require(node, len({part.length for part in parts}) == 1)
        self._emit(operation, self._result(node, parts[0].length), parts[0], parts[-1].start)

    def _place(self, name: str, length: int | None = None) -> Place:
        place = self._places.get(name)
        if place is None:
            raise UnknownOperatorError(
                f"the step graph uses {name!r}, which it has not computed from its inputs"
            )
        if length is not None and place.length != length:
            raise NervehandError(
                f"the step graph declares {length} values of {name!r} and computes {place.length}: "
                "export the decoder again"
            )
        return place

    def _apart(self, place: Place, states: tuple[Place, ...]) -> Place:
        """A copy of a result that is a view of a state, to be read after that state was replaced."""
        if not any(place.start < s.start + s.length and s.start < place.start + place.length for s in states):
            return place
        copy = self._new(place.length)
        self._emit(kernel.COPY, copy, place)
        return copy

    def _new(self, length: int) -> Place:
        if length < 1 or self._n_arena + length > MOST_ARENA:
            raise NervehandError(
                f"a value of the step graph has {length} values, after {self._n_arena} others; it needs 1 or more, "
                f"of {MOST_ARENA} in all: export the decoder again"
            )
        place = Place(self._n_arena, length)
        self._n_arena += -(-length // ALIGNED) * ALIGNED
        return place

    def _result(self, node: onnx.NodeProto, length: int) -> Place:
        place = self._places[node.output[0]] = self._new(length)
        return place

    def _numbers(self, numbers: NDArray[np.int8]) -> int:
        start = self._n_small
        self._small.append(np.pad(numbers.ravel(), (0, -numbers.size % ALIGNED)))
        self._n_small += len(self._small[-1])
        return start

    def _constant(self, values: NDArray[np.float32]) -> int:
        start = self._n_exact
        self._exact.append(np.pad(values.astype(np.float32).ravel(), (0, -values.size % ALIGNED)))
        self._n_exact += len(self._exact[-1])
        return start

    def _emit(
        self, operation: int, out: Place, a: Place, other: int = 0, bias: int = 0, steps: int = 0
    ) -> None:
        self._operations.append((operation, out.start, out.length, a.start, a.length, other, bias, steps))

    def _require(self, node: onnx.NodeProto, fits: bool) -> None:
        if not fits:
            raise UnknownOperatorError(f"a {node.op_type} of the step graph has a form that no program has")


def _require_inside(program: StepProgram) -> None:
    """Every place that the kernel, which checks none, would touch lies inside its array."""
    places = [program.features, program.outputs, program.probabilities, *program.states]
    ends = [place.start + place.length for place in places]
    inside = min(place.start for place in places) >= 0 and max(ends) <= program.n_arena
    for kind, out, n_out, x, n_in, other, bias, steps in program.operations.tolist():
        inside &= 0 <= out <= out + n_out <= program.n_arena and 0 <= x <= x + n_in <= program.n_arena
        if kind in (kernel.GEMM, kernel.GEMM_INT8):
            weights = program.exact if kind == kernel.GEMM else program.small
            inside &= 0 <= other <= other + n_in * n_out <= weights.size
            inside &= 0 <= bias <= bias + n_out <= program.exact.size
            inside &= kind == kernel.GEMM or 0 <= steps <= steps + n_out <= program.exact.size
        else:
            inside &= n_in == n_out > 0
            inside &= (
                kind not in (kernel.ADD, kernel.SUB, kernel.MUL) or 0 <= other <= program.n_arena - n_out
            )
    if not inside:
        raise NervehandError("the step graph is damaged: export the decoder again")
