"""`nervehand run --config FILE`, and `nervehand run` alone: the daemon, supervised, or at a person's terminal."""

from __future__ import annotations

import contextlib
import os
import sys
from pathlib import Path

from firmware_bridge.errors import NervehandError
from nervehand.config_file import read_config
from nervehand.output import print_json


def run_daemon_command(path: Path | None, seconds: float | None, *, headless: bool, as_json: bool) -> None:
    """Run it until it ends. At a terminal without a configuration it has a screen and keys, and nobody starts it again;
    else this process becomes its supervisor."""
    file = read_config(path)
    with_screen = path is None and not headless and not as_json and sys.stdin.isatty() and sys.stdout.isatty()
    if path is not None and not as_json:
        _supervise(path, seconds)
        return
    from nervehand.daemon import run_daemon
    from nervehand.screen import process_screen

    with process_screen() if with_screen else contextlib.nullcontext() as screen:
        summary = run_daemon(file, screen=screen, has_keys=with_screen, seconds=seconds)
    if as_json:
        print_json(summary.to_json())
    else:
        print(summary.describe())


def _supervise(path: Path, seconds: float | None) -> None:
    """Become the supervisor; NervehandError where the configuration is wrong, before anything starts."""
    from nervehand.status import path_of
    from nervehand.supervising import supervisor_command

    file = read_config(path)
    file.check_files()
    config = file.config
    python = [sys.executable, "-m"]
    engine = [*python, "nervehand.daemon", "--config", str(path.absolute())]
    if seconds is not None:
        engine += ["--seconds", str(seconds)]
    companions = {}
    if config.metrics.listen:
        companions["metrics"] = [
            *python, "nervehand.metrics_process", "--status", str(path_of(config.name)), "--listen",
            config.metrics.listen, "--parent", str(os.getpid()), "--log-format", config.log.format,
        ]  # fmt: skip
    command = supervisor_command(
        engine, stall_s=config.watchdog.stall_s, start_s=config.watchdog.start_s, companions=companions,
        as_json=config.log.format == "json",
    )  # fmt: skip
    sys.stdout.flush()
    try:
        os.execv(command[0], command)
    except OSError as error:
        raise NervehandError(
            f"{command[0]} cannot be run ({error.strerror}): install nervehand again"
        ) from None
