"""Records a live run into a session; a recording that cannot go on is said once and never stops the decoder."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from decoder.bundle import Bundle
from decoder.chain import ChainEvent
from decoder.intent import Intents
from decoder.session.layout import Header
from decoder.session.model import SessionMeta
from decoder.session.recorded import Event, EventKind, Note
from decoder.session.recorder import SessionWriter
from firmware_bridge.errors import NervehandError
from firmware_bridge.gate import GateEvent
from firmware_bridge.guard import Sent
from firmware_bridge.hand import HandCommand, HandState
from firmware_bridge.stream import SignalBlock, StreamInfo

MOST_SENT = 8192
"""What is remembered of what was handed to the hand between two blocks: 80 s of a guard that steps by itself."""

logger = logging.getLogger(__name__)


class LiveRecorder:
    """What a live run hands to a SessionWriter: blocks as received, health, intents, commands, what was sent, hand
    states and events."""

    def __init__(self, writer: SessionWriter) -> None:
        self._writer = writer
        self._sent: deque[Sent] = deque()
        self._unrecorded = self._unrecorded_said = 0  # each is written by one side only
        self.stopped = ""

    def block(self, block: SignalBlock, masked: NDArray[np.bool_], intents: Intents) -> None:
        """A decoded block, and the mask of its last sample."""

        def write() -> None:
            self._writer.append(block)
            if block.n_samples:
                self._writer.health(block.first_sample + block.n_samples - 1, masked)
            if len(intents):
                self._writer.intents(intents)

        self._unless_stopped(write)
        self.take_sent()

    def command(self, command: HandCommand, state: HandState | None) -> None:
        """A command that the gate followed, and what the hand last reported."""

        def write() -> None:
            self._writer.command(command)
            if state is not None:
                self._writer.state(state)

        self._unless_stopped(write)

    def sent(self, sent: Sent) -> None:
        """What was handed to the hand. Only remembered here, for the next block: the guard's threads wait for it."""
        if len(self._sent) < MOST_SENT:
            self._sent.append(sent)
        else:
            self._unrecorded += 1

    def take_sent(self) -> None:
        """Write what was handed to the hand since the last time, and say what could not be remembered."""
        sent = [self._sent.popleft() for _ in range(len(self._sent))]
        unrecorded = self._unrecorded - self._unrecorded_said
        self._unrecorded_said += unrecorded

        def write() -> None:
            if sent:
                self._writer.sent(sent)
            if unrecorded:
                self._writer.event(Event(self._writer.present_sample, EventKind.UNRECORDED, unrecorded))

        self._unless_stopped(write)

    def dropped(self, sample_index: int, n_commands: int) -> None:
        """Commands that came too late to be sent; the newest of them rests on this sample."""
        event = Event(sample_index, EventKind.DROPPED_COMMANDS, n_commands)
        self._unless_stopped(lambda: self._writer.event(event))

    def chain_event(self, event: ChainEvent) -> None:
        """A gap or a fault in the chain."""
        kind = EventKind.GAP if event.kind == "gap" else EventKind.RESTART
        self._unless_stopped(lambda: self._writer.event(Event(event.sample_index, kind)))

    def gate_event(self, event: GateEvent) -> None:
        """A transition of the gate, with who asked for it, as a note at the last sample."""
        text = f"gate {event.kind}: {event.text} ({event.who})"
        self._unless_stopped(lambda: self._writer.note(Note(self._writer.present_sample, text)))

    def _unless_stopped(self, write: Callable[[], None]) -> None:
        if self.stopped:
            return
        try:
            write()
        except (
            NervehandError,
            OSError,
            RuntimeError,
            ValueError,
        ) as error:  # the last two are HDF5's as well
            self.stopped = str(error) or repr(error)
            logger.error("recording stopped: %s", self.stopped)


@contextmanager
def recording(
    path: Path, info: StreamInfo, bundle: Bundle, first_sample: int, scale_uv: float | None
) -> Iterator[LiveRecorder]:
    """A recorder into `path`, closed into a whole session at the end; `scale_uv` None records float32."""
    manifest = bundle.manifest
    header = Header(
        info=info,
        meta=SessionMeta(
            identifier=path.stem,
            subject=manifest.subject,
            side=manifest.side,
            start_time=datetime.now(UTC).isoformat(timespec="seconds"),
            array=manifest.array,
        ),
        dtype="float32" if scale_uv is None else "int16",
        scale_uv=1.0 if scale_uv is None else scale_uv,
        first_sample=first_sample,
        gesture_names=manifest.gestures,
        output_names=tuple(output.name for output in manifest.outputs),
        bundle=bundle.sha256,
    )
    with SessionWriter(path, header) as writer:
        recorder = LiveRecorder(writer)
        try:
            yield recorder
        finally:
            recorder.take_sent()
