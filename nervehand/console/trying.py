"""Work that may be refused, done away from the pages' thread: what it gives, or its words on the page."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from nicegui import run, ui

from firmware_bridge.errors import NervehandError
from nervehand.console.shown import shown

V = TypeVar("V")


async def attempted(action: Callable[[], V]) -> V | None:
    """What it gives; None where it is refused, and then the page says why."""
    try:
        return await run.io_bound(action)
    except NervehandError as error:
        ui.notify(shown(str(error)), type="negative", position="top", timeout=8000, multi_line=True)
        return None
