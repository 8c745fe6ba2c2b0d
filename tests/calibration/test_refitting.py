"""Fits beside the stream: what another process says is heard, whatever else it says."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from calibration import refitting
from calibration.records import FitRecord
from calibration.refitting import Refits

FIT = '{"fit": {"after_round": 1, "n_trials": 8, "scores": {}, "fit_s": 2.0}}'

Fits = Callable[[str], Refits]


@pytest.fixture
def of_program(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Fits:
    """Fits whose process is a few lines of Python."""
    real = subprocess.Popen

    def make(code: str) -> Refits:
        def start(command: list[str], **options: object) -> subprocess.Popen[str]:
            return real([sys.executable, "-c", code], **options)  # type: ignore[call-overload,no-any-return]  # passed on

        monkeypatch.setattr(refitting.subprocess, "Popen", start)
        return Refits(tmp_path)

    return make


def ended(refits: Refits) -> list[FitRecord]:
    """What has come of the fit, once its process is over."""
    found: list[FitRecord] = []
    deadline = time.monotonic() + 60
    while refits.under_way is not None:
        assert time.monotonic() < deadline
        found += refits.take()
        time.sleep(0.01)
    return [*found, *refits.take()]


@pytest.mark.parametrize(
    "stray", ["a library's word", "7", "[]", '{"fit": 3}', '{"progress": "much"}', "\\udcff"]
)
def test_a_line_that_is_none_of_its_own_costs_no_fit(stray: str, of_program: Fits) -> None:
    code = (
        "import sys\n"
        f"sys.stdout.buffer.write({stray!r}.encode('utf-8', 'surrogateescape') + b'\\n')\n"
        "print('x' * 1_000_000)\n"  # more than a pipe holds: who does not read on would stop it
        f"print({FIT!r})\n"
    )
    with of_program(code) as refits:
        refits.want(1)
        assert ended(refits) == [FitRecord(1, 8, {}, 2.0)]
        assert refits.problem == ""


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", "it was ended by SIGKILL"),
        (
            "import os, sys; sys.stderr.write('low on memory\\n'); sys.stderr.flush(); os.abort()",
            "it was ended by SIGABRT: low on memory",
        ),
        ("raise SystemExit(3)", "it ended with code 3"),
        ("import sys; print('stray'); sys.exit(3)", "stray"),
        ("import sys; print('stray'); sys.exit('no trial is left')", "no trial is left"),
    ],
)
def test_a_fit_that_fails_says_why_or_at_least_how_it_ended(code: str, said: str, of_program: Fits) -> None:
    with of_program(code) as refits:
        refits.want(2)
        assert ended(refits) == []
        assert refits.problem == f"the decoder of round 2 could not be fitted: {said}"
