"""Records a live run into a session; a recording that cannot go on is said once and never stops the decoder."""

from __future__ import annotations

import importlib
import logging
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from queue import SimpleQueue
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from decoder.bundle import Bundle
from decoder.chain import ChainEvent, FrontEnd
from decoder.deployable import Decoder
from decoder.intent import Intents
from decoder.recording.messages import Pin
from decoder.recording.sender import Sender
from decoder.session.layout import Header
from decoder.session.model import SessionMeta
from decoder.session.recorded import Event, EventKind, Note
from decoder.session.recorder import SessionWriter
from decoder.shadow import ShadowEvent
from firmware_bridge.errors import NervehandError
from firmware_bridge.gate import GateEvent
from firmware_bridge.guard import Sent
from firmware_bridge.hand import HandCommand, HandState
from firmware_bridge.stream import SignalBlock, StreamInfo
from firmware_bridge.supervised import SourceEvent

MOST_SENT = 8192
"""What is remembered of what was handed to the hand between two blocks: 80 s of a guard that steps by itself."""

MOST_WAITING = 20_000
"""What is kept in memory until the file is open: 20 s of a front-end that sends a block each millisecond."""
_WRITING_FAILS = (NervehandError, OSError, RuntimeError, ValueError)  # the last two are HDF5's as well

CHAIN_EVENTS = {
    "gap": EventKind.GAP,
    "fault": EventKind.RESTART,
    "filled": EventKind.FILLED,
    "masked": EventKind.MASKED,
    "unmasked": EventKind.UNMASKED,
    "artefact": EventKind.ARTEFACT,
    "overload": EventKind.RESTART,
}

logger = logging.getLogger(__name__)


class Writer(Protocol):
    """What becomes of a run: a file (SessionWriter), or a recorder in another process (decoder.recording.Sender)."""

    @property
    def present_sample(self) -> int: ...

    def append(self, block: SignalBlock) -> None: ...

    def health(self, sample_index: int, mask: NDArray[np.bool_]) -> None: ...

    def intents(self, intents: Intents) -> None: ...

    def command(self, command: HandCommand) -> None: ...

    def sent(self, sent: Sequence[Sent]) -> None: ...

    def state(self, state: HandState) -> None: ...

    def event(self, event: Event) -> None: ...

    def note(self, note: Note) -> None: ...

    def traces(self, sample_index: NDArray[np.int64], times_ns: NDArray[np.int64]) -> None: ...

    def close(self, *, failing: bool = False) -> None: ...


