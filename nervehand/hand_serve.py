"""`nervehand hand serve`: an emulated hand at the other end of a link, to try everything without a real one."""

from __future__ import annotations

import os
import secrets
import select
import shlex
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Event
from typing import Literal

from firmware_bridge.emulators.hands.device import HandDevice, Trace
from firmware_bridge.emulators.hands.tracing import tracing
from firmware_bridge.errors import NervehandError
from firmware_bridge.hand import WatchdogAction
from nervehand.hand_use import chosen_hand, login_name
from nervehand.output import print_json
from nervehand.stopping import stop_on_signals

On = Literal["ble", "pty"]
SPEAKS: dict[str, tuple[On, ...]] = {
    "virtual": ("ble",),
    "ability_hand": ("pty", "ble"),
    "hero": ("ble",),
    "rohand": ("pty",),
    "inspire": ("pty",),
}
"""What can be spoken, and over which links; the first unless said otherwise."""
BAUDS = {"ability_hand": 460800, "rohand": 115200, "inspire": 115200}
_LOOK_S = 0.2


@dataclass(frozen=True, slots=True)
class ServedHand:
    """A hand at work: how it is reached, and how it is told what happens to it."""

    address: str
    transport: str | None
    order: Callable[[str], None]
    is_alive: Callable[[], bool]


@dataclass(frozen=True, slots=True)
class ServeOptions:
    """What is served: see `nervehand hand serve --help`. `port` is a TCP port or, on a pty, a path; "" for any."""

    speaks: str
    on: str
    port: str
    adapter: str | None
    has_physics: bool
    is_bonded: bool
    watchdog_s: float | None
    radio: str | None
    trace: Path | None


def run_serve(options: ServeOptions, *, as_json: bool) -> None:
    """Serve until Ctrl-C, or until the hand ends by itself; lines on standard input are orders to it."""
    if options.speaks not in SPEAKS:
        raise NervehandError(f"no emulated hand speaks {options.speaks!r}: use one of {', '.join(SPEAKS)}")
    links = SPEAKS[options.speaks]
    on = options.on or links[0]
    if on not in links:
        raise NervehandError(f"{options.speaks} is not spoken on {on!r}: use {' or '.join(links)}")
    with (
        stop_on_signals() as stop,
        _on_pty(options) if on == "pty" else _over_bluetooth(options) as served,
    ):
        if as_json:
            print_json({"address": served.address, "transport": served.transport, "speaks": options.speaks})
            sys.stdout.flush()
        else:
            print(f"a hand that speaks {options.speaks} is served; Ctrl-C ends it")
            print(f"try: {_what_to_try(served, options.is_bonded)}", flush=True)
        _obey_until(stop, served)
        if not stop.is_set():
            raise NervehandError("the emulated hand has ended: its own message is above")


def _what_to_try(served: ServedHand, is_bonded: bool) -> str:
    """A command that moves it, as a shell takes it."""
    try:
        who, by_name = login_name(), []
    except NervehandError:
        who, by_name = "me", ["--as", "me"]
    hand = chosen_hand(served.address, served.transport, is_bonded).open()
    needs_name = hand.capabilities.watchdog_action is WatchdogAction.UNKNOWN
    words = ["nervehand", "hand", "move", served.address, "--index", "1", *by_name]
    words += ["--transport", served.transport] if served.transport else []
    words += ["--bonded"] if is_bonded else []
    words += ["--acknowledge-watchdog", who] if needs_name else []
    return shlex.join(words)


def _obey_until(stop: Event, served: ServedHand) -> None:
    """Pass on what a person writes, a line at a time, until `stop` or the hand's end."""
    descriptor, received, listens = sys.stdin.fileno(), b"", True
    while not stop.is_set() and served.is_alive():
        readable, _, _ = select.select([descriptor] if listens else [], [], [], _LOOK_S)
        if not readable:
            continue
        piece = os.read(descriptor, 4096)
        listens = bool(piece)
        *lines, received = (received + piece).split(b"\n")
        for line in lines:
            try:
                served.order(line.decode(errors="replace").strip())
            except NervehandError as error:
                print(error, file=sys.stderr, flush=True)


