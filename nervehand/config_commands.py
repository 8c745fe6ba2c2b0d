"""`nervehand config ...`: a daemon's configuration written, checked, shown, and taken by a daemon that runs."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from firmware_bridge.errors import NervehandError
from nervehand.options import Force, Json, free_to_write

config_app = typer.Typer(
    help="A daemon's configuration: write one to begin with, check it, show it, reload it.",
    no_args_is_help=True,
)
File = Annotated[Path, typer.Argument(metavar="FILE", help="A daemon's TOML file.")]


def add_config_commands(app: typer.Typer) -> None:
    """Add `config ...` to the command line."""
    app.add_typer(config_app, name="config")


@config_app.command()
def init(
    out: Annotated[
        Path | None,
        typer.Option("-o", "--out", metavar="FILE", help="Into a file; else it is printed."),
    ] = None,
    force: Force = False,
) -> None:
    """Every key with its default, its unit and what it does: the start of your own."""
    from nervehand.config import DaemonConfig
    from nervehand.config_text import toml_of

    if force and out is None:
        raise NervehandError("--force replaces a file: name it with -o, or leave --force out")
    if out is not None:
        free_to_write(out, force)
    text = toml_of(DaemonConfig())
    if out is None:
        print(text, end="")
        return
    try:
        out.write_text(text, encoding="utf-8")
    except OSError as error:
        raise NervehandError(f"{out}: cannot be written ({error.strerror}): choose another place") from error
    print(f"{out}: edit it, then check it: nervehand config check {out}")


@config_app.command()
def check(file: File) -> None:
    """Is a file right? Also whether the decoder and the other files that it names can be read.

    What this machine lacks is a warning: `run` on it would be refused.
    """
    from nervehand.config_file import read_config

    read = read_config(file)
    bundle = read.check_files(here=False)
    for warning in read.lacking(bundle):
        print(f"warning: {warning}", file=sys.stderr)
    print(f"{file}: right; hand {read.config.hand.address}, decoder {bundle.sha256[:12]}")


@config_app.command()
def show(
    file: Annotated[
        Path | None, typer.Argument(metavar="FILE", help="A daemon's TOML file; else the defaults.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Every value that holds, and where it comes from: a line of the file, the decoder, the hand, or the default."""
    from nervehand.config_file import read_config
    from nervehand.config_show import run_show

    run_show(read_config(file), as_json=as_json)


@config_app.command()
def reload(
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="Which daemon, where several run; else the only one.")
    ] = "",
    as_json: Json = False,
) -> None:
    """Let a daemon that runs read its file again: decision, adjustments and limits, without a stop.

    Where anything else has changed, or the file is wrong, nothing is applied.
    """
    from nervehand.config_reload import run_reload

    run_reload(name, as_json=as_json)
