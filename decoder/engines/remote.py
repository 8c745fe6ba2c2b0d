"""A step graph at work in another process, which another interpreter may run: where TensorRT lives on a Jetson.

The process is `tensorrt_server.py`, on the other end of a socket pair: no name in any folder, nothing that listens.
Each call has a deadline. A server that hangs, dies, or says what it should not is ended, and the engine with it: that
call and every later one raise NervehandError, so that decoding ends and the guard does what is safe. It is not started
again here: what it carried is lost, so who wants it back begins anew, and warms up.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
import time
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Self

import numpy as np
from numpy.typing import NDArray

from decoder.engine import StepShape, require_state, step_shape
from decoder.engines import tensorrt_server as wire
from firmware_bridge.errors import NervehandError

Backend = Literal["tensorrt", "onnxruntime"]

SERVER = Path(wire.__file__)
MOST_HOPS = 1024
"""Of one request: longer runs go in pieces, each with a deadline of its own."""
ENDING_S = 2.0


@dataclass(frozen=True, slots=True)
class RemoteTimes:
    """How long an answer may take: to load a model (a Nano reads a plan for seconds), to a call, and for each hop.

    A decoder that waits is silent to its guard, which acts within 0.1 s whatever stands here.
    """

    start_s: float = 120.0
    call_s: float = 2.0
    hop_s: float = 0.02


@dataclass(frozen=True, slots=True)
class RemoteAbout:
    """Who answers: backend with its version, the interpreter's version, and the process."""

    backend: str
    python: str
    pid: int


