"""A machine that is short of memory or of processes for a moment."""

from __future__ import annotations

import errno
import os
import subprocess
from collections.abc import Callable

import pytest


def scarce(monkeypatch: pytest.MonkeyPatch, times: int) -> Callable[[], int]:
    """From now on the next `times` starts of a process fail as fork(2) does; what is returned says how many did."""
    start, failed = subprocess.Popen, 0

    def started(*arguments: object, **options: object) -> object:
        nonlocal failed
        if failed < times:
            failed += 1
            raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))
        return start(*arguments, **options)  # type: ignore[call-overload]

    monkeypatch.setattr(subprocess, "Popen", started)
    return lambda: failed
