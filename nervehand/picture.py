"""The live screen as a picture: an SVG of the moment when the hand moved most."""

from __future__ import annotations

import io
import re
from pathlib import Path

from rich.console import Console

from nervehand.panels import screen_of
from nervehand.screen import Snapshot

_WIDTH = 126


class PictureScreen:
    """A Screen that keeps the snapshot whose positions are the largest; `save` writes it as an SVG file."""

    def __init__(self) -> None:
        self._best: Snapshot | None = None

    def show(self, snapshot: Snapshot) -> None:
        if not snapshot.warming and (self._best is None or _motion(snapshot) >= _motion(self._best)):
            self._best = snapshot

    def save(self, path: Path) -> bool:
        """Write the picture; False where nothing was shown."""
        if self._best is None:
            return False
        console = Console(width=_WIDTH, record=True, file=io.StringIO())
        console.print(screen_of(self._best, _WIDTH))
        # The terminal's own fonts: nothing is fetched to look at the picture.
        svg = re.sub(r"@font-face\s*{[^}]*}", "", console.export_svg(title="nervehand demo"))
        path.write_text(svg, encoding="utf-8")
        return True


def _motion(snapshot: Snapshot) -> float:
    return sum(abs(position) for position in snapshot.shown)
