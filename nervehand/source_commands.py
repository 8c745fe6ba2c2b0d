"""The commands about front-ends: what is there, what it is like, whether the machine is fit, and running on it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from firmware_bridge.errors import NervehandError
from nervehand.hand_commands import Acknowledge, Bonded, Transport
from nervehand.options import AnyWearer, Json, Mains, OutSession, finite, free_to_write

FORMS = "serial:DEVICE#cts or gpio:FILE"
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
    app.command()(pin)
    app.command()(arm)
    app.command()(push)
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
    context: typer.Context,
    source: Annotated[
        str | None,
        typer.Argument(metavar="[SOURCE]", help="Its address; `nervehand sources` lists the forms."),
    ] = None,
    bundle: Annotated[
        Path | None, typer.Option("--bundle", metavar="DECODER.nhb", help="The decoder.")
    ] = None,
    config: Annotated[
        Path | None,
        typer.Option(
            "--config",
            metavar="FILE.toml",
            help="All of it from a file (nervehand config init), as a daemon.",
        ),
    ] = None,
    hand: Annotated[
        str,
        typer.Option(
            help="virtual (a simulated one over Bluetooth LE), none, its address (ability_hand:/dev/ttyUSB0), "
            "or its TOML file (nervehand hand config)."
        ),
    ] = "virtual",
    arm_as: Annotated[
        str, typer.Option("--arm-as", metavar="NAME", help="Who answers for arming a real hand.")
    ] = "",
    transport: Transport = None,
    bonded: Bonded = False,
    acknowledge: Acknowledge = "",
    side: Annotated[
        str, typer.Option(help="left or right: which the hand is, where its file does not say.")
    ] = "",
    check: Annotated[
        bool, typer.Option("--check", help="Check before use also with a hand that nobody wears.")
    ] = False,
    override_check: Annotated[
        str, typer.Option("--override-check", metavar="NAME", help="Who arms without the check before use.")
    ] = "",
    one_process: Annotated[
        bool, typer.Option("--one-process", help="Guard the hand in this process, not in one of its own.")
    ] = False,
    guard: Annotated[
        str,
        typer.Option(metavar="NAME", help="What `nervehand stop` and `release` know this run's guard by."),
    ] = "",
    stop_line: Annotated[
        list[str] | None, typer.Option(metavar="LINE", help=f"Stops the hand when it opens: {FORMS}.")
    ] = None,
    release_line: Annotated[
        list[str] | None, typer.Option(metavar="LINE", help="Releases the hand when it opens.")
    ] = None,
    record: Annotated[
        Path | None, typer.Option("--record", metavar="OUT.nwb", help="Record the session while it runs.")
    ] = None,
    seconds: Seconds = None,
    start: Start = 0.0,
    mains: Mains = None,
    any_wearer: AnyWearer = False,
    port: Annotated[
        str | None,
        typer.Option(
            "--port",
            metavar="HOST:PORT",
            help="Serve samples and views there, and take requests (docs/port.md); :0 is a free port of this machine.",
        ),
    ] = None,
    headless: Annotated[bool, typer.Option("--headless", help="No screen.")] = False,
    as_json: Json = False,
) -> None:
    """Decode a source in real time and move a hand through the safety gate.

    With --config, as a daemon that is kept alive (docs/daemon.md); alone, a simulated person and a virtual hand.

    A real hand is checked first: the wearer rests for 10 s, and the hand is then armed by what was found.

    Keys: space stops the hand, r releases it, a arms it again, l locks or unlocks it. Ctrl-C releases and ends.
    """
    if source is None or config is not None:
        _run_daemon(context, config, seconds, headless=headless, as_json=as_json)
        return
    if bundle is None:
        raise NervehandError(f"no decoder for {source}: add --bundle DECODER.nhb")
    from nervehand.guarding import GuardOptions
    from nervehand.running import RunOptions, run_live

    if record is not None:
        free_to_write(record, force=None)
    guarding = GuardOptions(not one_process, guard, tuple(stop_line or ()), tuple(release_line or ()))
    options = RunOptions(arm_as, transport, bonded, acknowledge, check, override_check, side, guarding)
    run_live(
        source, bundle, hand, record, seconds, start, mains, options,
        any_wearer=any_wearer, headless=headless, as_json=as_json, port=port,
    )  # fmt: skip


def _run_daemon(
    context: typer.Context, config: Path | None, seconds: float | None, *, headless: bool, as_json: bool
) -> None:
    """As a daemon; NervehandError for options that its configuration has."""
    allowed = {"config", "seconds", "headless", "as_json"}
    for name, value in context.params.items():
        given_by = context.get_parameter_source(name)
        if name not in allowed and given_by is not None and given_by.name == "COMMANDLINE":
            what = "a source" if name == "source" else f"--{name.replace('_', '-')}"
            where = f"in {config}" if config else "in a configuration, or name a source"
            raise NervehandError(f"{what} ({value}) is given beside the configuration: say it {where}")
    from nervehand.daemon_command import run_daemon_command

    run_daemon_command(config, seconds, headless=headless, as_json=as_json)


def pin(
    name: Annotated[str, typer.Argument(help="Which daemon, where several run.")] = "",
    seconds: Annotated[float, typer.Option(help="How far back.", min=0.1, callback=finite)] = 60.0,
    why: Annotated[str, typer.Option(help="What has just happened, in a line.")] = "",
    who: Annotated[str, typer.Option("--as", metavar="NAME", help="Who wants it kept.")] = "",
) -> None:
    """Keep what a daemon has just recorded, whatever its budget says."""
    from nervehand.daemon_requests import DaemonRequest, run_pin
    from nervehand.hand_use import login_name

    run_pin(name, DaemonRequest(who or login_name(), why, seconds))


def arm(
    name: Annotated[str, typer.Argument(help="Which daemon, where several run.")] = "",
    who: Annotated[str, typer.Option("--as", metavar="NAME", help="Who answers for it.")] = "",
) -> None:
    """Let the hand of a daemon move again after somebody stopped it, by its check before use."""
    from nervehand.daemon_requests import run_arm
    from nervehand.hand_use import login_name

    run_arm(name, who or login_name())


def push(
    bundle: Annotated[Path, typer.Argument(metavar="DECODER.nhb", help="The decoder.")],
    port: Annotated[
        str,
        typer.Argument(metavar="PORT", help="port:HOST:PORT of a run; `nervehand sources` lists those here."),
    ],
    who: Annotated[str, typer.Option("--as", metavar="NAME", help="Who pushes it.")] = "",
    switch: Annotated[
        bool, typer.Option("--switch", help="Let it take over, as soon as the run accepts that.")
    ] = False,
    patience: Annotated[
        float, typer.Option(help="How many seconds that may take.", min=1.0, max=3600.0, callback=finite)
    ] = 60.0,
    any_wearer: Annotated[
        str, typer.Option(metavar="NAME", help="Who answers for a decoder of another wearer.")
    ] = "",
    token_file: Annotated[
        Path | None, typer.Option(metavar="FILE", help="The port's token, where it runs on another machine.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Put a decoder into shadow beside the one of a run, and let it take over if that is asked for.

    In shadow it decodes the same samples and moves nothing. The run decides whether and when it may take over.
    """
    from nervehand.pushing import run_push

    run_push(
        bundle,
        port,
        who,
        token_file,
        switch=switch,
        patience_s=patience,
        any_wearer=any_wearer,
        as_json=as_json,
    )


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
