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
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.resources.abc import Traversable
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from firmware_bridge.errors import LinkError, NervehandError, SourceLostError
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
from firmware_bridge.sources._polled import Polling
from firmware_bridge.sources._same_stream import check_same
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
        self._info, self.board, self._poll_s = info, board, poll_s
        self._ring_samples = ring_samples or max(1000, round(_RING_S * info.rate_hz))
        self.counters = LinkCounters()
        self._polling = Polling(stall_s)

    @property
    def info(self) -> StreamInfo:
        return self._info

    def connect(self) -> None:
        self.close()
        library = _library()
        info, layout = _described_by(library, self.board, self._info.kind)
        check_same(str(self.board), self._info, info)
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
        self._polling.begin(
            _Connection(
                board, str(self.board), info.rate_hz, layout, library.error, counter, self.counters,
                self._ring_samples, self._poll_s, left,
            )
        )  # fmt: skip
        self.counters.connections += 1

    def blocks(self) -> Iterator[SignalBlock]:
        return self._polling.blocks()

    def close(self) -> None:
        self._polling.close()


@dataclass(slots=True)
class _Connection:
    """A session of BrainFlow's, from `connect` to `close`; `left` are the lines that a playback board still has."""

    board: _Board
    name: str
    rate_hz: float
    layout: Layout
    error: type[Exception]
    counter: PackageCounter | None
    counters: LinkCounters
    ring_samples: int
    wait_s: float
    left: int | None
    next_sample: int = 0
    last_stamp_s: float = 0.0

    def poll(self) -> Iterator[SignalBlock] | None:
        if self.left == 0:
            return None
        time.sleep(self.wait_s)
        try:
            data = self.board.get_board_data(max(1, self.board.get_board_data_count()))
        except self.error as error:
            raise SourceLostError(f"{self.name} is lost: {error}") from error
        return self._blocks(data, time.monotonic_ns())

    def silence(self, seconds: float) -> str:
        missing = "" if self.left is None else f"; {self.left} lines of its file did not come"
        return f"{self.name} is silent for {seconds:g} s{missing}"

    def close(self) -> None:
        # BrainFlow forgets the session in any case, also where the board no longer answers.
        with contextlib.suppress(self.error):
            self.board.release_session()  # which stops the stream, too

    def _blocks(self, data: NDArray[np.float64], arrival_ns: int) -> Iterator[SignalBlock]:
        layout, counter, n = self.layout, self.counter, data.shape[1]
        if self.left is not None:
            self.left -= n
        overflowed = n >= _NEARLY_FULL * self.ring_samples
        if counter is None or layout.package is None:
            if overflowed:
                raise SourceLostError(
                    f"{self.name} was not read in time: an unknown number of samples is lost"
                )
            runs = [(0, n, 0)] if n else []
        else:
            good = np.isfinite(data[layout.package])
            self.counters.bad_frames += int(np.count_nonzero(~good))
            data = data[:, good]
            stamps = data[layout.stamp]
            waited = float(stamps[0] - self.last_stamp_s) * self.rate_hz if stamps.size else 0.0
            runs = list(counter.runs(data[layout.package], waited if overflowed else None))
            self.last_stamp_s = float(stamps[-1]) if stamps.size else self.last_stamp_s
        taken = sum(end - begin for begin, end, _ in runs)
        self.counters.repeated_samples += data.shape[1] - taken
        for begin, end, lost in runs:
            first = self.next_sample + lost
            self.next_sample = first + end - begin
            self.counters.frames += 1
            self.counters.lost_samples += lost
            yield SignalBlock(
                np.ascontiguousarray(data[list(layout.channels), begin:end].T), first, arrival_ns, lost
            )
