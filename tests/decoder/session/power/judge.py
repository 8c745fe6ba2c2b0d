"""Settles or recovers what lies in folders, as the start after a power cut does; a process that may crash alone.

python -m tests.decoder.session.power.judge settle|recover FOLDER...
"""

from __future__ import annotations

import sys
from pathlib import Path

from decoder.session import recover
from decoder.session.reader import tail_of
from decoder.session.settle import settle
from firmware_bridge.errors import NervehandError


def outcome(path: Path, how: str) -> str:
    """What came of a recording, in a line; an error that is meant for people begins with "refused"."""
    if not tail_of(path).exists():
        return "closed"
    try:
        return settle(path) if how == "settle" else str(recover(path))
    except NervehandError as error:
        return f"refused: {error}"


if __name__ == "__main__":
    for folder in map(Path, sys.argv[2:]):
        for path in sorted(folder.glob("*.nwb")):
            print(f"{path}\t{outcome(path, sys.argv[1])}", flush=True)
