"""Lab Streaming Layer: any amplifier whose vendor, or whose laboratory, offers its samples as an LSL stream.

`lsl:NAME`; needs the extra `lsl` (mne-lsl, which brings liblsl). The stream's own description gives the rate, the
labels and the units. LSL numbers no samples: losses are found from the sender's time stamps, by the rule of
`_stamps`. Where liblsl looks for senders is its own configuration (the file that the environment variable
LSLAPICFG names): by default the whole site's network. Formats: https://labstreaminglayer.readthedocs.io and
https://github.com/sccn/xdf/wiki/Meta-Data.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import DTypeLike, NDArray

from firmware_bridge.errors import LinkError, NervehandError, SourceLostError
from firmware_bridge.sources import Found
from firmware_bridge.sources._polled import Polling
from firmware_bridge.sources._same_stream import check_same
from firmware_bridge.sources._stamps import Run, StampClock
from firmware_bridge.sources._units import microvolts_per
from firmware_bridge.stream import STREAM_KINDS, LinkCounters, SignalBlock, StreamInfo, StreamKind

ADDRESS = "lsl:NAME[?kind=nerve|emg|envelope]"

_RESOLVE_S = 0.8  # every sender on the network has answered by then
_RESOLVE_KNOWN_S = 2.0  # at most: a known stream that is there has answered in a tenth of it
_CONNECT_S = 5.0
_WAIT_S = 0.05  # at a time, for samples: what `close` waits for at most
_BUFFER_S = 10  # of samples kept by liblsl while nobody takes them; older ones are lost, and counted
_BLOCK_S = 0.005
_TRIGGERS = ("stim", "trigger", "triggers", "trig", "marker", "markers")  # types of channels without a signal
_REMEMBERED_S = 1.0  # how long a sample is kept to know it again

Samples = NDArray[np.float32] | NDArray[np.float64] | NDArray[np.int16]


class _Description(Protocol):
    """What is used of mne_lsl's StreamInfo."""

    name: str
    stype: str
    source_id: str
    hostname: str
    created_at: float
    sfreq: float
    n_channels: int
    dtype: DTypeLike  # "string" for text

    def get_channel_names(self) -> Sequence[str | None] | None: ...
    def get_channel_types(self) -> Sequence[str | None] | None: ...
    def get_channel_units(self) -> Sequence[str | None] | None: ...


class _Inlet(Protocol):
    """What is used of mne_lsl's StreamInlet."""

    def open_stream(self, timeout: float) -> None: ...
    def close_stream(self) -> None: ...
    def get_sinfo(self, timeout: float) -> _Description: ...
    def flush(self) -> int: ...
    def pull_chunk(
        self, timeout: float, max_samples: int
    ) -> tuple[NDArray[np.generic], NDArray[np.float64]]: ...


class _Library(Protocol):
    """What is used of mne_lsl.lsl."""

    # Named as there.
    def StreamInlet(self, sinfo: _Description, *, max_buffered: int, recover: bool) -> _Inlet: ...  # noqa: N802
    def resolve_streams(
        self, timeout: float, name: str | None = None, stype: str | None = None, source_id: str | None = None
    ) -> list[_Description]: ...


def _library() -> _Library:
    try:
        from mne_lsl import lsl
    except ImportError as error:
        raise NervehandError(
            f"LSL streams need mne-lsl ({error}): pip install 'nervehand[lsl]' on this machine"
        ) from error
    library: _Library = lsl
    return library


@dataclass(frozen=True, slots=True)
class Layout:
    """How a stream's values become microvolts: `columns` are taken, each times its factor in `factors_uv`.

    Whole numbers of 16 bits with one factor stay whole numbers, with that scale.
    """

    columns: tuple[int, ...]
    factors_uv: tuple[float, ...]
    dtype: np.dtype[np.generic]

    @property
    def scale_uv(self) -> float:
        return self.factors_uv[0] if self._stays_int16 else 1.0

    @property
    def _stays_int16(self) -> bool:
        return self.dtype == np.int16 and len(set(self.factors_uv)) == 1

    def samples(self, values: NDArray[np.generic]) -> Samples:
        """A copy (n, len(columns)) of the values (n, all columns); with a factor of 1, the same bits."""
        taken = values[:, list(self.columns)]
        if self._stays_int16:
            return np.ascontiguousarray(taken, np.int16)
        if self.dtype in (np.dtype(np.float64), np.dtype(np.int32), np.dtype(np.int64)):
            return np.ascontiguousarray(taken.astype(np.float64) * np.array(self.factors_uv))
        return np.ascontiguousarray(taken.astype(np.float32) * np.array(self.factors_uv, np.float32))