class LiveRecorder:
    """What a live run hands to a Writer: blocks as received, health, intents, commands, what was sent, hand states and
    events.

    With a `writer` it is ready at once. Without, `make` opens one for the form of the first block, in a thread of its
    own, because that takes longer than a front-end waits; what comes meanwhile is kept in memory.

    With a `sender` recordings follow each other: where another decoder takes over, one begins that `header_of` names,
    with what the decoder carries. Else all of it is one file.
    """

    def __init__(
        self,
        writer: Writer | None,
        make: Callable[[SignalBlock], Writer] | None = None,
        sender: Sender | None = None,
        header_of: Callable[[Decoder], Header] | None = None,
    ) -> None:
        self._writer, self._make = writer, make
        self._sender, self._header_of = sender, header_of
        self._opened: SimpleQueue[Writer | Exception] = SimpleQueue()
        self._opening: threading.Thread | None = None
        self._waiting: deque[Callable[[Writer], None]] = deque()
        self._sent: deque[Sent] = deque()
        self._unrecorded = self._unrecorded_said = 0  # each is written by one side only
        self.stopped = ""

    @property
    def is_one_file(self) -> bool:
        """Whether all that comes belongs to one file, whose form was settled when it began."""
        return self._sender is None

    def samples(self, block: SignalBlock) -> None:
        """A block as it was received, where nothing decodes it."""
        self._open_for(block)
        self._unless_stopped(lambda writer: writer.append(block))

    def block(self, block: SignalBlock, intents: Intents, front_end: FrontEnd) -> None:
        """A decoded block, and the mask of the last sample that the front end judged."""
        judged, masked = front_end.judged, front_end.masked_now.copy()

        def write(writer: Writer) -> None:
            writer.append(block)
            if judged is not None:
                writer.health(judged, masked)
            if len(intents):
                writer.intents(intents)

        self._open_for(block)
        self._unless_stopped(write)
        self.take_sent()

    def command(self, command: HandCommand, state: HandState | None) -> None:
        """A command that the gate followed, and what the hand last reported."""

        def write(writer: Writer) -> None:
            writer.command(command)
            if state is not None:
                writer.state(state)

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

        def write(writer: Writer) -> None:
            if sent:
                writer.sent(sent)
            if unrecorded:
                writer.event(Event(writer.present_sample, EventKind.UNRECORDED, unrecorded))

        if sent or unrecorded:
            self._unless_stopped(write)

    def dropped(self, sample_index: int, n_commands: int) -> None:
        """Commands that came too late to be sent; the newest of them rests on this sample."""
        event = Event(sample_index, EventKind.DROPPED_COMMANDS, n_commands)
        self._unless_stopped(lambda writer: writer.event(event))

    def chain_event(self, event: ChainEvent) -> None:
        """A gap, a fault, a mask that changed or an artefact, with its numbers."""
        recorded = Event(event.sample_index, CHAIN_EVENTS[event.kind], event.first, event.second)
        self._unless_stopped(lambda writer: writer.event(recorded))

    def gate_event(self, event: GateEvent) -> None:
        """A transition of the gate, with who asked for it, as a note at the last sample. Only remembered here, as the
        guard's threads wait for it; written with what comes next."""
        text = f"gate {event.kind}: {event.text} ({event.who})"
        self._waiting.append(lambda writer: writer.note(Note(writer.present_sample, text)))

    def shadow_event(self, event: ShadowEvent) -> None:
        """What became of a decoder beside the deployed one, as a note; where one took over, an event with it."""
        note = Note(event.sample_index, f"decoder {event.kind}: {event.text} ({event.who}); {event.sha256}")

        def write(writer: Writer) -> None:
            if event.kind in ("switch", "rollback"):
                writer.event(Event(event.sample_index, EventKind.BUNDLE))
            writer.note(note)

        self._unless_stopped(write)

    def traces(self, sample_index: NDArray[np.int64], times_ns: NDArray[np.int64]) -> None:
        """When commands were where: samples (k,) and host times (k, 10), recorded.TRACE_TIMES."""
        self._unless_stopped(lambda writer: writer.traces(sample_index, times_ns))

    def moment(self, decoder: Decoder, begins_anew: str) -> None:
        """A recording may begin here, with what the decoder carries; it must where `begins_anew` says why."""
        sender, header_of = self._sender, self._header_of
        if sender is not None and header_of is not None:
            header = header_of(decoder)
            self._unless_stopped(lambda _: sender.moment(decoder.chain.carried(), header, begins_anew))

    def reloaded(self, text: str, generation: int) -> None:
        """A configuration was read again."""

        def write(writer: Writer) -> None:
            writer.event(Event(writer.present_sample, EventKind.RELOADED, generation))
            writer.note(Note(writer.present_sample, text))

        self._unless_stopped(write)

    def pin(self, who: str, why: str, seconds: float) -> None:
        """Have the last seconds kept. Where all is one file, it says so in it."""
        sender = self._sender
        if sender is not None:
            self._unless_stopped(lambda _: sender.pin(Pin(who, why, seconds)))
            return
        text = f"the last {seconds:g} s matter: {why or 'asked for'} ({who})"
        self._unless_stopped(lambda writer: writer.note(Note(writer.present_sample, text)))

    def source_event(self, event: SourceEvent) -> None:
        """What happened to the source, as a note at the last sample; a person's input as an event at its own."""
        if event.kind == "input":
            given = Event(event.sample_index, EventKind.INPUT, event.value)
            self._unless_stopped(lambda writer: writer.event(given))
            return
        text = f"source {event.kind}: {event.text}"
        if event.kind == "intention":  # as an input, it counts from its own sample
            self._unless_stopped(lambda writer: writer.note(Note(event.sample_index, text)))
            return
        self._unless_stopped(lambda writer: writer.note(Note(writer.present_sample, text)))

    def close(self, *, failing: bool) -> None:
        """Write what is left and finish the file; an error without any sample, unless another is under way."""
        self.take_sent()
        if self._opening is not None:
            self._opening.join()
        self._write_waiting()
        if self._writer is not None:
            self._writer.close(failing=failing)
        elif not failing and not self.stopped:
            raise NervehandError("no sample was received: nothing was recorded")

    def _open_for(self, block: SignalBlock) -> None:
        if self._writer is not None or self._opening is not None:
            return

        make = self._make
        assert make is not None, "there is a writer, or a way to make one"

        def open_writer() -> None:
            try:
                self._opened.put(make(block))
            except _WRITING_FAILS as error:
                self._opened.put(error)

        self._opening = threading.Thread(target=open_writer, name="recording", daemon=True)
        self._opening.start()

    def _unless_stopped(self, write: Callable[[Writer], None]) -> None:
        self._waiting.append(write)
        self._write_waiting()

    def _write_waiting(self) -> None:
        """Write what waits, in its order, once there is a writer."""
        if self.stopped:
            self._waiting.clear()
            return
        try:
            if self._writer is None:
                if len(self._waiting) > MOST_WAITING:
                    raise NervehandError(
                        "the file is not open yet, and no more can be kept: try a faster disk"
                    )
                if self._opened.empty():
                    return
                opened = self._opened.get()
                if isinstance(opened, Exception):
                    raise opened
                self._writer = opened
            while self._waiting:
                self._waiting.popleft()(self._writer)
        except _WRITING_FAILS as error:
            self.stopped = str(error) or repr(error)
            logger.error("recording stopped: %s", self.stopped)


