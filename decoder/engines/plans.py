"""TensorRT's plans on this machine: where they lie, and one at work.

A plan belongs to one graph, one TensorRT and one GPU. `build_engine.sh`, which `nervehand export --target` writes,
builds it with trtexec and puts it here under the SHA-256 of the graph. What is taken from here must answer as that.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from decoder.engine import Engine
from decoder.engines.compiled import CompiledEngine
from decoder.engines.parity import FP16_BOUND, compare, simulated_features
from decoder.engines.program import UnknownOperatorError, compile_program
from decoder.engines.remote import RemoteEngine
from firmware_bridge.errors import NervehandError

FOLDER_VARIABLE = "NERVEHAND_TENSORRT_PLANS"
PYTHON_VARIABLE = "NERVEHAND_TENSORRT_PYTHON"
SYSTEM_PYTHON = "/usr/bin/python3"
"""JetPack's own, which TensorRT is bound to."""
PRECISIONS = ("fp16", "fp32")
"""As they are preferred."""
CHECKED_HOPS = 200
CHECKED_CLIP = 5.0


def plan_folder() -> Path:
    """$NERVEHAND_TENSORRT_PLANS, else nervehand/tensorrt in the user's data folder."""
    named = os.environ.get(FOLDER_VARIABLE)
    if named:
        return Path(named)
    data = os.environ.get("XDG_DATA_HOME") or str(Path.home() / ".local" / "share")
    return Path(data) / "nervehand" / "tensorrt"


def plan_name(step_graph: bytes, precision: str) -> str:
    """The file name of a graph's plan."""
    return f"{hashlib.sha256(step_graph).hexdigest()}.{precision}.plan"


def plans(step_graph: bytes) -> dict[str, Path]:
    """The graph's plans that are here, by precision, the preferred one first."""
    paths = {p: plan_folder() / plan_name(step_graph, p) for p in PRECISIONS}
    return {precision: path for precision, path in paths.items() if path.is_file()}


def start_tensorrt(plan: Path) -> RemoteEngine:
    """A plan at work in a process of the system's interpreter, unchecked; NervehandError where that fails."""
    try:
        model = plan.read_bytes()
    except OSError as error:
        raise NervehandError(f"{plan}: cannot be read ({error.strerror}): build it again") from error
    return RemoteEngine(model, "tensorrt", python=os.environ.get(PYTHON_VARIABLE) or SYSTEM_PYTHON)


def load_tensorrt(step_graph: bytes) -> RemoteEngine:
    """The graph's plan at work, `checked`. NervehandError where there is none, or TensorRT does not run it."""
    found = plans(step_graph)
    if not found:
        raise NervehandError(
            f"no TensorRT plan of this decoder is in {plan_folder()}: export it with --target and run build_engine.sh, "
            "or choose engine = compiled"
        )
    plan = next(iter(found.values()))
    return checked(start_tensorrt(plan), step_graph, str(plan))


def checked(engine: RemoteEngine, step_graph: bytes, name: str) -> RemoteEngine:
    """The engine, after some hops beside the graph itself.

    NervehandError, and the engine closed, where its answers differ by more than FP16_BOUND.
    """
    try:
        z = simulated_features(CHECKED_HOPS, engine.shape.n_features, CHECKED_CLIP, seed=0)
        difference = compare(reference_engine(step_graph), engine, z).largest
        if difference > FP16_BOUND:
            raise NervehandError(
                f"{name}: answers differ from the decoder's by {difference:.3g}, more than {FP16_BOUND:g}: "
                "build it again"
            )
    except BaseException:
        engine.close()
        raise
    return engine


def reference_engine(step_graph: bytes) -> Engine:
    """What a graph's answers are measured against: the compiled engine, or ONNX Runtime for its other operators."""
    try:
        return CompiledEngine(compile_program(step_graph))
    except UnknownOperatorError:
        from decoder.engines.onnx_runtime import OnnxRuntimeEngine  # not loaded where nothing needs it

        return OnnxRuntimeEngine(step_graph)
