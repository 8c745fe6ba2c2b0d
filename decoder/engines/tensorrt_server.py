"""The far side of a remote engine: one file, which the system's own interpreter runs, and what both sides say.

JetPack 4.6.1 binds TensorRT to Python 3.6, so this file stands alone: Python 3.6, NumPy and TensorRT, nothing of the
rest of nervehand. `decoder/engines/remote.py` starts it with one end of a socket pair and speaks the frames below.
Where ONNX Runtime stands behind it (`--backend onnxruntime`), it serves to try the protocol, and says so by name.

A frame, little-endian: magic b"NVE1", kind uint8, 3 zero bytes, number of the request uint32, length of the payload
uint32, CRC-32 of kind, number and payload uint32, payload. The answer to a request has its kind and number; or kind
ERROR and a line of UTF-8. Payloads:

    LOAD     the model's bytes            -> JSON: backend, python, inputs and outputs {name: [1, n]}
    RESET    nothing                      -> nothing
    STATE    nothing                      -> float32 of every state, in order
    RESTORE  float32 of every state       -> nothing
    PROCESS  n uint32, n x f float32      -> k uint32, k x o float32, k x g float32 (k as decoder.engine.Engine says)

A closed socket ends the server.
"""

import abc
import argparse
import ctypes
import importlib
import json
import platform
import re
import socket
import struct
import sys
import zlib
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

MAGIC = b"NVE1"
HEADER = struct.Struct("<4sB3xIII")
CHECKED = struct.Struct("<BI")
COUNT = struct.Struct("<I")
LOAD, RESET, STATE, RESTORE, PROCESS, ERROR = range(1, 7)
KINDS = (LOAD, RESET, STATE, RESTORE, PROCESS, ERROR)
MOST_BYTES = 1 << 28
"""Of a payload: a damaged length must not become an allocation."""
BACKENDS = ("tensorrt", "onnxruntime")


class ProtocolError(Exception):
    """What came is no frame, or not the one that is due."""


def frame(kind: int, number: int, payload: bytes) -> bytes:
    """The bytes of one frame."""
    checksum = zlib.crc32(payload, zlib.crc32(CHECKED.pack(kind, number)))
    return HEADER.pack(MAGIC, kind, number, len(payload), checksum) + payload


def read_frame(receive: "Callable[[int], bytes]") -> "tuple[int, int, bytes]":
    """(kind, number, payload) from `receive(n)`, which gives 1 to n bytes, or none at the end of all.

    EOFError at an end between two frames, ProtocolError for anything that is no whole frame.
    """
    header = _exactly(receive, HEADER.size, is_first=True)
    magic, kind, number, length, checksum = HEADER.unpack(header)
    if magic != MAGIC or kind not in KINDS or length > MOST_BYTES:
        raise ProtocolError(f"no frame begins with {header[:12].hex()}")
    payload = _exactly(receive, length, is_first=False)
    if zlib.crc32(payload, zlib.crc32(CHECKED.pack(kind, number))) != checksum:
        raise ProtocolError(f"a frame of {length} bytes fails its checksum")
    return kind, number, payload


def _exactly(receive: "Callable[[int], bytes]", n: int, is_first: bool) -> bytes:
    parts = []
    missing = n
    while missing:
        part = receive(min(missing, 1 << 20))
        if not part:
            if is_first and missing == n:
                raise EOFError
            raise ProtocolError(f"the connection ended {missing} bytes before a frame's end")
        parts.append(part)
        missing -= len(part)
    return b"".join(parts)


def floats(payload: bytes, count: int) -> "NDArray[np.float32]":
    """The float32 values of a payload; ProtocolError where it does not hold `count` of them."""
    if len(payload) != 4 * count:
        raise ProtocolError(f"{len(payload)} bytes came where {count} float32 values are due")
    return np.frombuffer(payload, "<f4")


