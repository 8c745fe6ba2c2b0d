"""The recorder: a session written while it happens, such that a kill loses at most what was not yet flushed.

Rows go into data sets that all exist from the start, in HDF5's single-writer-multiple-reader mode, so that
readers may follow and a kill leaves a readable file. docs/session-format.md says what lies beside it.
"""

from __future__ import annotations

import errno
import os
import threading
import zlib
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from decoder.intent import Intents
from decoder.session.digital import changes
from decoder.session.fold import fold, free_bytes
from decoder.session.journal import JournalWriter, journal_of
from decoder.session.layout import SIGNAL_PATH, TRUTH_PATH, Header, streams
from decoder.session.places import ChunkPlaces
from decoder.session.reader import tail_of
from decoder.session.recorded import Event, EventKind, Note
from decoder.session.room import Room
from decoder.session.sidecar import FlushRecord, Mark, TailWriter
from decoder.session.skeleton import create
from decoder.session.writer import (
    RESERVE_BYTES,
    Columns,
    append_rows,
    event_rows,
    intent_rows,
    sync_folder,
)
from firmware_bridge.errors import NervehandError
from firmware_bridge.guard import Sent
from firmware_bridge.hand import HandCommand, HandState
from firmware_bridge.stream import SignalBlock

if TYPE_CHECKING:
    import h5py

LANES = (
    "signal",
    "marks",
    "health",
    "gaps",
    "events",
    "intents",
    "commands",
    "states",
    "sent",
    "digital",
    "sensors",
    "traces",
)
"""What a flush covers, in the order of its checksum; truth goes with the signal. New lanes come last: a recording
of an earlier release has the first of these."""


AHEAD_BYTES = 4 << 20
"""Kept on the disk behind the end of the file, so that what fills the disk between two flushes does not matter."""
OVERHEAD_BYTES = 1 << 20
"""More than a flush adds beside its rows: a chunk of each data set, and their index."""


class Make(Protocol):
    """Makes a session file at 0 rows, or raises and leaves none."""

    def __call__(self, path: Path, header: Header, names: tuple[str, ...], *, state: bytes) -> None: ...


class RecordingStoppedError(NervehandError):
    """The recorder stopped before the disk was full. All rows up to here are safe; close it."""


