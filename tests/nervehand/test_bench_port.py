"""What a port costs, measured: every case runs, and its figures are there."""

from __future__ import annotations

from pathlib import Path

import pytest

from nervehand import bench_port
from nervehand.bench_port import CASES, measure
from tests.firmware_bridge.guarding import own_guards


@pytest.mark.slow
def test_every_case_is_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own_guards(tmp_path, monkeypatch)
    monkeypatch.setattr(bench_port, "WRITES", 50)
    found = measure(1, seconds=1.0)
    rows = found["sample_to_decided_us"]
    assert set(rows) == {case.name for case in CASES}
    for row in rows.values():
        assert 0 < row["p50"] <= row["p99"] <= row["max"] * 1.02  # a percentile is a bucket's upper edge
        assert row["processor_per_hop"] > 0
    assert 0 < found["ring_write_us"]["p50"] <= found["ring_write_us"]["p99"]
