"""The way long proofs are run: sized, seeded, resumable, reported."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from tests.proof.__main__ import main
from tests.proof.plugin import Proof, spoken
from tests.proof.report import figures_text, machine, updated
from tests.proof.running import Run, collect, read_state, run_all

CONFTEST = "from tests.conftest import *\n"
PROOFS = """
import os, pathlib, pytest
pytestmark = pytest.mark.proof
HERE = pathlib.Path(__file__).parent

def test_a_thing_holds(proof):
    with (HERE / "runs").open("a") as log:
        log.write("thing ")
    proof.record(done=proof.count(1000), seed=proof.seed)

@pytest.mark.proof(alone=True)
@pytest.mark.parametrize("where", ["here", "there"])
def test_another_holds(proof, where):
    proof.record(where=where)
    assert where == "here" or (HERE / "mended").exists(), "not there yet"

def test_what_is_not_installed(proof):
    pytest.skip("the extra is not installed")

def test_ordinary_helper_is_a_proof_too():
    pass
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "conftest.py").write_text(CONFTEST)
    (tmp_path / "test_things.py").write_text(PROOFS)
    return tmp_path


def test_a_proof_knows_its_size_and_never_goes_under_its_least() -> None:
    assert Proof(scale=1.0).count(10_000_000) == 10_000_000
    assert Proof(scale=0.05).count(50) == 3
    assert Proof(scale=0.05).count(20) == 1
    assert Proof(scale=0.001).count(50) == 1
    assert Proof(scale=0.05).count(50, least=10) == 10


def test_figures_are_plain_numbers_and_texts() -> None:
    proof = Proof()
    proof.record(lost=np.int64(3), share=np.float32(0.5), what="all")
    assert json.dumps(proof.figures) == '{"lost": 3, "share": 0.5, "what": "all"}'
    with pytest.raises(TypeError, match="figure gaps"):
        proof.record(gaps=[1, 2])  # type: ignore[arg-type]  # the mistake in question


def test_plain_pytest_runs_a_twentieth(proof: Proof, request: pytest.FixtureRequest) -> None:
    assert Proof().count(1000) == 50
    assert proof.scale == request.config.getoption("--proof-scale")


def test_names_are_read_as_sentences() -> None:
    assert spoken("test_serial", "test_no_frame_is_lost") == "serial: no frame is lost"
    assert spoken("test_unplug", "test_it_recovers[serial-9600]") == "unplug: it recovers [serial-9600]"


def test_proofs_are_run_each_in_its_process_kept_and_gone_on_with(folder: Path) -> None:
    proofs = collect(folder)
    assert {p.name: p.alone for p in proofs} == {
        "things: a thing holds": False,
        "things: another holds [here]": True,
        "things: another holds [there]": True,
        "things: what is not installed": False,
        "things: ordinary helper is a proof too": False,
    }
    run, state = Run("abc", "", seed=7, scale=0.5), folder / "state.json"
    first = run_all(proofs, run, state)
    assert {name: result.outcome for name, result in first.items()} == {
        "things: a thing holds": "passed",
        "things: another holds [here]": "passed",
        "things: another holds [there]": "failed",
        "things: what is not installed": "skipped",
        "things: ordinary helper is a proof too": "passed",
    }
    assert first["things: a thing holds"].figures == {"done": 500, "seed": 7}
    assert first["things: another holds [there]"].figures == {"where": "there"}
    assert "not there yet" in first["things: another holds [there]"].output
    assert "the extra is not installed" in first["things: what is not installed"].why
    assert read_state(state) == first

    (folder / "mended").touch()
    again = run_all(proofs, run, state)
    assert again["things: another holds [there]"].outcome == "passed"
    assert (folder / "runs").read_text() == "thing "  # what had passed was not run again


def test_a_proof_that_hangs_is_ended_and_said(tmp_path: Path) -> None:
    (tmp_path / "conftest.py").write_text(CONFTEST)
    (tmp_path / "test_slow.py").write_text(
        "import threading, pytest\n@pytest.mark.proof\ndef test_it_ends(proof):\n    threading.Event().wait()\n"
    )
    proofs = collect(tmp_path)
    result = run_all(proofs, Run("abc", "", 1, 1.0), tmp_path / "state.json", limit_s=0.6)["slow: it ends"]
    assert result.outcome == "failed"
    assert "ended after" in result.why


def test_the_command_says_what_failed_and_leaves_the_report_of_full_runs_alone(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    common = ["--folder", str(folder), "--state", str(folder / "state.json"), "--scale", "0.1"]
    assert main([*common, "--only", "there"]) == 1
    assert "not there yet" in capsys.readouterr().out
    (folder / "mended").touch()
    assert main([*common, "--only", "there"]) == 0
    assert "1 passed, 0 failed, 0 skipped" in capsys.readouterr().out
    assert list(json.loads((folder / "state.json").read_text())) == ["things: another holds [there]"]
    with pytest.raises(SystemExit):
        main([*common, "--only", "no such proof"])


def test_the_state_belongs_to_one_code_seed_and_size(tmp_path: Path) -> None:
    runs = [Run(c, d, s, x) for c in ("a", "b") for d in ("", "-1") for s in (1, 2) for x in (0.05, 1.0)]
    assert len({run.state_path(tmp_path) for run in runs}) == len(runs)


def test_the_report_keeps_the_text_around_and_the_rows_of_other_runs() -> None:
    text = "# Proofs\n\n<!-- t -->\n<!-- /t -->\n\nRead on.\n"
    header = ("proof", "result")
    text = updated(text, "t", header, {"b": ["failed"], "a": ["passed | 3"]})
    assert text == (
        "# Proofs\n\n<!-- t -->\n| proof | result |\n| --- | --- |\n"
        "| a | passed / 3 |\n| b | failed |\n<!-- /t -->\n\nRead on.\n"
    )
    text = updated(text, "t", header, {"b": ["passed"]})
    assert "| a | passed / 3 |\n| b | passed |" in text
    assert "| a |" not in updated(text, "t", header, {}, known={"b"})
    with pytest.raises(ValueError, match="no lines"):
        updated(text, "u", header, {})


def test_figures_are_written_for_people() -> None:
    assert figures_text({"values": 10_000_000, "lost_samples": 0, "share": 0.123456}) == (
        "values 10 000 000, lost samples 0, share 0.1235"
    )
    assert "Python 3" in machine()
