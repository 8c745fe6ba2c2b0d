"""A daemon's configuration as a file: read whole, checked whole, and every error with its line and the remedy."""

from __future__ import annotations

import hashlib
import os
import stat
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import ValidationError

from firmware_bridge.errors import NervehandError
from firmware_bridge.hand_config import hand_config_in
from firmware_bridge.toml_lines import place, read_toml
from nervehand.config import DaemonConfig
from nervehand.config_checks import Check, checks, decoder_of, file_checks
from nervehand.config_errors import Keys, found, said
from nervehand.config_machine import machine_checks
from nervehand.config_values import FOLDER

if TYPE_CHECKING:
    from decoder.bundle import Bundle


MOST_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class ConfigFile:
    """A configuration and the file that it was read from; `path` None: the defaults, without one.

    `problem` is why it is not what the file says now (config_kept.py); "" where it is.
    """

    config: DaemonConfig
    path: Path | None = None
    text: str = ""
    problem: str = ""

    @property
    def sha256(self) -> str:
        """Of the file, in hex; "" without one."""
        return "" if self.path is None else hashlib.sha256(self.text.encode()).hexdigest()

    def check_files(self, *, here: bool = True) -> Bundle:
        """The decoder that is configured; NervehandError where it, or another file that is named, cannot be used.

        With `here` also where this machine has not what is asked of it, which else `lacking` says.
        """
        name = self._name
        try:
            bundle = decoder_of(self.config)
        except NervehandError as error:
            raise NervehandError(f"{place(self.text, name, ('decoder', 'bundle'))}: {error}") from error
        _run(file_checks(self.config, bundle), self.text, name)
        if here and (lacking := self.lacking(bundle)):
            raise NervehandError(lacking[0])
        return bundle

    def lacking(self, bundle: Bundle) -> tuple[str, ...]:
        """What this machine has not of what is asked of it, each as a line with the remedy."""
        return tuple(_wrong(machine_checks(self.config, bundle), self.text, self._name))

    @property
    def _name(self) -> str:
        return "the defaults" if self.path is None else str(self.path)


def read_config(path: Path | None) -> ConfigFile:
    """The configuration in a file, and the defaults for None; NervehandError where it is wrong.

    Files that it names are not looked at (`ConfigFile.check_files`).
    """
    if path is None:
        return ConfigFile(DaemonConfig())
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)  # a pipe holds up nobody
        with os.fdopen(descriptor, "rb") as file:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise ValueError("it is no file")
            data = file.read(MOST_BYTES + 1)
        if len(data) > MOST_BYTES:
            raise ValueError(f"it has more than {MOST_BYTES >> 20} MiB")
        text = data.decode("utf-8-sig")
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else str(error)
        why = "it is no text" if isinstance(error, UnicodeDecodeError) else why
        raise NervehandError(
            f"{path}: cannot be read ({why}): give a daemon's TOML file, which `nervehand config init` writes"
        ) from error
    return ConfigFile(config_in(text, str(path), path.absolute().parent), path, text)


def config_in(text: str, name: str, folder: Path | None = None) -> DaemonConfig:
    """The configuration in TOML `text` that a person knows as `name`; NervehandError where it is wrong.

    Relative paths begin at `folder`, and stay as they are where that is None.
    """
    table = read_toml(text, name)
    try:
        config = DaemonConfig.model_validate(table, context={FOLDER: folder})
    except ValidationError as error:
        lines = lines_of(text)
        # A key that is not known comes first: it may be the one that is missing.
        keys, one = min(
            found(error, table),
            key=lambda pair: (pair[1]["type"] != "extra_forbidden", line_in(lines, pair[0])),
        )
        raise NervehandError(f"{place(text, name, keys)}: {said(keys, one, DaemonConfig)}") from error
    if config.is_worn:
        hand_config_in(text, name, ("hand",))
    _run(checks(config), text, name)
    return config


def lines_of(text: str) -> Mapping[Keys, int]:
    """On which line (from 1) each table and each value of TOML `text` begins: as `line_of` says, for all at once."""
    lines = text.splitlines()
    begins: dict[Keys, int] = {}
    without = 0
    for n in range(1, len(lines) + 1):
        try:
            part = tomllib.loads("\n".join(lines[:n]))
        except tomllib.TOMLDecodeError:
            continue  # in the middle of a value
        for keys in _all_keys(part):
            begins.setdefault(keys, without + 1)
        without = n
    return begins


def line_in(lines: Mapping[Keys, int], keys: Keys) -> int:
    """The line of `keys`, or of the innermost table around them that is there; 0 for the whole file."""
    while keys and keys not in lines:
        keys = keys[:-1]
    return lines.get(keys, 0)


def _all_keys(table: Mapping[str, object], way: Keys = ()) -> Iterator[Keys]:
    for key, value in table.items():
        yield (*way, key)
        if isinstance(value, dict):
            yield from _all_keys(value, (*way, key))


def _run(all_checks: Iterable[Check], text: str, name: str) -> None:
    for wrong in _wrong(all_checks, text, name):
        raise NervehandError(wrong)


def _wrong(all_checks: Iterable[Check], text: str, name: str) -> Iterator[str]:
    for keys, check in all_checks:
        try:
            check()
        except NervehandError as error:
            yield f"{place(text, name, keys)}: {error}"
