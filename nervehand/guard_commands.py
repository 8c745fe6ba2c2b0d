"""`nervehand stop` and `nervehand release`: to the guard of a run, whatever its decoder does."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from firmware_bridge.errors import NervehandError
from nervehand.options import Json

Name = Annotated[
    str, typer.Option("--guard", metavar="NAME", help="Which guard, where several run; else the only one.")
]
Who = Annotated[str, typer.Option("--as", metavar="NAME", help="Who asks; your login name if not given.")]


def add_guard_commands(app: typer.Typer) -> None:
    """Add them to the command line."""
    app.command()(stop)
    app.command()(release)


def stop(guard: Name = "", who: Who = "", as_json: Json = False) -> None:
    """Stop the hand of a run where it is, now, until somebody arms it again."""
    _ask("stop", guard, who, as_json=as_json)


def release(guard: Name = "", who: Who = "", as_json: Json = False) -> None:
    """Send the hand of a run to rest, now or as soon as its link is up."""
    _ask("release", guard, who, as_json=as_json)


def _ask(request: str, guard: str, who: str, *, as_json: bool) -> None:
    from firmware_bridge.guard_requests import ask_for_rest
    from nervehand.gate_words import without_link
    from nervehand.hand_use import login_name
    from nervehand.output import print_json

    name = guard or only_guard()
    answer = ask_for_rest(name, request, who or login_name(), lambda text: print(text, file=sys.stderr))
    if as_json:
        print_json({"guard": name} | answer)
    elif answer["state"] == "unknown":
        print(f"guard {name}: {answer['way']}, and no answer came: look at the hand")
    else:
        print(f"guard {name}: {answer['state']}{without_link(answer['state'], answer['link'])}")


def only_guard() -> str:
    """The name of the guard that runs; NervehandError where none or several do."""
    from firmware_bridge.guard_sockets import running

    names = running()
    if not names:
        raise NervehandError("no guard is running for you: start one with `nervehand run`")
    if len(names) > 1:
        raise NervehandError(f"several guards are running: say which with --guard {' or '.join(names)}")
    return names[0]
