"""`nervehand hand config`: a hand's configuration as a file to be edited, or as an object for a program."""

from __future__ import annotations

import math
import sys
import tomllib
from pathlib import Path

from firmware_bridge.errors import NervehandError
from firmware_bridge.hand_config import HandConfig
from firmware_bridge.hand_config_text import toml_of
from nervehand.output import print_json


def run_config(config: HandConfig, out: Path | None, *, as_json: bool) -> None:
    """Write the configuration to `out`, or print it where that is None: the file's text, or what it holds as JSON."""
    text = toml_of(config)
    if as_json:
        print_json(_finite(tomllib.loads(text)))
        return
    side = (
        "" if config.side else "say in it which side the hand is, which `nervehand run` needs (side = ...); "
    )
    if out is None:
        print(text, end="")
        if side:
            print(f"made a file: {side}then use it in place of the address", file=sys.stderr)
        return
    if out.suffix != ".toml":
        raise NervehandError(f"{out} would not be known for a hand's file: give it a name that ends in .toml")
    try:
        out.write_text(text, encoding="utf-8")
    except OSError as error:
        raise NervehandError(f"{out}: cannot be written ({error.strerror}): choose another place") from error
    print(f"{out}: {side}edit it, then use it in place of the address: nervehand hand state {out}")


def _finite(value: object) -> object:
    """The same with None for what is infinite, which JSON has no word for and is no limit here."""
    match value:
        case dict():
            return {key: _finite(one) for key, one in value.items()}
        case list():
            return [_finite(one) for one in value]
        case float() if math.isinf(value):
            return None
        case _:
            return value
