"""`bench --engines`: every engine of this machine, parity beside speed, and a verdict that owes TensorRT nothing."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import numpy as np
import pytest

from decoder.engines.plans import FOLDER_VARIABLE, PYTHON_VARIABLE, plan_name
from firmware_bridge.errors import NervehandError
from nervehand import bench_engines
from nervehand.bench_engines import bench_decoder, candidates, measure, run_bench_engines, verdict
from tests.decoder.engines.test_engines import STEP_GRAPH
from tests.replay.reference import BUNDLE

HERE = ["compiled", "onnxruntime", "onnxruntime-fp16", "remote-onnxruntime"]


@pytest.fixture(autouse=True)
def _short(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path))
    for name, value in (("HOT_HOPS", 20), ("PACED_HOPS", 3), ("WARM_HOPS", 2), ("PARITY_HOPS", 100)):
        monkeypatch.setattr(bench_engines, name, value)


def test_every_engine_that_is_here_has_its_speed_and_its_parity() -> None:
    figures = measure(STEP_GRAPH, 8.0, np.ones(2, np.float32), runs=1, period_s=0.001)
    rows = figures["engines"]
    assert isinstance(rows, dict)
    assert list(rows) == HERE
    for row in rows.values():
        assert row["within_bound"]
        assert row["hops"] == 100
        for regime in ("hot", "paced"):
            assert 0 < row[f"{regime}_p50_us"] <= row[f"{regime}_p99_us"]
    assert rows["compiled"]["outputs"] == 0
    assert 0 < rows["onnxruntime-fp16"]["outputs"] < 0.02
    assert "standing where TensorRT would" in rows["remote-onnxruntime"]["what"]
    assert set(figures["missing"]) == {"tensorrt-fp16", "tensorrt-fp32"}
    assert figures["best"] in ("compiled", "onnxruntime")
    assert "TensorRT was not measured" in str(figures["verdict"])


def test_processes_of_engines_end_with_the_bench() -> None:
    with candidates(STEP_GRAPH) as (found, _):
        [pid] = [c.engine.about.pid for c in found if c.name == "remote-onnxruntime"]
        os.kill(pid, 0)
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_a_plan_that_does_not_run_here_is_missing_with_its_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / plan_name(STEP_GRAPH, "fp16")).write_bytes(b"plan")
    monkeypatch.setenv(PYTHON_VARIABLE, sys.executable)
    with candidates(STEP_GRAPH) as (found, missing):
        assert [c.name for c in found] == HERE
        why = {m.name: m.why for m in missing}
    assert "No module named 'tensorrt'" in why["tensorrt-fp16"]
    assert "run build_engine.sh" in why["tensorrt-fp32"]


def row(us: float, choice: str = "", *, fits: bool = True) -> dict[str, object]:
    return {"paced_p50_us": us, "choice": choice, "within_bound": fits}


def test_the_fastest_paced_engine_within_its_bound_is_chosen() -> None:
    rows = {"compiled": row(500.0, "compiled"), "tensorrt-fp16": row(200.0, "tensorrt")}
    best, text = verdict(rows, [])
    assert best == "tensorrt"
    assert text == "best here: tensorrt-fp16, 200 µs paced (p50), beside compiled 500 µs"


def test_it_says_where_tensorrt_is_not_faster_or_was_not_measured() -> None:
    slow = {"compiled": row(139.0, "compiled"), "tensorrt-fp16": row(540.0, "tensorrt")}
    assert verdict(slow, [])[0] == "compiled"
    assert verdict(slow, [])[1].endswith("; TensorRT is not faster")
    alone = {"compiled": row(139.0, "compiled")}
    assert verdict(alone, ["tensorrt-fp16"])[1].endswith("; TensorRT was not measured")


def test_a_gain_that_is_noise_does_not_replace_the_compiled_engine() -> None:
    assert (
        verdict({"compiled": row(100.0, "compiled"), "onnxruntime": row(96.0, "onnxruntime")}, [])[0]
        == "compiled"
    )
    assert (
        verdict({"compiled": row(100.0, "compiled"), "onnxruntime": row(94.0, "onnxruntime")}, [])[0]
        != "compiled"
    )


def test_an_engine_out_of_its_bound_or_only_for_comparison_is_not_chosen() -> None:
    rows = {
        "compiled": row(500.0, "compiled"),
        "tensorrt-fp16": row(100.0, "tensorrt", fits=False),
        "remote-onnxruntime": row(50.0),
    }
    best, text = verdict(rows, [])
    assert best == "compiled"
    assert "tensorrt-fp16 100 µs (out of its bound)" in text
    with pytest.raises(NervehandError, match="no engine gives"):
        verdict({"compiled": row(1.0, "compiled", fits=False)}, [])


def test_json_is_one_object_with_the_machine(capsys: pytest.CaptureFixture[str]) -> None:
    run_bench_engines(BUNDLE, "compact", 1, as_json=True)
    figures = json.loads(capsys.readouterr().out)
    assert figures["decoder"] == str(BUNDLE)
    assert figures["machine"]
    assert figures["hop_ms"] == 20.0


def test_the_table_names_every_engine_and_the_verdict(capsys: pytest.CaptureFixture[str]) -> None:
    run_bench_engines(None, "compact", 1, as_json=False)
    out = capsys.readouterr().out
    for name in (*HERE, "best here", "not here"):
        assert name in out


@pytest.mark.parametrize("network", ["compact", "paper"])
def test_without_a_bundle_the_bench_configuration_is_measured(network: str) -> None:
    bundle = bench_decoder(network)
    assert bundle.hop_s == 0.02
    assert bundle.manifest.training.network == network
