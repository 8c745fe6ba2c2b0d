"""The guard as a process of its own: safety gate, link to the hand, stop and release, whatever becomes of the decoder.

    python -m firmware_bridge.guard_process --owner FD --memory FD --wake FD

is how `GuardClient` starts it. `--owner` is a connected Unix socket: the first line that comes is a `GuardSettings` as
JSON, the first answered is a `GuardReady`, then come requests (guard_requests.py). `--memory` is a `GuardMemory`;
`--wake` an eventfd that says that a new command is there. SIGUSR1 stops the hand, SIGUSR2 releases it, SIGTERM
releases it and ends. docs/guard.md has the whole picture.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import json
import logging
import os
import select
import signal
import socket
import sys
import threading
import time

import numpy as np

from firmware_bridge.adjustments import Adjustments
from firmware_bridge.errors import LinkError, NervehandError
from firmware_bridge.gate import GateEvent, GateState, SafetyGate
from firmware_bridge.gate_limits import GateLimits
from firmware_bridge.gate_rules import GRAVITY, Cause
from firmware_bridge.guard import GuardLoop, Sent
from firmware_bridge.guard_latch import Latch
from firmware_bridge.guard_memory import GuardMemory, decode_command, encode_moved, encode_sent
from firmware_bridge.guard_requests import Answer, Request, RequestServer
from firmware_bridge.guard_settings import GuardReady, GuardSettings, RealTimeSettings
from firmware_bridge.guard_sockets import new_socket
from firmware_bridge.guard_status import GuardStatus, encode_status
from firmware_bridge.hand import N_DOF, Hand, HandCommand, LinkState
from firmware_bridge.hands import open_hand
from firmware_bridge.movement_trace import Moved
from firmware_bridge.plain import from_plain, to_plain
from firmware_bridge.realtime import SWITCH_S, RealTime, make_real_time
from firmware_bridge.stop_lines import LineAction, StopLines

NS = 1_000_000_000
LOOK_S = 0.01
"""How often the heartbeat is looked at, beside each time that a command comes."""
STATUS_S = 0.02
LINES_STUCK_S = 0.2
"""A reading of the stop lines that takes longer is a line that cannot be read."""
WHO = "guard process"
LATCHING = ("stop", "release", "disarm", "fault")
"""After these only a person arms, also a guard that is started in this one's place."""
SENT, EVENT, MOVED = b"s", b"e", b"m"
"""How a message of the ring begins."""
WAKE = signal.SIGURG
"""Says to the main thread that another one has ended the process; ignored where nobody waits for it."""
SIGNALS = (
    signal.SIGUSR1, signal.SIGUSR2, signal.SIGTERM, signal.SIGHUP, signal.SIGINT,
    signal.SIGABRT,  # what the watchdog of systemd before 240 sends to all processes of a service
)  # fmt: skip

REST = np.zeros(N_DOF, np.float32)

logger = logging.getLogger(__name__)


class Stillness:
    """For how long something has not changed, as far as the onlooker was awake.

    A gap between two looks counts as `most_s` at the most: a machine that takes the processor from everybody for half
    a second proves nothing about the one who is watched.
    """

    def __init__(self, most_s: float) -> None:
        self._most_ns = round(most_s * NS)
        self._value: object = None
        self._looked_ns = 0
        self._still_ns = 0

    def look(self, value: object, now_ns: int) -> float:
        """Seconds for which it has been this value."""
        gap_ns = min(now_ns - self._looked_ns, self._most_ns)
        self._still_ns = self._still_ns + gap_ns if value == self._value else 0
        self._value, self._looked_ns = value, now_ns
        return self._still_ns / NS


