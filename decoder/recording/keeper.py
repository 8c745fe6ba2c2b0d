"""The recorder itself: messages of a run into sessions that follow each other, within a budget and a reserve.

Whatever goes wrong with a disk stops the recording, which says so and is tried again; the run does not hear of it.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from decoder.recording import messages
from decoder.recording.files import (
    MIB,
    Kept,
    kept_in,
    next_path,
    outside,
    remove,
    size_of,
    too_many,
    write_pin,
)
from decoder.recording.messages import Kind, Moment
from decoder.recording.ring import Message
from decoder.session.fold import free_bytes
from decoder.session.reader import tail_of
from decoder.session.recorded import Event, EventKind, Note
from decoder.session.recorder import Make, RecordingStoppedError, SessionWriter
from decoder.session.skeleton import create
from firmware_bridge.errors import NervehandError
from firmware_bridge.stream import SignalBlock

MARGIN_BYTES = 64 * MIB
"""So much more than the reserve must be free before a recording that stopped for it goes on."""
TELLING_BYTES = MIB // 2
"""A file that has grown by less does not tell how fast: its data sets grow by whole chunks."""
MOST_TOLD = 20
MOST_PINNED = 64
"""Files of this run that a pin can still reach."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class KeepSettings:
    """Where recordings go, and how many are kept.

    A new file begins after `rotate_bytes` or `rotate_s` seconds of samples. Together they take `budget_bytes`: the
    oldest that nobody pinned goes first. `ring_s`: who was not pinned goes once it is older than that; None keeps all
    that the budget allows. Recording stops where less than `reserve_bytes` would stay free. What is older than
    `flush_s` survives a kill, what is older than `sync_s` a power cut. `path` is the one file of a
    run that is recorded as a whole; the ones that must follow it, where the decoder changes, get a number.
    """

    folder: str
    name: str = "nervehand"
    rotate_bytes: int = 1024 * MIB
    rotate_s: float = 3600.0
    budget_bytes: int = 20480 * MIB
    reserve_bytes: int = 256 * MIB
    ring_s: float | None = None
    flush_s: float = 0.1
    sync_s: float = 5.0
    path: str | None = None


@dataclass(frozen=True, slots=True)
class Report:
    """How the recorder does. `missed` samples came while no file was open; `lost` messages never came to it; `end` is
    the index after the newest sample that came, 0 before the first. `mib_per_s` is how fast a file grows, None before
    that can be told. Of `to_settle` the first MOST_TOLD are named."""

    state: str
    why: str
    file: str
    tail: str
    file_s: float
    files_begun: int
    samples: int
    missed: int
    lost: int
    free_mib: float
    kept_mib: float
    pinned_mib: float
    files: int
    to_settle: tuple[str, ...]
    end: int = 0
    mib_per_s: float | None = None


@dataclass(slots=True)
class _Recorded:
    """A file of this run: the samples that it holds, from..before, and its size before the first of them."""

    path: Path
    first: int
    end: int
    made_bytes: int


_WRITES: Mapping[Kind, Callable[[SessionWriter, bytes], None]] = {
    Kind.HEALTH: lambda writer, payload: writer.health(*messages.decode_health(payload)),
    Kind.INTENTS: lambda writer, payload: writer.intents(messages.decode_intents(payload)),
    Kind.COMMAND: lambda writer, payload: writer.command(messages.decode_told(payload)),
    Kind.SENT: lambda writer, payload: writer.sent(messages.decode_all_sent(payload)),
    Kind.STATE: lambda writer, payload: writer.state(messages.decode_state(payload)),
    Kind.EVENT: lambda writer, payload: writer.event(messages.decode_event(payload)),
    Kind.NOTE: lambda writer, payload: writer.note(messages.decode_note(payload)),
    Kind.TRACES: lambda writer, payload: writer.traces(*messages.decode_traces(payload)),
}
"""What a session is told by the messages that stand beside the samples."""


