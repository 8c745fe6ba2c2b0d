"""BrainFlow: the boards that its library drives (OpenBCI, FreeEEG, ANT Neuro, ...), its synthetic board, recordings.

Needs the extra `brainflow` (x86-64 only). `brainflow:synthetic`; `brainflow:playback/FILE[@BOARD_ID]`, a file as
BrainFlow writes it, with the board that it was recorded from (the synthetic one where none is said);
`brainflow:BOARD_ID?serial_port=...`, a real board with BrainFlow's input parameters. Board ids and parameters:
https://brainflow.readthedocs.io/en/stable/SupportedBoards.html. The streaming board is refused: it multicasts.
"""

from __future__ import annotations

import contextlib
import importlib.resources
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.resources.abc import Traversable
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from firmware_bridge.errors import LinkError, NervehandError, SourceLostError, StreamMismatchError
from firmware_bridge.sources import Found
from firmware_bridge.sources._brainflow_boards import (
    ADDRESS,
    COUNTERS,
    SYNTHETIC,
    Board,
    Layout,
    described,
    lines_of,
    parsed,
)
from firmware_bridge.sources._package_numbers import PackageCounter
from firmware_bridge.stream import LinkCounters, SignalBlock, StreamInfo, StreamKind

__all__ = ["ADDRESS", "BrainflowDevice", "find", "open_device"]

_RING_S = 10.0  # of samples kept by BrainFlow while nobody takes them; then the oldest are overwritten
_NEARLY_FULL = 0.9


class _Board(Protocol):
    """What is used of brainflow's BoardShim."""

    def prepare_session(self) -> None: ...
    def start_stream(self, num_samples: int) -> None: ...
    def release_session(self) -> None: ...
    def config_board(self, config: str) -> str: ...
    def get_board_data_count(self) -> int: ...
    def get_board_data(self, num_samples: int) -> NDArray[np.float64]: ...


@dataclass(frozen=True, slots=True)
class _Library:
    """What is used of brainflow."""

    board: Callable[[int, object], _Board]
    parameters: Callable[[], object]
    describe: Callable[[int], dict[str, object]]
    silence: Callable[[], None]
    error: type[Exception]


def _library() -> _Library:
    try:
        from brainflow import board_shim, exit_codes
    except ImportError as error:
        raise NervehandError(
            f"BrainFlow's boards need its library ({error}): pip install 'nervehand[brainflow]' on this machine "
            "(x86-64 only)"
        ) from error
    if sys.version_info < (3, 12):
        board_shim.files = files_of_package
    shim = board_shim.BoardShim
    try:
        shim.get_version()  # loads the library itself
    except (OSError, ImportError) as error:
        raise NervehandError(f"BrainFlow's library does not load here: {error}") from error
    return _Library(
        shim,
        board_shim.BrainFlowInputParams,
        shim.get_board_descr,
        shim.disable_board_logger,
        exit_codes.BrainFlowError,
    )


def files_of_package(module: str) -> Traversable:
    """For BrainFlow 5.23, which looks for its library among the files of a module; Python 3.11 knows packages only."""
    return importlib.resources.files(module.rpartition(".")[0])


def find() -> tuple[Found, ...]:
    """The synthetic board, where BrainFlow is installed; real boards cannot be asked for without connecting."""
    try:
        info, _ = described(_library().describe(SYNTHETIC), "emg")
    except NervehandError:
        return ()
    about = f"BrainFlow's synthetic board, {info.n_channels} channels at {info.rate_hz:g} Hz"
    return (Found("brainflow:synthetic", about),)


def open_device(where: str) -> BrainflowDevice:
    """The board of that address, described but not connected; a recording is looked through."""
    library = _library()
    types = {name: type(value) for name, value in vars(library.parameters()).items()}
    board, kind = parsed(where, types)
    info, layout = _described_by(library, board, kind)
    if board.file is not None:
        lines_of(board.file, layout)
    return BrainflowDevice(info, board)


def _described_by(library: _Library, board: Board, kind: StreamKind) -> tuple[StreamInfo, Layout]:
    try:
        return described(library.describe(board.like), kind)
    except library.error as error:
        raise NervehandError(f"BrainFlow does not know board {board.like}: {error}") from error