class GuardProcess:
    """Everything that runs in the guard's process, around a hand that is not connected yet.

    Threads: the gate's own steady steps (`GuardLoop`), commands and heartbeat, requests, stop lines, and the hand's
    link. `run` is the main thread's. `real_time` is what the main thread has of that; the others get its class.
    """

    def __init__(
        self,
        settings: GuardSettings,
        hand: Hand,
        memory: GuardMemory,
        owner: socket.socket,
        wake: int,
        real_time: RealTime | None = None,
    ) -> None:
        self._settings, self._hand, self._memory, self._wake = settings, hand, memory, wake
        self._owner, self._real_time = owner, real_time
        self.ended = threading.Event()
        """Set once it is to end; commands and heartbeat are looked at until the hand is released."""
        self._over = threading.Event()
        self._waits_for_signals: int | None = None
        self._beats, self._reads = Stillness(2 * LOOK_S), Stillness(2 * LOOK_S)
        self._is_stalled = self._is_stuck = False
        self._stalled_ns = 0
        capabilities = hand.capabilities
        limits = settings.limits or GateLimits.for_hand(capabilities)
        self.guard = GuardLoop(
            SafetyGate(limits, capabilities.watchdog_action),
            hand,
            settings.rate_hz,
            on_event=self._on_event,
            on_sent=self._on_sent,
            on_moved=self._on_moved,
        )
        self._refusal = ""
        self._orphaned = self._was_connected = False
        self._applied = self._overwritten = self._stalls = 0
        self._newest: HandCommand | None = None
        self._status_lock = threading.Lock()
        self._status_ns = 0
        self.name = settings.name or str(os.getpid())
        self._lines = StopLines(settings.stop_lines, self._on_line)
        self.socket = new_socket(self.name)
        self._latch = Latch(self.name)
        self._ends_in_order = False
        self._requests = RequestServer(self.socket, owner, self.answer, self._on_orphaned)
        self._commands = threading.Thread(target=self._watch, name="guard commands", daemon=True)

    def start(self) -> None:
        """Begin to step, look, listen and answer; nothing is armed."""
        try:
            self._lines.start()
        except NervehandError:
            self._requests.close()
            raise
        if self._settings.adjustments != Adjustments():
            self.guard.adjust(WHO, self._settings.adjustments)
        self.guard.start()
        self._commands.start()
        self._requests.start()

    def connect(self) -> None:
        """Connect the hand, and tell the owner how that went; ends the process where it did not work."""
        try:
            self._hand.connect(self._settings.connect_s)
            if self._real_time is not None:
                share_class()
        except Exception as error:
            if not isinstance(error, NervehandError):
                logger.exception("the hand could not be connected")
            self._say(GuardReady(error=str(error) or repr(error)))
            self.end()
            return
        self._was_connected = True
        self._write_status()
        self._say(GuardReady(self._hand.capabilities, self.name, str(self.socket), real_time=self._real_time))

    def close(self) -> None:
        """Release, end every thread, and leave the hand."""
        self._lines.close()
        if self._orphaned and self._was_connected:
            self._await_link()
        self.guard.close(self._settings.release_s if self._was_connected else 0.0)
        self.ended.set()
        self._over.set()
        self._commands.join()
        self._write_status()
        if self._ends_in_order:
            self._latch.clear()
        self._requests.close()
        self._hand.close()

    def run(self) -> None:
        """Answer signals until it is to end, then release and close."""
        self._waits_for_signals = threading.get_ident()
        connecting = threading.Thread(target=self.connect, name="connect", daemon=True)
        self.start()
        connecting.start()
        try:
            while not self.ended.is_set():
                # Not sigtimedwait: interrupted in its last moment, CPython 3.11's gives a signal that never came.
                received = signal.sigwaitinfo({*SIGNALS, WAKE})
                if received.si_signo != WAKE:
                    self.signalled(signal.Signals(received.si_signo), received.si_pid)
        finally:
            self.close()

    def _await_link(self) -> None:
        """Nobody else is left to bring the hand to rest: give a link that is down the time to come back."""
        deadline_s = time.monotonic() + self._settings.orphaned_link_s
        while self._hand.link is not LinkState.CONNECTED and time.monotonic() < deadline_s:
            time.sleep(LOOK_S)

    def end(self) -> None:
        """Let `run` release the hand and return; from any thread."""
        self.ended.set()
        if self._waits_for_signals is not None:
            signal.pthread_kill(self._waits_for_signals, WAKE)

    def signalled(self, number: signal.Signals, sender: int) -> None:
        """Do what a signal asks for."""
        who = f"{number.name} from process {sender}"
        if number is signal.SIGUSR1:
            self._latch.set(f"stop by {who}")
            self.guard.request_stop(who)
        elif number is signal.SIGUSR2:
            self._latch.set(f"release by {who}")
            self.guard.request_release(who)
        else:
            self.ended.set()
            self.guard.request_release(who)
        self._write_status()

    def answer(self, request: Request, is_owner: bool) -> Answer:
        """Do what a request asks for; NervehandError where that cannot be."""
        guard, who = self.guard, request.who
        if request.request in LATCHING:
            self._latch.set(f"{request.request} by {who}")
        match request.request:
            case "stop":
                guard.request_stop(who)
            case "release":
                guard.request_release(who)
            case "disarm":
                guard.request_disarm(who)
            case "fault":
                guard.report_fault(who, request.what)
            case "adjust" if request.adjustments is not None:
                guard.adjust(who, request.adjustments)
            case "limits" if request.limits is not None:
                if not is_owner:
                    raise NervehandError(
                        "only the process that started the guard may change its limits: reload there"
                    )
                guard.limit(who, request.limits)
            case "arm":
                self._arm(request)
            case "end":
                if not is_owner:
                    raise NervehandError("only the process that started the guard may end it: use release")
                guard.request_release(who)
                self._ends_in_order = True
                self.end()
        status = self._write_status()
        answer: Answer = {"ok": True, "state": status.state.value, "link": status.link.value}
        if request.request == "status":
            answer |= {"status": to_plain(status), "adjustments": to_plain(guard.adjustments)}
        if request.request in ("status", "limits"):
            answer |= {"limits": to_plain(guard.limits), "time_to_rest_s": guard.time_to_rest_s}
        return answer

    def _arm(self, request: Request) -> None:
        if self.ended.is_set():
            raise NervehandError("the guard is about to end: start another one, then arm")
        if objection := self._line_objection():
            raise NervehandError(objection)
        if request.report is None:
            raise NervehandError("arm lacks report: give it")
        self._refusal = ""
        asked_ns = request.asked_ns
        if not self.guard.request_arm(request.who, request.report, request.acknowledgement, asked_ns):
            raise NervehandError(self._refusal or "the gate refused")
        self._latch.clear()
        if objection := self._line_objection():  # it opened in between, and asked too early to stop this
            self.guard.request_stop(f"{WHO}: {objection}")
            raise NervehandError(objection)

    def _line_objection(self) -> str:
        """Why nobody may arm, as far as the stop lines go; "" where they are all closed."""
        if self._lines.open_now:
            return f"the stop line {', '.join(self._lines.open_now)} is open: close it, then arm"
        if self._is_stuck:
            return "a stop line does not answer: see to its driver, start anew, then arm"
        return ""

    # What follows runs in the other threads.

    def _watch(self) -> None:
        """Bring each new command to the gate at once; look after the heartbeat, and after the stop lines."""
        poll = select.poll()
        poll.register(self._wake, select.POLLIN)
        poll.register(self._owner, select.POLLRDHUP)
        while not self._over.is_set():
            try:
                for descriptor, _ in poll.poll(round(LOOK_S * 1000)):
                    if descriptor == self._wake:
                        os.eventfd_read(self._wake)
                    else:
                        poll.unregister(descriptor)
                        self._on_orphaned()
                self._take_command()
                self._look(time.monotonic_ns())
            except Exception as error:  # whatever it was, the hand must not go on without somebody who looks
                logger.exception("the guard process failed")
                self.guard.report_fault(WHO, repr(error))

    def _look(self, now_ns: int) -> None:
        n_beats, beat_ns = self._memory.last_beat()
        still_s = self._beats.look(n_beats, now_ns)
        was_stalled, self._is_stalled = (
            self._is_stalled,
            n_beats > 0 and (still_s >= self._settings.heartbeat_limit_s),
        )
        if self._is_stalled and not was_stalled:
            self._stalled_ns = beat_ns
            self._on_stall(f"decode's heartbeat is {(now_ns - beat_ns) / 1e6:.0f} ms old")
        elif was_stalled and not self._is_stalled:
            text = f"decode's heartbeat is back after {(beat_ns - self._stalled_ns) / 1e6:.0f} ms"
            self._on_event(GateEvent(now_ns, "heartbeat", text, WHO))
        if self._settings.stop_lines:
            self._look_at_lines(now_ns)
        if now_ns - self._status_ns >= STATUS_S * NS:
            self._write_status()

    def _look_at_lines(self, now_ns: int) -> None:
        """What a line asks for holds as long as the line is open, not only when it opens; so does that none answers."""
        was_stuck, self._is_stuck = (
            self._is_stuck,
            (self._reads.look(self._lines.reads, now_ns) >= LINES_STUCK_S),
        )
        if self._is_stuck and not (was_stuck and self._has(LineAction.STOP)):
            self.guard.request_stop(f"{WHO}: a stop line does not answer")
        for action, why in self._lines.asked:
            if not self._has(action):
                self._on_line(action, why)

    def _has(self, action: LineAction) -> bool:
        """Whether the gate does already what that action asks for, or nothing, or what is graver."""
        if self.guard.state in (GateState.DISARMED, GateState.RELEASED):
            return True
        cause = self.guard.decision.cause if self.guard.decision else None
        return action is LineAction.STOP and cause is not None and GRAVITY[cause] <= GRAVITY[Cause.STOPPED]

    def _take_command(self) -> None:
        sequence, payload = self._memory.command.read()
        if sequence <= self._applied:
            return
        self._overwritten += sequence - self._applied - 1
        self._applied = sequence
        self._newest = decode_command(payload)
        self.guard.submit(self._newest)

    def _on_stall(self, text: str) -> None:
        """Silence, as the gate knows it: the hand relaxes, and the next good command ends it."""
        self._stalls += 1
        now_ns = time.monotonic_ns()
        self._on_event(GateEvent(now_ns, "silence", text, WHO))
        if self._newest is not None:
            self.guard.withdraw(self._newest)

    def _on_line(self, action: LineAction, why: str) -> None:
        self._latch.set(why)
        request = self.guard.request_stop if action is LineAction.STOP else self.guard.request_release
        request(why)

    def _on_orphaned(self) -> None:
        """Whoever started this has ended: let go, then end too."""
        with self._status_lock:  # it is seen by two threads, neither of which has to be there
            if self.ended.is_set() or self._orphaned:
                return
            self._orphaned = True
        self._on_event(GateEvent(time.monotonic_ns(), "orphaned", "decode has ended: release, then end", WHO))
        self.guard.request_release(WHO)
        self.end()

    def _on_event(self, event: GateEvent) -> None:
        if event.kind == "arm refused":
            self._refusal = event.text
        self._memory.told.write(EVENT + json.dumps(to_plain(event)).encode())

    def _on_sent(self, sent: Sent) -> None:
        self._memory.told.write(SENT + encode_sent(sent))

    def _on_moved(self, moved: Moved) -> None:
        self._memory.told.write(MOVED + encode_moved(moved))

    def _write_status(self) -> GuardStatus:
        """Write down where everything stands, for whoever looks on."""
        with self._status_lock:
            self._status_ns = time.monotonic_ns()
            decision, counters = self.guard.decision, self.guard.counters
            status = GuardStatus(
                self._status_ns,
                self.guard.state,
                None if decision is None else decision.cause,
                REST if decision is None else decision.positions,
                decision is not None and decision.send,
                self._hand.link,
                self._hand.state,
                dataclasses.replace(counters),
                self._overwritten,
                self._memory.refused,
                self._stalls,
                self._lines.open_now,
            )
            self._memory.status.write(encode_status(status))
        return status

    def _say(self, ready: GuardReady) -> None:
        try:
            self._owner.sendall(json.dumps(to_plain(ready)).encode() + b"\n")
        except OSError:
            logger.warning("nobody heard whether the hand is connected")


