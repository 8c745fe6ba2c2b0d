"""Decimation, re-referencing, band-pass and notch: causal, stateful, the same bits for any blocks."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from decoder._conditioning_kernel import condition, history
from decoder.carried import Carried, packed, refill_to_next
from decoder.kernels import LANES, lane_groups
from firmware_bridge.errors import NervehandError, StreamMismatchError

Rereference = Literal["none", "average", "bipolar"]
REREFERENCES: tuple[Rereference, ...] = ("none", "average", "bipolar")


@dataclass(frozen=True, slots=True)
class ConditioningSettings:
    """What is done to the samples before features are computed.

    `band_hz` (low, high) or None; `order` as scipy.signal.butter counts it for a band-pass (4 gives 8 poles).
    `notch_hz` None leaves the mains in; else it and its harmonics up to the `notch_harmonics`-th are notched,
    those below 0.45 of the decimated rate. `rereference`: 'average' subtracts the mean over unmasked channels;
    'bipolar' makes channel c minus channel c + 1, one channel fewer.
    """

    decimation: int = 1
    band_hz: tuple[float, float] | None = (25.0, 600.0)
    order: int = 4
    notch_hz: float | None = None
    notch_harmonics: int = 1
    notch_q: float = 30.0
    rereference: Rereference = "none"

    def __post_init__(self) -> None:
        if self.decimation < 1:
            raise NervehandError(f"decimation is {self.decimation}: give a whole number, 1 or more")
        if self.band_hz is not None and not 0 < self.band_hz[0] < self.band_hz[1]:
            raise NervehandError(
                f"the band is {self.band_hz[0]:g} to {self.band_hz[1]:g} Hz: give a low edge above 0 and a higher one"
            )
        if self.order < 1:
            raise NervehandError(f"the filter's order is {self.order}: give 1 or more")
        if self.notch_hz is not None and not self.notch_hz > 0:
            raise NervehandError(f"the notch is at {self.notch_hz} Hz: give a frequency above 0, or None")
        if self.notch_harmonics < 1:
            raise NervehandError(f"notch_harmonics is {self.notch_harmonics}: 1 is the mains frequency alone")
        if not self.notch_q > 0:
            raise NervehandError(f"notch_q is {self.notch_q}: give a quality factor above 0")
        if self.rereference not in REREFERENCES:
            raise NervehandError(
                f"re-reference is {self.rereference!r}: use one of {', '.join(REREFERENCES)}"
            )


@dataclass(frozen=True, slots=True, eq=False)
class Coefficients:
    """Designed filters: arrays and numbers only, so that they can travel in a bundle.

    `fir` (taps,) runs at the input rate before decimation; `sos` (sections, 6) in SciPy's layout and `zi`
    (sections, 2), their steady state for a constant input of 1, run at the decimated rate. `band_hz` and
    `notches_hz` are the effective edges and notches.
    """

    input_rate_hz: float
    decimation: int
    rereference: Rereference
    fir: NDArray[np.float64]
    sos: NDArray[np.float64]
    zi: NDArray[np.float64]
    band_hz: tuple[float, float] | None
    notches_hz: tuple[float, ...]

    def __post_init__(self) -> None:
        shapes = self.fir.shape, self.sos.shape, self.zi.shape
        sections = len(self.sos)
        if self.fir.ndim != 1 or not len(self.fir) or shapes[1:] != ((sections, 6), (sections, 2)):
            raise NervehandError(
                f"filter coefficients have shapes {shapes}: expected (taps,), (sections, 6), (sections, 2)"
            )
        if len(self.fir) % 2 == 0 or not np.array_equal(self.fir, self.fir[::-1]):
            raise NervehandError(
                "the anti-alias taps are not symmetric about a middle one: design them again"
            )
        if len(self.fir) < self.decimation:
            raise NervehandError(
                f"{len(self.fir)} anti-alias taps for a decimation by {self.decimation}: give more"
            )
        if not all(np.isfinite(array).all() for array in (self.fir, self.sos, self.zi)):
            raise NervehandError("filter coefficients are not finite: design them again")

    @property
    def rate_hz(self) -> float:
        """The rate of the conditioned samples."""
        return self.input_rate_hz / self.decimation

    @property
    def decimation_delay_s(self) -> float:
        """The anti-alias filter's delay, the same at every frequency."""
        return (len(self.fir) - 1) / 2 / self.input_rate_hz

    def describe(self) -> str:
        """One line for a person: the effective edges, rates, notches and delay."""
        band = "no band filter" if self.band_hz is None else f"{self.band_hz[0]:g}-{self.band_hz[1]:g} Hz"
        rates = f"{self.input_rate_hz:g} Hz"
        if self.decimation > 1:
            rates += f" -> {self.rate_hz:g} Hz (anti-alias delay {self.decimation_delay_s * 1e3:.2f} ms)"
        notches = ", ".join(f"{frequency:g}" for frequency in self.notches_hz)
        return (
            f"{rates}, {band}, notch {notches + ' Hz' if notches else 'off'}, re-reference {self.rereference}"
        )


