"""For a machine that may be taken away while a front-end is waited for."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

from firmware_bridge.errors import LinkError

LIMIT_S = 120.0
"""No figure: a machine may be slow, a test must end."""

Got = TypeVar("Got")


def patiently(connect: Callable[[], Got]) -> Got:
    """What `connect` returns; where nothing answers in the time that it allows, it is asked again for LIMIT_S."""
    end_s = time.monotonic() + LIMIT_S
    while True:
        try:
            return connect()
        except LinkError:
            if time.monotonic() > end_s:
                raise
