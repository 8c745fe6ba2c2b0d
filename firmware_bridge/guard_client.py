"""The decode side of a guard process: starts it, brings it commands and a heartbeat, and hears what it did."""

from __future__ import annotations

import contextlib
import itertools
import json
import logging
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from types import TracebackType
from typing import Self

from firmware_bridge.adjustments import Adjustments
from firmware_bridge.errors import LinkError, NervehandError
from firmware_bridge.gate import GateDecision, GateEvent, GateState
from firmware_bridge.gate_limits import GateLimits
from firmware_bridge.guard import RELEASE_MARGIN_S, GuardCounters, Sent
from firmware_bridge.guard_memory import GuardMemory, decode_moved, decode_sent, encode_command
from firmware_bridge.guard_process import MOVED, SENT, first_line
from firmware_bridge.guard_requests import SIGNAL_FOR, URGENT_S, Answer
from firmware_bridge.guard_settings import GuardReady, GuardSettings
from firmware_bridge.guard_status import GuardStatus, decode_status
from firmware_bridge.hand import HandCapabilities, HandCommand, HandState, LinkState
from firmware_bridge.movement_trace import Moved
from firmware_bridge.plain import from_plain, to_plain
from firmware_bridge.preuse import PreUseReport
from firmware_bridge.realtime import RealTime

NS = 1_000_000_000
BEAT_S = 0.02
HEAR_S = 0.01
START_S = 60.0
"""How long the process may take to say its first word, beside the time that the hand may take."""
ANSWER_S = 2.0
ENDING_S = 10.0
"""How much longer than its release the process may take to end, on a machine that does other things too."""
SILENT_S = 0.5
"""A guard that has written down nothing for so long stands still, and the link with it."""
WHO = "guard client"

logger = logging.getLogger(__name__)


class GuardedHand:
    """What the guard says of its hand, for whoever looks on."""

    def __init__(self, client: GuardClient) -> None:
        self._client = client

    @property
    def capabilities(self) -> HandCapabilities:
        """Of the hand as the guard has opened it."""
        return self._client.capabilities

    @property
    def link(self) -> LinkState:
        """LOST too where the guard has ended or stands still."""
        status = self._client.status
        if status is None:
            return LinkState.DISCONNECTED
        if self._client.failure or time.monotonic_ns() - status.time_ns > SILENT_S * NS:
            return LinkState.LOST
        return status.link

    @property
    def state(self) -> HandState | None:
        """The newest report that the guard has had."""
        status = self._client.status
        return None if status is None else status.hand


