"""`nervehand cohort`: one line per decoder and subject, the means, and results that are resumed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

import nervehand.cohort as command
from calibration.cohort import Plan
from decoder.session.model import Session
from firmware_bridge.errors import NervehandError
from nervehand.cli import app
from nervehand.cohort import Cohort, mean_records, read_records, run_cohort
from tests.calibration.subjects import session

runner = CliRunner()


class Made:
    """Stands for the simulation; what was asked for in full is kept."""

    asked: list[tuple[int, int]]

    def __init__(self, subject: int, preset: str, repetitions: int) -> None:
        self.subject, self.repetitions = subject, repetitions

    def __call__(self, day: int, crosstalk: bool, seconds: float | None) -> Session:
        if seconds is None:
            Made.asked.append((self.subject, day))
        return session(self.repetitions, seed=100 * self.subject + day, seconds=seconds)


@pytest.fixture(autouse=True)
def simulation(monkeypatch: pytest.MonkeyPatch) -> None:
    Made.asked = []
    monkeypatch.setattr(command, "_Maker", Made)


def cohort(*subjects: int) -> Cohort:
    return Cohort(subjects, "default", 2, (True,), Plan(1, models=("lda",)))


def test_the_table_has_a_line_per_subject_and_case_and_the_means(
    capsys: pytest.CaptureFixture[str],
) -> None:
    run_cohort(cohort(1, 2), None, as_json=False)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == [
        "subject", "crosstalk", "front", "end", "model", "session", "balanced", "accuracy", "exact",
    ]  # fmt: skip
    assert [line.split()[:5] for line in lines[1:9]] == [
        [subject, "on", "default", "lda", case]
        for subject in "12"
        for case in ("whole", "intact", "masked", "unmasked")
    ]
    assert [line.split()[0] for line in lines[10:18]] == ["mean", "spread"] * 4
    assert lines[-1].startswith("4 channels lost, lda: balanced accuracy falls by ")


def test_results_that_are_there_are_not_scored_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "results.jsonl"
    run_cohort(cohort(1), out, as_json=False)
    first = capsys.readouterr().out
    assert Made.asked == [(1, 0), (1, 1)]
    run_cohort(cohort(1), out, as_json=False)
    assert capsys.readouterr().out == first
    assert Made.asked == [(1, 0), (1, 1)]
    run_cohort(cohort(1, 2), out, as_json=True)
    assert Made.asked == [(1, 0), (1, 1), (2, 0), (2, 1)]
    printed = json.loads(capsys.readouterr().out)
    assert [row["subject"] for row in printed["rows"]] == [1] * 4 + [2] * 4
    assert [mean["n_subjects"] for mean in printed["means"]] == [2] * 4


def test_a_line_that_was_cut_short_is_scored_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "results.jsonl"
    run_cohort(cohort(1), out, as_json=False)
    whole = out.read_text()
    out.write_text(whole[:-20])
    capsys.readouterr()
    run_cohort(cohort(1), out, as_json=False)
    assert "cut short" in capsys.readouterr().err
    again, before = (
        [{k: v for k, v in json.loads(line).items() if not k.endswith("_s")} for line in text.splitlines()]
        for text in (out.read_text(), whole)
    )
    assert again == before


def test_another_simulation_is_scored_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "results.jsonl"
    run_cohort(cohort(1), out, as_json=False)

    class Louder(Made):
        def __call__(self, day: int, crosstalk: bool, seconds: float | None) -> Session:
            return session(self.repetitions, seed=day, seconds=seconds, loudness=5.0)

    monkeypatch.setattr(command, "_Maker", Louder)
    run_cohort(cohort(1), out, as_json=False)
    assert len(read_records(out)) == 8


def test_a_file_of_something_else_is_refused(tmp_path: Path) -> None:
    out = tmp_path / "notes.txt"
    out.write_text("hello\n")
    with pytest.raises(NervehandError, match=r"notes.txt: line 1 is no result of a cohort"):
        read_records(out)


def test_means_leave_out_what_a_subject_does_not_have() -> None:
    def record(subject: int, score: float | None) -> dict[str, object]:
        kind = {"crosstalk": True, "front_end": "default", "model": "lda", "case": "whole"}
        return {"subject": subject, **kind, "scores": {"exact_match": score}}

    (mean,) = mean_records([record(1, 0.5), record(2, None), record(3, 0.7)])
    assert mean["n_subjects"] == 3
    assert mean["scores"] == {"exact_match": pytest.approx(0.6)}
    assert mean["spread"] == {"exact_match": pytest.approx(0.02**0.5)}


def test_options_are_read_as_written(capsys: pytest.CaptureFixture[str]) -> None:
    done = runner.invoke(
        app,
        [
            "cohort",
            "--subjects",
            "2-3",
            "--repetitions",
            "2",
            "--models",
            "lda",
            "--no-losses",
            "--train-days",
            "0,3",
        ],
    )
    assert done.exit_code == 0, done.output
    assert [line.split()[0] for line in done.stdout.splitlines()[1:3]] == ["2", "3"]
    assert Made.asked == [(2, 0), (2, 3), (2, 1), (3, 0), (3, 3), (3, 1)]


@pytest.mark.parametrize(
    ("option", "value", "said"),
    [
        ("--subjects", "1-x", "--subjects is '1-x'"),
        ("--subjects", "3-1", "each number once"),
        ("--models", "svm", "no model 'svm'"),
        ("--crosstalk", "maybe", "--crosstalk is 'maybe'"),
        ("--test-day", "0", "day 0 is trained on"),
        ("--out", "nowhere/results.jsonl", "the folder nowhere does not exist"),
    ],
)
def test_options_that_make_no_sense_are_refused(option: str, value: str, said: str) -> None:
    done = runner.invoke(app, ["cohort", option, value])
    assert isinstance(done.exception, NervehandError)
    assert said in str(done.exception)
    assert Made.asked == []


def test_a_preset_that_is_none_is_refused_before_anything_is_printed() -> None:
    result = runner.invoke(app, ["cohort", "--preset", "medium", "--subjects", "1"])
    assert result.exception is not None
    assert "'medium' is not known: use one of easy, default, hard" in str(result.exception) + result.stderr
    assert result.stdout == ""
