"""Whoever drives a hand loads nothing of decoding: the guard is small."""

from __future__ import annotations

import subprocess
import sys

import pytest

from firmware_bridge.hands import names

HEAVY = {"numba", "onnxruntime", "h5py", "scipy", "torch", "pydantic", "mujoco"}


@pytest.mark.parametrize("name", names())
def test_a_hand_loads_no_compiler_runtime_or_file_library_and_no_bumble(name: str) -> None:
    code = f"import sys, firmware_bridge.hands.{name}; print(' '.join(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = {module.split(".")[0] for module in done.stdout.split()}
    assert loaded & (HEAVY | {"bumble"}) == set()


def test_an_emulated_hand_loads_none_of_them_either() -> None:
    code = "import sys, firmware_bridge.hands.virtual_peripheral; print(' '.join(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert {module.split(".")[0] for module in done.stdout.split()} & HEAVY == set()
