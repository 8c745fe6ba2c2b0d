"""`nervehand console`: the operator's pages in a browser."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from firmware_bridge.errors import NervehandError

PASSWORD_VARIABLE = "NERVEHAND_CONSOLE_PASSWORD"
LEAST_PASSWORD = 8


def console(
    host: Annotated[
        str,
        typer.Option(metavar="ADDRESS", help="Another than 127.0.0.1 needs a password, and tells it in clear text."),
    ] = "127.0.0.1",
    port_number: Annotated[int, typer.Option("--port-number", help="Of the pages.", min=1, max=65535)] = 8080,
    folder: Annotated[
        Path, typer.Option(metavar="FOLDER", help="Where sessions and decoders are, and results go.")
    ] = Path("."),
    password_file: Annotated[
        Path | None,
        typer.Option(
            "--password-file", metavar="FILE",
            help=f"Ask browsers for the password in its first line; {PASSWORD_VARIABLE} does the same.",
        ),
    ] = None,
    engine: Annotated[
        str,
        typer.Option(
            metavar="HOST:PORT",
            help="Watch the run or calibration served there, on this machine or another, and no other.",
        ),
    ] = "",
    steps: Annotated[
        int | None,
        typer.Option(help="Of training in calibrations that begin here: fewer are faster, and worse.", min=1),
    ] = None,
    is_opened: Annotated[bool, typer.Option("--open", help="Open a browser.")] = False,
) -> None:  # fmt: skip
    """Watch and steer live runs and calibrations in a browser. They run on when this ends."""
    from nervehand.console.addresses import is_loopback

    password = given_password(password_file)
    if not is_loopback(host) and not password:
        raise NervehandError(
            f"{host} can be reached by others, who could then move a hand: give --password-file, or leave out --host"
        )
    if not folder.is_dir():
        raise NervehandError(f"{folder}: is not a folder: make it first, or name another one")
    try:
        from nervehand.console.server import serve
    except ModuleNotFoundError as error:
        if not (error.name or "").startswith("nicegui"):
            raise
        raise NervehandError(
            'the console needs nicegui: python -m pip install "nervehand[console]"'
        ) from error
    serve(host, port_number, folder, password, is_opened=is_opened, engine=engine, steps=steps)


def given_password(path: Path | None) -> str:
    """From the file's first line, else from the environment; "" where neither is. NervehandError for a short one."""
    if path is None:
        password, source = os.environ.get(PASSWORD_VARIABLE, "").strip(), PASSWORD_VARIABLE
    else:
        try:
            lines = path.read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise NervehandError(
                f"{path}: no password can be read ({error}): write one in its first line"
            ) from None
        password, source = (lines[0].strip() if lines else ""), str(path)
        if not password:
            raise NervehandError(f"{path}: its first line is empty: write a password there")
    if password and len(password) < LEAST_PASSWORD:
        raise NervehandError(
            f"the password of {source} has {len(password)} characters: take at least {LEAST_PASSWORD}"
        )
    return password