class Model(abc.ABC):
    """A step graph at work: `run` takes features and makes a step; the state lies in here.

    `inputs` and `outputs` are {name: [1, n]}.
    """

    def __init__(self, inputs: "dict[str, list[int]]", outputs: "dict[str, list[int]]") -> None:
        self.inputs, self.outputs = inputs, outputs
        names = [f"state_{i}" for i in range(len(inputs) - 1)]
        self.states = [(name, inputs[name][-1]) for name in names]

    @property
    def n_state(self) -> int:
        """Values of all states."""
        return sum(length for _, length in self.states)

    def width(self, output: str) -> int:
        """How many values an output has, 0 for one that is not there."""
        return self.outputs[output][-1] if output in self.outputs else 0

    @abc.abstractmethod
    def run(self, features: "NDArray[np.float32]") -> "tuple[NDArray[np.float32], NDArray[np.float32]]":
        """One step: outputs (o,) and probabilities (g,)."""

    @abc.abstractmethod
    def state(self) -> "NDArray[np.float32]":
        """Every state, one after another."""

    @abc.abstractmethod
    def restore(self, values: "NDArray[np.float32]") -> None:
        """Continue from what `state` gave."""


class OnnxRuntimeModel(Model):
    """Stands where TensorRT would, so that everything around it can be tried; one thread."""

    def __init__(self, model: bytes) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = 4
        self._session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        sizes = [
            {v.name: [n if isinstance(n, int) else -1 for n in v.shape] for v in values}
            for values in (self._session.get_inputs(), self._session.get_outputs())
        ]
        super().__init__(*sizes)
        self._names = list(self.outputs)
        self._states = {}  # type: dict[str, NDArray[np.float32]]
        self.restore(np.zeros(self.n_state, np.float32))

    def run(self, features: "NDArray[np.float32]") -> "tuple[NDArray[np.float32], NDArray[np.float32]]":
        answers = self._session.run(self._names, dict(self._states, features=features[None]))
        found = {name: answers[i] for i, name in enumerate(self._names)}
        self._states = {name: found[name + "_next"] for name, _ in self.states}
        outputs = found["outputs"][0] if "outputs" in found else np.zeros(0, np.float32)
        return outputs, found["probabilities"][0]

    def state(self) -> "NDArray[np.float32]":
        return _joined([self._states[name][0] for name, _ in self.states])

    def restore(self, values: "NDArray[np.float32]") -> None:
        self._states = {}
        start = 0
        for name, length in self.states:
            self._states[name] = values[None, start : start + length].astype(np.float32)
            start += length


class Cuda:
    """The few calls of the CUDA runtime that a step needs, without another package (CUDA Runtime API, memory)."""

    NAMES = ("libcudart.so", "libcudart.so.12", "libcudart.so.10.2", "/usr/local/cuda/lib64/libcudart.so")
    TO_DEVICE, TO_HOST = 1, 2

    def __init__(self) -> None:
        self._library = _loaded(self.NAMES)

    def allocate(self, n_bytes: int) -> int:
        """Address of zeroed device memory."""
        address = ctypes.c_void_p()
        self._check(self._library.cudaMalloc(ctypes.byref(address), ctypes.c_size_t(n_bytes)))
        self._check(self._library.cudaMemset(address, 0, ctypes.c_size_t(n_bytes)))
        return int(address.value or 0)

    def copy(self, to: int, source: int, n_bytes: int, kind: int) -> None:
        """n_bytes between host and device, done when it returns."""
        arguments = ctypes.c_void_p(to), ctypes.c_void_p(source), ctypes.c_size_t(n_bytes), kind
        self._check(self._library.cudaMemcpy(*arguments))

    @staticmethod
    def _check(status: int) -> None:
        if status:
            raise RuntimeError(f"CUDA runtime error {status}")


def _loaded(names: "Sequence[str]") -> ctypes.CDLL:
    """The first of these libraries that is there."""
    for name in names:
        try:
            return ctypes.CDLL(name)
        except OSError:
            continue
    raise RuntimeError(f"the CUDA runtime is not there ({', '.join(names)})")