class RemoteEngine:
    """An Engine. `model` is an ONNX file for ONNX Runtime, a plan for TensorRT; `python` the interpreter of the server.

    NervehandError where the process does not start, or answers with anything but a step graph's shape.
    """

    def __init__(
        self,
        model: bytes,
        backend: Backend,
        *,
        python: str = sys.executable,
        times: RemoteTimes | None = None,
    ) -> None:
        self._times = RemoteTimes() if times is None else times
        self._what = f"the engine process ({backend})"
        self._number = 0
        self._broken = ""
        self._process, self._socket = _start(python, backend, self._what)
        self._finalizer = weakref.finalize(self, _end, self._process, self._socket)
        content = self._ask(wire.LOAD, model, self._times.start_s)
        try:
            about = json.loads(content)
            self._shape = step_shape(_sizes(about["inputs"]), _sizes(about["outputs"]))
            self.about = RemoteAbout(str(about["backend"]), str(about["python"]), self._process.pid)
        except NervehandError:
            self.close()
            raise
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise self._failed(f"introduced itself with {content[:60]!r}") from error

    @property
    def shape(self) -> StepShape:
        return self._shape

    def reset(self) -> None:
        self._expect_nothing(wire.RESET, b"")

    def state(self) -> tuple[NDArray[np.float32], ...]:
        lengths = self._shape.state_lengths
        values = self._floats(self._ask(wire.STATE, b"", self._times.call_s), sum(lengths))
        return (
            tuple(part[None].copy() for part in np.split(values, np.cumsum(lengths)[:-1])) if lengths else ()
        )

    def restore(self, state: tuple[NDArray[np.float32], ...]) -> None:
        require_state(state, self._shape)
        parts = [np.asarray(part, "<f4").tobytes() for part in state]
        self._expect_nothing(wire.RESTORE, b"".join(parts))

    def process(self, z: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        if z.ndim != 2 or z.shape[1] != self._shape.n_features:
            raise ValueError(
                f"feature vectors of shape {z.shape} for a step graph of {self._shape.n_features} features"
            )
        shape = self._shape
        outputs = [np.empty((0, shape.n_outputs), np.float32)]
        probabilities = [np.empty((0, shape.n_gestures), np.float32)]
        done = 0
        while done < len(z):
            some = self._steps(z[done : done + MOST_HOPS])
            outputs.append(some[0])
            probabilities.append(some[1])
            done += len(some[0])
            if not _is_finite(some):
                break
        return np.concatenate(outputs), np.concatenate(probabilities)

    def close(self) -> None:
        """End the process; every later call raises NervehandError."""
        self._broken = self._broken or f"{self._what} was closed"
        self._finalizer()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _steps(self, z: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """The answers to at most MOST_HOPS hops."""
        n, (o, g) = len(z), (self._shape.n_outputs, self._shape.n_gestures)
        asked = wire.COUNT.pack(n) + np.ascontiguousarray(z, "<f4").tobytes()
        content = self._ask(wire.PROCESS, asked, self._times.call_s + n * self._times.hop_s)
        k = wire.COUNT.unpack_from(content)[0] if len(content) >= wire.COUNT.size else -1
        if not 0 <= k <= n or (n and not k):
            raise self._failed(f"answered {n} hops with {k}")
        values = self._floats(content[wire.COUNT.size :], k * (o + g))
        outputs, probabilities = values[: k * o].reshape(k, o), values[k * o :].reshape(k, g)
        if k < n and _is_finite((outputs, probabilities)):
            raise self._failed(f"stopped after {k} of {n} hops, whose answers are finite")
        return outputs.astype(np.float32), probabilities.astype(np.float32)

    def _expect_nothing(self, kind: int, payload: bytes) -> None:
        content = self._ask(kind, payload, self._times.call_s)
        if content:
            raise self._failed(f"answered with {len(content)} bytes where none are due")

    def _floats(self, content: bytes, count: int) -> NDArray[np.float32]:
        try:
            return wire.floats(content, count)
        except wire.ProtocolError as error:
            raise self._failed(f"sent what is no answer: {error}") from error

    def _ask(self, kind: int, payload: bytes, within_s: float) -> bytes:
        """The payload of the answer; NervehandError, and the end of the process, where none comes."""
        if self._broken:
            raise NervehandError(self._broken)
        self._number = (self._number + 1) & 0xFFFFFFFF
        deadline_s = time.monotonic() + within_s
        try:
            _send(self._socket, wire.frame(kind, self._number, payload), deadline_s)
            found, number, content = wire.read_frame(_receiver(self._socket, deadline_s))
        except TimeoutError as error:
            raise self._failed(f"did not answer within {within_s:g} s") from error
        except (EOFError, OSError) as error:
            raise self._failed(self._end()) from error
        except wire.ProtocolError as error:
            raise self._failed(f"sent what is no answer: {error}") from error
        if number != self._number or found not in (kind, wire.ERROR):
            raise self._failed(
                f"answered request {number} of kind {found}, not {self._number} of kind {kind}"
            )
        if found == wire.ERROR:
            text = " ".join(content[:400].decode("utf-8", "replace").split())
            raise self._failed(f"says {text or 'nothing of what is wrong'}")
        return content

    def _end(self) -> str:
        with contextlib.suppress(subprocess.TimeoutExpired):
            status = self._process.wait(ENDING_S)
            return f"was ended by signal {-status}" if status < 0 else f"ended with status {status}"
        return "closed its connection"

    def _failed(self, how: str) -> NervehandError:
        """The error for this call and all that follow; the process has ended."""
        self._broken = f"{self._what} {how}: start again, or choose another engine"
        self._finalizer()
        return NervehandError(self._broken)


def _start(python: str, backend: Backend, what: str) -> tuple[subprocess.Popen[bytes], socket.socket]:
    mine, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    # -I: of this interpreter's packages and paths nothing reaches the other one. A session of its own: Ctrl-C is for
    # the decoder, which ends this too.
    words = [python, "-I", str(SERVER), "--fd", str(theirs.fileno()), "--backend", backend]
    try:
        with theirs:
            process = subprocess.Popen(
                words,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                pass_fds=(theirs.fileno(),),
                env=os.environ | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
                start_new_session=True,
            )
    except OSError as error:
        mine.close()
        raise NervehandError(
            f"{what} cannot be started ({python}: {error.strerror}): name the interpreter that has it"
        ) from error
    return process, mine


def _end(process: subprocess.Popen[bytes], connection: socket.socket) -> None:
    connection.close()
    try:
        process.wait(0.2)
    except subprocess.TimeoutExpired:
        process.kill()  # one that hangs in a driver does not hear that its socket closed
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(ENDING_S)


def _send(connection: socket.socket, data: bytes, deadline_s: float) -> None:
    connection.settimeout(_left(deadline_s))
    connection.sendall(data)  # its timeout is for all of it


def _receiver(connection: socket.socket, deadline_s: float) -> Callable[[int], bytes]:
    def receive(n: int) -> bytes:
        connection.settimeout(_left(deadline_s))
        return connection.recv(n)

    return receive


def _left(deadline_s: float) -> float:
    left_s = deadline_s - time.monotonic()
    if left_s <= 0:
        raise TimeoutError
    return left_s


def _sizes(values: dict[str, list[int]]) -> dict[str, list[int]]:
    return {str(name): [int(n) for n in shape] for name, shape in values.items()}


def _is_finite(answers: tuple[NDArray[np.float32], NDArray[np.float32]]) -> bool:
    """Of the last hop's."""
    return all(bool(np.isfinite(part[-1:]).all()) for part in answers)
