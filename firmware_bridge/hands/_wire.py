"""What carries a hand's bytes, Bluetooth LE or a serial port, to the link that uses it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from firmware_bridge.errors import LinkError


class WrongHandError(LinkError):
    """What is there is not the hand that was described, or cannot be used: trying again would not help."""


class CannotOpenError(LinkError):
    """The wire itself cannot be opened, whatever is at its other end: trying again helps only where it could be before,
    since what was unplugged may be plugged in again."""


class Wire(Protocol):
    """One connection, for one asyncio loop; opened once and closed once."""

    @property
    def is_open(self) -> bool: ...

    @property
    def ending(self) -> str:
        """Why it is not open any more, for whoever reads the error; "" while it is, or where nothing is known."""

    async def open(self, on_data: Callable[[bytes], None], on_end: Callable[[], None]) -> None:
        """Connect; from then on `on_data` is given what comes, in the loop's thread, and `on_end` is called where the
        connection ends by itself. LinkError (or bleak's or the system's own error) where it cannot be made;
        CannotOpenError and WrongHandError where trying again would not help."""

    async def write(self, frame: bytes, wait: bool) -> bool:
        """Hand over a whole frame; True where the other end is known to have it. `wait`: until that is known, if it
        can be."""

    async def close(self) -> None:
        """End it; may be called at any time."""