class TensorRtModel(Model):
    """A plan that trtexec has built, its state double-buffered on the device.

    8.2 names bindings by `get_binding_name`, 8.5 and later by `get_tensor_name`; `execute_v2` takes the addresses in
    that order in both (TensorRT Python API, IExecutionContext).
    """

    def __init__(self, model: bytes) -> None:
        tensorrt = importlib.import_module("tensorrt")
        self._logger = tensorrt.Logger(tensorrt.Logger.ERROR)
        self._runtime = tensorrt.Runtime(self._logger)
        self._engine = self._runtime.deserialize_cuda_engine(model)
        if self._engine is None:
            raise RuntimeError(f"TensorRT {tensorrt.__version__} cannot read this plan: build it here")
        self._context = self._engine.create_execution_context()
        names, inputs, outputs = [], {}, {}  # type: list[str], dict[str, list[int]], dict[str, list[int]]
        is_by_name = hasattr(self._engine, "num_io_tensors")
        for i in range(self._engine.num_io_tensors if is_by_name else self._engine.num_bindings):
            if is_by_name:
                name = self._engine.get_tensor_name(i)
                shape, dtype = self._engine.get_tensor_shape(name), self._engine.get_tensor_dtype(name)
                is_input = self._engine.get_tensor_mode(name) == tensorrt.TensorIOMode.INPUT
            else:
                name = self._engine.get_binding_name(i)
                shape, dtype = self._engine.get_binding_shape(i), self._engine.get_binding_dtype(i)
                is_input = self._engine.binding_is_input(i)
            if dtype != tensorrt.float32:
                raise RuntimeError(f"{name} of the plan is {dtype}, not float32: build it as exported")
            names.append(name)
            (inputs if is_input else outputs)[name] = [int(n) for n in shape]
        super().__init__(inputs, outputs)
        self._cuda = Cuda()
        shapes = dict(inputs, **outputs)
        # A state's two buffers change places at each step: what was written is what is read next.
        at = {name: self._cuda.allocate(4 * shape[-1]) for name, shape in shapes.items()}
        swapped = dict(at)
        for name, _ in self.states:
            swapped[name], swapped[name + "_next"] = at[name + "_next"], at[name]
        self._at = [at, swapped]
        self._bindings = [[turn[name] for name in names] for turn in self._at]
        self._turn = 0
        self._features = np.zeros(inputs["features"][-1], np.float32)
        self._outputs = np.zeros(self.width("outputs"), np.float32)
        self._probabilities = np.zeros(self.width("probabilities"), np.float32)

    def run(self, features: "NDArray[np.float32]") -> "tuple[NDArray[np.float32], NDArray[np.float32]]":
        self._features[:] = features
        at = self._at[self._turn]
        self._put(at["features"], self._features)
        if not self._context.execute_v2(self._bindings[self._turn]):
            raise RuntimeError("TensorRT did not execute the step")
        self._turn = 1 - self._turn
        if self._outputs.size:
            self._get(at["outputs"], self._outputs)
        self._get(at["probabilities"], self._probabilities)
        return self._outputs, self._probabilities

    def state(self) -> "NDArray[np.float32]":
        found = []
        for name, length in self.states:
            found.append(np.zeros(length, np.float32))
            self._get(self._at[self._turn][name], found[-1])
        return _joined(found)

    def restore(self, values: "NDArray[np.float32]") -> None:
        start = 0
        for name, length in self.states:
            self._put(
                self._at[self._turn][name], np.ascontiguousarray(values[start : start + length], np.float32)
            )
            start += length

    def _put(self, address: int, values: "NDArray[np.float32]") -> None:
        self._cuda.copy(address, values.ctypes.data, values.nbytes, Cuda.TO_DEVICE)

    def _get(self, address: int, values: "NDArray[np.float32]") -> None:
        self._cuda.copy(values.ctypes.data, address, values.nbytes, Cuda.TO_HOST)


