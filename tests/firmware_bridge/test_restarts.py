"""How long it is before a process that ended by itself is started again."""

from __future__ import annotations

import subprocess
import sys

import pytest

from firmware_bridge.restarts import Waits, how_ended


def test_each_restart_waits_twice_as_long_up_to_a_limit() -> None:
    waits = Waits(0.2, 30.0, 60.0)
    assert [waits.after(1.0) for _ in range(10)] == [0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 12.8, 25.6, 30.0, 30.0]


def test_who_lived_for_long_did_not_die_of_its_start() -> None:
    waits = Waits(0.2, 30.0, 60.0)
    assert [waits.after(lived_s) for lived_s in (59.9, 59.9, 60.0, 1.0)] == [0.2, 0.4, 0.2, 0.4]


@pytest.mark.parametrize(
    ("code", "how"),
    [("raise SystemExit(3)", "exit status 3"), ("import os; os.kill(os.getpid(), 9)", "signal 9")],
)
def test_an_end_is_said_in_words(code: str, how: str) -> None:
    assert how_ended(subprocess.run([sys.executable, "-c", code], check=False).returncode) == how
