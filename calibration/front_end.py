"""The default front end by kind of stream: what conditioning and which features a new decoder gets."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

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
    """The paper's features for raw streams; an envelope's root and mean over the hop.

    `band` "paper" takes 25 to 600 Hz of a nerve too, as published; "default" takes its spikes.

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
    return FrontEndChoice(conditioning, "time_domain", FeatureSettings(window, hop), TIME_DOMAIN_COMPRESSION)


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
}
"""Amplitudes are heavy-tailed: their logarithm (signed root where they have a sign) is what is standardised."""