class SessionWriter:
    """Records one session to `path`, which must not exist.

    Rows are kept in memory and written every `flush_s` seconds of samples; `flush` writes at once and `sync`
    also waits for the disk, as the end of every trial does; with `syncs_behind` a thread waits, and only `close` does
    too. `state` is what the decoder carries before the first sample. `make` makes the file with its empty data sets,
    as skeleton.create does. One thread owns it. Errors: NervehandError; RecordingStoppedError when less than
    `reserve_bytes` would stay free.
    """

    def __init__(
        self,
        path: str | Path,
        header: Header,
        *,
        flush_s: float = 0.1,
        reserve_bytes: int = RESERVE_BYTES,
        state: bytes = b"",
        make: Make = create,
        syncs_behind: bool = False,
    ) -> None:
        import h5py

        self._syncs_behind = syncs_behind
        self._syncing: threading.Thread | None = None
        self._sync_failed: OSError | None = None

        self._path = Path(path)
        self._header = header
        self._reserve = reserve_bytes
        self._flush_rows = max(1, round(flush_s * header.info.rate_hz))
        self._streams = streams(header)
        beside = [self._path, tail_of(self._path), journal_of(self._path)]
        taken = [str(name) for name in beside if name.exists()]
        if taken:
            raise NervehandError(
                f"{taken[0]}: is there already: recover it, move it away or choose another name"
            )
        if free_bytes(self._path) < reserve_bytes:
            raise NervehandError(
                f"{path}: {free_bytes(self._path) >> 20} MiB are free, the reserve is {reserve_bytes >> 20} MiB:"
                " free some space or choose another disk"
            )
        with ExitStack() as made:  # whatever fails, nothing half-made stays behind
            try:
                self._tail = TailWriter(tail_of(self._path), len(LANES))
                made.callback(tail_of(self._path).unlink)
                made.callback(self._tail.close)
                self._journal = JournalWriter(journal_of(self._path))
                made.callback(journal_of(self._path).unlink)
                made.callback(self._journal.close)
                make(self._path, header, LANES[1:], state=state)
                made.callback(self._path.unlink)
                self._file: h5py.File = h5py.File(self._path, "r+", libver="latest")
                made.callback(self._file.close)
                self._signal: h5py.Dataset = self._file[f"{SIGNAL_PATH}/data"]
                self._truth: h5py.Dataset | None = self._file.get(f"{TRUTH_PATH}/data")
                self._places = ChunkPlaces(self._file, header, LANES[1:])
                self._file.swmr_mode = True
                self._fd = os.open(self._path, os.O_RDWR)
                made.callback(os.close, self._fd)
                self._room = Room(self._fd, AHEAD_BYTES)
                if not self._room.hold(AHEAD_BYTES):
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
                self._journal.put(self._places.layout())
                self._sync(
                    self._sync_folder
                )  # what is written from here on a power cut may tear, the rest is there
            except OSError as error:
                raise NervehandError(
                    f"{path}: cannot be created ({error}): free some space or choose another place"
                ) from None
            made.pop_all()
        self._row = 0  # where the next block belongs if nothing is lost
        self._start = 0  # row of the first pending sample
        self._received = 0
        self._flushed = 0
        self._pending: list[NDArray[np.float32] | NDArray[np.int16]] = []
        self._pending_truth: list[NDArray[np.float32]] = []
        self._pending_rows = 0
        self._rows: dict[str, list[tuple[NDArray[np.int64], Columns]]] = {name: [] for name in LANES[1:]}
        self._ends = [0] * len(LANES)
        self._trial = 0
        self._stopped = ""
        self._mask: NDArray[np.bool_] | None = None
        self._lines: int | None = None

    @property
    def received(self) -> int:
        """Samples received so far."""
        return self._received

    @property
    def flushed(self) -> int:
        """Samples that a kill of this process can no longer lose."""
        return self._flushed

    @property
    def is_flushed(self) -> bool:
        """Whether all that came is written."""
        return not self._pending and not any(self._rows.values())

    @property
    def path(self) -> Path:
        """Of the session file."""
        return self._path

    @property
    def last_sample(self) -> int:
        """Absolute index of the last sample received; one before the first where none came yet."""
        return self._header.first_sample + self._row - 1

    @property
    def present_sample(self) -> int:
        """Where what happens now belongs: the last sample received, or the first where none came yet."""
        return max(self.last_sample, self._header.first_sample)

    def append(self, block: SignalBlock, truth: NDArray[np.float32] | None = None) -> None:
        """Take a block, with its rows of truth where the session names truth. A jump in its index is a gap."""
        if self._stopped:
            raise RecordingStoppedError(self._stopped)
        samples = self._as_stored(block)
        row = block.first_sample - self._header.first_sample
        if row < self._row:
            raise NervehandError(
                f"block starts at sample {block.first_sample}, {self._row - row} before the end of the last: start"
                " a new recording"
            )
        if (truth is None) == bool(self._header.truth_names) or (
            truth is not None and truth.shape != (len(samples), len(self._header.truth_names))
        ):
            shape = None if truth is None else truth.shape
            raise NervehandError(
                f"truth is {shape} for {len(samples)} samples of {len(self._header.truth_names)} truth columns:"
                " give one row per sample"
            )
        if block.digital is not None and block.digital.shape != (len(samples),):
            raise NervehandError(
                f"digital lines of shape {block.digital.shape} beside {len(samples)} samples: give one value per sample"
            )
        if row > self._row:
            self.flush()
            self._put(
                "gaps", np.array([self._header.first_sample + self._row]), [np.array([row - self._row])]
            )
        if not self._pending:
            self._start = row
        if len(samples):
            self._pending.append(samples)
            if truth is not None:
                self._pending_truth.append(np.array(truth, np.float32))
        if block.digital is not None and len(samples):
            self._digital(block.digital, block.first_sample)
        self._row = row + len(samples)
        self._pending_rows += len(samples)
        self._received += len(samples)
        self._tail.received(self._received, self._header.first_sample + self._row)
        if self._pending_rows >= self._flush_rows:
            self.flush()

    def mark(self, sample_index: int, label: int = -1, trial: int = -1, repetition: int = -1) -> None:
        """From this sample on: label, trial (0 none) and repetition; -1 where the recording names none.

        A trial that ends is on the disk when this returns.
        """
        values = [np.array([label]), np.array([trial]), np.array([repetition])]
        self._put("marks", np.array([sample_index]), list(values))
        if self._trial > 0 and trial != self._trial:
            self.sync()
        self._trial = trial

    def health(self, sample_index: int, mask: NDArray[np.bool_]) -> None:
        """The mask (c,) that holds from this sample on; stored where it differs from the last."""
        if self._mask is None or not np.array_equal(mask, self._mask):
            self._mask = np.array(mask, np.bool_)
            self._put("health", np.array([sample_index]), [np.packbits(self._mask[None, :], axis=1)])

    def intents(self, intents: Intents) -> None:
        self._put("intents", *intent_rows(intents))

    def command(self, command: HandCommand) -> None:
        names = self._header.gesture_names
        gesture = names.index(command.gesture) if command.gesture in names else -1
        quality = command.quality
        numbers = [gesture, quality.warming, quality.confidence, quality.healthy_fraction]
        self._put(
            "commands",
            np.array([command.sample_index]),
            [
                command.targets[None, :],
                np.array([[command.issued_ns, command.expires_ns]]),
                np.array([numbers], np.float32),
            ],
        )

    def sent(self, sent: Sequence[Sent]) -> None:
        """What was handed to the hand, in that order."""
        names = self._header.gate_states
        self._put(
            "sent",
            np.array([one.sample_index for one in sent]),
            [
                np.array([one.sent_ns for one in sent]),
                np.array([one.positions for one in sent]),
                np.array([names.index(one.state.value) for one in sent]),
            ],
        )

    def traces(self, sample_index: NDArray[np.int64], times_ns: NDArray[np.int64]) -> None:
        """When commands were where: the samples (k,) they rest on, and (k, 10) host times (recorded.TRACE_TIMES)."""
        self._put("traces", sample_index, [times_ns])

    def state(self, state: HandState) -> None:
        """A report of the hand, at the last sample received; a fault in it is also a note."""
        at = self.present_sample
        reports = np.array([[state.reported_ns, int(state.watchdog_tripped)]])
        self._put("states", np.array([at]), [state.positions[None, :], reports])
        if state.fault:
            self.note(Note(at, f"hand fault: {state.fault}"))

    def sensors(
        self,
        device_s: NDArray[np.float64],
        arrival_ns: NDArray[np.int64],
        values: NDArray[np.float32],
        sample_index: NDArray[np.int64] | None = None,
    ) -> None:
        """Readings of the able hand (k,), (k,) and (k, d) with the header's sensors. `sample_index` (k,), ascending, is
        the sample that was received as each arrived; without it, the last one received."""
        if values.shape != (len(device_s), len(self._header.sensor_names)):
            raise NervehandError(
                f"readings are {values.shape} for {len(self._header.sensor_names)} sensors: give one column each"
            )
        at = np.full(len(device_s), self.present_sample) if sample_index is None else sample_index
        self._put("sensors", at, [device_s, arrival_ns, values])

    def event(self, event: Event) -> None:
        self._put("events", *event_rows((event,)))

    def note(self, note: Note) -> None:
        self._journal.append(note)

    def flush(self) -> None:
        """Write all that is pending and hand it to the operating system, with its checksum in the tail."""
        if self._stopped or (not self._pending and not any(self._rows.values())):
            return
        need = sum(block.nbytes for block in self._pending) + sum(
            block.nbytes for block in self._pending_truth
        )
        need += sum(
            part.nbytes
            for rows in self._rows.values()
            for index, columns in rows
            for part in (index, *columns)
        )
        is_held = self._room.hold(need + OVERHEAD_BYTES) and self._tail.make_room()
        free = free_bytes(self._path)
        if free < self._reserve + need or not is_held:
            at = self.present_sample
            self.event(Event(at, EventKind.DISK_RESERVE, free, self._reserve))
            self._stopped = (
                f"{self._path}: recording stopped at sample {at} with {free >> 20} MiB free (reserve"
                f" {self._reserve >> 20} MiB): free some space and start a new recording"
            )
        if is_held:
            self._commit()
        if self._stopped:
            raise RecordingStoppedError(self._stopped)

    def sync(self) -> None:
        """Flush, and return when the disk has it."""
        self.flush()
        if added := self._places.added():
            self._journal.put(added)
        self._sync()

    def until_synced(self) -> None:
        """Wait until the disk has what was handed to it behind."""
        if self._syncing is not None:
            self._syncing.join()

    def _sync(self, *more: Callable[[], None]) -> None:
        """Wait for the disk, or have a thread do so; where one still does, the next time comes soon."""
        if not self._syncs_behind:
            self._wait_for_disk(*more)
            return
        if self._sync_failed is not None:
            raise self._sync_failed
        if self._syncing is None or not self._syncing.is_alive():
            self._syncing = threading.Thread(target=self._wait_behind, args=more, daemon=True)
            self._syncing.start()

    def _wait_for_disk(self, *more: Callable[[], None]) -> None:
        for wait in (lambda: os.fsync(self._fd), self._tail.sync, self._journal.sync, *more):
            wait()

    def _wait_behind(self, *more: Callable[[], None]) -> None:
        try:
            self._wait_for_disk(*more)
        except OSError as error:
            self._sync_failed = error  # whoever writes next hears of it

    def _sync_folder(self) -> None:
        sync_folder(self._path)

    def close(self, *, failing: bool = False, folding: bool = True) -> None:
        """Finish the file: fold the journal in, write the table of trials, and remove journal and tail.

        Without any sample no file is left, which is an error unless another one is under way (`failing`). Without
        `folding` all of it is on the disk, and journal and tail stay beside the file until somebody folds them in.
        """
        if not self._file:
            return
        if not self._stopped:
            self.flush()
        if added := self._places.added():
            with suppress(NervehandError):  # a full disk; once the file is closed it is not needed
                self._journal.put(added)
        self.until_synced()
        self._wait_for_disk()
        self._file.close()
        self._room.release()
        os.fsync(self._fd)
        self._tail.mark(Mark.CLOSED)
        self._tail.sync()
        self._tail.close()
        self._journal.close()
        os.close(self._fd)
        if self._received:
            if folding:
                fold(self._path, self._header)
            return
        for name in (self._path, tail_of(self._path), journal_of(self._path)):
            name.unlink()
        if not failing:
            raise NervehandError(f"{self._path}: no sample was received: nothing is left to keep")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close(failing=error is not None)

    def _digital(self, digital: NDArray[np.uint32], first_sample: int) -> None:
        index, lines = changes(digital, first_sample, self._lines)
        self._lines = int(digital[-1])
        if len(index):
            self._put("digital", index, [lines])

    def _as_stored(self, block: SignalBlock) -> NDArray[np.float32] | NDArray[np.int16]:
        samples = block.samples
        if samples.ndim != 2 or samples.shape[1] != self._header.info.n_channels:
            raise NervehandError(
                f"block has shape {samples.shape}, the stream has {self._header.info.n_channels} channels:"
                " record it with the stream's own description"
            )
        if self._header.dtype == "int16":
            if samples.dtype != np.int16 or block.scale_uv != self._header.scale_uv:
                raise NervehandError(
                    f"block is {samples.dtype} with {block.scale_uv} microvolts per count, the recording int16 with"
                    f" {self._header.scale_uv}: describe the recording as the source delivers"
                )
            return np.array(samples, np.int16)
        if samples.dtype == np.int16:
            return samples.astype(np.float32) * np.float32(block.scale_uv)
        return np.array(samples, np.float32)

    def _put(self, name: str, index: NDArray[np.int64], columns: Sequence[NDArray[np.generic]]) -> None:
        typed: Columns = [
            np.array(values, column.dtype)
            for values, column in zip(columns, self._streams[name].columns, strict=True)
        ]
        self._rows[name].append((index.astype(np.int64), typed))

    def _commit(self) -> None:
        crc, start, stop = 0, self._start, self._start + self._pending_rows
        if self._pending:
            self._signal.resize(stop, axis=0)
            rows = np.concatenate(self._pending)
            self._signal[start:stop] = rows
            crc = zlib.crc32(rows.tobytes(), crc)
            if self._truth is not None:
                truth = np.concatenate(self._pending_truth)
                self._truth.resize(stop, axis=0)
                self._truth[start:stop] = truth
                crc = zlib.crc32(truth.tobytes(), crc)
            self._ends[0] = stop
            self._tail.written(self._flushed + self._pending_rows)
        else:
            start = self._ends[0]
        for lane, name in enumerate(LANES[1:], start=1):
            if self._rows[name]:
                index = np.concatenate([index for index, _ in self._rows[name]])
                columns = [
                    np.concatenate(parts) for parts in zip(*(c for _, c in self._rows[name]), strict=True)
                ]
                append_rows(self._file, self._header, name, index, columns)
                crc = stream_crc(index, columns, crc)
                self._ends[lane] += len(index)
        self._file.flush()
        self._flushed += self._pending_rows
        self._tail.flushed(self._flushed, FlushRecord(start, tuple(self._ends), crc))
        self._pending, self._pending_truth, self._pending_rows = [], [], 0
        self._rows = {name: [] for name in LANES[1:]}
        self._start = self._row


def stream_crc(index: NDArray[np.int64], columns: Columns, crc: int) -> int:
    """Go on with a CRC-32 over rows of a stream: the indices, then each column, little-endian."""
    crc = zlib.crc32(index.astype("<i8").tobytes(), crc)
    for values in columns:
        crc = zlib.crc32(np.ascontiguousarray(values).tobytes(), crc)
    return crc