@contextmanager
def recording(
    path: Path,
    info: StreamInfo,
    bundle: Bundle | None,
    first_sample: int | None = None,
    scale_uv: float | None = None,
    meta: SessionMeta | None = None,
) -> Iterator[LiveRecorder]:
    """A recorder into `path`, closed into a whole session at the end.

    With a `first_sample` the file is made at once, int16 where `scale_uv` is given, else float32; without, the first
    block decides. `meta` None takes the wearer of the bundle; `bundle` None records samples alone.
    """
    importlib.import_module("pynwb")  # seconds on a slow machine: not while samples come
    if meta is None:
        meta = SessionMeta(identifier=path.stem)
    if bundle is not None:
        wearer = bundle.manifest
        meta = replace(meta, subject=wearer.subject, side=wearer.side, array=wearer.array)
    meta = replace(meta, start_time=datetime.now(UTC).isoformat(timespec="seconds"))

    def make(first: int, scale: float | None) -> SessionWriter:
        header = Header(
            info=info,
            meta=meta,
            dtype="float32" if scale is None else "int16",
            scale_uv=1.0 if scale is None else scale,
            first_sample=first,
            gesture_names=("rest",) if bundle is None else bundle.manifest.gestures,
            output_names=() if bundle is None else tuple(output.name for output in bundle.manifest.outputs),
            bundle="" if bundle is None else bundle.sha256,
        )
        return SessionWriter(path, header)

    def make_for(block: SignalBlock) -> SessionWriter:
        return make(block.first_sample, block.scale_uv if block.samples.dtype == np.int16 else None)

    recorder = LiveRecorder(None if first_sample is None else make(first_sample, scale_uv), make_for)
    try:
        yield recorder
    except BaseException:
        recorder.close(failing=True)
        raise
    recorder.close(failing=False)
