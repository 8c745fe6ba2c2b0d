"""The commands about hands: what is there, what a hand reports, moving it through the gate, and serving one to try."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from firmware_bridge.errors import NervehandError
from nervehand.options import AnyWearer, Force, Json, finite, free_to_write

Hand = Annotated[
    str,
    typer.Argument(
        metavar="HAND",
        help="Its address, ability_hand:/dev/ttyUSB0 say, or its TOML file (nervehand hand config).",
    ),
]
Transport = Annotated[
    str | None,
    typer.Option(
        metavar="MONIKER",
        help="Bluetooth by Bumble: usb:0, hci-socket:0, tcp-client:HOST:PORT; else the system's.",
    ),
]
Bonded = Annotated[bool, typer.Option("--bonded", help="Pair, and encrypt before anything is written.")]
Who = Annotated[
    str, typer.Option("--as", metavar="NAME", help="Who does this; your login name if not given.")
]
Acknowledge = Annotated[
    str,
    typer.Option(
        "--acknowledge-watchdog",
        metavar="NAME",
        help="Who accepts a hand of which it is unknown what it does when commands stop.",
    ),
]
Headless = Annotated[bool, typer.Option("--headless", help="No picture.")]


def reachable(option: typer.CallbackParam, position: float | None) -> float | None:
    """The position, unless it is none that a joint could have."""
    if position is not None and not -1 <= position <= 1:
        raise NervehandError(
            f"{option.opts[0]} is {position:g}: give a position from -1 (extension) to 1 (flexion)"
        )
    return position


Position = Annotated[float | None, typer.Option(help="-1 (extension) to 1 (flexion).", callback=reachable)]
Numbers = Annotated[
    list[str] | None, typer.Option(metavar="DOF=NUMBER", help="Or one number for all; may be repeated.")
]
Names = Annotated[list[str] | None, typer.Option(metavar="DOF", help="thumb, index, ...; may be repeated.")]
HoldSeconds = Annotated[
    float, typer.Option(help="For so long in all, then it is released.", min=0.1, max=3600.0, callback=finite)
]

hand_app = typer.Typer(
    help="Hands: find, look at, move through the gate, configure, and try.", no_args_is_help=True
)


def add_hand_commands(app: typer.Typer) -> None:
    """Add `hand ...` to the command line."""
    app.add_typer(hand_app, name="hand")


@hand_app.command()
def scan(
    transport: Transport = None,
    seconds: Annotated[
        float, typer.Option(help="How long to listen.", min=0.1, max=300.0, callback=finite)
    ] = 5.0,
    everything: Annotated[
        bool, typer.Option("--all", help="Also what is no hand that is known here.")
    ] = False,
    as_json: Json = False,
) -> None:
    """What is near, or plugged in, that could be a hand."""
    from nervehand.hand_scan import run_scan

    run_scan(transport, seconds, everything=everything, as_json=as_json)


@hand_app.command()
def state(
    hand: Hand,
    transport: Transport = None,
    bonded: Bonded = False,
    watch: Annotated[bool, typer.Option("--watch", help="A live picture until Ctrl-C.")] = False,
    seconds: Annotated[
        float | None, typer.Option(help="Watch for so long.", min=0.1, callback=finite)
    ] = None,
    as_json: Json = False,
) -> None:
    """What a hand reports, its own grips, and each limit of the gate with its reading. Moves nothing."""
    from nervehand.hand_state import run_state
    from nervehand.hand_use import chosen_hand

    if seconds is not None and not watch:
        raise NervehandError("--seconds is for how long to watch: add --watch, or leave it out")
    if watch and as_json:
        raise NervehandError("--watch draws a picture, --json prints the state once: give one of them")
    run_state(chosen_hand(hand, transport, bonded), watch=watch, seconds=seconds, as_json=as_json)


@hand_app.command()
def move(
    hand: Hand,
    thumb: Position = None,
    index: Position = None,
    middle: Position = None,
    ring: Position = None,
    little: Position = None,
    wrist: Position = None,
    seconds: HoldSeconds = 3.0,
    who: Who = "",
    transport: Transport = None,
    bonded: Bonded = False,
    acknowledge: Acknowledge = "",
    headless: Headless = False,
    as_json: Json = False,
) -> None:
    """Move a hand through the safety gate; what is not named stays where it is. Ctrl-C releases."""
    from nervehand.hand_move import run_move
    from nervehand.hand_use import chosen_hand, login_name

    named = {"thumb": thumb, "index": index, "middle": middle, "ring": ring, "little": little, "wrist": wrist}
    asked = {name: position for name, position in named.items() if position is not None}
    config = chosen_hand(hand, transport, bonded, acknowledge)
    run_move(config, asked, seconds, who or login_name(), headless=headless, as_json=as_json)


@hand_app.command()
def grip(
    hand: Hand,
    name: Annotated[str, typer.Argument(metavar="GRIP", help="One of the hand's own; `state` lists them.")],
    seconds: HoldSeconds = 3.0,
    who: Who = "",
    transport: Transport = None,
    bonded: Bonded = False,
    acknowledge: Acknowledge = "",
    headless: Headless = False,
    as_json: Json = False,
) -> None:
    """Start one of the hand's own grips through the safety gate. Ctrl-C releases."""
    from nervehand.hand_move import run_grip
    from nervehand.hand_use import chosen_hand, login_name

    config = chosen_hand(hand, transport, bonded, acknowledge)
    run_grip(config, name, seconds, who or login_name(), headless=headless, as_json=as_json)


