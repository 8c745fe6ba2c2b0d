"""An event loop whose clock jumps to the next timer instead of waiting for it: minutes in milliseconds."""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Coroutine
from typing import TypeVar

Result = TypeVar("Result")


class _Jumping(selectors.DefaultSelector):
    """Never waits: the time that it was given is over at once."""

    jumped_s = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        if not ready and timeout is None:
            raise AssertionError("nothing is left that could happen: what is waited for never comes")
        if not ready and timeout is not None:
            self.jumped_s += max(timeout, 0.0)
        return ready


class FastLoop(asyncio.SelectorEventLoop):
    """Its time begins at 0; nothing outside the process may be waited for."""

    def __init__(self) -> None:
        self._jumping = _Jumping()
        super().__init__(self._jumping)

    def time(self) -> float:
        return self._jumping.jumped_s


def run(main: Coroutine[object, object, Result]) -> Result:
    """What `main` returns, on such a loop."""
    with asyncio.Runner(loop_factory=FastLoop) as runner:
        return runner.run(main)
