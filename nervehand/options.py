"""What the commands of the command line share: their options, and checks made before any work is done."""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import Annotated

import typer

from firmware_bridge.errors import NervehandError


def finite(option: typer.CallbackParam, number: float | None) -> float | None:
    """The number, unless it is infinite or none, which the limits of an option let through."""
    if number is not None and not math.isfinite(number):
        raise NervehandError(f"{option.opts[0]} is {number}: give a finite number")
    return number


def known_mains(frequency_hz: float | None) -> float | None:
    """The frequency, where there is a grid of it."""
    if frequency_hz is not None and frequency_hz not in (50.0, 60.0):
        raise NervehandError(f"mains of {frequency_hz:g} Hz: give 50 or 60")
    return frequency_hz


Json = Annotated[bool, typer.Option("--json", help="Print one JSON object instead of text.")]
Force = Annotated[bool, typer.Option("--force", help="Replace the output file where it exists.")]
OutSession = Annotated[Path, typer.Argument(metavar="OUT.nwb", help="The session to write.")]
Mains = Annotated[
    float | None,
    typer.Option(
        "--mains", metavar="HZ", help="50 or 60, where the device does not know it.", callback=known_mains
    ),
]
AnyWearer = Annotated[
    bool, typer.Option("--any-wearer", help="Accept another person's, side's or array's decoder.")
]


def free_to_write(path: Path, force: bool | None) -> None:
    """Raise before any work is done for a file that could not be written; `force` None: there is no --force."""
    if path.exists() and not force:
        or_force = "" if force is None else ", or replace it with --force"
        raise NervehandError(f"{path}: exists already: choose another name{or_force}")
    if path.is_dir():
        raise NervehandError(f"{path}: is a folder: give a file name")
    folder = path.absolute().parent
    if not folder.is_dir():
        raise NervehandError(f"{path}: the folder {path.parent} does not exist: make it first")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise NervehandError(f"{path}: the folder {path.parent} cannot be written to: choose another place")
