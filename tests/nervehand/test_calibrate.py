"""`nervehand calibrate` as a person or a program calls it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from calibration.folder import CalibrationFolder
from decoder.bundle import read_bundle
from decoder.session.reader import read_session, tail_of

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
    assert json.loads(done.stdout)["is_finished"]


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
        (["--resume", "x", "--subject", "p1"], "leave out the other options"),
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
