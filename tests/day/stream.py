"""A day's samples at the price of none, and how many hops they make: noise that comes again, and what happens to it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from decoder.bundle import Bundle
from firmware_bridge.errors import SourceLostError
from firmware_bridge.stream import LinkCounters, SignalBlock, StreamInfo

SCALE_UV = 0.195
N_NOISE = 64
EACH_S = 60.0
"""How often something happens."""
BRIDGED_S, GAP_S, AWAY_S = 0.01, 0.3, 0.5
FLAT_S, ARTEFACT_S, SMALL_S = 3.0, 0.005, 2.0
SMALL_BLOCK_S = 0.002
AT_THE_STREAM = ("bridged", "gap", "link lost", "flat", "artefact", "small blocks")
"""What happens to the samples: a loss that is bridged, one after which the chain begins anew, a link that is lost, a
channel without a signal, an artefact on all, blocks of a tenth of a hop."""
AT_THE_RUN = ("hand lost", "reload")
"""What happens beside them, which the run is told."""
KINDS = (*AT_THE_STREAM, *AT_THE_RUN)


@dataclass(frozen=True, slots=True)
class HopGrid:
    """Which hops a chain decides of an unbroken stretch of samples. `hop` and `window` are conditioned samples, `delay`
    raw ones.

    A window is whole `window` samples after the stretch begins, one ends at each j with (j + 1) % hop == 0
    (decoder.features), and a sample is there once the delay line let it go (decoder.health).
    """

    hop: int
    window: int
    decimation: int
    delay: int

    @classmethod
    def of(cls, bundle: Bundle, delay: int) -> HopGrid:
        """Of a decoder whose delay line holds so many samples."""
        settings = bundle.manifest.features.settings
        decimation = bundle.manifest.conditioning.decimation
        return cls(settings.hop_samples, settings.window_samples, decimation, delay)

    def hops(self, first: int, end: int, newest: int | None = None) -> int:
        """How many of the samples first..before `end`; with `newest` only those that rest on that sample or before."""
        left = (end - self.delay) // self.decimation
        if newest is not None:
            left = min(left, (newest + 1) // self.decimation)
        return max(left // self.hop - -(-(first // self.decimation + self.window) // self.hop) + 1, 0)


@dataclass
class Stretches:
    """The unbroken stretches of a stream, first..before end. One thread writes; what is read lags at most."""

    ends: list[tuple[int, int]] = field(default_factory=list)
    first: int = 0

    def broken(self, end: int, onwards: int) -> None:
        """The stream is broken at `end`, and goes on at `onwards`."""
        self.ends.append((self.first, end))
        self.first = onwards

    def hops(self, grid: HopGrid, newest: int) -> int:
        """How many hops there must be up to the one that rests on `newest`."""
        ended = list(self.ends)
        first = ended[-1][1] if ended else 0
        whole = sum(grid.hops(a, b, newest) for a, b in ended if a <= newest)
        return whole + (grid.hops(self.first, newest + grid.delay + 1) if self.first >= first else 0)


class DayDevice:
    """Noise of `n_samples`, rounded up to a block, as fast as it is taken, in blocks of `block_samples`; EACH_S apart,
    something happens.

    `tell` hears, in the thread that takes the blocks, of what happens beside the samples (AT_THE_RUN).
    """

    def __init__(
        self, info: StreamInfo, n_samples: int, block_samples: int, tell: Callable[[str], None]
    ) -> None:
        self.info, self.counters = info, LinkCounters()
        self.stretches = Stretches()
        self.happened: dict[str, int] = dict.fromkeys(KINDS, 0)
        self.lost_samples = 0
        self._n_samples, self._block, self._tell = n_samples, block_samples, tell
        rng = np.random.default_rng(1)
        shape = (N_NOISE, block_samples, info.n_channels)
        self._noise: NDArray[np.int16] = rng.normal(0, 100, shape).astype(np.int16)
        self._flat = self._noise.copy()
        self._flat[:, :, 3] = 7
        self._at = self._next_event = 0
        self._n_events = 0
        self._until: dict[str, int] = {"flat": 0, "small blocks": 0, "artefact": 0}
        self._closed = threading.Event()

    @property
    def end(self) -> int:
        """One past the index of the last sample so far."""
        return self._at

    def connect(self) -> None:
        self._closed.clear()

    def close(self) -> None:
        self._closed.set()

    def blocks(self) -> Iterator[SignalBlock]:
        """SourceLostError where the link is lost; the counter goes on meanwhile."""
        each = round(EACH_S * self.info.rate_hz)
        self._next_event = self._next_event or each // 2
        small = round(SMALL_BLOCK_S * self.info.rate_hz)
        i = 0
        while self._at < self._n_samples and not self._closed.is_set():
            if self._at >= self._next_event:
                self._next_event += each
                self._happens()
            at, until, i = self._at, self._until, i + 1
            samples = (self._flat if at < until["flat"] else self._noise)[i % N_NOISE]
            if at < until["artefact"]:
                samples = samples.copy()
                samples[: until["artefact"] - at] = 32_000
            step = small if at < until["small blocks"] else self._block
            for begin in range(0, self._block, step):
                part = samples[begin : begin + step]
                yield SignalBlock(part, at + begin, time.monotonic_ns(), scale_uv=SCALE_UV)
            self._at = at + self._block

    def _happens(self) -> None:
        kind = KINDS[self._n_events % len(KINDS)]
        self._n_events += 1
        self.happened[kind] += 1
        if kind == "bridged":
            self._lose(BRIDGED_S, is_bridged=True)
        elif kind == "gap":
            self._lose(GAP_S)
        elif kind == "link lost":
            self._lose(AWAY_S)
            raise SourceLostError("the cable is out")
        elif kind == "flat":
            self._until["flat"] = self._at + round(FLAT_S * self.info.rate_hz)
        elif kind == "artefact":
            self._until["artefact"] = self._at + round(ARTEFACT_S * self.info.rate_hz)
        elif kind == "small blocks":
            self._until["small blocks"] = self._at + round(SMALL_S * self.info.rate_hz)
        else:
            self._tell(kind)

    def _lose(self, seconds: float, *, is_bridged: bool = False) -> None:
        """A number that is no whole hop, so that blocks lie anywhere on the grid."""
        lost = round(seconds * self.info.rate_hz) + (0 if is_bridged else 37 * (self._n_events % 5))
        if not is_bridged:
            self.stretches.broken(self._at, self._at + lost)
        self.lost_samples += lost
        self._at += lost
