"""What runs a step graph: one file per engine, all with the contract of `decoder.engine.Engine`."""

from __future__ import annotations

from decoder.engine import Engine
from decoder.engines.compiled import CompiledEngine
from decoder.engines.program import UnknownOperatorError, compile_program


def load(step_graph: bytes) -> Engine:
    """The engine for a bundle's step graph: compiled where a program has all of its operators, as it has for whatever
    calibration exports; ONNX Runtime otherwise. Raises NervehandError if the bytes are not a step graph.
    """
    try:
        program = compile_program(step_graph)
    except UnknownOperatorError:
        from decoder.engines.onnx_runtime import OnnxRuntimeEngine  # not loaded where nothing needs it

        return OnnxRuntimeEngine(step_graph)
    return CompiledEngine(program)
