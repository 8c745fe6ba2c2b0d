"""The main process of `nervehand run --config`: keeps the engine alive, and passes on what it says of itself.

    python -m nervehand.supervising --stall-s 5 --start-s 60 [--companion JSON]... -- COMMAND...

Standard library only, so that what must not fail is small; docs/daemon.md has the whole picture.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import select
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from functools import partial
from types import FrameType

from firmware_bridge.errors import NervehandError
from firmware_bridge.guard_sockets import folder
from firmware_bridge.notify import US, Notifier, NotifySocket
from nervehand.supervised_process import LifeEvent, LifeTimes, State, SupervisedProcess

LOOK_S = 0.25
"""How often everything is looked at where nothing happens."""
BUSY_LOOK_S = 0.05
"""The same while a process is about to end or to start."""
COMPANION_END_S = 5.0
NAME, LOGGER = "supervisor", "nervehand.supervising"
SIGNALS = (
    signal.SIGTERM, signal.SIGINT, signal.SIGUSR1, signal.SIGUSR2, signal.SIGHUP, signal.SIGCHLD,
)  # fmt: skip
UNSET: Mapping[str, str | None] = dict.fromkeys(("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"))


def print_event(event: LifeEvent) -> None:
    """One line on stderr, as nervehand/logs.py writes them; without a time where systemd's journal reads it."""
    level = _level(event)
    first = f"<{4 if level == 'warning' else 6}>" if _is_journal() else f"{_utc()} "  # sd-daemon(3)
    _print(f"{first}{level} {NAME} {LOGGER}: {event.process} {event.text}")


def print_json_event(event: LifeEvent) -> None:
    """One JSON object on stderr, with the same fields."""
    fields = {"time": _utc(), "level": _level(event), "process": NAME, "pid": os.getpid(), "logger": LOGGER}
    _print(json.dumps(fields | {"message": f"{event.process} {event.text}"}))


def _level(event: LifeEvent) -> str:
    return "warning" if event.kind in ("stalled", "died", "failed", "killed") else "info"


def _is_journal() -> bool:
    """Whether the journal reads stderr: JOURNAL_STREAM has its device and inode (systemd.exec(5))."""
    with contextlib.suppress(OSError):
        about = os.fstat(2)
        return os.environ.get("JOURNAL_STREAM") == f"{about.st_dev}:{about.st_ino}"
    return False


def _utc() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _print(line: str) -> None:
    with contextlib.suppress(OSError):  # nobody reads it any more, which ends nothing here
        print(line, file=sys.stderr, flush=True)


def supervise(
    command: Sequence[str],
    *,
    stall_s: float,
    start_s: float,
    companions: Mapping[str, Sequence[str]] | None = None,
    times: LifeTimes | None = None,
    on_event: Callable[[LifeEvent], None] = print_event,
) -> int:
    """Keep the engine, `command`, running until it is to end; its exit status. From the main thread, which waits.

    The engine says by sd_notify that it is ready, within `start_s` of its start, and alive, every `stall_s` at the
    latest; else it is aborted. It is started again unless its exit status is 0, or 2: wrong configuration. What it
    says goes on to NOTIFY_SOCKET of this process. `companions` by their names are kept running too, without a
    watchdog; where one ends with such a status, it stays away and the engine goes on.

    SIGTERM and SIGINT end it in order, and so does SIGHUP where a terminal is the standard input; else SIGHUP reloads
    the engine's configuration, as SIGUSR1 does; SIGUSR2 is passed on. NervehandError where there is no folder for the
    engine's messages.
    """
    with _told_signals() as told, NotifySocket(folder()) as heard, _kept_config() as kept:
        return _Supervision(
            command, companions or {}, (start_s, stall_s), times or LifeTimes(), told, heard, kept, on_event
        ).run()