def share_class() -> None:
    """Give every thread of this process the main thread's scheduling class, which none inherits.

    All of them, also those that may wait: whichever holds the interpreter's lock while it is kept from its processor
    keeps the others from theirs.
    """
    main = os.getpid()  # which is the number of its main thread
    number, parameters = os.sched_getscheduler(main), os.sched_getparam(main)
    for thread in threading.enumerate():
        if thread.native_id is not None:
            with contextlib.suppress(ProcessLookupError):  # it has just ended
                os.sched_setscheduler(thread.native_id, number, parameters)


def real_time_of(settings: RealTimeSettings) -> RealTime | None:
    """What the calling thread gets of it, None where nothing is asked for; NervehandError where more is required."""
    if settings.is_off:
        return None
    return make_real_time(settings.policy, settings.priority, settings.cpus, settings.lock_memory)


def first_line(owner: socket.socket, most: int = 1 << 20) -> bytes:
    """Up to the first end of line, and not a byte more; LinkError where the other end has gone."""
    line = bytearray()
    while not line.endswith(b"\n"):
        received = owner.recv(1)
        if not received or len(line) > most:
            raise LinkError("whoever started the guard said nothing: start it by `nervehand run`")
        line += received
    return bytes(line)


def main() -> int:
    """The process: read what it is to guard, and guard it."""
    parser = argparse.ArgumentParser(description="The guard of a hand. `nervehand run` starts it.")
    for name, what in (("owner", "socket"), ("memory", "shared memory"), ("wake", "eventfd")):
        parser.add_argument(f"--{name}", type=int, required=True, metavar="FD", help=f"the {what}")
    options = parser.parse_args()
    # Before any other thread exists, so that each inherits it: signals wait for the main thread, which takes them.
    signal.pthread_sigmask(signal.SIG_BLOCK, {*SIGNALS, WAKE})
    sys.setswitchinterval(SWITCH_S)
    logging.basicConfig(level=logging.WARNING, format="nervehand guard: %(message)s")
    # It logs a link that is lost with all its frames; ours says it in a word.
    logging.getLogger("bumble").setLevel(logging.CRITICAL + 1)
    with socket.socket(fileno=options.owner) as owner:
        try:
            settings = from_plain(GuardSettings, json.loads(first_line(owner)), "guard settings")
            real_time = real_time_of(
                settings.real_time
            )  # before any other thread, which inherits its processors
            hand = open_hand(settings.hand, settings.options)
            memory = GuardMemory(options.memory)
            process = GuardProcess(settings, hand, memory, owner, options.wake, real_time)
            process.run()
        except NervehandError as error:
            owner.sendall(json.dumps(to_plain(GuardReady(error=str(error)))).encode() + b"\n")
            return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
