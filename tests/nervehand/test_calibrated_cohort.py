"""`nervehand cohort --calibrated`: a line per decoder and person, mean and worst, and results that are resumed."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import nervehand.calibrated_cohort as command
from calibration.calibrated_cohort import SCORES, Case, Result
from calibration.paradigm import Paradigm
from calibration.simulated_wearer import Wearer
from firmware_bridge.errors import NervehandError

asked: list[tuple[int, Case]] = []


def made(
    wearer: Wearer,
    paradigm: Paradigm,
    test_day: int,
    cases: list[Case],
    threads: int = 1,
    on_progress: Callable[[str], None] = lambda text: None,
) -> Iterator[Result]:
    """Stands for the simulation: a score that says whose it is."""
    for case in cases:
        asked.append((wearer.number, case))
        scores: dict[str, float | None] = dict.fromkeys(SCORES, 0.5 + wearer.number / 10)
        yield Result(case, scores, scores, 1.0, command.LAG_S + wearer.number / 1e3, 20.0)


@pytest.fixture(autouse=True)
def simulation(monkeypatch: pytest.MonkeyPatch) -> None:
    asked.clear()
    monkeypatch.setattr(command, "score_person", made)


def run(out: Path | None, *models: str, as_json: bool = False) -> None:
    command.run_calibrated_cohort((1, 3), "default", 10, 0, 1, models, 1, out, as_json=as_json)


def test_each_case_has_its_mean_and_its_worst(capsys: pytest.CaptureFixture[str]) -> None:
    run(None, "lda", "compact")
    lines = capsys.readouterr().out.splitlines()
    people = [line.split()[:2] for line in lines[:8]]
    assert people == [[who, model] for who in "13" for model in ("lda", "compact", "compact", "compact")]
    assert [line.split()[:3] for line in lines[10:18]] == [
        [which, model, times]
        for model, times in (("lda", "10"), ("compact", "10"), ("compact", "3"), ("compact", "10"))
        for which in ("mean", "worst")
    ]
    assert "0.700" in lines[10]
    assert "0.600" in lines[11]
    assert lines[-1] == "lag of 150 ms found within 3.0 ms, on the mean 2.0"


def test_only_what_is_missing_is_computed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "found.jsonl"
    run(out, "lda")
    assert asked == [(1, Case("lda", 10)), (3, Case("lda", 10))]
    asked.clear()
    capsys.readouterr()
    run(out, "lda", "windowed", as_json=True)
    assert asked == [(1, Case("windowed", 10)), (3, Case("windowed", 10))]
    said = json.loads(capsys.readouterr().out)
    assert [row["n_subjects"] for row in said["summary"]] == [2, 2]
    assert said["summary"][0]["scores"]["steady_per_dof_accuracy"]["worst"] == pytest.approx(0.6)
    assert len(out.read_text().splitlines()) == 4


def test_results_of_another_kind_are_not_added_to(tmp_path: Path) -> None:
    out = tmp_path / "found.jsonl"
    out.write_text('{"subject": 1}\n')
    with pytest.raises(NervehandError, match="another kind"):
        run(out, "lda")
    assert out.read_text() == '{"subject": 1}\n'
