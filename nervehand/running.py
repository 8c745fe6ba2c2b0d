"""`nervehand run` and `nervehand record`: any source, decoded into a hand through the gate, or only recorded."""

from __future__ import annotations

import contextlib
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.status import Status

from decoder.bundle import read_bundle
from decoder.session.model import SessionMeta
from decoder.session.source import SessionSource, up_to
from firmware_bridge.errors import NervehandError
from firmware_bridge.hand import AppliedCommand, HandCapabilities, HandState, LinkState
from firmware_bridge.hand_config import HandConfig
from firmware_bridge.hands.virtual_protocol import VIRTUAL_HAND
from firmware_bridge.kinematics import KinematicHand
from firmware_bridge.preuse_check import EITHER
from firmware_bridge.sources import simulated
from firmware_bridge.sources.simulated import STEERED
from firmware_bridge.stream import SignalBlock, Source, StreamInfo
from firmware_bridge.supervised import SourceEvent, SupervisedSource
from nervehand.driving import Arming, drive_hand
from nervehand.guarding import Guarding, GuardOptions, hand_guarded, in_this_process, virtual_hand_guarded
from nervehand.hand_use import chosen_hand, login_name
from nervehand.live_port import Intend, ServedRun
from nervehand.output import naming, print_json
from nervehand.pre_use import LiveCheck
from nervehand.recording import recording
from nervehand.screen import NoScreen
from nervehand.source_log import SourceLog
from nervehand.sources import SIMULATED, open_source, split_address
from nervehand.stopping import closed_by, stop_on_signals

GRACE_S = 10.0
"""So many seconds of samples end at the latest this much later by the host's clock: some may never come."""
_SAY_S = 0.5


class BoundedSource:
    """A source that ends after `seconds` of samples, lost ones counted; None: when it ends.

    `mains_hz` is what a person says of the mains, where the device does not know.
    """

    def __init__(
        self, source: Source, seconds: float | None, mains_hz: float | None = None, grace_s: float = GRACE_S
    ) -> None:
        self._source, self._seconds, self._grace_s = source, seconds, grace_s
        self._info = source.info if mains_hz is None else replace(source.info, mains_hz=mains_hz)

    @property
    def info(self) -> StreamInfo:
        return self._info

    def connect(self) -> None:
        self._source.connect()

    def close(self) -> None:
        """End the blocks, also from another thread."""
        self._source.close()

    def blocks(self) -> Iterator[SignalBlock]:
        if self._seconds is None:
            yield from self._source.blocks()
            return
        n_samples = max(1, round(self._seconds * self.info.rate_hz))
        timer = threading.Timer(self._seconds + self._grace_s, self._source.close)
        timer.daemon = True
        timer.start()
        try:
            stop: int | None = None
            for block in self._source.blocks():
                stop = block.first_sample + n_samples if stop is None else stop
                if block.first_sample < stop:
                    yield up_to(block, stop)
                if block.first_sample + block.n_samples >= stop:
                    return
        finally:
            timer.cancel()


class NoHand:
    """What a virtual hand would do, in this process: nothing is sent anywhere, and the screen shows the motion."""

    def __init__(self) -> None:
        self._motion = KinematicHand(VIRTUAL_HAND, time.monotonic_ns())
        self._lock = threading.Lock()  # the gate commands from one thread, the screen looks from another

    @property
    def capabilities(self) -> HandCapabilities:
        return VIRTUAL_HAND

    @property
    def link(self) -> LinkState:
        return LinkState.CONNECTED

    @property
    def state(self) -> HandState:
        with self._lock:
            now_ns = time.monotonic_ns()
            self._motion.advance(now_ns)
            return HandState(self._motion.positions, now_ns, self._motion.watchdog_tripped)

    def connect(self, timeout_s: float) -> None:
        """Always there."""

    def send(self, positions: NDArray[np.float32], now_ns: int) -> AppliedCommand:
        with self._lock:
            self._motion.command(positions, time.monotonic_ns())
        return AppliedCommand(positions, np.zeros(positions.shape, np.bool_), now_ns)

    def grip(self, name: str, speed: float, now_ns: int) -> None:
        raise NervehandError(f"the virtual hand has no grip {name!r}: it has none of its own")

    def close(self) -> None:
        """Nothing to close."""


WORN_BY_NOBODY = ("virtual", "none")
"""Hands that a run may arm by itself, and again after a lost link."""


