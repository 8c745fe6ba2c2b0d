"""What ends a run with the virtual hand early, always by way of a release."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from nervehand.stopping import stop_on_signals


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_ctrl_c_a_request_to_end_and_a_closed_terminal_ask_the_run_to_stop(number: signal.Signals) -> None:
    before = signal.signal(number, signal.default_int_handler)
    try:
        with stop_on_signals() as stop:
            assert not stop.is_set()
            os.kill(os.getpid(), number)
            assert stop.wait(120)
        assert signal.getsignal(number) is signal.default_int_handler
    finally:
        signal.signal(number, before)


def test_nohup_keeps_its_meaning() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with stop_on_signals() as stop:
            os.kill(os.getpid(), signal.SIGHUP)
            assert not stop.wait(0.05)
    finally:
        signal.signal(signal.SIGHUP, before)


def test_ctrl_c_ends_a_wait_for_a_source_that_has_stalled(tmp_path: Path) -> None:
    """In a process of its own, since a run that does not end would take the tests with it."""
    script = tmp_path / "stalled.py"
    script.write_text(
        """
import signal, threading
from firmware_bridge.nerve.subject import SimulatedSubject
from firmware_bridge.sources.simulated import SimulatedSource
from nervehand.stopping import closed_by, stop_on_signals
from tests.closing import StoppedClock

clock = StoppedClock()
source = SimulatedSource(SimulatedSubject(1), 100, clock_ns=clock)
source.connect()
threading.Thread(
    target=lambda: (clock.asked.wait(), signal.pthread_kill(threading.main_thread().ident, signal.SIGINT))
).start()
with stop_on_signals() as stop, closed_by(stop, source):
    print(len(list(source.blocks())), stop.is_set())
"""
    )
    root = Path(__file__).resolve().parents[2]
    done = subprocess.run(
        [sys.executable, str(script)],
        capture_output=True, text=True, timeout=120, check=True, env={**os.environ, "PYTHONPATH": str(root)},
    )  # fmt: skip
    assert done.stdout.split() == ["0", "True"]