@hand_app.command()
def release(
    hand: Hand,
    who: Who = "",
    transport: Transport = None,
    bonded: Bonded = False,
    headless: Headless = False,
    as_json: Json = False,
) -> None:
    """Send a hand to rest, within the speed limit, and wait until it is there."""
    from nervehand.hand_move import run_release
    from nervehand.hand_use import chosen_hand, login_name

    config = chosen_hand(hand, transport, bonded)
    run_release(config, who or login_name(), headless=headless, as_json=as_json)


@hand_app.command()
def adjust(
    file: Annotated[
        Path | None,
        typer.Argument(metavar="HAND.toml", help="Take the adjustments of a hand's file, as it is now."),
    ] = None,
    gain: Numbers = None,
    dead_band: Numbers = None,
    max_speed: Numbers = None,
    lock: Names = None,
    unlock: Names = None,
    hand_lock: Annotated[
        bool | None,
        typer.Option("--hand-lock/--hand-unlock", help="The whole hand stays where it is, or not."),
    ] = None,
    guard: Annotated[
        str, typer.Option(metavar="NAME", help="Which guard, where several run; else the only one.")
    ] = "",
    who: Who = "",
    as_json: Json = False,
) -> None:
    """Change a wearer's adjustments while a run moves the hand; without a change, show them."""
    from nervehand.guard_commands import only_guard
    from nervehand.hand_adjust import Changes, run_adjust
    from nervehand.hand_use import login_name

    changes = Changes(file, gain or (), dead_band or (), max_speed or (), lock or (), unlock or (), hand_lock)
    run_adjust(changes, guard or only_guard(), who or login_name(), as_json=as_json)


@hand_app.command()
def serve(
    speaks: Annotated[
        str, typer.Option(help="Its command set: virtual, ability_hand, hero, rohand or inspire.")
    ] = "virtual",
    on: Annotated[
        str, typer.Option(help="ble (a Bluetooth peripheral) or pty (a serial port); the hand's usual one.")
    ] = "",
    port: Annotated[
        str, typer.Option(help="TCP port of the simulated radio, or path of the serial port; else any.")
    ] = "",
    adapter: Annotated[
        str | None,
        typer.Option(metavar="MONIKER", help="A real Bluetooth adapter by Bumble instead, usb:0 say."),
    ] = None,
    physics: Annotated[
        bool, typer.Option("--physics", help="A physical hand (extra physics), for virtual.")
    ] = False,
    bonded: Annotated[
        bool, typer.Option("--bonded", help="Nothing without an encrypted link, which takes a bond.")
    ] = False,
    watchdog: Annotated[
        float | None,
        typer.Option(metavar="SECONDS", help="Of the virtual hand.", min=0.01, callback=finite),
    ] = None,
    radio: Annotated[
        str | None,
        typer.Option(metavar="SETTINGS", help="A radio as it really is: interval=0.015,loss=0.3 say."),
    ] = None,
    trace: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Write what is done to the hand, a JSON object a line."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Serve an emulated hand, to try everything without a real one. Lines on standard input are orders to it."""
    from nervehand.hand_serve import ServeOptions, run_serve

    if trace is not None:
        free_to_write(trace, force=True)
    options = ServeOptions(speaks, on, port, adapter, physics, bonded, watchdog, radio, trace)
    run_serve(options, as_json=as_json)


@hand_app.command()
def config(
    hand: Hand,
    out: Annotated[
        Path | None, typer.Option("-o", "--out", metavar="HAND.toml", help="Into a file; else it is printed.")
    ] = None,
    transport: Transport = None,
    bonded: Bonded = False,
    force: Force = False,
    as_json: Json = False,
) -> None:
    """A hand's configuration with every setting and its meaning, to be edited: the start of a wearer's own.

    Say in it which side the hand is: a run compares that with the decoder's before it arms.
    """
    from nervehand.hand_config_output import run_config
    from nervehand.hand_use import chosen_hand

    if force and out is None:
        raise NervehandError("--force replaces a file: name it with -o, or leave --force out")
    if as_json and out is not None:
        raise NervehandError("-o writes a TOML file, --json prints an object: give one of them")
    if out is not None:
        free_to_write(out, force)
    run_config(chosen_hand(hand, transport, bonded), out, as_json=as_json)


@hand_app.command()
def film(
    out: Annotated[
        Path, typer.Argument(metavar="OUT", help="A .gif (a film) or a .png (a strip of pictures).")
    ],
    session: Annotated[Path, typer.Option("--session", metavar="S.nwb", help="What to replay.")],
    bundle: Annotated[Path, typer.Option("--bundle", metavar="B.nhb", help="Its decoder.")],
    start: Annotated[
        float | None,
        typer.Option(
            metavar="S",
            help="Seconds into the session; else a little before the first grasp.",
            min=0.0,
            callback=finite,
        ),
    ] = None,
    seconds: Annotated[float, typer.Option(help="For so long.", min=0.5, max=120.0, callback=finite)] = 5.0,
    side: Annotated[str, typer.Option(help="right or left; else the session's own.")] = "",
    thing: Annotated[
        str, typer.Option("--object", help="What to grasp: cylinder, ball, box or none.")
    ] = "cylinder",
    size: Annotated[
        str, typer.Option(metavar="WxH", help="Pixels of a picture, without its caption.")
    ] = "400x300",
    frames: Annotated[int, typer.Option(help="Pictures of a strip.", min=1, max=60)] = 6,
    any_wearer: AnyWearer = False,
    force: Force = False,
    as_json: Json = False,
) -> None:
    """A recorded session moves a physical hand, through the safety gate's limits: a film, or a strip of pictures."""
    from nervehand.film import FilmSettings, picture_size, run_film

    free_to_write(out, force)
    settings = FilmSettings(start, seconds, side, thing, picture_size(size), frames)
    run_film(out, session, bundle, settings, any_wearer=any_wearer, as_json=as_json)
