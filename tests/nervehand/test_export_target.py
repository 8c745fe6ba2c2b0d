"""`export --target`: a folder that a Jetson needs, its graphs measured, its script and list fit for the machine."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest

from decoder.bundle import read_bundle
from decoder.engines.onnx_runtime import OnnxRuntimeEngine
from decoder.engines.parity import FP16_BOUND, FP32_BOUND
from decoder.engines.plans import FOLDER_VARIABLE, plans
from firmware_bridge.errors import NervehandError
from nervehand import export_target
from nervehand.export_target import run_export_target, target_files
from nervehand.export_target_texts import TARGETS, build_script
from tests.replay.reference import BUNDLE, SESSION

FILES = {
    "README.txt", "build_engine.sh", "nervehand.service", "parity.json", "requirements-aarch64.txt",
    "step_fp16.onnx", "step_fp32.onnx",
}  # fmt: skip
WAYS = {"float16 arithmetic, sums in float32", "float16 arithmetic, sums in float16"}


@pytest.fixture
def few_hops(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(export_target, "HOPS", 200)


def written(folder: Path, target: str = "jetson-nano", session: Path | None = None) -> dict[str, object]:
    """The folder as the command writes it; what its parity.json says."""
    run_export_target(BUNDLE, target, folder, as_json=True, session_path=session)
    found: dict[str, object] = json.loads((folder / "parity.json").read_text())
    return found


@pytest.mark.usefixtures("few_hops")
@pytest.mark.parametrize("target", sorted(TARGETS))
def test_the_folder_holds_all_that_the_machine_needs(
    tmp_path: Path, target: str, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "out"
    parity = written(folder, target)
    said = json.loads(capsys.readouterr().out)
    assert {path.name for path in folder.iterdir()} == set(said["files"]) == FILES
    assert said["parity"] == parity
    bundle = read_bundle(BUNDLE)
    assert parity["decoder_sha256"] == bundle.sha256
    assert (folder / "step_fp32.onnx").read_bytes() == bundle.step_graph
    for name in ("step_fp32.onnx", "step_fp16.onnx"):
        onnx.checker.check_model(onnx.load(folder / name, load_external_data=False), full_check=True)
        assert OnnxRuntimeEngine((folder / name).read_bytes()).shape.n_features == 256
    assert os.access(folder / "build_engine.sh", os.X_OK)
    assert not os.access(folder / "README.txt", os.X_OK)
    for name in ("README.txt", "build_engine.sh"):
        assert TARGETS[target].tensorrt in (folder / name).read_text()
    assert "numpy==" in (folder / "requirements-aarch64.txt").read_text()
    assert "ExecStart=" in (folder / "nervehand.service").read_text()


@pytest.mark.slow
def test_parity_is_measured_over_ten_thousand_hops_with_the_state_carried(tmp_path: Path) -> None:
    parity = written(tmp_path / "out")
    assert parity["reference"] == "compiled engine"
    assert parity["features"]["simulated"]["hops"] == 10_000
    assert parity["features"]["simulated"]["seconds"] == 200.0
    for precision, bound in (("fp32", FP32_BOUND), ("fp16", FP16_BOUND)):
        rows = {k: v for k, v in parity[precision].items() if isinstance(v, dict)}
        assert parity[precision]["bound"] == bound
        assert len(rows) == (1 if precision == "fp32" else 3)
        for row in rows.values():
            assert row["simulated"]["hops"] == 10_000
            assert max(row["simulated"]["outputs"], row["simulated"]["probabilities"]) < bound
            assert row["simulated"]["gestures_differ"] < 0.01
    assert set(parity["fp16"]) >= WAYS


@pytest.mark.usefixtures("few_hops")
def test_a_session_s_own_features_are_measured_too(tmp_path: Path) -> None:
    parity = written(tmp_path / "out", session=SESSION)
    hops = parity["features"]["session"]["hops"]
    assert hops > 150
    for way in WAYS:
        row = parity["fp16"][way]["session"]
        assert row["hops"] == hops
        assert 0 < row["outputs"] < FP16_BOUND


@pytest.mark.usefixtures("few_hops")
@pytest.mark.parametrize(
    ("name", "bound", "match"),
    [
        ("FP32_BOUND", 1e-9, "the fp32 graph .* more than 1e-09"),
        ("FP16_BOUND", 1e-6, "the fp16 graph .* 1e-06"),
    ],
)
def test_a_decoder_that_does_not_keep_its_bound_is_not_exported(
    name: str, bound: float, match: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(export_target, name, bound)
    with pytest.raises(NervehandError, match=match) as caught:
        run_export_target(BUNDLE, "orin", tmp_path / "out", as_json=True)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()


@pytest.mark.usefixtures("few_hops")
def test_outputs_in_other_units_are_judged_by_their_ranges() -> None:
    """The same decoder in hundredths: its outputs and their ranges are 100 times as large, its parity the same."""
    bundle = read_bundle(BUNDLE)
    model = onnx.load_model_from_string(bundle.step_graph)
    [head] = [node for node in model.graph.node if node.output[0] == "outputs"]
    for tensor in model.graph.initializer:
        if tensor.name in head.input[1:]:
            values = onnx.numpy_helper.to_array(tensor) * np.float32(128)
            tensor.CopyFrom(onnx.numpy_helper.from_array(values, tensor.name))
    outputs = tuple(
        o.model_copy(update={"lower": 128 * o.lower, "upper": 128 * o.upper}) for o in bundle.manifest.outputs
    )
    manifest = bundle.manifest.model_copy(update={"outputs": outputs})
    larger = replace(bundle, manifest=manifest, step_graph=model.SerializeToString())
    (_, before), (_, after) = (target_files(b, TARGETS["orin"]) for b in (bundle, larger))
    way = "float16 arithmetic, sums in float16"
    found = [p["fp16"][way]["simulated"]["outputs"] for p in (before, after)]
    assert found[1] == pytest.approx(found[0], rel=0.01)


def test_what_cannot_be_written_is_refused_before_anything_is_measured(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    full = tmp_path / "full"
    full.mkdir()
    (full / "something").write_text("")
    for folder, match in (
        (full, "is not empty"),
        (tmp_path / "file", "is a file"),
        (tmp_path / "no" / "where", "no folder that can be written to"),
    ):
        with pytest.raises(NervehandError, match=match):
            run_export_target(BUNDLE, "orin", folder, as_json=True)
    with pytest.raises(NervehandError, match="no target 'xavier': use jetson-nano or orin"):
        run_export_target(BUNDLE, "xavier", tmp_path / "out", as_json=True)
    assert not (tmp_path / "out").exists()


class Script:
    """build_engine.sh beside its graphs, run with a PATH of our own."""

    def __init__(self, folder: Path, target: str) -> None:
        self.folder, self.plans = folder, folder / "plans"
        self.calls = folder / "calls.txt"
        self.full, self.half = b"full", b"half"
        (folder / "step_fp32.onnx").write_bytes(self.full)
        (folder / "step_fp16.onnx").write_bytes(self.half)
        (folder / "build_engine.sh").write_text(build_script(TARGETS[target], self.full, self.half))

    def trtexec(self, body: str = "") -> None:
        """Something in trtexec's place that notes how it was called, and makes the file that is asked for."""
        path = self.folder / "bin" / "trtexec"
        path.parent.mkdir()
        path.write_text(
            f'#!/bin/sh\necho "$@" >> {self.calls}\n{body}\n'
            'for a in "$@"; do case $a in --saveEngine=*) echo plan > "${a#--saveEngine=}";; esac; done\n'
        )
        path.chmod(0o755)

    def run(self) -> subprocess.CompletedProcess[str]:
        environment = {"PATH": f"{self.folder / 'bin'}:/usr/bin:/bin", FOLDER_VARIABLE: str(self.plans)}
        return subprocess.run(
            ["sh", str(self.folder / "build_engine.sh")],
            env=environment, capture_output=True, text=True, check=False, cwd="/",
        )  # fmt: skip


