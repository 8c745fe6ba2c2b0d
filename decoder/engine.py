"""The exported engine: the ONNX step graph on ONNX Runtime, one thread, state carried from hop to hop."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from firmware_bridge.errors import NervehandError


@dataclass(frozen=True, slots=True)
class StepShape:
    """What a step graph takes and gives."""

    n_features: int
    n_outputs: int
    n_gestures: int
    state_lengths: tuple[int, ...]


class StepEngine:
    """Runs one feature vector at a time through the step graph; the state lives here between calls.

    A graph without an `outputs` head (a decoder of gestures alone) gives outputs of width 0.
    Inputs, outputs and both halves of a double-buffered state are bound once, so that a step is one call into
    the runtime without an allocation of ours. Raises NervehandError if the bytes are not a step graph.
    """

    def __init__(self, onnx_bytes: bytes) -> None:
        session = _session(onnx_bytes)
        self.shape = _shape(session)
        n_states = len(self.shape.state_lengths)
        self._features = np.zeros((1, self.shape.n_features), np.float32)
        self._outputs = np.zeros((1, self.shape.n_outputs), np.float32)
        self._probabilities = np.zeros((1, self.shape.n_gestures), np.float32)
        self._states = [
            [np.zeros((1, length), np.float32) for length in self.shape.state_lengths] for _ in range(2)
        ]
        self._session = session
        self._turn = 0
        self._bindings = [session.io_binding() for _ in range(2)]
        for turn, binding in enumerate(self._bindings):
            _bind_input(binding, "features", self._features)
            _bind_output(binding, "probabilities", self._probabilities)
            if self.shape.n_outputs:
                _bind_output(binding, "outputs", self._outputs)
            for i in range(n_states):
                _bind_input(binding, f"state_{i}", self._states[turn][i])
                _bind_output(binding, f"state_{i}_next", self._states[1 - turn][i])

    def reset(self) -> None:
        """Forget: every carried state becomes zero."""
        for state in (*self._states[0], *self._states[1]):
            state.fill(0.0)

    def state(self) -> tuple[NDArray[np.float32], ...]:
        """A copy of the carried state, one (1, n) array per remembering layer."""
        return tuple(state.copy() for state in self._states[self._turn])

    def restore(self, state: tuple[NDArray[np.float32], ...]) -> None:
        """Continue from a copy that `state` gave. Raises NervehandError where its shapes differ."""
        shapes = tuple(s.shape[1] for s in state)
        if shapes != self.shape.state_lengths:
            raise NervehandError(
                f"the saved state has lengths {shapes}, the decoder carries {self.shape.state_lengths}: "
                "restore it with the bundle that it was recorded with"
            )
        for mine, saved in zip(self._states[self._turn], state, strict=True):
            mine[:] = saved

    def process(self, z: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Normalised features (k, n_features) to outputs (k, n_outputs) and probabilities (k, n_gestures)."""
        k = z.shape[0]
        outputs = np.empty((k, self.shape.n_outputs), np.float32)
        probabilities = np.empty((k, self.shape.n_gestures), np.float32)
        for i in range(k):
            self._features[0] = z[i]
            self._session.run_with_iobinding(self._bindings[self._turn])
            self._turn = 1 - self._turn
            outputs[i] = self._outputs[0]
            probabilities[i] = self._probabilities[0]
        return outputs, probabilities


def _bind_input(binding: ort.IOBinding, name: str, buffer: NDArray[np.float32]) -> None:
    binding.bind_input(name, "cpu", 0, np.float32, buffer.shape, buffer.ctypes.data)


def _bind_output(binding: ort.IOBinding, name: str, buffer: NDArray[np.float32]) -> None:
    binding.bind_output(name, "cpu", 0, np.float32, buffer.shape, buffer.ctypes.data)


def _session(onnx_bytes: bytes) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = 4  # its errors reach us as exceptions
    try:
        return ort.InferenceSession(onnx_bytes, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's classes share no base but Exception
        reason = str(error).splitlines()[0]
        raise NervehandError(
            f"the step graph cannot be loaded ({reason}): export the decoder again"
        ) from error


def _shape(session: ort.InferenceSession) -> StepShape:
    inputs = {node.name: list(node.shape) for node in session.get_inputs()}
    outputs = {node.name: list(node.shape) for node in session.get_outputs()}
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
        if len(shape) != 2 or shape[0] != 1 or not isinstance(shape[1], int):
            raise NervehandError(f"{name} has shape {shape}: a step graph has batch 1 and fixed sizes")
    return StepShape(
        inputs["features"][1],
        outputs["outputs"][1] if "outputs" in outputs else 0,
        outputs["probabilities"][1],
        tuple(inputs[name][1] for name in states),
    )
