"""What commands print, for programs and for people."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from firmware_bridge.errors import NervehandError


def print_json(values: object) -> None:
    """Print one JSON object; a value that is not finite is a fault of ours and raises ValueError."""
    print(json.dumps(values, indent=1, allow_nan=False))


@contextmanager
def naming(*paths: Path) -> Iterator[None]:
    """Errors from within begin with the files that they are about."""
    try:
        yield
    except NervehandError as error:
        raise NervehandError(f"{', '.join(map(str, paths))}: {error}") from error


@contextmanager
def saying(text: str, silent: bool) -> Iterator[None]:
    """Show on standard error what is being done, unless `silent`."""
    if silent:
        yield
        return
    from rich.console import Console

    with Console(stderr=True).status(text):
        yield