def _joined(parts: "Sequence[NDArray[np.float32]]") -> "NDArray[np.float32]":
    return np.concatenate(parts) if parts else np.zeros(0, np.float32)


def _version(backend: str) -> str:
    return str(getattr(importlib.import_module(backend), "__version__", "of no known version"))


def load_model(backend: str, model: bytes) -> "tuple[Model, bytes]":
    """The model at work, and the answer to LOAD."""
    made = TensorRtModel(model) if backend == "tensorrt" else OnnxRuntimeModel(model)
    about = {
        "backend": f"{backend} {_version(backend)}",
        "python": platform.python_version(),
        "inputs": made.inputs,
        "outputs": made.outputs,
    }
    return made, json.dumps(about).encode()


def process(model: Model, payload: bytes) -> bytes:
    """The answer to PROCESS: steps until the end, or until an answer that is not finite."""
    if len(payload) < COUNT.size:
        raise ProtocolError(f"a request for steps of {len(payload)} bytes")
    (n,) = COUNT.unpack_from(payload)
    width = model.width("outputs"), model.width("probabilities")
    n_features = model.inputs["features"][-1]
    z = floats(payload[COUNT.size :], n * n_features).reshape(n, n_features)
    outputs, probabilities = np.zeros((n, width[0]), np.float32), np.zeros((n, width[1]), np.float32)
    k = 0
    while k < n:
        outputs[k], probabilities[k] = model.run(z[k])
        k += 1
        if not (np.isfinite(outputs[k - 1]).all() and np.isfinite(probabilities[k - 1]).all()):
            break
    return COUNT.pack(k) + outputs[:k].astype("<f4").tobytes() + probabilities[:k].astype("<f4").tobytes()


def answer(model: Model, kind: int, payload: bytes) -> bytes:
    """The payload that answers a request to a model that is loaded."""
    n_state = model.n_state
    if kind == PROCESS:
        return process(model, payload)
    if kind == STATE:
        return model.state().astype("<f4").tobytes()
    if kind == RESET:
        model.restore(np.zeros(n_state, np.float32))
    elif kind == RESTORE:
        model.restore(floats(payload, n_state))
    else:
        raise ProtocolError(f"a request of kind {kind}, where a model is loaded")
    return b""


def one_line(error: BaseException) -> str:
    """What an error says, in one line."""
    text = re.sub(r"\s+", " ", str(error)).strip()
    return f"{type(error).__name__}: {text[:400]}" if text else type(error).__name__


def serve(connection: socket.socket, backend: str) -> None:
    """Answer requests until the other side closes.

    An error of the backend is an answer. ProtocolError and OSError, where what comes is no frame.
    """
    model = None  # type: Model | None
    while True:
        try:
            kind, number, payload = read_frame(connection.recv)
        except EOFError:
            return
        try:
            if model is None:
                if kind != LOAD:
                    raise ProtocolError(f"a request of kind {kind} before a model is loaded")
                model, content = load_model(backend, payload)
            else:
                content = answer(model, kind, payload)
        except Exception as error:  # noqa: BLE001 - whatever a backend raises is for the other side to hear
            kind, content = ERROR, one_line(error).encode("utf-8", "replace")
        connection.sendall(frame(kind, number, content))


def main() -> int:
    parser = argparse.ArgumentParser(description="Steps of a decoder's graph, for nervehand's remote engine.")
    parser.add_argument("--fd", type=int, required=True, help="its end of a socket pair")
    parser.add_argument("--backend", choices=BACKENDS, default="tensorrt")
    arguments = parser.parse_args()
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM, fileno=arguments.fd) as connection:
        try:
            serve(connection, arguments.backend)
        except (ProtocolError, OSError) as error:
            print(f"nervehand engine server: {one_line(error)}", file=sys.stderr)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