@pytest.mark.parametrize(
    ("target", "only"),
    [
        ("jetson-nano", ["--buildOnly", "--workspace=256"]),
        ("orin", ["--skipInference", "--memPoolSize=workspace:256"]),
    ],
)
def test_the_script_builds_both_plans_times_them_and_puts_them_where_they_are_found(
    tmp_path: Path, target: str, only: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    script = Script(tmp_path, target)
    script.trtexec()
    done = script.run()
    assert done.returncode == 0, done.stderr
    monkeypatch.setenv(FOLDER_VARIABLE, str(script.plans))
    found = plans(script.full)
    assert list(found) == ["fp16", "fp32"]
    assert {path.name for path in script.plans.iterdir()} == {path.name for path in found.values()}
    build32, time32, build16, time16 = (line.split() for line in script.calls.read_text().splitlines())
    for build, graph in ((build32, "step_fp32.onnx"), (build16, "step_fp16.onnx")):
        assert build[0] == f"--onnx={graph}"
        assert build[-2:] == only
        assert not any(word.startswith("--shapes") for word in build)
    assert "--fp16" in build16
    assert "--fp16" not in build32
    for timing, path in ((time32, found["fp32"]), (time16, found["fp16"])):
        assert timing[0] == f"--loadEngine={path}"
        assert any(word.startswith("--duration=") for word in timing)


def test_without_trtexec_the_script_says_so_in_one_line(tmp_path: Path) -> None:
    done = Script(tmp_path, "orin").run()
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "/usr/src/tensorrt/bin/trtexec is not there" in done.stderr
    assert not (tmp_path / "plans").exists()


def test_a_changed_graph_is_not_built(tmp_path: Path) -> None:
    script = Script(tmp_path, "orin")
    script.trtexec()
    (tmp_path / "step_fp16.onnx").write_bytes(b"hole")
    done = script.run()
    assert done.returncode == 2
    assert "a graph was changed: export again" in done.stderr
    assert not script.calls.exists()


def test_a_build_that_fails_leaves_no_plan(tmp_path: Path) -> None:
    script = Script(tmp_path, "orin")
    script.trtexec("exit 3")
    assert script.run().returncode == 3
    assert list(script.plans.iterdir()) == []


def test_the_plans_names_are_the_sha256_of_the_bundle_s_graph(tmp_path: Path) -> None:
    script = build_script(TARGETS["orin"], b"full", b"half")
    assert f"{hashlib.sha256(b'full').hexdigest()}.fp16.plan" in script
