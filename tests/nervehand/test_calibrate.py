"""`nervehand calibrate` as a person or a program calls it."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import cast

import pytest
from typer.testing import CliRunner

from calibration.folder import JOURNAL, CalibrationFolder, Plan
from calibration.paradigm import Paradigm
from calibration.records import TrialRecord
from calibration.simulated_address import wearer_of
from calibration.view import Phase
from decoder.bundle import read_bundle
from decoder.session import recorder
from decoder.session.reader import read_session, tail_of
from firmware_bridge.errors import NervehandError
from firmware_bridge.port import Port
from nervehand import calibrating
from nervehand.cli import app

SHORT = ["--subject", "simulated", "--movements", "thumb,ring,fist", "--repetitions", "2"]
FAST = "kind = 'mirrored'\n[timing]\nrest_s = 0.8\nhold_s = 0.6\nround_rest_s = 0.5\n"


def nervehand(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "nervehand", *words],
        capture_output=True,
        text=True,
        timeout=500,
        stdin=subprocess.DEVNULL,
    )


@pytest.fixture
def paradigm(tmp_path: Path) -> str:
    path = tmp_path / "fast.toml"
    path.write_text(FAST)
    return str(path)


@pytest.mark.slow
def test_a_simulated_person_is_calibrated_in_one_go(tmp_path: Path, paradigm: str) -> None:
    out = tmp_path / "c1"
    done = nervehand(
        "calibrate", *SHORT, "--paradigm", paradigm, "-o", str(out), "--parts", "0", "--steps", "40", "--lag-ms", "150",
        "--fresh-day", "1", "--headless", "--json",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert (said["used"], said["is_finished"]) == (6, True)
    bundle = read_bundle(Path(said["files"]["decoder"]))
    assert bundle.sha256 == said["decoder_sha256"]
    assert bundle.manifest.subject == "simulated-default-1"
    assert read_session(Path(said["files"]["session"])).truth is not None
    assert Path(said["files"]["report"]).exists()
    assert said["alignment"]["lag_ms"] == pytest.approx(150, abs=25)  # from six trials only
    for name in ("steady_per_dof_accuracy", "untrained_steady_per_dof_accuracy"):
        assert 0.5 < said["fresh_day"][name] <= 1


@pytest.mark.slow
def test_a_killed_calibration_resumes_at_the_next_trial(tmp_path: Path, paradigm: str) -> None:
    out = tmp_path / "c1"
    words = [
        "calibrate",
        *SHORT,
        "--paradigm",
        paradigm,
        "-o",
        str(out),
        "--parts",
        "0",
        "--steps",
        "40",
        "--lag-ms",
        "150",
        "--headless",
    ]
    with subprocess.Popen(
        [sys.executable, "-m", "nervehand", *words], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL
    ) as process:
        deadline = time.monotonic() + 240
        while not (out / "journal").exists() or (out / "journal").read_text().count("movement") < 2:
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.02)
        os.kill(process.pid, signal.SIGKILL)
    folder = CalibrationFolder.reopen(out)
    before = folder.kept().records
    assert 1 <= len(before) < 7
    done = nervehand(
        "calibrate", "--resume", str(out), "--parts", "0", "--steps", "40", "--headless", "--json"
    )
    assert done.returncode == 0, done.stderr
    assert "cut off" in done.stderr
    after = folder.kept().records
    assert {n: after[n].first_sample for n in before} == {n: one.first_sample for n, one in before.items()}
    assert min(set(after) - set(before)) == max(before) + 1
    assert not any(tail_of(part).exists() for part in folder.parts)
    said = json.loads(done.stdout)
    assert said["is_finished"]
    assert said["alignment"]["lag_ms"] == pytest.approx(150, abs=40)  # it is the same person who goes on


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--subject", "simulated"], "no folder is given"),
        (["-o", "x", "--subject", "p1"], "no source is given"),
        (
            ["-o", "x", "--subject", "simulated", "--truth", "forte:/dev/x"],
            "does not go with a simulated person",
        ),
        (
            ["-o", "x", "--subject", "p1", "--source", "lsl:a", "--lag-ms", "9"],
            "--lag-ms is for a simulated person",
        ),
        (["-o", "x", "--subject", "simulated", "--kind", "mirror"], "give one of mirrored, mimic, tracking"),
        (["-o", "x", "--subject", "simulated", "--movements", "paw"], "there is no movement 'paw'"),
        (["-o", "x", "--subject", "simulated:default/x"], "give simulated"),
        (["-o", "x", "--subject", "simulated", "--side", "up"], "side is 'up'"),
        (["--resume", "x", "--subject", "p1"], "leave out --subject, or begin anew"),
        (["--resume", "x"], "is no calibration"),
        (["-o", "x", "--subject", "p1", "--source", "lsl:a"], "needs a ground truth"),
    ],
)
def test_what_cannot_be_done_is_one_clear_line(words: list[str], said: str, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "nervehand", "calibrate", *words, "--headless"],
        capture_output=True,
        text=True,
        timeout=120,
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])},
    )
    assert done.returncode == 2
    assert said in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


def test_a_paradigm_is_written_to_be_changed(tmp_path: Path) -> None:
    path = tmp_path / "p.toml"
    done = nervehand("paradigm", str(path), "--repetitions", "3")
    assert "8 movements, 3 times" in done.stdout
    assert "repetitions = 3" in path.read_text()


@pytest.mark.slow
def test_a_signal_while_the_decoder_is_fitted_leaves_what_can_be_resumed(
    tmp_path: Path, paradigm: str
) -> None:
    out = tmp_path / "c1"
    words = ["calibrate", *SHORT, "--paradigm", paradigm, "-o", str(out), "--parts", "0", "--headless"]
    with subprocess.Popen(
        [sys.executable, "-m", "nervehand", *words],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        deadline = time.monotonic() + 240
        while not (out / "session.nwb").exists():  # written before the fit, which takes a minute
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.05)
        process.send_signal(signal.SIGTERM)
        said, _ = process.communicate(timeout=60)
    assert f"left after 6 trials; go on with: nervehand calibrate --resume {out}" in said
    assert not (out / "decoder.nhb").exists()
    done = nervehand("calibrate", "--resume", str(out), "--parts", "0", "--steps", "20", "--headless")
    assert "6 of 6 trials taught the decoder" in done.stdout


def refused(*words: str) -> str:
    """What is said where a call is refused, on one line."""
    done = CliRunner().invoke(app, ["calibrate", *words, "--headless"])
    assert isinstance(done.exception, NervehandError), done.output
    assert "\n" not in str(done.exception)
    return str(done.exception)


REAL = ["--subject", "p1", "--source", "serial:/dev/nothing", "--truth", "simulated"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (REAL, "does not open"),
        ([*REAL, "--source", "nosuch:x"], "'nosuch' is not known"),
        ([*REAL, "--truth", "glove:x"], "ground truth 'glove' is not known"),
        ([*REAL, "--side", "left", "--truth", "rokoko:?side=left"], "the phantom hand is the left one"),
        ([*REAL, "--fresh-day", "0"], "--fresh-day is for a simulated person"),
        (["--subject", "simulated", "--port", "203.0.113.1:1"], "cannot be served"),
        (["--subject", "simulated", "--mishaps", "9999"], "9999 mishaps in 80 trials"),
        (["--subject", "simulated", "--network", "compct"], "no network 'compct'"),
        (["--subject", "simulated", "--parts", "1"], "--parts 1 holds nothing out"),
        (["--subject", "simulated:default/1/2", "--fresh-day", "2"], "the day of the calibration itself"),
        (
            ["--subject", "simulated:hard/3", "--source", "simulated:hard/4"],
            "simulated:hard/3 and simulated:hard/4 are two simulated persons",
        ),
        (["--subject", "simulated", "--truth", "simulated?side=left"], "option 'side=left' is not known"),
    ],
)
def test_a_start_that_fails_leaves_nothing_and_the_corrected_call_begins(
    words: list[str], said: str, tmp_path: Path
) -> None:
    assert said in refused(*words, "-o", str(tmp_path / "c1"))
    assert list(tmp_path.iterdir()) == []


def test_a_recording_that_cannot_begin_leaves_what_was_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recorder, "free_bytes", lambda path: 0)
    words = ["--subject", "simulated", "--kind", "mimic"]
    assert "free some space" in refused(*words, "-o", str(tmp_path / "new"))
    (tmp_path / "empty").mkdir()
    assert "free some space" in refused(*words, "-o", str(tmp_path / "empty"))
    assert [(one.name, list(one.iterdir())) for one in tmp_path.iterdir()] == [("empty", [])]


def test_a_folder_that_is_there_is_refused_before_any_source_is_opened(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").touch()
    assert "is there already" in refused(*REAL, "-o", str(tmp_path))


@pytest.mark.parametrize(
    "option",
    [
        "--out x", "--subject simulated", "--source lsl:a", "--truth simulated", "--side left", "--array cuff",
        "--kind mimic", "--repetitions 10", "--movements fist", "--paradigm p.toml", "--self-paced", "--seed 0",
        "--lag-ms 0", "--drift-ppm 0", "--mishaps 0",
    ],
)  # fmt: skip
def test_what_was_said_at_the_beginning_is_not_said_again(option: str) -> None:
    name = option.split()[0]
    assert f"leave out {name}, or begin anew" in refused("--resume", "x", *option.split())


def begun(path: Path, n_trials: int = 0, address: str = "simulated:default/1/0") -> CalibrationFolder:
    """A calibration, of a simulated person unless said, with trials and no recording."""
    folder = CalibrationFolder.create(
        path, Plan("c1", "s1", "right", "simulated", address, address, "2026-01-31T12:00:00+00:00")
    )
    with folder.journal() as append:
        for number in range(1, n_trials + 1):
            append("trial", TrialRecord(number, 1, 1, "fist", "part-001.nwb", 0, 750, 2250, 3300))
    return folder


@pytest.mark.parametrize(
    ("n_damaged", "said"), [(0, ""), (1, "1 line is damaged"), (2, "2 lines are damaged")]
)
def test_damaged_lines_of_the_journal_are_said(
    n_damaged: int, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = begun(tmp_path / "c1", 3)
    lines = (folder.path / JOURNAL).read_text().splitlines(keepends=True)
    for i in range(n_damaged):
        lines[i] = lines[i].replace("fist", "fisT")
    (folder.path / JOURNAL).write_text("".join(lines))
    for words in (
        ["calibrate", "--resume", str(folder.path), "--headless", "--port", "nonsense"],
        ["report", str(folder.path)],
    ):
        done = CliRunner().invoke(app, words)
        assert isinstance(done.exception, NervehandError)
        assert (said in done.stderr, "damaged" in done.stderr) == (True, bool(n_damaged))


def test_what_is_left_can_be_gone_on_with_or_ended_without_its_devices(tmp_path: Path) -> None:
    made = begun(tmp_path / "c1", 3)
    said = calibrating.describe(made, None)
    assert f"nervehand calibrate --resume {made.path}" in said
    assert f"without amplifier and glove: nervehand report {made.path}" in said
    assert "nervehand report" not in calibrating.describe(begun(tmp_path / "c2"), None)


def test_a_simulated_person_who_is_taken_up_again_is_the_same() -> None:
    wearer, _ = wearer_of("simulated:hard/3/2?lag_ms=80&drift_ppm=-20")
    begun_with = calibrating.CalibrateOptions(
        Paradigm(), "s3", wearer=replace(wearer, side="left"), n_mishaps=4
    )
    again = calibrating.options_of(calibrating.plan_of(begun_with, "c1"))
    assert (again.wearer, again.n_mishaps) == (begun_with.wearer, 4)


@pytest.mark.parametrize(
    ("address", "said"),
    [("simulated:default/1/1", "the day of the calibration itself"), ("lsl:a", "simulated person")],
)
def test_a_fresh_day_may_be_said_where_a_calibration_is_taken_up_again(
    address: str, said: str, tmp_path: Path
) -> None:
    assert said in refused("--resume", str(begun(tmp_path / "c1", address=address).path), "--fresh-day", "1")


class Shown:
    """The last views that were shown."""

    def __init__(self) -> None:
        self.ends: list[tuple[Phase, str]] = []

    @contextlib.contextmanager
    def meanwhile(self) -> Iterator[Callable[[str, float], None]]:
        yield lambda text, part: None

    def show_end(self, phase: Phase, files: Mapping[str, str], failure: str) -> None:
        self.ends.append((phase, failure))


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (NervehandError("no trial is left"), "no trial is left"),
        (OSError(28, "No space"), "OSError(28, 'No space')"),
    ],
)
def test_an_end_that_fails_is_shown_whatever_failed_and_a_signal_cuts_the_show_short(
    error: Exception, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr(calibrating, "finish", fail)
    monkeypatch.setattr(calibrating, "LINGER_S", 60.0)
    shown, stop = Shown(), threading.Event()
    threading.Timer(0.05, stop.set).start()
    began_s = time.monotonic()
    with pytest.raises(type(error)):
        calibrating._finished(
            begun(tmp_path / "c1"),
            calibrating.LastFit(),
            cast(calibrating._Lead, shown),
            cast(Port, object()),
            stop,
        )
    assert shown.ends == [(Phase.FAILED, said)]
    assert time.monotonic() - began_s < 30
