"""`nervehand fit` as a person runs it: progress, a decoder that works, and Ctrl-C keeps the best so far."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from decoder.bundle import read_bundle
from tests.nervehand.conftest import Run

pytest.importorskip("torch", reason="fit needs the extra `train`")

INTERRUPTED = """
import os, signal
from nervehand import cli, fitting

class Interrupted(fitting._Lines):
    def __call__(self, progress):
        super().__call__(progress)
        os.kill(os.getpid(), signal.SIGINT)

fitting._Lines = Interrupted
cli.main()
"""
"""`nervehand`, with a Ctrl-C as soon as there is progress: from outside it might come when all is done."""


@pytest.mark.slow
def test_ctrl_c_keeps_the_best_so_far(small_file: Path, tmp_path: Path, run: Run) -> None:
    out = tmp_path / "stopped.nhb"
    command = [sys.executable, "-c", INTERRUPTED, "fit", str(small_file), "-o", str(out)]
    command += ["--json", "--threads", "1"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    assert "loss" in done.stderr
    summary = json.loads(done.stdout)
    assert summary["stopped_early"]
    assert summary["steps"] >= 1
    assert read_bundle(out).sha256 == summary["bundle_sha256"]
    result = run("replay", small_file, "--bundle", out, "--seconds", 2, "--json")
    assert json.loads(result.out)["hops"] == 95
