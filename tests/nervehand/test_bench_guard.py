"""The cost of a guard process: both guards are measured, in one run."""

from __future__ import annotations

import json

import pytest

from nervehand import bench_guard
from tests.nervehand.conftest import Run


@pytest.mark.slow
@pytest.mark.usefixtures("patient")
def test_both_guards_are_measured_in_one_run(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench_guard, "COMMANDS", 20)
    monkeypatch.setattr(bench_guard, "STALLS", 5)
    done = run("bench", "--guard", "--json")
    assert done.status == 0, done.err
    said = json.loads(done.out)
    for name in ("thread", "process"):
        row = said[name]
        assert 0 < row["p50_us"] <= row["p95_us"] <= row["p99_us"]
        assert 0 < row["commands"] <= 20
    assert 10 < said["pss_mb"] < 80
    assert said["start_s"] > 0
    assert said["stalls"] == 5
    if said["stalls_found"]:  # else the guard was kept from looking for as long as they lasted
        assert 70 <= said["stall_found_p50_ms"] <= said["stall_found_max_ms"]
    assert said["machine"]


def test_the_table_names_both_and_the_machine(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    row = {"p50_us": 1.0, "p95_us": 22.0, "p99_us": 333.0, "commands": 4}
    found = {"thread": row, "process": row | {"p50_us": 99.0}, "start_s": 0.5, "pss_mb": 37.5} | {
        "stalls": 20, "stalls_found": 19, "stall_found_p50_ms": 87.0, "stall_found_max_ms": 98.0,
    }  # fmt: skip
    monkeypatch.setattr(bench_guard, "measure", lambda *_: found)
    out = run("bench", "--guard").out
    for said in (
        "guard in a thread:",
        "p99 333 µs",
        "p50 99 µs",
        "found 19 times, 87 ms (p50) and 98 ms (max)",
        "37.5 MB",
        "0.5 s",
        "machine: ",
    ):
        assert said in out
