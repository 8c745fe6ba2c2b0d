"""`nervehand status`: is it decoding, how late, what does the hand do, is it recorded, and what is wrong first."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Annotated

import typer

from firmware_bridge.errors import NervehandError
from nervehand.options import Json

if TYPE_CHECKING:
    from nervehand.status import Found

FINE, DEGRADED, NOT_RUNNING = 0, 1, 3
"""Exit statuses; 2 is a wrong call, as everywhere. 3 is what systemctl says of a unit that does not run."""
_WATCH_S = 1.0
_CLEAR = "\x1b[H\x1b[2J"


def add_status_command(app: typer.Typer) -> None:
    """Add it to the command line."""
    app.command()(status)


def status(
    name: Annotated[str, typer.Argument(help="Which daemon, where several run; else the only one.")] = "",
    as_json: Json = False,
    watch: Annotated[bool, typer.Option("--watch", help="Again every second, until Ctrl-C.")] = False,
) -> None:
    """How the daemon does. Exit status 0: all is well; 1: it has problems; 3: it is not running."""
    try:
        while True:
            found = _chosen(name)
            _show(found, name, as_json=as_json, clear=watch and sys.stdout.isatty())
            if not watch:
                raise typer.Exit(exit_status(found))
            time.sleep(_WATCH_S)
    except KeyboardInterrupt:
        raise typer.Exit(exit_status(found)) from None


def exit_status(found: Found | None) -> int:
    """What the command ends with."""
    from nervehand.status_problems import problems_of

    if found is None or not (found.running or found.status is None):
        return NOT_RUNNING
    return DEGRADED if any(not problem.is_note for problem in problems_of(found)) else FINE


def _chosen(name: str) -> Found | None:
    """The one of that name, or the only one that runs; None where none does."""
    from nervehand.status import find_statuses

    everyone = find_statuses()
    if name:
        return next((found for found in everyone if found.name == name), None)
    running = [found for found in everyone if found.running]
    if len(running) > 1:
        names = " or ".join(found.name for found in running)
        raise NervehandError(f"several daemons are running: say which, nervehand status {names}")
    # Of those that have ended, the one that somebody will ask about is the last.
    latest = sorted(everyone, key=lambda found: found.age_s if found.age_s is not None else float("inf"))
    return next(iter([*running, *latest]), None)


def _show(found: Found | None, name: str, *, as_json: bool, clear: bool) -> None:
    from firmware_bridge.plain import to_plain
    from nervehand.output import print_json
    from nervehand.status_page import page_of, state_of
    from nervehand.status_problems import problems_of

    if clear:
        print(_CLEAR, end="")
    if found is None:
        which = f"no daemon {name!r} is" if name else "no daemon is"
        if as_json:
            print_json({"name": name, "state": "not running", "age_s": None, "problems": [], "status": None})
        else:
            print(f"{which} running for you: start one with `nervehand run`")
        return
    if not as_json:
        print(page_of(found), flush=True)
        return
    age_s = None if found.age_s is None else round(found.age_s, 3)
    print_json(
        {
            "name": found.name,
            "state": state_of(found) if found.status is not None else "unknown",
            "age_s": age_s,
            "stale": found.stale,
            "problems": [to_plain(problem) for problem in problems_of(found)],
            "status": to_plain(found.status),
        }
    )
