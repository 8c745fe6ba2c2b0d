"""Command to hand: what is counted of a trace, and that every figure of a setting is measured."""

from __future__ import annotations

import json
import re

import pytest

from firmware_bridge.emulators.hands.device import Traced
from nervehand import bench_hand
from nervehand.bench_hand import Found, Step, arrivals
from tests.nervehand.conftest import Run

MS = 1_000_000


def target(sent_ms: int, came_ms: int) -> Traced:
    return Traced(came_ms * MS, "target", (0.0,) * 6, sent_ms=sent_ms % 65536)


def test_a_command_is_there_when_its_own_position_comes_or_one_that_replaced_it() -> None:
    trace = [target(65_530, 65_545), target(65_550, 65_580), target(65_560, 65_600)]
    steps = [
        Step(65_530 * MS, 65_530 * MS + 1000),  # comes itself, after 15 ms
        Step(65_540 * MS, 65_540 * MS + 1000),  # never: the one of 65 550 does, after 40 ms
        Step(65_560 * MS, 65_560 * MS + 1000),
        Step(65_590 * MS, 65_590 * MS + 1000),  # nothing followed
    ]
    found = Found()
    arrivals(found, steps, trace)
    assert found.to_hand_ms == [15.0, 40.0, 40.0]
    assert (found.commands, found.replaced, found.lost) == (4, 1, 1)


def test_what_comes_on_the_next_connection_is_no_arrival() -> None:
    found = Found()
    trace = [target(900, 910), Traced(1100 * MS, "disconnected"), target(1400, 1410)]
    arrivals(found, [Step(900 * MS, 900 * MS), Step(1000 * MS, 1000 * MS)], trace)
    assert found.to_hand_ms == [10.0]
    assert (found.commands, found.lost) == (2, 1)


@pytest.mark.slow
def test_every_figure_of_the_bare_link_and_of_the_radio_is_measured(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bench_hand, "SETTINGS", ((None, 0.0), (30.0, 0.1)))
    monkeypatch.setattr(bench_hand, "COMMANDS", 25)
    done = run("bench", "--hand", "--runs", "2", "--json")
    assert done.status == 0, done.err
    said = json.loads(done.out)
    assert said["machine"]
    bare, radio = said["rows"]
    assert (bare["interval_ms"], radio["interval_ms"], radio["loss"]) == (None, 30.0, 0.1)
    for row in (bare, radio):
        assert 0 < row["commands"] <= 50
        assert row["sent"] >= row["dropped"] >= 0
        for name in ("to_hand", "acknowledged"):
            p50, p95, p99 = (row[f"{name}_p{p}_ms"] for p in (50, 95, 99))
            assert 0 < p50 <= p95 <= p99


def test_the_table_says_everything(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    row = bench_hand._row((15.0, 0.3), Found(150, 7, 3, 300, 20, 1, [10.0, 20.0], [30.0, 60.0]))
    bare = bench_hand._row((None, 0.0), Found())
    monkeypatch.setattr(bench_hand, "measure", lambda *_: [bare, row])
    out = run("bench", "--hand").out
    headings = next(cells(line) for line in out.splitlines() if "links lost" in line)
    shown = next(cells(line) for line in out.splitlines() if "15.0, 19.5, 19.9" in line)
    assert dict(zip(headings, shown, strict=True)) == {
        "interval": "15",
        "PDUs lost": "30%",
        "to hand p50, p95, p99": "15.0, 19.5, 19.9",
        "acknowledged": "45.0, 58.5, 59.7",
        "replaced": "7 of 150",
        "lost": "3",
        "dropped": "20 of 300",
        "links lost": "1",
    }
    for said in ("bare link", "-, -, -", "machine: "):
        assert said in out


def cells(line: str) -> list[str]:
    """Of a line of the table."""
    return [cell.strip() for cell in re.split("[│┃]", line)[1:-1]]