@dataclass(frozen=True, slots=True)
class RunOptions:
    """What a person says of the hand of a run, beside which one it is. `arm_as` names who answers for arming it.

    A hand that somebody wears is checked before use, unless `override_check` names who takes that on themselves;
    another where `is_checked`. `side` is the hand's, where its file does not say it.
    """

    arm_as: str = ""
    transport: str | None = None
    is_bonded: bool = False
    acknowledged_by: str = ""
    is_checked: bool = False
    override_check: str = ""
    side: str = ""
    guard: GuardOptions = field(default_factory=GuardOptions)


def _driven(
    hand: str, options: RunOptions, gestures: Sequence[str]
) -> tuple[contextlib.AbstractContextManager[Guarding], str, tuple[str, ...]]:
    """Who guards the hand of that name, address or file; who accepts that its watchdog is unknown; its grips' gestures.

    `gestures` are the decoder's: a grip can be started by no other. NervehandError for what would do nothing.
    """
    guard = options.guard
    if (hand == "none" or not guard.is_process) and (guard.lines or guard.name):
        raise NervehandError(
            "stop lines and a name are for a guard process: leave out --one-process and --hand none"
        )
    if hand in WORN_BY_NOBODY:
        for option, is_given in (
            ("--transport", options.transport is not None),
            ("--bonded", options.is_bonded),
            ("--acknowledge-watchdog", bool(options.acknowledged_by)),
            ("--side", bool(options.side)),
        ):
            if is_given:
                raise NervehandError(
                    f"{option} does nothing with --hand {hand}: leave it out, or give --hand an address or a file"
                )
    if hand in WORN_BY_NOBODY:
        config = HandConfig(address=hand)
    else:
        config = chosen_hand(
            hand, options.transport, options.is_bonded, options.acknowledged_by, options.side
        )
    return hand_driven(config, guard, gestures, options.arm_as, hand)


def hand_driven(
    config: HandConfig, guard: GuardOptions, gestures: Sequence[str], arm_as: str, name: str = ""
) -> tuple[contextlib.AbstractContextManager[Guarding], str, tuple[str, ...]]:
    """Who guards that hand, "virtual" and "none" too; who accepts that its watchdog is unknown; its grips' gestures.

    `gestures` are the decoder's: a grip can be started by no other. `arm_as` answers for arming a hand that somebody
    may wear. A person knows the hand as `name`, "" by its address.
    """
    if config.address in WORN_BY_NOBODY:
        limits, side = config.limits(VIRTUAL_HAND), config.side or EITHER
        if config.address == "none":
            guarding = partial(
                in_this_process, NoHand(), limits=limits, adjustments=config.adjustments, side=side
            )
            return contextlib.nullcontext(guarding), "", ()
        return virtual_hand_guarded(guard, limits, config.adjustments, side), "", ()
    if not arm_as:
        raise NervehandError(f"nobody answers for arming {config.address}: add --arm-as NAME")
    unknown = [gesture for gesture in config.grips if gesture not in gestures]
    if unknown:
        raise NervehandError(
            f"{name or config.address}: [grips] names {', '.join(map(repr, unknown))}, which the decoder cannot decide:"
            f" its gestures are {', '.join(map(repr, gestures))}"
        )
    return hand_guarded(config, guard), config.watchdog_acknowledged_by, tuple(config.grips)


def opened_source(
    address: str, start_s: float, on_event: Callable[[SourceEvent], None]
) -> tuple[Source, Intend | None]:
    """The source at an address, and how it is steered, where it is a simulated person who is."""
    scheme, where = split_address(address)
    if scheme != SIMULATED or not where.endswith(STEERED):
        return open_source(address, start_s=start_s, on_event=on_event), None
    if start_s:
        raise NervehandError(f"{address} cannot begin {start_s:g} s later: only a session can")
    person = simulated.open_device(where, on_event=on_event)
    return SupervisedSource(person, on_event), person.intend


def _check(hand: str, options: RunOptions) -> LiveCheck | None:
    """The check of a run; None where it is overridden, or nobody wears the hand."""
    if options.is_checked and options.override_check:
        raise NervehandError("--check and --override-check are asked for: give one of them")
    is_needed = options.is_checked or hand not in WORN_BY_NOBODY
    return LiveCheck() if is_needed and not options.override_check else None


