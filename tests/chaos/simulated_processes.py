"""The processes of a simulated daemon beside the one that decodes: the guard, and the one who records."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import Protocol

import numpy as np

from decoder.bundle import Bundle
from decoder.intent import Intents
from decoder.recording.messages import Kind
from decoder.recording.ring import RingReader, RingSize, make_memory
from decoder.recording.sender import Sender
from firmware_bridge.adjustments import Adjustments
from firmware_bridge.emulators.oracle import Commanded
from firmware_bridge.errors import LinkError
from firmware_bridge.gate import GateDecision, GateEvent, GateState, SafetyGate
from firmware_bridge.gate_limits import GateLimits
from firmware_bridge.guard import GuardCounters, GuardLoop, Sent
from firmware_bridge.hand import HandCommand
from firmware_bridge.hands.virtual_protocol import VIRTUAL_HAND
from firmware_bridge.preuse import PreUseReport, overridden
from firmware_bridge.stream import StreamInfo
from nervehand.daemon import header_for
from nervehand.recording import LiveRecorder
from tests.chaos.simulated_hand import SimulatedHand
from tests.chaos.world import World

REACH, SPEED = (-0.6, 0.8), 2.0
"""What the gate is told, smaller than what the hand can do."""
NEVER_NS = 1 << 62


class Listening(Protocol):
    """Who hears what a guard does; `commands` is what came to its door, for the oracle."""

    commands: list[Commanded]

    def gate_event(self, event: GateEvent) -> None: ...

    def live_sent(self, sent: Sent) -> None: ...


class Ring:
    """The recorder's ring with somebody at its other end, who may stand still, or be another one from now on."""

    def __init__(self, info: StreamInfo, bundle: Bundle) -> None:
        self._size = RingSize.of(info)
        self._memory = make_memory(self._size)
        self.received = self.lost = 0
        self.sender = Sender(self._memory, self._size, header_for(info, bundle, bundle.manifest.decision))
        self.recorder = LiveRecorder(
            self.sender, sender=self.sender,
            header_of=lambda decoder: header_for(info, decoder.bundle, decoder.decision),
        )  # fmt: skip
        self.is_stopped = False
        self._newest = 0
        self._reader = RingReader(self._memory, self._size)

    def drain(self) -> None:
        """Take what is there, as the recorder's process does."""
        if self.is_stopped:
            return
        for message in self._reader.read():
            if message.sequence > self._newest:
                self.lost += message.sequence - self._newest - 1
                self.received += 1
                self._newest = message.sequence
        self._reader.done(self._newest)

    def succeed(self) -> None:
        """Another one begins where the one before had a file begun."""
        self.is_stopped = False
        taken = self._reader.taken
        self._reader.close()
        self._reader = RingReader(self._memory, self._size)
        self._reader.next = (self._reader.last_of(Kind.MOMENT, taken) if taken else 0) or taken + 1

    def close(self) -> None:
        self.is_stopped = False
        self.sender.close()
        self.drain()
        self._reader.close()
        os.close(self._memory)


class Door:
    """The guard's process as decode's side sees it (a `Guard`): it may stand still, or be gone.

    A command that comes while it stands still waits for it, the newest one only.
    """

    def __init__(self, world: World, hand: SimulatedHand, run: Listening) -> None:
        self._world, self._hand, self._run = world, hand, run
        one = np.ones(6, np.float32)
        limits = replace(
            GateLimits.for_hand(VIRTUAL_HAND), lower=REACH[0] * one, upper=REACH[1] * one, max_speed_per_s=SPEED * one
        )  # fmt: skip
        self.gate = SafetyGate(limits, VIRTUAL_HAND.watchdog_action)
        self.loop = GuardLoop(
            self.gate, hand, on_event=run.gate_event, on_sent=lambda sent: run.live_sent(sent),
            clock=world.clock_ns,
        )  # fmt: skip
        self.is_stopped = self.is_dead = False
        self._newest: HandCommand | None = None
        self._waiting: HandCommand | None = None
        world.stepping.append(self)

    @property
    def due_ns(self) -> int:
        return NEVER_NS if self.is_stopped or self.is_dead else self.loop.due_ns

    def step(self) -> None:
        self.loop.tick()

    @property
    def counters(self) -> GuardCounters:
        return self.loop.counters

    @counters.setter
    def counters(self, counters: GuardCounters) -> None:
        raise AssertionError("nobody sets them")

    @property
    def decision(self) -> GateDecision | None:
        return self.loop.decision

    @property
    def state(self) -> GateState:
        return GateState.DISARMED if self.is_dead else self.loop.state

    def submit(self, command: HandCommand) -> Sent | None:
        if self.is_dead:
            raise LinkError("the guard process was killed by SIGKILL: the hand is left to its own watchdog")
        if self.is_stopped:
            self._waiting = command
        else:
            self._take(command)
        return None

    def _take(self, command: HandCommand) -> None:
        now_ns = self._world.now_ns
        if now_ns < command.expires_ns:
            good = not command.quality.warming and command.quality.healthy_fraction >= 0.75
            targets = tuple(float(t) for t in command.targets)
            self._run.commands.append(Commanded(now_ns, now_ns, targets, command.expires_ns, good))
        self._newest = command
        self.loop.submit(command)

    def silence(self) -> None:
        """Decode's heartbeat stays away."""
        if self._newest is not None and not (self.is_stopped or self.is_dead):
            now_ns = self._world.now_ns
            targets = tuple(float(t) for t in self._newest.targets)
            self._run.commands.append(Commanded(now_ns, now_ns, targets, now_ns))
            self.loop.withdraw(self._newest)

    def go_on(self) -> None:
        """After it stood still."""
        self.is_stopped = False
        waiting, self._waiting = self._waiting, None
        if waiting is not None:
            self._take(waiting)

    def leave(self) -> None:
        """It is no process any more."""
        self.is_dead = True
        self._world.stepping.remove(self)

    def request_arm(
        self, who: str, report: PreUseReport, acknowledgement: str = "", asked_ns: int = 0
    ) -> bool:
        if self.is_dead or self.is_stopped:
            return False
        return self.loop.request_arm(who, report, acknowledgement, asked_ns)

    def request_disarm(self, who: str) -> None:
        self.loop.request_disarm(who)

    def request_stop(self, who: str) -> None:
        self.loop.request_stop(who)

    def request_release(self, who: str) -> None:
        self.loop.request_release(who)

    def report_fault(self, who: str, what: str) -> None:
        if not (self.is_dead or self.is_stopped):
            self.loop.report_fault(who, what)

    @property
    def adjustments(self) -> Adjustments:
        return self.loop.adjustments

    def adjust(self, who: str, adjustments: Adjustments) -> None:
        self.loop.adjust(who, adjustments)

    @property
    def limits(self) -> GateLimits:
        return self.loop.limits

    def limit(self, who: str, limits: GateLimits) -> GateLimits:
        return self.loop.limit(who, limits)

    def start(self) -> None:
        """The world steps it."""

    def close(self, release_s: float | None = None) -> None:
        """The run ends it."""

    def __enter__(self) -> Door:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Answered:
    """Somebody answers for the hand, on the world's clock."""

    def __init__(self, world: World) -> None:
        self._world = world

    def report(self) -> PreUseReport:
        return overridden("Ann", self._world.now_ns)

    def decoded(self, intents: Intents, seen: object) -> None:
        """Nothing is looked at."""