def described(description: _Description, kind: StreamKind | None = None) -> tuple[StreamInfo, Layout]:
    """What a stream is, from its sender's full description.

    Channels whose unit is a voltage are streamed, others (acceleration) are left out, and so are triggers. A
    description without any units is in microvolts, which XDF's convention prefers. `kind` None takes the stream's
    type where that says "EMG" or "envelope", and nerve otherwise. Raises NervehandError for streams of text, of
    irregular rate, or without a voltage.
    """
    name, rate_hz = description.name, description.sfreq
    if not rate_hz > 0:
        raise NervehandError(
            f"LSL stream {name!r} has an irregular rate (nominal rate {rate_hz:g} Hz): only evenly sampled streams can "
            "be decoded; choose the amplifier's signal stream, not its markers"
        )
    if description.dtype == "string":
        raise NervehandError(f"LSL stream {name!r} carries text, not samples: choose a numeric stream")
    units = _per_channel(description.get_channel_units(), description.n_channels)
    labels = _per_channel(description.get_channel_names(), description.n_channels)
    types = _per_channel(description.get_channel_types(), description.n_channels)
    factors = [
        None if what.lower() in _TRIGGERS else microvolts_per(unit) if any(units) else 1.0
        for what, unit in zip(types, units, strict=True)
    ]
    columns = tuple(i for i, factor in enumerate(factors) if factor is not None)
    if not columns:
        raise NervehandError(
            f"no channel of LSL stream {name!r} has a unit of voltage (units: {', '.join(sorted(set(units)))}): "
            "its sender must say volts, millivolts, microvolts or nanovolts"
        )
    layout = Layout(
        columns, tuple(factor for factor in factors if factor is not None), np.dtype(description.dtype)
    )
    names = tuple(labels[i] or f"ch{i:02d}" for i in columns)
    if len(set(names)) != len(names):
        names = tuple(f"{label}/{i}" for label, i in zip(names, columns, strict=True))
    if kind is None:
        by_type: dict[str, StreamKind] = {"emg": "emg", "envelope": "envelope"}
        kind = by_type.get(description.stype.lower(), "nerve")
    full_scale_uv = 32767 * layout.scale_uv if layout.dtype == np.int16 else None
    return StreamInfo(rate_hz, names, kind, full_scale_uv=full_scale_uv), layout


def _per_channel(said: Sequence[str | None] | None, n: int) -> list[str]:
    """One entry per channel, "" where the description has none."""
    entries = [entry or "" for entry in said or ()][:n]
    return entries + [""] * (n - len(entries))


def find() -> tuple[Found, ...]:
    """The streams of regular rate that answer within a second (the first call also loads the library)."""
    try:
        library = _library()
    except NervehandError:
        return ()
    streams = [s for s in library.resolve_streams(_RESOLVE_S) if s.sfreq > 0 and s.dtype != "string"]
    names = [stream.name for stream in streams]
    found = []
    for stream in sorted(streams, key=lambda stream: (stream.name, stream.source_id)):
        where = stream.name if names.count(stream.name) == 1 else stream.source_id
        kind = f"{stream.stype}, " if stream.stype else ""
        about = f"{kind}{stream.n_channels} channels at {stream.sfreq:g} Hz, from {stream.hostname}"
        found.append(Found(f"lsl:{where}", about))
    return tuple(found)


def open_device(where: str) -> LslDevice:
    """The stream of that name, or of that source id."""
    target, _, option = where.partition("?kind=")
    chosen = next((kind for kind in STREAM_KINDS if kind == option), None)
    if option and chosen is None:
        raise NervehandError(f"stream kind is {option!r}: use one of {', '.join(STREAM_KINDS)}")
    if not target:
        raise NervehandError(f"an LSL address needs the stream's name: {ADDRESS}")
    library = _library()
    there = library.resolve_streams(_RESOLVE_S)
    named = [s for s in there if s.name == target] or [s for s in there if s.source_id == target]
    if not named:
        names = ", ".join(sorted({repr(s.name) for s in there})) or "none"
        raise LinkError(f"no LSL stream is called {target!r} (there now: {names}): start its sender")
    if len(named) > 1:
        ids = ", ".join(sorted(repr(s.source_id) for s in named))
        raise NervehandError(
            f"{len(named)} LSL streams are called {target!r}: use a source id for the name, of {ids}"
        )
    _, description = _opened(library, named[0])
    info, _ = described(description, chosen)
    return LslDevice(info, named[0].name, named[0].source_id)