class GuardClient:
    """A guard process for `settings`, as a `Guard`: entering it starts the process and connects the hand.

    `submit` writes the command where the guard finds it and returns at once; a command that the guard has not looked
    at is replaced. What the hand was told comes to `on_sent`, gate events to `on_event`, the beginning of each movement
    that the hand reports to `on_moved`: in their order and in one thread of the client, which must get them back soon.

    The heartbeat says that the decode loop is alive: a thread beats while the loop waits for samples, which may be for
    long; while it is inside `working()`, only entering and leaving beat, so that a loop that hangs there is noticed. A
    process that is stopped, or killed, beats no more either.

    A guard that ends by itself is an event, LinkState.LOST, and LinkError at the next `submit`: the hand is left to its
    own watchdog. LinkError also where it does not start or does not find its hand.
    """

    def __init__(
        self,
        settings: GuardSettings,
        on_event: Callable[[GateEvent], None] | None = None,
        on_sent: Callable[[Sent], None] | None = None,
        on_moved: Callable[[Moved], None] | None = None,
    ) -> None:
        self.counters = GuardCounters()
        """As of the newest status. Overwritten commands count as late, failing listeners of this side as errors."""
        self.failure = ""
        """Why the guard ended by itself; "" while it runs."""
        self.name = settings.name
        self.socket = ""
        self.real_time: RealTime | None = None
        """What the guard's process has of that, once it has started; None where it was not asked for."""
        self._settings = settings
        self._on_event, self._on_sent, self._on_moved = on_event, on_sent, on_moved
        self._time_to_rest_s = 0.0
        self._process: subprocess.Popen[bytes] | None = None
        self._capabilities: HandCapabilities | None = None
        self._memory: GuardMemory | None = None
        self._descriptors: list[int] = []
        self._owner: socket.socket | None = None
        self._asking = threading.Lock()
        self._hearing = threading.Lock()
        self._ids = itertools.count(1)
        self._seen: tuple[int, GuardStatus | None] = (0, None)
        self._listener_errors = 0
        self._is_working = self._is_closing = False
        self._ending = threading.Event()
        self._threads = [
            threading.Thread(target=self._beat, name="guard heartbeat", daemon=True),
            threading.Thread(target=self._hear, name="guard client", daemon=True),
        ]
        self.hand = GuardedHand(self)

    @property
    def capabilities(self) -> HandCapabilities:
        """Of the hand; NervehandError before the start."""
        if self._capabilities is None:
            raise NervehandError("the guard process has not started: start it first")
        return self._capabilities

    @property
    def pid(self) -> int:
        """The guard's process number; NervehandError before the start."""
        if self._process is None:
            raise NervehandError("the guard process has not started: start it first")
        return self._process.pid

    @property
    def status(self) -> GuardStatus | None:
        """The newest that the guard has written down; None before the first."""
        if self._memory is None:
            return self._seen[1]
        sequence, payload = self._memory.status.read()
        seen = self._seen  # taken once: another thread may put back what it read before
        if sequence > seen[0]:
            seen = self._seen = (sequence, decode_status(payload))
        return seen[1]

    @property
    def decision(self) -> GateDecision | None:
        """The newest decision that was written down, without its events; None before the first."""
        status = self.status
        if status is None:
            return None
        return GateDecision(status.positions, status.send, self.state, status.cause)

    @property
    def state(self) -> GateState:
        """The gate's; DISARMED where the guard has ended, as nothing is sent any more."""
        status = self.status
        return GateState.DISARMED if status is None or self.failure else status.state

    @property
    def undelivered(self) -> int:
        """Records of the guard that were overwritten before this side took them."""
        return 0 if self._memory is None else self._memory.told.lost

    def submit(self, command: HandCommand) -> Sent | None:
        """Hand the command over. Always None: what the hand was told comes to `on_sent`."""
        if self.failure:
            raise LinkError(self.failure)
        if self._memory is None:
            raise NervehandError("the guard process has not started: start it first")
        self._memory.command.write(encode_command(command))
        os.eventfd_write(self._descriptors[1], 1)
        return None

    @contextlib.contextmanager
    def working(self) -> Iterator[None]:
        """The decode loop is at work, not waiting for samples: the heartbeat rests until it is through."""
        self._is_working = True
        self._beat_once()
        try:
            yield
        finally:
            self._is_working = False
            self._beat_once()

    def request_arm(
        self, who: str, report: PreUseReport, acknowledgement: str = "", asked_ns: int = 0
    ) -> bool:
        """Ask the gate to arm; whether it did. The events say why not.

        `asked_ns` is when that was decided (host, `time.monotonic_ns`), 0 for now: who asked for rest since then is
        not overruled.
        """
        plain, asked_ns = to_plain(report), asked_ns or time.monotonic_ns()
        answer = self._ask("arm", who, report=plain, acknowledgement=acknowledgement, asked_ns=asked_ns)
        return bool(answer.get("ok"))

    def request_disarm(self, who: str) -> None:
        """Send nothing more; a release under way is finished first."""
        self._ask("disarm", who)

    def request_stop(self, who: str) -> None:
        """Stop the hand where it is, now; by a signal where the guard does not answer."""
        if not self._ask("stop", who, URGENT_S).get("ok"):
            self._signal(SIGNAL_FOR["stop"])

    def request_release(self, who: str) -> None:
        """Send the hand to rest, now or as soon as the link is up; by a signal where the guard does not answer."""
        if not self._ask("release", who, URGENT_S).get("ok"):
            self._signal(SIGNAL_FOR["release"])

    def report_fault(self, who: str, what: str) -> None:
        """Whoever makes the commands has failed: relax, until armed again."""
        self._ask("fault", who, what="".join(c if c.isprintable() else " " for c in what)[:1000])

    @property
    def adjustments(self) -> Adjustments:
        """The wearer's, as they are now; LinkError where the guard does not answer."""
        answer = self._ask("status", WHO)
        if "adjustments" not in answer:
            raise LinkError("the guard process does not say how the hand is adjusted: ask again")
        return from_plain(Adjustments, answer["adjustments"], "guard's adjustments")

    def adjust(self, who: str, adjustments: Adjustments) -> None:
        """The wearer's adjustments from now on."""
        self._ask("adjust", who, adjustments=to_plain(adjustments))

    @property
    def limits(self) -> GateLimits:
        """The gate's, as they are now; LinkError where the guard does not answer."""
        return self._limits_in(self._ask("status", WHO))

    def limit(self, who: str, limits: GateLimits) -> GateLimits:
        """Other limits for the gate, from its next step on, without a stop; those in force then.

        NervehandError says why they are refused, all of them: more than the hand can do, or other grips. LinkError
        where the guard does not answer: nobody knows then which are in force.
        """
        answer = self._ask("limits", who, limits=to_plain(limits))
        if "error" in answer:
            raise NervehandError(str(answer["error"]))
        found = self._limits_in(answer)
        # A way that began in a wider range may be the longer one.
        self._time_to_rest_s = max(self._time_to_rest_s, from_plain(float, answer.get("time_to_rest_s")))
        return found

    def start(self) -> None:
        """Start the process, and wait until its hand is connected; LinkError with the reason where it is not."""
        if self._process is not None:
            raise NervehandError("the guard process runs already: start it once")
        ours, theirs = socket.socketpair()
        self._owner = ours
        self._descriptors = [GuardMemory.make(), os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)]
        self._memory = GuardMemory(self._descriptors[0])
        handed = (theirs.fileno(), *self._descriptors)
        numbers = itertools.chain(*zip(("--owner", "--memory", "--wake"), map(str, handed), strict=True))
        # A session of its own, so that Ctrl-C leaves time for a release; one thread for NumPy, which is not used for
        # more than six numbers, keeps the memory small.
        self._process = subprocess.Popen(
            [sys.executable, "-m", "firmware_bridge.guard_process", *numbers],
            stdin=subprocess.DEVNULL,
            pass_fds=handed,
            start_new_session=True,
            env={**os.environ, "OPENBLAS_NUM_THREADS": "1"},
        )
        theirs.close()
        try:
            ready = self._greet()
        except BaseException:
            self._ending.set()
            self._kill()
            raise
        self._capabilities, self.name, self.socket = ready.capabilities, ready.name, ready.socket
        self.real_time = ready.real_time
        for thread in self._threads:
            thread.start()

    def give_up(self) -> None:
        """Let the process release the hand and end, also while `start` waits for the hand; from any thread."""
        self._signal(signal.SIGTERM)

    def close(self, release_s: float | None = None) -> None:
        """Let the guard release the hand and end; all that it said until then is delivered.

        The release takes what the settings say. `release_s` may give it more time before the process is killed.
        """
        if self._process is None or self._ending.is_set():
            return
        self._is_closing = True
        if not self._ask("end", WHO).get("ok"):
            self._signal(signal.SIGTERM)
        wait_s = ENDING_S + max(self._release_s, release_s or 0.0)
        try:
            status = self._process.wait(wait_s)
        except subprocess.TimeoutExpired:
            logger.error("the guard process did not end within %g s and is killed", wait_s)
            self._process.kill()
            status = self._process.wait()
        self._ending.set()
        for thread in self._threads:
            thread.join()
        self._take()
        if status and not self.failure:
            self._fail(status)
        self._kill()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def _release_s(self) -> float:
        """How long the guard gives its release."""
        if self._settings.release_s is not None:
            return self._settings.release_s
        limits = self._settings.limits or GateLimits.for_hand(self.capabilities)
        return max(limits.time_to_rest_s, self._time_to_rest_s) + RELEASE_MARGIN_S

    def _limits_in(self, answer: Answer) -> GateLimits:
        if "limits" not in answer:
            raise LinkError("the guard process does not say which limits are in force: ask again")
        return from_plain(GateLimits, answer["limits"], "guard's limits")

    def _greet(self) -> GuardReady:
        """Say what is to be guarded, and wait for the answer."""
        assert self._owner is not None
        self._owner.settimeout(START_S + self._settings.connect_s)
        try:
            self._owner.sendall(json.dumps(to_plain(self._settings)).encode() + b"\n")
            ready = from_plain(GuardReady, json.loads(first_line(self._owner)), "guard's answer")
        except (OSError, LinkError) as error:
            raise LinkError(f"the guard process did not start ({error}): its own message is above") from None
        if ready.error:
            raise LinkError(ready.error)
        return ready

    def _kill(self) -> None:
        """Give back all that the process had of this one."""
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.wait()
        if self._owner is not None:
            self._owner.close()
        for descriptor in self._descriptors:
            os.close(descriptor)
        self._descriptors = []
        self._seen = (0, self.status)
        self._memory = None  # not closed: another thread may be reading it

    def _ask(self, request: str, who: str, wait_s: float = ANSWER_S, **more: object) -> Answer:
        """The guard's answer; {} and a word in the log where there is none within `wait_s`."""
        number = next(self._ids)
        line = json.dumps({"request": request, "who": who, "id": number} | more).encode() + b"\n"
        if not self._asking.acquire(timeout=wait_s):
            logger.error("the guard process still owes an answer, and %r of %s waits", request, who)
            return {}
        try:
            if self._owner is None or self.failure:
                return {}
            try:
                self._owner.settimeout(wait_s)
                self._owner.sendall(line)
                while True:
                    answer: Answer = json.loads(first_line(self._owner))
                    if answer.get("id", number) == number:  # else it is late, to a request that was given up
                        break
            except (OSError, LinkError, ValueError) as error:
                logger.error("the guard process did not answer %r of %s: %s", request, who, error)
                return {}
        finally:
            self._asking.release()
        if not answer.get("ok"):
            logger.info("the guard refused %r of %s: %s", request, who, answer.get("error"))
        return answer

    def _signal(self, number: signal.Signals) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(number)

    def _beat_once(self) -> None:
        if self._memory is not None:
            self._memory.beat(time.monotonic_ns())

    # What follows runs in the client's threads.

    def _beat(self) -> None:
        while not self._ending.wait(BEAT_S):
            if not self._is_working:
                self._beat_once()

    def _hear(self) -> None:
        while not self._ending.wait(HEAR_S):
            self._take()
            status = None if self._process is None else self._process.poll()
            if status is not None and not self._is_closing:
                self._take()
                self._fail(status)
                return

    def _fail(self, status: int) -> None:
        """The guard has ended by itself: say so."""
        how = f"was killed by {signal.Signals(-status).name}" if status < 0 else f"ended with status {status}"
        does = ""
        if self._capabilities is not None:
            after = self._capabilities.watchdog_s
            action = self._capabilities.watchdog_action.value
            does = f" ({action}{'' if after is None else f' after {after:g} s'})"
        self.failure = f"the guard process {how}: the hand is left to its own watchdog{does}; start again"
        logger.error("%s", self.failure)
        self._tell(GateEvent(time.monotonic_ns(), "guard lost", self.failure, WHO))

    def _take(self) -> None:
        """Pass on what the guard has said since the last time."""
        if self._memory is None:
            return
        with self._hearing:
            for message in self._memory.told.read():
                self._tell(_decoded(message))
            status = self.status
            if status is not None:
                late = status.counters.commands_late + status.overwritten
                errors = status.counters.errors + self._listener_errors
                self.counters = replace(status.counters, commands_late=late, errors=errors)

    def _tell(self, what: Sent | Moved | GateEvent) -> None:
        """A listener that fails is counted, and stops nothing."""
        try:
            if isinstance(what, Sent):
                if self._on_sent is not None:
                    self._on_sent(what)
            elif isinstance(what, Moved):
                if self._on_moved is not None:
                    self._on_moved(what)
            elif self._on_event is not None:
                self._on_event(what)
        except Exception:
            logger.exception("the guard client's listener failed at %s", what)
            self._listener_errors += 1


def _decoded(message: bytes) -> Sent | Moved | GateEvent:
    """What the guard has told."""
    kind, payload = message[:1], message[1:]
    if kind == SENT:
        return decode_sent(payload)
    return (
        decode_moved(payload)
        if kind == MOVED
        else from_plain(GateEvent, json.loads(payload), "guard's event")
    )
