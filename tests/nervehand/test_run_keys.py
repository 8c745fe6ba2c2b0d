"""The keys of a run, pressed in a terminal as a person would."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest


@pytest.mark.slow
def test_the_space_bar_stops_the_hand_of_a_run(small_file: Path, small_decoder: Path, tmp_path: Path) -> None:
    ours, theirs = os.openpty()
    words = [f"session:{small_file}", "--bundle", str(small_decoder), "--hand", "none", "--seconds", "4"]
    with subprocess.Popen(
        [sys.executable, "-m", "nervehand", "run", *words, "--headless"],
        stdin=theirs, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        os.close(theirs)
        over = threading.Event()

        def press() -> None:
            while not over.wait(0.1):
                os.write(ours, b" ")

        pressing = threading.Thread(target=press, daemon=True)
        pressing.start()
        out, err = process.communicate(timeout=300)
        over.set()
        pressing.join()
    os.close(ours)
    assert process.returncode == 0, err
    assert "gate holding" in out
