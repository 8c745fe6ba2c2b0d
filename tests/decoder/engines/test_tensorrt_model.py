"""How the server uses TensorRT: order of buffers, states that change places, plans that are none.

The library itself is not here. What stands in for it has the names of its Python API, in the way of 8.2 (bindings) and
of 10 (named tensors), ordinary memory for a device's, and ONNX Runtime for its arithmetic: it shows that our calls fit
together, and nothing about TensorRT.
"""

from __future__ import annotations

import ctypes
import sys
from types import ModuleType, SimpleNamespace

import numpy as np
import onnxruntime
import pytest

from calibration.stepgraph import build_step_graph
from decoder.engines import tensorrt_server as wire
from decoder.engines.onnx_runtime import OnnxRuntimeEngine
from tests.decoder.engines.test_engines import STEP_GRAPH, Z, network


class HostMemory:
    """In the place of `Cuda`."""

    TO_DEVICE, TO_HOST = 1, 2

    def __init__(self) -> None:
        self._kept: list[np.ndarray] = []

    def allocate(self, n_bytes: int) -> int:
        self._kept.append(np.zeros(n_bytes // 4, np.float32))
        return int(self._kept[-1].ctypes.data)

    def copy(self, to: int, source: int, n_bytes: int, kind: int) -> None:
        assert kind in (self.TO_DEVICE, self.TO_HOST)
        ctypes.memmove(to, source, n_bytes)


def at(address: int, length: int) -> np.ndarray:
    return np.frombuffer((ctypes.c_float * length).from_address(address), np.float32)


class Plan:
    """An engine and its context in one; subclasses name its tensors."""

    def __init__(self, model: bytes, dtype: str) -> None:
        self._session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
        inputs, outputs = self._session.get_inputs(), self._session.get_outputs()
        # In an order of its own, as a builder may choose it.
        self.tensors = [*reversed(outputs), *reversed(inputs)]
        self.input_names = {i.name for i in inputs}
        self.dtype, self.executes = dtype, True

    def create_execution_context(self) -> Plan:
        return self

    def execute_v2(self, bindings: list[int]) -> bool:
        places = {t.name: at(a, t.shape[1]) for t, a in zip(self.tensors, bindings, strict=True)}
        found = self._session.run(None, {name: places[name][None].copy() for name in self.input_names})
        for tensor, values in zip(self._session.get_outputs(), found, strict=True):
            places[tensor.name][:] = values[0]
        return self.executes


class Plan8(Plan):
    """TensorRT 8.2: bindings by number."""

    @property
    def num_bindings(self) -> int:
        return len(self.tensors)

    def get_binding_name(self, i: int) -> str:
        return str(self.tensors[i].name)

    def get_binding_shape(self, i: int) -> tuple[int, ...]:
        return tuple(self.tensors[i].shape)

    def get_binding_dtype(self, i: int) -> str:
        return self.dtype

    def binding_is_input(self, i: int) -> bool:
        return self.tensors[i].name in self.input_names


class Plan10(Plan):
    """TensorRT 10: tensors by name."""

    @property
    def num_io_tensors(self) -> int:
        return len(self.tensors)

    def get_tensor_name(self, i: int) -> str:
        return str(self.tensors[i].name)

    def _of(self, name: str) -> onnxruntime.NodeArg:
        return next(t for t in self.tensors if t.name == name)

    def get_tensor_shape(self, name: str) -> tuple[int, ...]:
        return tuple(self._of(name).shape)

    def get_tensor_dtype(self, name: str) -> str:
        return self.dtype

    def get_tensor_mode(self, name: str) -> str:
        return "input" if name in self.input_names else "output"


class StandIn(ModuleType):
    """The module `tensorrt`, as far as the server calls it."""

    float32 = "float32"
    TensorIOMode = SimpleNamespace(INPUT="input")

    def __init__(self, plan: type[Plan], version: str) -> None:
        super().__init__("tensorrt")
        self.__version__ = version
        self.dtype = "float32"
        self.last: Plan | None = None
        self.Logger = type("Logger", (), {"ERROR": 1, "__init__": lambda _, level: None})

        def deserialize(_: object, model: bytes) -> Plan | None:
            self.last = plan(model, self.dtype) if model != b"another version's" else None
            return self.last

        runtime = {"__init__": lambda _, logger: None, "deserialize_cuda_engine": deserialize}
        self.Runtime = type("Runtime", (), runtime)


@pytest.fixture(params=[(Plan8, "8.2.1"), (Plan10, "10.3.0")], ids=["8.2", "10"])
def library(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> StandIn:
    made = StandIn(*request.param)
    monkeypatch.setitem(sys.modules, "tensorrt", made)
    monkeypatch.setattr(wire, "Cuda", HostMemory)
    return made


def steps(model: wire.Model, z: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    found = [tuple(part.copy() for part in model.run(row)) for row in z]
    return np.array([o for o, _ in found]), np.array([p for _, p in found])


@pytest.mark.parametrize("n_outputs", [0, 2])
def test_every_hop_reads_what_the_last_one_wrote(library: StandIn, n_outputs: int) -> None:
    graph = build_step_graph(network(n_outputs=n_outputs))
    model, about = wire.load_model("tensorrt", graph)
    assert f'"backend": "tensorrt {library.__version__}"'.encode() in about
    reference = OnnxRuntimeEngine(graph)
    for ours, theirs in zip(steps(model, Z), reference.process(Z), strict=True):
        assert np.array_equal(ours, theirs)
    assert np.array_equal(model.state(), np.concatenate(reference.state(), axis=1)[0])


@pytest.mark.parametrize("n_before", [1, 2])
def test_a_state_is_restored_whichever_buffer_is_its_turn(library: StandIn, n_before: int) -> None:
    model, _ = wire.load_model("tensorrt", STEP_GRAPH)
    steps(model, Z[:n_before])
    saved = model.state()
    following = steps(model, Z)
    steps(model, Z[:1])
    wire.answer(model, wire.RESTORE, saved.tobytes())
    assert np.array_equal(steps(model, Z)[0], following[0])
    wire.answer(model, wire.RESET, b"")
    fresh, _ = wire.load_model("tensorrt", STEP_GRAPH)
    assert np.array_equal(steps(model, Z)[0], steps(fresh, Z)[0])


def test_a_request_is_answered_as_from_any_backend(library: StandIn) -> None:
    model, _ = wire.load_model("tensorrt", STEP_GRAPH)
    asked = wire.COUNT.pack(len(Z)) + Z.tobytes()
    with_runtime, _ = wire.load_model("onnxruntime", STEP_GRAPH)
    assert wire.answer(model, wire.PROCESS, asked) == wire.answer(with_runtime, wire.PROCESS, asked)


def test_a_plan_of_another_version_or_precision_and_a_step_that_fails_are_errors(library: StandIn) -> None:
    with pytest.raises(RuntimeError, match="cannot read this plan: build it here"):
        wire.load_model("tensorrt", b"another version's")
    model, _ = wire.load_model("tensorrt", STEP_GRAPH)
    assert library.last is not None
    library.last.executes = False
    with pytest.raises(RuntimeError, match="did not execute"):
        model.run(Z[0])
    library.dtype = "float16"
    with pytest.raises(RuntimeError, match="is float16, not float32"):
        wire.load_model("tensorrt", STEP_GRAPH)


def test_a_machine_without_cuda_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wire.Cuda, "NAMES", ("libnowhere.so", "libnowhere.so.12"))
    with pytest.raises(RuntimeError, match=r"CUDA runtime is not there \(libnowhere.so, libnowhere.so.12\)"):
        wire.Cuda()
