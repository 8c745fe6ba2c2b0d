"""Files that pages link to: results and reports below the console's folder, served by their path in it."""

from __future__ import annotations

import mimetypes
from pathlib import Path
from urllib.parse import quote

from nicegui import app
from starlette.responses import FileResponse, PlainTextResponse, Response

from nervehand.console.shown import shown
from nervehand.console.texts import say

PREFIX = "/files"
SHOWN = {".html", ".pdf", ".svg", ".png", ".txt", ".json"}
"""What a browser opens; all else it keeps as a file."""
SERVED = SHOWN | {".nhb", ".nwb", ".csv", ".npz"}

_folders: list[Path] = []


def serve_files(folder: Path) -> None:
    """Serve what lies below a folder, of the kinds that nervehand writes."""
    _folders[:] = [folder.resolve()]

    @app.get(PREFIX + "/{path:path}")
    def file(path: str) -> Response:
        found = below(_folders[0], path)
        if found is None or found.suffix not in SERVED:
            return PlainTextResponse(say("files.none", path=shown(path)), 404)
        kind = mimetypes.guess_type(found.name)[0] or "application/octet-stream"
        headers = {"Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; img-src data:"}
        how = "inline" if found.suffix in SHOWN else "attachment"
        return FileResponse(
            found, media_type=kind, filename=found.name, content_disposition_type=how, headers=headers
        )


def file_url(path: Path) -> str:
    """Where a file below the folder is served; of one elsewhere, an address that says that it is not."""
    resolved = path.resolve()
    inside = resolved.relative_to(_folders[0]) if resolved.is_relative_to(_folders[0]) else Path(path.name)
    return f"{PREFIX}/{quote(inside.as_posix(), errors='surrogateescape')}"


def below(folder: Path, name: str) -> Path | None:
    """The file of that name below a folder; None for what lies elsewhere, is no file, or can be no file's name."""
    try:
        found = (folder / name).resolve()
        return found if found.is_relative_to(folder.resolve()) and found.is_file() else None
    except (OSError, ValueError):
        return None