def _opened(library: _Library, found: _Description) -> tuple[_Inlet, _Description]:
    """An inlet that receives, and the full description, which only the sender itself gives."""
    inlet = library.StreamInlet(found, max_buffered=_BUFFER_S, recover=False)
    try:
        inlet.open_stream(_CONNECT_S)
        return inlet, inlet.get_sinfo(_CONNECT_S)
    except (TimeoutError, RuntimeError) as error:  # how mne_lsl reports liblsl's errors
        raise LinkError(
            f"LSL stream {found.name!r} does not answer ({error}): start its sender again"
        ) from error


class LslDevice:
    """A stream of that name and source id (where it has one), as `info` describes it.

    Does not let liblsl mend a lost connection by itself, since that would join two streams without a word. A
    sender that is silent for `stall_s` is lost. Blocks are of 5 ms, so a sample is delivered up to that much later
    than it came. What liblsl had received, but nobody taken, when the connection broke is lost with it.
    """

    def __init__(self, info: StreamInfo, name: str, source_id: str = "", stall_s: float = 1.0) -> None:
        self._info, self._name, self._source_id = info, name, source_id
        self.counters = LinkCounters()
        self._polling = Polling(stall_s)

    @property
    def info(self) -> StreamInfo:
        return self._info

    def connect(self) -> None:
        self.close()
        library = _library()
        if self._source_id:
            found = library.resolve_streams(_RESOLVE_KNOWN_S, source_id=self._source_id)
        else:
            found = library.resolve_streams(_RESOLVE_KNOWN_S, name=self._name)
        if not found:
            raise LinkError(f"LSL stream {self._name!r} is not there: start its sender")
        inlet, description = _opened(library, max(found, key=lambda stream: stream.created_at))
        info, layout = described(description, self._info.kind)
        try:
            check_same(f"LSL stream {self._name!r}", self._info, info)
        except NervehandError:
            inlet.close_stream()
            raise
        inlet.flush()
        self._polling.begin(_Connection(inlet, self._name, info.rate_hz, layout, self.counters))
        self.counters.connections += 1

    def blocks(self) -> Iterator[SignalBlock]:
        return self._polling.blocks()

    def close(self) -> None:
        self._polling.close()


class _Connection:
    """An inlet, and its samples by their stamps: their index, what is lost between them, what came again."""

    wait_s = _WAIT_S

    def __init__(
        self, inlet: _Inlet, name: str, rate_hz: float, layout: Layout, counters: LinkCounters
    ) -> None:
        self._inlet, self._name, self._layout = inlet, name, layout
        self._most = max(1, round(_BLOCK_S * rate_hz))
        self._counters = counters
        self._clock = StampClock(rate_hz)
        self._next = 0
        self._remembered: deque[SignalBlock] = deque()
        self._n_remembered = round(_REMEMBERED_S * rate_hz)

    def poll(self) -> Iterator[SignalBlock]:
        try:
            values, stamps = self._inlet.pull_chunk(self.wait_s, self._most)
        except RuntimeError as error:  # mne_lsl's for a lost stream
            raise SourceLostError(f"LSL stream {self._name!r} is lost: {error}") from error
        arrival_ns = time.monotonic_ns()
        # Copies: what was pulled is the inlet's own memory.
        return self._blocks(self._layout.samples(values), stamps.copy(), arrival_ns)

    def silence(self, seconds: float) -> str:
        return f"LSL stream {self._name!r} is silent for {seconds:g} s"

    def close(self) -> None:
        self._inlet.close_stream()

    def _blocks(
        self, samples: Samples, stamps: NDArray[np.float64], arrival_ns: int
    ) -> Iterator[SignalBlock]:
        done = 0
        while done < stamps.size:
            run = self._clock.take(stamps[done:])
            rows = samples[done : done + run.n_samples]
            if run.again and not self._came_before(run, rows):
                self._clock.distrust()
                continue
            done += run.n_samples
            if run.again:
                self._counters.repeated_samples += run.n_samples
                continue
            first = self._next + run.lost
            self._next = first + run.n_samples
            self._counters.frames += 1
            self._counters.lost_samples += run.lost
            block = SignalBlock(rows, first, arrival_ns, run.lost, self._layout.scale_uv)
            self._remember(block)
            yield block

    def _remember(self, block: SignalBlock) -> None:
        self._remembered.append(block)
        while (
            self._remembered[0].first_sample + self._remembered[0].n_samples < self._next - self._n_remembered
        ):
            self._remembered.popleft()

    def _came_before(self, run: Run, rows: Samples) -> bool:
        """Whether these rows are the very samples that had these stamps before."""
        first = self._next - run.again
        same = 0
        for block in self._remembered:
            begin = max(first, block.first_sample)
            end = min(first + run.n_samples, block.first_sample + block.n_samples)
            if begin < end:
                then = block.samples[begin - block.first_sample : end - block.first_sample]
                same += (end - begin) * int(np.array_equal(then, rows[begin - first : end - first]))
        return same == run.n_samples
