"""`nervehand export`: a session for other programs, or a decoder for another machine."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from firmware_bridge.errors import NervehandError
from nervehand.options import Force, Json, finite


def add_export_command(app: typer.Typer) -> None:
    """Add it to the command line."""
    app.command()(export)


def export(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A session (.nwb), or a decoder (.nhb).")],
    to: Annotated[
        str | None,
        typer.Option(
            "--to", metavar="FORMAT", help="Of a session: nwb, edf (name it .edf or .bdf), xdf or mne (.fif)."
        ),
    ] = None,
    target: Annotated[
        str | None, typer.Option("--target", metavar="MACHINE", help="Of a decoder: jetson-nano or orin.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option("-o", "--out", metavar="OUT", help="The file, or the folder for a target.")
    ] = None,
    start: Annotated[
        float,
        typer.Option(metavar="SECONDS", help="Of a session: leave out what comes before.", callback=finite),
    ] = 0.0,
    seconds: Annotated[
        float | None, typer.Option(help="Of a session: only this much of it.", callback=finite)
    ] = None,
    force: Force = False,
    as_json: Json = False,
) -> None:
    """Write a session for other programs (--to), or a decoder for another machine (--target)."""
    if (to is None) == (target is None):
        what = "neither --to nor --target is" if to is None else "both --to and --target are"
        raise NervehandError(
            f"{what} given: use --to FORMAT for a session, or --target MACHINE for a decoder"
        )
    if out is None:
        raise NervehandError("-o is not given: say where to write to")
    if to is not None:
        from nervehand.export_session import run_export_session

        run_export_session(file, to, out, start, seconds, force=force, as_json=as_json)
        return
    if start or seconds is not None or force:
        raise NervehandError("--start, --seconds and --force are for sessions: leave them out with --target")
    from nervehand.export_target import run_export_target

    run_export_target(file, str(target), out, as_json=as_json)
