"""Who guards the hand of a run: a process of its own, or a loop in this one."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Protocol

from firmware_bridge.adjustments import Adjustments
from firmware_bridge.gate import GateEvent, SafetyGate
from firmware_bridge.gate_limits import GateLimits
from firmware_bridge.guard import Guard, GuardLoop, Sent
from firmware_bridge.guard_client import GuardClient
from firmware_bridge.guard_settings import GuardSettings, RealTimeSettings
from firmware_bridge.hand import Hand, HandCapabilities, HandState, LinkState
from firmware_bridge.hand_config import HandConfig
from firmware_bridge.hands import HandOptions
from firmware_bridge.hands.virtual import VirtualHand
from firmware_bridge.hands.virtual_process import virtual_hand_process
from firmware_bridge.movement_trace import Moved
from firmware_bridge.preuse_check import EITHER
from firmware_bridge.stop_lines import LineAction, StopLine

CONNECT_S = 10.0
UNADJUSTED = Adjustments()

OnEvent = Callable[[GateEvent], None]
OnSent = Callable[[Sent], None]
OnMoved = Callable[[Moved], None]


class HandView(Protocol):
    """A hand as seen by who may not move it."""

    @property
    def link(self) -> LinkState: ...

    @property
    def state(self) -> HandState | None: ...


@dataclass(frozen=True, slots=True)
class Guarded:
    """A hand that is connected and guarded, not armed.

    `working` is entered for as long as the decode loop works on a block: what hangs there is found by the guard.
    `limits` are the gate's; `side` is the hand's, "" where nobody said. Who asked for rest after `asked_ns`, when the
    guard was asked for, is not overruled by arming it for the first time (host, `time.monotonic_ns`).
    """

    guard: Guard
    hand: HandView
    capabilities: HandCapabilities
    limits: GateLimits
    asked_ns: int
    side: str = ""
    working: Callable[[], AbstractContextManager[None]] = nullcontext


Guarding = Callable[[OnEvent, OnSent, OnMoved], AbstractContextManager[Guarded]]
"""Begins to guard; leaving it releases the hand. The listeners get the gate's events, what the hand is told, and when
it says that it moves."""


def nothing_moved(moved: Moved) -> None:
    """For one who does not ask when a hand moves."""


@dataclass(frozen=True, slots=True)
class GuardOptions:
    """What a person may say of the guard: in a process of its own or not, its name, the lines that it watches, and what
    its process is to have of real time."""

    is_process: bool = True
    name: str = ""
    stop_lines: tuple[str, ...] = ()
    release_lines: tuple[str, ...] = ()
    real_time: RealTimeSettings = field(default_factory=RealTimeSettings)

    @property
    def lines(self) -> tuple[StopLine, ...]:
        """As the guard takes them."""
        stop = (StopLine(address) for address in self.stop_lines)
        return (*stop, *(StopLine(address, LineAction.RELEASE) for address in self.release_lines))


@contextmanager
def in_this_process(
    hand: Hand,
    on_event: OnEvent,
    on_sent: OnSent,
    on_moved: OnMoved = nothing_moved,
    limits: GateLimits | None = None,
    adjustments: Adjustments = UNADJUSTED,
    side: str = EITHER,
) -> Iterator[Guarded]:
    """`Guarding` of a hand that is connected already."""
    asked_ns = time.monotonic_ns()
    capabilities = hand.capabilities
    limits = limits or GateLimits.for_hand(capabilities)
    gate = SafetyGate(limits, capabilities.watchdog_action)
    with GuardLoop(gate, hand, on_event=on_event, on_sent=on_sent, on_moved=on_moved) as guard:
        if adjustments != UNADJUSTED:
            guard.adjust("configuration", adjustments)
        yield Guarded(guard, hand, capabilities, limits, asked_ns, side)


@contextmanager
def in_its_own_process(
    settings: GuardSettings, on_event: OnEvent, on_sent: OnSent, on_moved: OnMoved, side: str = EITHER
) -> Iterator[Guarded]:
    """`Guarding` by a guard process, which connects the hand itself."""
    asked_ns = time.monotonic_ns()  # the guard hears requests while it looks for its hand
    with GuardClient(settings, on_event, on_sent, on_moved) as guard:
        limits = settings.limits or GateLimits.for_hand(guard.capabilities)
        yield Guarded(guard, guard.hand, guard.capabilities, limits, asked_ns, side, guard.working)


@contextmanager
def virtual_hand() -> Iterator[Hand]:
    """The virtual hand in a process of its own, connected over GATT; LinkError where it cannot be reached."""
    with virtual_hand_process() as started:
        hand = VirtualHand(started.address, started.transport)
        hand.connect(CONNECT_S)
        with contextlib.closing(hand):
            yield hand


@contextmanager
def virtual_hand_guarded(
    options: GuardOptions,
    limits: GateLimits | None = None,
    adjustments: Adjustments = UNADJUSTED,
    side: str = EITHER,
) -> Iterator[Guarding]:
    """A virtual hand that is started for it, and who guards it."""
    if not options.is_process:
        with virtual_hand() as hand:
            yield partial(in_this_process, hand, limits=limits, adjustments=adjustments, side=side)
        return
    with virtual_hand_process() as started:
        address, transport = f"virtual:{started.address}", HandOptions(transport=started.transport)
        settings = _settings(GuardSettings(address, transport, limits, adjustments), options)
        yield partial(in_its_own_process, settings, side=side)


@contextmanager
def hand_guarded(config: HandConfig, options: GuardOptions) -> Iterator[Guarding]:
    """The hand of a configuration, and who guards it within its limits."""
    unconnected = config.open()
    limits = config.limits(unconnected.capabilities)
    if options.is_process:
        settings = GuardSettings(config.address, config.options, limits, config.adjustments)
        yield partial(in_its_own_process, _settings(settings, options), side=config.side)
        return
    unconnected.connect(CONNECT_S)
    with contextlib.closing(unconnected) as hand:
        yield partial(in_this_process, hand, limits=limits, adjustments=config.adjustments, side=config.side)


def _settings(settings: GuardSettings, options: GuardOptions) -> GuardSettings:
    """With what a person said; named after this process where nothing was."""
    name = options.name or f"run-{os.getpid()}"
    return replace(
        settings, stop_lines=options.lines, name=name, connect_s=CONNECT_S, real_time=options.real_time
    )
