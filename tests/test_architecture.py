"""Imports point one way, and nothing heavy loads where it must not."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from firmware_bridge.hands import names

ROOT = Path(__file__).resolve().parents[1]
ORDER = ("firmware_bridge", "decoder", "calibration", "nervehand")


def imported_packages(path: Path) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.add(node.module.split(".")[0])
    return found


@pytest.mark.parametrize("package", ORDER)
def test_imports_point_one_way(package: str) -> None:
    above = set(ORDER[ORDER.index(package) + 1 :])
    files = sorted((ROOT / package).rglob("*.py"))
    assert files
    wrong = {str(path.relative_to(ROOT)): imported_packages(path) & above for path in files}
    assert {path: names for path, names in wrong.items() if names} == {}


def test_decoder_never_imports_torch() -> None:
    for package in ("firmware_bridge", "decoder"):
        for path in (ROOT / package).rglob("*.py"):
            assert "torch" not in imported_packages(path), path


def loaded_by(statement: str) -> set[str]:
    code = f"import sys; {statement}; print(' '.join(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_the_guard_side_loads_no_compiler_runtime_or_file_library() -> None:
    hands = ", ".join(f"firmware_bridge.hands.{name}" for name in names())
    loaded = loaded_by(f"import firmware_bridge.guard_process, firmware_bridge.gate, {hands}")
    assert loaded & {"numba", "onnxruntime", "h5py", "torch", "scipy", "mujoco", "PIL"} == set()


def test_the_decode_side_loads_no_training_library_no_filter_design_and_no_runtime_it_does_not_need() -> None:
    loaded = loaded_by("import decoder.chain, decoder.bundle")
    assert loaded & {"torch", "scipy.signal", "sklearn", "pynwb", "onnxruntime"} == set()


def test_the_command_line_starts_without_the_heavy_libraries() -> None:
    loaded = loaded_by("import nervehand.cli")
    assert (
        loaded & {"torch", "numba", "onnxruntime", "pynwb", "h5py", "scipy", "bumble", "mujoco", "PIL"}
        == set()
    )
