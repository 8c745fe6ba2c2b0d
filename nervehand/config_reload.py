"""`nervehand config reload`: a running daemon reads its file again, and says what became of it.

The supervisor takes SIGUSR1. How it went is in the daemon's status document, `daemon-NAME.json` in the folder of the
guards' sockets, under `config`: `generation`, which a reload makes one larger, and `outcome`, in words.
"""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from firmware_bridge.errors import NervehandError
from firmware_bridge.guard_sockets import folders

PATIENCE_S = 10.0
LOOK_S = 0.05
REFUSED = "refused"
"""What the outcome begins with where nothing was applied (config_changes.Changes.outcome)."""


@dataclass(frozen=True, slots=True)
class Running:
    """A daemon as its status document has it.

    `supervisor_pid` is None where it has none, `generation` 0 where it has not read its configuration yet.
    """

    name: str
    supervisor_pid: int | None
    generation: int
    outcome: str
    is_refused: bool


def run_reload(name: str, *, as_json: bool) -> None:
    """Let a daemon read its configuration again, and print the outcome; NervehandError where it refuses."""
    from nervehand.output import print_json

    after = reloaded(name or only_daemon())
    if after.is_refused:
        raise NervehandError(f"daemon {after.name}: {after.outcome}")
    if as_json:
        print_json({"daemon": after.name, "generation": after.generation, "outcome": after.outcome})
    else:
        print(f"daemon {after.name}: {after.outcome}")


def reloaded(
    name: str, *, clock: Callable[[], float] = time.monotonic, wait: Callable[[float], None] = time.sleep
) -> Running:
    """The daemon of that name after it has read its configuration again; NervehandError where it does not."""
    path, before = _found(name)
    if not before.generation and takes_signal(before.supervisor_pid):
        raise NervehandError(f"daemon {name} is starting, which reads the file: ask again once it runs")
    _signal(before)
    deadline_s = clock() + PATIENCE_S
    # An engine that was started anew meanwhile has said nothing of a reload yet.
    while (after := _read(path)) == before or not after.outcome:
        if clock() > deadline_s:
            raise NervehandError(
                f"daemon {name} has not said within {PATIENCE_S:g} s what became of its configuration: look at"
                f" `nervehand status` and its log"
            )
        wait(LOOK_S)
        if not path.exists():
            raise _gone(before)
    return after


def only_daemon() -> str:
    """The name of the daemon that runs; NervehandError where none or several do."""
    names = sorted({one.name for path in _documents() if takes_signal((one := _read(path)).supervisor_pid)})
    if not names:
        raise NervehandError("no daemon is running for you: start one with `nervehand run --config FILE`")
    if len(names) > 1:
        raise NervehandError(f"several daemons are running: say which, {' or '.join(names)}")
    return names[0]


def takes_signal(pid: int | None) -> bool:
    """Whether that process is there and has a handler for SIGUSR1, which would end any other.

    A number in a document that was left behind may be another process's by now.
    """
    if pid is None:
        return False
    try:
        status = Path(f"/proc/{pid}/status").read_text(encoding="ascii", errors="replace")
    except OSError:
        return False
    # The mask of signals that are caught, in hex: bit n - 1 is signal n (proc(5)).
    caught = next((line.split()[1] for line in status.splitlines() if line.startswith("SigCgt:")), "0")
    return bool(int(caught, 16) >> (signal.SIGUSR1 - 1) & 1)


def _signal(daemon: Running) -> None:
    pid = daemon.supervisor_pid
    if pid is None:
        raise NervehandError(f"daemon {daemon.name} runs without a supervisor: stop it and start it again")
    if not takes_signal(pid):
        raise _gone(daemon)
    # By its number, since the kernel of a Jetson Nano (4.9) has no descriptors of processes.
    try:
        os.kill(pid, signal.SIGUSR1)
    except PermissionError as error:
        raise NervehandError(
            f"daemon {daemon.name} (process {pid}) is somebody else's: ask as its user, or as root"
        ) from error
    except ProcessLookupError as error:
        raise _gone(daemon) from error


def _gone(daemon: Running) -> NervehandError:
    return NervehandError(
        f"daemon {daemon.name} does not run any more (process {daemon.supervisor_pid}): start it, which reads the file"
    )


def _found(name: str) -> tuple[Path, Running]:
    """The document of the daemon of that name: of several the one of a daemon that runs."""
    read = [(path, _read(path)) for path in _documents(name)]
    if not read:
        raise NervehandError(f"no daemon is called {name!r}: `nervehand status` says which are there")
    return next((one for one in read if takes_signal(one[1].supervisor_pid)), read[0])


def _documents(name: str = "") -> Iterator[Path]:
    """The documents that are there: of every daemon, or of those of that name."""
    for folder in folders():
        yield from (path for path in sorted(folder.glob("daemon-*.json")) if name in ("", _name_of(path)))


def _name_of(path: Path) -> str:
    return path.stem.removeprefix("daemon-")


def _read(path: Path) -> Running:
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        config = document["config"] or {"generation": 0, "outcome": ""}
        outcome = str(config["outcome"])
        return Running(
            _name_of(path),
            _supervisor_in(document),
            int(config["generation"]),
            outcome,
            bool(config.get("refused", outcome.startswith(REFUSED))),
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise NervehandError(
            f"{path}: is no status of a daemon ({error!r}): remove it, and start the daemon again"
        ) from error


def _supervisor_in(document: Mapping[str, object]) -> int | None:
    """The supervisor's process: its number, or an object that has it as `pid`."""
    found = document["supervisor_pid"] if "supervisor_pid" in document else document["supervisor"]
    pid = found.get("pid") if isinstance(found, dict) else found
    if pid is not None and (not isinstance(pid, int) or isinstance(pid, bool) or pid < 1):
        raise ValueError(f"a process {pid!r}")
    return pid
