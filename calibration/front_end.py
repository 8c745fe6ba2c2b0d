"""The default front end by kind of stream: what conditioning and which features a new decoder gets."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from decoder.conditioning import ConditioningSettings
from decoder.conditioning_design import SPIKE_LOW_HZ, default_settings, paper_settings
from decoder.features import FeatureSettings
from decoder.normalisation import Compression
from firmware_bridge.errors import NervehandError
from firmware_bridge.stream import StreamInfo

Band = Literal["default", "paper"]
BANDS: tuple[Band, ...] = ("default", "paper")
HOP_S = 0.02
WINDOW_S = 0.1
LOW_S = 0.002
"""Of the low band beside a nerve's spikes: the mean over so long, 3 dB down at 220 Hz."""
LOW_BAND_HZ = 50.0
"""Where it begins: muscles give most from there to 300 Hz, wander and movement less."""
MOST_PERIODS, NEAR = 3, 0.002
"""Of the mains, that may pass between two values whose difference is free of them; more only where that comes nearer to
a whole number by this part of a period, which leaves a hundredth of the mains."""
AVERAGED_FROM = 8
"""Channels: the average of fewer would take too much of each one's own signal away."""


@dataclass(frozen=True, slots=True)
class FrontEndChoice:
    """What is done to a kind of stream before the network."""

    conditioning: ConditioningSettings
    feature_set: str
    settings: FeatureSettings
    compression: dict[str, Compression]

    def compress(self, feature_names: tuple[str, ...]) -> tuple[Compression, ...]:
        """The compression of each column 'channel/feature'."""
        return tuple(self.compression.get(name.rsplit("/", 1)[1], "none") for name in feature_names)


def band_named(name: str) -> Band:
    """The band of that name; NervehandError where there is none."""
    if name not in BANDS:
        raise NervehandError(f"band {name!r} is not known: use {' or '.join(BANDS)}")
    return name


def default_front_end(info: StreamInfo, hop_s: float = HOP_S, band: Band = "default") -> FrontEndChoice:
    """The paper's features for raw streams, of a nerve with the power of the muscles around it beside them; an
    envelope's root and mean over the hop.

    `band` "paper" takes 25 to 600 Hz of a nerve too, as published; "default" takes its spikes, and the power below.

    Up to 600 Hz the average of all electrodes is subtracted: interference that they share differs from day to day, and
    the average of many holds little else (Ludwig et al., J Neurophysiol 2009). A nerve's spikes are left as they are:
    mains and movement lie below their band, and an average would carry what one bad contact does to all the others.
    """
    conditioning = default_settings(info) if band == "default" else paper_settings(info)
    is_of_spikes = conditioning.band_hz is not None and conditioning.band_hz[0] >= SPIKE_LOW_HZ
    if info.kind != "envelope" and info.n_channels >= AVERAGED_FROM and not is_of_spikes:
        conditioning = replace(conditioning, rereference="average")
    rate_hz = info.rate_hz / conditioning.decimation
    hop = max(1, round(hop_s * rate_hz))
    if info.kind == "envelope":
        return FrontEndChoice(conditioning, "envelope", FeatureSettings(hop, hop, ("root", "mean")), {})
    window = max(round(WINDOW_S * rate_hz), hop)
    if is_of_spikes and conditioning.band_hz is not None:
        conditioning = replace(conditioning, band_hz=(LOW_BAND_HZ, conditioning.band_hz[1]))
        low, mains = low_band(rate_hz, info.mains_hz)
        settings = FeatureSettings(
            window, hop, low_samples=low, mains_samples=mains, groups=nerve_groups(info.electrodes)
        )
        return FrontEndChoice(conditioning, "two_bands", settings, TIME_DOMAIN_COMPRESSION)
    return FrontEndChoice(conditioning, "time_domain", FeatureSettings(window, hop), TIME_DOMAIN_COMPRESSION)


def nerve_groups(electrodes: tuple[str, ...]) -> tuple[int, ...]:
    """The number of each channel's nerve, from names like "median/03"; empty where no name tells one."""
    if not all("/" in name for name in electrodes):
        return ()
    nerves = [name.rsplit("/", 1)[0] for name in electrodes]
    return tuple(sorted(set(nerves)).index(nerve) for nerve in nerves)


def low_band(rate_hz: float, mains_hz: float) -> tuple[int, int]:
    """Samples to a value of the low band, about LOW_S, and values to a whole number of mains periods, or nearly."""
    wanted = max(4, round(LOW_S * rate_hz))
    if not mains_hz > 0:
        return wanted, 0
    best, found = np.inf, (wanted, 0)
    for periods in range(1, MOST_PERIODS + 1):
        between = periods * rate_hz / mains_hz  # samples
        for low in sorted(range(max(wanted * 3 // 4, 4), wanted * 5 // 4 + 1), key=lambda n: abs(n - wanted)):
            values = round(between / low)
            off = abs(values * low - between) * mains_hz / rate_hz  # of a period
            if off < best - NEAR:
                best, found = off, (low, values)
    return found


TIME_DOMAIN_COMPRESSION: dict[str, Compression] = {
    "waveform_length": "log",
    "mean_absolute": "log",
    "mean_square": "log",
    "root_mean_square": "log",
    "v_order_3": "root",
    "log_detector": "log",
    "difference_absolute_std": "log",
    "mean_absolute_slope": "root",
    "weighted_mean_absolute": "log",
    "low_square": "log",
    "low_common": "log",
}
"""Amplitudes are heavy-tailed: their logarithm (signed root where they have a sign) is what is standardised."""
