"""Drives a hand from a source: the virtual hand's process and link, the gate, and a live run in between."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

from decoder.bundle import Bundle
from decoder.chain import compile_kernels
from decoder.intent import Intents
from firmware_bridge.errors import LinkError
from firmware_bridge.gate import GateLimits, SafetyGate
from firmware_bridge.guard import GuardLoop
from firmware_bridge.hand import Hand
from firmware_bridge.hands.virtual import VirtualHand
from firmware_bridge.hands.virtual_process import virtual_hand_process
from firmware_bridge.stream import Source
from nervehand.live import LiveRun, LiveSummary
from nervehand.output import saying
from nervehand.recording import LiveRecorder, recording
from nervehand.screen import Screen, process_screen
from nervehand.source_log import SourceLog
from nervehand.stopping import stop_on_signals

_CONNECT_S = 10.0
_ARM_S = 5.0


@contextlib.contextmanager
def virtual_hand() -> Iterator[Hand]:
    """The virtual hand in a process of its own, connected over GATT; LinkError where it cannot be reached."""
    with virtual_hand_process() as started:
        hand = VirtualHand(started.address, started.transport)
        hand.connect(_CONNECT_S)
        try:
            yield hand
        finally:
            hand.close()


def drive_virtual_hand(
    title: str,
    source: Source,
    bundle: Bundle,
    *,
    screen: Screen | None,
    who: str,
    cue_at: Callable[[int], str] = lambda sample_index: "",
    on_intents: Callable[[Intents], None] = lambda intents: None,
    record: Path | None = None,
    first_sample: int | None = None,
    scale_uv: float | None = None,
    hand: contextlib.AbstractContextManager[Hand] | None = None,
    source_log: SourceLog | None = None,
) -> LiveSummary:
    """Let `source` move a hand through the gate until it ends; `hand` None starts a virtual one and connects to it.

    `screen` None opens one in a process of its own. `record` names a session to write, whose samples begin at
    `first_sample`, int16 where `scale_uv` is given. What `source_log` hears of the source is recorded and shown.

    Ctrl-C, SIGTERM and a terminal that closes end the run early, with a release. Raises LinkError where the hand
    cannot be reached.
    """
    bundle.require_stream(source.info)
    with saying("preparing (the first time on a machine, kernels are compiled)", screen is not None):
        compile_kernels(bundle, source.info)
    with stop_on_signals() as stop, hand or virtual_hand() as connected:
        recorder = _recorder(record, source, bundle, first_sample, scale_uv)
        gate = SafetyGate(GateLimits.for_hand(connected.capabilities), connected.capabilities.watchdog_action)
        # The screen is opened before the guard, so that it closes after the release.
        with (
            contextlib.nullcontext(screen) if screen is not None else process_screen() as shown,
            recorder as recording_to,
            GuardLoop(
                gate,
                connected,
                on_event=None if recording_to is None else recording_to.gate_event,
                on_sent=None if recording_to is None else recording_to.sent,
            ) as guard,
        ):
            live = LiveRun(
                title, source, bundle, guard, connected, shown, cue_at, on_intents, who, recording_to
            )
            if source_log is not None:
                source_log.listen(live.source_event)
            _arm(guard, who, stop)
            summary = live.run(stop)
        return summary if recording_to is None else replace(summary, recording_stopped=recording_to.stopped)


def _arm(guard: GuardLoop, who: str, stop: threading.Event) -> None:
    """Arm as soon as the hand has reported; LinkError where it does not within _ARM_S."""
    deadline = time.monotonic() + _ARM_S
    while not stop.is_set() and not guard.request_arm(who):
        if time.monotonic() > deadline:
            raise LinkError(
                f"the hand did not report within {_ARM_S} s, so the gate would not arm: try again"
            )
        time.sleep(0.05)


def _recorder(
    path: Path | None, source: Source, bundle: Bundle, first_sample: int | None, scale_uv: float | None
) -> contextlib.AbstractContextManager[LiveRecorder | None]:
    if path is None:
        return contextlib.nullcontext()
    return recording(path, source.info, bundle, first_sample, scale_uv)
