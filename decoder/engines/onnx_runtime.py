"""A step graph on ONNX Runtime, one thread: for graphs that our own engine does not know, and to check it against."""

from __future__ import annotations

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from decoder.engine import StepShape, first_line, require_state, step_shape
from firmware_bridge.errors import NervehandError


class OnnxRuntimeEngine:
    """An Engine. Inputs, outputs and both halves of a double-buffered state are bound once, so that a step is one
    call into the runtime without an allocation of ours. Raises NervehandError if the bytes are not a step graph.
    """

    def __init__(self, step_graph: bytes) -> None:
        session = _session(step_graph)
        self._shape = _shape(session)
        n_states = len(self._shape.state_lengths)
        self._features = np.zeros((1, self._shape.n_features), np.float32)
        self._outputs = np.zeros((1, self._shape.n_outputs), np.float32)
        self._probabilities = np.zeros((1, self._shape.n_gestures), np.float32)
        self._states = [
            [np.zeros((1, length), np.float32) for length in self._shape.state_lengths] for _ in range(2)
        ]
        self._session = session
        self._turn = 0
        self._bindings = [session.io_binding() for _ in range(2)]
        for turn, binding in enumerate(self._bindings):
            _bind_input(binding, "features", self._features)
            _bind_output(binding, "probabilities", self._probabilities)
            if self._shape.n_outputs:
                _bind_output(binding, "outputs", self._outputs)
            for i in range(n_states):
                _bind_input(binding, f"state_{i}", self._states[turn][i])
                _bind_output(binding, f"state_{i}_next", self._states[1 - turn][i])

    @property
    def shape(self) -> StepShape:
        return self._shape

    def reset(self) -> None:
        for state in (*self._states[0], *self._states[1]):
            state.fill(0.0)

    def state(self) -> tuple[NDArray[np.float32], ...]:
        return tuple(state.copy() for state in self._states[self._turn])

    def restore(self, state: tuple[NDArray[np.float32], ...]) -> None:
        require_state(state, self._shape)
        for mine, saved in zip(self._states[self._turn], state, strict=True):
            mine[:] = saved

    def close(self) -> None:
        """All of it is in this process."""

    def process(self, z: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        outputs = np.empty((len(z), self._shape.n_outputs), np.float32)
        probabilities = np.empty((len(z), self._shape.n_gestures), np.float32)
        for k in range(len(z)):
            self._features[0] = z[k]
            try:
                self._session.run_with_iobinding(self._bindings[self._turn])
            except Exception as error:  # as in `_session`
                raise NervehandError(f"the step graph cannot be run ({first_line(error)})") from error
            self._turn = 1 - self._turn
            outputs[k] = self._outputs[0]
            probabilities[k] = self._probabilities[0]
            if not (np.isfinite(outputs[k]).all() and np.isfinite(probabilities[k]).all()):
                return outputs[: k + 1], probabilities[: k + 1]
        return outputs, probabilities


def _bind_input(binding: ort.IOBinding, name: str, buffer: NDArray[np.float32]) -> None:
    binding.bind_input(name, "cpu", 0, np.float32, buffer.shape, buffer.ctypes.data)


def _bind_output(binding: ort.IOBinding, name: str, buffer: NDArray[np.float32]) -> None:
    binding.bind_output(name, "cpu", 0, np.float32, buffer.shape, buffer.ctypes.data)


def _session(step_graph: bytes) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = 4  # its errors reach us as exceptions
    try:
        # Its fallback would print to standard output, and try the same again.
        return ort.InferenceSession(step_graph, options, ["CPUExecutionProvider"], enable_fallback=0)
    except Exception as error:  # onnxruntime's classes share no base but Exception
        raise NervehandError(
            f"the step graph cannot be loaded ({first_line(error)}): export the decoder again"
        ) from error


def _shape(session: ort.InferenceSession) -> StepShape:
    def sizes(nodes: list[ort.NodeArg]) -> dict[str, list[int]]:
        return {node.name: [n if isinstance(n, int) else -1 for n in node.shape] for node in nodes}

    return step_shape(sizes(session.get_inputs()), sizes(session.get_outputs()))
