"""What a stream is like, from its samples and their times of arrival: pure functions, each with a known answer.

Microvolts, hertz, seconds; samples are (n_samples, n_channels). A stretch is a run of samples without a gap.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from decoder.health_settings import FLAT_S, FLAT_SAMPLES, RAIL_FRACTION

MAINS_HZ = (50.0, 60.0)
HOST_CLOCK_PPM = 100.0
"""How far a computer's clock, and a device's, may be off by themselves: quartz, as data sheets state it."""
MAD_TO_STD = 1.4826
"""Median absolute deviation of a normal distribution to its standard deviation (Rousseeuw and Croux 1993)."""

_WINDOW_S = 1.0
_SHORTEST_WINDOW_S = 0.5  # leaves 2 Hz between bins: the mains, its neighbours and its harmonics stay apart
_NEIGHBOURS = (3, 4, 5)  # bins on either side: beyond the main lobe of a Hann window, which ends at 2
_HIGHEST_FRACTION = 0.45  # of the rate: above it an anti-alias filter has begun
_EDGE_S = 0.05
_AT_A_TIME = 16  # channels


@dataclass(frozen=True, slots=True)
class RateEstimate:
    """The rate by the host's clock, and how far it may be off; how late blocks came, against the earliest."""

    rate_hz: float
    uncertainty_hz: float
    duration_s: float
    lateness_p50_ms: float
    lateness_p99_ms: float

    def agrees_with(self, nominal_hz: float) -> bool:
        """Whether the nominal rate is within the uncertainty."""
        return abs(self.rate_hz - nominal_hz) <= self.uncertainty_hz


def measure_rate(ends: NDArray[np.int64], arrival_ns: NDArray[np.int64]) -> RateEstimate | None:
    """The rate of a stream whose k blocks ended before sample `ends` (k,) and arrived at `arrival_ns` (k,).

    The median of the slopes between blocks half the run apart (a Theil-Sen estimator; Sen, J. Am. Stat. Assoc.
    1968), which a host that stalls now and then does not move. Its uncertainty is a bound, not a standard error:
    the spread of the arrivals about that line (10th to 90th percentile) at either end of a run half as long, and
    HOST_CLOCK_PPM. None with fewer than 8 blocks, or where they did not come one after the other.
    """
    half = len(ends) // 2
    if half < 4:
        return None
    seconds = (arrival_ns - arrival_ns[0]) / 1e9
    samples = (ends - ends[0]).astype(np.float64)
    took = seconds[half:] - seconds[:-half]
    if np.any(took <= 0) or samples[-1] <= 0:
        return None
    rate_hz = float(np.median((samples[half:] - samples[:-half]) / took))
    if not rate_hz > 0:
        return None
    late = seconds - samples / rate_hz
    spread_s = float(np.subtract(*np.percentile(late, (90, 10))))
    uncertainty_hz = rate_hz * (spread_s / float(np.median(took)) + HOST_CLOCK_PPM * 1e-6)
    p50, p99 = (float(p) * 1e3 for p in np.percentile(late - late.min(), (50, 99)))
    return RateEstimate(rate_hz, uncertainty_hz, float(seconds[-1]), p50, p99)


def railed(
    samples: NDArray[np.generic], full_scale_uv: float | None, scale_uv: float = 1.0
) -> NDArray[np.bool_]:
    """Which samples (n, c) are at the converter's limit: `full_scale_uv`, or either end of an int16."""
    limit = np.inf if full_scale_uv is None else RAIL_FRACTION * full_scale_uv / scale_uv
    if samples.dtype == np.int16:
        limit = min(limit, 32767.0)
    return np.asarray(np.abs(samples.astype(np.float64)) >= limit)


def flat_samples(samples: NDArray[np.generic], rate_hz: float) -> NDArray[np.int64]:
    """How many samples of each channel (c,) lie in stretches of one value of FLAT_S and FLAT_SAMPLES at least."""
    shortest = max(FLAT_SAMPLES, round(FLAT_S * rate_hz))
    n, n_channels = samples.shape
    counts = np.zeros(n_channels, np.int64)
    if n < shortest:
        return counts
    changed = samples[1:] != samples[:-1]
    for c in np.flatnonzero(changed.sum(0) < n - shortest + 1):  # others have no room for one
        edges = np.concatenate(([0], np.flatnonzero(changed[:, c]) + 1, [n]))
        lengths = np.diff(edges)
        counts[c] = lengths[lengths >= shortest].sum()
    return counts