def conditioned_names(channel_names: tuple[str, ...], rereference: Rereference) -> tuple[str, ...]:
    """The names of the channels that leave the conditioner: 'a-b' where channel b was subtracted from a."""
    if rereference != "bipolar":
        return channel_names
    return tuple(f"{a}-{b}" for a, b in itertools.pairwise(channel_names))


WORK_VALUES = 1 << 15
"""How many samples are filtered at once: 256 KiB of float64, which stays in a core's cache."""


class Conditioner:
    """Filters a stream, carrying its state; the grid of decimation is the absolute sample index.

    State and sums are float64: in float32 an electrode's offset of 50 mV left 0.2 uV rms of noise behind a
    25 Hz edge at 5 kHz. After a reset the filters start from the steady state of the first sample. A masked
    channel gives 0 and its filters rest; unmasked, it stays masked until the anti-alias filter holds its own
    samples only, and the band-pass then starts from the steady state of its first value. The arrays that come
    back are new at each call.
    """

    def __init__(self, coefficients: Coefficients, n_channels: int) -> None:
        if n_channels < 1 or (coefficients.rereference != "none" and n_channels < 2):
            raise NervehandError(
                f"{n_channels} channels with re-reference {coefficients.rereference!r}: give more channels"
            )
        self.coefficients = coefficients
        self.n_channels_in = n_channels
        self.n_channels = n_channels - (coefficients.rereference == "bipolar")
        taps, groups = len(coefficients.fir), lane_groups(n_channels)
        rows = max(4, WORK_VALUES // (groups * LANES * coefficients.decimation))
        self._fir = np.ascontiguousarray(coefficients.fir)
        self._sections = _pairs(coefficients)
        self._order = REREFERENCES.index(coefficients.rereference)
        self._history = history(taps, coefficients.decimation)
        self._entered = np.zeros((coefficients.decimation, self._history + rows + 1, groups * LANES))
        self._decimated = np.zeros((rows, groups * LANES))
        self._state = np.zeros(groups * len(self._sections) * 2 * LANES)
        self._refill = np.zeros(n_channels, np.int64)
        self._running = np.zeros(n_channels, np.bool_)
        self._next: int | None = None

    def reset(self) -> None:
        """Forget the past: the next block may begin at any index."""
        self._next = None

    def carried(self) -> Carried:
        """Copies of all that it carries from block to block."""
        return packed(self._memory, next=self._next)

    def restore(self, carried: Carried) -> None:
        """Go on from there."""
        self._next = refill_to_next(self._memory, carried)

    @property
    def _memory(self) -> dict[str, NDArray[np.generic]]:
        return {
            "entered": self._entered[:, : self._history + 1],  # the rest is filled before it is read
            "state": self._state, "refill": self._refill, "running": self._running,
        }  # fmt: skip

    def process(
        self, samples: NDArray[np.float32], mask: NDArray[np.bool_], first_sample: int
    ) -> tuple[NDArray[np.float32], NDArray[np.bool_], int]:
        """Condition a block of (n, c) samples in microvolts with their mask (True = masked).

        Returns the conditioned samples (m, c') float32, their mask (m, c') and the index of their first row on
        the decimated grid. Raises where shapes differ from the stream's or a block does not follow the last.
        """
        if samples.ndim != 2 or samples.shape[1] != self.n_channels_in or mask.shape != samples.shape:
            raise StreamMismatchError(
                f"samples {samples.shape} and mask {mask.shape} for a conditioner of {self.n_channels_in} channels:"
                f" both must be (samples, {self.n_channels_in})"
            )
        if samples.dtype != np.float32 or not samples.flags.c_contiguous:
            samples = np.ascontiguousarray(samples, np.float32)
        if not mask.flags.c_contiguous:
            mask = np.ascontiguousarray(mask)
        n, decimation = len(samples), self.coefficients.decimation
        first_index = first_sample // decimation
        count = (first_sample + n) // decimation - first_index
        conditioned = np.empty((count, self.n_channels), np.float32)
        masked = np.empty((count, self.n_channels), np.bool_)
        if n == 0:
            return conditioned, masked, first_index
        if self._next is None:
            self._running[:] = False
            self._refill[:] = 0
            self._entered[:, : self._history + 1, : self.n_channels_in] = np.where(mask[0], 0.0, samples[0])
        elif first_sample != self._next:
            raise NervehandError(
                f"a block begins at sample {first_sample}, the last one ended before {self._next}: reset after a gap"
            )
        self._next = first_sample + n
        condition(
            samples, mask, first_sample % decimation, self._order, self._fir, self._sections, self._entered,
            self._decimated, self._state, self._refill, self._running, conditioned, masked,
        )  # fmt: skip
        return conditioned, masked, first_index


def _pairs(coefficients: Coefficients) -> NDArray[np.float64]:
    """Sections with their steady states (sections, 8), made even in number by one that passes all."""
    rows = [coefficients.sos / coefficients.sos[:, 3:4], coefficients.zi]
    sections = np.concatenate(rows, axis=1)
    if len(sections) % 2:
        sections = np.concatenate([sections, [[1.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0]]])
    return np.ascontiguousarray(sections)
