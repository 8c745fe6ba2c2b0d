"""The recordings below a folder with their facts, each read once until its file changes."""

from __future__ import annotations

from pathlib import Path

from nicegui import run

from firmware_bridge.errors import NervehandError
from nervehand.console.finding import files_below
from nervehand.console.reading import Reader
from nervehand.console.session_view import SessionFacts, facts_of

FACTS_S = 10.0
"""A file whose header takes longer is not waited for again until it changes."""

Stamp = tuple[int, int]


class SessionList:
    """What is known of them, for all pages."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self._known: dict[Path, tuple[Stamp, SessionFacts]] = {}

    async def facts(self, folder: Path) -> list[SessionFacts]:
        """Of each, the newest first; one that cannot be read has a problem."""
        stamps = await run.io_bound(_stamps, folder) or {}
        self._known = {path: kept for path, kept in self._known.items() if stamps.get(path) == kept[0]}
        found = []
        for path, stamp in stamps.items():
            kept = self._known.get(path)
            if kept is None:
                kept = self._known[path] = stamp, await self._read(path)
            found.append(kept[1])
        await self._reader.rest()  # such a child is as large as a decoder, and lists are seldom looked at
        return found

    async def _read(self, path: Path) -> SessionFacts:
        try:
            return await self._reader.read(facts_of, path, limit_s=FACTS_S)
        except NervehandError as error:
            return SessionFacts(path, problem=f"{path}: {error}")


def _stamps(folder: Path) -> dict[Path, Stamp]:
    found = {}
    for path in files_below(folder, ".nwb"):
        try:
            seen = path.stat()
        except OSError:  # it was removed just now
            continue
        found[path] = seen.st_mtime_ns, seen.st_size
    return found