def band_noise(
    stretches: Sequence[NDArray[np.float32]], rate_hz: float, band_hz: tuple[float, float] | None
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Root mean square and robust standard deviation (MAD_TO_STD times the MAD) of each channel in the band.

    Spikes raise the first and hardly the second, which is the noise they stand out of (Quian Quiroga et al.,
    Neural Computation 2004). Filtered forwards and backwards with a Butterworth band-pass of order 2; the ends of
    each stretch are left out. NaN where no stretch is long enough. `band_hz` None: without the mean, unfiltered.
    """
    n_channels = stretches[0].shape[1] if stretches else 0
    edge = 0
    if band_hz is not None:
        edge = round(max(_EDGE_S, 1.0 / band_hz[0]) * rate_hz)
    kept = [stretch for stretch in stretches if len(stretch) > 4 * edge + 1]
    if not kept:
        return np.full(n_channels, np.nan), np.full(n_channels, np.nan)
    values = np.concatenate([_filtered(stretch, rate_hz, band_hz, edge) for stretch in kept])
    rms = np.sqrt(np.mean(values**2, axis=0))
    return rms, MAD_TO_STD * _medians(np.abs(values - _medians(values)))


def _medians(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """The median of each column; thrice as fast along memory as across it."""
    return np.asarray(np.median(np.ascontiguousarray(values.T), axis=1))


def _filtered(
    samples: NDArray[np.float32], rate_hz: float, band_hz: tuple[float, float] | None, edge: int
) -> NDArray[np.float64]:
    clean = _finite(samples)
    clean -= clean.mean(0)
    if band_hz is None:
        return clean
    from scipy import signal

    high = min(band_hz[1], 0.49 * rate_hz)
    sos = signal.butter(2, (band_hz[0], high), "bandpass", fs=rate_hz, output="sos")
    found: NDArray[np.float64] = signal.sosfiltfilt(sos, clean, axis=0)
    return found[edge : len(found) - edge]


def _finite(samples: NDArray[np.float32]) -> NDArray[np.float64]:
    """A copy in double precision, the channel's median where a value is not finite."""
    clean = samples.astype(np.float64)
    bad = ~np.isfinite(clean)
    for c in np.flatnonzero(bad.any(0)):
        good = clean[~bad[:, c], c]
        clean[bad[:, c], c] = np.median(good) if len(good) else 0.0
    return clean


@dataclass(frozen=True, slots=True)
class Mains:
    """The mains in each channel (c,), of one frequency.

    `amplitude_uv` is the peak of the fundamental; `share` what it and its harmonics have of the power of all that
    varies (0..1); `floor_uv` the amplitude that the noise beside the line alone would show: what is not well above
    is nothing.
    """

    frequency_hz: float
    amplitude_uv: NDArray[np.float64]
    share: NDArray[np.float64]
    floor_uv: NDArray[np.float64]


def measure_mains(
    stretches: Sequence[NDArray[np.float32]], rate_hz: float, frequencies_hz: Sequence[float] = MAINS_HZ
) -> tuple[Mains, ...]:
    """The mains of each frequency, from the mean power spectrum of windows of a second.

    Hann-windowed; the power beside each line (3 to 5 bins off) is taken off, so that broadband noise is not
    counted. Harmonics up to 0.45 of the rate. Empty where no stretch holds a window of half a second, or the rate
    is too low for the fundamental.
    """
    longest = max((len(stretch) for stretch in stretches), default=0)
    window_s = _WINDOW_S if longest >= _WINDOW_S * rate_hz else _SHORTEST_WINDOW_S
    n = round(window_s * rate_hz)
    if not stretches or longest < n or n < 2:
        return ()
    power, n_windows = _power_spectrum(stretches, n)
    weights = np.hanning(n + 1)[:-1]
    varying = 2 * power[2:].sum(0) / (n * np.sum(weights**2)) / n_windows
    found = []
    for frequency_hz in frequencies_hz:
        if frequency_hz >= _HIGHEST_FRACTION * rate_hz:
            continue
        count = int(_HIGHEST_FRACTION * rate_hz / frequency_hz)
        lines = [round(k * frequency_hz * n / rate_hz) for k in range(1, count + 1)]
        squared = [_line(power, line, n_windows, weights) for line in lines]
        harmonic_power = sum(line for line, _ in squared) / 2
        share = np.divide(harmonic_power, varying, out=np.zeros_like(varying), where=varying > 0)
        fundamental, floor = squared[0]
        found.append(Mains(frequency_hz, np.sqrt(fundamental), np.minimum(share, 1.0), np.sqrt(floor)))
    return tuple(found)


def _power_spectrum(stretches: Sequence[NDArray[np.float32]], n: int) -> tuple[NDArray[np.float64], int]:
    """Sum over windows of n samples of abs(rfft(window * hann))**2, (bins, c), and how many windows there were."""
    n_channels = stretches[0].shape[1]
    weights = np.hanning(n + 1)[:-1, None]
    total = np.zeros((n // 2 + 1, n_channels))
    windows = [stretch[a : a + n] for stretch in stretches for a in range(0, len(stretch) - n + 1, n)]
    for window in windows:
        clean = _finite(window)
        clean -= clean.mean(0)
        total += np.abs(np.fft.rfft(clean * weights, axis=0)) ** 2
    return total, len(windows)


def _line(
    power: NDArray[np.float64], line: int, n_windows: int, weights: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Squared amplitude (c,) of a line at a bin without what lies beside it, and of what lies there."""
    to_squared = 4 / np.sum(weights) ** 2 / n_windows
    beside = [
        line + sign * off for off in _NEIGHBOURS for sign in (-1, 1) if 1 < line + sign * off < len(power)
    ]
    floor = power[beside].mean(0) if beside else np.zeros(power.shape[1])
    return np.maximum(power[line] - floor, 0.0) * to_squared, floor * to_squared


def stronger_mains(mains: Sequence[Mains], declared_hz: float) -> float | None:
    """Another mains frequency that is clearly the stronger: twice the declared one's amplitude in the median channel,
    and ten times the noise's power. None where the declared one is right, or neither can be seen."""
    by_frequency = {found.frequency_hz: found for found in mains}
    declared = by_frequency.get(declared_hz)
    declared_uv = 0.0 if declared is None else float(np.median(declared.amplitude_uv))
    for frequency_hz, found in by_frequency.items():
        amplitude_uv, floor_uv = float(np.median(found.amplitude_uv)), float(np.median(found.floor_uv))
        is_seen = amplitude_uv**2 > 10 * floor_uv**2 and amplitude_uv > 0
        if frequency_hz != declared_hz and is_seen and amplitude_uv > 2 * declared_uv:
            return frequency_hz
    return None


@dataclass(frozen=True, slots=True)
class ChannelFigures:
    """What each channel (c,) is like: microvolts, and counts of the `n_samples` looked at.

    `mains` has an entry per frequency that could be told; `noise_uv` and `robust_noise_uv` are NaN where there was
    too little to filter.
    """

    n_samples: int
    offset_uv: NDArray[np.float64]
    noise_uv: NDArray[np.float64]
    robust_noise_uv: NDArray[np.float64]
    mains: tuple[Mains, ...]
    railed: NDArray[np.int64]
    flat: NDArray[np.int64]
    not_finite: NDArray[np.int64]


def channel_figures(
    stretches: Sequence[NDArray[np.generic]],
    scale_uv: float,
    rate_hz: float,
    full_scale_uv: float | None,
    band_hz: tuple[float, float] | None,
    mains_hz: Sequence[float] = MAINS_HZ,
) -> ChannelFigures:
    """Every figure of every channel; `stretches` (n, c) are counts of `scale_uv` microvolts. A few channels at a time,
    so that thousands of them need little memory."""
    groups = []
    for first in range(0, stretches[0].shape[1], _AT_A_TIME):
        raw = [stretch[:, first : first + _AT_A_TIME] for stretch in stretches]
        microvolts = [part.astype(np.float32) * np.float32(scale_uv) for part in raw]
        noise, robust = band_noise(microvolts, rate_hz, band_hz)
        groups.append(
            ChannelFigures(
                n_samples=sum(len(part) for part in raw),
                offset_uv=_medians(np.concatenate([_finite(part) for part in microvolts])),
                noise_uv=noise,
                robust_noise_uv=robust,
                mains=measure_mains(microvolts, rate_hz, mains_hz),
                railed=_total([railed(part, full_scale_uv, scale_uv).sum(0) for part in raw]),
                flat=_total([flat_samples(part, rate_hz) for part in raw]),
                not_finite=_total([(~np.isfinite(part)).sum(0) for part in microvolts]),
            )
        )
    return _joined(groups)


def _total(counts: list[NDArray[np.int64]]) -> NDArray[np.int64]:
    return np.asarray(np.sum(counts, axis=0), np.int64)


def _joined(groups: list[ChannelFigures]) -> ChannelFigures:
    mains = tuple(
        Mains(
            same[0].frequency_hz,
            np.concatenate([found.amplitude_uv for found in same]),
            np.concatenate([found.share for found in same]),
            np.concatenate([found.floor_uv for found in same]),
        )
        for same in zip(*(group.mains for group in groups), strict=True)
    )
    return ChannelFigures(
        n_samples=groups[0].n_samples,
        offset_uv=np.concatenate([group.offset_uv for group in groups]),
        noise_uv=np.concatenate([group.noise_uv for group in groups]),
        robust_noise_uv=np.concatenate([group.robust_noise_uv for group in groups]),
        mains=mains,
        railed=np.concatenate([group.railed for group in groups]),
        flat=np.concatenate([group.flat for group in groups]),
        not_finite=np.concatenate([group.not_finite for group in groups]),
    )
