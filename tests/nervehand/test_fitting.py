"""`nervehand fit` as a person runs it: progress, a decoder that works, and Ctrl-C keeps the best so far."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from decoder.bundle import read_bundle
from tests.nervehand.conftest import Run

pytest.importorskip("torch", reason="fit needs the extra `train`")


@pytest.mark.slow
def test_ctrl_c_keeps_the_best_so_far(small_file: Path, tmp_path: Path, run: Run) -> None:
    out = tmp_path / "stopped.nhb"
    command = [sys.executable, "-m", "nervehand", "fit", str(small_file), "-o", str(out)]
    command += ["--json", "--threads", "1"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    timer = threading.Timer(300, process.kill)
    timer.start()
    assert process.stderr is not None
    seen = ""
    while "loss" not in seen:  # the progress has begun
        seen += process.stderr.read(1)
    process.send_signal(signal.SIGINT)
    said, error = process.communicate(timeout=120)
    timer.cancel()
    assert process.returncode == 0, error
    summary = json.loads(said)
    assert summary["stopped_early"]
    assert summary["steps"] >= 1
    assert read_bundle(out).sha256 == summary["bundle_sha256"]
    result = run("replay", small_file, "--bundle", out, "--seconds", 2, "--json")
    assert json.loads(result.out)["hops"] == 95