class Keeper:
    """Takes messages in their order. One thread owns it.

    `settle` is told of each recording that nobody writes any more. `make` makes a file at 0 rows; a file that is full
    goes on while `waits`. OSError and RuntimeError come through where HDF5 fails in the middle of a file, which
    nothing in this process may touch again.
    """

    def __init__(
        self,
        settings: KeepSettings,
        settle: Callable[[Path], None],
        *,
        make: Make = create,
        waits: Callable[[], bool] = lambda: False,
        utc: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._settings, self._settle, self._make, self._utc = settings, settle, make, utc
        self._waits = waits
        self._folder = Path(settings.folder)
        self._writer: SessionWriter | None = None
        self._moment: Moment | None = None
        self._is_fresh = False  # no sample came since the moment: a file may begin
        self._held: list[Message] = []  # what belongs to the file that is about to begin
        self._files: deque[_Recorded] = deque(maxlen=MOST_PINNED)
        self._rate_hz = 1.0
        self._samples = self._missed = self._begun = 0
        self._n_rotations = 0
        self._why = ""
        self._lost = 0
        self._is_full = False
        self._closing: threading.Thread | None = None
        self._closing_path: Path | None = None
        self._close_failed: OSError | RuntimeError | NervehandError | None = None
        self._synced = 0  # the sample before which all is on the disk
        self._end_sample = 0  # the one after the newest that came
        self._mib_per_s: float | None = None
        self.flushed = 0
        """The newest message of which all is written."""
        self.left: tuple[Path, ...] = ()
        """Recordings that were left behind by one who was cut off, as of the last report."""

    @property
    def is_recording(self) -> bool:
        """Whether a file is open."""
        return self._writer is not None

    @property
    def begun(self) -> int:
        """Files that were begun."""
        return self._begun

    def take(self, message: Message) -> None:
        """Do what it says."""
        kind = Kind(message.kind)
        if kind is Kind.MOMENT:
            self._reach(messages.decode_moment(message.payload))
        elif kind is Kind.BLOCK:
            block = messages.decode_block(message.payload)
            if self._writer is None and self._is_fresh:
                self._begin(block)
            self._is_fresh = False
            self._end_sample = block.first_sample + block.n_samples
            if self._writer is None:
                self._missed += block.n_samples
            else:
                self._write(lambda writer: writer.append(block))
                self._samples += block.n_samples
                if self._files:
                    self._files[-1].end = self._end_sample
                if self._end_sample - self._synced >= self._settings.sync_s * self._rate_hz:
                    self._synced = self._end_sample
                    self._write(lambda writer: writer.sync())
        elif kind is Kind.PIN:
            self._pin(messages.decode_pin(message.payload))
        elif kind in _WRITES:
            if self._writer is not None:
                self._write_of(message)
            elif self._is_fresh:
                self._held.append(message)
        if self._writer is None or self._writer.is_flushed:
            self.flushed = message.sequence

    def lose(self, n_messages: int) -> None:
        """So many messages were overwritten before they were read: what is missing shows as a gap of the samples."""
        self._lost += n_messages
        if self._writer is not None and n_messages:
            text = f"the recorder was overtaken: {n_messages} messages are lost before here"
            self._write(lambda writer: writer.note(Note(writer.present_sample, text)))

    def flush(self, sequence: int) -> None:
        """Write what is pending; `sequence` is the newest message that was taken."""
        if self._writer is not None and not self._writer.is_flushed:
            self._write(lambda writer: writer.flush())
        self.flushed = max(self.flushed, sequence)

    def close(self) -> None:
        """Nothing more comes."""
        self._end("")
        self._until_closed()

    def until_synced(self) -> None:
        """Wait until the disk has what was synced and closed so far."""
        if self._writer is not None:
            self._writer.until_synced()
        self._until_closed()

    def report(self) -> Report:
        """How it does now."""
        kept = self._kept()
        self.left = tuple(one.path for one in kept if one.is_open and not self._is_mine(one.path))
        writer = self._writer
        if self._moment is None:
            state = "waiting"
        else:
            state = "stopped" if self._why else "recording" if writer is not None else "waiting"
        seconds = (
            (self._files[-1].end - self._files[-1].first) / self._rate_hz if writer and self._files else 0.0
        )
        try:
            free = free_bytes(self._folder / "x") / MIB
        except NervehandError:
            free = 0.0
        return Report(
            state=state,
            why=self._why,
            file="" if writer is None else str(writer.path),
            tail="" if writer is None else str(tail_of(writer.path)),
            file_s=round(seconds, 1),
            files_begun=self._begun,
            samples=self._samples,
            missed=self._missed,
            lost=self._lost,
            free_mib=round(free, 1),
            kept_mib=round(sum(one.n_bytes for one in kept) / MIB, 1),
            pinned_mib=round(sum(one.n_bytes for one in kept if one.is_pinned) / MIB, 1),
            files=len(kept),
            to_settle=tuple(path.name for path in self.left[:MOST_TOLD]),
            end=self._end_sample,
            mib_per_s=self._pace(),
        )

    def _pace(self) -> float | None:
        """MiB per second of the present file, of the one before while that one is small."""
        if self._writer is not None and self._files:
            mine = self._files[-1]
            grown = size_of(mine.path) - mine.made_bytes
            if grown >= TELLING_BYTES and mine.end > mine.first:
                self._mib_per_s = round(grown / MIB * self._rate_hz / (mine.end - mine.first), 4)
        return self._mib_per_s

    def _is_mine(self, path: Path) -> bool:
        return path == self._closing_path or (self._writer is not None and path == self._writer.path)

    def _kept(self) -> list[Kept]:
        if self._settings.path is not None:
            return []
        return kept_in(self._folder, self._settings.name)

    def _reach(self, moment: Moment) -> None:
        """A file may begin here: does one?"""
        self._rate_hz = moment.header.info.rate_hz
        self._moment, self._is_fresh = moment, True
        self._held.clear()
        if self._writer is not None and (why := moment.begins_anew or self._is_due()):
            self._end(why)
        if self._writer is None:
            self._make_room()

    def _is_due(self) -> str:
        settings, writer = self._settings, self._writer
        if settings.path is not None or writer is None or not self._files or self._waits():
            return ""
        mine = self._files[-1]
        ring_s = settings.ring_s
        rotate_s = settings.rotate_s if ring_s is None else min(settings.rotate_s, max(ring_s / 2, 10.0))
        if (mine.end - mine.first) / self._rate_hz >= rotate_s:
            return f"{rotate_s:g} s are full"
        if writer.path.stat().st_size >= settings.rotate_bytes:
            return f"{settings.rotate_bytes / MIB:g} MiB are full"
        return ""

    def _begin(self, block: SignalBlock) -> None:
        """A file that begins with this block, and with all that was said since the moment before it."""
        assert self._moment is not None
        if self._is_full and self._free() < self._settings.reserve_bytes + MARGIN_BYTES:
            return
        is_counts = block.samples.dtype == np.int16
        path = self._next_path()
        now = self._utc()
        header = replace(
            self._moment.header,
            dtype="int16" if is_counts else "float32",
            scale_uv=block.scale_uv if is_counts else 1.0,
            first_sample=block.first_sample,
            meta=replace(
                self._moment.header.meta,
                identifier=path.stem,
                start_time=now.isoformat(timespec="seconds"),
            ),
        )
        try:
            self._writer = SessionWriter(
                path, header, flush_s=self._settings.flush_s, reserve_bytes=self._settings.reserve_bytes,
                state=self._moment.state, make=self._make, syncs_behind=True,
            )  # fmt: skip
        except NervehandError as error:
            self._stop(str(error))
            return
        if self._why:
            logger.warning("recording goes on: %s", path)
        self._why, self._is_full = "", False
        self._begun += 1
        self._synced = block.first_sample
        self._files.append(_Recorded(path, block.first_sample, block.first_sample, size_of(path)))
        if self._moment.state:
            snapshot = Event(block.first_sample, EventKind.SNAPSHOT, len(self._moment.state))
            self._write(lambda writer: writer.event(snapshot))
        for message in self._held:
            self._write_of(message)
        self._held.clear()

    def _next_path(self) -> Path:
        settings = self._settings
        if settings.path is None:
            return next_path(self._folder, settings.name, self._utc())
        self._n_rotations += 1
        path = Path(settings.path)
        return (
            path
            if self._n_rotations == 1
            else path.with_name(f"{path.stem}.{self._n_rotations}{path.suffix}")
        )

    def _write_of(self, message: Message) -> None:
        write = _WRITES[Kind(message.kind)]
        self._write(lambda writer: write(writer, message.payload))

    def _write(self, write: Callable[[SessionWriter], None]) -> None:
        """Whatever cannot be written ends this file; what HDF5 fails at in its middle ends more than that."""
        if self._writer is None:
            return
        try:
            write(self._writer)
        except RecordingStoppedError as error:
            self._is_full = True
            self._end(str(error))
            self._stop(str(error))
        except NervehandError as error:
            self._end(str(error))
            self._stop(str(error))

    def _end(self, why: str) -> None:
        writer, self._writer = self._writer, None
        if writer is None:
            return
        if why and not self._why:
            with_reason = Note(writer.present_sample, f"the recording goes on in another file: {why}")
            try:
                writer.note(with_reason)
            except (NervehandError, OSError) as error:
                logger.warning("a last note could not be written: %s", error)
        try:
            writer.flush()
        except NervehandError as error:  # what was pending had no room any more; all else is safe
            self._is_full = isinstance(error, RecordingStoppedError)
            self._stop(str(error))
        self._until_closed()
        self._closing_path = writer.path
        self._closing = threading.Thread(target=self._close, args=(writer,))
        self._closing.start()  # it waits for the disk, and what comes meanwhile is only in memory

    def _close(self, writer: SessionWriter) -> None:
        try:
            writer.close(failing=True, folding=False)
        except (OSError, RuntimeError, NervehandError) as error:
            self._close_failed = error
            return
        self._closing_path = None
        if writer.received:
            self._settle(writer.path)

    def _until_closed(self) -> None:
        """Wait for the file before this one. What failed in closing it comes through."""
        if self._closing is not None:
            self._closing.join()
        if self._close_failed is not None:
            raise self._close_failed

    def _stop(self, why: str) -> None:
        if why != self._why:
            logger.error("recording stopped: %s", why)
        self._why = why

    def _free(self) -> int:
        try:
            return free_bytes(self._folder / "x")
        except NervehandError:
            return 0

    def _make_room(self) -> None:
        """Take away what is over the budget or older than the ring. For the reserve nothing goes: whoever fills the
        disk shall not take recordings with it."""
        settings = self._settings
        if settings.path is not None:
            return
        kept = self._kept()
        going = too_many(kept, settings.budget_bytes)
        if settings.ring_s is not None:
            durations_s = {one.path: (one.end - one.first) / self._rate_hz for one in self._files}
            going += [one for one in outside(kept, durations_s, settings.ring_s) if one not in going]
        for one in going:
            try:
                remove(one)
                logger.info("%s makes room for what follows", one.path.name)
            except NervehandError as error:
                logger.error("%s", error)

    def _pin(self, pin: messages.Pin) -> None:
        self._pin_of_before(pin)
        if not self._files:
            logger.warning("nothing is recorded now that %s could pin", pin.who)
            return
        end = self._files[-1].end
        begin = end - round(pin.seconds * self._rate_hz)
        reached = [one for one in self._files if one.end > begin and one.path.exists()]
        for one in reached:
            try:
                write_pin(one.path, pin, max(begin, one.first), min(end, one.end), self._utc())
            except NervehandError as error:
                logger.error("%s", error)
        if self._writer is not None:
            mark = Event(end - 1, EventKind.PINNED, max(begin, 0))
            note = Note(end - 1, f"the last {pin.seconds:g} s are kept: {pin.why or 'asked for'} ({pin.who})")
            self._write(lambda writer: writer.event(mark))
            self._write(lambda writer: writer.note(note))

    def _pin_of_before(self, pin: messages.Pin) -> None:
        """What another recorder wrote within that time, before it was cut off: the samples were counted otherwise."""
        mine = {one.path for one in self._files}
        now_s = time.time()
        for one in self._kept():
            with contextlib.suppress(OSError):  # it is just being settled: the next pin finds it
                if one.path in mine or one.is_pinned or now_s - one.path.stat().st_mtime > pin.seconds:
                    continue
                try:
                    write_pin(one.path, pin, 0, 0, self._utc())
                except NervehandError as error:
                    logger.error("%s", error)