@contextmanager
def _over_bluetooth(options: ServeOptions) -> Iterator[ServedHand]:
    """As a peripheral in a process of its own, on a simulated radio or on an adapter."""
    from firmware_bridge.hands.virtual_process import virtual_hand_process

    if options.port and not (options.port.isdecimal() and options.port.isascii()):
        raise NervehandError(f"port is {options.port!r}: over Bluetooth it is a TCP port, 6402 say")
    for what, is_said, why in (
        ("--port", options.port and options.adapter, "the simulated radio's, and --adapter a real one"),
        ("--radio", options.radio and options.adapter, "the simulated radio's, and --adapter a real one"),
        ("--watchdog", options.watchdog_s and options.speaks != "virtual", "the virtual hand's"),
    ):
        if is_said:
            raise NervehandError(f"{what} is {why}: leave it out")
    more = ["--speaks", options.speaks]
    more += ["--adapter", options.adapter] if options.adapter else []
    more += ["--radio", options.radio] if options.radio else []
    more += ["--trace", str(options.trace)] if options.trace else []
    more += ["--watchdog", str(options.watchdog_s)] if options.watchdog_s is not None else []
    more += ["--physics"] if options.has_physics else []
    # Its keys end with it, and whoever has bonded with one hand refuses another one at the same address.
    more += ["--bonded", "--address", _random_address()] if options.is_bonded else []
    query = "" if options.watchdog_s is None else f"?watchdog={options.watchdog_s:g}"
    with virtual_hand_process(int(options.port or 0), arguments=more) as started:
        transport = None if options.adapter else started.transport
        process = started.process
        yield ServedHand(
            f"{options.speaks}:{started.address}{query}",
            transport,
            started.order,
            lambda: process.poll() is None,
        )


@contextmanager
def _on_pty(options: ServeOptions) -> Iterator[ServedHand]:
    """On a pseudo-terminal in this process, as fast as the hand's own line."""
    from firmware_bridge.emulators.hands.pty import PtyHand

    for what, is_said in (
        ("--adapter", options.adapter),
        ("--physics", options.has_physics),
        ("--bonded", options.is_bonded),
        ("--radio", options.radio),
        ("--watchdog", options.watchdog_s is not None),
    ):
        if is_said:
            raise NervehandError(f"{what} is for a hand over Bluetooth: leave it out, or say --on ble")
    path = Path(options.port or Path(tempfile.gettempdir()) / f"nervehand-{options.speaks}").absolute()
    if "?" in str(path) or path.suffix == ".toml":
        raise NervehandError(f"{path} cannot be said in a hand's address: choose another place for the port")
    with (
        tracing(options.trace) as trace,
        PtyHand(_serial_device(options.speaks, trace), path, BAUDS[options.speaks]) as hand,
    ):
        worker = hand.worker

        def order(line: str) -> None:
            {"unplug": hand.unplug, "plug": hand.plug}.get(line, lambda: hand.obey(line))()

        yield ServedHand(f"{options.speaks}:{path}", None, order, lambda: worker.is_alive)


def _random_address() -> str:
    """A random static one: its two highest bits are set."""
    return ":".join(f"{byte:02X}" for byte in (0xC0 | secrets.randbits(6), *secrets.token_bytes(5)))


def _serial_device(speaks: str, trace: Trace) -> HandDevice:
    now_ns = time.monotonic_ns()
    match speaks:
        case "ability_hand":
            from firmware_bridge.emulators.hands.ability_hand import AbilityDevice

            return AbilityDevice(now_ns, trace=trace)
        case "rohand":
            from firmware_bridge.emulators.hands.rohand import RohandDevice

            return RohandDevice(now_ns, trace=trace)
        case _:
            from firmware_bridge.emulators.hands.inspire import InspireDevice

            return InspireDevice(now_ns, trace=trace)
