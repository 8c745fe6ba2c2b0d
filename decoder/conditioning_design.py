"""From settings to coefficients: SciPy's filter design, used where a bundle is made and nowhere else.

SciPy is imported inside the functions: a decoder that runs from a bundle never loads scipy.signal.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from decoder.conditioning import Coefficients, ConditioningSettings
from firmware_bridge.errors import NervehandError
from firmware_bridge.stream import StreamInfo

HIGHEST_FRACTION = 0.45
"""Of the decimated rate: the highest band edge and notch that are taken."""
DECIMATED_RATE_HZ = 5000.0
"""By default the rate is divided by the largest whole number that leaves at least this much."""
DEFAULT_BAND_HZ = (25.0, 600.0)
"""Of muscle, and of the published system (arXiv 2203.08648)."""
SPIKE_RATE_HZ = 10_000.0
"""What is left of a nerve's rate: half of it holds most of a spike's energy at an intrafascicular contact."""
SPIKE_LOW_HZ = 300.0
"""Lower edge for a nerve: above the muscles around it, where the axons are (docs/results.md measures both bands)."""
SPIKE_HIGH_HZ = 1500.0
"""A nerve's stream must reach this far for the spikes' band to be worth taking."""
ALIAS_ATTENUATION_DB = 70.0
"""Asked of the Kaiser window; at least 60 dB is what remains wherever a frequency would fold into the band."""


def default_settings(info: StreamInfo) -> ConditioningSettings:
    """By kind of stream: a nerve's spikes, 300 Hz to 0.45 of a rate of 10 kHz; what muscles give otherwise.

    `calibration.front_end` begins lower for features that take both from one stream (`decoder.features.two_bands`).
    """
    if info.kind == "nerve":
        decimation = max(1, int(info.rate_hz // SPIKE_RATE_HZ))
        high = HIGHEST_FRACTION * info.rate_hz / decimation
        if high >= SPIKE_HIGH_HZ:
            return ConditioningSettings(decimation=decimation, band_hz=(SPIKE_LOW_HZ, high))
    return paper_settings(info)


def paper_settings(info: StreamInfo) -> ConditioningSettings:
    """25 to 600 Hz, the upper edge at most 0.45 of the decimated rate; an envelope passes as it is."""
    if info.kind == "envelope":
        return ConditioningSettings(decimation=1, band_hz=None)
    decimation = max(1, int(info.rate_hz // DECIMATED_RATE_HZ))
    low, high = DEFAULT_BAND_HZ
    high = min(high, HIGHEST_FRACTION * info.rate_hz / decimation)
    if high <= low:
        raise NervehandError(
            f"{info.rate_hz:g} Hz leaves no band above {low:g} Hz for a {info.kind} stream:"
            " give a band of your own, or declare the stream an envelope"
        )
    return ConditioningSettings(decimation=decimation, band_hz=(low, high))


def design(settings: ConditioningSettings, info: StreamInfo) -> Coefficients:
    """Compute the filters for a stream.

    The band-pass is scipy.signal.butter(order, band, 'bandpass') in second-order sections (twice `order`
    poles), each notch scipy.signal.iirnotch. The anti-alias filter is a linear-phase Kaiser-windowed FIR: flat
    to the band's upper edge (without a band: 0.4 of the decimated rate), 60 dB down from where frequencies
    fold into it. An elliptic filter of order 3 would halve its 0.6 ms of delay at 10 kHz, but runs at the input
    rate and never quite forgets a masked sample.

    Raises NervehandError where the settings cannot be had at this rate.
    """
    from scipy import signal

    if info.kind == "envelope" and settings != ConditioningSettings(decimation=1, band_hz=None):
        raise NervehandError(
            f"an envelope passes unfiltered, but the conditioning asks for {settings}: use decimation 1,"
            " no band, no notch and no re-referencing"
        )
    if settings.rereference != "none" and info.n_channels < 2:
        raise NervehandError(
            f"re-reference {settings.rereference!r} needs 2 channels or more, the stream has {info.n_channels}:"
            " use 'none'"
        )
    rate = info.rate_hz / settings.decimation
    highest = HIGHEST_FRACTION * rate
    sections: list[NDArray[np.float64]] = []
    if settings.band_hz is not None:
        low, high = settings.band_hz
        # The default edge is this very product: forgive its rounding, nothing more.
        if high > highest * (1 + 1e-12):
            raise NervehandError(
                f"the band's upper edge is {high:g} Hz, above {highest:g} Hz (0.45 of the {rate:g} Hz after"
                " decimation): lower the edge or decimate less"
            )
        sections.append(signal.butter(settings.order, (low, high), "bandpass", fs=rate, output="sos"))
    notches = _notch_frequencies(settings, highest)
    for frequency in notches:
        b, a = signal.iirnotch(frequency, settings.notch_q, fs=rate)
        sections.append(np.concatenate([b, a])[None])
    sos = np.concatenate(sections) if sections else np.zeros((0, 6))
    fir = _anti_alias(settings, info.rate_hz)
    return Coefficients(
        input_rate_hz=info.rate_hz,
        decimation=settings.decimation,
        rereference=settings.rereference,
        fir=fir,
        sos=sos,
        zi=signal.sosfilt_zi(sos) if len(sos) else np.zeros((0, 2)),
        band_hz=settings.band_hz,
        notches_hz=notches,
    )


def _notch_frequencies(settings: ConditioningSettings, highest: float) -> tuple[float, ...]:
    if settings.notch_hz is None:
        return ()
    if settings.notch_hz >= highest:
        raise NervehandError(
            f"the notch is at {settings.notch_hz:g} Hz, not below {highest:g} Hz (0.45 of the rate after decimation):"
            " leave it out or decimate less"
        )
    harmonics = (settings.notch_hz * k for k in range(1, settings.notch_harmonics + 1))
    return tuple(frequency for frequency in harmonics if frequency < highest)


def _anti_alias(settings: ConditioningSettings, input_rate_hz: float) -> NDArray[np.float64]:
    """Odd-length low-pass with gain 1 at zero frequency; a single 1 where nothing is decimated."""
    from scipy import signal

    if settings.decimation == 1:
        return np.ones(1)
    rate = input_rate_hz / settings.decimation
    passed = settings.band_hz[1] if settings.band_hz is not None else 0.4 * rate
    stopped = rate - passed
    n_taps, beta = signal.kaiserord(ALIAS_ATTENUATION_DB, (stopped - passed) / (input_rate_hz / 2))
    # At least as long as the decimation: a masked sample then always lies within the filter of its group.
    n_taps = max(int(n_taps), settings.decimation) | 1
    taps = signal.firwin(n_taps, (passed + stopped) / 2, window=("kaiser", beta), fs=input_rate_hz)
    taps = (taps + taps[::-1]) / 2
    return np.asarray(taps / taps.sum(), np.float64)
