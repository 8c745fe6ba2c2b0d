"""What the commands about hands share: a hand by its address or its file, connected, moved only through the gate."""

from __future__ import annotations

import contextlib
import getpass
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from firmware_bridge.adjustments import Adjustments
from firmware_bridge.errors import LinkError, NervehandError
from firmware_bridge.gate import GateEvent
from firmware_bridge.guard import Sent
from firmware_bridge.guard_client import GuardClient
from firmware_bridge.guard_settings import GuardSettings
from firmware_bridge.hand import Hand, HandCapabilities, WatchdogAction
from firmware_bridge.hand_config import HandConfig, hand_config_of, read_hand_config
from nervehand.gate_words import GateWords
from nervehand.output import saying

CONNECT_S = 15.0
_STOP_SEEN_S = 0.02


def chosen_hand(
    hand: str, transport: str | None = None, bonded: bool = False, acknowledged_by: str = "", side: str = ""
) -> HandConfig:
    """The configuration that `hand` names: a TOML file, or an address with everything else the hand's own.

    The others are what is said on the command line, and win. NervehandError where something is wrong, or would do
    nothing for that hand.
    """
    config = read_hand_config(Path(hand)) if hand.endswith(".toml") else hand_config_of(hand)
    for option, is_given in (("--transport", transport is not None), ("--bonded", bonded)):
        if is_given and not config.is_over_bluetooth:
            raise NervehandError(
                f"{option} is for a hand over Bluetooth, {config.address} is on a serial port: leave it out"
            )
    capabilities = config.open().capabilities
    if acknowledged_by and capabilities.watchdog_action is not WatchdogAction.UNKNOWN:
        known = watchdog_text(capabilities)
        raise NervehandError(
            f"--acknowledge-watchdog is for a hand of which it is unknown what it does when commands stop;"
            f" of {capabilities.name} it is known ({known}): leave it out"
        )
    said: dict[str, object] = {}
    if transport is not None:
        said["transport"] = transport
    if bonded:
        said["bonded"] = True
    if acknowledged_by:
        said["watchdog_acknowledged_by"] = acknowledged_by
    if side not in ("left", "right", ""):
        raise NervehandError(f"side is {side!r}: say left or right")
    if side:
        said["side"] = side
    return config.model_copy(update=said)


def watchdog_text(capabilities: HandCapabilities) -> str:
    """What a hand does when commands stop, for a person."""
    after = "" if capabilities.watchdog_s is None else f" after {capabilities.watchdog_s:g} s"
    return f"{capabilities.watchdog_action.value}{after}"


def login_name() -> str:
    """Who runs this, where nobody is named."""
    try:
        return getpass.getuser()
    except (KeyError, OSError) as error:
        raise NervehandError("this login has no name: say who you are with --as NAME") from error


@contextmanager
def connected(config: HandConfig, *, silent: bool) -> Iterator[Hand]:
    """The hand, connected and its state read; LinkError where it cannot be reached. `silent`: say nothing of it."""
    hand = config.open()
    with saying(f"connecting to {config.address}", silent):
        hand.connect(CONNECT_S)
    with contextlib.closing(hand):
        yield hand


class Told:
    """What happened while a hand was moved: the gate's events, and what the hand was told last.

    `refusal` is why the gate did not arm the last time that it was asked; `failure`, why it is not known that the hand
    was released; "" for none. `events`, and `say`, which gets a line for each, begin where something was asked of the
    gate: not with a gate that is disarmed because its hand is not connected yet.
    """

    def __init__(self, say: Callable[[str], None] = lambda line: None) -> None:
        self.events: list[GateEvent] = []
        self.sent: Sent | None = None
        self.refusal = self.failure = ""
        self._begun_ns: int | None = None
        self._say = say
        self._words = GateWords()

    def event(self, event: GateEvent) -> None:
        text = self._words.of(event)
        if self._begun_ns is None and event.kind not in ("adjust", "disarmed"):
            self._begun_ns = event.time_ns
        if self._begun_ns is None and event.kind == "disarmed":
            return
        self.events.append(event)
        match event.kind:
            case "arm refused":
                self.refusal = event.text
            case "release given up" | "guard lost":
                self.failure = text
        after_s = 0.0 if self._begun_ns is None else (event.time_ns - self._begun_ns) / 1e9
        self._say(f"{after_s:7.2f} s  {text}" + (f" ({event.who})" if event.who != "gate" else ""))

    def send(self, sent: Sent) -> None:
        self.sent = sent

    def to_json(self) -> list[dict[str, object]]:
        return [{"kind": one.kind, "text": one.text, "who": one.who} for one in self.events]


@contextmanager
def guarded(
    config: HandConfig, name: str, told: Told, stop: threading.Event, *, silent: bool
) -> Iterator[GuardClient]:
    """The hand, connected by a guard process within the configured limits, not armed; leaving it releases the hand.

    The guard is called `name` and the number of this process. Of the wearer's adjustments the speed and the locks hold,
    not those of what a decoder wants. LinkError where the hand cannot be reached, NervehandError where `stop` is set
    by then. `silent`: say nothing of it.
    """
    limits = config.limits(config.open().capabilities)
    mine = replace(config.adjustments, gain=Adjustments().gain, dead_band=Adjustments().dead_band)
    settings = GuardSettings(
        config.address, config.options, limits, mine, name=f"{name}-{os.getpid()}", connect_s=CONNECT_S
    )
    guard = GuardClient(settings, told.event, told.send)
    with contextlib.closing(guard):
        with saying(f"connecting to {config.address}", silent), _given_up(guard, stop):
            try:
                guard.start()
            except LinkError as error:
                if not stop.is_set():
                    raise
                raise NervehandError(
                    f"interrupted before {config.address} was connected: the hand was not moved"
                ) from error
        if stop.is_set():
            raise NervehandError(f"interrupted as {config.address} was connected: the hand is only released")
        yield guard


@contextmanager
def _given_up(guard: GuardClient, stop: threading.Event) -> Iterator[None]:
    """End the guard, which may still look for its hand, once `stop` is set."""
    over = threading.Event()

    def watch() -> None:
        while not over.wait(_STOP_SEEN_S):
            if stop.is_set():
                guard.give_up()

    watcher = threading.Thread(target=watch, name="stop", daemon=True)
    watcher.start()
    try:
        yield
    finally:
        over.set()
        watcher.join()