class BrainflowDevice:
    """A board that BrainFlow drives. A board that sends nothing new for `stall_s` is lost.

    BrainFlow's ring buffer of `ring_samples` (10 s of them where None) is emptied every `poll_s`. Losses and
    repeats show in the package numbers (see `COUNTERS`), which wrap: of a loss of more than their range, unless
    it was the ring that overflowed, the whole turns go unseen. A playback board ends with its file.
    """

    def __init__(
        self,
        info: StreamInfo,
        board: Board,
        stall_s: float = 1.0,
        poll_s: float = 0.01,
        ring_samples: int | None = None,
    ) -> None:
        self._info, self.board, self._stall_s, self._poll_s = info, board, stall_s, poll_s
        self._ring_samples = ring_samples or max(1000, round(_RING_S * info.rate_hz))
        self.counters = LinkCounters()
        self._lock = threading.Lock()  # around every use of the board
        self._closed = threading.Event()
        self._closed.set()
        self._connection: _Connection | None = None

    @property
    def info(self) -> StreamInfo:
        return self._info

    def connect(self) -> None:
        self.close()
        library = _library()
        info, layout = _described_by(library, self.board, self._info.kind)
        if (info.rate_hz, info.channel_names) != (self._info.rate_hz, self._info.channel_names):
            raise StreamMismatchError(
                f"{self.board} has {info.n_channels} channels at {info.rate_hz:g} Hz, and was opened as "
                f"{self._info.n_channels} at {self._info.rate_hz:g} Hz: open it anew"
            )
        file = self.board.file
        left = None if file is None else lines_of(file, layout)
        parameters = library.parameters()
        for name, value in self.board.parameters:
            setattr(parameters, name, value)
        library.silence()  # its log goes to the terminal; what it has to say comes with its errors
        board = library.board(self.board.board_id, parameters)
        try:
            board.prepare_session()
            try:
                if file is not None:
                    board.config_board("old_timestamps")
                board.start_stream(self._ring_samples)
            except library.error:
                board.release_session()
                raise
        except library.error as error:
            raise LinkError(f"{self.board} does not connect: {error}") from error
        counting = COUNTERS.get(self.board.like)
        counter = None if counting is None or layout.package is None else PackageCounter(*counting)
        with self._lock:
            self._connection = _Connection(board, layout, library.error, counter, left)
            self.counters.connections += 1
            self._closed.clear()

    def blocks(self) -> Iterator[SignalBlock]:
        connection = self._connection
        silent_s = 0.0
        while connection is not None and not self._closed.wait(self._poll_s):
            with self._lock:
                if self._connection is not connection:
                    return
                try:
                    data = connection.board.get_board_data(max(1, connection.board.get_board_data_count()))
                except connection.error as error:
                    self._connection = None
                    raise SourceLostError(f"{self.board} is lost: {error}") from error
                arrival_ns = time.monotonic_ns()
            came = False
            for block in self._placed(connection, data, arrival_ns):
                if self._connection is not connection:
                    return
                came = True
                yield block
            if connection.left == 0:
                return
            # Waited for, not passed: a machine that stood still has not heard a board that fell silent.
            silent_s = 0.0 if came else silent_s + self._poll_s
            if silent_s >= self._stall_s:
                self.close()
                missing = (
                    "" if connection.left is None else f"; {connection.left} lines of its file did not come"
                )
                raise SourceLostError(f"{self.board} is silent for {self._stall_s:g} s{missing}")

    def _placed(
        self, connection: _Connection, data: NDArray[np.float64], arrival_ns: int
    ) -> Iterator[SignalBlock]:
        layout, counter, n = connection.layout, connection.counter, data.shape[1]
        if connection.left is not None:
            connection.left -= n
        overflowed = n >= _NEARLY_FULL * self._ring_samples
        if counter is None or layout.package is None:
            if overflowed:
                self.close()
                raise SourceLostError(
                    f"{self.board} was not read in time: an unknown number of samples is lost"
                )
            runs = [(0, n, 0)] if n else []
        else:
            good = np.isfinite(data[layout.package])
            self.counters.bad_frames += int(np.count_nonzero(~good))
            data = data[:, good]
            stamps = data[layout.stamp]
            waited = float(stamps[0] - connection.last_stamp_s) * self._info.rate_hz if stamps.size else 0.0
            runs = list(counter.runs(data[layout.package], waited if overflowed else None))
            connection.last_stamp_s = float(stamps[-1]) if stamps.size else connection.last_stamp_s
        taken = sum(end - begin for begin, end, _ in runs)
        self.counters.repeated_samples += data.shape[1] - taken
        for begin, end, lost in runs:
            first = connection.next_sample + lost
            connection.next_sample = first + end - begin
            self.counters.frames += 1
            self.counters.lost_samples += lost
            samples = np.ascontiguousarray(data[list(layout.channels), begin:end].T)
            yield SignalBlock(samples, first, arrival_ns, lost)

    def close(self) -> None:
        self._closed.set()
        with self._lock:
            connection, self._connection = self._connection, None
            if connection is not None:
                # BrainFlow forgets the session in any case, also where the board no longer answers.
                with contextlib.suppress(connection.error):
                    connection.board.release_session()  # which stops the stream, too


@dataclass(slots=True)
class _Connection:
    """A session of BrainFlow's, from `connect` to `close`; `left` are the lines that a playback board still has."""

    board: _Board
    layout: Layout
    error: type[Exception]
    counter: PackageCounter | None
    left: int | None
    next_sample: int = 0
    last_stamp_s: float = 0.0
