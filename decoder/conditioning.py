"""Decimation, re-referencing, band-pass and notch: causal, stateful, the same bits for any blocks."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from decoder.kernels import LANES, compiled, lane_groups
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
    25 Hz edge at 5 kHz, and float64 costs a few microseconds a hop. After a reset the filters start from the steady state of the first sample. A masked channel gives 0 and its filters rest;
    unmasked, it stays masked until the anti-alias filter holds its own samples only, and the band-pass then
    starts from the steady state of its first value. The arrays that come back are new at each call.
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
        self._history = _history(taps, coefficients.decimation)
        self._entered = np.zeros((coefficients.decimation, self._history + rows + 1, groups * LANES))
        self._decimated = np.zeros((rows, groups * LANES))
        self._state = np.zeros(groups * len(self._sections) * 2 * LANES)
        self._refill = np.zeros(n_channels, np.int64)
        self._running = np.zeros(n_channels, np.bool_)
        self._next: int | None = None

    def reset(self) -> None:
        """Forget the past: the next block may begin at any index."""
        self._next = None

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
        _condition(
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


@compiled
def _condition(
    samples: NDArray[np.float32],
    mask: NDArray[np.bool_],
    phase: int,
    rereference: int,
    fir: NDArray[np.float64],
    sections: NDArray[np.float64],
    entered: NDArray[np.float64],
    decimated: NDArray[np.float64],
    state: NDArray[np.float64],
    refill: NDArray[np.int64],
    running: NDArray[np.bool_],
    conditioned: NDArray[np.float32],
    masked: NDArray[np.bool_],
) -> None:
    """Condition a block piece by piece.

    `phase` is the first sample's index modulo the decimation. `entered` (decimation, groups, width) holds input
    samples by phase, channels padded to LANES: first what the anti-alias filter still needs, then a group per
    decimated row. `refill` counts the samples until a channel's anti-alias filter holds no masked one;
    `running` are the channels whose band-pass has a state.
    """
    n, n_in = samples.shape
    n_out = conditioned.shape[1]
    decimation, history = entered.shape[0], _history(len(fir), entered.shape[0])
    room = (entered.shape[1] - history - 1) * decimation
    emitted, begin, offset = 0, 0, phase
    while begin < n:
        rows = min(n - begin, room - offset)
        count = (offset + rows) // decimation
        raw, judged = samples[begin : begin + rows], mask[begin : begin + rows]
        gone, out = masked[emitted : emitted + count], decimated[:count]
        _enter(raw, judged, entered, history, offset)
        dirty = False
        for t in range(rows):
            for c in range(n_in):
                dirty |= judged[t, c]
        for c in range(n_in):
            dirty |= refill[c] > 0
        if dirty:
            _mark(judged, offset, decimation, len(fir), rereference == 2, refill, gone)
        else:
            for m in range(count):
                for c in range(n_out):
                    gone[m, c] = False
        _decimate(entered, fir, history, out)
        if count > 0:
            for p in range(decimation):
                for row in range(history + 1):
                    for c in range(entered.shape[2]):
                        entered[p, row, c] = entered[p, row + count, c]
        if rereference > 0:
            _rereference(out, gone, rereference)
        for c in range(n_out):
            dirty |= not running[c]
        _filter(out, sections, state, gone, running, not dirty)
        _leave(out, conditioned[emitted : emitted + count])
        emitted += count
        begin += rows
        offset = (offset + rows) % decimation


@compiled
def _history(taps: int, decimation: int) -> int:
    """How many groups before its own an output reaches back to."""
    return (taps - 1) // decimation


@compiled
def _enter(
    raw: NDArray[np.float32],
    judged: NDArray[np.bool_],
    entered: NDArray[np.float64],
    history: int,
    offset: int,
) -> None:
    """Sort the samples by phase; a masked one enters as 0."""
    decimation = entered.shape[0]
    for t in range(len(raw)):
        row = entered[(offset + t) % decimation, history + (offset + t) // decimation]
        for c in range(raw.shape[1]):
            row[c] = 0.0 if judged[t, c] else raw[t, c]


@compiled
def _leave(out: NDArray[np.float64], conditioned: NDArray[np.float32]) -> None:
    if out.shape[1] == conditioned.shape[1]:
        flat, target = out.reshape(-1), conditioned.reshape(-1)
        for i in range(len(flat)):
            target[i] = flat[i]
    else:
        for m in range(len(out)):
            for c in range(conditioned.shape[1]):
                conditioned[m, c] = out[m, c]


@compiled
def _mark(
    judged: NDArray[np.bool_],
    offset: int,
    decimation: int,
    taps: int,
    bipolar: bool,
    refill: NDArray[np.int64],
    gone: NDArray[np.bool_],
) -> None:
    """Count down the anti-alias filters that fill again, and mark the decimated rows."""
    m = 0
    for t in range(len(judged)):
        for c in range(judged.shape[1]):
            if judged[t, c]:
                refill[c] = taps
            elif refill[c] > 0:
                refill[c] -= 1
        if (offset + t + 1) % decimation == 0:
            for c in range(gone.shape[1]):
                gone[m, c] = refill[c] > 0 or (bipolar and refill[c + 1] > 0)
            m += 1


@compiled
def _decimate(
    entered: NDArray[np.float64], fir: NDArray[np.float64], history: int, out: NDArray[np.float64]
) -> None:
    """The symmetric anti-alias filter, y_j = sum_k fir_k x_((j + 1) * decimation - 1 - k), one sum per output value.

    By phase, the inputs of consecutive outputs are neighbours: each tap is one long loop. Three pairs of taps
    are taken at a time, which spares loads and stores of the sums.
    """
    decimation, groups, width = entered.shape
    flat, y = entered.reshape(-1), out.reshape(-1)
    n, last = len(y), len(fir) - 1
    half = last // 2
    middle = _tap(flat, half, decimation, groups, width, history, n)
    f0, k = fir[half], 0
    for i in range(n):
        y[i] = f0 * middle[i]
    while k + 3 <= half:
        f1, f2, f3 = fir[k], fir[k + 1], fir[k + 2]
        x1 = _tap(flat, k, decimation, groups, width, history, n)
        x2 = _tap(flat, k + 1, decimation, groups, width, history, n)
        x3 = _tap(flat, k + 2, decimation, groups, width, history, n)
        z1 = _tap(flat, last - k, decimation, groups, width, history, n)
        z2 = _tap(flat, last - k - 1, decimation, groups, width, history, n)
        z3 = _tap(flat, last - k - 2, decimation, groups, width, history, n)
        for i in range(n):
            y[i] += f1 * (x1[i] + z1[i]) + f2 * (x2[i] + z2[i]) + f3 * (x3[i] + z3[i])
        k += 3
    while k < half:
        f1 = fir[k]
        x1 = _tap(flat, k, decimation, groups, width, history, n)
        z1 = _tap(flat, last - k, decimation, groups, width, history, n)
        for i in range(n):
            y[i] += f1 * (x1[i] + z1[i])
        k += 1


@compiled
def _tap(
    flat: NDArray[np.float64], k: int, decimation: int, groups: int, width: int, history: int, n: int
) -> NDArray[np.float64]:
    """The inputs that tap k multiplies, for consecutive outputs."""
    at = ((decimation - 1 - k % decimation) * groups + history - k // decimation) * width
    return flat[at : at + n]


@compiled
def _rereference(rows: NDArray[np.float64], gone: NDArray[np.bool_], rereference: int) -> None:
    """In place: minus the mean over the channels that are there (1), or minus the next channel (2)."""
    n_out = gone.shape[1]
    for m in range(len(rows)):
        row = rows[m]
        if rereference == 2:
            for c in range(n_out):
                row[c] = 0.0 if gone[m, c] else row[c] - row[c + 1]
            row[n_out] = 0.0
            continue
        total, present = 0.0, 0
        for c in range(n_out):
            if not gone[m, c]:
                total += row[c]
                present += 1
        mean = total / max(present, 1)
        for c in range(n_out):
            row[c] = 0.0 if gone[m, c] else row[c] - mean


@compiled
def _filter(
    rows: NDArray[np.float64],
    sections: NDArray[np.float64],
    state: NDArray[np.float64],
    gone: NDArray[np.bool_],
    running: NDArray[np.bool_],
    steady: bool,
) -> None:
    """The sections over spans of rows in which no channel starts or stops; `steady`: the rows are one such span."""
    n_out = gone.shape[1]
    n_sections = len(sections)
    begin = 0
    while begin < len(rows):
        end = len(rows)
        if not steady:
            for c in range(n_out):
                present = not gone[begin, c]
                if present != running[c]:
                    running[c] = present
                    value = rows[begin, c] if present else 0.0
                    at = (c // LANES) * n_sections * 2 * LANES + c % LANES
                    for s in range(n_sections):
                        state[at + 2 * s * LANES] = sections[s, 6] * value
                        state[at + (2 * s + 1) * LANES] = sections[s, 7] * value
            end = begin + 1
            while end < len(rows):
                same = True
                for c in range(n_out):
                    same &= gone[end, c] == gone[begin, c]
                if not same:
                    break
                end += 1
            for m in range(begin, end):
                for c in range(n_out):
                    rows[m, c] = 0.0 if gone[begin, c] else rows[m, c]
        _run_sections(rows[begin:end], sections, state)
        begin = end


@compiled
def _run_sections(
    rows: NDArray[np.float64], sections: NDArray[np.float64], state: NDArray[np.float64]
) -> None:
    """Transposed direct form II, in place, two sections at a time: each is b0 b1 b2 1 a1 a2 and its zi.

    `state` is flat (groups, sections, 2, LANES).
    """
    n_sections, width = len(sections), rows.shape[1]
    flat = rows.reshape(-1)
    for base in range(0, width, LANES):
        for s in range(0, n_sections, 2):
            at = (base * n_sections + s * LANES) * 2
            own = state[at : at + 4 * LANES]
            b0, b1, b2, a1, a2 = (
                sections[s, 0],
                sections[s, 1],
                sections[s, 2],
                sections[s, 4],
                sections[s, 5],
            )
            d0, d1, d2 = sections[s + 1, 0], sections[s + 1, 1], sections[s + 1, 2]
            c1, c2 = sections[s + 1, 4], sections[s + 1, 5]
            for m in range(len(rows)):
                row = flat[m * width + base : m * width + base + LANES]
                for c in range(LANES):
                    x = row[c]
                    y = b0 * x + own[c]
                    own[c] = b1 * x - a1 * y + own[LANES + c]
                    own[LANES + c] = b2 * x - a2 * y
                    z = d0 * y + own[2 * LANES + c]
                    own[2 * LANES + c] = d1 * y - c1 * z + own[3 * LANES + c]
                    own[3 * LANES + c] = d2 * y - c2 * z
                    row[c] = z
