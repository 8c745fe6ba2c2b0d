"""Two faults in real time on a daemon as it is worn; the others are a proof (tests/proof/test_chaos.py)."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.chaos.faults import Fault
from tests.chaos.real_daemon import unhandled
from tests.chaos.real_faults import run_faults

pytestmark = pytest.mark.slow


def test_a_guard_that_stands_still_and_an_engine_that_is_killed_leave_the_oracle_content(
    tmp_path: Path,
) -> None:
    plan = [
        Fault(0, "guard stopped", 0.5, 1.2, 1),
        Fault(1, "wall clock an hour back", 0.5, 1.0, 1),
        Fault(2, "decode killed", 0.5, 0.0, 1),
    ]
    verdict = run_faults(tmp_path, plan)
    assert verdict.faults == len(plan)
    assert verdict.violations == []
    assert verdict.unhandled == []
    assert verdict.differing == []
    assert verdict.watchdogs == {0: True}
    assert verdict.restarts == 1
    assert verdict.targets > 100
    assert verdict.compared_hops > 100


def test_a_line_that_tells_of_an_unhandled_exception_is_found() -> None:
    assert unhandled("info: fine\nTraceback (most recent call last):\n") == [
        "Traceback (most recent call last):"
    ]
    assert unhandled("warning decode: the recorder ended by itself (signal 9)") == []
