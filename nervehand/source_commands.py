"""The commands about front-ends: what is there, what it is like, whether the machine is fit, and running on it."""

from __future__ import annotations

from typing import Annotated

import typer

from nervehand.options import Json, finite

Address = Annotated[
    str, typer.Argument(metavar="SOURCE", help="Its address; `nervehand sources` lists the forms.")
]
Start = Annotated[
    float,
    typer.Option("--start", metavar="SECONDS", help="Begin a session here.", min=0.0, callback=finite),
]


def add_source_commands(app: typer.Typer) -> None:
    """Add them to the command line, in the order in which a newcomer needs them."""
    app.command()(sources)
    app.command()(inspect)
    app.command()(doctor)


def sources(as_json: Json = False) -> None:
    """What front-ends are there, and how to address them."""
    from nervehand.source_table import run_sources

    run_sources(as_json=as_json)


def inspect(
    source: Address,
    seconds: Annotated[
        float, typer.Option(help="How long to listen.", min=0.1, max=3600, callback=finite)
    ] = 5.0,
    start: Start = 0.0,
    as_json: Json = False,
) -> None:
    """Listen to a source: its rate, gaps, jitter, and the noise and mains of each channel."""
    from nervehand.inspection_table import run_inspect

    run_inspect(source, seconds, start, as_json=as_json)


def doctor(as_json: Json = False) -> None:
    """Is this machine fit? Says what is missing and what to do; changes nothing, needs no root."""
    from nervehand.doctor import run_doctor

    if not run_doctor(as_json=as_json):
        raise typer.Exit(1)
