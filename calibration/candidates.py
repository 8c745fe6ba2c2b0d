"""Front ends to choose among for nerve, and features of several of them side by side.

An intrafascicular spike has most of its energy above 1 kHz, muscle below 600 Hz: which band tells the most is
measured, not assumed (`calibration.cohort`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import reduce

import numpy as np

from calibration.datasets import FeatureStream, session_stream
from calibration.front_end import HOP_S, WINDOW_S, FrontEndChoice, default_front_end
from decoder.chain import FrontEnd
from decoder.conditioning_design import DEFAULT_BAND_HZ, HIGHEST_FRACTION, SPIKE_LOW_HZ, design
from decoder.features import FeatureSettings
from decoder.health import default_health
from decoder.normalisation import Compression
from decoder.session.model import Session
from firmware_bridge.errors import NervehandError
from firmware_bridge.stream import StreamInfo

CANDIDATES = ("default", "25-600", "spike-band", "spike-band+average", "wide", "both", "25-600+power")


def candidate(name: str, info: StreamInfo) -> tuple[FrontEndChoice, ...]:
    """The front ends whose features stand side by side under a name.

    - `default`: what a new decoder for this stream gets;
    - `25-600`: the published band, decimated to 5 kHz;
    - `spike-band`: 300 Hz to 0.45 of the rate, not decimated;
    - `spike-band+average`: the same, re-referenced to the average;
    - `wide`: 25 Hz to 0.45 of the rate, one band;
    - `both`: the 14 features of either band;
    - `25-600+power`: the published band, and the mean of the rectified spike band beside it (as in Nason et
      al., Nat. Biomed. Eng. 2020, whose band ends at 1 kHz).

    Bands from 25 Hz on are re-referenced to the average where there are electrodes enough. Raises NervehandError for
    an unknown name or an envelope.
    """
    if name not in CANDIDATES:
        raise NervehandError(f"there is no front end {name!r}: use {', '.join(CANDIDATES)}")
    usual = default_front_end(info)
    if name == "default":
        return (usual,)
    if info.kind == "envelope":
        raise NervehandError(f"an envelope has no band to choose: use 'default', not {name!r}")
    published = default_front_end(info, band="paper")
    highest = HIGHEST_FRACTION * info.rate_hz
    spikes = _banded(usual, info, 1, (SPIKE_LOW_HZ, highest))
    match name:
        case "25-600":
            return (published,)
        case "spike-band":
            return (spikes,)
        case "spike-band+average":
            averaged = replace(spikes.conditioning, rereference=published.conditioning.rereference)
            return (replace(spikes, conditioning=averaged),)
        case "wide":
            return (_banded(published, info, 1, (DEFAULT_BAND_HZ[0], highest)),)
        case "both":
            return published, spikes
        case _:
            power = replace(spikes.settings, features=("mean_absolute",))
            return published, replace(spikes, settings=power)


def side_by_side(
    session: Session, parts: Sequence[FrontEndChoice], *, masking: bool = True
) -> tuple[FeatureStream, tuple[Compression, ...]]:
    """A session through each front end: one stream with the columns of all, and the compression of each column.

    Only hops that every front end answers are kept. `masking` False believes every channel. Raises NervehandError
    where their hops differ.
    """
    streams: list[FeatureStream] = []
    compress: list[Compression] = []
    for part in parts:
        front_end = _front_end(session.info, part, masking=masking)
        streams.append(
            session_stream(session, front_end, part.settings.hop_samples * part.conditioning.decimation)
        )
        compress += part.compress(front_end.feature_names)
    return joined(streams), tuple(compress)


def joined(streams: Sequence[FeatureStream]) -> FeatureStream:
    """The columns of several streams of one recording side by side, at the hops that all of them have."""
    first = streams[0]
    if len(streams) == 1:
        return first
    if any(not np.isclose(stream.hop_s, first.hop_s) for stream in streams):
        raise NervehandError(
            f"hops of {', '.join(f'{s.hop_s:g}' for s in streams)} s do not stand side by side"
        )
    shared = reduce(np.intersect1d, (stream.sample_index for stream in streams))
    rows = [np.searchsorted(stream.sample_index, shared) for stream in streams]
    own = rows[0]
    return FeatureStream(
        features=np.concatenate([s.features[r] for s, r in zip(streams, rows, strict=True)], axis=1),
        masked=np.concatenate([s.masked[r] for s, r in zip(streams, rows, strict=True)], axis=1),
        sample_index=shared,
        label=first.label[own],
        trial=first.trial[own],
        repetition=first.repetition[own],
        truth=None if first.truth is None else first.truth[own],
        segment=first.segment[own],
        hop_s=first.hop_s,
    )


def _front_end(info: StreamInfo, part: FrontEndChoice, *, masking: bool) -> FrontEnd:
    health = default_health(info.kind)
    if not masking:
        health = health.without_masking()
    return FrontEnd(info, design(part.conditioning, info), part.feature_set, part.settings, health)


def _banded(
    usual: FrontEndChoice, info: StreamInfo, decimation: int, band_hz: tuple[float, float]
) -> FrontEndChoice:
    rate_hz = info.rate_hz / decimation
    band = band_hz[0], min(band_hz[1], HIGHEST_FRACTION * rate_hz)
    hop = max(1, round(HOP_S * rate_hz))
    return replace(
        usual,
        feature_set="time_domain",
        conditioning=replace(usual.conditioning, decimation=decimation, band_hz=band),
        settings=FeatureSettings(max(round(WINDOW_S * rate_hz), hop), hop),
    )
