"""One process that is kept alive: started, given up where it shows no sign of life, and started again.

Standard library only, and one thread: `look` is called some times a second, and does what is due.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from firmware_bridge.restarts import Waits

WRONG_STATUS = 2
"""Exit status of a process for which trying again is no use: its configuration is wrong."""
FINAL = (0, WRONG_STATUS)
AWAKE_S = 1.0
"""The most that counts of the time between two looks: a machine that stood still proves nothing about a process."""
_PR_SET_PDEATHSIG = 1
"""linux/prctl.h"""


@dataclass(frozen=True, slots=True)
class LifeTimes:
    """How long what may take, in seconds.

    Before a process is started again: `first_wait_s`, doubled each time that it dies young, to `longest_wait_s`; one
    that lived for `old_s` did not die of its start. `abort_s` lies between SIGABRT and SIGKILL for one that stands
    still. `leftovers_s`: what its children have to end by themselves, once it is gone. `end_s`: what it has to end in
    order, which includes the release of a hand.
    """

    first_wait_s: float = 0.2
    longest_wait_s: float = 30.0
    old_s: float = 60.0
    abort_s: float = 2.0
    leftovers_s: float = 10.0
    end_s: float = 60.0


@dataclass(frozen=True, slots=True)
class LifeEvent:
    """Something that happened to the process called `process`: `kind` for programs, `text` for people.

    Kinds: started, ready, stalled, died, failed (it could not be started), killed (its children), ending, ended.
    """

    process: str
    kind: str
    text: str


class State(Enum):
    """Where a supervised process is in its life."""

    WAITING = "waiting"
    RUNNING = "running"
    ABORTING = "aborting"
    LEAVING = "leaving"
    """Dead, but its children are still there."""
    OVER = "over"


class Vigil:
    """How long signs of life have been owed: the first within `start_s`, each later one within `stall_s`."""

    def __init__(self, start_s: float, stall_s: float, now_s: float) -> None:
        self._stall_s = stall_s
        self._owed_s = start_s
        self._first_s = start_s
        self._looked_s = now_s
        self.is_ready = False

    def ready(self, now_s: float) -> None:
        """The start is over."""
        self.is_ready = True
        self.beat(now_s)

    def beat(self, now_s: float) -> None:
        """A sign of life: it counts once the start is over."""
        if self.is_ready:
            self._owed_s, self._looked_s = self._stall_s, now_s

    def extend(self, seconds: float) -> None:
        """The start takes up to `seconds` from now on."""
        if not self.is_ready and seconds > self._owed_s:
            self._first_s += seconds - self._owed_s
            self._owed_s = seconds

    def overdue(self, now_s: float) -> str:
        """What has not come in time, in words; "" while nothing is overdue."""
        self._owed_s -= min(now_s - self._looked_s, AWAKE_S)
        self._looked_s = now_s
        if self._owed_s > 0:
            return ""
        if self.is_ready:
            return f"no sign of life for {self._stall_s:g} s"
        return f"not ready after {self._first_s:g} s"


class SupervisedProcess:
    """The process of `command`, under `name` in events; it leads a process group of its own.

    `environment` gives what is new in its environment at each start, None for what is not to be there. `limits_s` are
    the seconds to its first sign of life and between two; None: none are expected. `status` is its exit status once
    `state` is OVER: as a shell says it, 128 and the signal's number where one killed it.

    Where it dies or stands still, its children, which notice by themselves, get the time to end, and those of its
    process group that do not are killed. The guard of a hand is in a session of its own, and is left alone.
    """

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        environment: Callable[[], Mapping[str, str | None]],
        limits_s: tuple[float, float] | None,
        times: LifeTimes,
        on_event: Callable[[LifeEvent], None],
    ) -> None:
        self.name = name
        self.state = State.WAITING
        self.status = 0
        self.restarts = 0
        self.last_exit = ""
        """How it ended the last time, in words; "" before the first."""
        self.vigil: Vigil | None = None
        self._command, self._environment = tuple(command), environment
        self._limits_s, self._times, self._on_event = limits_s, times, on_event
        self._process: subprocess.Popen[bytes] | None = None
        self._waits = Waits(times.first_wait_s, times.longest_wait_s, times.old_s)
        self._due_s = 0.0
        """When the state ends by itself, by the clock of `look`: the wait, the time to end or to leave."""
        self._started_s = self._lived_s = 0.0
        self._stall = ""
        self._is_ending = self._is_final = self._is_reloading = False

    @property
    def pid(self) -> int | None:
        """Its number, until what it said last can have been heard."""
        return None if self._process is None else self._process.pid

    def look(self, now_s: float) -> None:
        """Do what is due at `now_s`, by a clock that does not go back."""
        if self.state is State.WAITING and now_s >= self._due_s:
            self._start(now_s)
        elif self.state in (State.RUNNING, State.ABORTING):
            self._look_at_life(now_s)
        elif self.state is State.LEAVING:
            self._look_at_leftovers(now_s)

    def says(self, lines: Sequence[str], now_s: float) -> list[str]:
        """Take what it says of its life (sd_notify); what of that may be passed on."""
        if self.vigil is None or self.state is not State.RUNNING:
            return [line for line in lines if line.startswith("STATUS=")]
        for line in lines:
            name, _, value = line.partition("=")
            if line == "READY=1":
                if not self.vigil.is_ready:
                    self._tell("ready", f"ready after {now_s - self._started_s:.1f} s")
                self.vigil.ready(now_s)
                self._reload_now()
            elif line == "WATCHDOG=1":
                self.vigil.beat(now_s)
            elif name == "EXTEND_TIMEOUT_USEC" and value.isdecimal():
                self.vigil.extend(int(value) / 1e6)
        return [line for line in lines if _may_pass(line)]

    def reload(self) -> None:
        """SIGUSR1, once it is ready: before, that would end it."""
        self._is_reloading = True
        self._reload_now()

    def pass_on(self, number: signal.Signals) -> None:
        """A signal, where it is ready for one."""
        if self.state is State.RUNNING and (self.vigil is None or self.vigil.is_ready):
            self._signal(number)

    def end(self, now_s: float, end_s: float | None = None) -> None:
        """Let it end in order, within `end_s` (as `times` says if not given), and do not start it again."""
        if self._is_ending:
            return
        self._is_ending = True
        if self.state in (State.WAITING, State.LEAVING) and not self._is_final:
            self.status = 0  # it is not there, and that is what is asked for
        if self.state is State.WAITING:
            self.state = State.OVER
        elif self.state is State.RUNNING:
            self._due_s = now_s + (self._times.end_s if end_s is None else end_s)
            self._signal(signal.SIGTERM)
            self._tell("ending", "asked to end")

    def _start(self, now_s: float) -> None:
        changed = {**os.environ, **self._environment()}
        environment = {name: value for name, value in changed.items() if value is not None}
        parent, prctl = os.getpid(), ctypes.CDLL(None).prctl

        def end_with_parent() -> None:
            prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
            if os.getppid() != parent:  # it has ended meanwhile
                os._exit(1)

        self._started_s, self._stall = now_s, ""
        try:
            # Nothing else of this process runs Python at this moment: there is one thread.
            self._process = subprocess.Popen(
                self._command,
                stdin=subprocess.DEVNULL,
                env=environment,
                process_group=0,
                preexec_fn=end_with_parent,
            )
        except (OSError, subprocess.SubprocessError) as error:
            self.last_exit = f"could not be started ({error})"
            self._tell("failed", self.last_exit)
            self._wait(now_s, 0.0)
            return
        self.vigil = None if self._limits_s is None else Vigil(*self._limits_s, now_s)
        self.state = State.RUNNING
        self._tell("started", f"started as process {self._process.pid}: {' '.join(self._command)}")
        if self.vigil is None:
            self._reload_now()

    def _look_at_life(self, now_s: float) -> None:
        assert self._process is not None
        # The dead leader is left unreaped, so that the number of its process group stays its own.
        found = os.waitid(os.P_PID, self._process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        if found is not None:
            self._died(found, now_s)
        elif self.state is State.ABORTING or self._is_ending:
            if now_s >= self._due_s:
                self._signal(signal.SIGKILL)
        elif self.vigil is not None and (why := self.vigil.overdue(now_s)):
            self._stall = why
            self._tell("stalled", f"{why}: it is aborted and started again")
            self.state = State.ABORTING
            self._due_s = now_s + self._times.abort_s
            self._signal(signal.SIGABRT)

    def _died(self, found: os.waitid_result, now_s: float) -> None:
        lived = f"after {now_s - self._started_s:.1f} s"
        if found.si_code == os.CLD_EXITED:
            self.status, how = found.si_status, f"exit status {found.si_status}"
        else:
            self.status, how = 128 + found.si_status, f"killed by {signal.Signals(found.si_status).name}"
        self.last_exit = f"{self._stall}, {how} {lived}" if self._stall else f"{how} {lived}"
        self._is_final = self._is_ending or (not self._stall and self.status in FINAL)
        self._tell("ended" if self._is_final else "died", self.last_exit)
        if self._is_ending and found.si_status == signal.SIGTERM and found.si_code != os.CLD_EXITED:
            self.status = 0  # before it could answer to that
        self.state, self._lived_s = State.LEAVING, now_s - self._started_s
        self._due_s = now_s + self._times.leftovers_s

    def _look_at_leftovers(self, now_s: float) -> None:
        assert self._process is not None
        left = group_members(self._process.pid)
        if left and now_s < self._due_s:
            return
        if left:
            numbers = ", ".join(map(str, left))
            self._tell("killed", f"its children {numbers} did not end within {self._times.leftovers_s:g} s")
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self._process = self.vigil = None
        if self._is_final or self._is_ending:
            self.state = State.OVER
        else:
            self._wait(now_s, self._lived_s)

    def _wait(self, now_s: float, lived_s: float) -> None:
        self.restarts += 1
        self._due_s = now_s + self._waits.after(lived_s)
        self.state = State.WAITING

    def _reload_now(self) -> None:
        if self._is_reloading and self.state is State.RUNNING and (self.vigil is None or self.vigil.is_ready):
            self._is_reloading = False
            self._send(signal.SIGUSR1)

    def _signal(self, number: signal.Signals) -> None:
        """Also where it is stopped: it goes on, and takes the signal first."""
        self._send(number)
        self._send(signal.SIGCONT)

    def _send(self, number: signal.Signals) -> None:
        assert self._process is not None
        os.kill(self._process.pid, number)

    def _tell(self, kind: str, text: str) -> None:
        self._on_event(LifeEvent(self.name, kind, text))


def group_members(group: int) -> tuple[int, ...]:
    """The processes of a process group that are not dead, by /proc (proc_pid_stat(5))."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            # The name is in brackets, and may have spaces and brackets itself.
            state, _, its_group = path.read_bytes().rpartition(b")")[2].split()[:3]
        except (OSError, ValueError):  # it has ended meanwhile
            continue
        if int(its_group) == group and state not in (b"Z", b"X"):
            found.append(int(path.parent.name))
    return tuple(sorted(found))


def _may_pass(line: str) -> bool:
    """Whether what a process says is true of the unit as a whole: who is the main process, and its end, is not."""
    return line in ("READY=1", "WATCHDOG=1", "RELOADING=1") or line.startswith(
        ("STATUS=", "MONOTONIC_USEC=", "EXTEND_TIMEOUT_USEC=")
    )
