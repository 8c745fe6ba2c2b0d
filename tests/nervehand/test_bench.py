"""The bench prints every figure that METRICS names, measured, with the machine that it belongs to."""

from __future__ import annotations

import json

import pytest

from nervehand.bench import BenchSettings, measure
from tests.nervehand.conftest import Run

pytest.importorskip("torch", reason="the paper-style baseline needs the extra `train`")

TIMES = (
    "chain", "conditioning_features", "health", "engine", "onnx_runtime", "bare_products", "paper_style",
)  # fmt: skip


@pytest.fixture(scope="module")
def figures() -> dict[str, object]:
    return measure(BenchSettings(channels=4, rate_hz=10_000.0, hop_ms=20.0, network="compact", runs=1))


@pytest.mark.slow
def test_every_figure_is_there_and_positive(figures: dict[str, object]) -> None:
    for regime in ("hot", "paced"):
        for stage in TIMES:
            for percent in ("p50", "p99"):
                value = figures[f"{regime}_{stage}_{percent}_us"]
                assert isinstance(value, float)
                assert value > 0
        assert figures[f"{regime}_chain_p50_us"] > figures[f"{regime}_engine_p50_us"]
        ratio = figures[f"{regime}_paper_style_p50_us"] / figures[f"{regime}_chain_p50_us"]
        assert figures[f"{regime}_ratio_p50"] == pytest.approx(ratio, abs=0.01)
    assert figures["replay_x_real_time"] > 1
    assert figures["hot_chain_x_real_time"] > 1
    assert figures["machine"]


def test_a_hop_that_is_no_sample_and_a_network_that_is_none_are_refused(run: Run) -> None:
    for words, said in ((("--hop", "0.1", "--rate", "1000"), "hop"), (("--network", "lstm"), "lstm")):
        result = run("bench", *words)
        assert result.status == 2
        assert said in result.err


@pytest.mark.slow
def test_json_is_one_object(run: Run) -> None:
    result = run("bench", "--channels", 2, "--runs", 1, "--network", "compact", "--json")
    assert result.status == 0, result.err
    assert json.loads(result.out)["hot_ratio_p50"] > 0