def run_live(
    address: str,
    bundle_path: Path,
    hand: str,
    record: Path | None,
    seconds: float | None,
    start_s: float,
    mains_hz: float | None,
    options: RunOptions,
    *,
    any_wearer: bool,
    headless: bool,
    as_json: bool,
    port: str | None = None,
) -> None:
    """Decode a source into a hand until it ends, `seconds` are over, or somebody stops it; print a summary.

    `port` is where it is served, HOST:PORT; None: nowhere.
    """
    bundle = read_bundle(bundle_path)
    driven, acknowledgement, grips = _driven(hand, options, bundle.manifest.gestures)
    check = _check(hand, options)
    log = SourceLog(has_screen=not (headless or as_json))
    source, intend = opened_source(address, start_s, log)
    with naming(bundle_path):
        bundle.require_stream(source.info)
        if any_wearer and not isinstance(source, SessionSource):
            raise NervehandError(
                f"--any-wearer is for a session: {address} does not say who wears it, leave it out"
            )
        if isinstance(source, SessionSource) and not any_wearer:
            bundle.require_wearer(source.meta.subject, source.meta.side, source.meta.array)
    bounded = BoundedSource(source, seconds, mains_hz)
    arming = Arming(
        options.arm_as or "run",
        is_rearmed=hand in WORN_BY_NOBODY,
        acknowledgement=acknowledgement,
        overridden_by=options.override_check or f"{hand} hand",
        check=check,
        keys_who=f"{options.arm_as or login_name()} at the keyboard" if sys.stdin.isatty() else "",
    )
    summary = drive_hand(
        f"nervehand run {address}",
        bounded,
        bundle,
        arming,
        screen=NoScreen() if headless or as_json else None,
        recorded=None if record is None else recording(record, bounded.info, bundle),
        hand=driven,
        source_log=log,
        say=partial(print, file=sys.stderr) if headless and not as_json else lambda text: None,
        served=None
        if port is None
        else ServedRun(port, about={"source": address}, intend=intend, grips=grips),
    )
    conditioning = bundle.coefficients.describe()
    found = [] if check is None or check.finished is None else check.finished.items
    if check is not None and check.failure:
        raise NervehandError(f"{check.failure} (or have it overridden: --override-check NAME)")
    if as_json:
        about: dict[str, object]
        about = {"source": address, "bundle_sha256": bundle.sha256, "conditioning": conditioning}
        about |= {"pre_use_check": [{"name": i.name, "passed": i.passed, "found": i.text} for i in found]}
        print_json(summary.to_json() | about | {"source_events": log.to_json()})
        return
    for item in found:
        print(f"pre-use check, {item.name}: {item.text}")
    print("\n".join([summary.describe(), *log.describe(), f"conditioning: {conditioning}"]))
    if record is not None and not summary.recording_stopped:
        print(f"recorded to {record}")


def run_record(
    address: str,
    out: Path,
    seconds: float | None,
    start_s: float,
    mains_hz: float | None,
    meta: SessionMeta,
    *,
    as_json: bool,
) -> None:
    """Record a source as it is received, until it ends, `seconds` are over, or somebody stops it."""
    log = SourceLog()
    source = BoundedSource(open_source(address, start_s=start_s, on_event=log), seconds, mains_hz)
    rate_hz = source.info.rate_hz
    samples = lost = 0
    with (
        stop_on_signals() as stop,
        recording(out, source.info, None, meta=meta) as recorder,
        closed_by(stop, source),
        contextlib.nullcontext()
        if as_json
        else Console(stderr=True).status(f"recording {address}") as status,
    ):
        log.listen(recorder.source_event)
        try:
            source.connect()
            said_s = time.monotonic()
            # A stop before the source was connected has closed nothing.
            for block in () if stop.is_set() else source.blocks():
                recorder.samples(block)
                samples += block.n_samples
                lost += block.lost_before
                if stop.is_set() or recorder.stopped:
                    break
                if isinstance(status, Status) and time.monotonic() - said_s > _SAY_S:
                    said_s = time.monotonic()
                    status.update(f"recording {address}: {samples / rate_hz:.0f} s, {lost} samples lost")
        finally:
            source.close()
    if recorder.stopped:
        raise NervehandError(recorder.stopped)
    duration_s = (samples + lost) / rate_hz
    if as_json:
        about = {"source": address, "path": str(out), "duration_s": round(duration_s, 3)}
        print_json(about | {"samples": samples, "lost_samples": lost, "source_events": log.to_json()})
        return
    n_channels = source.info.n_channels
    said = f"{out}: {duration_s:.1f} s of {n_channels} channels at {rate_hz:g} Hz, {lost} samples lost"
    print("\n".join([said, *log.describe()]))