class _Supervision:
    """What `supervise` does."""

    def __init__(
        self,
        command: Sequence[str],
        companions: Mapping[str, Sequence[str]],
        limits_s: tuple[float, float],
        times: LifeTimes,
        told: socket.socket,
        heard: NotifySocket,
        kept: str,
        on_event: Callable[[LifeEvent], None],
    ) -> None:
        self._limits_s, self._told, self._heard, self._kept = limits_s, told, heard, kept
        self._on_event = on_event
        self._above = Notifier.from_environment()
        self._engine = SupervisedProcess(
            "engine", command, self._environment, limits_s, times, self._on_engine_event
        )
        self._companions = [
            SupervisedProcess(name, one, lambda: UNSET, None, times, on_event)
            for name, one in companions.items()
        ]
        self._longest_s = limits_s[0] + times.abort_s + times.leftovers_s + times.longest_wait_s + LOOK_S
        self._is_terminal = os.isatty(0)  # a terminal that was closed is none any more
        self._is_ending = False

    def run(self) -> int:
        """Until the engine is over for good, and then its companions."""
        waiting = select.poll()
        for one in (self._told, self._heard):
            waiting.register(one, select.POLLIN)
        while self._engine.state is not State.OVER:
            self._look(waiting, (self._engine, *self._companions))
        self._stop()
        while any(one.state is not State.OVER for one in self._companions):
            self._look(waiting, self._companions)
        return self._engine.status

    def _look(self, waiting: select.poll, processes: Sequence[SupervisedProcess]) -> None:
        # What was said is heard before anybody is judged by it: this process may have stood still itself.
        for sender, lines in self._heard.received():
            if sender == self._engine.pid and (passed := self._engine.says(lines, time.monotonic())):
                self._above.send("\n".join(passed))
        for number in self._signals():
            self._signalled(number)
        for one in processes:
            one.look(time.monotonic())
        if any(one.state is not State.OVER for one in processes):
            is_quiet = all(one.state in (State.RUNNING, State.OVER) for one in processes)
            waiting.poll(1000 * (LOOK_S if is_quiet and not self._is_ending else BUSY_LOOK_S))

    def _signals(self) -> list[int]:
        with contextlib.suppress(BlockingIOError):
            return sorted(set(self._told.recv(4096)))
        return []

    def _signalled(self, number: int) -> None:
        is_closed = number == signal.SIGHUP and self._is_terminal
        if number in (signal.SIGTERM, signal.SIGINT) or is_closed:
            self._above.stopping()
            self._stop()
        elif number in (signal.SIGUSR1, signal.SIGHUP) and not self._is_ending:
            self._engine.reload()
        elif number == signal.SIGUSR2:
            self._engine.pass_on(signal.SIGUSR2)

    def _stop(self) -> None:
        self._is_ending = True
        now_s = time.monotonic()
        self._engine.end(now_s)
        if self._engine.state is State.OVER:  # they look on until the end
            for one in self._companions:
                one.end(now_s, COMPANION_END_S)

    def _environment(self) -> Mapping[str, str | None]:
        _, stall_s = self._limits_s
        # Whoever waits for the start of it all has a limit too: it is to count from each start of the engine.
        self._above.extend(self._longest_s)
        return {
            "NOTIFY_SOCKET": self._heard.address,
            "WATCHDOG_USEC": str(round(stall_s * US)),
            "WATCHDOG_PID": None,  # it is not known before the start
            "PYTHONFAULTHANDLER": "1",  # SIGABRT prints where it stands
            "NERVEHAND_SUPERVISOR_PID": str(os.getpid()),
            "NERVEHAND_KEPT_CONFIG": self._kept,
            "NERVEHAND_RESTARTS": str(self._engine.restarts),
            "NERVEHAND_LAST_EXIT": self._engine.last_exit,
        }

    def _on_engine_event(self, event: LifeEvent) -> None:
        self._on_event(event)
        if event.kind != "ready":  # then it has words of its own
            self._above.status(f"{event.process} {event.text}")


@contextlib.contextmanager
def _kept_config() -> Iterator[str]:
    """Where the engine keeps the last configuration that was right (nervehand/config_kept.py).

    Nothing lies there at first, of a supervisor of before that had this one's number, and nothing stays.
    """
    path = str(folder() / f".config-{os.getpid()}.toml")
    leftovers = (path, f"{path}.part")
    for one in leftovers:
        _remove(one)
    try:
        yield path
    finally:
        for one in leftovers:
            _remove(one)


def _remove(path: str) -> None:
    with contextlib.suppress(OSError):  # there is none, or its folder is gone
        os.unlink(path)


@contextlib.contextmanager
def _told_signals() -> Iterator[socket.socket]:
    """A socket that a byte comes to with each of SIGNALS: its number. What `nohup` ignores is left ignored."""
    told, tell = socket.socketpair()
    for one in (told, tell):
        one.setblocking(False)
    numbers = [one for one in SIGNALS if one == signal.SIGCHLD or signal.getsignal(one) != signal.SIG_IGN]
    with told, tell:
        before = signal.set_wakeup_fd(tell.fileno(), warn_on_full_buffer=False)
        previous = {number: signal.signal(number, _taken) for number in numbers}
        try:
            yield told
        finally:
            for number, handler in previous.items():
                signal.signal(number, handler)
            signal.set_wakeup_fd(before)


def _taken(number: int, frame: FrameType | None) -> None:
    """The loop answers it."""


def supervisor_command(
    command: Sequence[str],
    *,
    stall_s: float,
    start_s: float,
    companions: Mapping[str, Sequence[str]] | None = None,
    as_json: bool = False,
) -> list[str]:
    """The command line of this module for `supervise`: for os.execv, to leave everything else that is loaded behind."""
    words = [
        sys.executable,
        "-m",
        "nervehand.supervising",
        "--stall-s",
        str(stall_s),
        "--start-s",
        str(start_s),
    ]
    for name, one in (companions or {}).items():
        words += ["--companion", json.dumps([name, *one])]
    return [*words, *(["--json"] if as_json else []), "--", *command]


def main() -> int:
    """`supervise` as a process."""
    parser = argparse.ArgumentParser(description="Keeps an engine alive. `nervehand run --config` starts it.")
    parser.add_argument("--stall-s", type=float, required=True, help="the engine's silence that counts")
    parser.add_argument("--start-s", type=float, required=True, help="how long it may take to be ready")
    parser.add_argument(
        "--companion", type=json.loads, action="append", default=[], metavar='["NAME", WORD...]'
    )
    parser.add_argument("--json", action="store_true", help="log JSON objects")
    parser.add_argument("command", nargs="+")
    options = parser.parse_args()
    companions = {name: command for name, *command in options.companion}
    run = partial(supervise, stall_s=options.stall_s, start_s=options.start_s, companions=companions)
    try:
        return run(options.command, on_event=print_json_event if options.json else print_event)
    except NervehandError as error:
        print(f"nervehand: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
