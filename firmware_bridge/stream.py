"""What comes in: the description of a stream, its blocks of samples, and the sources that deliver them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from firmware_bridge.errors import NervehandError

StreamKind = Literal["nerve", "emg", "envelope"]
STREAM_KINDS: tuple[StreamKind, ...] = ("nerve", "emg", "envelope")
N_LINES = 32
"""Digital lines of a front-end at most: one bit each."""


@dataclass(frozen=True, slots=True)
class StreamInfo:
    """A stream, known before it starts.

    `channel_names` and `electrodes` have one entry per channel; an electrode is the physical contact
    ("median/3") that the channel reads. `full_scale_uv` is the ADC's positive limit in microvolts, beyond
    which a sample is railed; None where it is unknown or meaningless. `hardware_band_hz` are the corners of
    the front-end's own filter. An envelope has no carrier, hence no mains frequency to notch.
    """

    rate_hz: float
    channel_names: tuple[str, ...]
    kind: StreamKind
    electrodes: tuple[str, ...] = ()
    nerve: str = ""
    full_scale_uv: float | None = None
    hardware_band_hz: tuple[float, float] | None = None
    mains_hz: float = 50.0
    stimulation_lines: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if not (np.isfinite(self.rate_hz) and self.rate_hz > 0):
            raise NervehandError(
                f"sampling rate is {self.rate_hz} Hz: give a positive number of samples per second"
            )
        if not self.channel_names:
            raise NervehandError("the stream has no channels: name at least one")
        if len(set(self.channel_names)) != len(self.channel_names):
            raise NervehandError(
                f"channel names repeat: {', '.join(self.channel_names)}: make each one unique"
            )
        if self.kind not in STREAM_KINDS:
            raise NervehandError(f"stream kind is {self.kind!r}: use one of {', '.join(STREAM_KINDS)}")
        if self.electrodes and len(self.electrodes) != len(self.channel_names):
            raise NervehandError(
                f"{len(self.electrodes)} electrodes for {len(self.channel_names)} channels: give one each"
            )
        if any(not 0 <= line < N_LINES for line in self.stimulation_lines):
            raise NervehandError(f"stimulation lines are {self.stimulation_lines}: use 0 to {N_LINES - 1}")

    @property
    def n_channels(self) -> int:
        return len(self.channel_names)


@dataclass(frozen=True, slots=True)
class SignalBlock:
    """Consecutive samples as they arrived; nobody downstream changes them.

    `samples` is (n_samples, n_channels), C-ordered: float32 or float64 in microvolts, or int16 with
    `scale_uv` microvolts per count. `first_sample` is the absolute index of row 0; `arrival_ns` the host's
    monotonic time when the last row arrived; `lost_before` how many samples are missing between the previous
    block and this one. `digital` is (n_samples,) uint32, one bit per line, where the device has lines.
    `pieces` are, of a block that was joined from several, the sample after each one's last and its arrival in ns.
    """

    samples: NDArray[np.float32] | NDArray[np.float64] | NDArray[np.int16]
    first_sample: int
    arrival_ns: int = 0
    lost_before: int = 0
    scale_uv: float = 1.0
    digital: NDArray[np.uint32] | None = None
    pieces: tuple[tuple[int, int], ...] = ()

    @property
    def n_samples(self) -> int:
        return int(self.samples.shape[0])


class Source(Protocol):
    """A front-end: described before it is connected, then a stream of blocks until it is closed.

    `blocks()` yields each block once, in order; it ends when the source is exhausted or closed. A source
    that lost samples says so in the next block's `lost_before` and goes on.

    `close` may come from another thread, and more than once: an iteration that waits for its next block then ends
    promptly, without that block. So a source waits for samples only in ways that `close` can interrupt.
    """

    @property
    def info(self) -> StreamInfo: ...

    def connect(self) -> None: ...

    def blocks(self) -> Iterator[SignalBlock]: ...

    def close(self) -> None: ...


@dataclass(slots=True)
class LinkCounters:
    """What a device's link has done since the device was made; it only grows.

    `frames` were good and delivered; `bad_frames` refused (checksum, a field out of range); `skipped_bytes` lay
    between frames; `lost_samples` (instants) never came; `repeated_samples` came again and were dropped.
    """

    frames: int = 0
    bad_frames: int = 0
    skipped_bytes: int = 0
    lost_samples: int = 0
    repeated_samples: int = 0
    connections: int = 0


class Device(Source, Protocol):
    """A source behind a link that can fail.

    `connect` raises LinkError where the device is not there, and StreamMismatchError where what is there is not
    what `info` says. `blocks` raises SourceLostError when the link is lost or silent; `connect` and `blocks` then
    work again once the device is back. `first_sample` is the device's own counter, which may begin anew.
    """

    @property
    def counters(self) -> LinkCounters: ...
