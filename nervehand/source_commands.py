"""The commands about front-ends: what is there, what it is like, whether the machine is fit, and running on it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from nervehand.options import AnyWearer, Json, Mains, OutSession, finite, free_to_write

Address = Annotated[
    str, typer.Argument(metavar="SOURCE", help="Its address; `nervehand sources` lists the forms.")
]
Start = Annotated[
    float,
    typer.Option("--start", metavar="SECONDS", help="Begin a session here.", min=0.0, callback=finite),
]
Seconds = Annotated[
    float | None,
    typer.Option(help="End after this much; else Ctrl-C ends it.", min=0.1, callback=finite),
]


def add_source_commands(app: typer.Typer) -> None:
    """Add them to the command line, in the order in which a newcomer needs them."""
    app.command()(sources)
    app.command()(inspect)
    app.command()(doctor)
    app.command()(run)
    app.command()(record)
    app.command()(emulate)


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
    mains: Mains = None,
    as_json: Json = False,
) -> None:
    """Listen to a source: its rate, gaps, jitter, and the noise and mains of each channel."""
    from nervehand.inspection_table import run_inspect

    run_inspect(source, seconds, start, mains, as_json=as_json)


def doctor(as_json: Json = False) -> None:
    """Is this machine fit? Says what is missing and what to do; changes nothing, needs no root."""
    from nervehand.doctor import run_doctor

    if not run_doctor(as_json=as_json):
        raise typer.Exit(1)


def run(
    source: Address,
    bundle: Annotated[Path, typer.Option("--bundle", metavar="DECODER.nhb", help="The decoder.")],
    hand: Annotated[str, typer.Option(help="virtual (over Bluetooth LE) or none.")] = "virtual",
    record: Annotated[
        Path | None, typer.Option("--record", metavar="OUT.nwb", help="Record the session while it runs.")
    ] = None,
    seconds: Seconds = None,
    start: Start = 0.0,
    mains: Mains = None,
    any_wearer: AnyWearer = False,
    headless: Annotated[bool, typer.Option("--headless", help="No screen.")] = False,
    as_json: Json = False,
) -> None:
    """Decode a source in real time and move a hand through the safety gate."""
    from nervehand.running import run_live

    if record is not None:
        free_to_write(record, force=None)
    run_live(
        source, bundle, hand, record, seconds, start, mains,
        any_wearer=any_wearer, headless=headless, as_json=as_json,
    )  # fmt: skip


def record(
    source: Address,
    out: OutSession,
    seconds: Seconds = None,
    start: Start = 0.0,
    mains: Mains = None,
    subject: Annotated[str, typer.Option(help="A pseudonym of the person.")] = "",
    side: Annotated[str, typer.Option(help="left or right: the side of the residual limb.")] = "",
    array: Annotated[str, typer.Option(help="The electrode array or the armband.")] = "",
    as_json: Json = False,
) -> None:
    """Record a source as it is received, without a decoder."""
    from decoder.session.model import SessionMeta
    from nervehand.running import run_record

    free_to_write(out, force=None)
    meta = SessionMeta(identifier=out.stem, subject=subject, side=side, array=array)
    run_record(source, out, seconds, start, mains, meta, as_json=as_json)


def emulate(
    kind: Annotated[str, typer.Argument(help="serial, intan or openephys.")],
    source: Annotated[
        str, typer.Argument(metavar="SOURCE", help="simulated[:PRESET/SUBJECT/DAY] or session:FILE.nwb.")
    ] = "simulated",
    rate: Annotated[str, typer.Option(help="1 (the source's own) or max (as fast as it is read).")] = "1",
    port: Annotated[
        Path | None,
        typer.Option(help="Where the serial port is to be; a link in the temporary folder if not given."),
    ] = None,
    start: Start = 0.0,
) -> None:
    """Serve a source as a real front-end would, to try the whole line on one machine. Ctrl-C ends it."""
    from nervehand.emulating import SERIAL_PORT, run_emulate

    run_emulate(kind, source, rate, port or SERIAL_PORT, start)
