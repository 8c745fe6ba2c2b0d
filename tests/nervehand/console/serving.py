"""The console's process for tests: it finds only the engines of its own runtime folder, whatever else runs here."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from firmware_bridge.port import Entry, running
from nervehand.console.server import serve
from nervehand.console.watch import Watch


def own() -> tuple[Entry, ...]:
    """The engines that noted themselves in this process' runtime folder."""
    runtime = Path(os.environ["XDG_RUNTIME_DIR"])
    return tuple(entry for entry in running() if entry.token_path.is_relative_to(runtime))


if __name__ == "__main__":
    serve(
        "127.0.0.1",
        int(sys.argv[1]),
        Path(sys.argv[2]),
        "",
        is_opened=False,
        watch=Watch(look=own),
        steps=120,
    )
