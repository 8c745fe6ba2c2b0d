"""`nervehand run` and `nervehand record`: any source, decoded into a hand through the gate, or only recorded."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.status import Status

from decoder.bundle import read_bundle
from decoder.session.model import SessionMeta
from decoder.session.source import SessionSource, up_to
from firmware_bridge.errors import NervehandError
from firmware_bridge.hand import AppliedCommand, Hand, HandCapabilities, HandState, LinkState
from firmware_bridge.hands.virtual_protocol import VIRTUAL_HAND
from firmware_bridge.kinematics import KinematicHand
from firmware_bridge.stream import SignalBlock, Source, StreamInfo
from nervehand.output import naming, print_json
from nervehand.recording import recording
from nervehand.screen import NoScreen
from nervehand.source_log import SourceLog
from nervehand.sources import open_source
from nervehand.stopping import closed_by, stop_on_signals
from nervehand.virtual_hand import drive_virtual_hand, virtual_hand

GRACE_S = 10.0
"""So many seconds of samples end at the latest this much later by the host's clock: some may never come."""
HANDS = ("virtual", "none")
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

    def close(self) -> None:
        """Nothing to close."""


def run_live(
    address: str,
    bundle_path: Path,
    hand: str,
    record: Path | None,
    seconds: float | None,
    start_s: float,
    mains_hz: float | None,
    *,
    any_wearer: bool,
    headless: bool,
    as_json: bool,
) -> None:
    """Decode a source into a hand until it ends, `seconds` are over, or somebody stops it; print a summary."""
    if hand not in HANDS:
        raise NervehandError(f"there is no hand {hand!r}: use {' or '.join(HANDS)}")
    bundle = read_bundle(bundle_path)
    log = SourceLog(has_screen=not (headless or as_json))
    source = open_source(address, start_s=start_s, on_event=log)
    with naming(bundle_path):
        bundle.require_stream(source.info)
        if isinstance(source, SessionSource) and not any_wearer:
            bundle.require_wearer(source.meta.subject, source.meta.side, source.meta.array)
    driven: contextlib.AbstractContextManager[Hand]
    driven = virtual_hand() if hand == "virtual" else contextlib.nullcontext(NoHand())
    summary = drive_virtual_hand(
        f"nervehand run {address}",
        BoundedSource(source, seconds, mains_hz),
        bundle,
        screen=NoScreen() if headless or as_json else None,
        who="run",
        record=record,
        hand=driven,
        source_log=log,
    )
    conditioning = bundle.coefficients.describe()
    if as_json:
        about = {"source": address, "bundle_sha256": bundle.sha256, "conditioning": conditioning}
        print_json(summary.to_json() | about | {"source_events": log.to_json()})
        return
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
