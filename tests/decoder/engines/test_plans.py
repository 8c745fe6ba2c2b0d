"""A TensorRT plan is found by its graph, and taken only where it answers as that."""

from __future__ import annotations

import hashlib
import os
import sys
from pathlib import Path

import pytest

from calibration.fp16 import to_fp16
from calibration.stepgraph import build_step_graph
from decoder import engines
from decoder.engines.plans import (
    FOLDER_VARIABLE,
    PYTHON_VARIABLE,
    checked,
    plan_folder,
    plan_name,
    plans,
)
from decoder.engines.remote import RemoteEngine
from firmware_bridge.errors import NervehandError
from tests.decoder.engines.test_engines import STEP_GRAPH, network


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path))
    return tmp_path


def test_plans_lie_with_the_user_s_data_unless_a_folder_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv(FOLDER_VARIABLE, raising=False)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    assert plan_folder() == tmp_path / "nervehand" / "tensorrt"
    monkeypatch.delenv("XDG_DATA_HOME")
    monkeypatch.setenv("HOME", "/home/someone")
    assert plan_folder() == Path("/home/someone/.local/share/nervehand/tensorrt")
    monkeypatch.setenv(FOLDER_VARIABLE, "/elsewhere")
    assert plan_folder() == Path("/elsewhere")


def test_a_graph_s_plans_are_found_by_its_sha256_the_float16_one_first(folder: Path) -> None:
    assert plans(STEP_GRAPH) == {}
    digest = hashlib.sha256(STEP_GRAPH).hexdigest()
    for precision in ("fp32", "fp16"):
        (folder / f"{digest}.{precision}.plan").write_bytes(b"plan")
    (folder / f"{'0' * 64}.fp16.plan").write_bytes(b"another's")
    assert list(plans(STEP_GRAPH)) == ["fp16", "fp32"]
    assert plans(STEP_GRAPH)["fp16"].name == plan_name(STEP_GRAPH, "fp16")


def test_without_a_plan_tensorrt_is_refused_with_what_to_do(folder: Path) -> None:
    with pytest.raises(NervehandError, match=r"no TensorRT plan .* run build_engine\.sh"):
        engines.load(STEP_GRAPH, "tensorrt")


def test_a_machine_with_a_plan_but_without_tensorrt_says_so(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / plan_name(STEP_GRAPH, "fp16")).write_bytes(b"plan")
    monkeypatch.setenv(PYTHON_VARIABLE, sys.executable)
    with pytest.raises(NervehandError, match="No module named 'tensorrt'"):
        engines.load(STEP_GRAPH, "tensorrt")


def test_an_engine_that_answers_as_the_graph_is_taken_in_float16_too() -> None:
    for graph in (STEP_GRAPH, to_fp16(STEP_GRAPH)):
        with checked(RemoteEngine(graph, "onnxruntime"), STEP_GRAPH, "a plan") as engine:
            assert engine.shape.n_features == 4


@pytest.mark.parametrize(
    ("other", "match"),
    [(network(seed=4), "a plan: answers differ from"), (network(n_outputs=5), "one decoder's files")],
)
def test_a_plan_of_another_decoder_is_refused_and_its_process_ended(other: object, match: str) -> None:
    engine = RemoteEngine(build_step_graph(other), "onnxruntime")  # type: ignore[arg-type]
    with pytest.raises(NervehandError, match=match):
        checked(engine, STEP_GRAPH, "a plan")
    with pytest.raises(ProcessLookupError):
        os.kill(engine.about.pid, 0)
