"""What runs a step graph: one file per engine, all with the contract of `decoder.engine.Engine`."""

from __future__ import annotations

from decoder.engine import Engine
from decoder.engines.compiled import CompiledEngine
from decoder.engines.program import UnknownOperatorError, compile_program
from firmware_bridge.errors import NervehandError

NAMES = ("auto", "compiled", "onnxruntime", "tensorrt")


def load(step_graph: bytes, engine: str = "auto") -> Engine:
    """The engine for a bundle's step graph, by name.

    `auto`: compiled where a program has all of its operators, as it has for whatever calibration exports; ONNX Runtime
    otherwise. `tensorrt`: the plan that was built for this graph on this machine, in a process of its own
    (decoder/engines/plans.py). Raises NervehandError if the bytes are no step graph, and where that engine is missing.
    """
    if engine not in NAMES:
        raise NervehandError(f"there is no engine {engine!r}: use {', '.join(NAMES)}")
    if engine == "tensorrt":
        from decoder.engines.plans import load_tensorrt  # a process, and what starts it, for nobody else

        return load_tensorrt(step_graph)
    if engine == "onnxruntime":
        from decoder.engines.onnx_runtime import OnnxRuntimeEngine  # not loaded where nothing needs it

        return OnnxRuntimeEngine(step_graph)
    try:
        return CompiledEngine(compile_program(step_graph))
    except UnknownOperatorError:
        if engine == "compiled":
            raise
        return load(step_graph, "onnxruntime")
